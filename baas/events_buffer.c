
#include <stdlib.h>
#include <string.h>

#include <faas.h>

#include "events_buffer.h"
#include "log.h"


#define BUFFER_BYTES  (256 * 1024 * 1024)    /* in all of them */


static size_t  buffer_bytes;


int
events_buffer_append(events_buffer_t *b, const void *p, size_t n)
{
    char    *data;
    size_t   used, room;

    if (n == 0) {
        return FAAS_OK;
    }

    used = b->end - b->start;

    if (b->end + n > b->room) {

        if (b->start) {
            memmove(b->data, b->data + b->start, used);
            b->start = 0;
            b->end = used;
        }

        if (used + n > b->room) {
            room = used + n + (used + n) / 2;

            if (buffer_bytes + room - b->room > BUFFER_BYTES) {
                log_line(LOG_WARN, 0, "connections to baas.sock take too "
                         "much memory, one is closed");
                return FAAS_ERROR;
            }

            data = realloc(b->data, room);
            if (data == NULL) {
                return FAAS_ERROR;
            }

            buffer_bytes += room - b->room;
            b->data = data;
            b->room = room;
        }
    }

    memcpy(b->data + b->end, p, n);
    b->end += n;

    return FAAS_OK;
}


void
events_buffer_release(events_buffer_t *b)
{
    buffer_bytes -= b->room;
    free(b->data);
    memset(b, 0, sizeof(*b));
}

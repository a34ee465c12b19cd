
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faas_control.h"
#include "loop.h"
#include "text.h"


#define TEXT_ROOM  1024


static char *text_room(text_t *t, size_t n);


void
text_add(text_t *t, const char *s, size_t n)
{
    if (n > 0) {
        memcpy(text_room(t, n), s, n);
        t->size += n;
    }
}


void
text_format(text_t *t, const char *format, ...)
{
    int      n;
    char     line[512];
    va_list  args;

    va_start(args, format);
    n = vsnprintf(line, sizeof(line), format, args);
    va_end(args);

    if (n > 0) {
        text_add(t, line, (size_t) n < sizeof(line) ? (size_t) n
                                                    : sizeof(line) - 1);
    }
}


void
text_value(text_t *t, const char *s)
{
    size_t  n;

    n = strlen(s);

    t->size += faas_control_encode(text_room(t, n * 3 + 1), s, n);
}


void
text_line(text_t *t, const char *name, const char *value)
{
    text_format(t, "%s ", name);
    text_value(t, value);
    text_add(t, "\n", 1);
}


int
text_is_same(const text_t *a, const text_t *b)
{
    return a->size == b->size
           && (a->size == 0 || memcmp(a->data, b->data, a->size) == 0);
}


void
text_free(text_t *t)
{
    free(t->data);
    memset(t, 0, sizeof(text_t));
}


/* where n more bytes go */

static char *
text_room(text_t *t, size_t n)
{
    char    *data;
    size_t   room;

    if (t->room - t->size < n) {

        room = t->room * 2 < TEXT_ROOM ? TEXT_ROOM : t->room * 2;

        if (room - t->size < n) {
            room = t->size + n;
        }

        data = loop_alloc(room);

        if (t->size > 0) {
            memcpy(data, t->data, t->size);
        }

        free(t->data);

        t->data = data;
        t->room = room;
    }

    return t->data + t->size;
}

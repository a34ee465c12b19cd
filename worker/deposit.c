
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "deposit.h"
#include "keeper.h"
#include "log.h"


/* one descriptor that came back; fd is -1 once it was taken */

typedef struct {
    char                      key[KEEPER_KEY_SIZE];
    int                       fd;
} deposit_t;


static int deposit_send(keeper_type_e type, const char *key, int fd);
static int deposit_compare(const void *one, const void *two);
static deposit_t *deposit_any(const char *prefix, unsigned *number);


static struct {
    int         channel;
    deposit_t  *list;
    size_t      count;
    size_t      room;
} deposits = { .channel = -1 };


int
deposit_open(int channel)
{
    int               fd;
    size_t            room;
    deposit_t        *list;
    keeper_packet_t   packet;

    deposits.channel = channel;

    for ( ;; ) {
        if (keeper_packet_receive(channel, 0, &packet, &fd) == -1) {
            return -1;
        }

        if (packet.type == KEEPER_END) {

            /* thousands, each looked for by its key */

            if (deposits.count > 0) {
                qsort(deposits.list, deposits.count, sizeof(deposit_t),
                      deposit_compare);
            }

            return 0;
        }

        if (packet.type != KEEPER_GIVE || fd == -1) {
            errno = EPROTO;
            return -1;
        }

        if (deposits.count == deposits.room) {
            room = deposits.room ? deposits.room * 2 : 512;

            list = realloc(deposits.list, room * sizeof(deposit_t));
            if (list == NULL) {
                return -1;
            }

            deposits.list = list;
            deposits.room = room;
        }

        memcpy(deposits.list[deposits.count].key, packet.key,
               KEEPER_KEY_SIZE);
        deposits.list[deposits.count].fd = fd;
        deposits.count++;
    }
}


int
deposit_take(const char *format, ...)
{
    int         fd;
    va_list     args;
    deposit_t   wanted, *found;

    if (deposits.count == 0) {
        return -1;
    }

    va_start(args, format);
    (void) vsnprintf(wanted.key, sizeof(wanted.key), format, args);
    va_end(args);

    found = bsearch(&wanted, deposits.list, deposits.count,
                    sizeof(deposit_t), deposit_compare);

    if (found == NULL) {
        return -1;
    }

    fd = found->fd;
    found->fd = -1;

    return fd;
}


static int
deposit_compare(const void *one, const void *two)
{
    const deposit_t  *a, *b;

    a = one;
    b = two;

    return strcmp(a->key, b->key);
}


int
deposit_take_any(const char *prefix, unsigned *number)
{
    int         fd;
    deposit_t  *d;

    d = deposit_any(prefix, number);

    if (d == NULL) {
        return -1;
    }

    fd = d->fd;
    d->fd = -1;

    return fd;
}


int
deposit_has_any(const char *prefix, unsigned *number)
{
    return deposit_any(prefix, number) != NULL;
}


static deposit_t *
deposit_any(const char *prefix, unsigned *number)
{
    size_t  i, n;

    n = strlen(prefix);

    for (i = 0; i < deposits.count; i++) {
        if (deposits.list[i].fd != -1
            && strncmp(deposits.list[i].key, prefix, n) == 0)
        {
            *number = (unsigned) strtoul(deposits.list[i].key + n, NULL, 10);
            return &deposits.list[i];
        }
    }

    return NULL;
}


int
deposit_put(int fd, const char *format, ...)
{
    char     key[KEEPER_KEY_SIZE];
    va_list  args;

    va_start(args, format);
    (void) vsnprintf(key, sizeof(key), format, args);
    va_end(args);

    return deposit_send(KEEPER_PUT, key, fd);
}


void
deposit_remove(const char *format, ...)
{
    char     key[KEEPER_KEY_SIZE];
    va_list  args;

    va_start(args, format);
    (void) vsnprintf(key, sizeof(key), format, args);
    va_end(args);

    (void) deposit_send(KEEPER_REMOVE, key, -1);
}


/* the keeper reads whatever happens, so a full socket is a short wait; when
   it is dead, the loop sees the end of the channel */

static int
deposit_send(keeper_type_e type, const char *key, int fd)
{
    if (keeper_packet_send(deposits.channel, type, key, fd) == -1) {

        if (errno != EPIPE && errno != ECONNRESET) {
            log_line(LOG_ALERT, errno, "could not deposit \"%s\"", key);
        }

        return -1;
    }

    return 0;
}


void
deposit_settle(void)
{
    size_t  i;

    for (i = 0; i < deposits.count; i++) {
        if (deposits.list[i].fd != -1) {
            close(deposits.list[i].fd);
            deposit_remove("%s", deposits.list[i].key);
        }
    }

    free(deposits.list);
    deposits.list = NULL;
    deposits.count = 0;
    deposits.room = 0;
}


#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "deposit.h"
#include "keeper.h"
#include "log.h"


/* one descriptor that came back; fd is -1 once it was taken */

typedef struct {
    char                      key[KEEPER_KEY_SIZE];
    int                       fd;
} deposit_t;


static int deposit_compare(const void *one, const void *two);
static int deposit_send(keeper_packet_t *packet, int fd);
static int deposit_receive(keeper_packet_t *packet, int *fd);


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
        fd = -1;

        if (deposit_receive(&packet, &fd) == -1) {
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
        deposits.list[deposits.count].key[KEEPER_KEY_SIZE - 1] = '\0';
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
    int     fd;
    size_t  i, n;

    n = strlen(prefix);

    for (i = 0; i < deposits.count; i++) {
        if (deposits.list[i].fd != -1
            && strncmp(deposits.list[i].key, prefix, n) == 0)
        {
            fd = deposits.list[i].fd;
            deposits.list[i].fd = -1;
            *number = (unsigned) strtoul(deposits.list[i].key + n, NULL, 10);
            return fd;
        }
    }

    return -1;
}


int
deposit_put(int fd, const char *format, ...)
{
    va_list          args;
    keeper_packet_t  packet;

    memset(&packet, 0, sizeof(packet));
    packet.type = KEEPER_PUT;

    va_start(args, format);
    (void) vsnprintf(packet.key, sizeof(packet.key), format, args);
    va_end(args);

    return deposit_send(&packet, fd);
}


void
deposit_remove(const char *format, ...)
{
    va_list          args;
    keeper_packet_t  packet;

    memset(&packet, 0, sizeof(packet));
    packet.type = KEEPER_REMOVE;

    va_start(args, format);
    (void) vsnprintf(packet.key, sizeof(packet.key), format, args);
    va_end(args);

    (void) deposit_send(&packet, -1);
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


/* the keeper reads whatever happens, so a full socket is a short wait; when
   it is dead, the loop sees the end of the channel */

static int
deposit_send(keeper_packet_t *packet, int fd)
{
    ssize_t         n;
    struct iovec    iov;
    struct msghdr   msg;

    union {
        struct cmsghdr  head;
        char            space[CMSG_SPACE(sizeof(int))];
    } control;

    memset(&msg, 0, sizeof(msg));

    iov.iov_base = packet;
    iov.iov_len = sizeof(keeper_packet_t);

    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;

    if (fd != -1) {
        memset(&control, 0, sizeof(control));
        msg.msg_control = &control;
        msg.msg_controllen = sizeof(control.space);

        control.head.cmsg_level = SOL_SOCKET;
        control.head.cmsg_type = SCM_RIGHTS;
        control.head.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.head), &fd, sizeof(int));
    }

    do {
        n = sendmsg(deposits.channel, &msg, MSG_NOSIGNAL);
    } while (n == -1 && errno == EINTR);

    if (n == -1) {
        log_line(LOG_ALERT, errno, "could not deposit \"%s\"", packet->key);
        return -1;
    }

    return 0;
}


static int
deposit_receive(keeper_packet_t *packet, int *fd)
{
    ssize_t          n;
    struct iovec     iov;
    struct msghdr    msg;
    struct cmsghdr  *cmsg;

    union {
        struct cmsghdr  head;
        char            space[CMSG_SPACE(sizeof(int))];
    } control;

    memset(&msg, 0, sizeof(msg));

    iov.iov_base = packet;
    iov.iov_len = sizeof(keeper_packet_t);

    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    msg.msg_control = &control;
    msg.msg_controllen = sizeof(control.space);

    do {
        n = recvmsg(deposits.channel, &msg, MSG_CMSG_CLOEXEC);
    } while (n == -1 && errno == EINTR);

    if (n == -1) {
        return -1;
    }

    cmsg = CMSG_FIRSTHDR(&msg);

    if (cmsg != NULL && cmsg->cmsg_level == SOL_SOCKET
        && cmsg->cmsg_type == SCM_RIGHTS
        && cmsg->cmsg_len == CMSG_LEN(sizeof(int)))
    {
        memcpy(fd, CMSG_DATA(cmsg), sizeof(int));
    }

    if (n != sizeof(keeper_packet_t)) {
        errno = n == 0 ? ECONNRESET : EPROTO;
        return -1;
    }

    return 0;
}

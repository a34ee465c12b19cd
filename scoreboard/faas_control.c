
/*
 * Packets of faas_state/control (faas_control.h).  What comes in is checked
 * here once: whoever gets FAAS_OK holds a head of our magic and layout, a
 * payload of the length that it says, and descriptors that are its own.
 */


#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "faas_control.h"
#include "faas_scoreboard.h"


/* room for descriptors, aligned as the kernel wants it */

typedef union {
    struct cmsghdr            head;
    char                      data[CMSG_SPACE(sizeof(int) * FAAS_CONTROL_FDS)];
} faas_control_ancillary_t;


static void faas_control_take_fds(struct msghdr *msg,
    faas_control_message_t *m);
static int faas_control_check(const struct msghdr *msg, size_t n,
    const faas_control_message_t *m);
static void faas_control_drop_fds(faas_control_message_t *m);
static int faas_control_hex(char ch);


_Static_assert(sizeof(faas_control_head_t) == 16, "the head is 16 bytes");
_Static_assert(offsetof(faas_control_message_t, payload)
               == sizeof(faas_control_head_t),
               "head and payload are received in one piece");


int
faas_control_send(int s, faas_control_type_e type, const void *payload,
    size_t length, const int *fds, uint32_t nfds)
{
    ssize_t                   n;
    struct iovec              iov[2];
    struct msghdr             msg;
    struct cmsghdr           *cmsg;
    faas_control_head_t       head;
    faas_control_ancillary_t  ancillary;

    if (length > FAAS_CONTROL_PAYLOAD || nfds > FAAS_CONTROL_FDS) {
        errno = EMSGSIZE;
        return FAAS_ERROR;
    }

    memset(&head, 0, sizeof(head));
    head.magic = FAAS_CONTROL_MAGIC;
    head.layout = FAAS_SCOREBOARD_LAYOUT;
    head.type = type;
    head.length = (uint32_t) length;

    iov[0].iov_base = &head;
    iov[0].iov_len = sizeof(head);
    iov[1].iov_base = (void *) (uintptr_t) payload;
    iov[1].iov_len = length;

    memset(&msg, 0, sizeof(msg));
    msg.msg_iov = iov;
    msg.msg_iovlen = length ? 2 : 1;

    if (nfds) {
        memset(&ancillary, 0, sizeof(ancillary));

        msg.msg_control = &ancillary;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);

        cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
        memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * nfds);
    }

    do {
        n = sendmsg(s, &msg, MSG_NOSIGNAL);
    } while (n == -1 && errno == EINTR);

    if (n == -1) {
        return errno == EAGAIN || errno == EWOULDBLOCK ? FAAS_AGAIN
                                                       : FAAS_ERROR;
    }

    return FAAS_OK;
}


int
faas_control_recv(int s, faas_control_message_t *m)
{
    ssize_t                   n;
    struct iovec              iov;
    struct msghdr             msg;
    faas_control_ancillary_t  ancillary;

    m->nfds = 0;
    memset(&m->head, 0, sizeof(m->head));
    m->payload[0] = '\0';

    iov.iov_base = m;
    iov.iov_len = sizeof(faas_control_head_t) + FAAS_CONTROL_PAYLOAD;

    memset(&msg, 0, sizeof(msg));
    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    msg.msg_control = &ancillary;
    msg.msg_controllen = sizeof(ancillary);

    do {
        n = recvmsg(s, &msg, MSG_CMSG_CLOEXEC);
    } while (n == -1 && errno == EINTR);

    if (n == -1) {
        return errno == EAGAIN || errno == EWOULDBLOCK ? FAAS_AGAIN
                                                       : FAAS_ERROR;
    }

    faas_control_take_fds(&msg, m);

    if (n == 0 && m->nfds == 0) {
        return FAAS_DONE;
    }

    if (faas_control_check(&msg, (size_t) n, m) != FAAS_OK) {
        faas_control_drop_fds(m);
        errno = EPROTO;
        return FAAS_ERROR;
    }

    m->payload[m->head.length] = '\0';

    return FAAS_OK;
}


/* every descriptor that came is in m afterwards, or closed */

static void
faas_control_take_fds(struct msghdr *msg, faas_control_message_t *m)
{
    int              fd;
    size_t           i, n;
    struct cmsghdr  *cmsg;

    for (cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {

        if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS) {
            continue;
        }

        n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        for (i = 0; i < n; i++) {
            memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(int));

            if (m->nfds < FAAS_CONTROL_FDS) {
                m->fd[m->nfds++] = fd;

            } else {
                (void) close(fd);
            }
        }
    }
}


static int
faas_control_check(const struct msghdr *msg, size_t n,
    const faas_control_message_t *m)
{
    if (msg->msg_flags & (MSG_TRUNC|MSG_CTRUNC)) {
        return FAAS_ERROR;
    }

    if (n < sizeof(faas_control_head_t)
        || m->head.magic != FAAS_CONTROL_MAGIC
        || m->head.layout != FAAS_SCOREBOARD_LAYOUT
        || m->head.length != n - sizeof(faas_control_head_t))
    {
        return FAAS_ERROR;
    }

    return FAAS_OK;
}


static void
faas_control_drop_fds(faas_control_message_t *m)
{
    while (m->nfds) {
        (void) close(m->fd[--m->nfds]);
    }
}


size_t
faas_control_encode(char *dst, const char *s, size_t n)
{
    char                *p;
    size_t               i;
    unsigned char        ch;
    static const char    hex[] = "0123456789abcdef";

    p = dst;

    for (i = 0; i < n; i++) {
        ch = (unsigned char) s[i];

        if (ch >= 0x21 && ch <= 0x7e && ch != '%') {
            *p++ = (char) ch;
            continue;
        }

        *p++ = '%';
        *p++ = hex[ch >> 4];
        *p++ = hex[ch & 0xf];
    }

    *p = '\0';

    return (size_t) (p - dst);
}


ssize_t
faas_control_decode(char *s)
{
    int    high, low;
    char  *dst, *p;

    dst = s;

    for (p = s; *p; p++) {

        if (*p != '%') {
            *dst++ = *p;
            continue;
        }

        high = faas_control_hex(p[1]);
        low = high == -1 ? -1 : faas_control_hex(p[2]);

        if (low == -1) {
            return -1;
        }

        *dst++ = (char) (high << 4 | low);
        p += 2;
    }

    *dst = '\0';

    return dst - s;
}


/* value of a hex digit, or -1, also for the terminating zero */

static int
faas_control_hex(char ch)
{
    if (ch >= '0' && ch <= '9') {
        return ch - '0';
    }

    if (ch >= 'a' && ch <= 'f') {
        return ch - 'a' + 10;
    }

    if (ch >= 'A' && ch <= 'F') {
        return ch - 'A' + 10;
    }

    return -1;
}

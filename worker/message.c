
/*
 * Messages between the processes of the worker side (message.h): one packet,
 * two buffers, descriptors and credentials beside them.  No allocation and
 * no stdio, so that a signal handler may send too.
 */


#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "faas_scoreboard.h"
#include "message.h"


typedef union {
    struct cmsghdr            head;
    char                      space[CMSG_SPACE(MESSAGE_FDS * sizeof(int))
                                    + CMSG_SPACE(sizeof(struct ucred))];
} message_control_t;


static void message_take_control(message_in_t *in, struct msghdr *mh);
static int message_check(message_in_t *in, size_t n, int flags);
static void message_drop_fds(message_in_t *in);


_Static_assert(sizeof(message_t) == 168, "one layout for all programs");


int
message_send(int s, message_t *head, const char *text, size_t length,
    const int *fds, uint32_t nfds)
{
    ssize_t            n;
    struct iovec       iov[2];
    struct msghdr      mh;
    struct cmsghdr    *cmsg;
    message_control_t  control;

    if (length >= MESSAGE_TEXT || nfds > MESSAGE_FDS) {
        errno = EMSGSIZE;
        return FAAS_ERROR;
    }

    head->magic = MESSAGE_MAGIC;
    head->text_length = (uint32_t) length;

    iov[0].iov_base = head;
    iov[0].iov_len = sizeof(message_t);
    iov[1].iov_base = (void *) text;
    iov[1].iov_len = length;

    memset(&mh, 0, sizeof(struct msghdr));
    mh.msg_iov = iov;
    mh.msg_iovlen = length ? 2 : 1;

    if (nfds) {
        memset(&control, 0, sizeof(message_control_t));

        mh.msg_control = &control;
        mh.msg_controllen = CMSG_SPACE(nfds * sizeof(int));

        cmsg = CMSG_FIRSTHDR(&mh);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(nfds * sizeof(int));
        memcpy(CMSG_DATA(cmsg), fds, nfds * sizeof(int));
    }

    do {
        n = sendmsg(s, &mh, MSG_NOSIGNAL);
    } while (n == -1 && errno == EINTR);

    if (n == -1) {
        return errno == EAGAIN ? FAAS_AGAIN : FAAS_ERROR;
    }

    return FAAS_OK;
}


int
message_recv(int s, message_in_t *in, char *buf, size_t size)
{
    ssize_t            n;
    struct iovec       iov[2];
    struct msghdr      mh;
    message_control_t  control;

    in->nfds = 0;
    in->sender = 0;
    in->text = buf;

    iov[0].iov_base = &in->head;
    iov[0].iov_len = sizeof(message_t);
    iov[1].iov_base = buf;
    iov[1].iov_len = size - 1;

    memset(&mh, 0, sizeof(struct msghdr));
    mh.msg_iov = iov;
    mh.msg_iovlen = 2;
    mh.msg_control = &control;
    mh.msg_controllen = sizeof(message_control_t);

    do {
        n = recvmsg(s, &mh, MSG_CMSG_CLOEXEC);
    } while (n == -1 && errno == EINTR);

    if (n == -1) {

        switch (errno) {

        case EAGAIN:
            return FAAS_AGAIN;

        case ECONNRESET:
            /* the peer ended with packets unread: this is its end all right */
            return FAAS_DONE;

        default:
            return FAAS_ERROR;
        }
    }

    message_take_control(in, &mh);

    if (n == 0 && in->nfds == 0) {
        return FAAS_DONE;
    }

    if (message_check(in, (size_t) n, mh.msg_flags) != FAAS_OK) {
        message_drop_fds(in);
        errno = EPROTO;
        return FAAS_ERROR;
    }

    buf[in->head.text_length] = '\0';

    return FAAS_OK;
}


static void
message_take_control(message_in_t *in, struct msghdr *mh)
{
    size_t           n;
    struct ucred     cred;
    struct cmsghdr  *cmsg;

    for (cmsg = CMSG_FIRSTHDR(mh); cmsg; cmsg = CMSG_NXTHDR(mh, cmsg)) {

        if (cmsg->cmsg_level != SOL_SOCKET) {
            continue;
        }

        if (cmsg->cmsg_type == SCM_CREDENTIALS) {
            memcpy(&cred, CMSG_DATA(cmsg), sizeof(struct ucred));
            in->sender = cred.pid;
            continue;
        }

        if (cmsg->cmsg_type == SCM_RIGHTS) {
            n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

            /* the kernel gave no more than fits the control buffer */
            while (n > MESSAGE_FDS - in->nfds) {
                n--;
                close(((int *) CMSG_DATA(cmsg))[n]);
            }

            memcpy(&in->fd[in->nfds], CMSG_DATA(cmsg), n * sizeof(int));
            in->nfds += (uint32_t) n;
        }
    }
}


static int
message_check(message_in_t *in, size_t n, int flags)
{
    if (flags & (MSG_TRUNC|MSG_CTRUNC)) {
        return FAAS_ERROR;
    }

    if (n < sizeof(message_t) || in->head.magic != MESSAGE_MAGIC) {
        return FAAS_ERROR;
    }

    if (in->head.text_length != n - sizeof(message_t)) {
        return FAAS_ERROR;
    }

    if (in->head.name[sizeof(in->head.name) - 1] != '\0'
        || in->head.version[sizeof(in->head.version) - 1] != '\0')
    {
        return FAAS_ERROR;
    }

    return FAAS_OK;
}


static void
message_drop_fds(message_in_t *in)
{
    while (in->nfds) {
        close(in->fd[--in->nfds]);
    }
}


int
message_want_credentials(int s)
{
    int  on;

    on = 1;

    if (setsockopt(s, SOL_SOCKET, SO_PASSCRED, &on, sizeof(int)) == -1) {
        return FAAS_ERROR;
    }

    return FAAS_OK;
}


#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "keeper.h"


/* room for one descriptor */

typedef union {
    struct cmsghdr            head;
    char                      space[CMSG_SPACE(sizeof(int))];
} keeper_packet_control_t;


int
keeper_packet_send(int s, keeper_type_e type, const char *key, int fd)
{
    ssize_t                  n;
    struct iovec             iov;
    struct msghdr            msg;
    keeper_packet_t          packet;
    keeper_packet_control_t  control;

    memset(&msg, 0, sizeof(msg));
    memset(&packet, 0, sizeof(packet));

    packet.type = type;
    memcpy(packet.key, key, strlen(key));

    iov.iov_base = &packet;
    iov.iov_len = sizeof(packet);

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
        n = sendmsg(s, &msg, MSG_NOSIGNAL);
    } while (n == -1 && errno == EINTR);

    return n == -1 ? -1 : 0;
}


int
keeper_packet_receive(int s, int flags, keeper_packet_t *packet, int *fd)
{
    ssize_t                  n;
    struct iovec             iov;
    struct msghdr            msg;
    struct cmsghdr          *cmsg;
    keeper_packet_control_t  control;

    *fd = -1;

    memset(&msg, 0, sizeof(msg));

    iov.iov_base = packet;
    iov.iov_len = sizeof(keeper_packet_t);

    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    msg.msg_control = &control;
    msg.msg_controllen = sizeof(control.space);

    do {
        n = recvmsg(s, &msg, MSG_CMSG_CLOEXEC | flags);
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

    packet->key[KEEPER_KEY_SIZE - 1] = '\0';

    return 0;
}


#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "events.h"
#include "events_channel.h"


#define CHANNEL_TEXT_MAX  (64 * 1024 * 1024)


int
events_channel_recv(char *packet, size_t size, int *fd)
{
    ssize_t          n;
    struct iovec     iov;
    struct msghdr    msg;
    struct cmsghdr  *cmsg;

    union {
        struct cmsghdr        head;
        char                  data[CMSG_SPACE(sizeof(int))];
    } ancillary;

    *fd = -1;
    iov.iov_base = packet;
    iov.iov_len = size - 1;

    memset(&msg, 0, sizeof(msg));
    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    msg.msg_control = &ancillary;
    msg.msg_controllen = sizeof(ancillary);

    n = recvmsg(EVENTS_FD_CHANNEL, &msg, MSG_CMSG_CLOEXEC|MSG_DONTWAIT);

    if (n == -1) {
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    }

    for (cmsg = CMSG_FIRSTHDR(&msg); cmsg; cmsg = CMSG_NXTHDR(&msg, cmsg)) {

        if (cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS) {
            memcpy(fd, CMSG_DATA(cmsg), sizeof(int));
        }
    }

    if (n == 0) {
        return -1;
    }

    packet[n] = '\0';

    return 1;
}


events_settings_t *
events_channel_settings(int fd, char *why, size_t size)
{
    void               *text;
    struct stat         st;
    events_settings_t  *s;

    if (fstat(fd, &st) == -1 || st.st_size <= 0
        || st.st_size > CHANNEL_TEXT_MAX)
    {
        (void) snprintf(why, size, "the text is of no size");
        return NULL;
    }

    text = mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);

    if (text == MAP_FAILED) {
        (void) snprintf(why, size, "the text cannot be mapped: %s",
                        strerror(errno));
        return NULL;
    }

    s = events_settings_parse(text, (size_t) st.st_size, why, size);
    munmap(text, (size_t) st.st_size);

    return s;
}

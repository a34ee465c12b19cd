
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "faasctl.h"


#define HOST_ANSWER_S  10


static int host_connect(struct sockaddr_un *un);
static int host_ask(faas_control_type_e type, const char *text);
static faas_scoreboard_t *host_map(int fd);


/* the last answer */

static faas_control_message_t  host_answer;


faas_scoreboard_t *
faasctl_board(void)
{
    faas_scoreboard_t  *board;

    if (host_ask(FAAS_CONTROL_LOOK, "") != FAASCTL_DONE) {
        return NULL;
    }

    board = NULL;

    if (host_answer.head.type == FAAS_CONTROL_BOARD
        && host_answer.nfds == 1)
    {
        board = host_map(host_answer.fd[0]);

    } else if (host_answer.head.type == FAAS_CONTROL_REFUSED) {
        (void) fprintf(stderr, "faasctl: %s\n", host_answer.payload);

    } else {
        (void) fprintf(stderr, "faasctl: the host's answer is not "
                       "understood\n");
    }

    while (host_answer.nfds > 0) {
        close(host_answer.fd[--host_answer.nfds]);
    }

    return board;
}


static faas_scoreboard_t *
host_map(int fd)
{
    void         *p;
    const char   *wrong;
    struct stat   st;

    p = MAP_FAILED;

    if (fstat(fd, &st) == 0) {
        p = mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    }

    if (p == MAP_FAILED) {
        (void) fprintf(stderr, "faasctl: the board cannot be mapped: %s\n",
                       strerror(errno));
        return NULL;
    }

    wrong = faas_scoreboard_check(p, (uint64_t) st.st_size);

    if (wrong != NULL) {
        (void) fprintf(stderr, "faasctl: the board is not good: %s\n", wrong);
        return NULL;
    }

    return p;
}


int
faasctl_tell(faas_control_type_e type, const char *text, const char **answer)
{
    if (host_ask(type, text) != FAASCTL_DONE) {
        return FAASCTL_FAILED;
    }

    while (host_answer.nfds > 0) {
        close(host_answer.fd[--host_answer.nfds]);
    }

    if (host_answer.head.type != FAAS_CONTROL_ACCEPTED) {
        (void) fprintf(stderr, "faasctl: %s: %s\n", text,
                       host_answer.head.type == FAAS_CONTROL_REFUSED
                       ? host_answer.payload
                       : "the host's answer is not understood");
        return FAASCTL_FAILED;
    }

    *answer = host_answer.payload;

    return FAASCTL_DONE;
}


static int
host_ask(faas_control_type_e type, const char *text)
{
    int                 fd, rc, error;
    struct timeval      wait;
    struct sockaddr_un  un;

    fd = host_connect(&un);

    if (fd == -1) {
        return FAASCTL_FAILED;
    }

    wait.tv_sec = HOST_ANSWER_S;
    wait.tv_usec = 0;
    (void) setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));

    rc = faas_control_send(fd, type, text, strlen(text), NULL, 0);

    if (rc == FAAS_OK) {
        rc = faas_control_recv(fd, &host_answer);
    }

    error = errno;
    close(fd);

    if (rc == FAAS_OK) {
        return FAASCTL_DONE;
    }

    if (rc == FAAS_ERROR && error == EPROTO) {
        (void) fprintf(stderr, "faasctl: the host is of layout %u, this "
                       "faasctl, release %s, of layout %u\n",
                       host_answer.head.layout, FAAS_RELEASE,
                       (unsigned) FAAS_SCOREBOARD_LAYOUT);

    } else if (rc == FAAS_DONE || (rc == FAAS_ERROR && error == EPIPE)) {
        (void) fprintf(stderr, "faasctl: \"%s\" does not answer us: only root "
                       "and who started nginx are answered\n", un.sun_path);

    } else {
        (void) fprintf(stderr, "faasctl: \"%s\" does not answer: %s\n",
                       un.sun_path, rc == FAAS_AGAIN ? "it takes too long"
                                                     : strerror(error));
    }

    return FAASCTL_FAILED;
}


static int
host_connect(struct sockaddr_un *un)
{
    int  fd, n;

    memset(un, 0, sizeof(struct sockaddr_un));
    un->sun_family = AF_UNIX;

    n = snprintf(un->sun_path, sizeof(un->sun_path), "%s/control",
                 faasctl.state);

    if (n < 0 || (size_t) n >= sizeof(un->sun_path)) {
        (void) fprintf(stderr, "faasctl: \"%s\" is too long for a socket's "
                       "path\n", faasctl.state);
        return -1;
    }

    fd = socket(AF_UNIX, SOCK_SEQPACKET|SOCK_CLOEXEC, 0);

    if (fd != -1
        && connect(fd, (struct sockaddr *) un, sizeof(struct sockaddr_un))
           == 0)
    {
        return fd;
    }

    if (errno == ENOENT || errno == ECONNREFUSED) {
        (void) fprintf(stderr, "faasctl: there is no host: \"%s\": %s (-s DIR "
                       "says where faas_state is)\n", un->sun_path,
                       strerror(errno));

    } else {
        (void) fprintf(stderr, "faasctl: \"%s\": %s\n", un->sun_path,
                       strerror(errno));
    }

    if (fd != -1) {
        close(fd);
    }

    return -1;
}

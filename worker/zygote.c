
/*
 * faas-zygote: the runtime loaded, no code, no secrets.  The supervisor execs
 * it with the zygote channel as descriptor 3; it forks a function init for
 * each START, and does nothing else, so that what all functions are forked
 * from stays small and single-threaded.
 *
 * It is a subreaper too: what a function init leaves behind that was killed
 * comes here, and is killed.  It ends when its channel closes; the function
 * inits live on, since each has a channel of its own.
 */


#include <errno.h>
#include <fcgiapp.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faas_scoreboard.h"
#include "family.h"
#include "fds.h"
#include "init.h"
#include "message.h"
#include "replay.h"
#include "title.h"


enum {
    FD_CHANNEL = FDS_FIRST
};


typedef struct {
    family_t                 *family;      /* the function inits */
    int                       children;
    int                       signals;
} zygote_t;


static int zygote_prepare(zygote_t *zygote);
static int zygote_read_channel(zygote_t *zygote);
static void zygote_start(zygote_t *zygote, message_in_t *in);
static void zygote_reap(zygote_t *zygote);


/* in .bss: a START's environment may be long, and is rarely */

static char  zygote_text[MESSAGE_TEXT];


int
main(int argc, char **argv)
{
    int            fd;
    zygote_t       zygote;
    struct pollfd  pfd[2];

    if (argc > 1 && strcmp(argv[1], "--replay") == 0) {
        return replay_run(argc, argv);
    }

    fd = FD_CHANNEL;

    if (fcntl(fd, F_GETFD) == -1) {
        (void) fprintf(stderr, "faas-zygote: is started by faas-supervisor\n");
        return 2;
    }

    title_init(argc, argv);

    if (fds_keep(&fd, 1) != FAAS_OK || zygote_prepare(&zygote) != FAAS_OK) {
        perror("faas-zygote");
        return 1;
    }

    title_set("faas: zygote");

    pfd[0].fd = FD_CHANNEL;
    pfd[0].events = POLLIN;
    pfd[1].fd = zygote.signals;
    pfd[1].events = POLLIN;

    for ( ;; ) {

        if (poll(pfd, 2, -1) == -1 && errno != EINTR) {
            perror("faas-zygote: poll()");
            return 1;
        }

        if (pfd[1].revents) {
            zygote_reap(&zygote);
        }

        if (pfd[0].revents && zygote_read_channel(&zygote) != FAAS_OK) {
            return 0;
        }
    }
}


static int
zygote_prepare(zygote_t *zygote)
{
    sigset_t  set;

    /*
     * What every function needs is mapped and relocated (the link is -z now),
     * and libfcgi and SQLite are set up, before the first fork; no database is
     * open, nor any connection
     */

    if (FCGX_Init() != 0 || sqlite3_initialize() != SQLITE_OK) {
        return FAAS_ERROR;
    }

    (void) signal(SIGPIPE, SIG_IGN);
    (void) signal(SIGTERM, SIG_DFL);
    (void) signal(SIGUSR1, SIG_DFL);

    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == -1) {
        return FAAS_ERROR;
    }

    (void) sigemptyset(&set);
    (void) sigaddset(&set, SIGCHLD);

    if (sigprocmask(SIG_SETMASK, &set, NULL) == -1) {
        return FAAS_ERROR;
    }

    zygote->signals = signalfd(-1, &set, SFD_CLOEXEC|SFD_NONBLOCK);
    zygote->children = family_open_children();
    zygote->family = family_create();

    if (zygote->signals == -1 || zygote->children == -1
        || zygote->family == NULL)
    {
        return FAAS_ERROR;
    }

    return FAAS_OK;
}


static int
zygote_read_channel(zygote_t *zygote)
{
    int           rc;
    message_in_t  in;

    rc = message_recv(FD_CHANNEL, &in, zygote_text, sizeof(zygote_text));

    if (rc == FAAS_AGAIN) {
        return FAAS_OK;
    }

    if (rc != FAAS_OK) {
        return FAAS_DONE;
    }

    if (in.head.type == MESSAGE_START && in.nfds >= INIT_FDS
        && in.nfds <= INIT_FDS_MOST) {
        zygote_start(zygote, &in);
        rc = FAAS_OK;

    } else {
        rc = FAAS_DONE;
    }

    while (in.nfds) {
        (void) close(in.fd[--in.nfds]);
    }

    return rc;
}


static void
zygote_start(zygote_t *zygote, message_in_t *in)
{
    char       text[128];
    pid_t      pid;
    message_t  message;

    memset(&message, 0, sizeof(message_t));
    message.type = MESSAGE_STARTED;
    message.index = in->head.index;
    text[0] = '\0';

    pid = fork();

    if (pid == 0) {
        init_run(in);
    }

    if (pid == -1) {
        message.type = MESSAGE_FAILED;
        message.status = errno;
        (void) snprintf(text, sizeof(text), "fork() of a function init failed "
                        "(%d: %s)", errno, strerror(errno));

    } else if (family_join(zygote->family, pid) != FAAS_OK) {
        (void) kill(pid, SIGKILL);

        message.type = MESSAGE_FAILED;
        message.status = EAGAIN;
        (void) snprintf(text, sizeof(text), "too many function inits");

    } else {
        message.pid = pid;
    }

    /* when this fails, the channel's end is read next */

    (void) message_send(FD_CHANNEL, &message, text, strlen(text), NULL, 0);
}


static void
zygote_reap(zygote_t *zygote)
{
    pid_t                    pid;
    struct signalfd_siginfo  info;

    while (read(zygote->signals, &info, sizeof(info)) > 0) { /* void */ }

    for ( ;; ) {
        pid = waitpid(-1, NULL, WNOHANG);

        if (pid <= 0) {
            break;
        }

        family_leave(zygote->family, pid);
    }

    /* nobody but the zygote itself makes members of it: there are no births */

    (void) family_kill_strangers(zygote->family, zygote->children);
}

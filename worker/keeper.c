
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "family.h"
#include "keeper.h"
#include "log.h"
#include "place.h"


/* descriptors 0 .. 9 are left for what has a fixed number */
#define KEEPER_FIRST_FD      10

#define KEEPER_SPACING_MS    1000    /* between starts of a supervisor */
#define KEEPER_LOCK_WAIT_MS  15000   /* for a predecessor that is ending */

/* how often it is looked whether nginx is there; and how long a supervisor,
   which needs less, is let end by itself when it is not */
#define KEEPER_LOOK_MS       500
#define KEEPER_END_MS        3700

/* how often who is left is killed, 10 ms each */
#define KEEPER_KILLS         50


/* one descriptor that is kept */

typedef struct {
    char                      key[KEEPER_KEY_SIZE];
    int                       fd;
} keeper_item_t;


static int keeper_lock(const char *state);
static int keeper_living(void);
static void keeper_look(void);
static int keeper_is_wanted(void);
static int keeper_is_open(int fd);
static void keeper_answer(const char *text, const char *subject, int error);
static int keeper_start(const char *state);
static int keeper_spawn(const char *state);
static void keeper_clean(void);
static void keeper_child(const char *state, int channel);
static int keeper_give(void);
static void keeper_serve(void);
static int keeper_put(const char *key, int fd);
static void keeper_remove(const char *key);
static void keeper_read(void);
static void keeper_reap(void);
static uint64_t keeper_now_ms(void);


static struct {
    int             lock;
    int             signals;
    int             ready;          /* where nginx waits for an answer */
    int             channel;        /* our end, -1: no supervisor */
    pid_t           supervisor;     /* 0: none */
    int             status;         /* of the last one, as waitpid() gives */
    int             ending;         /* we were asked to end */
    uint64_t        unwanted_ms;    /* since when nobody of nginx is there,
                                       0: somebody is */

    keeper_item_t  *items;
    size_t          count;
    size_t          room;
} keeper = { .lock = -1, .signals = -1, .ready = -1, .channel = -1 };


int
keeper_run(const char *state)
{
    int            config, null, status;
    sigset_t       set;
    struct rlimit  limit;

    keeper.ready = fcntl(3, F_DUPFD_CLOEXEC, KEEPER_FIRST_FD);
    config = fcntl(4, F_DUPFD_CLOEXEC, KEEPER_FIRST_FD);

    if (keeper.ready == -1 || config == -1) {
        log_line(LOG_EMERG, errno, "the keeper is started by nginx only");
        return 1;
    }

    /* low numbers stay taken, so that nothing else gets them */

    null = open("/dev/null", O_RDWR|O_CLOEXEC);

    if (null == -1 || dup3(null, 3, O_CLOEXEC) == -1
        || dup3(null, 4, O_CLOEXEC) == -1)
    {
        keeper_answer("could not open", "/dev/null", errno);
        return 1;
    }

    umask(022);

    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == -1) {
        keeper_answer("prctl failed for", "PR_SET_CHILD_SUBREAPER", errno);
        return 1;
    }

    /* every slot costs five descriptors, here and in the supervisor */

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void) setrlimit(RLIMIT_NOFILE, &limit);
    }

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGQUIT);
    sigprocmask(SIG_SETMASK, &set, NULL);

    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    signal(SIGUSR2, SIG_IGN);

    keeper.signals = signalfd(-1, &set, SFD_CLOEXEC|SFD_NONBLOCK);

    if (keeper.signals == -1) {
        keeper_answer("signalfd failed in", "keeper", errno);
        return 1;
    }

    status = keeper_lock(state);

    if (status != 0) {
        return status > 0 ? 0 : 1;
    }

    if (keeper_put("ready", keeper.ready) == -1
        || keeper_put("config", config) == -1)
    {
        keeper_answer("no memory in", "keeper", errno);
        return 1;
    }

    keeper.ready = -1;

    return keeper_start(state);
}


/*
 * 0: the lock is ours.  1: a living host has it, and nginx was told to attach
 * to that.  -1: failed, nginx was told why.  A predecessor that is draining
 * ends at once when somebody connects to it.
 */

static int
keeper_lock(const char *state)
{
    uint64_t         end;
    struct timespec  pause;

    if (mkdir(state, 0755) == -1 && errno != EEXIST) {
        keeper_answer("could not create faas_state", state, errno);
        return -1;
    }

    keeper.lock = open(state, O_RDONLY|O_DIRECTORY|O_CLOEXEC);

    if (keeper.lock == -1) {
        keeper_answer("could not open faas_state", state, errno);
        return -1;
    }

    end = keeper_now_ms() + KEEPER_LOCK_WAIT_MS;

    for ( ;; ) {

        if (flock(keeper.lock, LOCK_EX|LOCK_NB) == 0) {
            return 0;
        }

        if (errno != EWOULDBLOCK && errno != EINTR) {
            keeper_answer("could not lock faas_state", state, errno);
            return -1;
        }

        if (keeper_living()) {
            if (write(keeper.ready, "ready\n", 6) == -1) {
                return -1;
            }

            return 1;
        }

        if (!keeper_is_open(keeper.ready)) {
            log_line(LOG_NOTICE, 0, "nginx does not wait for us any more");
            return -1;
        }

        if (keeper_now_ms() > end) {
            keeper_answer("another host holds faas_state", state, 0);
            return -1;
        }

        pause.tv_sec = 0;
        pause.tv_nsec = 10 * 1000 * 1000;
        nanosleep(&pause, NULL);
    }
}


/*
 * Is the host that holds the lock there to stay?  A supervisor that drains
 * refuses whoever connects, at once; one that lives waits for what we say.
 */

static int
keeper_living(void)
{
    int                 s, n;
    char                path[64];
    struct pollfd       p;
    struct sockaddr_un  un;

    s = socket(AF_UNIX, SOCK_SEQPACKET|SOCK_CLOEXEC|SOCK_NONBLOCK, 0);
    if (s == -1) {
        return 0;
    }

    /* the path through our descriptor: faas_state may be long */

    (void) snprintf(path, sizeof(path), "/proc/self/fd/%d/control",
                    keeper.lock);

    memset(&un, 0, sizeof(un));
    un.sun_family = AF_UNIX;
    memcpy(un.sun_path, path, strlen(path));

    if (connect(s, (struct sockaddr *) &un, sizeof(un)) == -1) {
        close(s);
        return 0;
    }

    p.fd = s;
    p.events = POLLIN;

    n = poll(&p, 1, 300);
    close(s);

    return n == 0;
}


/* one line for nginx, which waits for it, and for the log */

static void
keeper_answer(const char *text, const char *subject, int error)
{
    int   n;
    char  line[1024];

    log_line(LOG_EMERG, error, "%s \"%s\"", text, subject);

    n = snprintf(line, sizeof(line), "error: %s \"%s\"%s%s\n", text, subject,
                 error ? ": " : "", error ? strerror(error) : "");

    if (n > (int) sizeof(line) - 1) {
        n = sizeof(line) - 1;
    }

    if (write(keeper.ready, line, (size_t) n) == -1) {
        /* then nginx is not there any more */
    }
}


/* supervisors, one after the other, until one says that it was enough */

static int
keeper_start(const char *state)
{
    int              status;
    uint64_t         started, now;
    struct timespec  pause;

    for ( ;; ) {

        started = keeper_now_ms();

        if (keeper_spawn(state) == 0) {

            if (keeper_give() == -1) {
                log_line(LOG_ALERT, errno, "the keeper could not hand over");
            }

            keeper_serve();
            status = keeper.status;

            close(keeper.channel);
            keeper.channel = -1;

        } else {
            keeper_reap();
            status = -1;
        }

        if (status != -1 && WIFEXITED(status)
            && (WEXITSTATUS(status) == KEEPER_ENDED
                || WEXITSTATUS(status) == KEEPER_BAD_START))
        {
            keeper_clean();
            return WEXITSTATUS(status) == KEEPER_ENDED ? 0 : 1;
        }

        if (keeper.ending) {
            keeper_clean();
            return 0;
        }

        if (status != -1 && WIFSIGNALED(status)) {
            log_line(LOG_ALERT, 0, "supervisor was killed by signal %d, "
                     "starting another", WTERMSIG(status));

        } else if (status != -1) {
            log_line(LOG_ALERT, 0, "supervisor exited with code %d, "
                     "starting another", WEXITSTATUS(status));
        }

        /* one that was killed has a next one that ends all in order; one that
           cannot start may have no better luck for ever */

        if ((status == -1 || WIFEXITED(status)) && !keeper_is_wanted()) {
            log_line(LOG_ALERT, 0, "no nginx is there and no supervisor could "
                     "be started, the host ends");
            keeper_clean();
            return 1;
        }

        now = keeper_now_ms();

        if (now - started < KEEPER_SPACING_MS) {
            pause.tv_sec = 0;
            pause.tv_nsec = (long) (KEEPER_SPACING_MS - (now - started))
                            * 1000 * 1000;
            nanosleep(&pause, NULL);
        }
    }
}


/* 0, or -1 (logged): tried again */

static int
keeper_spawn(const char *state)
{
    int  pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET|SOCK_CLOEXEC, 0, pair) == -1) {
        log_line(LOG_ALERT, errno, "socketpair failed in the keeper");
        return -1;
    }

    keeper.supervisor = fork();

    if (keeper.supervisor == 0) {
        keeper_child(state, pair[1]);
    }

    close(pair[1]);

    if (keeper.supervisor == -1) {
        log_line(LOG_ALERT, errno, "fork failed in the keeper");
        keeper.supervisor = 0;
        close(pair[0]);
        return -1;
    }

    keeper.channel = pair[0];

    return 0;
}


/*
 * A supervisor ends by itself when the last process of nginx has; one that is
 * stopped, or stuck, does not, and would hold all that there is.  What has
 * lost keeper and supervisor ends at once.
 */

static void
keeper_look(void)
{
    if (keeper_is_wanted()) {
        keeper.unwanted_ms = 0;
        return;
    }

    if (keeper.unwanted_ms == 0) {
        keeper.unwanted_ms = keeper_now_ms();
    }

    if (keeper_now_ms() - keeper.unwanted_ms < KEEPER_END_MS) {
        return;
    }

    log_line(LOG_ALERT, 0, "no nginx is there and supervisor %d does not end, "
             "it is killed", (int) keeper.supervisor);

    keeper.ending = 1;
    (void) kill(keeper.supervisor, SIGKILL);
}


/* is there a process of nginx, or will there be one? */

static int
keeper_is_wanted(void)
{
    size_t  i;

    for (i = 0; i < keeper.count; i++) {

        if ((strncmp(keeper.items[i].key, "lifeline/", 9) == 0
             || strcmp(keeper.items[i].key, "ready") == 0)
            && keeper_is_open(keeper.items[i].fd))
        {
            return 1;
        }
    }

    return 0;
}


/* 0: the far end of this socket or pipe is closed */

static int
keeper_is_open(int fd)
{
    struct pollfd  p;

    p.fd = fd;
    p.events = 0;

    return poll(&p, 1, 0) != 1;
}


/* the end: what nobody answers any more, and who is left.  What lost its own
   init and the zygote fell to us, and would live on for ever. */

static void
keeper_clean(void)
{
    int  children, n;

    (void) unlinkat(keeper.lock, "control", 0);
    (void) unlinkat(keeper.lock, "baas.sock", 0);
    place_clean(keeper.lock);

    children = family_open_children();

    if (children == -1) {
        return;
    }

    for (n = 0; n < KEEPER_KILLS && family_kill_once(children); n++) {
        /* void */
    }

    close(children);
}


static void
keeper_child(const char *state, int channel)
{
    int       lock;
    char      dir[4096];
    sigset_t  set;

    static char  program[] = "faas-supervisor";
    static char  supervise[] = "--supervise";
    static char  option[] = "--state";

    char  *argv[] = { program, supervise, option, dir, NULL };

    (void) snprintf(dir, sizeof(dir), "%s", state);

    channel = fcntl(channel, F_DUPFD_CLOEXEC, KEEPER_FIRST_FD);
    lock = fcntl(keeper.lock, F_DUPFD_CLOEXEC, KEEPER_FIRST_FD);

    if (channel == -1 || lock == -1
        || dup2(channel, KEEPER_CHANNEL_FD) == -1
        || dup2(lock, KEEPER_LOCK_FD) == -1)
    {
        log_line(LOG_ALERT, errno, "the keeper could not start a supervisor");
        _exit(1);
    }

    sigemptyset(&set);
    sigprocmask(SIG_SETMASK, &set, NULL);

    /* by the running file, so that an upgraded package changes nothing under
       a host that is alive */

    execv("/proc/self/exe", argv);

    log_line(LOG_ALERT, errno, "execv failed for the supervisor");
    _exit(1);
}


static int
keeper_give(void)
{
    size_t  i;

    for (i = 0; i < keeper.count; i++) {
        if (keeper_packet_send(keeper.channel, KEEPER_GIVE,
                               keeper.items[i].key, keeper.items[i].fd)
            == -1)
        {
            return -1;
        }
    }

    return keeper_packet_send(keeper.channel, KEEPER_END, "", -1);
}


/* until the supervisor has ended */

static void
keeper_serve(void)
{
    int            n;
    struct pollfd  p[2];

    p[0].fd = keeper.signals;
    p[0].events = POLLIN;
    p[1].fd = keeper.channel;
    p[1].events = POLLIN;

    while (keeper.supervisor > 0) {

        n = poll(p, 2, KEEPER_LOOK_MS);

        if (n == -1) {
            continue;
        }

        if (n == 0) {
            keeper_look();
            continue;
        }

        if (p[1].fd != -1 && p[1].revents) {
            keeper_read();

            if (p[1].revents & (POLLHUP|POLLERR)) {
                p[1].fd = -1;
            }
        }

        if (p[0].revents) {
            keeper_reap();
        }
    }
}


/* all packets that are there; also after the sender's death */

static void
keeper_read(void)
{
    int              fd;
    keeper_packet_t  packet;

    for ( ;; ) {

        if (keeper_packet_receive(keeper.channel, MSG_DONTWAIT, &packet, &fd)
            == -1)
        {
            if (fd != -1) {
                close(fd);
            }

            if (errno == EPROTO) {
                continue;
            }

            return;
        }

        if (packet.type == KEEPER_PUT && fd != -1) {

            if (keeper_put(packet.key, fd) == 0) {
                continue;
            }

            log_line(LOG_ALERT, errno, "the keeper lost \"%s\"",
                     packet.key);

        } else if (packet.type == KEEPER_REMOVE) {
            keeper_remove(packet.key);
        }

        if (fd != -1) {
            close(fd);
        }
    }
}


static int
keeper_put(const char *key, int fd)
{
    size_t          room;
    keeper_item_t  *items;

    keeper_remove(key);

    if (keeper.count == keeper.room) {
        room = keeper.room ? keeper.room * 2 : 512;

        items = realloc(keeper.items, room * sizeof(keeper_item_t));
        if (items == NULL) {
            return -1;
        }

        keeper.items = items;
        keeper.room = room;
    }

    memset(keeper.items[keeper.count].key, 0, KEEPER_KEY_SIZE);
    memcpy(keeper.items[keeper.count].key, key, strlen(key));
    keeper.items[keeper.count].fd = fd;
    keeper.count++;

    return 0;
}


static void
keeper_remove(const char *key)
{
    size_t  i;

    for (i = 0; i < keeper.count; i++) {
        if (strcmp(keeper.items[i].key, key) == 0) {
            close(keeper.items[i].fd);
            keeper.items[i] = keeper.items[--keeper.count];
            return;
        }
    }
}


/* serves signals and buries children */

static void
keeper_reap(void)
{
    int                      status;
    pid_t                    pid;
    struct signalfd_siginfo  info;

    while (read(keeper.signals, &info, sizeof(info)) == sizeof(info)) {

        if (info.ssi_signo != SIGCHLD) {
            keeper.ending = 1;

            if (keeper.supervisor > 0) {
                kill(keeper.supervisor, SIGTERM);
            }
        }
    }

    for ( ;; ) {
        pid = waitpid(-1, &status, WNOHANG);

        if (pid <= 0) {
            return;
        }

        if (pid == keeper.supervisor) {
            /* what it deposited last is still in the socket */
            keeper_read();
            keeper.supervisor = 0;
            keeper.status = status;
        }
    }
}


static uint64_t
keeper_now_ms(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000 + (uint64_t) ts.tv_nsec / 1000000;
}

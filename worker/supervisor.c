
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "control.h"
#include "deploy.h"
#include "deposit.h"
#include "faas_control.h"
#include "keeper.h"
#include "log.h"
#include "memory.h"
#include "owner.h"
#include "pool.h"
#include "store.h"
#include "supervisor.h"
#include "zygote_link.h"


/* nginx waits for us at most so long with what it finds loading */
#define SUPERVISOR_READY_MS    3000

/* without any nginx for so long after the start, there is none */
#define SUPERVISOR_LONELY_MS   15000

/* the end: what instances get to finish; what processes get to be gone */
#define SUPERVISOR_DRAIN_MS    3000
#define SUPERVISOR_GONE_MS     2000

#define SUPERVISOR_CONFIG_MAX  (8 * 1024 * 1024)


static int supervisor_start(const char *state);
static int supervisor_first_settings(void);
static settings_t *supervisor_read_settings(int fd, char *why);
static int supervisor_directories(void);
static int supervisor_directory(const char *name, mode_t mode,
    int64_t group);
static int supervisor_board(void);
static int supervisor_new_board(void);
static void supervisor_clean(void);
static int supervisor_eventfds(void);
static void supervisor_adopt(void);
static int supervisor_signals(void);
static void supervisor_signal(void *data, uint32_t events);
static void supervisor_kicked(void *data, uint32_t events);
static void supervisor_keeper(void *data, uint32_t events);
static void supervisor_tick(void *data);
static void supervisor_settle(void);
static void supervisor_answer(const char *line);
static void supervisor_verify(void *data);
static void supervisor_drained(void *data);
static int supervisor_end(void);
static void supervisor_apply(void);


supervisor_t  supervisor = {
    .board_fd = -1,
    .event_fd = -1,
    .store = -1
};


static struct {
    int           state_dir;
    loop_event_t  signals;
    loop_event_t  kicked;
    loop_event_t  keeper;
    loop_timer_t  tick;
    loop_timer_t  verify;
    loop_timer_t  drain;
    uint64_t      started_ms;
    uint64_t      drain_ms;          /* when the next step is taken */
    int           step;              /* of the end: 1 TERM, 2 KILL */
    int           ready;             /* descriptor, -1: nginx was told */
    int           restarted;         /* 1: there was one before us */
    char          error[256];        /* why we could not start */
} host = { .ready = -1 };


int
supervisor_run(const char *state)
{
    char  line[300];

    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_IGN);    /* reaped by the kernel */
    signal(SIGHUP, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    signal(SIGUSR2, SIG_IGN);

    umask(022);

    if (deposit_open(KEEPER_CHANNEL_FD) == -1) {
        log_line(LOG_EMERG, errno, "the supervisor is started by the keeper "
                 "only");
        return KEEPER_BAD_START;
    }

    host.ready = deposit_take("ready");

    if (supervisor_start(state) == -1) {
        (void) snprintf(line, sizeof(line), "error: %s\n", host.error);
        supervisor_answer(line);

        /* after a restart there is something worth another attempt */

        return host.restarted ? 1 : KEEPER_BAD_START;
    }

    while (host.step < 3) {
        if (loop_turn() == -1) {
            log_line(LOG_ALERT, errno, "epoll_wait failed");
            return 1;
        }
    }

    return supervisor_end();
}


static int
supervisor_start(const char *state)
{
    host.state_dir = open(state, O_RDONLY|O_DIRECTORY|O_CLOEXEC);

    if (host.state_dir == -1 || fchdir(host.state_dir) == -1) {
        supervisor_error(errno, "could not open faas_state \"%s\"", state);
        return -1;
    }

    (void) fcntl(KEEPER_CHANNEL_FD, F_SETFD, FD_CLOEXEC);
    (void) fcntl(KEEPER_LOCK_FD, F_SETFD, FD_CLOEXEC);

    if (loop_init() == -1) {
        supervisor_error(errno, "epoll_create1 failed");
        return -1;
    }

    host.started_ms = loop_now_ms();

    if (supervisor_first_settings() == -1
        || supervisor_directories() == -1
        || supervisor_board() == -1
        || supervisor_eventfds() == -1
        || supervisor_signals() == -1)
    {
        return -1;
    }

    supervisor.store = store_open(host.state_dir);

    if (supervisor.store == -1) {
        supervisor_error(errno, "could not open the store in \"%s\"", state);
        return -1;
    }

    supervisor_apply();
    function_init(host.state_dir);

    if (pool_init() == -1 || zygote_link_init() == -1) {
        return -1;
    }

    if (host.restarted) {
        supervisor_adopt();
    }

    if (control_init(host.state_dir) == -1) {
        supervisor_error(errno, "could not listen on \"%s/control\"", state);
        return -1;
    }

    if (deploy_watch() == -1) {
        return -1;
    }

    deposit_settle();
    owner_look();

    host.tick.handler = supervisor_tick;
    host.drain.handler = supervisor_drained;
    loop_arm(&host.tick, loop_now_ms() + 10);

    atomic_store(&supervisor.board->supervisor_pid, getpid());

    if (host.restarted) {
        host.verify.handler = supervisor_verify;
        loop_arm(&host.verify, loop_now_ms() + 1000);
        log_line(LOG_NOTICE, 0, "supervisor %d has adopted the host",
                 (int) getpid());

        if (atomic_load(&supervisor.board->draining)) {
            supervisor_drain("it was ending", 0);
        }
    }

    return 0;
}


static int
supervisor_first_settings(void)
{
    int   fd;
    char  why[SETTINGS_WHY_SIZE];

    fd = deposit_take("config");

    supervisor.settings = supervisor_read_settings(fd, why);

    if (fd != -1) {
        close(fd);
    }

    if (supervisor.settings == NULL) {
        supervisor_error(0, "bad configuration: %s", why);
        return -1;
    }

    supervisor.cores = (uint32_t) sysconf(_SC_NPROCESSORS_ONLN);
    log_open(supervisor.settings->error_log,
             (int) supervisor.settings->log_level);

    return 0;
}


static settings_t *
supervisor_read_settings(int fd, char *why)
{
    char        *text;
    off_t        size;
    ssize_t      n;
    settings_t  *s;

    size = fd == -1 ? -1 : lseek(fd, 0, SEEK_END);

    if (size <= 0 || size > SUPERVISOR_CONFIG_MAX) {
        (void) snprintf(why, SETTINGS_WHY_SIZE, "no text of 1 to %d bytes",
                        SUPERVISOR_CONFIG_MAX);
        return NULL;
    }

    text = loop_alloc((size_t) size);
    n = pread(fd, text, (size_t) size, 0);

    if (n != size) {
        (void) snprintf(why, SETTINGS_WHY_SIZE, "it cannot be read");
        free(text);
        return NULL;
    }

    s = settings_parse(text, (size_t) n, why);
    free(text);

    return s;
}


int
supervisor_configure(int fd, char *note)
{
    settings_t  *s, *old;

    s = supervisor_read_settings(fd, note);

    if (s == NULL) {
        return -1;
    }

    note[0] = '\0';
    old = supervisor.settings;

    if (s->scoreboard != SETTINGS_UNSET
        && (uint64_t) s->scoreboard != supervisor.size)
    {
        (void) snprintf(note, SETTINGS_WHY_SIZE, "\"faas_scoreboard\" of "
                        "%lld bytes needs a restart, it has %llu",
                        (long long) s->scoreboard,
                        (unsigned long long) supervisor.size);
    }

    supervisor.settings = s;
    supervisor_apply();
    (void) deposit_put(fd, "config");

    version_configured(old);
    deploy_configured();

    settings_free(old);

    return 0;
}


/* what follows from the settings besides functions */

static void
supervisor_apply(void)
{
    settings_t  *s;

    s = supervisor.settings;

    log_open(s->error_log, (int) s->log_level);

    if (s->memory != SETTINGS_UNSET) {
        supervisor.memory = (uint64_t) s->memory;

    } else {
        supervisor.memory = (uint64_t) sysconf(_SC_PHYS_PAGES)
                            * (uint64_t) sysconf(_SC_PAGESIZE) / 2;
    }

    slot_init(s->group);
}


static int
supervisor_directories(void)
{
    int      fd;
    int64_t  group;

    group = geteuid() == 0 ? supervisor.settings->group : SETTINGS_UNSET;

    if (supervisor_directory("slots", group >= 0 ? 0750 : 0700, group) == -1
        || supervisor_directory("log", 0750, SETTINGS_UNSET) == -1)
    {
        return -1;
    }

    fd = openat(host.state_dir, "log", O_RDONLY|O_DIRECTORY|O_CLOEXEC);

    if (fd == -1) {
        supervisor_error(errno, "could not open \"log\" in faas_state");
        return -1;
    }

    journal_directory(fd);

    return 0;
}


/* nobody but us may write there, whoever made it: not through a link, and not
   what another user owns */

static int
supervisor_directory(const char *name, mode_t mode, int64_t group)
{
    int          fd;
    struct stat  st;

    if (mkdirat(host.state_dir, name, mode) == -1 && errno != EEXIST) {
        supervisor_error(errno, "could not create \"%s\" in faas_state",
                         name);
        return -1;
    }

    fd = openat(host.state_dir, name,
                O_RDONLY|O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC);

    if (fd == -1 || fstat(fd, &st) == -1) {
        supervisor_error(errno, "could not open \"%s\" in faas_state", name);
        goto failed;
    }

    if (st.st_uid != geteuid()) {
        supervisor_error(0, "\"%s\" in faas_state is owned by uid %u", name,
                         (unsigned) st.st_uid);
        goto failed;
    }

    if ((group >= 0 && fchown(fd, (uid_t) -1, (gid_t) group) == -1)
        || fchmod(fd, mode) == -1)
    {
        supervisor_error(errno, "could not change the mode of \"%s\" in "
                         "faas_state", name);
        goto failed;
    }

    close(fd);

    return 0;

failed:

    if (fd != -1) {
        close(fd);
    }

    return -1;
}


static int
supervisor_board(void)
{
    void         *p;
    struct stat   st;
    const char   *why;

    supervisor.board_fd = deposit_take("board");

    if (supervisor.board_fd == -1) {
        return supervisor_new_board();
    }

    host.restarted = 1;
    supervisor.adopting = 1;

    if (fstat(supervisor.board_fd, &st) == -1) {
        supervisor_error(errno, "fstat failed for the scoreboard");
        return -1;
    }

    supervisor.size = (uint64_t) st.st_size;

    p = mmap(NULL, supervisor.size, PROT_READ|PROT_WRITE, MAP_SHARED,
             supervisor.board_fd, 0);

    if (p == MAP_FAILED) {
        supervisor_error(errno, "mmap failed for the scoreboard");
        return -1;
    }

    why = faas_scoreboard_check(p, supervisor.size);

    if (why != NULL) {
        supervisor_error(0, "the scoreboard cannot be adopted: %s", why);
        return -1;
    }

    supervisor.board = p;
    atomic_fetch_add(&supervisor.board->restarts, 1);

    return 0;
}


static int
supervisor_new_board(void)
{
    int   fd;
    void *p;

    supervisor.size = supervisor.settings->scoreboard == SETTINGS_UNSET
                      ? FAAS_SCOREBOARD_SIZE_DEFAULT
                      : (uint64_t) supervisor.settings->scoreboard;

    fd = memfd_create("faas-scoreboard", MFD_CLOEXEC|MFD_ALLOW_SEALING);
    p = MAP_FAILED;

    if (fd == -1
        || ftruncate(fd, (off_t) supervisor.size) == -1
        || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK|F_SEAL_GROW|F_SEAL_SEAL) == -1
        || (p = mmap(NULL, supervisor.size, PROT_READ|PROT_WRITE, MAP_SHARED,
                     fd, 0))
           == MAP_FAILED)
    {
        supervisor_error(errno, "could not make a scoreboard of %llu bytes",
                         (unsigned long long) supervisor.size);

        if (fd != -1) {
            close(fd);
        }

        return -1;
    }

    if (faas_scoreboard_format(p, supervisor.size, FAAS_RELEASE) != FAAS_OK) {
        supervisor_error(0, "a scoreboard of %llu bytes is out of range",
                         (unsigned long long) supervisor.size);
        close(fd);
        return -1;
    }

    supervisor_clean();

    supervisor.board = p;
    supervisor.board_fd = fd;
    atomic_store(&supervisor.board->started_at, (uint64_t) time(NULL));

    if (deposit_put(fd, "board") == -1) {
        supervisor_error(errno, "the keeper did not take the scoreboard");
        return -1;
    }

    return 0;
}


/* sockets that a host left which was killed with its keeper */

static void
supervisor_clean(void)
{
    int             fd;
    DIR            *dir;
    char           *p;
    struct dirent  *d;

    fd = openat(host.state_dir, "slots", O_RDONLY|O_DIRECTORY|O_CLOEXEC);
    dir = fd != -1 ? fdopendir(fd) : NULL;

    if (dir == NULL) {
        if (fd != -1) {
            close(fd);
        }

        return;
    }

    while ((d = readdir(dir)) != NULL) {
        p = strrchr(d->d_name, '.');

        if (p != NULL && strcmp(p, ".sock") == 0) {
            (void) unlinkat(fd, d->d_name, 0);
        }
    }

    closedir(dir);
}


static int
supervisor_eventfds(void)
{
    uint32_t  i;

    supervisor.event_fd = deposit_take("event");

    if (supervisor.event_fd == -1) {
        supervisor.event_fd = eventfd(0, EFD_CLOEXEC|EFD_NONBLOCK);

        if (supervisor.event_fd == -1
            || deposit_put(supervisor.event_fd, "event") == -1)
        {
            supervisor_error(errno, "eventfd failed");
            return -1;
        }
    }

    for (i = 0; i < FAAS_WORKERS; i++) {

        supervisor.wake[i] = deposit_take("worker/%u", i);

        if (supervisor.wake[i] != -1) {
            continue;
        }

        supervisor.wake[i] = eventfd(0, EFD_CLOEXEC|EFD_NONBLOCK);

        if (supervisor.wake[i] == -1
            || deposit_put(supervisor.wake[i], "worker/%u", i) == -1)
        {
            supervisor_error(errno, "eventfd failed");
            return -1;
        }
    }

    host.kicked.handler = supervisor_kicked;
    host.keeper.handler = supervisor_keeper;

    if (loop_add(&host.kicked, supervisor.event_fd, EPOLLIN) == -1
        || loop_add(&host.keeper, KEEPER_CHANNEL_FD, EPOLLIN) == -1)
    {
        supervisor_error(errno, "epoll_ctl failed");
        return -1;
    }

    return 0;
}


static int
supervisor_signals(void)
{
    int       fd;
    sigset_t  set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGQUIT);
    sigprocmask(SIG_SETMASK, &set, NULL);

    fd = signalfd(-1, &set, SFD_CLOEXEC|SFD_NONBLOCK);

    host.signals.handler = supervisor_signal;

    if (fd == -1 || loop_add(&host.signals, fd, EPOLLIN) == -1) {
        supervisor_error(errno, "signalfd failed");
        return -1;
    }

    return 0;
}


/* entries, versions, slots: in this order each finds what it belongs to */

static void
supervisor_adopt(void)
{
    uint32_t     i, n;
    slot_t      *s, *next;
    version_t   *v, *following;
    function_t  *f;

    slot_adopt_pages();

    n = atomic_load(&supervisor.board->functions_used);

    for (i = 0; i < n && i < supervisor.board->functions; i++) {
        if (atomic_load(&faas_scoreboard_function(supervisor.board, i)->state)
            != FAAS_FUNCTION_FREE)
        {
            (void) function_adopt(i);
        }
    }

    for (i = 0; i < supervisor.board->versions; i++) {
        if (atomic_load(&faas_scoreboard_version(supervisor.board, i)->state)
            == FAAS_VERSION_FREE)
        {
            continue;
        }

        v = version_adopt(i);

        if (v != NULL) {
            slot_adopt(v);
        }
    }

    for (s = slot_live; s != NULL; s = next) {
        next = s->following;
        pool_adopt(s);
    }

    for (f = function_list; f != NULL; f = f->next) {

        function_limits(f);

        for (v = f->versions; v != NULL; v = following) {
            following = v->next;

            if (v->lineage == LINEAGE_NONE) {
                pool_orphaned(v);
            }

            version_idle(v);
        }

        function_wake(f);
        pool_changed(f);
    }

    function_routes_changed();
}


/* -- events ----------------------------------------------------------------- */

static void
supervisor_signal(void *data, uint32_t events)
{
    struct signalfd_siginfo  info;

    (void) data;
    (void) events;

    while (read(host.signals.fd, &info, sizeof(info)) == sizeof(info)) {
        supervisor_drain("it was told to", supervisor.draining);
    }
}


static void
supervisor_kicked(void *data, uint32_t events)
{
    uint64_t  count;

    (void) data;
    (void) events;

    if (read(supervisor.event_fd, &count, sizeof(count)) == sizeof(count)) {
        pool_kicked(count);
    }
}


/* the keeper never speaks after the start: this is its end */

static void
supervisor_keeper(void *data, uint32_t events)
{
    (void) data;
    (void) events;

    (void) loop_remove(&host.keeper);

    log_line(LOG_ALERT, 0, "the keeper is gone, the host ends");
    supervisor_drain("the keeper is gone", 1);
}


static void
supervisor_tick(void *data)
{
    (void) data;

    owner_look();

    if (host.ready != -1) {
        supervisor_settle();
        loop_arm(&host.tick, loop_now_ms() + 10);
        return;
    }

    log_check();
    memory_measure();

    if (!control_has_lifeline() && !supervisor.draining
        && loop_now_ms() - host.started_ms > SUPERVISOR_LONELY_MS)
    {
        supervisor_drain("no nginx has attached", 0);
    }

    loop_arm(&host.tick, loop_now_ms() + 1000);
}


/* nginx goes on when what is in the directory can be served */

static void
supervisor_settle(void)
{
    if (!deploy_is_settled()
        && loop_now_ms() - host.started_ms < SUPERVISOR_READY_MS)
    {
        return;
    }

    supervisor_answer("ready\n");
}


static void
supervisor_answer(const char *line)
{
    if (host.ready == -1) {
        return;
    }

    if (write(host.ready, line, strlen(line)) == -1) {
        log_line(LOG_WARN, errno, "nginx does not wait for us any more");
    }

    close(host.ready);
    deposit_remove("ready");
    host.ready = -1;
}


static void
supervisor_verify(void *data)
{
    (void) data;

    pool_verify();
}


void
supervisor_wake(uint32_t worker)
{
    uint64_t  one;

    one = 1;

    if (worker < FAAS_WORKERS
        && write(supervisor.wake[worker], &one, sizeof(one)) == -1
        && errno != EAGAIN)
    {
        log_line(LOG_ALERT, errno, "write to an eventfd failed");
    }
}


void
supervisor_error(int error, const char *format, ...)
{
    int      n;
    char     text[FAAS_TEXT_SIZE];
    va_list  args;

    va_start(args, format);
    n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);

    log_line(LOG_ERROR, error, "%s", text);

    if (error && n > 0 && n < (int) sizeof(text)) {
        (void) snprintf(text + n, sizeof(text) - (size_t) n, ": %s",
                        strerror(error));
    }

    if (supervisor.board != NULL) {
        faas_text_write(&supervisor.board->last_error, text, strlen(text));
    }

    (void) snprintf(host.error, sizeof(host.error), "%s", text);
}


/* -- the end ---------------------------------------------------------------- */

void
supervisor_drain(const char *why, int at_once)
{
    if (!supervisor.draining) {
        supervisor.draining = 1;
        atomic_store(&supervisor.board->draining, 1);

        log_line(LOG_NOTICE, 0, "the host ends: %s", why);

        deploy_stop();
        (void) zygote_link_end(0);

        host.step = 1;
        host.drain_ms = loop_now_ms() + SUPERVISOR_DRAIN_MS;
        pool_end_all(0);
    }

    if (at_once) {
        host.drain_ms = loop_now_ms();
    }

    loop_arm(&host.drain, loop_now_ms());
}


/*
 * Instances finish, for a while; then the function inits are told to end and
 * kill what is left; then, for a while, they are waited for.
 */

static void
supervisor_drained(void *data)
{
    int          left;
    version_t   *v, *next;
    function_t  *f;

    (void) data;

    if (host.step == 1
        && (slot_live == NULL || loop_now_ms() >= host.drain_ms))
    {
        host.step = 2;
        host.drain_ms = loop_now_ms() + SUPERVISOR_GONE_MS;

        pool_end_all(1);

        for (f = function_list; f != NULL; f = f->next) {
            for (v = f->versions; v != NULL; v = next) {
                next = v->next;
                lineage_end(v);
            }
        }
    }

    if (host.step == 2) {
        left = slot_live != NULL;

        for (f = function_list; f != NULL; f = f->next) {
            for (v = f->versions; v != NULL; v = v->next) {
                left += v->lineage != LINEAGE_NONE;
            }
        }

        left += !zygote_link_end(loop_now_ms() >= host.drain_ms);

        if (left == 0 || loop_now_ms() >= host.drain_ms + 100) {
            host.step = 3;
            return;
        }
    }

    loop_arm(&host.drain, loop_now_ms() + 5);
}


static int
supervisor_end(void)
{
    uint32_t     i, n;
    version_t   *v;
    function_t  *f;

    for (f = function_list; f != NULL; f = f->next) {
        for (v = f->versions; v != NULL; v = v->next) {

            if (v->lineage != LINEAGE_NONE
                && atomic_load(&v->sh->init_pid) > 0)
            {
                (void) kill(atomic_load(&v->sh->init_pid), SIGKILL);
            }
        }
    }

    n = supervisor.board->chunks * FAAS_CHUNK_SLOTS;

    for (i = 0; i < n; i++) {
        slot_remove(i);
    }

    (void) unlink("control");
    atomic_store(&supervisor.board->supervisor_pid, 0);

    log_line(LOG_NOTICE, 0, "the host has ended");

    return KEEPER_ENDED;
}

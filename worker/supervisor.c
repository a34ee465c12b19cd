
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "board.h"
#include "claims.h"
#include "control.h"
#include "data.h"
#include "deploy.h"
#include "deposit.h"
#include "drain.h"
#include "events_link.h"
#include "faas_control.h"
#include "instance_end.h"
#include "keeper.h"
#include "lineage.h"
#include "log.h"
#include "memory.h"
#include "oom.h"
#include "owner.h"
#include "patrol.h"
#include "place.h"
#include "platform.h"
#include "pool.h"
#include "store.h"
#include "supervisor.h"
#include "tenders.h"
#include "zygote_link.h"


/* nginx waits for us at most so long with what it finds loading */
#define SUPERVISOR_READY_MS    3000

/* how often the store is swept */
#define SUPERVISOR_SWEEP_MS    (3600 * 1000)

#define SUPERVISOR_CONFIG_MAX  (8 * 1024 * 1024)


static int supervisor_start(const char *state);
static int supervisor_first_settings(void);
static settings_t *supervisor_read_settings(int fd, char *why);
static void supervisor_adopt(void);
static int supervisor_signals(void);
static void supervisor_signal(void *data, uint32_t events);
static void supervisor_kicked(void *data, uint32_t events);
static void supervisor_keeper(void *data, uint32_t events);
static void supervisor_tick(void *data);
static void supervisor_settle(void);
static void supervisor_answer(const char *line);
static void supervisor_awaited(void);
static void supervisor_verify(void *data);
static void supervisor_apply(void);
static void supervisor_adopt_data(function_t *f);


supervisor_t  supervisor = {
    .board_fd = -1,
    .event_fd = -1,
    .store = -1
};


static struct {
    loop_event_t  signals;
    loop_event_t  kicked;
    loop_event_t  keeper;
    loop_timer_t  tick;
    loop_timer_t  verify;
    uint64_t      started_ms;
    uint64_t      swept_ms;
    int           ready;             /* the pipe to the nginx that started us;
                                        -1: it has attached, or is gone */
    int           told;              /* 1: it was told that we are ready */
    char          error[256];        /* why we could not start */
} host = { .ready = -1 };


int
supervisor_run(const char *state)
{
    char      line[300];
    unsigned  number;

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
    supervisor.restarted = deposit_has_any("board", &number);

    if (supervisor_start(state) == -1) {
        (void) snprintf(line, sizeof(line), "error: %s\n", host.error);
        supervisor_answer(line);

        /* after a restart there is something worth another attempt */

        return supervisor.restarted ? 1 : KEEPER_BAD_START;
    }

    while (!drain_is_over()) {
        if (loop_turn() == -1) {
            log_line(LOG_ALERT, errno, "epoll_wait failed");
            return 1;
        }
    }

    return drain_end();
}


static int
supervisor_start(const char *state)
{
    /* the directory that is locked, whatever has its name now */

    supervisor.state_dir = openat(KEEPER_LOCK_FD, ".",
                                  O_RDONLY|O_DIRECTORY|O_CLOEXEC);

    if (supervisor.state_dir == -1 || fchdir(supervisor.state_dir) == -1) {
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
    host.swept_ms = host.started_ms;

    if (supervisor_first_settings() == -1
        || board_directories() == -1
        || board_open() == -1
        || board_eventfds() == -1
        || supervisor_signals() == -1)
    {
        return -1;
    }

    host.kicked.handler = supervisor_kicked;
    host.keeper.handler = supervisor_keeper;

    if (loop_add(&host.kicked, supervisor.event_fd, EPOLLIN) == -1
        || loop_add(&host.keeper, KEEPER_CHANNEL_FD, EPOLLIN) == -1)
    {
        supervisor_error(errno, "epoll_ctl failed");
        return -1;
    }

    supervisor.store = store_open(supervisor.state_dir);

    if (supervisor.store == -1) {
        supervisor_error(errno, "could not open the store in \"%s\"", state);
        return -1;
    }

    supervisor_apply();
    slot_init();
    function_init();
    claims_init();

    patrol_init();
    oom_look();

    if (zygote_link_init() == -1) {
        return -1;
    }

    if (supervisor.restarted) {
        supervisor_adopt();
    }

    tenders_init();

    if (events_link_init() == -1) {
        return -1;
    }

    if (control_init(supervisor.state_dir) == -1) {
        supervisor_error(errno, "could not listen on \"%s/control\"", state);
        return -1;
    }

    platform_deploy();

    if (deploy_watch() == -1) {
        return -1;
    }

    if (host.ready == -1) {
        events_link_begin();
    }

    deposit_settle();
    owner_look();

    host.tick.handler = supervisor_tick;
    loop_arm(&host.tick, loop_now_ms() + 10);

    atomic_store(&supervisor.board->supervisor_pid, getpid());

    if (supervisor.restarted) {
        host.verify.handler = supervisor_verify;
        loop_arm(&host.verify, loop_now_ms() + 1000);
        log_line(LOG_NOTICE, 0, "supervisor %d has adopted the host",
                 (int) getpid());

        if (atomic_load(&supervisor.board->draining)) {
            drain_begin("it was ending", 0);
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

    /* before it is with the keeper: whoever takes over a process has the
       configuration that it was started with, or the process is ending */

    events_link_configured();
    (void) deposit_put(fd, "config");

    version_configured(old);
    deploy_configured();
    tenders_changed();

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

    place_init(s->group);
    data_shares();
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

    place_adopt_pages();

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
        supervisor_adopt_data(f);
        version_adopt_unready(f);

        for (v = f->versions; v != NULL; v = following) {
            following = v->next;

            if (v->lineage == LINEAGE_NONE) {
                instance_end_orphaned(v);
            }

            if (version_is_leftover(v)) {
                version_drop(v);
            }

            version_idle(v);
        }

        function_wake(f);
        pool_changed(f);
    }

    claims_changed();
}


/* whose data it has is not on the board */

static void
supervisor_adopt_data(function_t *f)
{
    char    why[SETTINGS_WHY_SIZE];
    user_t  user;

    if (f->present
        && (user_of_function(f, &user, why) == -1
            || function_data(f, &user, why) == -1))
    {
        function_error(f, LOG_ERROR, "%s", why);
    }
}


/* -- events ---------------------------------------------------------------- */

static void
supervisor_signal(void *data, uint32_t events)
{
    struct signalfd_siginfo  info;

    (void) data;
    (void) events;

    while (read(host.signals.fd, &info, sizeof(info)) == sizeof(info)) {
        drain_begin("it was told to", supervisor.draining);
    }
}


static void
supervisor_kicked(void *data, uint32_t events)
{
    uint64_t  count;

    (void) data;
    (void) events;

    if (read(supervisor.event_fd, &count, sizeof(count)) == sizeof(count)) {
        patrol_kicked(count);
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
    drain_begin("the keeper is gone", 0);
}


static void
supervisor_tick(void *data)
{
    (void) data;

    owner_look();

    if (host.ready != -1) {

        if (!host.told) {
            supervisor_settle();
        }

        supervisor_awaited();
        loop_arm(&host.tick, loop_now_ms() + 10);
        return;
    }

    log_check();
    memory_measure();
    oom_look();

    if (loop_now_ms() - host.swept_ms > SUPERVISOR_SWEEP_MS) {
        host.swept_ms = loop_now_ms();
        deploy_sweep();
    }

    if (!control_has_lifeline() && !supervisor.draining) {
        drain_begin("no nginx is there", 0);
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

    host.told = 1;
    events_link_begin();
}


/*
 * The nginx that started us keeps its end of the pipe until it has attached.
 * One that was killed before has not: there is nobody to be there for, and in
 * the next tick we end.
 */

static void
supervisor_awaited(void)
{
    struct pollfd  p;

    p.fd = host.ready;
    p.events = 0;

    if (poll(&p, 1, 0) < 1) {
        return;
    }

    close(host.ready);
    deposit_remove("ready");
    host.ready = -1;
}


static void
supervisor_verify(void *data)
{
    (void) data;

    instance_end_verify();
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

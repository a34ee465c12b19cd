
/*
 * The process: descriptors as they come, the channel, settings and engine,
 * the turns of the loop, the end.
 *
 *   waiting ---> serving <---> changing
 *                   |             |
 *                   +--> ending <-+
 *
 * waiting: for the first settings.  changing: another engine is configured;
 * what is under way is given its time, as at the end, then the old engine is
 * closed and the new one opened.  ending: the channel was closed, or SIGTERM.
 */


#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "events_channel.h"
#include "events_consume.h"
#include "events_deliver.h"
#include "events_server.h"
#include "log.h"
#include "loop.h"


#define EVENTS_TICK_MS      1000
#define EVENTS_GRACE_MS     1000        /* for what is under way at the end */
#define EVENTS_LOOK_OFTEN   20          /* is it over? */
#define EVENTS_PACKET       512


typedef enum {
    EVENTS_WAITING = 0,
    EVENTS_SERVING,
    EVENTS_CHANGING,
    EVENTS_ENDING
} events_state_e;


static int events_prepare(void);
static int events_signals(void);
static int events_check_fds(void);
static void events_channel(void *data, uint32_t mask);
static void events_channel_send(const char *text);
static void events_take(events_settings_t *s);
static int events_start(events_settings_t *s, char *why, size_t size);
static void events_apply(events_settings_t *s);
static queue_t *events_open(const events_settings_t *s, char *why,
    size_t size);
static void events_watch(void);
static void events_readable(void *data, uint32_t mask);
static void events_woken(const char *queue, void *data);
static void events_signal(void *data, uint32_t mask);
static void events_end(events_state_e state);
static void events_wait(void *data);
static void events_close(void);
static void events_change(void);
static void events_tick(void *data);
static void events_cleanup(void);


events_t  events;


static struct {
    events_state_e            state;
    int                       over;        /* leave the loop */
    loop_event_t              channel;
    loop_event_t              signals;
    loop_event_t              engine;      /* its descriptor */
    loop_timer_t              tick;
    loop_timer_t              wait;
    uint64_t                  until_ms;    /* of changing and ending */
    queue_t                  *next;        /* the engine after a change */
    events_settings_t        *settings;    /* events.settings */
    events_settings_t        *pending;     /* for the next engine */
} process = {
    .channel.fd = -1, .signals.fd = -1, .engine.fd = -1
};


int
main(void)
{
    if (events_prepare() != 0) {
        return 1;
    }

    while (!process.over) {

        if (loop_turn() == -1) {
            log_line(LOG_ALERT, errno, "epoll_wait() failed");
            return 1;
        }
    }

    events_cleanup();

    return 0;
}


int64_t
events_now_ms(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_REALTIME, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


int64_t
events_deadline(int64_t ms)
{
    return (int64_t) (loop_clock_us() / 1000) + ms;
}


uint64_t
events_random(void)
{
    uint64_t         chance;
    static size_t    left;
    static uint64_t  pool[32];

    if (left == 0) {

        while (getrandom(pool, sizeof(pool), 0) != sizeof(pool)) {
            /* void: only a signal could interrupt it, and none has a handler */
        }

        left = sizeof(pool) / sizeof(pool[0]);
    }

    chance = pool[--left];
    pool[left] = 0;

    return chance;
}


void
events_id(char *id)
{
    (void) snprintf(id, FAAS_MESSAGE_ID_SIZE, "%016llx%016llx",
                    (unsigned long long) events_random(),
                    (unsigned long long) events_random());
}


int
events_id_is_valid(const char *id)
{
    size_t  n;

    n = strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                   "0123456789._:-");

    return n > 0 && n < FAAS_MESSAGE_ID_SIZE && id[n] == '\0';
}


static int
events_prepare(void)
{
    struct rlimit  limit;

    umask(077);

    /* functions may run as this user: what is in our memory is not theirs */

#ifndef __SANITIZE_ADDRESS__
    (void) prctl(PR_SET_DUMPABLE, 0);
#endif
    (void) prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max < 65536 ? limit.rlim_max : 65536;
        (void) setrlimit(RLIMIT_NOFILE, &limit);
    }

    if (events_check_fds() != 0) {
        return -1;
    }

    if (loop_init() == -1) {
        log_line(LOG_EMERG, errno, "epoll_create1() failed");
        return -1;
    }

    if (events_signals() != 0 || events_deliver_init() != 0) {
        return -1;
    }

    events_consume_init();

    process.channel.handler = events_channel;
    process.engine.handler = events_readable;
    process.tick.handler = events_tick;
    process.wait.handler = events_wait;

    if (loop_add(&process.channel, EVENTS_FD_CHANNEL, EPOLLIN) == -1) {
        log_line(LOG_EMERG, errno, "the channel cannot be polled");
        return -1;
    }

    return 0;
}


static int
events_signals(void)
{
    int       fd;
    sigset_t  set;

    (void) signal(SIGPIPE, SIG_IGN);

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGQUIT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
    (void) sigprocmask(SIG_BLOCK, &set, NULL);

    fd = signalfd(-1, &set, SFD_NONBLOCK|SFD_CLOEXEC);
    process.signals.handler = events_signal;

    if (fd == -1 || loop_add(&process.signals, fd, EPOLLIN) == -1) {
        log_line(LOG_EMERG, errno, "signalfd() failed");
        return -1;
    }

    return 0;
}


/* who starts this by hand is told, instead of seeing odd failures */

static int
events_check_fds(void)
{
    int        type, listening;
    socklen_t  size;

    size = sizeof(type);

    if (getsockopt(EVENTS_FD_CHANNEL, SOL_SOCKET, SO_TYPE, &type, &size) == -1
        || type != SOCK_SEQPACKET)
    {
        log_line(LOG_EMERG, 0, "faas-events is started by faas-supervisor: "
                 "descriptor %d is no channel", EVENTS_FD_CHANNEL);
        return -1;
    }

    size = sizeof(listening);

    if (getsockopt(EVENTS_FD_LISTEN, SOL_SOCKET, SO_ACCEPTCONN, &listening,
                   &size)
        == -1 || !listening)
    {
        log_line(LOG_EMERG, 0, "descriptor %d does not listen",
                 EVENTS_FD_LISTEN);
        return -1;
    }

    (void) fcntl(EVENTS_FD_CHANNEL, F_SETFD, FD_CLOEXEC);
    (void) fcntl(EVENTS_FD_LISTEN, F_SETFD, FD_CLOEXEC);
    (void) fcntl(EVENTS_FD_CHANNEL, F_SETFL, O_NONBLOCK);
    (void) fcntl(EVENTS_FD_LISTEN, F_SETFL, O_NONBLOCK);

    return 0;
}


static void
events_channel(void *data, uint32_t mask)
{
    int                 fd, n;
    char                packet[EVENTS_PACKET], why[EVENTS_WHY_SIZE];
    events_settings_t  *s;

    (void) data;
    (void) mask;

    n = events_channel_recv(packet, sizeof(packet), &fd);

    if (n == 0) {
        return;
    }

    if (n == -1) {
        (void) loop_remove(&process.channel);
        events_end(EVENTS_ENDING);
        return;
    }

    if (strcmp(packet, "settings") != 0 || fd == -1) {
        log_line(LOG_ALERT, 0, "unknown message \"%s\" from the supervisor",
                 packet);

        if (fd != -1) {
            close(fd);
        }

        return;
    }

    s = events_channel_settings(fd, why, sizeof(why));
    close(fd);

    if (s != NULL) {
        events_take(s);
        return;
    }

    log_line(LOG_ERROR, 0, "settings of events are refused: %s", why);
    (void) snprintf(packet, sizeof(packet), "error %s", why);
    events_channel_send(packet);
}


static void
events_channel_send(const char *text)
{
    if (process.channel.fd != -1
        && send(EVENTS_FD_CHANNEL, text, strlen(text),
                MSG_NOSIGNAL|MSG_DONTWAIT)
           == -1)
    {
        log_line(LOG_ERROR, errno, "the supervisor cannot be told \"%s\"",
                 text);
    }
}


/* settings that are well-formed; an engine that cannot be refuses them */

static void
events_take(events_settings_t *s)
{
    queue_t  *q;
    char      why[EVENTS_WHY_SIZE], packet[EVENTS_PACKET];

    if (process.state == EVENTS_ENDING) {
        events_settings_free(s);
        return;
    }

    if (process.state == EVENTS_WAITING) {

        if (events_start(s, why, sizeof(why)) == 0) {
            return;
        }

    } else if (process.state == EVENTS_SERVING
               && strcmp(s->queue, process.settings->queue) == 0)
    {
        events_apply(s);
        events_channel_send("ready");
        return;

    } else {
        q = events_open(s, why, sizeof(why));

        if (q != NULL) {

            if (process.next != NULL) {
                process.next->engine->close(process.next);
            }

            events_settings_free(process.pending);
            process.next = q;
            process.pending = s;

            if (process.state == EVENTS_SERVING) {
                events_end(EVENTS_CHANGING);
            }

            return;
        }
    }

    events_settings_free(s);
    (void) snprintf(packet, sizeof(packet), "error %s", why);
    events_channel_send(packet);
}


static int
events_start(events_settings_t *s, char *why, size_t size)
{
    log_open(s->error_log, s->log_level);
    events.queue = events_open(s, why, size);

    if (events.queue == NULL) {
        return -1;
    }

    if (events_server_init(EVENTS_FD_LISTEN) != 0) {
        (void) snprintf(why, size, "baas.sock cannot be polled");
        events.queue->engine->close(events.queue);
        events.queue = NULL;
        return -1;
    }

    events_apply(s);
    events_watch();
    loop_arm(&process.tick, loop_now_ms() + EVENTS_TICK_MS);

    process.state = EVENTS_SERVING;
    events_channel_send("ready");
    log_line(LOG_NOTICE, 0, "events: %zu functions, queues in %s",
             s->nfunctions, events.queue->engine->name);

    return 0;
}


static void
events_apply(events_settings_t *s)
{
    events_settings_t  *old;

    old = process.settings;
    process.settings = s;
    events.settings = s;

    log_open(s->error_log, s->log_level);
    events_server_settings();
    events_calls_settings();
    events_timers_settings();
    events_consume_settings();

    events_settings_free(old);
}


static queue_t *
events_open(const events_settings_t *s, char *why, size_t size)
{
    queue_t               *q;
    const queue_engine_t  *engine;

    engine = queue_engine(s->queue);

    if (engine == NULL) {
        (void) snprintf(why, size, "unknown engine \"%.80s\"", s->queue);
        log_line(LOG_ERROR, 0, "%s", why);
        return NULL;
    }

    q = engine->open(s->queue, s->state, s->node, why, size);

    if (q == NULL) {
        log_line(LOG_ERROR, 0, "queues cannot be opened: %s", why);
    }

    return q;
}


/* the engine's descriptor: after it connected again it is another one, also
   when it has the same number, so it is always added anew */

static void
events_watch(void)
{
    int  fd;

    fd = events.queue ? events.queue->engine->descriptor(events.queue) : -1;

    (void) loop_remove(&process.engine);

    if (fd != -1 && loop_add(&process.engine, fd, EPOLLIN) == -1) {
        log_line(LOG_ALERT, errno, "the engine of queues cannot be polled");
    }
}


static void
events_readable(void *data, uint32_t mask)
{
    (void) data;
    (void) mask;

    if (events.queue != NULL) {
        events.queue->engine->readable(events.queue, events_woken, NULL);
        events_watch();
    }
}


static void
events_woken(const char *queue, void *data)
{
    (void) data;

    events_consume_wake(queue);
}


static void
events_signal(void *data, uint32_t mask)
{
    struct signalfd_siginfo  info;

    (void) data;
    (void) mask;

    while (read(process.signals.fd, &info, sizeof(info)) == sizeof(info)) {

        switch (info.ssi_signo) {

        case SIGUSR1:
            log_check();
            break;

        case SIGHUP:
            break;

        default:
            events_end(EVENTS_ENDING);
        }
    }
}


/* nothing new from now on; what is under way has its second */

static void
events_end(events_state_e state)
{
    if (process.state == EVENTS_WAITING) {
        process.over = 1;
        return;
    }

    if (process.state == EVENTS_ENDING) {
        return;
    }

    if (process.state == EVENTS_SERVING) {
        events_send_flush();
        events_timers_end();
        events_calls_end();
        process.until_ms = loop_now_ms() + EVENTS_GRACE_MS;
    }

    process.state = state;
    events.ending = 1;

    if (state == EVENTS_ENDING) {
        events_server_stop();
    }

    loop_arm(&process.wait, loop_now_ms());
}


static void
events_wait(void *data)
{
    (void) data;

    if (events_consume_busy() && loop_now_ms() < process.until_ms) {
        loop_arm(&process.wait, loop_now_ms() + EVENTS_LOOK_OFTEN);
        return;
    }

    events_close();

    if (process.state == EVENTS_CHANGING) {
        events_change();

    } else {
        process.over = 1;
    }
}


static void
events_close(void)
{
    events_consume_end();

    (void) loop_remove(&process.engine);

    if (events.queue != NULL) {
        events.queue->engine->close(events.queue);
        events.queue = NULL;
    }
}


static void
events_change(void)
{
    events_settings_t  *s;

    s = process.pending;
    process.pending = NULL;
    events.queue = process.next;
    process.next = NULL;
    events.ending = 0;
    process.state = EVENTS_SERVING;

    events_apply(s);
    events_watch();
    events_channel_send("ready");
    log_line(LOG_NOTICE, 0, "events: queues are in %s now",
             events.queue->engine->name);
}


static void
events_tick(void *data)
{
    (void) data;

    loop_arm(&process.tick, loop_now_ms() + EVENTS_TICK_MS);
    log_check();

    if (events.queue != NULL) {
        events.queue->engine->tick(events.queue, events_now_ms(),
                                   events_deadline(EVENTS_LOOK_MS));
        events_watch();
    }
}


static void
events_cleanup(void)
{
    if (process.settings != NULL) {
        events_server_cleanup();
    }

    if (process.next != NULL) {
        process.next->engine->close(process.next);
    }

    events_deliver_cleanup();
    events_settings_free(process.pending);
    events_settings_free(process.settings);
}


#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include "log.h"
#include "loop.h"
#include "tender.h"
#include "tender_place.h"
#include "tender_settings.h"


#define TENDER_TICK_MS        1000
#define TENDER_SOON_MS        100
#define TENDER_SETTINGS_MAX   (16 * 1024 * 1024)
#define TENDER_PACKET         64

/* before it, two connections that write and checkpoint at once can corrupt */
#define TENDER_SQLITE_FIXED   3051003


static void tender_signals(void);
static void tender_channel(void *data, uint32_t events);
static int tender_receive(char *packet, size_t size, int *fd);
static void tender_take(int fd);
static char *tender_read(int fd, size_t *n);
static int tender_apply(const tender_settings_t *s);
static tender_place_t *tender_find(const tender_settings_place_t *want);
static int tender_is(const tender_place_t *p,
    const tender_settings_place_t *want);
static void tender_say(const char *text);
static void tender_tick(void *data);


static struct {
    loop_event_t              channel;
    loop_timer_t              timer;
    char                     *state;
    tender_place_t           *places;
    unsigned                  settings;    /* counts those applied */
} tender;


int
main(void)
{
    struct rlimit  limit;

    tender_signals();

    /* each open database takes three descriptors */

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void) setrlimit(RLIMIT_NOFILE, &limit);
    }

    if (loop_init() == -1) {
        log_line(LOG_EMERG, errno, "tender: epoll_create1() failed");
        return 1;
    }

    tender.channel.handler = tender_channel;
    tender.timer.handler = tender_tick;

    if (loop_add(&tender.channel, TENDER_FD_CHANNEL, EPOLLIN) == -1) {
        log_line(LOG_EMERG, errno, "tender: no channel; it is started by "
                 "faas-supervisor");
        return 1;
    }

    if (sqlite3_libversion_number() < TENDER_SQLITE_FIXED) {
        log_line(LOG_NOTICE, 0, "SQLite %s: each database is checkpointed by "
                 "one process only, since before 3.51.3 two of them can "
                 "corrupt it", sqlite3_libversion());
    }

    for ( ;; ) {
        if (loop_turn() == -1) {
            log_line(LOG_EMERG, errno, "tender: epoll_wait() failed");
            return 1;
        }
    }
}


static void
tender_signals(void)
{
    size_t  i;

    /* what nginx's own signals mean is the supervisor's business */

    static const int  ignored[] = {
        SIGPIPE, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH, SIGXFSZ
    };

    for (i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++) {
        (void) signal(ignored[i], SIG_IGN);
    }
}


/* -- the supervisor -------------------------------------------------------- */

static void
tender_channel(void *data, uint32_t events)
{
    int   rc, fd;
    char  packet[TENDER_PACKET];

    (void) data;
    (void) events;

    for ( ;; ) {
        rc = tender_receive(packet, sizeof(packet), &fd);

        if (rc == 0) {
            return;
        }

        if (rc == -1) {

            /* the end: what was committed is in the files, and their locks go
               with the process */

            _exit(0);
        }

        if (strcmp(packet, "settings") == 0 && fd != -1) {
            tender_take(fd);

        } else {
            log_line(LOG_ALERT, 0, "tender: not a message: \"%s\"", packet);
        }

        if (fd != -1) {
            close(fd);
        }
    }
}


/* 1: a packet, with a descriptor or -1; 0: none now; -1: the end */

static int
tender_receive(char *packet, size_t size, int *fd)
{
    ssize_t          n;
    struct iovec     iov;
    struct msghdr    msg;
    struct cmsghdr  *cmsg;

    union {
        struct cmsghdr  align;
        char            bytes[CMSG_SPACE(sizeof(int))];
    } control;

    *fd = -1;

    memset(&msg, 0, sizeof(msg));

    iov.iov_base = packet;
    iov.iov_len = size - 1;
    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    msg.msg_control = control.bytes;
    msg.msg_controllen = sizeof(control.bytes);

    do {
        n = recvmsg(tender.channel.fd, &msg, MSG_DONTWAIT|MSG_CMSG_CLOEXEC);
    } while (n == -1 && errno == EINTR);

    if (n == -1) {
        return errno == EAGAIN ? 0 : -1;
    }

    for (cmsg = CMSG_FIRSTHDR(&msg);
         cmsg != NULL;
         cmsg = CMSG_NXTHDR(&msg, cmsg))
    {
        if (cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS
            && cmsg->cmsg_len == CMSG_LEN(sizeof(int)))
        {
            memcpy(fd, CMSG_DATA(cmsg), sizeof(int));
        }
    }

    if (n == 0) {
        return -1;
    }

    packet[n] = '\0';

    return 1;
}


static void
tender_take(int fd)
{
    char               *text, why[256], line[sizeof(why) + 8];
    size_t              n;
    tender_settings_t   s;

    text = tender_read(fd, &n);

    if (text == NULL) {
        tender_say("error the settings cannot be read");
        return;
    }

    if (tender_settings_parse(&s, text, n, why, sizeof(why)) == -1) {
        free(text);
        snprintf(line, sizeof(line), "error %s", why);
        tender_say(line);
        return;
    }

    free(text);

    if (tender_apply(&s) == -1) {
        tender_say("error out of memory");

    } else {
        tender_say("ready");
    }

    tender_settings_free(&s);
}


static char *
tender_read(int fd, size_t *n)
{
    char        *text;
    size_t       got;
    ssize_t      rc;
    struct stat  st;

    if (fstat(fd, &st) == -1 || st.st_size < 0
        || st.st_size > TENDER_SETTINGS_MAX)
    {
        return NULL;
    }

    text = malloc((size_t) st.st_size + 1);
    if (text == NULL) {
        return NULL;
    }

    for (got = 0; got < (size_t) st.st_size; got += (size_t) rc) {
        rc = pread(fd, text + got, (size_t) st.st_size - got, (off_t) got);

        if (rc <= 0) {
            free(text);
            return NULL;
        }
    }

    *n = got;

    return text;
}


/* places that stay the same keep what is open; the others are left */

static int
tender_apply(const tender_settings_t *s)
{
    int               rc;
    size_t            i;
    tender_place_t   *p, **last;

    log_open(s->error_log, s->log_level);

    if (tender.state == NULL || strcmp(tender.state, s->state) != 0) {
        while (tender.places != NULL) {
            p = tender.places;
            tender.places = p->next;
            tender_place_destroy(p);
        }

        free(tender.state);
        tender.state = strdup(s->state);

        if (tender.state == NULL) {
            return -1;
        }
    }

    tender.settings++;
    rc = 0;

    for (i = 0; i < s->places; i++) {
        p = tender_find(&s->place[i]);

        if (p == NULL) {
            rc = -1;
            continue;
        }

        p->wanted = tender.settings;
    }

    for (last = &tender.places; *last != NULL; /* void */ ) {
        p = *last;

        if (p->wanted == tender.settings) {
            last = &p->next;
            continue;
        }

        *last = p->next;
        tender_place_destroy(p);
    }

    loop_arm(&tender.timer, loop_now_ms());

    return rc;
}


static tender_place_t *
tender_find(const tender_settings_place_t *want)
{
    tender_place_t  *p;

    for (p = tender.places; p != NULL; p = p->next) {
        if (tender_is(p, want)) {
            return p;
        }
    }

    p = tender_place_create(tender.state, want->name, want->path,
                            want->token);

    if (p != NULL) {
        p->next = tender.places;
        tender.places = p;
    }

    return p;
}


static int
tender_is(const tender_place_t *p, const tender_settings_place_t *want)
{
    if (strcmp(p->name, want->name) != 0 || strcmp(p->path, want->path) != 0) {
        return 0;
    }

    if (p->token == NULL || want->token == NULL) {
        return p->token == want->token;
    }

    return strcmp(p->token, want->token) == 0;
}


/* a supervisor that does not listen is told nothing */

static void
tender_say(const char *text)
{
    (void) send(TENDER_FD_CHANNEL, text, strlen(text),
                MSG_NOSIGNAL|MSG_DONTWAIT);
}


/* -- the turns ------------------------------------------------------------- */

static void
tender_tick(void *data)
{
    int              soon;
    tender_place_t  *p;

    (void) data;

    log_check();

    soon = 0;

    for (p = tender.places; p != NULL; p = p->next) {
        soon |= tender_place_tick(p, (int64_t) (loop_clock_us() / 1000));
    }

    loop_arm(&tender.timer,
             loop_clock_us() / 1000 + (soon ? TENDER_SOON_MS
                                            : TENDER_TICK_MS));
}

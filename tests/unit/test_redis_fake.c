/* objects: $(filter-out baas/kv_%,$(BAAS_REDIS)) baas/process_mark.c */
/* libs: -lhiredis */

/*
 * What a Redis may answer, and what nobody should: a server of our own, on a
 * thread, that says what a test has written for it.
 */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <poll.h>
#include <pthread.h>

#include "redis_inner.h"
#include "redis_server.h"


typedef enum {
    SAY = 0,                   /* `text`, then the next step */
    DRIP,                      /* each byte of it alone */
    HANG,                      /* nothing, until the client closes */
    CLOSE,                     /* `text`, then the end */
    RESET                      /* `text`, then RST */
} act_e;

/* waits for `expected` in what the client says, then acts */

typedef struct {
    const char  *expected;     /* NULL: the next connection */
    act_e        act;
    const char  *text;
} step_t;


static struct {
    char           directory[64];
    char           path[96];
    int            listening;
    int            port;
    pthread_t      thread;
    const step_t  *steps;
    int            connections;    /* accepted */
    int            misses;         /* steps whose text never came */
    char           seen[1 << 16];  /* what clients said, all of it */
    size_t         size;
} fake;


/* -- the server ------------------------------------------------------------ */

static void
fake_say(int s, const char *text, int drip)
{
    size_t  n;

    if (text == NULL) {
        return;
    }

    for (n = strlen(text); n > 0; text += drip ? 1 : strlen(text)) {
        if (send(s, text, drip ? 1 : n, MSG_NOSIGNAL) <= 0) {
            return;
        }

        n -= drip ? 1 : n;

        if (drip) {
            server_pause();
        }
    }
}


/* until the text came, from `from` on; 0 at the end of the connection */
static int
fake_expect(int s, size_t *from, const char *expected)
{
    char     *found;
    ssize_t   n;

    for ( ;; ) {
        found = memmem(fake.seen + *from, fake.size - *from, expected,
                       strlen(expected));

        if (found != NULL) {
            *from = (size_t) (found - fake.seen) + strlen(expected);
            return 1;
        }

        n = recv(s, fake.seen + fake.size, sizeof(fake.seen) - 1 - fake.size,
                 0);

        if (n <= 0) {
            return 0;
        }

        fake.size += (size_t) n;
    }
}


/* one connection; the step behind its last */
static const step_t *
fake_serve(int s, const step_t *step)
{
    char           c;
    size_t         from;
    struct linger  linger = { 1, 0 };

    from = fake.size;

    for ( /* void */ ; step->expected != NULL; step++) {
        if (!fake_expect(s, &from, step->expected)) {
            fake.misses++;

            while (step->expected != NULL) {
                step++;
            }

            return step;
        }

        fake_say(s, step->text, step->act == DRIP);

        if (step->act == HANG) {
            while (recv(s, &c, 1, 0) > 0) { /* void */ }
        }

        if (step->act == RESET) {
            (void) setsockopt(s, SOL_SOCKET, SO_LINGER, &linger,
                              sizeof(linger));
        }

        if (step->act >= HANG) {
            while (step->expected != NULL) {
                step++;
            }

            return step;
        }
    }

    /* the client is to close it, or the test ends */

    while (recv(s, &c, 1, 0) > 0) { /* void */ }

    return step;
}


static void *
fake_run(void *data)
{
    int            s;
    const step_t  *step;

    (void) data;

    for (step = fake.steps; ; step++) {
        s = accept(fake.listening, NULL, NULL);

        if (s == -1) {
            break;
        }

        fake.connections++;
        step = fake_serve(s, step);
        (void) close(s);

        if (step->act == CLOSE) {
            break;
        }
    }

    return NULL;
}


/* connections are separated by NEXT, the script ends with END */
#define NEXT  { NULL, SAY, NULL }
#define END   { NULL, CLOSE, NULL }

#define ANSWERS(t)  { "GET", SAY, t }


static void
fake_start(const step_t *steps)
{
    struct sockaddr_un  sun;

    fake.steps = steps;
    fake.connections = 0;
    fake.misses = 0;
    fake.size = 0;
    memset(fake.seen, 0, sizeof(fake.seen));

    (void) strcpy(fake.directory, "/tmp/faas-fake.XXXXXX");
    assert_non_null(mkdtemp(fake.directory));
    (void) snprintf(fake.path, sizeof(fake.path), "%s/s", fake.directory);

    memset(&sun, 0, sizeof(sun));
    sun.sun_family = AF_UNIX;
    (void) strcpy(sun.sun_path, fake.path);

    fake.listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_not_equal(fake.listening, -1);
    assert_int_equal(bind(fake.listening, (struct sockaddr *) &sun,
                          sizeof(sun)), 0);
    assert_int_equal(listen(fake.listening, 16), 0);
    assert_int_equal(pthread_create(&fake.thread, NULL, fake_run, NULL), 0);
}


static void
fake_stop(void)
{
    (void) shutdown(fake.listening, SHUT_RDWR);
    (void) pthread_join(fake.thread, NULL);
    (void) close(fake.listening);
    (void) unlink(fake.path);
    (void) rmdir(fake.directory);
}


static redis_t *
fake_client(const char *login, const char *options)
{
    char      url[256], why[128];
    redis_t  *r;

    (void) snprintf(url, sizeof(url), "redis+unix://%s%s%s", login, fake.path,
                    options);
    r = redis_create(url, why, sizeof(why));
    assert_non_null(r);

    return r;
}

#define PLAIN  "", ""


/* -- short forms ----------------------------------------------------------- */

static int
get(redis_t *r, unsigned flags, int64_t ms)
{
    int           rc;
    faas_bytes_t  argv[2] = { faas_text("GET"), faas_text("k") };

    rc = redis_do(r, faas_text("k"), flags, redis_now_ms() + ms, argv, 2);

    return rc;
}


static void
got(redis_t *r, const char *expected)
{
    size_t       n;
    const char  *text;

    text = redis_reply_text(redis_answer(r, 0), &n);
    assert_non_null(text);
    assert_string_equal(text, expected);
}


/* what has a back-off is in it from now on, however slow this machine is */
static void
hold(redis_t *r)
{
    assert_int_not_equal(r->nodes[0]->until_ms, 0);
    r->nodes[0]->until_ms = redis_now_ms() + 600000;
}


/* the server has said something, or closed the connection */
static void
until_readable(redis_t *r)
{
    struct pollfd  pfd;

    pfd.fd = r->nodes[0]->link.fd;
    pfd.events = POLLIN;
    assert_int_not_equal(pfd.fd, -1);
    assert_int_equal(poll(&pfd, 1, 10000), 1);
}


/* -- errors ---------------------------------------------------------------- */

static void
test_an_error_is_a_code_and_keeps_the_connection(void **state)
{
    size_t    i;
    redis_t  *r;

    static const struct {
        const char  *wire;
        int          code;
    } errors[] = {
        { "-LOADING Redis is loading\r\n", FAAS_EUNAVAILABLE },
        { "-READONLY You can't write\r\n", FAAS_EREADONLY },
        { "-OOM command not allowed\r\n", FAAS_EFULL },
        { "-MOVED 1 127.0.0.1:1\r\n", FAAS_EUNAVAILABLE },
        { "-ASK 1 127.0.0.1:1\r\n", FAAS_EUNAVAILABLE },
        { "-CLUSTERDOWN down\r\n", FAAS_EUNAVAILABLE },
        { "-TRYAGAIN later\r\n", FAAS_EBUSY },
        { "-NOPERM no\r\n", FAAS_EDENIED },
        { "-MASTERDOWN down\r\n", FAAS_EUNAVAILABLE },
        { "-BUSY script\r\n", FAAS_EBUSY },
        { "-MISCONF disk\r\n", FAAS_EREADONLY },
        { "-ERR whatever\r\n", FAAS_ERROR }
    };

    (void) state;

    for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        const step_t  steps[] = {
            ANSWERS(errors[i].wire), ANSWERS("$2\r\nok\r\n"), END
        };

        fake_start(steps);
        r = fake_client(PLAIN);

        assert_int_equal(get(r, 0, 10000), errors[i].code);
        assert_string_not_equal(redis_why(r), "");
        assert_int_equal(redis_held_ms(r, faas_text("k")), 0);
        assert_int_equal(get(r, 0, 10000), FAAS_OK);
        got(r, "ok");

        redis_destroy(r);
        fake_stop();
        assert_int_equal(fake.connections, 1);
        assert_int_equal(fake.misses, 0);
    }
}


static void
test_noauth_ends_the_connection(void **state)
{
    redis_t  *r;

    static const step_t  steps[] = {
        ANSWERS("-NOAUTH Authentication required.\r\n"), NEXT,
        ANSWERS("$2\r\nok\r\n"), END
    };

    (void) state;

    fake_start(steps);
    r = fake_client(PLAIN);

    assert_int_equal(get(r, 0, 10000), FAAS_EDENIED);
    assert_int_equal(get(r, 0, 10000), FAAS_OK);

    redis_destroy(r);
    fake_stop();
    assert_int_equal(fake.connections, 2);
}


/* -- logging in ------------------------------------------------------------ */

static void
test_login_comes_before_all_else(void **state)
{
    redis_t  *r;

    static const step_t  steps[] = {
        { "*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$3\r\np w\r\n", SAY, "+OK\r\n" },
        { "*2\r\n$6\r\nSELECT\r\n$1\r\n7\r\n", SAY, "+OK\r\n" },
        ANSWERS("$2\r\nok\r\n"), END
    };

    (void) state;

    fake_start(steps);
    r = fake_client("u:p%20w@", "?db=7");

    assert_int_equal(get(r, 0, 10000), FAAS_OK);

    redis_destroy(r);
    fake_stop();
    assert_int_equal(fake.misses, 0);
}


/* nothing is done as another user, or in another database */
static void
test_nothing_is_sent_behind_a_refused_login(void **state)
{
    size_t    i;
    redis_t  *r;

    static const struct {
        const char  *login;
        const char  *options;
        const char  *expected;
        const char  *wire;
        int          code;
    } logins[] = {
        { ":pw@", "", "AUTH", "-WRONGPASS invalid\r\n",
          FAAS_EDENIED },
        { "u:pw@", "", "AUTH", "-ERR invalid password\r\n",
          FAAS_EDENIED },
        { "", "?db=9", "SELECT",
          "-ERR DB index is out of range\r\n", FAAS_EUNSUPPORTED },
        { "", "?db=9", "SELECT", "-LOADING\r\n",
          FAAS_EUNAVAILABLE },
        { "", "?db=9", "SELECT", "-NOAUTH\r\n", FAAS_EDENIED }
    };

    (void) state;

    for (i = 0; i < sizeof(logins) / sizeof(logins[0]); i++) {
        const step_t  steps[] = {
            { logins[i].expected, SAY, logins[i].wire }, END
        };

        fake_start(steps);
        r = fake_client(logins[i].login, logins[i].options);

        assert_int_equal(get(r, 0, 10000), logins[i].code);
        hold(r);
        assert_int_equal(get(r, 0, 10000), logins[i].code);
        assert_null(strstr(redis_why(r), "pw"));

        redis_destroy(r);
        fake_stop();
        assert_null(strstr(fake.seen, "GET"));
    }
}


/* -- no answer ------------------------------------------------------------- */

/*
 * The outcome of a request, and its client: with a fake and a client of its
 * own each time, until the request got as far as to be said.  A deadline that
 * passes before, as on a machine that stops now and then, tells nothing: a
 * longer one follows.
 */
static redis_t *
said(const step_t *script, unsigned flags, int64_t ms, int *rc)
{
    int64_t   start;
    redis_t  *r;

    for ( ;; ) {
        fake_start(script);
        r = fake_client(PLAIN);

        start = redis_now_ms();
        *rc = get(r, flags, ms);
        assert_true(redis_now_ms() - start < 5000);

        if (*rc != FAAS_EUNAVAILABLE || ms > 3000) {
            return r;
        }

        redis_destroy(r);
        fake_stop();
        ms *= 4;
    }
}


static void
lost(const step_t *script, int read_code, int write_code, int64_t ms)
{
    int       rc;
    redis_t  *r;

    r = said(script, 0, ms, &rc);
    assert_int_equal(rc, write_code);
    redis_destroy(r);
    fake_stop();

    r = said(script, REDIS_REPEAT, ms, &rc);
    assert_int_equal(rc, read_code);
    redis_destroy(r);
    fake_stop();
}


static void
test_nothing_at_all_until_the_deadline(void **state)
{
    static const step_t  steps[] = {
        { "GET", HANG, NULL }, NEXT, { "GET", HANG, NULL }, END
    };

    (void) state;

    lost(steps, FAAS_ETIMEDOUT, FAAS_ETIMEDOUT, 40);
}


static void
test_half_an_answer(void **state)
{
    static const step_t  steps[] = {
        { "GET", HANG, "$10\r\nabc" }, NEXT, { "GET", HANG, "$10" }, END
    };

    (void) state;

    lost(steps, FAAS_ETIMEDOUT, FAAS_ETIMEDOUT, 40);
}


/* an answer that comes byte by byte does not push the deadline away */
static void
test_a_dripping_answer(void **state)
{
    static const step_t  steps[] = {
        { "GET", DRIP, "$1000\r\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
          "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        }, END
    };

    (void) state;

    lost(steps, FAAS_ETIMEDOUT, FAAS_ETIMEDOUT, 40);
}


static void
test_closed_instead_of_an_answer(void **state)
{
    static const step_t  steps[] = {
        { "GET", CLOSE, "$10\r\nabc" }, NEXT, { "PING", CLOSE, NULL }, END
    };

    (void) state;

    lost(steps, FAAS_EUNAVAILABLE, FAAS_ETIMEDOUT, 10000);
}


static void
test_reset_in_the_middle(void **state)
{
    static const step_t  steps[] = {
        { "GET", RESET, "$10\r\nabc" }, NEXT, { "PING", RESET, NULL }, END
    };

    (void) state;

    lost(steps, FAAS_EUNAVAILABLE, FAAS_ETIMEDOUT, 10000);
}


static void
test_what_is_not_redis(void **state)
{
    size_t  i;

    static const char *const  garbage[] = {
        "HTTP/1.1 400 Bad Request\r\n\r\n", "\r\n", "$x\r\n", "*9999999999\r\n",
        "*1000000000\r\n", "\0337", "?\r\n", ":\r\n", "$-5\r\n",
        "SSH-2.0-OpenSSH\r\n"
    };

    (void) state;

    for (i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
        const step_t  steps[] = {
            { "GET", SAY, garbage[i] }, NEXT, { "PING", SAY, garbage[i] }, END
        };

        lost(steps, FAAS_EUNAVAILABLE, FAAS_ETIMEDOUT, 10000);
    }
}


static void
test_a_read_is_repeated_over_a_new_connection(void **state)
{
    redis_t  *r;

    static const step_t  steps[] = {
        { "GET", CLOSE, NULL }, NEXT,
        { "PING", SAY, "+PONG\r\n" }, ANSWERS("$2\r\nok\r\n"), END
    };

    (void) state;

    fake_start(steps);
    r = fake_client(PLAIN);

    /* the first connection has to have worked, or there is a back-off */

    assert_int_equal(get(r, 0, 10000), FAAS_ETIMEDOUT);

    while (redis_held_ms(r, faas_text("k")) > 0) {
        server_pause();
    }

    assert_int_equal(get(r, REDIS_REPEAT, 10000), FAAS_OK);
    got(r, "ok");

    redis_destroy(r);
    fake_stop();
}


static void
test_a_read_survives_the_end_of_a_good_connection(void **state)
{
    redis_t  *r;

    static const step_t  steps[] = {
        ANSWERS("$3\r\none\r\n"), { "GET", CLOSE, NULL }, NEXT,
        { "PING", SAY, "+PONG\r\n" }, ANSWERS("$3\r\ntwo\r\n"), END
    };

    (void) state;

    fake_start(steps);
    r = fake_client(PLAIN);

    assert_int_equal(get(r, REDIS_REPEAT, 10000), FAAS_OK);
    assert_int_equal(get(r, REDIS_REPEAT, 10000), FAAS_OK);
    got(r, "two");

    redis_destroy(r);
    fake_stop();
    assert_int_equal(fake.misses, 0);
}


/* the end of an idle connection is seen before a write is sent over it */
static void
test_a_write_is_not_lost_in_a_connection_that_was_closed(void **state)
{
    redis_t  *r;

    static const step_t  steps[] = {
        { "GET", CLOSE, "$3\r\none\r\n" }, NEXT,
        ANSWERS("$3\r\ntwo\r\n"), END
    };

    (void) state;

    fake_start(steps);
    r = fake_client(PLAIN);

    assert_int_equal(get(r, 0, 10000), FAAS_OK);

    until_readable(r);
    assert_int_equal(get(r, 0, 10000), FAAS_OK);
    got(r, "two");

    redis_destroy(r);
    fake_stop();
}


static void
test_a_late_answer_answers_nothing(void **state)
{
    int       rc;
    redis_t  *r;

    static const step_t  steps[] = {
        { "GET", HANG, NULL }, NEXT,
        { "PING", SAY, "+PONG\r\n" },
        { "GET", SAY, "$5\r\nright\r\n$5\r\nwrong\r\n" }, NEXT,
        ANSWERS("$5\r\nagain\r\n"), END
    };

    (void) state;

    r = said(steps, 0, 30, &rc);
    assert_int_equal(rc, FAAS_ETIMEDOUT);

    do {
        server_pause();
        rc = get(r, 0, 10000);
    } while (rc == FAAS_EUNAVAILABLE);

    assert_int_equal(rc, FAAS_OK);
    got(r, "right");

    /* one that nobody asked for ends the connection, too */

    assert_int_equal(get(r, 0, 10000), FAAS_OK);
    got(r, "again");

    redis_destroy(r);
    fake_stop();
}


/* -- transactions ---------------------------------------------------------- */

static int
watch(redis_t *r)
{
    redis_batch(r);
    redis_add(r, faas_text("WATCH"), faas_text("k"));
    redis_add(r, faas_text("GET"), faas_text("k"));

    return redis_run(r, faas_text("k"), REDIS_WATCH | REDIS_REPEAT,
                     redis_now_ms() + 10000);
}


static int
exec(redis_t *r, unsigned flags)
{
    int  rc;

    redis_batch(r);
    redis_add(r, faas_text("MULTI"));
    redis_add(r, faas_text("SET"), faas_text("k"), faas_text("v"));
    redis_add(r, faas_text("EXEC"));
    rc = redis_run(r, faas_text("k"), flags, redis_now_ms() + 10000);

    return rc == FAAS_OK ? redis_result(r) : rc;
}


static void
test_exec_is_for_the_connection_that_watched(void **state)
{
    redis_t  *r;

    static const step_t  steps[] = {
        { "WATCH", SAY, "+OK\r\n" }, { "GET", CLOSE, "$1\r\nv\r\n" }, END
    };

    (void) state;

    fake_start(steps);
    r = fake_client(PLAIN);

    assert_int_equal(exec(r, REDIS_EXEC), FAAS_ECONFLICT);
    assert_int_equal(watch(r), FAAS_OK);

    /* the server closes: what was watched is not any more */

    until_readable(r);
    assert_int_equal(exec(r, REDIS_EXEC), FAAS_ECONFLICT);

    redis_destroy(r);
    fake_stop();
    assert_null(strstr(fake.seen, "EXEC"));
}


static void
test_a_watch_without_exec_is_undone(void **state)
{
    redis_t  *r;

    static const step_t  steps[] = {
        { "WATCH", SAY, "+OK\r\n" }, { "GET", SAY, "$1\r\nv\r\n" },
        { "UNWATCH", SAY, "+OK\r\n" }, { "GET", SAY, "$1\r\nw\r\n" },
        ANSWERS("$1\r\nx\r\n"), END
    };

    (void) state;

    fake_start(steps);
    r = fake_client(PLAIN);

    assert_int_equal(watch(r), FAAS_OK);
    assert_int_equal(get(r, 0, 10000), FAAS_OK);
    got(r, "w");
    assert_int_equal(get(r, 0, 10000), FAAS_OK);
    got(r, "x");
    assert_int_equal(exec(r, REDIS_EXEC), FAAS_ECONFLICT);

    redis_destroy(r);
    fake_stop();
    assert_int_equal(fake.misses, 0);
}


static void
test_outcomes_of_a_transaction(void **state)
{
    size_t    i;
    redis_t  *r;

    static const struct {
        const char  *wire;
        int          code;
    } answers[] = {
        { "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n", FAAS_OK },
        { "+OK\r\n+QUEUED\r\n*-1\r\n", FAAS_ECONFLICT },
        { "+OK\r\n+QUEUED\r\n+OK\r\n", FAAS_ERROR },
        { "+OK\r\n+QUEUED\r\n:1\r\n", FAAS_ERROR },
        { "+OK\r\n+QUEUED\r\n$1\r\nx\r\n", FAAS_ERROR },
        { "+OK\r\n+QUEUED\r\n*1\r\n-WRONGTYPE x\r\n", FAAS_ECORRUPT },
        { "+OK\r\n-OOM x\r\n-EXECABORT x\r\n", FAAS_EFULL },
        { "+OK\r\n-NOPERM x\r\n-EXECABORT x\r\n", FAAS_EDENIED },
        { "+OK\r\n+QUEUED\r\n-READONLY x\r\n", FAAS_EREADONLY },
        { "-LOADING x\r\n-LOADING x\r\n-ERR EXEC without MULTI\r\n",
          FAAS_EUNAVAILABLE }
    };

    (void) state;

    for (i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        const step_t  steps[] = {
            { "EXEC", SAY, answers[i].wire }, END
        };

        fake_start(steps);
        r = fake_client(PLAIN);

        assert_int_equal(exec(r, 0), answers[i].code);

        redis_destroy(r);
        fake_stop();
    }
}


/* the connection goes in the middle of the answers to a pipeline */
static void
test_some_answers_are_no_answers(void **state)
{
    redis_t  *r;

    static const step_t  steps[] = {
        { "EXEC", CLOSE, "+OK\r\n+QUEUED\r\n*1\r\n" }, END
    };

    (void) state;

    fake_start(steps);
    r = fake_client(PLAIN);

    assert_int_equal(exec(r, 0), FAAS_ETIMEDOUT);
    assert_null(redis_answer(r, 0));

    redis_destroy(r);
    fake_stop();
}


/* -- large ones, signals, back-off ----------------------------------------- */

/* a server that reads nothing: the write ends at the deadline */
static void
test_a_server_that_does_not_read(void **state)
{
    char         *value;
    int64_t       start;
    redis_t      *r;
    faas_bytes_t  argv[3];

    static const step_t  steps[] = {
        { "GET", SAY, "$1\r\nv\r\n" },
        { "never", SAY, "" }, END
    };

    (void) state;

    fake_start(steps);
    r = fake_client(PLAIN);

    assert_int_equal(get(r, 0, 10000), FAAS_OK);

    /* more than its room for what is said, and what sockets hold */

    value = calloc(1, 8 << 20);
    assert_non_null(value);
    argv[0] = faas_text("SET");
    argv[1] = faas_text("k");
    argv[2].data = value;
    argv[2].size = 8 << 20;

    start = redis_now_ms();
    assert_int_not_equal(redis_do(r, faas_text("k"), 0, start + 100, argv, 3),
                         FAAS_OK);
    assert_true(redis_now_ms() - start < 5000);

    free(value);
    redis_destroy(r);
    fake_stop();
}


/* in a process in which SIGPIPE kills */
static void
test_a_broken_pipe_kills_nobody(void **state)
{
    int       rc, status;
    pid_t     pid;
    redis_t  *r;

    static const step_t  steps[] = {
        { "GET", RESET, "$1\r\nv\r\n" }, NEXT, { "PING", RESET, NULL }, END
    };

    (void) state;

    fake_start(steps);

    pid = fork();

    if (pid == 0) {
        (void) signal(SIGPIPE, SIG_DFL);
        r = fake_client(PLAIN);

        for (rc = 0; rc < 50; rc++) {
            (void) get(r, 0, 1000);
            server_pause();
        }

        redis_destroy(r);
        _exit(0);
    }

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);

    fake_stop();
}


static void
test_a_back_off_grows_and_ends(void **state)
{
    int            i;
    char           url[160], why[128];
    int64_t        before, start, longest, until;
    redis_t       *r;
    redis_node_t  *node;

    (void) state;

    (void) snprintf(url, sizeof(url), "redis://127.0.0.1:%d",
                    server_free_port());
    r = redis_create(url, why, sizeof(why));
    assert_non_null(r);
    assert_int_equal(redis_held_ms(r, faas_text("k")), 0);

    node = r->nodes[0];

    for (i = 0; i < 7; i++) {
        longest = 50 << i < 1000 ? 50 << i : 1000;

        before = redis_now_ms();
        assert_int_equal(get(r, 0, 10000), FAAS_EUNAVAILABLE);
        assert_non_null(strstr(redis_why(r), "refused"));
        assert_true(node->until_ms >= before + longest / 2);
        assert_true(node->until_ms <= redis_now_ms() + longest);

        /* meanwhile at once, and without growing */

        hold(r);
        until = node->until_ms;
        start = redis_now_ms();
        assert_int_equal(get(r, REDIS_REPEAT, 10000), FAAS_EUNAVAILABLE);
        assert_true(redis_now_ms() - start < 5000);
        assert_true(node->until_ms == until);
        assert_true(redis_held_ms(r, faas_text("k")) > 0);

        node->until_ms = redis_now_ms();
        assert_int_equal(redis_held_ms(r, faas_text("k")), 0);
    }

    redis_destroy(r);
}


static void
test_names_that_are_not_found(void **state)
{
    char      why[128];
    int64_t   start;
    redis_t  *r;

    (void) state;

    r = redis_create("redis://no-such-host.invalid", why, sizeof(why));
    assert_non_null(r);

    start = redis_now_ms();
    assert_int_equal(get(r, 0, 100), FAAS_EUNAVAILABLE);
    assert_true(redis_now_ms() - start < 5000);
    assert_non_null(strstr(redis_why(r), "no-such-host.invalid"));

    redis_destroy(r);
}


static void
test_an_empty_batch_and_a_deadline_that_has_passed(void **state)
{
    redis_t  *r;

    static const step_t  steps[] = {
        ANSWERS("$1\r\nv\r\n"), END
    };

    (void) state;

    fake_start(steps);
    r = fake_client(PLAIN);

    redis_batch(r);
    assert_int_equal(redis_run(r, faas_text("k"), 0, 0), FAAS_OK);
    assert_int_equal(redis_result(r), FAAS_OK);
    assert_null(redis_answer(r, 0));

    assert_int_not_equal(get(r, 0, -1), FAAS_OK);

    redis_destroy(r);
    fake_stop();
}


static void
test_timeout_of_the_url_bounds_each_command(void **state)
{
    int       rc, ms;
    char      options[32];
    int64_t   start;
    redis_t  *r;

    static const step_t  steps[] = {
        { "GET", HANG, NULL }, END
    };

    (void) state;

    /* longer ones, as in said() */

    for (ms = 40, rc = FAAS_EUNAVAILABLE;
         rc == FAAS_EUNAVAILABLE && ms < 3000;
         ms *= 4)
    {
        (void) snprintf(options, sizeof(options), "?timeout=%dms", ms);
        fake_start(steps);
        r = fake_client("", options);

        start = redis_now_ms();
        rc = get(r, 0, 100000);
        assert_true(redis_now_ms() - start < 20000);

        redis_destroy(r);
        fake_stop();
    }

    assert_int_equal(rc, FAAS_ETIMEDOUT);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_an_error_is_a_code_and_keeps_the_connection),
        cmocka_unit_test(test_noauth_ends_the_connection),
        cmocka_unit_test(test_login_comes_before_all_else),
        cmocka_unit_test(test_nothing_is_sent_behind_a_refused_login),
        cmocka_unit_test(test_nothing_at_all_until_the_deadline),
        cmocka_unit_test(test_half_an_answer),
        cmocka_unit_test(test_a_dripping_answer),
        cmocka_unit_test(test_closed_instead_of_an_answer),
        cmocka_unit_test(test_reset_in_the_middle),
        cmocka_unit_test(test_what_is_not_redis),
        cmocka_unit_test(test_a_read_is_repeated_over_a_new_connection),
        cmocka_unit_test(test_a_read_survives_the_end_of_a_good_connection),
        cmocka_unit_test(
                    test_a_write_is_not_lost_in_a_connection_that_was_closed),
        cmocka_unit_test(test_a_late_answer_answers_nothing),
        cmocka_unit_test(test_exec_is_for_the_connection_that_watched),
        cmocka_unit_test(test_a_watch_without_exec_is_undone),
        cmocka_unit_test(test_outcomes_of_a_transaction),
        cmocka_unit_test(test_some_answers_are_no_answers),
        cmocka_unit_test(test_a_server_that_does_not_read),
        cmocka_unit_test(test_a_broken_pipe_kills_nobody),
        cmocka_unit_test(test_a_back_off_grows_and_ends),
        cmocka_unit_test(test_names_that_are_not_found),
        cmocka_unit_test(test_an_empty_batch_and_a_deadline_that_has_passed),
        cmocka_unit_test(test_timeout_of_the_url_bounds_each_command)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

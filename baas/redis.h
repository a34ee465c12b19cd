
/*
 * A Redis as a URL names it (redis_url.h): one server, the master that
 * sentinels tell, or the nodes of a cluster.  One redis_t for each process,
 * used by one thread; it opens nothing before it is asked for something, and
 * crosses no fork: in any other process than the one that made it each call
 * is refused with FAAS_EUNSUPPORTED and touches no handle.
 *
 * hiredis parses what comes, but reads and writes nothing: it bounds each
 * read and not a command, dies of SIGPIPE, and knows no TLS (0.14).  Here a
 * command never takes longer than its deadline, and SIGPIPE is never raised.
 * hiredis' own ways are left to the connection that a function gets.
 *
 * After an error of a connection, an answer that did not come in time or was
 * none of Redis's, the connection is closed, so that a late answer never
 * answers a later command.  When a server cannot be reached, or does not
 * answer, it is not tried again before a while has passed (doubled each
 * time, up to a second, with jitter), and calls meanwhile fail at once.
 *
 *     redis_batch(r);
 *     redis_add(r, faas_text("HSET"), key, faas_text("v"), value);
 *     redis_add(r, faas_text("PEXPIRE"), key, redis_number(buf, ttl));
 *     rc = redis_run(r, key, 0, deadline_ms);
 *     if (rc == FAAS_OK) {
 *         rc = redis_result(r);
 *     }
 */


#ifndef REDIS_H_INCLUDED
#define REDIS_H_INCLUDED


#include <stddef.h>
#include <stdint.h>

#include <faas.h>
#include <hiredis/hiredis.h>

#include "redis_reply.h"
#include "redis_url.h"


typedef struct redis_s  redis_t;


/* NULL with a line in why[size]; opens nothing */
redis_t *redis_create(const char *url, char *why, size_t size);

/* closes all, what redis_context() returned too; NULL is allowed.  In another
   process than its own it does nothing. */
void redis_destroy(redis_t *r);

const redis_url_t *redis_options(const redis_t *r);

/* why the last call failed: one line with the server's name and without
   secrets, for a log; "" if none did */
const char *redis_why(const redis_t *r);

/* back-off: milliseconds until the place of that key is tried again, 0: it may
   be tried now */
int64_t redis_held_ms(const redis_t *r, faas_bytes_t key);

/* CLOCK_MONOTONIC, milliseconds */
int64_t redis_now_ms(void);


/* -- batches: commands in one write, their answers in order ---------------- */

/*
 * A batch goes to one node, the one that has the key given to redis_run();
 * in a cluster all keys of a batch are of one slot ({tags}).  Bytes given are
 * copied at once.  Running out of memory is remembered until redis_run(),
 * which returns FAAS_ERROR then.
 */

/* begins one, and ends the last: its answers are freed */
void redis_batch(redis_t *r);

void redis_command(redis_t *r, const faas_bytes_t *argv, size_t argc);

#define redis_add(r, ...)                                                     \
    redis_command(r, (const faas_bytes_t []) { __VA_ARGS__ },                 \
                  sizeof((const faas_bytes_t []) { __VA_ARGS__ })             \
                  / sizeof(faas_bytes_t))

/* a decimal number, written to buf */
#define REDIS_NUMBER  24
faas_bytes_t redis_number(char buf[REDIS_NUMBER], int64_t n);


/* flags */
#define REDIS_REPEAT  0x1      /* done twice is as done once: it is sent again
                                  over a new connection if one is lost */
#define REDIS_WATCH   0x2      /* it watches keys: the next run with REDIS_EXEC
                                  is for the same connection */
#define REDIS_EXEC    0x4      /* MULTI ... EXEC behind a REDIS_WATCH */

/*
 * FAAS_OK: there is an answer to each command, which may be an error:
 * redis_answer(), redis_result().  Else there is no answer at all, and
 *
 *   FAAS_EUNAVAILABLE  nothing was done, or flags have REDIS_REPEAT
 *   FAAS_ETIMEDOUT     no answer by the deadline, or the connection was lost
 *                      before there was one: it may have been done
 *   FAAS_EDENIED       the server refused our name and password, or TLS did
 *   FAAS_ECONFLICT     REDIS_EXEC: what was watched is not any more (another
 *                      connection, another node): begin again
 *   FAAS_EBUSY         a slot that moves, until the deadline
 *
 * MOVED and ASK are followed, and a master that is none any more is looked
 * for again, when none of the batch was done: for single commands, and
 * transactions, always.
 *
 * A REDIS_WATCH that is not followed by REDIS_EXEC is undone by itself.
 */
int redis_run(redis_t *r, faas_bytes_t key, unsigned flags,
    int64_t deadline_ms);

/* the answer to command i, until the next redis_batch(); NULL beyond */
const redisReply *redis_answer(const redis_t *r, size_t i);

/* the first code of the answers that is not FAAS_OK; that of a transaction
   is FAAS_ECONFLICT when what was watched has changed.  _of: of n of them */
int redis_result(redis_t *r);
int redis_result_of(redis_t *r, size_t first, size_t n);

/* all answers, for who begins another batch while looking at them; to be
   given to redis_release() */
redisReply **redis_take(redis_t *r, size_t *n);
void redis_release(redisReply **answers, size_t n);

/* a batch of one command */
int redis_do(redis_t *r, faas_bytes_t key, unsigned flags,
    int64_t deadline_ms, const faas_bytes_t *argv, size_t argc);


/* -- subscriptions --------------------------------------------------------- */

/*
 * A connection of its own, for an event loop: it blocks in
 * redis_sub_connect() only, never beyond the deadline.
 */

typedef struct redis_sub_s  redis_sub_t;

/* channels are copied; NULL: out of memory.  Freed before its redis_t. */
redis_sub_t *redis_sub_create(redis_t *r, const faas_bytes_t *channels,
    size_t n);
void redis_sub_destroy(redis_sub_t *s);

/* FAAS_OK when subscribed, also if it was; a code, at once in a back-off */
int redis_sub_connect(redis_sub_t *s, int64_t deadline_ms);

/* to be polled for reading; -1: not connected */
int redis_sub_fd(const redis_sub_t *s);

/*
 * Call when it is readable: gives each message to `each`, never blocks.
 * FAAS_OK, or a code: then the connection is closed, and what was published
 * since the last message is lost; look for yourself after connecting again.
 */
int redis_sub_read(redis_sub_t *s,
    void (*each)(faas_bytes_t channel, faas_bytes_t payload, void *data),
    void *data);

/* asks for a sign of life, now and then (each 10 s); a server that gave none
   since the last call is lost: a code, as above */
int redis_sub_ping(redis_sub_t *s);


/* -- for functions --------------------------------------------------------- */

/*
 * A connection of hiredis's own, apart from the others, with its timeouts set
 * to what is left until the deadline: to the server, the master, or the node
 * of a cluster that has the key (no redirections are followed).  One for each
 * redis_t: it stays until it has an error.  NULL with *code.  Never freed by
 * the caller.
 *
 * redis_context_end() is for the end of each request: what is unread, or was
 * left in an error, is closed there.  The first redis_context() afterwards
 * resets the connection (RESET: transactions, subscriptions, what is watched,
 * names, the database), or makes a new one if it cannot be.
 */
redisContext *redis_context(redis_t *r, faas_bytes_t key, int64_t deadline_ms,
    int *code);
void redis_context_end(redis_t *r);


#endif /* REDIS_H_INCLUDED */

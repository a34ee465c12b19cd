
/*
 * baas.h: the one door between the runtime of functions and the backend
 * services.  A baas_t belongs to one process, an instance, and is made after
 * its fork; it opens nothing before it is asked for something.  All calls are
 * for the thread that made it.  Codes, limits and the meaning of each call
 * are those of faas.h.
 *
 * Nothing crosses a fork: baas_t remembers the process that made it, and in
 * any other one each call is refused with FAAS_EUNSUPPORTED and touches no
 * handle, not even to close it (POSIX locks would go with the descriptor, and
 * what a parent has said on a connection would be said twice).
 */


#ifndef BAAS_H_INCLUDED
#define BAAS_H_INCLUDED


#include <stddef.h>
#include <stdint.h>

#include <faas.h>


typedef struct baas_s  baas_t;


/*
 * What one request gives to the calls made for it: how long they may take,
 * where their results live, and whom to tell.  Belongs to the caller, is
 * constant from baas_begin() to baas_end().
 */

typedef struct {
    int64_t                   deadline_ms;   /* CLOCK_MONOTONIC */
    const char               *request_id;    /* for calls; may be "" */
    const char               *traceparent;   /* likewise */
    const char               *tracestate;    /* likewise */
    uint32_t                  depth;         /* calls above this one, 0: a
                                                client's */
    void                   *(*alloc)(void *data, size_t n);    /* zeroed,
                                                lives until baas_end(); NULL:
                                                out of memory */
    void                    (*log)(void *data, const char *line);
    void                     *data;          /* of both */
} baas_scope_t;


/*
 * The configuration, as the supervisor writes it for each function: lines
 * NAME VALUE, values percent-encoded as in faas_control.h.
 *
 *   function NAME        whose instance this is
 *   token HEX            its secret for internal.sock and baas.sock
 *   state PATH           faas_state; internal.sock and baas.sock are there
 *   data PATH            directory of its databases, its user's own
 *   share NAME r|w PATH  a shared store that it may read, or write as well;
 *                        each of the three is encoded, blanks part them
 *   kv URL               sqlite, or redis://... (redis_url.h)
 *   queue URL            likewise; only faas_redis() looks at it
 *   durability full|normal
 *   exactly_once 0|1
 *
 * NULL with a line in why[size].  Opens nothing.
 */
baas_t *baas_create(const char *conf, size_t n, char *why, size_t size);

/* closes all handles; only where it was made, else frees nothing; NULL too */
void baas_destroy(baas_t *b);

/* around each request.  The end resets statements, rolls back transactions
   and forgets results; connections stay. */
void baas_begin(baas_t *b, const baas_scope_t *scope);
void baas_end(baas_t *b);


/* -- key-value, SQL, Redis: as in faas.h ----------------------------------- */

int baas_kv_get(baas_t *b, const char *space, faas_bytes_t key,
    faas_kv_entry_t *entry);
int baas_kv_set(baas_t *b, const char *space, faas_bytes_t key,
    faas_bytes_t value, int64_t ttl_ms, uint64_t *version);
int baas_kv_cas(baas_t *b, const char *space, faas_bytes_t key,
    faas_bytes_t value, int64_t ttl_ms, uint64_t expected, uint64_t *version);
int baas_kv_delete(baas_t *b, const char *space, faas_bytes_t key);
int baas_kv_incr(baas_t *b, const char *space, faas_bytes_t key, int64_t by,
    int64_t *sum);
int baas_kv_expire(baas_t *b, const char *space, faas_bytes_t key,
    int64_t ttl_ms);
int baas_kv_scan(baas_t *b, const char *space, faas_bytes_t prefix,
    faas_bytes_t after, uint32_t limit,
    int (*each)(const faas_kv_entry_t *entry, void *data), void *data);

struct sqlite3 *baas_db(baas_t *b, const char *name, int *code);
struct sqlite3_stmt *baas_db_prepare(baas_t *b, struct sqlite3 *db,
    const char *sql);

struct redisContext *baas_redis(baas_t *b, int *code);


/* -- through the events process (wire.h) ----------------------------------- */

int baas_queue_send(baas_t *b, const char *queue, const void *data,
    size_t size, const faas_send_t *options, char *id);
int baas_defer(baas_t *b, int64_t delay_ms, const char *function,
    const void *data, size_t size, const faas_send_t *options, char *id);


/*
 * One request of wire.h and its answer: payload and answer are in the form
 * that the operation has there; the answer lives until baas_end().  Connects,
 * says who it is, repeats what may be repeated until the deadline.  For the
 * platform's own functions; what a function may ask is decided at the other
 * end, by its token.
 */
int baas_wire(baas_t *b, uint32_t operation, faas_bytes_t payload,
    faas_bytes_t *answer);


/* -- through nginx --------------------------------------------------------- */

int baas_call(baas_t *b, const char *function, const faas_call_t *call,
    faas_answer_t *answer);


/* -- effects once ---------------------------------------------------------- */

/*
 * With exactly_once, around a handler: all that it writes through SQL and
 * key-value of its own, what it sends, and its response commit together, in
 * its own database.
 *
 * baas_once_begin() opens the transaction.  FAAS_OK: run the handler.
 * FAAS_ECONFLICT: the key was used with another request (hash).  1: it was
 * answered before, and *response is that answer.  Else a code: nothing is
 * open.  A response is kept for a day.
 *
 * In between, shared spaces, other databases and Redis are FAAS_EUNSUPPORTED,
 * and sends go to an outbox in the database; they are delivered after the
 * commit, also if this process is gone.
 */
int baas_once_begin(baas_t *b, const char *key, const uint8_t hash[32],
    faas_bytes_t *response);

/* records the response and commits; a code: all is rolled back */
int baas_once_commit(baas_t *b, faas_bytes_t response);
void baas_once_abort(baas_t *b);


#endif /* BAAS_H_INCLUDED */


/*
 * faas.h: the SDK of ngx_faas.  A function is a shared object with a
 * descriptor:
 *
 *     #include <faas.h>
 *
 *     static int
 *     hello(faas_request_t *r)
 *     {
 *         return faas_printf(r, "hello, %s\n", "world");
 *     }
 *
 *     FAAS_FUNCTION(.handler = hello, .routes = "GET /hello")
 *
 * Compile it with `cc -shared -fPIC -o hello.so hello.c`, copy hello.so into
 * the functions directory.  There is nothing to link: the symbols below are
 * in the process that loads the function.
 *
 * Processes.  `init` runs once, in a template; each instance is a fork of it
 * and serves one request at a time.  Open nothing in `init` that must not be
 * shared by forks (connections, databases): that belongs into `after_fork`,
 * which runs first thing in each instance.  Threads may be started in
 * `after_fork` or later, never in `init`.  rand(), random() and drand48() are
 * seeded anew in each instance; what else must differ is for `after_fork`,
 * since handlers of pthread_atfork() are not run.  All calls below are for
 * the thread that runs the handler.
 *
 * Memory.  What a call returns belongs to the request and is valid until the
 * handler returns.  What is passed in is copied.
 *
 * Results.  0 is success, a negative number failure; a pointer is NULL on
 * failure or when there is no such thing.
 */


#ifndef FAAS_H_INCLUDED
#define FAAS_H_INCLUDED


#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>


#ifdef __cplusplus
extern "C" {
#endif


/* rises when a function compiled earlier could not be run any more */
#define FAAS_ABI  1

#define FAAS_OK        0
#define FAAS_ERROR    -1

/*
 * What a call to a backend service comes back with besides; faas_error() has
 * words for them.  Nothing was changed, unless the code says otherwise.
 */

#define FAAS_ENOTFOUND     -20    /* no such key, message, database, function */
#define FAAS_ECONFLICT     -21    /* the version is another, the key exists */
#define FAAS_EINVAL        -22    /* a name, key or option that cannot be, a
                                     value that is no number, an overflow */
#define FAAS_ETOOLARGE     -23    /* a key, value or message over its limit */
#define FAAS_EDENIED       -24    /* not shared with this function, or the
                                     engine refused our credentials */
#define FAAS_EBUSY         -25    /* locked by others until the deadline */
#define FAAS_EFULL         -26    /* disk or memory of the engine is full */
#define FAAS_EREADONLY     -27    /* the engine takes no writes: a replica, a
                                     read-only file system or share */
#define FAAS_EUNAVAILABLE  -28    /* not reached, starting, or shut down */
#define FAAS_ETIMEDOUT     -29    /* no answer by the deadline, or the
                                     connection was lost before there was one:
                                     a write may have been done */
#define FAAS_ECORRUPT      -30    /* what is stored cannot be read */
#define FAAS_ELOOP         -31    /* functions called each other too deeply */
#define FAAS_EUNSUPPORTED  -32    /* not with this engine or setting */

#if defined(__GNUC__)
#define FAAS_EXPORT           __attribute__((visibility("default")))
#define FAAS_FORMAT(f, a)     __attribute__((format(printf, f, a)))
#else
#define FAAS_EXPORT
#define FAAS_FORMAT(f, a)
#endif


/* one request, from before the handler until after it; opaque */
typedef struct faas_request_s  faas_request_t;


/*
 * What a function says of itself.  Fields that are not set are 0 and mean
 * the default; nginx.conf overrides what is said here, within the
 * operator's ceilings.  Times are texts as in nginx.conf ("500ms", "30s",
 * "1m"), sizes too ("64m").  Strings are static.  In C++ the fields are
 * written in this order.
 */

typedef struct {
    uint32_t      abi;         /* set by FAAS_FUNCTION */
    uint32_t      size;        /* likewise: sizeof of this struct */

    /*
     * Serves one request.  0: the response is what was written.  Negative: a
     * 500, if nothing was sent yet (else the connection is cut).
     */
    int         (*handler)(faas_request_t *r);

    /* once, in the template, before any request; not 0: it cannot start */
    int         (*init)(void);

    /* in each instance, after the fork; not 0: the instance cannot start */
    int         (*after_fork)(void);

    /* in a resident instance before it ends of itself */
    void        (*fini)(void);

    /* once per version, after init; not 0: the version is refused */
    int         (*selftest)(void);

    const char   *mode;        /* "resident" (default) or "oneshot" */

    /*
     * Routes, one a line: "METHOD[|METHOD] PATTERN" or "PATTERN".  PATTERN is
     * a PCRE2 expression for the whole path after the location's prefix;
     * named captures become faas_param().  GET implies HEAD.
     */
    const char   *routes;

    /*
     * When it is called, one timer a line: five cron fields or "@every 10s",
     * then options: "0 3 * * * tz=Europe/Berlin overlap=skip catchup=one".
     */
    const char   *schedule;

    /* queues that it consumes, one a line: "orders batch=10 attempts=5" */
    const char   *consumes;

    const char   *timeout;     /* execution budget of a request */
    int           min;         /* instances kept warm */
    int           max;         /* instances at most; 0: the host's default */
    const char   *memory;      /* limit of an instance */
    int           idempotent;  /* 1: any request may be run again */
} faas_descriptor_t;


#ifdef __cplusplus
#define FAAS_DESCRIPTOR_LINKAGE  extern "C" FAAS_EXPORT
#else
#define FAAS_DESCRIPTOR_LINKAGE  FAAS_EXPORT extern
#endif

/* defines the descriptor of this shared object; no semicolon is needed */
#define FAAS_FUNCTION(...)                                                    \
    FAAS_DESCRIPTOR_LINKAGE const faas_descriptor_t faas_function;            \
    _Pragma("GCC diagnostic push")                                            \
    _Pragma("GCC diagnostic ignored \"-Wmissing-field-initializers\"")        \
    const faas_descriptor_t faas_function = {                                 \
        .abi = FAAS_ABI, .size = (uint32_t) sizeof(faas_descriptor_t),        \
        __VA_ARGS__                                                           \
    };                                                                        \
    _Pragma("GCC diagnostic pop")


/* -- the request ----------------------------------------------------------- */

/* "GET", "POST", ... */
FAAS_EXPORT const char *faas_method(faas_request_t *r);

/* the request target as the client sent it, with arguments (REQUEST_URI) */
FAAS_EXPORT const char *faas_uri(faas_request_t *r);

/* the decoded path after the location's prefix, "/hello/bob" */
FAAS_EXPORT const char *faas_path(faas_request_t *r);

/* the decoded path after /NAME or "", as CGI's PATH_INFO */
FAAS_EXPORT const char *faas_path_info(faas_request_t *r);

/* the arguments as sent, without '?'; "" when there are none */
FAAS_EXPORT const char *faas_query_string(faas_request_t *r);

/* the first argument of that name, decoded ('+' and %XX); its length in *n
   unless n is NULL */
FAAS_EXPORT const char *faas_query(faas_request_t *r, const char *name,
    size_t *n);

/* a named capture of the matched route, decoded path bytes */
FAAS_EXPORT const char *faas_param(faas_request_t *r, const char *name);

/* a request header, its name in any case: "User-Agent"; when the client sent
   several, as nginx joins them.  Never the Proxy header. */
FAAS_EXPORT const char *faas_header(faas_request_t *r, const char *name);

/* a CGI/1.1 variable (RFC 3875), "SERVER_PROTOCOL", or fastcgi_param */
FAAS_EXPORT const char *faas_variable(faas_request_t *r, const char *name);

/* calls each with every CGI variable until it returns non-zero; returns
   what it returned last */
FAAS_EXPORT int faas_variables(faas_request_t *r,
    int (*each)(const char *name, const char *value, void *data), void *data);

/* announced length of the body, bytes; 0 when there is none */
FAAS_EXPORT uint64_t faas_content_length(faas_request_t *r);

/*
 * Reads up to n bytes of the body: bytes read, 0 at the end, negative when
 * the client or nginx went away before the end.  Blocks.
 */
FAAS_EXPORT ssize_t faas_read(faas_request_t *r, void *buf, size_t n);

/*
 * The whole body, zero-terminated behind its last byte, its length in *n.
 * NULL, and errno says why: EMSGSIZE, it is longer than max bytes (0: no limit
 * but memory); EIO, it could not be read to its end; ENOMEM; EINVAL, after
 * faas_read().
 */
FAAS_EXPORT const char *faas_body(faas_request_t *r, size_t max, size_t *n);

/* the request's id: nginx's $request_id, or what X-Request-ID brought */
FAAS_EXPORT const char *faas_request_id(faas_request_t *r);

/* milliseconds until the request's deadline, 0 when it has passed */
FAAS_EXPORT int64_t faas_time_left(faas_request_t *r);

/* a value that the operator gave with `env NAME=VALUE` for this function;
   r may be NULL (in init) */
FAAS_EXPORT const char *faas_config(faas_request_t *r, const char *name);

/* n zeroed bytes, freed with the request */
FAAS_EXPORT void *faas_alloc(faas_request_t *r, size_t n);


/* -- the response ---------------------------------------------------------- */

/* 200 to 599, before the first byte of the body is flushed; default 200, or
   302 when a Location was set */
FAAS_EXPORT int faas_status(faas_request_t *r, int status);

/* replaces a header of that name; value NULL removes it.  Fails after the
   headers were sent, on a name that is no token or is Status, on control bytes
   in the value (no header can be injected), and beyond 60000 bytes of all. */
FAAS_EXPORT int faas_header_set(faas_request_t *r, const char *name,
    const char *value);

/* adds one more header of that name (Set-Cookie) */
FAAS_EXPORT int faas_header_add(faas_request_t *r, const char *name,
    const char *value);

/*
 * Write to the body.  Up to 64 KiB are gathered, so that headers can still
 * be set, and Content-Length is known for small answers; beyond that it is
 * sent as it comes.  Negative when the connection to nginx is lost.  A body
 * without a Content-Type is text/plain; charset=utf-8.  To a HEAD, and with
 * 204 and 304, no body is sent.
 */
FAAS_EXPORT int faas_write(faas_request_t *r, const void *data, size_t n);
FAAS_EXPORT int faas_printf(faas_request_t *r, const char *format, ...)
    FAAS_FORMAT(2, 3);
FAAS_EXPORT int faas_vprintf(faas_request_t *r, const char *format, va_list ap)
    FAAS_FORMAT(2, 0);

/* sends what is gathered now (server-sent events, streaming); negative when
   the connection to nginx is lost, also when there is nothing to be sent */
FAAS_EXPORT int faas_flush(faas_request_t *r);

/* one line in the function's log; r may be NULL (in init, after_fork) */
FAAS_EXPORT void faas_log(faas_request_t *r, const char *format, ...)
    FAAS_FORMAT(2, 3);


/* -- backend services ------------------------------------------------------ */

/*
 * What must last is kept here; the operator chooses the engines.  All calls
 * are bounded by the request's deadline, less a tenth of its budget, at most
 * 100 ms, that is left to answer in; and work in a handler only: without a
 * request (in init or after_fork) they are FAAS_EINVAL, in a child that the
 * function forks FAAS_EUNSUPPORTED.  Each returns FAAS_OK or one of the codes
 * above, unless it says otherwise; out of memory is FAAS_EFULL.
 *
 * With `exactly_once on;` in its faas_function block, what the handler of a
 * request with an Idempotency-Key, or of an event about one thing, writes to
 * its own database and key-value space, what it sends, and its answer are one
 * transaction: a negative result or a status of 500 and above leaves nothing.
 * Inside of it BEGIN, COMMIT, other databases, shared spaces and Redis are
 * refused, the answer is at most 8 MiB and goes out at the end, and whatever
 * writes to the same database waits: keep it short, call nobody who needs it.
 */

/* n bytes, of any value; data may be NULL when size is 0 */

typedef struct {
    const void   *data;
    size_t        size;
} faas_bytes_t;

/* a string as bytes, without its zero; NULL makes none */
static inline faas_bytes_t
faas_text(const char *s)
{
    faas_bytes_t  bytes;

    bytes.data = s;
    bytes.size = s ? __builtin_strlen(s) : 0;

    return bytes;
}

/* a few words, static, for one of the codes */
FAAS_EXPORT const char *faas_error(int code);


/*
 * Key-value.  Keys are 1 to 512 bytes, values 0 to 1 MiB, both of any bytes.
 * space NULL is the function's own; others have a name and must be shared
 * with it (`share NAME` in its faas_function block).
 *
 * A version is a number that no earlier value of the key had, and never 0.
 * Times to live are in milliseconds, 0 means for ever.
 */

#define FAAS_KV_KEY_MAX    512
#define FAAS_KV_VALUE_MAX  (1024 * 1024)

typedef struct {
    faas_bytes_t  key;
    faas_bytes_t  value;       /* zero-terminated behind its end */
    uint64_t      version;
    int64_t       ttl_ms;      /* what is left of it, 0: for ever */
} faas_kv_entry_t;

FAAS_EXPORT int faas_kv_get(faas_request_t *r, const char *space,
    faas_bytes_t key, faas_kv_entry_t *entry);

/* sets value and time to live; the new version in *version unless NULL */
FAAS_EXPORT int faas_kv_set(faas_request_t *r, const char *space,
    faas_bytes_t key, faas_bytes_t value, int64_t ttl_ms, uint64_t *version);

/* as set, if the key's version is `expected`, or, when that is 0, if there is
   no such key; else FAAS_ECONFLICT */
FAAS_EXPORT int faas_kv_cas(faas_request_t *r, const char *space,
    faas_bytes_t key, faas_bytes_t value, int64_t ttl_ms, uint64_t expected,
    uint64_t *version);

/* FAAS_ENOTFOUND when there was none */
FAAS_EXPORT int faas_kv_delete(faas_request_t *r, const char *space,
    faas_bytes_t key);

/*
 * Adds to a value that is a decimal number (a key that is not there counts
 * as 0 and for ever), the result in *sum unless NULL.  Keeps the time to
 * live.  FAAS_EINVAL: the value is no number, or the sum none of 64 bits.
 */
FAAS_EXPORT int faas_kv_incr(faas_request_t *r, const char *space,
    faas_bytes_t key, int64_t by, int64_t *sum);

/* another time to live */
FAAS_EXPORT int faas_kv_expire(faas_request_t *r, const char *space,
    faas_bytes_t key, int64_t ttl_ms);

/*
 * Calls `each` with the entries whose keys begin with prefix and are greater
 * than `after` (size 0: from the first), in order of their bytes, at most
 * `limit` of them (1 to 1000), until it returns non-zero; returns that, or
 * FAAS_OK, or a code.  The cursor of the next call is the last key seen;
 * fewer than limit calls mean the end.  What changes meanwhile may or may not
 * be seen; an entry is valid during its call.
 */
FAAS_EXPORT int faas_kv_scan(faas_request_t *r, const char *space,
    faas_bytes_t prefix, faas_bytes_t after, uint32_t limit,
    int (*each)(const faas_kv_entry_t *entry, void *data), void *data);


/*
 * SQL.  A SQLite handle that is ready: WAL, foreign keys on, bounded by the
 * request's deadline (its statements end with SQLITE_INTERRUPT then, waits
 * for a lock with SQLITE_BUSY).  name NULL is the function's own database,
 * another name one that is shared with it, or else one more of its own.  The
 * handle belongs to the platform: never close it.  What is open in it when
 * the handler returns, statements and transactions, is reset and rolled back.
 * NULL: *code (unless NULL) says why, and the log.  Compile against
 * <sqlite3.h>; there is nothing to link.
 */
struct sqlite3;
struct sqlite3_stmt;

FAAS_EXPORT struct sqlite3 *faas_db(faas_request_t *r, const char *name,
    int *code);

/* a prepared statement out of the handle's cache, reset and without
   bindings; never finalize it.  NULL: sqlite3_errmsg(db) */
FAAS_EXPORT struct sqlite3_stmt *faas_db_prepare(faas_request_t *r,
    struct sqlite3 *db, const char *sql);

/*
 * Redis.  A connected hiredis context, one for each instance, its timeouts
 * set to what is left of the request's time.  Belongs to the platform.  After
 * an error (its err is not 0) call again for a new one.  NULL: *code (unless
 * NULL) says why.  The engine of key-value, or of queues when only that is
 * Redis; FAAS_EUNSUPPORTED when neither is.
 */
struct redisContext;

FAAS_EXPORT struct redisContext *faas_redis(faas_request_t *r, int *code);


/*
 * Queues.  A message is up to 1 MiB, and is delivered at least once: a
 * consumer that must not act twice remembers ids, or uses exactly_once.
 * Names are as functions' names.
 */

#define FAAS_MESSAGE_MAX      (1024 * 1024)
#define FAAS_MESSAGE_ID_SIZE  65

typedef struct {
    const char   *id;          /* 1 to 64 of [A-Za-z0-9._:-]; NULL: a new one.
                                  A second message of the same id within the
                                  queue's memory (a day) is not sent again */
    int64_t       delay_ms;    /* not delivered before; up to a year */
} faas_send_t;

/*
 * Returns when the message is durable.  options may be NULL; its id goes to
 * id[FAAS_MESSAGE_ID_SIZE] unless NULL.  After FAAS_ETIMEDOUT or
 * FAAS_EUNAVAILABLE send again with the same id: it is not doubled.
 */
FAAS_EXPORT int faas_queue_send(faas_request_t *r, const char *queue,
    const void *data, size_t size, const faas_send_t *options, char *id);

/* calls a function once, after delay_ms at the earliest, with the data as the
   body of a POST; durable and retried as async calls are */
FAAS_EXPORT int faas_defer(faas_request_t *r, int64_t delay_ms,
    const char *function, const void *data, size_t size,
    const faas_send_t *options, char *id);


/*
 * What calls a function besides its clients.  faas_event() is NULL for an
 * ordinary request.
 */

typedef enum {
    FAAS_EVENT_QUEUE = 1,
    FAAS_EVENT_TIMER,
    FAAS_EVENT_DEFER,
    FAAS_EVENT_ASYNC           /* a client's own request, run later */
} faas_event_e;

typedef struct {
    faas_event_e  type;
    const char   *name;        /* queue or timer, else "" */
    const char   *id;          /* of the one message, call, or due time; "" for
                                  a batch */
    uint32_t      attempt;     /* 1 the first time; 0 for a batch */
    uint32_t      messages;    /* of a queue, else 0 */
    int64_t       due_ms;      /* TIMER: when it was due, since the epoch */
    uint64_t      fence;       /* TIMER: rises with each owner of this timer;
                                  what sees a lower one later refuses it */
} faas_event_t;

FAAS_EXPORT const faas_event_t *faas_event(faas_request_t *r);

typedef struct {
    const char   *id;
    const void   *data;        /* zero-terminated behind its end */
    size_t        size;
    uint32_t      attempt;     /* 1 the first time */
    int64_t       sent_ms;     /* since the epoch */
} faas_message_t;

/* message i of a QUEUE event, from 0; NULL beyond the last.  They are in the
   body, and of a batch that is changed when they are taken apart. */
FAAS_EXPORT const faas_message_t *faas_message(faas_request_t *r, uint32_t i);

/*
 * What becomes of message i.  Messages of which nothing is said are done when
 * the handler returns 0 and a status below 300, and tried again otherwise.
 * delay_ms -1: the platform's back-off.
 */
FAAS_EXPORT int faas_message_done(faas_request_t *r, uint32_t i);
FAAS_EXPORT int faas_message_retry(faas_request_t *r, uint32_t i,
    int64_t delay_ms);


/*
 * Calls another function, through nginx: its limits, versions and figures
 * hold, and what is left of this request's time is all it gets.
 */

typedef struct {
    const char   *method;      /* NULL: POST with a body, else GET */
    const char   *path;        /* behind /NAME, with '?' and arguments; NULL:
                                  none */
    const char   *headers;     /* "Name: value" lines, each ended by \n; NULL */
    const void   *body;
    size_t        size;
    int64_t       timeout_ms;  /* 0: what is left of ours */
} faas_call_t;

typedef struct {
    int           status;      /* 100 to 599 */
    faas_bytes_t  body;        /* zero-terminated behind its end */
    const char   *headers;     /* as received, lines ended by \n */
} faas_answer_t;

/*
 * call may be NULL.  FAAS_OK: there is an answer, whatever its status, which
 * is valid until the handler returns.  FAAS_ELOOP: too deep, not run;
 * FAAS_ETIMEDOUT, FAAS_EUNAVAILABLE: it may have run.
 */
FAAS_EXPORT int faas_call(faas_request_t *r, const char *function,
    const faas_call_t *call, faas_answer_t *answer);

/* the first header of that name, in any case */
FAAS_EXPORT const char *faas_answer_header(faas_request_t *r,
    const faas_answer_t *answer, const char *name);


#ifdef __cplusplus
}
#endif


#endif /* FAAS_H_INCLUDED */


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

    const char   *schedule;    /* for timers */
    const char   *consumes;    /* for queues */
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
 * NULL when it is longer than max bytes (0: no limit but memory), could not
 * be read to its end, or does not fit into memory.  Not after faas_read().
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

/* 100 to 599, before the first byte of the body is flushed; default 200, or
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

/* sends what is gathered now (server-sent events, streaming) */
FAAS_EXPORT int faas_flush(faas_request_t *r);

/* one line in the function's log; r may be NULL (in init, after_fork) */
FAAS_EXPORT void faas_log(faas_request_t *r, const char *format, ...)
    FAAS_FORMAT(2, 3);


#ifdef __cplusplus
}
#endif


#endif /* FAAS_H_INCLUDED */

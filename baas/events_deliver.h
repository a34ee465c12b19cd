
/*
 * Calls over HTTP: to functions through internal.sock, and to callbacks.
 * Asynchronous, many at once, on connections that are kept.  Connections
 * that could not be made, or broke before anything was answered on a kept
 * one, are tried again at once: nginx was reloaded.
 *
 * The headers of events.h come from the fields; lines of `headers` that could
 * be taken for them (Faas-*), or that belong to a connection (Host,
 * Content-Length, Transfer-Encoding, Connection, Expect, ...), are left out.
 */


#ifndef EVENTS_DELIVER_H_INCLUDED
#define EVENTS_DELIVER_H_INCLUDED


#include <stddef.h>
#include <stdint.h>

#include <faas.h>


/*
 * What came back.  FAAS_OK: a status, whatever it is.  FAAS_EUNAVAILABLE: not
 * reached, so not run.  FAAS_ETIMEDOUT, FAAS_ERROR (the connection broke): it
 * may have run.  FAAS_EINVAL: could not be asked (method, path or URL).
 * Valid until `done` returns.
 */

typedef struct {
    int                       code;
    int                       status;      /* 100 to 599; 0 unless FAAS_OK */
    const char               *headers;     /* lines "Name: value\n" */
    faas_bytes_t              body;        /* zero-terminated behind its end */
    int                       truncated;   /* it was longer than the limit */
    const char               *reason;      /* a few words, for logs and dead
                                              letters; never NULL */
} events_answer_t;


typedef void (*events_done_pt)(const events_answer_t *answer, void *data);


/* One call; all but body is copied. */

typedef struct {
    const char               *function;    /* Faas-Function; NULL with a url */
    const char               *url;         /* not NULL: this http or https URL
                                              instead of nginx */
    const char               *method;      /* NULL: POST */
    const char               *path;        /* with arguments; NULL: /FUNCTION */
    const char               *headers;     /* lines ended by \n, or NULL */
    faas_bytes_t              body;        /* the caller's until done */
    int64_t                   timeout_ms;  /* of all of it, waiting in nginx
                                              included */
    size_t                    limit;       /* of the answer's body */

    const char               *event;       /* queue|timer|defer|async, or NULL:
                                              none of these fields */
    const char               *name;        /* NULL and 0: no such header */
    const char               *id;
    const char               *request_id;  /* X-Request-ID */
    const char               *signature;   /* with a url: Faas-Signature */
    uint32_t                  attempt;
    uint32_t                  messages;
    uint32_t                  depth;
    int64_t                   sent_ms;
    int64_t                   due_ms;
    uint64_t                  fence;

    events_done_pt            done;        /* once, from a later turn */
    void                     *data;
} events_call_t;


typedef struct events_delivery_s  events_delivery_t;


/* once, after loop_init(); 0 or -1 */
int events_deliver_init(void);
void events_deliver_cleanup(void);

/* begins one; how many there are at once is for those who begin them: each
   is made for a work, and of those there are at most EVENTS_CALLS_MAX */
events_delivery_t *events_deliver(const events_call_t *call);

/* ends one that is not done: `done` is not called */
void events_deliver_cancel(events_delivery_t *d);

/* the value of the first header of that name, in any case, copied to
   buf[size]; NULL if there is none or it does not fit */
const char *events_answer_header(const events_answer_t *answer,
    const char *name, char *buf, size_t size);


#endif /* EVENTS_DELIVER_H_INCLUDED */

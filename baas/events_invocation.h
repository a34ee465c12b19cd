
/*
 * What a message of a function's own queue "@NAME" says: a call that is to be
 * made later (deferred, due, asynchronous), in the form of wire.h's fields.
 * Pure.
 */


#ifndef EVENTS_INVOCATION_H_INCLUDED
#define EVENTS_INVOCATION_H_INCLUDED


#include <stddef.h>
#include <stdint.h>

#include "wire.h"


typedef enum {
    EVENTS_DEFER = 1,
    EVENTS_TIMER,
    EVENTS_ASYNC,
    EVENTS_CALLBACK            /* the answer of an async call, to be told */
} events_kind_e;


/* strings are zero-terminated, "" when not given; of a decoded one they and
   the body are inside the message's data */

typedef struct {
    uint32_t                  kind;        /* events_kind_e */
    const char               *method;
    const char               *path;
    const char               *headers;     /* lines ended by \n */
    faas_bytes_t              body;
    const char               *timer;       /* key "FUNCTION/NAME" */
    int64_t                   due_ms;      /* of a timer; of a deferred
                                              one: not before, 0: at once */
    uint64_t                  fence;
    uint32_t                  attempts;    /* of a timer's run; 0: those of
                                              `async` */
    const char               *call;        /* id of the async call */
    const char               *callback;    /* URL */
    const char               *request_id;
    uint32_t                  depth;
} events_invocation_t;


void events_invocation_encode(wire_writer_t *w, const events_invocation_t *i);

/* FAAS_OK, or FAAS_ECORRUPT */
int events_invocation_decode(const void *data, size_t size,
    events_invocation_t *i);


#endif /* EVENTS_INVOCATION_H_INCLUDED */

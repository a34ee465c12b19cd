
/*
 * exactly_once, around a handler.  A request that has an Idempotency-Key, or
 * is an event about one thing, has its effects once: what the handler writes
 * in its own database and key-value space, what it sends, and its answer
 * commit together, and the same request again gets that answer again.
 *
 * Any answer is held back until the commit; those of 500 and above are not
 * recorded, nothing that was written for them stays, and the request can be
 * tried again.
 */


#ifndef ONCE_H_INCLUDED
#define ONCE_H_INCLUDED


#include "request.h"


#define ONCE_BODY      (64 * 1024 * 1024)    /* of a request, bytes */
#define ONCE_RESPONSE  (8 * 1024 * 1024)     /* of an answer's body */
#define ONCE_KEY       255                   /* of an Idempotency-Key */


/* runs the handler, or answers in its place; what the handler returned */
int once_run(faas_request_t *r, int (*handler)(faas_request_t *r));


#endif /* ONCE_H_INCLUDED */

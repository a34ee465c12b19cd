
/*
 * The backend services, as a function meets them: sdk_*.c are the calls of
 * faas.h that need more than the request itself.
 *
 * An instance has one baas_t, made when a handler first asks for something,
 * so what does not use any costs a request one look at a pointer.
 */


#ifndef SDK_H_INCLUDED
#define SDK_H_INCLUDED


#include <stddef.h>

#include "baas.h"
#include "request.h"


/*
 * Takes the lines of baas.h that came with START; n 0: there are no services.
 * In the function init, whose forks all have them.  FAAS_OK, or FAAS_ERROR
 * with a line in why[size].
 */
int sdk_configure(const char *conf, size_t n, char *why, size_t size);

/* what sdk_configure() took, NULL and 0 before */
const char *sdk_conf(size_t *n);

/* exactly_once: 0 or 1 */
int sdk_is_once(void);

/* the services, for this request; NULL with *code (r may be NULL) */
baas_t *sdk_baas(faas_request_t *r, int *code);

/* after a handler that used them: r->baas is not NULL */
void sdk_end(faas_request_t *r);


/*
 * sdk_event.c: what becomes of the messages of a queue's event goes into the
 * answer's headers (events.h); r->event is not NULL.  FAAS_OK or FAAS_ERROR.
 */
int sdk_event_answer(faas_request_t *r);

/*
 * Of an event about one thing, answered with that status below 500: is it
 * done with, or will it come again?  1 for what is no event of a queue.
 */
int sdk_event_is_done(faas_request_t *r, int status);

/* what was done for its messages is undone: none is said to be done any more */
void sdk_event_undo(faas_request_t *r);


#endif /* SDK_H_INCLUDED */


/*
 * Calls to other functions, through nginx: HTTP/1.1 over internal.sock.  One
 * connection, kept from call to call; blocks, at most until the deadline.
 */


#ifndef CALL_H_INCLUDED
#define CALL_H_INCLUDED


#include "baas.h"


#define CALL_DEPTH  16                     /* of calls in calls */
#define CALL_BODY   (64 * 1024 * 1024)     /* of an answer, bytes */


typedef struct call_s  call_t;


/* path: of internal.sock; name and token: whose calls.  Opens nothing.  NULL:
   out of memory */
call_t *call_create(const char *path, const char *name, const char *token);
void call_destroy(call_t *c);

/*
 * As baas_call().  FAAS_OK: *answer, in memory from the scope's alloc;
 * FAAS_EINVAL, FAAS_ETOOLARGE, FAAS_ELOOP, FAAS_EDENIED: it did not run;
 * FAAS_ETIMEDOUT, FAAS_EUNAVAILABLE: it may have; FAAS_EFULL: out of memory.
 */
int call_make(call_t *c, const baas_scope_t *scope, const char *function,
    const faas_call_t *call, faas_answer_t *answer);


#endif /* CALL_H_INCLUDED */

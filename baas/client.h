
/*
 * Asks the events process over baas.sock (wire.h).  One connection, made at
 * the first question and again when it is lost; several questions are under
 * way at once when several are asked together.  Blocks, at most until the
 * scope's deadline.
 *
 * The events process may be killed and restarted at any time.  Its socket
 * stays, so a question then waits in the backlog, or is repeated, with
 * everything in it the same, if repeating it does no harm: sends carry ids.
 * A socket that is not there, or that nobody listens on, is waited for
 * CLIENT_ABSENT_MS, and for the next such time not at all.
 */


#ifndef CLIENT_H_INCLUDED
#define CLIENT_H_INCLUDED


#include <stddef.h>
#include <stdint.h>

#include "baas.h"
#include "wire.h"


#define CLIENT_ABSENT_MS  1000


typedef struct client_s  client_t;


/* One question and its answer.  The first two fields are the caller's. */

typedef struct {
    uint32_t                  operation;   /* wire_operation_e */
    faas_bytes_t              payload;
    int                       code;        /* what came back, or
                                              FAAS_EUNAVAILABLE,
                                              FAAS_ETIMEDOUT,
                                              FAAS_ETOOLARGE, FAAS_EFULL */
    faas_bytes_t              answer;      /* from the scope's alloc */
    uint64_t                  serial;
    unsigned                  done:1;      /* code is set */
} client_question_t;


/* to faas_state/baas.sock; name and token are for HELLO, which an admin has
   no need of: NULL.  Opens nothing.  NULL: out of memory */
client_t *client_create(const char *path, const char *name,
    const char *token);
void client_destroy(client_t *c);

/* asks n questions; each has its code afterwards */
void client_ask(client_t *c, client_question_t *q, size_t n,
    const baas_scope_t *scope);


#endif /* CLIENT_H_INCLUDED */

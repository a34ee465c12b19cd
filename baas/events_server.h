
/*
 * baas.sock: connections and frames (wire.h).  A connection is a stranger's
 * until it has said HELLO, or its user is root or ours: it may send one small
 * frame within SERVER_HELLO_MS, and there is room for few of them.
 *
 * What a connection may cost is bounded: it is read into a buffer of its own
 * only as far as bytes have come, and while its answers are not taken it is
 * not read.
 */


#ifndef EVENTS_SERVER_H_INCLUDED
#define EVENTS_SERVER_H_INCLUDED


#include "wire.h"


typedef struct events_connection_s  events_connection_t;


/* begins to accept on fd; 0, or -1 with a line in the log */
int events_server_init(int fd);

/* no new connections, nothing is read any more; answers still go */
void events_server_stop(void);

/* there are new settings: who was unknown may be known by now */
void events_server_settings(void);

/* closes all */
void events_server_cleanup(void);


/* -- for the operations ---------------------------------------------------- */

/* the function that it has proven to be, or NULL: an admin */
const char *events_connection_function(const events_connection_t *c);

/* the answer's fields may be NULL; it goes at the end of the turn.  c NULL:
   it was closed meanwhile */
void events_connection_answer(events_connection_t *c, uint32_t operation,
    uint64_t serial, int code, const wire_writer_t *fields);

/* one more, or less, answer to come from another part: events_send.c */
void events_connection_owes(events_connection_t *c, int n);


/* events_operations.c: answers, now or later */
void events_operation(events_connection_t *c, const wire_head_t *head,
    faas_bytes_t payload);


/* events_send.c: SEND and DEFER.  Those of one turn are one commit; their
   answers go when it is done. */

void events_send_init(void);
void events_send(events_connection_t *c, const wire_head_t *head,
    wire_reader_t *in);
void events_send_flush(void);

/* c is closed: what it sent is sent, but answered to nobody */
void events_send_forget(const events_connection_t *c);


#endif /* EVENTS_SERVER_H_INCLUDED */

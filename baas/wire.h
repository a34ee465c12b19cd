
/*
 * faas_state/baas.sock: what functions and faasctl ask the events process,
 * which alone owns queues, timers and async calls.
 *
 * A stream of frames over a unix socket: wire_head_t, then `length` bytes of
 * payload, in the byte order of the machine.  A payload is a sequence of
 * fields, each a uint32_t length and that many bytes, not aligned; numbers
 * are fields of 8 bytes.  What each operation carries is said below, in
 * order; a field that is empty was not given.  An answer has the operation
 * and serial of its question and a code of faas.h; its fields are said behind
 * the arrow and are there when the code is FAAS_OK.  Several questions may be
 * under way; answers come in any order.
 *
 * A connection begins with HELLO: a function names itself and its token.  The
 * user root and the owner of faas_state need none, and may do everything.
 * What is malformed, or comes before HELLO, ends the connection.
 *
 *   HELLO        name, token
 *   SEND         queue, id, data, delay_ms, sent_ms
 *                durable when answered; an id that the queue remembers is
 *                answered FAAS_OK and not sent again, so it may be repeated
 *   DEFER        function, id, data, delay_ms, sent_ms
 *
 *   for the function _calls, and admins:
 *   CALL_SUBMIT  id, function, method, path (with arguments), headers (lines
 *                ended by \n), body, idempotency key, hash of the request,
 *                callback URL, request id
 *                -> id of the call: that of the earlier one if the key was
 *                used with the same hash; FAAS_ECONFLICT: with another;
 *                FAAS_EDENIED: the callback is not allowed; FAAS_ENOTFOUND:
 *                that is no function's name (one that is not known yet is
 *                waited for, as long as `age`)
 *   CALL_GET     id -> state (wire_call_e), status, headers, body, attempts,
 *                created_ms, updated_ms, text (why it failed)
 *   CALL_CANCEL  id -> state afterwards: CANCELLED, unless it had ended; one
 *                that runs is ended at the next look and its answer dropped
 *
 *   for admins:
 *   DEAD_LIST    queue (empty: all), after (id), limit -> for each: queue,
 *                id, attempts, died_ms, size, reason
 *   DEAD_GET     queue, id -> attempts, sent_ms, died_ms, reason, data
 *   DEAD_RETRY   queue, id (empty: all of it) -> how many
 *   DEAD_PURGE   queue, id (empty: all of it) -> how many
 *   QUEUE_LIST   -> for each: queue, ready, delayed, leased, dead, oldest_ms
 *                (age of the oldest ready one)
 *   TIMER_LIST   -> for each: function, timer, due_ms, last_ms, running
 *
 * The queue of calls, deferred ones and timers of a function is "@NAME".
 */


#ifndef WIRE_H_INCLUDED
#define WIRE_H_INCLUDED


#include <stddef.h>
#include <stdint.h>

#include <faas.h>


#define WIRE_MAGIC    0x57414146u     /* "FAAW" */
#define WIRE_PAYLOAD  (16 * 1024 * 1024)
#define WIRE_CALLS    "_calls"        /* the platform's function for them */


typedef enum {
    WIRE_HELLO = 1,
    WIRE_SEND,
    WIRE_DEFER,
    WIRE_CALL_SUBMIT,
    WIRE_CALL_GET,
    WIRE_CALL_CANCEL,
    WIRE_DEAD_LIST,
    WIRE_DEAD_GET,
    WIRE_DEAD_RETRY,
    WIRE_DEAD_PURGE,
    WIRE_QUEUE_LIST,
    WIRE_TIMER_LIST,
    WIRE_OPERATIONS
} wire_operation_e;


/* of an async call */

typedef enum {
    WIRE_CALL_QUEUED = 1,
    WIRE_CALL_RUNNING,
    WIRE_CALL_DONE,            /* there is an answer, whatever its status */
    WIRE_CALL_FAILED,          /* given up: in the dead letters */
    WIRE_CALL_CANCELLED
} wire_call_e;


typedef struct {
    uint32_t                  magic;
    uint32_t                  length;      /* of the payload, bytes */
    uint64_t                  serial;      /* chosen by who asks */
    uint32_t                  operation;   /* wire_operation_e */
    int32_t                   code;        /* of an answer; 0 in a question */
} wire_head_t;

_Static_assert(sizeof(wire_head_t) == 24, "the head of a frame");


/* a payload that is being written; zeroed at first, data is malloc()ed and
   the caller's; failed: out of memory, and stays so */

typedef struct {
    char                     *data;
    size_t                    size;
    size_t                    room;
    int                       failed;
} wire_writer_t;

void wire_put(wire_writer_t *w, const void *data, size_t size);
void wire_put_text(wire_writer_t *w, const char *text);    /* NULL: empty */
void wire_put_number(wire_writer_t *w, int64_t number);
void wire_free(wire_writer_t *w);


/* one that is being read; failed: a field was missing, cut or of another
   size, and what was read is empty or 0 */

typedef struct {
    const char               *p;
    const char               *end;
    int                       failed;
} wire_reader_t;

void wire_read(wire_reader_t *r, faas_bytes_t payload);
faas_bytes_t wire_get(wire_reader_t *r);
int64_t wire_get_number(wire_reader_t *r);
int wire_has_more(const wire_reader_t *r);

/* a field as a string: fails if it holds a zero or is longer than buf[size]
   takes; returns buf */
const char *wire_get_text(wire_reader_t *r, char *buf, size_t size);

/* the head of a frame, checked: FAAS_OK or FAAS_ERROR */
int wire_head_check(const wire_head_t *head);


#endif /* WIRE_H_INCLUDED */


/*
 * faas-events: the process that turns what is due into calls.  It runs no
 * user code: all it does with a function is to call it through nginx.
 *
 *   events.c            start, settings, the loop's turns
 *   events_settings.c   what the supervisor says, parsed (pure)
 *   events_server.c     baas.sock: connections, HELLO, operations; sends of
 *                       one turn are made durable by one commit
 *   events_consume.c    which queue is asked next (fair), batches, leases
 *   events_deliver.c    calls through internal.sock (libcurl), many at once
 *   events_settle.c     what an answer means: done, again, when, dead (pure)
 *   events_calls.c      async calls: records, states, callbacks
 *   events_timers.c     due times to messages
 *
 * Started by the supervisor as the service user (faas_user; root's own when
 * nginx is not started by root), with
 *
 *   0 faas_state/events.lock, an empty file: the lock on it is what makes us
 *     the only one, so it stays open and is not replaced
 *   1, 2 nginx's error log   3 channel   4 baas.sock, listening
 *
 * The channel is a SOCK_SEQPACKET pair.  supervisor -> events: "settings",
 * with a sealed memfd of the text below, at the start and whenever it
 * changed.  events -> supervisor: "ready", or "error TEXT" (bad settings: the
 * old ones stay).  Its end ends the process, after what is under way was
 * given at most a second; what is not settled then is leased to nobody for
 * long.  kill -9 at any instruction loses nothing: what was acknowledged is
 * in the engine, what was leased comes back.
 *
 * The settings, in the form of faas_control.h (values percent-encoded):
 *
 *   node HEX            of this faas_state, stable
 *   token HEX           ours, for internal.sock
 *   state PATH          faas_state
 *   error_log PATH      as the supervisor's; log_level N
 *   queue URL           faas_queue
 *   callback URL SECRET   faas_callback, repeated: prefix of allowed
 *                       callbacks, key of their signature
 *   function NAME       a block, its settings indented by one space:
 *    token HEX
 *    timeout MS         its execution budget
 *    queue_timeout MS
 *    max N              its instances
 *    once 0|1           exactly_once
 *    consume LINE       faas_event.h, repeated
 *    schedule LINE      likewise
 *    async LINE         likewise, at most one
 *
 *
 * A call to a function goes to internal.sock with these headers, which nginx
 * lets nobody else set (ngx_http_faas_pass.c), and which reach the function as
 * CGI variables HTTP_FAAS_*:
 *
 *   Faas-Token: @events:HEX       checked and taken away by nginx
 *   Faas-Function: NAME           who is called, whatever the path
 *   Faas-Event: queue|timer|defer|async
 *   Faas-Name: NAME               of the queue or timer
 *   Faas-Id: ID                   of the message, call or due time
 *   Faas-Attempt: N               1 the first time
 *   Faas-Sent: MS                 since the epoch
 *   Faas-Due: MS  Faas-Fence: N   of a timer
 *   Faas-Messages: N              of a batch
 *   Faas-Depth: N                 calls above this one
 *   Faas-Timeout: SECONDS         can only shorten its budget
 *
 * A queue with batch=1, a timer and a deferred call are POST /NAME with the
 * message as the body.  With batch above 1 the body is (also for one) a
 * sequence of "ID ATTEMPT SENT_MS SIZE\n", SIZE bytes, "\n", of type
 * application/vnd.faas.batch.  An async call has its own method, path,
 * headers and body.
 *
 * The answer to a queue's call: 2xx is done, but for messages in
 * "Faas-Retry: INDEX[;DELAY_MS], ..."; other statuses are again, but for
 * those in "Faas-Done: INDEX, ...".  Indexes from 0.  A 503 or 429 of the
 * platform itself (Proxy-Status says "faas", and the function cannot have
 * started), and a 404 of a function that is not there, count as no attempt:
 * released, with back-off.
 */


#ifndef EVENTS_H_INCLUDED
#define EVENTS_H_INCLUDED


#include <stdint.h>

#include "events_settings.h"
#include "queue.h"
#include "wire.h"


#define EVENTS_FD_CHANNEL  3
#define EVENTS_FD_LISTEN   4

/* what an operation of the engine may take, for somebody who waits for an
   answer, and for what can be done again in the next second */
#define EVENTS_ASKED_MS    2000
#define EVENTS_LOOK_MS     1000


/* What all parts of the process share.  Written by events.c alone, between
   two turns of the loop; a pointer into the settings is not kept longer. */

typedef struct {
    const events_settings_t  *settings;    /* never NULL after the start */
    queue_t                  *queue;       /* NULL while engines are changed */
    int                       ending;      /* nothing new is begun */
} events_t;

extern events_t  events;


/* wall clock, milliseconds since the epoch: the now_ms of queue.h */
int64_t events_now_ms(void);

/* CLOCK_MONOTONIC in ms milliseconds: the deadline_ms of queue.h */
int64_t events_deadline(int64_t ms);

/* 64 bits of chance */
uint64_t events_random(void);

/* an id that no other message has, 32 hex digits; id has room for
   FAAS_MESSAGE_ID_SIZE */
void events_id(char *id);

/* is it one: 1 to 64 of [A-Za-z0-9._:-]? */
int events_id_is_valid(const char *id);


/* -- what events_calls.c and events_timers.c are called for ---------------- */

struct events_work_s;

/* after events.settings or events.queue became another, the first ones too;
   before any other of these */
void events_calls_settings(void);
void events_timers_settings(void);

/* a message of "@NAME": events_consume.h */
void events_calls_run(struct events_work_s *work);

/* CALL_SUBMIT, CALL_GET, CALL_CANCEL: reads the question, writes the answer's
   fields, returns the answer's code (a reader that failed: FAAS_EINVAL) */
int events_calls_wire(uint32_t operation, wire_reader_t *in,
    wire_writer_t *out);

/* the last run of the timer of this key has ended: its next due time may have
   waited for that */
void events_timers_wake(const char *key);

/* TIMER_LIST likewise */
int events_timers_list(wire_writer_t *out);

/* nothing new from now on; timers are disarmed */
void events_calls_end(void);
void events_timers_end(void);


#endif /* EVENTS_H_INCLUDED */

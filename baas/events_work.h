
/*
 * Between events_consume.c (which queue is asked next) and events_work.c
 * (what was taken, its call and its verdicts).
 */


#ifndef EVENTS_WORK_H_INCLUDED
#define EVENTS_WORK_H_INCLUDED


#include "events_consume.h"
#include "loop.h"


/* most messages that one look takes */
#define EVENTS_LOOK_MESSAGES  100


/* One function that consumes one queue.  Made and freed by events_consume.c;
   one that is not configured any more lives until its works are settled. */

typedef struct events_binding_s  events_binding_t;

struct events_binding_s {
    /* configuration, from the settings */
    char                      queue[QUEUE_NAME_SIZE];
    char                      function[FAAS_NAME_SIZE];
    int                       own;         /* queue is "@FUNCTION" */
    faas_consume_t            consume;     /* of an own one: batch, parallel */
    int64_t                   lease_ms;
    int64_t                   call_ms;     /* a call and its wait in nginx */

    /* run time */
    uint32_t                  works;       /* not settled: each a call */
    int                       removed;     /* not configured any more */
    int                       polled;      /* its timer fired: ask for the next
                                              due time too */
    uint64_t                  stats_ms;    /* CLOCK_MONOTONIC: not before */
    uint32_t                  refusals;    /* of the platform, in a row */
    uint64_t                  resume_ms;   /* CLOCK_MONOTONIC: not before */
    loop_timer_t              timer;       /* the next look at the latest */

    int                       lined;
    events_binding_t         *next;        /* in line */
    events_binding_t         *prev;
};


/* those that the settings ask for, in order, their number; all are the
   caller's, to be freed by free() */
size_t events_bindings(events_binding_t ***bindings,
    void (*timer)(void *data));

/* by queue, then function, of pointers to them: for qsort() */
int events_binding_compare(const void *one, const void *two);


/* What one receive returned: the works made of it share its memory. */

typedef struct {
    uint32_t                  references;
    void                     *chunks;      /* each begins with the next */
    queue_message_t           messages[EVENTS_LOOK_MESSAGES];
} events_take_t;

events_take_t *events_take_create(void);
void *events_take_alloc(void *data, size_t n);     /* queue_alloc_pt */
void events_take_release(events_take_t *take);


void events_work_init(void);

/* makes works of n messages, from the first: each a call */
void events_work_begin(events_binding_t *b, events_take_t *take,
    queue_message_t *messages, size_t n);

/* settles and gives back all */
void events_work_end(void);

size_t events_work_count(void);


/* -- what works tell ------------------------------------------------------- */

/* the platform refused a call: returns how long the binding waits, ms */
int64_t events_binding_refused(events_binding_t *b);
void events_binding_served(events_binding_t *b);

/* one of its works is gone; b may be freed */
void events_binding_settled(events_binding_t *b);

/* the engine does not answer: nobody asks it for a moment */
void events_engine_failed(int code);


#endif /* EVENTS_WORK_H_INCLUDED */

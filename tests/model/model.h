
/*
 * What the explorer and the processes of the model share.
 *
 * A process is a shared object, loaded twice for two nginx workers, with the
 * real sources in it and, instead of nginx or the supervisor's loop, a few
 * lines that call them as those do: one event at a time.  All it knows is in
 * its writable segment, on the board, or in model_world_t, so the explorer
 * can put all of it aside and take it back.
 */


#ifndef MODEL_H_INCLUDED
#define MODEL_H_INCLUDED


#include <stdint.h>

#include "faas_scoreboard.h"
#include "faas_slot.h"


#define MODEL_WORKERS   2
#define MODEL_SLOTS     2
#define MODEL_REQUESTS  2                    /* of one worker, at most */
#define MODEL_VERSIONS  2
#define MODEL_PLACES    (MODEL_SLOTS * MODEL_VERSIONS)

#define MODEL_SUPERVISOR  MODEL_WORKERS      /* its number as a process */
#define MODEL_PROCESSES   (MODEL_WORKERS + 1)


/* a connection from a worker, for one of its requests, to a slot's socket */

typedef enum {
    MODEL_NO_CONNECTION = 0,
    MODEL_IN_BACKLOG,                        /* nobody has accepted it */
    MODEL_ACCEPTED,                          /* by that generation */
    MODEL_CLOSED                             /* by the other side */
} model_connection_e;

typedef struct {
    uint8_t                   state;         /* model_connection_e */
    uint8_t                   place;         /* model_index() of the slot */
    uint8_t                   sent;          /* the request is in it */
    uint8_t                   answered;      /* END_REQUEST is in it */
    uint8_t                   begun;         /* a handler took the request */
    uint32_t                  generation;    /* whom it is meant for */
} model_connection_t;


typedef struct {
    uint8_t                   alive;
    uint8_t                   asked;         /* to end: SIGTERM */
    uint8_t                   running;       /* a handler */
    uint8_t                   spent;         /* one-shot: it ends by itself */
    uint8_t                   version;
    uint8_t                   worker;        /* whose request, while running */
    uint8_t                   request;
    uint32_t                  generation;
} model_instance_t;


/* what may still happen: a scenario's budgets, used up on the way */

typedef struct {
    uint8_t                   requests[MODEL_WORKERS];
    uint8_t                   worker_crashes;
    uint8_t                   worker_starts; /* another in a dead one's place */
    uint8_t                   supervisor_crashes;
    uint8_t                   deaths;        /* of instances, unasked */
    uint8_t                   aborts;        /* clients that go away */
    uint8_t                   timeouts;      /* of waiting or running */
    uint8_t                   retires;       /* scaled in */
    uint8_t                   deploys;       /* of another version */
    uint8_t                   switches;      /* from a process that is in the
                                                middle of an event to another;
                                                0: as many as there can be */
} model_budget_t;


/* everything outside of the processes and the board */

typedef struct {
    model_budget_t            left;
    uint8_t                   last;          /* who ran, if that matters */
    uint8_t                   clock;         /* rises with each arrival */
    uint8_t                   kick;          /* supervisor's eventfd */
    uint8_t                   wake[MODEL_WORKERS];    /* workers' eventfds */
    uint8_t                   worker_dead[MODEL_WORKERS];   /* not yet seen */
    uint8_t                   crashed;       /* 1: somebody was killed */
    uint8_t                   closed[MODEL_WORKERS];  /* the supervisor's
                                                         connection ended */
    model_instance_t          instance[MODEL_PLACES];    /* model_index() */
    model_connection_t        connection[MODEL_WORKERS][MODEL_REQUESTS];
} model_world_t;


/* what a scenario is about; constant while it runs */

typedef struct {
    const char               *name;
    uint32_t                  slots;         /* max of the function */
    uint32_t                  warm;          /* idle ones at the start */
    uint32_t                  queue;
    uint32_t                  oneshot;
    model_budget_t            budget;
} model_scenario_t;


typedef struct {
    faas_scoreboard_t        *board;
    faas_page_t             **pages;         /* by slot */
    model_world_t            *world;
    const model_scenario_t   *scenario;
    void                    (*point)(const volatile void *address);
    void                    (*fail)(const char *what);   /* does not return */
} model_t;


/* slots of version v are those of chunk v */

#define model_slot(version, i)  ((version) * FAAS_CHUNK_SLOTS + (i))
#define model_index(slot)                                                     \
    ((slot) / FAAS_CHUNK_SLOTS * MODEL_SLOTS + (slot) % FAAS_CHUNK_SLOTS)


typedef struct {
    /* a fresh process; self is a worker's number */
    void                    (*start)(const model_t *m, uint32_t self);

    /* events that it could take now */
    uint32_t                (*events)(void);
    uint32_t                  optional;      /* those that need not come */
    const char             *(*name)(uint32_t event);
    void                    (*run)(uint32_t event);

    /* between two events: what does not hold, or NULL */
    const char             *(*check)(void);

    /* nothing will happen any more: what is left undone, or NULL */
    const char             *(*finished)(void);

    /* sets what says when, and how often, to 0 */
    void                    (*forget)(void);

    /* may a request of the worker hold this generation of a slot? */
    uint32_t                (*holds)(uint32_t slot, uint64_t generation);
} model_process_t;


#endif /* MODEL_H_INCLUDED */

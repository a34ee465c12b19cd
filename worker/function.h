
/*
 * Function entries: one for each name that has or had a file.  Made by the
 * first deploy (or adoption), freed when the file is gone and the last
 * version has ended.
 */


#ifndef FUNCTION_H_INCLUDED
#define FUNCTION_H_INCLUDED


#include <stdint.h>

#include "backoff.h"
#include "loop.h"
#include "journal.h"
#include "policy.h"
#include "supervisor.h"
#include "user.h"


#define FUNCTION_REFUSED  16


typedef struct version_s   version_t;
typedef struct function_s  function_t;

struct function_s {
    function_t               *next;          /* in function_list */
    uint32_t                  index;         /* on the board */
    faas_function_t          *sh;
    char                      name[FAAS_NAME_SIZE];
    uint64_t                  order;         /* of routes' claims: smaller is
                                                older */
    int                       platform;      /* 1: _NAME, ours: from beside
                                                the supervisor */
    int                       present;       /* 1: NAME.so is there */
    uint64_t                  seen;          /* deploy.c: the look that saw
                                                a file of it */
    loop_job_t                migrate;       /* deploy.c */
    loop_timer_t              migrate_again; /* the same, after a shortage */
    loop_job_t                release;       /* frees it, at a turn's end */
    uint64_t                  refused[FUNCTION_REFUSED];    /* hashes of
                                                routes that were refused, so
                                                that each is told once */

    /* whose data/NAME is, when that is there */
    user_t                    user;
    int                       has_data;

    version_t                *versions;      /* all of it, newest first */
    version_t                *current;       /* serves, NULL: none */

    /* pool.c */
    faas_limits_t             limits;        /* what holds, as on the board */
    struct slot_s            *slots;         /* not FREE, all versions */
    int                       blocked;       /* 1: we left kick at 1 */
    uint32_t                  short_of;      /* ms after which what was short
                                                may be there, 0: nothing */
    uint32_t                  live;          /* slots not FREE, all versions */
    uint32_t                  starting;
    uint32_t                  ending;        /* RETIRING and CONDEMNED */
    int                       cold;          /* 1: the next start is from
                                                nothing */
    uint64_t                  bytes;         /* memory of one instance,
                                                measured; 0: not yet */
    uint64_t                  dumped_ms;     /* dump.c: the last one, 0: none */
    uint64_t                  charged;       /* memory.c: of all instances,
                                                when it was looked at last */
    policy_state_t            policy;
    backoff_t                 backoff;
    backoff_t                 renewal;       /* of templates that could not be
                                                had again */
    loop_job_t                decide;
    loop_timer_t              timer;

    journal_file_t            journal;
};


extern function_t  *function_list;           /* order of creation */


void function_init(void);

function_t *function_find(const char *name);
function_t *function_at(uint32_t index);

/* a new entry, LOADING; NULL when the board is full (said and logged) */
function_t *function_create(const char *name);

/* takes over entry index of the board after a restart */
function_t *function_adopt(uint32_t index);

/*
 * Of a function without a NAME.so: what its state is, and whether its entry
 * becomes free, which it does when the last version has ended.
 */
void function_unserved(function_t *f);

/* the one setter of its state; wakes who waits */
void function_state(function_t *f, faas_function_state_e state);

/* makes data/NAME for whom the function runs as; 0, or -1 with a line in
   why[SETTINGS_WHY_SIZE] */
int function_data(function_t *f, const user_t *user, char *why);

/* computes the limits anew from configuration and current descriptor */
void function_limits(function_t *f);

/* last_error of the function, and a line in the log at level */
void function_error(function_t *f, int level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* last_error alone: what is in the log already, in a longer line */
void function_told(function_t *f, const char *text);

/* of what is tried over and over: a line only when the error is another than
   the last one */
void function_error_again(function_t *f, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

void function_clear_error(function_t *f);

/* function_error(), of a start that failed: kept until function_settled() */
void function_failure(function_t *f, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* the same for what is in the log already */
void function_failed(function_t *f, const char *text);

/* a start that failed has been fixed, or was seen; 0: there was none, with
   what it was in text[FAAS_TEXT_SIZE] (may be NULL) */
int function_settled(function_t *f, char *text);

/* all workers with requests that wait for f look again */
void function_wake(function_t *f);

/* the block of the configuration for f, or NULL */
const settings_function_t *function_conf(const function_t *f);


#endif /* FUNCTION_H_INCLUDED */


/*
 * What the operator asked for: the configuration text (faas_control.h) and a
 * function's descriptor, parsed, and the rule by which they make the limits
 * that hold.  Pure: text in, structs out; no clock, no files, no users
 * looked up.
 */


#ifndef SETTINGS_H_INCLUDED
#define SETTINGS_H_INCLUDED


#include <stddef.h>
#include <stdint.h>

#include "faas_scoreboard.h"


#define SETTINGS_WHY_SIZE  192

/* bytes; more is a mistake */
#define SETTINGS_MEMORY_MAX  ((int64_t) 1 << 50)

/* a number that was not given */
#define SETTINGS_UNSET  (-1)


/*
 * The numbers of a function, as they were given in one place (a block of the
 * configuration, or a descriptor); the order is that of the table in
 * settings.c.
 */

typedef enum {
    SETTINGS_MODE = 0,        /* faas_mode_e */
    SETTINGS_MIN,
    SETTINGS_MAX,
    SETTINGS_SPARE,
    SETTINGS_QUEUE,
    SETTINGS_QUEUE_TIMEOUT,   /* this and the others in milliseconds */
    SETTINGS_TIMEOUT,
    SETTINGS_INIT_TIMEOUT,
    SETTINGS_IDLE_TIMEOUT,
    SETTINGS_TEMPLATE_TIMEOUT,
    SETTINGS_MAX_REQUESTS,    /* 0: any */
    SETTINGS_MEMORY,          /* bytes */
    SETTINGS_ACCEL,
    SETTINGS_EXACTLY_ONCE,
    SETTINGS_DURABILITY,      /* settings_durability_e */
    SETTINGS_IDEMPOTENT,      /* descriptor only */
    SETTINGS_NUMBERS
} settings_number_e;


typedef enum {
    SETTINGS_FULL = 0,        /* what was acknowledged survives power loss */
    SETTINGS_NORMAL           /* ... a crash of what is ours */
} settings_durability_e;


typedef enum {
    SETTINGS_CONSUME = 0,
    SETTINGS_SCHEDULE
} settings_event_e;


/* texts of a setting that may be repeated; {NULL, 0} when not given */

typedef struct {
    char                     *text;          /* each ended by a zero */
    size_t                    length;
} settings_list_t;


/* one `function NAME` block; strings are NULL when not given */

typedef struct settings_function_s  settings_function_t;

struct settings_function_s {
    settings_function_t      *next;
    char                      name[FAAS_NAME_SIZE];
    int64_t                   number[SETTINGS_NUMBERS];
    char                     *user;
    char                     *routes;        /* prefix it may claim below */
    char                     *async;         /* line of faas_event.h */
    settings_list_t           env;           /* NAME=VALUE */
    settings_list_t           share;         /* "NAME r", "NAME w" */
    settings_list_t           consume;       /* lines of faas_event.h */
    settings_list_t           schedule;      /* likewise */
};


/* made by settings_parse(), freed by settings_free() */

typedef struct {
    char                     *functions;     /* watched directory */
    char                     *state;
    char                     *user;          /* or NULL: the default */
    char                     *deployer;      /* or NULL: nobody else */
    char                     *error_log;     /* or NULL: descriptor 2 */
    char                     *kv;            /* or NULL: sqlite */
    char                     *queue;         /* likewise */
    settings_list_t           callback;      /* "URL SECRET" */
    int64_t                   group;         /* gid, or UNSET */
    int64_t                   worker_uid;    /* or UNSET */
    int64_t                   log_level;
    int64_t                   scoreboard;    /* bytes, or UNSET */
    int64_t                   memory;        /* bytes of all functions, or
                                                UNSET */
    int64_t                   core;          /* 1: dumps are made */
    int64_t                   core_keep;     /* how many of them */
    int64_t                   core_body;     /* bytes of a body in one */
    settings_function_t      *blocks;        /* in the order given */
    settings_function_t      *ceilings;      /* `function *`, or NULL */
} settings_t;


/* what a function says of itself; made by settings_descriptor() */

typedef struct {
    int64_t                   number[SETTINGS_NUMBERS];
    char                     *routes;        /* never NULL */
    size_t                    routes_length;
    settings_list_t           consume;       /* lines, checked */
    settings_list_t           schedule;
} settings_descriptor_t;


/* NULL with a line in why[SETTINGS_WHY_SIZE] when the text is not good */
settings_t *settings_parse(const char *text, size_t n, char *why);
void settings_free(settings_t *s);

/* the block of that name, or NULL */
const settings_function_t *settings_function(const settings_t *s,
    const char *name);

/* the text after p in the list, the first when p is NULL; NULL: no more */
const char *settings_next(const settings_list_t *list, const char *p);

/* appends s[n], without a zero in it; 0, or -1 out of memory */
void settings_append(settings_list_t *list, const char *s, size_t n);

/* the descriptor as a template tells it; 0, or -1 with why; on success the
   caller frees d with settings_descriptor_free() */
int settings_descriptor(settings_descriptor_t *d, const char *text, size_t n,
    char *why);
void settings_descriptor_free(settings_descriptor_t *d);

/*
 * The limits that hold: configuration over descriptor over default, clamped
 * by the ceilings.  conf, ceilings and d may be NULL; cores is for the
 * default of max.  What was clamped is told in note[SETTINGS_WHY_SIZE],
 * which is empty when nothing was.
 */
void settings_limits(faas_limits_t *l, const settings_function_t *conf,
    const settings_function_t *ceilings, const settings_descriptor_t *d,
    uint32_t cores, char *note);

/*
 * A number that is not among the limits: configuration over ceilings (there
 * the default of all) over default.
 */
int64_t settings_number(const settings_function_t *conf,
    const settings_function_t *ceilings, settings_number_e n);

/*
 * What the function consumes and when it is called: each kind that is given
 * in the configuration replaces the descriptor's.  conf and d may be NULL.
 */
const settings_list_t *settings_consume(const settings_function_t *conf,
    const settings_descriptor_t *d);
const settings_list_t *settings_schedule(const settings_function_t *conf,
    const settings_descriptor_t *d);

/* appends a line of faas_event.h; 0, or -1 with why when it is bad, or is of
   the same queue, or names the same timer, as one before */
int settings_event_add(settings_list_t *list, settings_event_e kind,
    const char *line, size_t n, char *why);

/* a line of consume without its batch=, in dst[strlen(line) + 1]; 1 if it had
   one above 1, else 0 */
int settings_consume_once(const char *line, char *dst);

/* "500ms", "30s", "1m30s", "2h", "30" (seconds): milliseconds, -1 if bad */
int64_t settings_descriptor_time(const char *s);

/* "64m", "512k", "1g", "4096": bytes, -1 if bad */
int64_t settings_descriptor_size(const char *s);

/* plain decimals; "resident" or "oneshot": -1 if bad */
int64_t settings_descriptor_number(const char *s);
int64_t settings_descriptor_mode(const char *s);

/* "full" or "normal": -1 if bad */
int64_t settings_descriptor_durability(const char *s);


#endif /* SETTINGS_H_INCLUDED */


/*
 * What the supervisor says of functions and engines (text of events.h),
 * parsed.  Pure.  A settings object is never changed: new text makes a new
 * one.
 */


#ifndef EVENTS_SETTINGS_H_INCLUDED
#define EVENTS_SETTINGS_H_INCLUDED


#include <stddef.h>
#include <stdint.h>

#include "faas_event.h"


#define EVENTS_WHY_SIZE    320     /* of what parsing says */
#define EVENTS_TOKEN_SIZE  80
#define EVENTS_NODE_SIZE   40


/* one `schedule` line */

typedef struct {
    char                     *line;        /* as it was given: queue_timer_t's
                                              spec, cut to fit it */
    faas_schedule_t           schedule;
} events_schedule_t;


typedef struct {
    char                      name[FAAS_NAME_SIZE];
    char                      token[EVENTS_TOKEN_SIZE];
    int64_t                   timeout_ms;
    int64_t                   queue_timeout_ms;
    uint32_t                  max;         /* its instances, at least 1 */
    int                       once;

    faas_consume_t           *consumes;
    size_t                    nconsumes;
    events_schedule_t        *schedules;
    size_t                    nschedules;
    faas_async_t              async;       /* defaults when not given */
} events_function_t;


/* a prefix of allowed callbacks */

typedef struct {
    char                     *url;
    char                     *secret;      /* key of their signature */
    size_t                    secret_size;
} events_callback_t;


typedef struct {
    char                      node[EVENTS_NODE_SIZE];
    char                      token[EVENTS_TOKEN_SIZE];
    char                     *state;
    char                     *error_log;   /* NULL: descriptor 2 */
    int                       log_level;
    char                     *queue;       /* URL of the engine */

    events_callback_t        *callbacks;
    size_t                    ncallbacks;
    events_function_t        *functions;   /* in order of their names */
    size_t                    nfunctions;
} events_settings_t;


/* NULL with a line in why[size] that names the line and what is wrong */
events_settings_t *events_settings_parse(const char *text, size_t n,
    char *why, size_t size);
void events_settings_free(events_settings_t *s);     /* NULL too */

/* NULL: there is none of that name */
const events_function_t *events_settings_function(const events_settings_t *s,
    const char *name);


#endif /* EVENTS_SETTINGS_H_INCLUDED */

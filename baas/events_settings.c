
/*
 * The settings text (events.h): lines NAME VALUE, values percent-encoded,
 * indented ones of the last `function`.  Each name has one line in a table.
 * What nginx and the supervisor have checked already is checked again: the
 * text crosses processes, and one that is half understood is worse than none.
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "events_settings.h"
#include "faas_control.h"
#include "log.h"


#define SETTINGS_TIME_MAX  (7 * 24 * 3600 * 1000ll)


typedef struct {
    events_settings_t        *settings;
    events_function_t        *function;    /* of the block, or NULL */
    char                     *why;
    size_t                    size;
} settings_ctx_t;


typedef struct {
    const char               *name;
    int                       indented;

    /* 0, or -1 with a line in ctx->why; value is decoded and its own */
    int                     (*set)(settings_ctx_t *ctx, char *value, size_t n);
} settings_line_t;


static int settings_line(settings_ctx_t *ctx, char *line);
static int settings_check(settings_ctx_t *ctx);
static int settings_compare(const void *one, const void *two);
static void settings_function_free(events_function_t *f);
static int settings_refuse(settings_ctx_t *ctx, const char *what,
    const char *value);
static void *settings_grow(void *array, size_t n, size_t size);
static int settings_hex(settings_ctx_t *ctx, const char *value, size_t n,
    char *buf, size_t size);
static int settings_number(settings_ctx_t *ctx, const char *value,
    int64_t max, int64_t *number);
static int settings_text(settings_ctx_t *ctx, char **text, const char *value,
    size_t n);
static int settings_node(settings_ctx_t *ctx, char *value, size_t n);
static int settings_token(settings_ctx_t *ctx, char *value, size_t n);
static int settings_state(settings_ctx_t *ctx, char *value, size_t n);
static int settings_error_log(settings_ctx_t *ctx, char *value, size_t n);
static int settings_log_level(settings_ctx_t *ctx, char *value, size_t n);
static int settings_queue(settings_ctx_t *ctx, char *value, size_t n);
static int settings_callback(settings_ctx_t *ctx, char *value, size_t n);
static int settings_function(settings_ctx_t *ctx, char *value, size_t n);
static int settings_own_token(settings_ctx_t *ctx, char *value, size_t n);
static int settings_timeout(settings_ctx_t *ctx, char *value, size_t n);
static int settings_queue_timeout(settings_ctx_t *ctx, char *value, size_t n);
static int settings_max(settings_ctx_t *ctx, char *value, size_t n);
static int settings_once(settings_ctx_t *ctx, char *value, size_t n);
static int settings_consume(settings_ctx_t *ctx, char *value, size_t n);
static int settings_schedule(settings_ctx_t *ctx, char *value, size_t n);
static int settings_async(settings_ctx_t *ctx, char *value, size_t n);


static const settings_line_t  settings_lines[] = {
    { "node",          0, settings_node },
    { "token",         0, settings_token },
    { "state",         0, settings_state },
    { "error_log",     0, settings_error_log },
    { "log_level",     0, settings_log_level },
    { "queue",         0, settings_queue },
    { "callback",      0, settings_callback },
    { "function",      0, settings_function },
    { "token",         1, settings_own_token },
    { "timeout",       1, settings_timeout },
    { "queue_timeout", 1, settings_queue_timeout },
    { "max",           1, settings_max },
    { "once",          1, settings_once },
    { "consume",       1, settings_consume },
    { "schedule",      1, settings_schedule },
    { "async",         1, settings_async },
};

#define SETTINGS_LINES  (sizeof(settings_lines) / sizeof(settings_lines[0]))


events_settings_t *
events_settings_parse(const char *text, size_t n, char *why, size_t size)
{
    int              rc;
    char            *copy, *line, *next;
    unsigned         number;
    char             said[EVENTS_WHY_SIZE];
    settings_ctx_t   ctx;

    copy = malloc(n + 1);
    ctx.settings = calloc(1, sizeof(events_settings_t));
    ctx.function = NULL;
    ctx.why = said;
    ctx.size = sizeof(said);

    if (copy == NULL || ctx.settings == NULL) {
        free(copy);
        free(ctx.settings);
        (void) snprintf(why, size, "no memory");
        return NULL;
    }

    memcpy(copy, text, n);
    copy[n] = '\0';
    ctx.settings->log_level = LOG_NOTICE;
    rc = 0;

    if (strlen(copy) != n) {
        (void) snprintf(why, size, "a zero in the text");
        rc = -1;
    }

    for (line = copy, number = 1; rc == 0 && *line; line = next, number++) {
        next = line + strcspn(line, "\n");

        if (*next) {
            *next++ = '\0';
        }

        rc = settings_line(&ctx, line);

        if (rc != 0) {
            (void) snprintf(why, size, "line %u: %s", number, said);
        }
    }

    if (rc == 0) {
        rc = settings_check(&ctx);

        if (rc != 0) {
            (void) snprintf(why, size, "%s", said);
        }
    }

    free(copy);

    if (rc != 0) {
        events_settings_free(ctx.settings);
        return NULL;
    }

    return ctx.settings;
}


void
events_settings_free(events_settings_t *s)
{
    size_t  i;

    if (s == NULL) {
        return;
    }

    for (i = 0; i < s->ncallbacks; i++) {
        free(s->callbacks[i].url);
        free(s->callbacks[i].secret);
    }

    for (i = 0; i < s->nfunctions; i++) {
        settings_function_free(&s->functions[i]);
    }

    free(s->callbacks);
    free(s->functions);
    free(s->state);
    free(s->error_log);
    free(s->queue);
    free(s);
}


const events_function_t *
events_settings_function(const events_settings_t *s, const char *name)
{
    int     order;
    size_t  low, high, middle;

    low = 0;
    high = s->nfunctions;

    while (low < high) {
        middle = low + (high - low) / 2;
        order = strcmp(name, s->functions[middle].name);

        if (order == 0) {
            return &s->functions[middle];
        }

        if (order < 0) {
            high = middle;

        } else {
            low = middle + 1;
        }
    }

    return NULL;
}


static int
settings_line(settings_ctx_t *ctx, char *line)
{
    int       indented;
    char     *value;
    size_t    i;
    ssize_t   n;

    indented = *line == ' ';
    line += indented;
    value = strchr(line, ' ');

    if (value == NULL) {
        return settings_refuse(ctx, "no value in", line);
    }

    *value++ = '\0';
    n = faas_control_decode(value);

    if (n == -1 || strlen(value) != (size_t) n) {
        return settings_refuse(ctx, "malformed value of", line);
    }

    if (indented && ctx->function == NULL) {
        return settings_refuse(ctx, "in no function:", line);
    }

    for (i = 0; i < SETTINGS_LINES; i++) {

        if (settings_lines[i].indented == indented
            && strcmp(settings_lines[i].name, line) == 0)
        {
            return settings_lines[i].set(ctx, value, (size_t) n);
        }
    }

    return settings_refuse(ctx, "unknown name", line);
}


/* what must have been said, and in which order functions are looked up */

static int
settings_check(settings_ctx_t *ctx)
{
    size_t              i;
    events_settings_t  *s;

    s = ctx->settings;

    if (s->node[0] == '\0' || s->token[0] == '\0' || s->state == NULL
        || s->queue == NULL)
    {
        return settings_refuse(ctx, "not given:",
                               s->node[0] == '\0' ? "node"
                               : s->token[0] == '\0' ? "token"
                               : s->state == NULL ? "state" : "queue");
    }

    if (s->nfunctions) {
        qsort(s->functions, s->nfunctions, sizeof(s->functions[0]),
              settings_compare);
    }

    for (i = 0; i < s->nfunctions; i++) {

        if (i && settings_compare(&s->functions[i - 1], &s->functions[i]) == 0)
        {
            return settings_refuse(ctx, "given twice: function",
                                   s->functions[i].name);
        }

        if (s->functions[i].token[0] == '\0') {
            return settings_refuse(ctx, "no token for",
                                   s->functions[i].name);
        }
    }

    return 0;
}


static int
settings_compare(const void *one, const void *two)
{
    return strcmp(((const events_function_t *) one)->name,
                  ((const events_function_t *) two)->name);
}


static void
settings_function_free(events_function_t *f)
{
    size_t  i;

    for (i = 0; i < f->nschedules; i++) {
        free(f->schedules[i].line);
    }

    free(f->schedules);
    free(f->consumes);
}


static int
settings_refuse(settings_ctx_t *ctx, const char *what, const char *value)
{
    (void) snprintf(ctx->why, ctx->size, "%s \"%.80s\"", what, value);

    return -1;
}


/* an array with room for one more than n; powers of two */

static void *
settings_grow(void *array, size_t n, size_t size)
{
    if (n & (n - 1)) {
        return array;
    }

    return realloc(array, (n ? n * 2 : 1) * size);
}


static int
settings_hex(settings_ctx_t *ctx, const char *value, size_t n, char *buf,
    size_t size)
{
    if (n == 0 || n >= size || strspn(value, "0123456789abcdef") != n) {
        return settings_refuse(ctx, "no hex digits:", value);
    }

    memcpy(buf, value, n + 1);

    return 0;
}


static int
settings_number(settings_ctx_t *ctx, const char *value, int64_t max,
    int64_t *number)
{
    const char  *p;

    *number = 0;

    for (p = value; *p >= '0' && *p <= '9' && *number <= max; p++) {
        *number = *number * 10 + (*p - '0');
    }

    if (p == value || *p || *number > max) {
        return settings_refuse(ctx, "no such number:", value);
    }

    return 0;
}


static int
settings_text(settings_ctx_t *ctx, char **text, const char *value, size_t n)
{
    char  *copy;

    if (n == 0) {
        return settings_refuse(ctx, "an empty value:", value);
    }

    copy = strdup(value);
    if (copy == NULL) {
        return settings_refuse(ctx, "no memory for", value);
    }

    free(*text);
    *text = copy;

    return 0;
}


static int
settings_node(settings_ctx_t *ctx, char *value, size_t n)
{
    return settings_hex(ctx, value, n, ctx->settings->node,
                        sizeof(ctx->settings->node));
}


static int
settings_token(settings_ctx_t *ctx, char *value, size_t n)
{
    return settings_hex(ctx, value, n, ctx->settings->token,
                        sizeof(ctx->settings->token));
}


static int
settings_state(settings_ctx_t *ctx, char *value, size_t n)
{
    if (value[0] != '/') {
        return settings_refuse(ctx, "no absolute path:", value);
    }

    return settings_text(ctx, &ctx->settings->state, value, n);
}


static int
settings_error_log(settings_ctx_t *ctx, char *value, size_t n)
{
    return settings_text(ctx, &ctx->settings->error_log, value, n);
}


static int
settings_log_level(settings_ctx_t *ctx, char *value, size_t n)
{
    int64_t  level;

    (void) n;

    if (settings_number(ctx, value, LOG_DEBUG, &level) != 0) {
        return -1;
    }

    ctx->settings->log_level = (int) level;

    return 0;
}


static int
settings_queue(settings_ctx_t *ctx, char *value, size_t n)
{
    return settings_text(ctx, &ctx->settings->queue, value, n);
}


/* URL SECRET, as one value; the secret is what is behind the first blank */

static int
settings_callback(settings_ctx_t *ctx, char *value, size_t n)
{
    char               *secret;
    events_callback_t  *c, *callbacks;
    events_settings_t  *s;

    (void) n;

    s = ctx->settings;
    secret = strchr(value, ' ');

    if (secret == NULL || secret == value || secret[1] == '\0') {
        return settings_refuse(ctx, "no secret for callback",
                               secret == NULL ? "" : value);
    }

    *secret++ = '\0';

    callbacks = settings_grow(s->callbacks, s->ncallbacks,
                              sizeof(events_callback_t));
    if (callbacks == NULL) {
        return settings_refuse(ctx, "no memory for", value);
    }

    s->callbacks = callbacks;
    c = &callbacks[s->ncallbacks];
    c->url = strdup(value);
    c->secret = strdup(secret);
    c->secret_size = strlen(secret);
    s->ncallbacks++;

    if (c->url == NULL || c->secret == NULL) {
        return settings_refuse(ctx, "no memory for", value);
    }

    return 0;
}


static int
settings_function(settings_ctx_t *ctx, char *value, size_t n)
{
    char                why[FAAS_EVENT_WHY_SIZE];
    events_function_t  *f, *functions;
    events_settings_t  *s;

    s = ctx->settings;

    /* the platform's own begin with what a user's cannot */

    if (!faas_name_is_valid(value, n)
        && (value[0] != '_' || !faas_name_is_valid(value + 1, n - 1)))
    {
        return settings_refuse(ctx, "no function's name:", value);
    }

    functions = settings_grow(s->functions, s->nfunctions,
                              sizeof(events_function_t));
    if (functions == NULL) {
        return settings_refuse(ctx, "no memory for", value);
    }

    s->functions = functions;
    f = &functions[s->nfunctions++];
    memset(f, 0, sizeof(*f));
    memcpy(f->name, value, n);
    f->timeout_ms = 30 * 1000;
    f->queue_timeout_ms = 10 * 1000;
    f->max = 1;
    ctx->function = f;

    if (faas_async_parse("", 0, &f->async, why) != 0) {
        return settings_refuse(ctx, why, "");
    }

    return 0;
}


static int
settings_own_token(settings_ctx_t *ctx, char *value, size_t n)
{
    return settings_hex(ctx, value, n, ctx->function->token,
                        sizeof(ctx->function->token));
}


static int
settings_timeout(settings_ctx_t *ctx, char *value, size_t n)
{
    (void) n;

    return settings_number(ctx, value, SETTINGS_TIME_MAX,
                           &ctx->function->timeout_ms);
}


static int
settings_queue_timeout(settings_ctx_t *ctx, char *value, size_t n)
{
    (void) n;

    return settings_number(ctx, value, SETTINGS_TIME_MAX,
                           &ctx->function->queue_timeout_ms);
}


static int
settings_max(settings_ctx_t *ctx, char *value, size_t n)
{
    int64_t  max;

    (void) n;

    if (settings_number(ctx, value, 1024 * 1024, &max) != 0) {
        return -1;
    }

    ctx->function->max = max ? (uint32_t) max : 1;

    return 0;
}


static int
settings_once(settings_ctx_t *ctx, char *value, size_t n)
{
    int64_t  once;

    (void) n;

    if (settings_number(ctx, value, 1, &once) != 0) {
        return -1;
    }

    ctx->function->once = (int) once;

    return 0;
}


static int
settings_consume(settings_ctx_t *ctx, char *value, size_t n)
{
    size_t              i;
    char                why[FAAS_EVENT_WHY_SIZE];
    faas_consume_t      consume, *consumes;
    events_function_t  *f;

    f = ctx->function;

    if (faas_consume_parse(value, n, &consume, why) != 0) {
        return settings_refuse(ctx, why, value);
    }

    for (i = 0; i < f->nconsumes; i++) {

        if (strcmp(f->consumes[i].queue, consume.queue) == 0) {
            return settings_refuse(ctx, "consumed twice:", consume.queue);
        }
    }

    consumes = settings_grow(f->consumes, f->nconsumes,
                             sizeof(faas_consume_t));
    if (consumes == NULL) {
        return settings_refuse(ctx, "no memory for", value);
    }

    f->consumes = consumes;
    consumes[f->nconsumes++] = consume;

    return 0;
}


static int
settings_schedule(settings_ctx_t *ctx, char *value, size_t n)
{
    char                why[FAAS_EVENT_WHY_SIZE];
    events_schedule_t  *s, *schedules;
    events_function_t  *f;

    f = ctx->function;
    schedules = settings_grow(f->schedules, f->nschedules,
                              sizeof(events_schedule_t));
    if (schedules == NULL) {
        return settings_refuse(ctx, "no memory for", value);
    }

    f->schedules = schedules;
    s = &schedules[f->nschedules];

    if (faas_schedule_parse(value, n, &s->schedule, why) != 0) {
        return settings_refuse(ctx, why, value);
    }

    s->line = strdup(value);
    if (s->line == NULL) {
        return settings_refuse(ctx, "no memory for", value);
    }

    f->nschedules++;

    return 0;
}


static int
settings_async(settings_ctx_t *ctx, char *value, size_t n)
{
    char  why[FAAS_EVENT_WHY_SIZE];

    if (faas_async_parse(value, n, &ctx->function->async, why) != 0) {
        return settings_refuse(ctx, why, value);
    }

    return 0;
}


#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faas_control.h"
#include "faas_event.h"
#include "line.h"
#include "loop.h"
#include "settings.h"


/*
 * What is known of each number: its name in the configuration, the range that
 * is let in from there, and the default (max's is computed).  When the ceiling
 * of a number is given, what is larger becomes the ceiling, unless `ceiling`
 * is 0.
 */

typedef struct {
    const char               *name;          /* NULL: descriptor only */
    int64_t                   least;
    int64_t                   most;
    int64_t                   value;         /* the default */
    int                       ceiling;
} settings_rule_t;


static int settings_host(settings_t *s, const char *name, char *value,
    char *why);
static int settings_block(settings_t *s, settings_function_t **block,
    char *value, char *why);
static int settings_set(settings_function_t *f, const char *name, char *value,
    char *why);
static int settings_string(char **field, const char *name, char *value,
    char *why);
static int settings_text(settings_list_t *list, const char *name,
    char *value, char *why);
static int settings_event(settings_function_t *f, const char *name,
    char *value, char *why);
static int settings_share(settings_function_t *f, char *value, char *why);
static void settings_function_free(settings_function_t *f);
static int settings_why(char *why, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static char *settings_line(char **text);


static const settings_rule_t  settings_rules[] = {
    [SETTINGS_MODE] =
        { "mode", FAAS_MODE_RESIDENT, FAAS_MODE_ONESHOT,
          FAAS_MODE_RESIDENT, 0 },
    [SETTINGS_MIN] =
        { "min", 0, FAAS_MAX_INSTANCES, 0, 1 },
    [SETTINGS_MAX] =
        { "max", 1, FAAS_MAX_INSTANCES, 8, 1 },
    [SETTINGS_SPARE] =
        { "spare", 0, FAAS_MAX_INSTANCES, 0, 1 },
    [SETTINGS_QUEUE] =
        { "queue", 0, INT32_MAX, 100, 1 },
    [SETTINGS_QUEUE_TIMEOUT] =
        { "queue_timeout", 0, INT32_MAX, 10 * 1000, 1 },
    [SETTINGS_TIMEOUT] =
        { "timeout", 1, INT32_MAX, 30 * 1000, 1 },
    [SETTINGS_INIT_TIMEOUT] =
        { "init_timeout", 1, INT32_MAX, 10 * 1000, 1 },
    [SETTINGS_IDLE_TIMEOUT] =
        { "idle_timeout", 0, INT32_MAX, 60 * 1000, 1 },
    [SETTINGS_TEMPLATE_TIMEOUT] =
        { "template_timeout", 0, INT32_MAX, 600 * 1000, 1 },
    [SETTINGS_MAX_REQUESTS] =
        { "max_requests", 0, INT32_MAX, 0, 0 },
    [SETTINGS_MEMORY] =
        { "memory", 1, SETTINGS_MEMORY_MAX,
          256 * 1024 * 1024, 1 },
    [SETTINGS_ACCEL] =
        { "accel", 0, 1, 0, 0 },
    [SETTINGS_EXACTLY_ONCE] =
        { "exactly_once", 0, 1, 0, 0 },
    [SETTINGS_DURABILITY] =
        { "durability", SETTINGS_FULL, SETTINGS_NORMAL, SETTINGS_FULL, 0 },
    [SETTINGS_IDEMPOTENT] =
        { NULL, 0, 1, 0, 0 }
};

_Static_assert(sizeof(settings_rules) / sizeof(settings_rule_t)
               == SETTINGS_NUMBERS, "each number has a rule");


settings_t *
settings_parse(const char *text, size_t n, char *why)
{
    int                   rc;
    char                 *copy, *next, *line, *value;
    unsigned              number;
    settings_t           *s;
    settings_function_t  *block;

    s = loop_alloc(sizeof(settings_t));
    copy = loop_strdup(text, n);

    s->group = SETTINGS_UNSET;
    s->worker_uid = SETTINGS_UNSET;
    s->scoreboard = SETTINGS_UNSET;
    s->memory = SETTINGS_UNSET;
    s->log_level = 4;
    s->core_keep = 100;
    s->core_body = 1024 * 1024;

    if (strlen(copy) != n) {
        settings_why(why, "a zero byte in the configuration");
        goto failed;
    }

    next = copy;
    block = NULL;

    for (number = 1; (line = settings_line(&next)) != NULL; number++) {

        if (*line == '\0') {
            continue;
        }

        value = strchr(*line == ' ' ? line + 1 : line, ' ');
        if (value == NULL) {
            settings_why(why, "line %u: no value: \"%.64s\"", number, line);
            goto failed;
        }

        *value++ = '\0';

        if (*line == ' ') {
            rc = block ? settings_set(block, line + 1, value, why)
                       : settings_why(why, "no function before \"%.64s\"",
                                      line + 1);

        } else if (strcmp(line, "function") == 0) {
            rc = settings_block(s, &block, value, why);

        } else {
            block = NULL;
            rc = settings_host(s, line, value, why);
        }

        if (rc == -1) {
            goto failed;
        }
    }

    if (s->functions == NULL || s->state == NULL) {
        settings_why(why, "\"%s\" is missing in the configuration",
                     s->functions == NULL ? "functions" : "state");
        goto failed;
    }

    free(copy);

    return s;

failed:

    free(copy);
    settings_free(s);

    return NULL;
}


void
settings_free(settings_t *s)
{
    settings_function_t  *f;

    if (s == NULL) {
        return;
    }

    while (s->blocks != NULL) {
        f = s->blocks;
        s->blocks = f->next;
        settings_function_free(f);
    }

    settings_function_free(s->ceilings);

    free(s->functions);
    free(s->state);
    free(s->user);
    free(s->deployer);
    free(s->error_log);
    free(s->kv);
    free(s->queue);
    free(s->callback.text);
    free(s);
}


const settings_function_t *
settings_function(const settings_t *s, const char *name)
{
    const settings_function_t  *f;

    for (f = s->blocks; f != NULL; f = f->next) {
        if (strcmp(f->name, name) == 0) {
            return f;
        }
    }

    return NULL;
}


void
settings_limits(faas_limits_t *l, const settings_function_t *conf,
    const settings_function_t *ceilings, const settings_descriptor_t *d,
    uint32_t cores, char *note)
{
    int      i;
    size_t   n;
    int64_t  v[SETTINGS_NUMBERS], ceiling;

    n = 0;
    note[0] = '\0';

    for (i = 0; i < SETTINGS_NUMBERS; i++) {

        ceiling = ceilings ? ceilings->number[i] : SETTINGS_UNSET;
        v[i] = settings_rules[i].value;

        if (i == SETTINGS_MAX && cores > 4) {
            v[i] = cores * 2 < FAAS_MAX_INSTANCES ? cores * 2
                                                  : FAAS_MAX_INSTANCES;
        }

        if (i == SETTINGS_SPARE && v[SETTINGS_MODE] == FAAS_MODE_ONESHOT) {
            v[i] = 2;
        }

        if (conf && conf->number[i] != SETTINGS_UNSET) {
            v[i] = conf->number[i];

        } else if (i == SETTINGS_MODE && ceiling != SETTINGS_UNSET) {
            v[i] = ceiling;

        } else if (d && d->number[i] != SETTINGS_UNSET) {
            v[i] = d->number[i];
        }

        if (ceiling == SETTINGS_UNSET) {
            continue;
        }

        if ((settings_rules[i].ceiling && v[i] > ceiling)
            || (i == SETTINGS_MAX_REQUESTS && ceiling > 0
                && (v[i] == 0 || v[i] > ceiling)))
        {
            /* a default that is clamped is nobody's surprise */

            if ((conf && conf->number[i] != SETTINGS_UNSET)
                || (d && d->number[i] != SETTINGS_UNSET))
            {
                n += (size_t) snprintf(note + n, SETTINGS_WHY_SIZE - n,
                                       "%s%s %lld clamped to %lld",
                                       n ? ", " : "", settings_rules[i].name,
                                       (long long) v[i],
                                       (long long) ceiling);

                if (n > SETTINGS_WHY_SIZE - 1) {
                    n = SETTINGS_WHY_SIZE - 1;
                }
            }

            v[i] = ceiling;
        }
    }

    if (v[SETTINGS_MIN] > v[SETTINGS_MAX]) {
        (void) snprintf(note + n, SETTINGS_WHY_SIZE - n,
                        "%smin %lld clamped to max %lld", n ? ", " : "",
                        (long long) v[SETTINGS_MIN],
                        (long long) v[SETTINGS_MAX]);
        v[SETTINGS_MIN] = v[SETTINGS_MAX];
    }

    if (v[SETTINGS_SPARE] > v[SETTINGS_MAX]) {
        v[SETTINGS_SPARE] = v[SETTINGS_MAX];
    }

    memset(l, 0, sizeof(faas_limits_t));

    l->mode = (uint32_t) v[SETTINGS_MODE];
    l->min = (uint32_t) v[SETTINGS_MIN];
    l->max = (uint32_t) v[SETTINGS_MAX];
    l->spare = (uint32_t) v[SETTINGS_SPARE];
    l->queue = (uint32_t) v[SETTINGS_QUEUE];
    l->queue_timeout_ms = (uint32_t) v[SETTINGS_QUEUE_TIMEOUT];
    l->timeout_ms = (uint32_t) v[SETTINGS_TIMEOUT];
    l->init_timeout_ms = (uint32_t) v[SETTINGS_INIT_TIMEOUT];
    l->idle_timeout_ms = (uint32_t) v[SETTINGS_IDLE_TIMEOUT];
    l->template_timeout_ms = (uint32_t) v[SETTINGS_TEMPLATE_TIMEOUT];
    l->max_requests = (uint32_t) v[SETTINGS_MAX_REQUESTS];
    l->idempotent = (uint32_t) v[SETTINGS_IDEMPOTENT];
    l->accel = (uint32_t) v[SETTINGS_ACCEL];
    l->memory_bytes = (uint64_t) v[SETTINGS_MEMORY];
}


int64_t
settings_number(const settings_function_t *conf,
    const settings_function_t *ceilings, settings_number_e n)
{
    if (conf != NULL && conf->number[n] != SETTINGS_UNSET) {
        return conf->number[n];
    }

    if (ceilings != NULL && ceilings->number[n] != SETTINGS_UNSET) {
        return ceilings->number[n];
    }

    return settings_rules[n].value;
}


static int
settings_host(settings_t *s, const char *name, char *value, char *why)
{
    size_t   i;
    int64_t  n;

    struct {
        const char  *name;
        char       **field;
    } strings[] = {
        { "functions", &s->functions }, { "state", &s->state },
        { "user", &s->user }, { "deployer", &s->deployer },
        { "error_log", &s->error_log }, { "kv", &s->kv },
        { "queue", &s->queue }
    };

    struct {
        const char  *name;
        int64_t     *field;
        int64_t      least, most;
    } numbers[] = {
        { "group", &s->group, 0, UINT32_MAX },
        { "worker_uid", &s->worker_uid, 0, UINT32_MAX },
        { "log_level", &s->log_level, 1, INT32_MAX },
        { "scoreboard", &s->scoreboard, FAAS_SCOREBOARD_SIZE_MIN,
          FAAS_SCOREBOARD_SIZE_MAX },
        { "memory", &s->memory, 1, INT64_MAX },
        { "core", &s->core, 0, 1 },
        { "core_keep", &s->core_keep, 1, 10000 },
        { "core_body", &s->core_body, 1, 1024 * 1024 * 1024 }
    };

    for (i = 0; i < sizeof(strings) / sizeof(strings[0]); i++) {
        if (strcmp(strings[i].name, name) == 0) {
            return settings_string(strings[i].field, name, value, why);
        }
    }

    if (strcmp(name, "callback") == 0) {

        if (settings_text(&s->callback, name, value, why) == -1) {
            return -1;
        }

        return *value != ' ' && strchr(value, ' ')
               ? 0 : settings_why(why, "bad value of \"callback\"");
    }

    for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (strcmp(numbers[i].name, name) == 0) {
            n = settings_descriptor_number(value);

            if (n < numbers[i].least || n > numbers[i].most) {
                return settings_why(why, "bad value \"%.64s\" of \"%s\"",
                                    value, name);
            }

            *numbers[i].field = n;
            return 0;
        }
    }

    return settings_why(why, "unknown setting \"%.64s\": module and "
                        "supervisor are of different releases", name);
}


static int
settings_block(settings_t *s, settings_function_t **block, char *value,
    char *why)
{
    int                    i;
    settings_function_t   *f, **p;

    if (faas_control_decode(value) == -1 || *value == '\0'
        || strlen(value) >= FAAS_NAME_SIZE)
    {
        return settings_why(why, "bad function name \"%.64s\"", value);
    }

    if (settings_function(s, value) != NULL
        || (strcmp(value, "*") == 0 && s->ceilings != NULL))
    {
        return settings_why(why, "duplicate function \"%s\"", value);
    }

    f = loop_alloc(sizeof(settings_function_t));
    memcpy(f->name, value, strlen(value));

    for (i = 0; i < SETTINGS_NUMBERS; i++) {
        f->number[i] = SETTINGS_UNSET;
    }

    if (strcmp(value, "*") == 0) {
        s->ceilings = f;

    } else {
        for (p = &s->blocks; *p != NULL; p = &(*p)->next) { /* void */ }
        *p = f;
    }

    *block = f;

    return 0;
}


static int
settings_set(settings_function_t *f, const char *name, char *value, char *why)
{
    int                     i;
    int64_t                 n;
    const settings_rule_t  *rule;

    if (strcmp(name, "user") == 0) {
        return settings_string(&f->user, name, value, why);
    }

    if (strcmp(name, "routes") == 0) {
        return settings_string(&f->routes, name, value, why);
    }

    if (strcmp(name, "share") == 0) {
        return settings_share(f, value, why);
    }

    if (strcmp(name, "env") == 0) {

        if (settings_text(&f->env, name, value, why) == -1) {
            return -1;
        }

        return *value != '=' && strchr(value, '=')
               ? 0 : settings_why(why, "function \"%s\": bad value of "
                                  "\"env\"", f->name);
    }

    if (strcmp(name, "consume") == 0 || strcmp(name, "schedule") == 0
        || strcmp(name, "async") == 0)
    {
        return settings_event(f, name, value, why);
    }

    for (i = 0; i < SETTINGS_NUMBERS; i++) {
        rule = &settings_rules[i];

        if (rule->name == NULL || strcmp(rule->name, name) != 0) {
            continue;
        }

        n = i == SETTINGS_MODE ? settings_descriptor_mode(value)
            : i == SETTINGS_DURABILITY ? settings_descriptor_durability(value)
            : settings_descriptor_number(value);

        if (n < rule->least || n > rule->most) {
            return settings_why(why, "function \"%s\": bad value \"%.64s\" "
                                "of \"%s\"", f->name, value, name);
        }

        f->number[i] = n;
        return 0;
    }

    return settings_why(why, "function \"%s\": unknown setting \"%.64s\": "
                        "module and supervisor are of different releases",
                        f->name, name);
}


static int
settings_string(char **field, const char *name, char *value, char *why)
{
    ssize_t  n;

    n = faas_control_decode(value);

    if (n <= 0 || strlen(value) != (size_t) n) {
        return settings_why(why, "bad value of \"%s\"", name);
    }

    free(*field);
    *field = loop_strdup(value, (size_t) n);

    return 0;
}


static int
settings_text(settings_list_t *list, const char *name, char *value, char *why)
{
    ssize_t  n;

    n = faas_control_decode(value);

    if (n <= 0 || strlen(value) != (size_t) n) {
        return settings_why(why, "bad value of \"%s\"", name);
    }

    settings_append(list, value, (size_t) n);

    return 0;
}


/* nginx has looked at them already: what is bad here is of another release */

static int
settings_event(settings_function_t *f, const char *name, char *value,
    char *why)
{
    int           rc;
    char          reason[SETTINGS_WHY_SIZE];
    ssize_t       n;
    faas_async_t  async;

    n = faas_control_decode(value);

    if (n <= 0 || strlen(value) != (size_t) n) {
        return settings_why(why, "bad value of \"%s\"", name);
    }

    if (strcmp(name, "async") == 0) {

        free(f->async);
        f->async = loop_strdup(value, (size_t) n);

        rc = faas_async_parse(value, (size_t) n, &async, reason);

    } else if (strcmp(f->name, "*") == 0) {
        return settings_why(why, "function \"*\" has no \"%s\"", name);

    } else if (*name == 'c') {
        rc = settings_event_add(&f->consume, SETTINGS_CONSUME, value,
                                (size_t) n, reason);

    } else {
        rc = settings_event_add(&f->schedule, SETTINGS_SCHEDULE, value,
                                (size_t) n, reason);
    }

    return rc == 0 ? 0 : settings_why(why, "function \"%s\": %.96s",
                                      f->name, reason);
}


/* "NAME r" or "NAME w" */

static int
settings_share(settings_function_t *f, char *value, char *why)
{
    size_t  n;

    if (settings_text(&f->share, "share", value, why) == -1) {
        return -1;
    }

    n = strcspn(value, " ");

    if (!faas_name_is_valid(value, n)
        || (strcmp(value + n, " r") != 0 && strcmp(value + n, " w") != 0))
    {
        return settings_why(why, "function \"%s\": bad value \"%.64s\" of "
                            "\"share\"", f->name, value);
    }

    return 0;
}


static void
settings_function_free(settings_function_t *f)
{
    if (f == NULL) {
        return;
    }

    free(f->user);
    free(f->routes);
    free(f->async);
    free(f->env.text);
    free(f->share.text);
    free(f->consume.text);
    free(f->schedule.text);
    free(f);
}


static int
settings_why(char *why, const char *format, ...)
{
    va_list  args;

    va_start(args, format);
    (void) vsnprintf(why, SETTINGS_WHY_SIZE, format, args);
    va_end(args);

    /* values are decoded, and may have line feeds */

    line_clean(why, strlen(why));

    return -1;
}


/* the next line, zero-terminated in place; NULL at the end */

static char *
settings_line(char **text)
{
    char  *line, *end;

    line = *text;

    if (line == NULL || *line == '\0') {
        return NULL;
    }

    end = strchr(line, '\n');

    if (end == NULL) {
        *text = NULL;

    } else {
        *end = '\0';
        *text = end + 1;
    }

    return line;
}

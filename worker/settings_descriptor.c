
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faas_control.h"
#include "loop.h"
#include "settings.h"


/* a field of a descriptor that is a setting */

typedef struct {
    const char               *name;
    settings_number_e         number;
    int64_t                   least;
    int64_t                   most;
    int                       zero;          /* 1: 0 means not set */
    int64_t                 (*parse)(const char *s);
} settings_descriptor_rule_t;


static int settings_descriptor_field(settings_descriptor_t *d,
    const char *name, const char *value, char *why);
static int settings_descriptor_events(settings_descriptor_t *d,
    const char *name, char *text, char *why);


static const settings_descriptor_rule_t  settings_descriptor_rules[] = {
    { "mode", SETTINGS_MODE, FAAS_MODE_RESIDENT, FAAS_MODE_ONESHOT, 0,
      settings_descriptor_mode },
    { "min", SETTINGS_MIN, 0, FAAS_MAX_INSTANCES, 0,
      settings_descriptor_number },
    { "max", SETTINGS_MAX, 1, FAAS_MAX_INSTANCES, 1,
      settings_descriptor_number },
    { "timeout", SETTINGS_TIMEOUT, 1, INT32_MAX, 0,
      settings_descriptor_time },
    { "memory", SETTINGS_MEMORY, 1, SETTINGS_MEMORY_MAX, 0,
      settings_descriptor_size },
    { "idempotent", SETTINGS_IDEMPOTENT, 0, 1, 0,
      settings_descriptor_number }
};


int
settings_descriptor(settings_descriptor_t *d, const char *text, size_t n,
    char *why)
{
    int    i;
    char  *copy, *line, *value, *end;

    memset(d, 0, sizeof(settings_descriptor_t));

    for (i = 0; i < SETTINGS_NUMBERS; i++) {
        d->number[i] = SETTINGS_UNSET;
    }

    copy = loop_strdup(text, n);

    for (line = copy; line != NULL; line = end) {

        end = strchr(line, '\n');
        if (end != NULL) {
            *end++ = '\0';
        }

        value = strchr(line, ' ');
        if (value == NULL) {
            continue;
        }

        *value++ = '\0';

        if (settings_descriptor_field(d, line, value, why) == -1) {
            goto failed;
        }
    }

    if (d->routes == NULL) {
        d->routes = loop_alloc(1);
    }

    free(copy);

    return 0;

failed:

    free(copy);
    settings_descriptor_free(d);

    return -1;
}


/* an empty value is a field that was not set */

static int
settings_descriptor_field(settings_descriptor_t *d, const char *name,
    const char *value, char *why)
{
    int                                rc;
    char                              *text;
    size_t                             i;
    ssize_t                            n;
    int64_t                            number;
    const settings_descriptor_rule_t  *rule;

    text = loop_strdup(value, strlen(value));
    n = faas_control_decode(text);

    if (n == -1) {
        (void) snprintf(why, SETTINGS_WHY_SIZE, "descriptor: bad value of "
                        "\"%.32s\"", name);
        free(text);
        return -1;
    }

    if (strcmp(name, "routes") == 0) {
        free(d->routes);
        d->routes = text;
        d->routes_length = strlen(text);
        return 0;
    }

    if (strcmp(name, "consumes") == 0 || strcmp(name, "schedule") == 0) {
        rc = settings_descriptor_events(d, name, text, why);
        free(text);
        return rc;
    }

    for (i = 0; i < sizeof(settings_descriptor_rules)
                    / sizeof(settings_descriptor_rules[0]); i++)
    {
        rule = &settings_descriptor_rules[i];

        if (strcmp(rule->name, name) != 0 || *text == '\0') {
            continue;
        }

        number = rule->parse(text);

        if (number == 0 && rule->zero) {
            continue;
        }

        if (number < rule->least || number > rule->most) {
            (void) snprintf(why, SETTINGS_WHY_SIZE, "descriptor: \"%.64s\" "
                            "is no value for \"%s\"", text, name);
            free(text);
            return -1;
        }

        d->number[rule->number] = number;
    }

    free(text);

    return 0;
}


/* lines; those that are empty say nothing */

static int
settings_descriptor_events(settings_descriptor_t *d, const char *name,
    char *text, char *why)
{
    char    *line, *end, reason[SETTINGS_WHY_SIZE];
    size_t   n;

    for (line = text; line != NULL; line = end) {

        end = strchr(line, '\n');
        n = end != NULL ? (size_t) (end++ - line) : strlen(line);

        while (n > 0 && (line[n - 1] == ' ' || line[n - 1] == '\t'
                         || line[n - 1] == '\r'))
        {
            n--;
        }

        while (n > 0 && (*line == ' ' || *line == '\t')) {
            line++;
            n--;
        }

        if (n > 0
            && (*name == 'c'
                ? settings_event_add(&d->consume, SETTINGS_CONSUME, line, n,
                                     reason)
                : settings_event_add(&d->schedule, SETTINGS_SCHEDULE, line, n,
                                     reason))
               == -1)
        {
            (void) snprintf(why, SETTINGS_WHY_SIZE, "descriptor: \"%s\": "
                            "%.160s", name, reason);
            return -1;
        }
    }

    return 0;
}


void
settings_descriptor_free(settings_descriptor_t *d)
{
    free(d->routes);
    free(d->consume.text);
    free(d->schedule.text);

    d->routes = NULL;
    d->consume.text = NULL;
    d->schedule.text = NULL;
}


/* as ngx_parse_time(): each unit at most once, from large to small */

int64_t
settings_descriptor_time(const char *s)
{
    static const struct {
        const char  *name;
        int64_t      ms;
    } units[] = {
        { "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 },
        { "ms", 1 }
    };

    size_t   i, length, least;
    int64_t  n, total;

    if (*s == '\0') {
        return -1;
    }

    total = 0;
    least = 0;

    while (*s != '\0') {

        if (*s < '0' || *s > '9') {
            return -1;
        }

        for (n = 0; *s >= '0' && *s <= '9'; s++) {
            n = n * 10 + (*s - '0');

            if (n > INT32_MAX) {
                return -1;
            }
        }

        length = strspn(s, "dhms");

        if (length == 0) {
            i = 3;    /* seconds, if nothing follows */

            if (*s != '\0') {
                return -1;
            }

        } else {
            for (i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
                if (strlen(units[i].name) == length
                    && strncmp(units[i].name, s, length) == 0)
                {
                    break;
                }
            }
        }

        if (i == sizeof(units) / sizeof(units[0]) || i < least) {
            return -1;
        }

        least = i + 1;
        total += n * units[i].ms;
        s += length;

        if (total > INT32_MAX) {
            return -1;
        }
    }

    return total;
}


int64_t
settings_descriptor_size(const char *s)
{
    int      shift;
    int64_t  n;

    if (*s < '0' || *s > '9') {
        return -1;
    }

    for (n = 0; *s >= '0' && *s <= '9'; s++) {
        n = n * 10 + (*s - '0');

        if (n > SETTINGS_MEMORY_MAX) {
            return -1;
        }
    }

    switch (*s) {
    case 'k': case 'K': shift = 10; s++; break;
    case 'm': case 'M': shift = 20; s++; break;
    case 'g': case 'G': shift = 30; s++; break;
    default:            shift = 0;
    }

    if (*s != '\0' || n > SETTINGS_MEMORY_MAX >> shift) {
        return -1;
    }

    return n << shift;
}


int64_t
settings_descriptor_number(const char *s)
{
    int64_t  n;

    if (*s < '0' || *s > '9') {
        return -1;
    }

    for (n = 0; *s >= '0' && *s <= '9'; s++) {
        if (n > INT64_MAX / 10 - 1) {
            return -1;
        }

        n = n * 10 + (*s - '0');
    }

    return *s == '\0' ? n : -1;
}


int64_t
settings_descriptor_mode(const char *s)
{
    if (strcmp(s, "resident") == 0) {
        return FAAS_MODE_RESIDENT;
    }

    if (strcmp(s, "oneshot") == 0) {
        return FAAS_MODE_ONESHOT;
    }

    return -1;
}


int64_t
settings_descriptor_durability(const char *s)
{
    if (strcmp(s, "full") == 0) {
        return SETTINGS_FULL;
    }

    return strcmp(s, "normal") == 0 ? SETTINGS_NORMAL : -1;
}

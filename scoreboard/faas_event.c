
/*
 * Lines of `consume`, `schedule` and `async`: words between blanks, options
 * NAME=VALUE in any order, each at most once.  What an option may be is said
 * by a table for each kind of line.
 */


#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "faas_event.h"


#define EVENT_DAY      (24ll * 3600 * 1000)
#define EVENT_SHOWN    40         /* bytes of a bad word that are shown */
#define EVENT_OPTIONS  8


typedef struct event_option_s  event_option_t;

struct event_option_s {
    const char               *name;

    /* 0, or -1; value is not empty */
    int                     (*set)(void *conf, const event_option_t *option,
                                   const char *value, size_t n);
    size_t                    offset;      /* of what is set, in conf */
    int64_t                   min;
    int64_t                   max;
    const char               *expects;     /* said when it is refused */
};


static int event_options(const event_option_t *options, const char *s,
    size_t n, size_t at, void *conf, char *why);
static int event_option(const event_option_t *options, uint32_t *seen,
    const char *word, size_t length, void *conf, char *why);
static int event_set_number(void *conf, const event_option_t *option,
    const char *value, size_t n);
static int event_set_time(void *conf, const event_option_t *option,
    const char *value, size_t n);
static int event_set_long_time(void *conf, const event_option_t *option,
    const char *value, size_t n);
static int event_set_name(void *conf, const event_option_t *option,
    const char *value, size_t n);
static int event_set_zone(void *conf, const event_option_t *option,
    const char *value, size_t n);
static int event_set_retry(void *conf, const event_option_t *option,
    const char *value, size_t n);
static int event_set_overlap(void *conf, const event_option_t *option,
    const char *value, size_t n);
static int event_set_catchup(void *conf, const event_option_t *option,
    const char *value, size_t n);
static int event_choice(const char *const *choices, uint32_t count,
    const char *value, size_t n, uint32_t *choice);
static size_t event_due(const char *s, size_t n);
static uint32_t event_hash(const char *s, size_t n, const char *zone);
static size_t event_word(const char *s, size_t n, size_t *at,
    const char **word);
static int event_fail(char *why, const char *before, const char *s, size_t n,
    const char *what);


static const event_option_t  event_consume_options[] = {
    { "batch", event_set_number, offsetof(faas_consume_t, batch),
      1, FAAS_BATCH_MAX, "a number from 1 to 100" },
    { "wait", event_set_time, offsetof(faas_consume_t, wait_ms),
      0, 3600000, "a time up to 1h" },
    { "attempts", event_set_number, offsetof(faas_consume_t, attempts),
      1, FAAS_ATTEMPTS_MAX, "a number from 1 to 100" },
    { "retry", event_set_retry, 0,
      1, EVENT_DAY, "MIN..MAX, two times from 1ms to 1d" },
    { "parallel", event_set_number, offsetof(faas_consume_t, parallel),
      1, 65535, "a number from 1 to 65535" },
    { "lease", event_set_time, offsetof(faas_consume_t, lease_ms),
      1000, EVENT_DAY, "a time from 1s to 1d" },
    { NULL, NULL, 0, 0, 0, NULL }
};

static const event_option_t  event_schedule_options[] = {
    { "tz", event_set_zone, offsetof(faas_schedule_t, zone),
      0, 0, "a time zone that this machine has, such as Europe/Berlin" },
    { "overlap", event_set_overlap, 0,
      0, 0, "skip, queue or allow" },
    { "catchup", event_set_catchup, 0,
      0, 0, "none, one or all" },
    { "name", event_set_name, offsetof(faas_schedule_t, name),
      0, 0, "a name of a-z, 0-9, _ and -" },
    { "attempts", event_set_number, offsetof(faas_schedule_t, attempts),
      1, FAAS_ATTEMPTS_MAX, "a number from 1 to 100" },
    { NULL, NULL, 0, 0, 0, NULL }
};

static const event_option_t  event_async_options[] = {
    { "attempts", event_set_number, offsetof(faas_async_t, attempts),
      1, FAAS_ATTEMPTS_MAX, "a number from 1 to 100" },
    { "age", event_set_long_time, offsetof(faas_async_t, age_ms),
      1000, 365 * EVENT_DAY, "a time from 1s to 365d" },
    { "keep", event_set_long_time, offsetof(faas_async_t, keep_ms),
      1000, 365 * EVENT_DAY, "a time from 1s to 365d" },
    { NULL, NULL, 0, 0, 0, NULL }
};


static const struct {
    const char               *unit;
    int64_t                   ms;
} event_units[] = {
    { "y", 365 * EVENT_DAY },
    { "M", 30 * EVENT_DAY },
    { "w", 7 * EVENT_DAY },
    { "d", EVENT_DAY },
    { "h", 3600000 },
    { "m", 60000 },
    { "s", 1000 },
    { "ms", 1 }
};

#define EVENT_UNITS  (sizeof(event_units) / sizeof(event_units[0]))


int
faas_consume_parse(const char *s, size_t n, faas_consume_t *c, char *why)
{
    size_t       at, length;
    const char  *word;

    memset(c, 0, sizeof(*c));
    c->batch = 1;
    c->attempts = 5;
    c->retry_min_ms = 1000;
    c->retry_max_ms = 300000;

    at = 0;
    length = event_word(s, n, &at, &word);

    if (length == 0) {
        return event_fail(why, "no queue is named", NULL, 0, "");
    }

    if (!faas_name_is_valid(word, length)) {
        return event_fail(why, "queue", word, length,
                          "is no name of a-z, 0-9, _ and -");
    }

    memcpy(c->queue, word, length);

    return event_options(event_consume_options, s, n, at, c, why);
}


int
faas_schedule_parse(const char *s, size_t n, faas_schedule_t *c, char *why)
{
    size_t  at;

    memset(c, 0, sizeof(*c));
    (void) snprintf(c->zone, sizeof(c->zone), "UTC");
    c->attempts = 3;

    at = event_due(s, n);

    if (faas_cron_parse(s, at, &c->cron, why, FAAS_EVENT_WHY_SIZE) != 0
        || event_options(event_schedule_options, s, n, at, c, why) != 0)
    {
        return -1;
    }

    if (c->cron.every_ms && strcmp(c->zone, "UTC") != 0) {
        return event_fail(why, "tz has no meaning with @every", NULL, 0, "");
    }

    if (c->name[0] == '\0') {
        (void) snprintf(c->name, sizeof(c->name), "timer%08x",
                        event_hash(s, at, c->zone));
    }

    return 0;
}


int
faas_async_parse(const char *s, size_t n, faas_async_t *a, char *why)
{
    memset(a, 0, sizeof(*a));
    a->attempts = 3;
    a->age_ms = 6 * 3600000;
    a->keep_ms = 3600000;

    return event_options(event_async_options, s, n, 0, a, why);
}


int
faas_name_is_valid(const char *s, size_t n)
{
    size_t  i;

    if (n == 0 || n >= FAAS_NAME_SIZE || *s == '_' || *s == '-') {
        return 0;
    }

    for (i = 0; i < n; i++) {
        if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= '0' && s[i] <= '9')
              || s[i] == '_' || s[i] == '-'))
        {
            return 0;
        }
    }

    return 1;
}


/* as ngx_parse_time(): units in descending order, none means seconds */

int64_t
faas_time_parse(const char *s, size_t n)
{
    size_t   i, unit, next, length;
    int64_t  value, total;

    if (n == 0) {
        return -1;
    }

    total = 0;
    next = 0;

    for (i = 0; i < n; /* void */ ) {

        value = 0;
        length = 0;

        for ( /* void */ ; i < n && s[i] >= '0' && s[i] <= '9'; i++) {
            value = value * 10 + (s[i] - '0');

            /* 3e9 of the largest unit are still a number */

            if (++length > 12) {
                return -1;
            }
        }

        if (length == 0) {
            return -1;
        }

        if (i == n) {
            /* a bare number ends the text: seconds, and none before */

            if (next > 6) {
                return -1;
            }

            unit = 6;

        } else {
            length = i + 1 < n && s[i] == 'm' && s[i + 1] == 's' ? 2 : 1;

            for (unit = next; unit < EVENT_UNITS; unit++) {
                if (strlen(event_units[unit].unit) == length
                    && memcmp(event_units[unit].unit, s + i, length) == 0)
                {
                    break;
                }
            }

            if (unit == EVENT_UNITS) {
                return -1;
            }

            i += length;
        }

        next = unit + 1;

        if (value > (INT64_MAX / 2 - total) / event_units[unit].ms) {
            return -1;
        }

        total += value * event_units[unit].ms;
    }

    return total;
}


static int
event_options(const event_option_t *options, const char *s, size_t n,
    size_t at, void *conf, char *why)
{
    size_t       length;
    uint32_t     seen;
    const char  *word;

    seen = 0;

    for ( ;; ) {
        length = event_word(s, n, &at, &word);

        if (length == 0) {
            return 0;
        }

        if (event_option(options, &seen, word, length, conf, why) != 0) {
            return -1;
        }
    }
}


static int
event_option(const event_option_t *options, uint32_t *seen, const char *word,
    size_t length, void *conf, char *why)
{
    size_t                 name;
    const char            *equals;
    const event_option_t  *option;

    equals = memchr(word, '=', length);
    name = equals != NULL ? (size_t) (equals - word) : length;

    for (option = options; option->name != NULL; option++) {
        if (strlen(option->name) == name
            && memcmp(option->name, word, name) == 0)
        {
            break;
        }
    }

    if (option->name == NULL) {
        return event_fail(why, "option", word, length, "is not known");
    }

    if (*seen & 1u << (option - options)) {
        return event_fail(why, "option", word, length, "is there twice");
    }

    *seen |= 1u << (option - options);

    if (equals == NULL || name + 1 == length
        || option->set(conf, option, equals + 1, length - name - 1) != 0)
    {
        (void) event_fail(why, "option", word, length, "is not");
        name = strlen(why);
        (void) snprintf(why + name, FAAS_EVENT_WHY_SIZE - name, " %s",
                        option->expects);
        return -1;
    }

    return 0;
}


static int
event_set_number(void *conf, const event_option_t *option, const char *value,
    size_t n)
{
    size_t    i;
    uint32_t  number, *field;

    if (n > 6) {
        return -1;
    }

    number = 0;

    for (i = 0; i < n; i++) {

        if (value[i] < '0' || value[i] > '9') {
            return -1;
        }

        number = number * 10 + (uint32_t) (value[i] - '0');
    }

    if (number < option->min || number > option->max) {
        return -1;
    }

    field = (uint32_t *) (void *) ((char *) conf + option->offset);
    *field = number;

    return 0;
}


static int
event_set_time(void *conf, const event_option_t *option, const char *value,
    size_t n)
{
    int64_t    ms;
    uint32_t  *field;

    ms = faas_time_parse(value, n);

    if (ms < option->min || ms > option->max) {
        return -1;
    }

    field = (uint32_t *) (void *) ((char *) conf + option->offset);
    *field = (uint32_t) ms;

    return 0;
}


static int
event_set_long_time(void *conf, const event_option_t *option,
    const char *value, size_t n)
{
    int64_t  ms, *field;

    ms = faas_time_parse(value, n);

    if (ms < option->min || ms > option->max) {
        return -1;
    }

    field = (int64_t *) (void *) ((char *) conf + option->offset);
    *field = ms;

    return 0;
}


static int
event_set_name(void *conf, const event_option_t *option, const char *value,
    size_t n)
{
    if (!faas_name_is_valid(value, n)) {
        return -1;
    }

    memcpy((char *) conf + option->offset, value, n);

    return 0;
}


static int
event_set_zone(void *conf, const event_option_t *option, const char *value,
    size_t n)
{
    char  *zone;

    zone = (char *) conf + option->offset;

    if (n >= sizeof(((faas_schedule_t *) conf)->zone)
        || memchr(value, '\0', n) != NULL)
    {
        return -1;
    }

    memcpy(zone, value, n);
    zone[n] = '\0';

    return faas_cron_zone_is_valid(zone) ? 0 : -1;
}


static int
event_set_retry(void *conf, const event_option_t *option, const char *value,
    size_t n)
{
    size_t           i;
    int64_t          min, max;
    faas_consume_t  *c;

    for (i = 0; i + 2 < n; i++) {
        if (value[i] == '.' && value[i + 1] == '.') {
            break;
        }
    }

    if (i + 2 >= n) {
        return -1;
    }

    min = faas_time_parse(value, i);
    max = faas_time_parse(value + i + 2, n - i - 2);

    if (min < option->min || max < min || max > option->max) {
        return -1;
    }

    c = conf;
    c->retry_min_ms = (uint32_t) min;
    c->retry_max_ms = (uint32_t) max;

    return 0;
}


static int
event_set_overlap(void *conf, const event_option_t *option, const char *value,
    size_t n)
{
    faas_schedule_t           *c;
    static const char *const   choices[] = { "skip", "queue", "allow" };

    (void) option;

    c = conf;

    return event_choice(choices, 3, value, n, &c->overlap);
}


static int
event_set_catchup(void *conf, const event_option_t *option, const char *value,
    size_t n)
{
    faas_schedule_t           *c;
    static const char *const   choices[] = { "none", "one", "all" };

    (void) option;

    c = conf;

    return event_choice(choices, 3, value, n, &c->catchup);
}


/* choices are in the order of their enum */

static int
event_choice(const char *const *choices, uint32_t count, const char *value,
    size_t n, uint32_t *choice)
{
    uint32_t  i;

    for (i = 0; i < count; i++) {
        if (strlen(choices[i]) == n && memcmp(choices[i], value, n) == 0) {
            *choice = i;
            return 0;
        }
    }

    return -1;
}


/* where the due times end and the options begin */

static size_t
event_due(const char *s, size_t n)
{
    size_t       at, end, length, words;
    const char  *word;

    at = 0;
    end = 0;
    words = 5;

    while (words-- != 0) {
        length = event_word(s, n, &at, &word);

        if (length == 0 || memchr(word, '=', length) != NULL) {
            break;
        }

        /* a name stands alone, "@every" with its time */

        if (end == 0 && *word == '@') {
            words = length == 6 && strncasecmp(word, "@every", 6) == 0;
        }

        end = at;
    }

    return end;
}


/*
 * FNV-1a over the words of a due time and the zone: the same timer whatever
 * its blanks and its other options, so that a change of `attempts` makes no
 * other timer of it.
 */

static uint32_t
event_hash(const char *s, size_t n, const char *zone)
{
    size_t       at, i, length;
    uint32_t     hash;
    const char  *word;

    hash = 2166136261u;
    at = 0;

    while ((length = event_word(s, n, &at, &word)) != 0) {

        for (i = 0; i < length; i++) {
            hash = (hash ^ (uint8_t) word[i]) * 16777619u;
        }

        hash = (hash ^ ' ') * 16777619u;
    }

    for ( /* void */ ; *zone; zone++) {
        hash = (hash ^ (uint8_t) *zone) * 16777619u;
    }

    return hash;
}


/* the next word between blanks, from *at on; its length, 0 at the end */

static size_t
event_word(const char *s, size_t n, size_t *at, const char **word)
{
    size_t  i, start;

    for (i = *at; i < n && (s[i] == ' ' || s[i] == '\t'); i++) { /* void */ }

    start = i;
    *word = s + start;

    for ( /* void */ ; i < n && s[i] != ' ' && s[i] != '\t'; i++) {
        /* void */
    }

    *at = i;

    return i - start;
}


static int
event_fail(char *why, const char *before, const char *s, size_t n,
    const char *what)
{
    char    text[EVENT_SHOWN + 1];
    size_t  i;

    for (i = 0; i < n && i < EVENT_SHOWN; i++) {
        text[i] = s[i] >= ' ' && s[i] <= '~' ? s[i] : '?';
    }

    text[i] = '\0';

    if (s != NULL) {
        (void) snprintf(why, FAAS_EVENT_WHY_SIZE, "%s \"%s\" %s", before, text,
                        what);

    } else {
        (void) snprintf(why, FAAS_EVENT_WHY_SIZE, "%s", before);
    }

    return -1;
}

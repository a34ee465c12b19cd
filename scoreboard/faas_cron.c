
/*
 * Due times: crontab(5) fields to bits, and the first match after an instant.
 *
 * The search walks pieces of time in which the zone's offset does not change,
 * so that inside a piece the calendar is plain arithmetic; what daylight
 * saving does is decided where two pieces meet, and nowhere else.
 */


#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "faas_cron.h"
#include "faas_event.h"


#define CRON_DAY          86400ll
#define CRON_YEARS        5
#define CRON_CHANGE_MAX   (3 * 3600)     /* larger ones are not daylight saving
                                            but another place: no rules */
#define CRON_EVERY_MAX    (366 * CRON_DAY * 1000)
#define CRON_ZONES        "/usr/share/zoneinfo/"
#define CRON_ZONE_MAX     63

/* how much of a bad field is shown */
#define CRON_SHOWN        32


/* one of the five fields */

typedef struct {
    const char               *name;
    unsigned                  first;
    unsigned                  last;
    const char *const        *words;     /* of values from first on, or NULL */
    unsigned                  count;     /* of words */
} cron_field_t;


/* what a field's text became */

typedef struct {
    uint64_t                  bits;
    int                       star;
} cron_bits_t;


/* a piece of time with one offset, [from, to) in seconds since the epoch;
   local time is that plus the offset */

typedef struct {
    int64_t                   from;
    int64_t                   to;
    int64_t                   offset;
    int64_t                   floor;     /* earlier local time was before */
} cron_piece_t;


static int cron_parse_name(const char *s, size_t n, faas_cron_t *c, char *why,
    size_t size);
static int cron_parse_every(const char *s, size_t n, faas_cron_t *c, char *why,
    size_t size);
static int cron_parse_field(const cron_field_t *field, const char *s, size_t n,
    cron_bits_t *bits, char *why, size_t size);
static int cron_parse_element(const cron_field_t *field, const char *s,
    size_t n, cron_bits_t *bits, char *why, size_t size);
static int cron_parse_value(const cron_field_t *field, const char *s, size_t n,
    unsigned *value);
static int cron_number(const char *s, size_t n, unsigned *value);
static int cron_fail(char *why, size_t size, const cron_field_t *field,
    const char *s, size_t n, const char *what);
static int cron_can_match(const faas_cron_t *c);
static size_t cron_word(const char *s, size_t n, size_t *at,
    const char **word);
static int64_t cron_search(const faas_cron_t *c, int64_t after);
static int64_t cron_floor(const faas_cron_t *c, int64_t t);
static int64_t cron_change(int64_t from, int64_t to);
static int64_t cron_offset(int64_t t);
static int64_t cron_match(const faas_cron_t *c, int64_t from, int64_t to);
static int cron_match_day(const faas_cron_t *c, int64_t day);
static void cron_date(int64_t day, int *month, int *mday);


static const char *const  cron_months[] = {
    "jan", "feb", "mar", "apr", "may", "jun",
    "jul", "aug", "sep", "oct", "nov", "dec"
};

static const char *const  cron_weekdays[] = {
    "sun", "mon", "tue", "wed", "thu", "fri", "sat"
};

static const cron_field_t  cron_fields[] = {
    { "minute", 0, 59, NULL, 0 },
    { "hour", 0, 23, NULL, 0 },
    { "day of month", 1, 31, NULL, 0 },
    { "month", 1, 12, cron_months, 12 },
    { "day of week", 0, 7, cron_weekdays, 7 }
};

#define CRON_FIELDS  (sizeof(cron_fields) / sizeof(cron_fields[0]))


static const struct {
    const char               *name;
    const char               *fields;
} cron_names[] = {
    { "@hourly", "0 * * * *" },
    { "@daily", "0 0 * * *" },
    { "@midnight", "0 0 * * *" },
    { "@weekly", "0 0 * * 0" },
    { "@monthly", "0 0 1 * *" },
    { "@yearly", "0 0 1 1 *" },
    { "@annually", "0 0 1 1 *" }
};


int
faas_cron_parse(const char *s, size_t n, faas_cron_t *c, char *why,
    size_t size)
{
    size_t       i, at, length;
    const char  *word;
    cron_bits_t  bits[CRON_FIELDS];

    memset(c, 0, sizeof(*c));
    at = 0;

    for (i = 0; i < CRON_FIELDS; i++) {
        length = cron_word(s, n, &at, &word);

        if (length == 0) {
            (void) snprintf(why, size, "%zu of the five fields minute, hour, "
                            "day of month, month, day of week", i);
            return -1;
        }

        if (i == 0 && *word == '@') {
            return cron_parse_name(word, (size_t) (s + n - word), c, why,
                                   size);
        }

        if (cron_parse_field(&cron_fields[i], word, length, &bits[i], why,
                             size)
            != 0)
        {
            return -1;
        }
    }

    length = cron_word(s, n, &at, &word);

    if (length != 0) {
        return cron_fail(why, size, NULL, word, length,
                         "is more than five fields");
    }

    /* 7 is Sunday, too */
    bits[4].bits = (bits[4].bits | bits[4].bits >> 7) & 0x7f;

    c->minute = bits[0].bits;
    c->hour = (uint32_t) bits[1].bits;
    c->day = (uint32_t) bits[2].bits;
    c->month = (uint32_t) bits[3].bits;
    c->weekday = (uint32_t) bits[4].bits;
    c->minute_star = bits[0].star != 0;
    c->hour_star = bits[1].star != 0;
    c->day_star = bits[2].star != 0;
    c->weekday_star = bits[4].star != 0;

    if (!cron_can_match(c)) {
        (void) snprintf(why, size, "there is no such day in those months");
        return -1;
    }

    return 0;
}


static int
cron_parse_name(const char *s, size_t n, faas_cron_t *c, char *why,
    size_t size)
{
    size_t       i, at, length;
    const char  *word, *rest;

    at = 0;
    length = cron_word(s, n, &at, &word);

    if (length == sizeof("@every") - 1
        && strncasecmp(word, "@every", length) == 0)
    {
        return cron_parse_every(s + at, n - at, c, why, size);
    }

    for (i = 0; i < sizeof(cron_names) / sizeof(cron_names[0]); i++) {

        if (strlen(cron_names[i].name) != length
            || strncasecmp(word, cron_names[i].name, length) != 0)
        {
            continue;
        }

        if (cron_word(s, n, &at, &rest) != 0) {
            return cron_fail(why, size, NULL, rest, (size_t) (s + n - rest),
                             "after a name is too much");
        }

        return faas_cron_parse(cron_names[i].fields,
                               strlen(cron_names[i].fields), c, why, size);
    }

    return cron_fail(why, size, NULL, word, length, "is none of @every TIME, "
                     "@hourly, @daily, @weekly, @monthly, @yearly");
}


static int
cron_parse_every(const char *s, size_t n, faas_cron_t *c, char *why,
    size_t size)
{
    size_t       at, length;
    int64_t      ms;
    const char  *word, *rest;

    at = 0;
    length = cron_word(s, n, &at, &word);

    if (length == 0) {
        (void) snprintf(why, size, "@every without a time");
        return -1;
    }

    ms = faas_time_parse(word, length);

    if (ms == -1) {
        return cron_fail(why, size, NULL, word, length, "is no time");
    }

    if (ms < 1000 || ms > CRON_EVERY_MAX) {
        return cron_fail(why, size, NULL, word, length,
                         "is not between 1s and 366d");
    }

    if (cron_word(s, n, &at, &rest) != 0) {
        return cron_fail(why, size, NULL, rest, (size_t) (s + n - rest),
                         "after @every TIME is too much");
    }

    c->every_ms = ms;

    return 0;
}


static int
cron_parse_field(const cron_field_t *field, const char *s, size_t n,
    cron_bits_t *bits, char *why, size_t size)
{
    size_t       length;
    const char  *p, *end, *comma;

    bits->bits = 0;
    bits->star = 0;
    end = s + n;

    for (p = s; ; p = comma + 1) {
        comma = memchr(p, ',', (size_t) (end - p));
        length = (size_t) ((comma != NULL ? comma : end) - p);

        if (length == 0) {
            return cron_fail(why, size, field, s, n, "has an empty element");
        }

        if (cron_parse_element(field, p, length, bits, why, size) != 0) {
            return -1;
        }

        if (comma == NULL) {
            return 0;
        }
    }
}


/* "*", "*" "/N", "A", "A-B", "A-B/N" */

static int
cron_parse_element(const cron_field_t *field, const char *s, size_t n,
    cron_bits_t *bits, char *why, size_t size)
{
    size_t       length;
    unsigned     first, last, step;
    const char  *slash, *dash;

    step = 1;
    slash = memchr(s, '/', n);
    length = slash != NULL ? (size_t) (slash - s) : n;

    if (slash != NULL
        && (cron_number(slash + 1, n - length - 1, &step) != 0 || step == 0))
    {
        return cron_fail(why, size, field, s, n, "has a bad step");
    }

    dash = memchr(s, '-', length);

    if (length == 1 && *s == '*') {
        first = field->first;
        last = field->last - (field->words == cron_weekdays);
        bits->star = 1;

    } else if (dash != NULL) {

        if (cron_parse_value(field, s, (size_t) (dash - s), &first) != 0
            || cron_parse_value(field, dash + 1,
                                length - (size_t) (dash - s) - 1, &last)
               != 0)
        {
            return cron_fail(why, size, field, s, n, "is out of its range");
        }

        /* a week may end with Sunday: "fri-sun" */

        if (field->words == cron_weekdays && last == 0 && first > 0) {
            last = 7;
        }

        if (first > last) {
            return cron_fail(why, size, field, s, n, "runs backwards");
        }

    } else {

        if (cron_parse_value(field, s, length, &first) != 0) {
            return cron_fail(why, size, field, s, n, "is out of its range");
        }

        if (slash != NULL) {
            return cron_fail(why, size, field, s, n,
                             "has a step, but no range");
        }

        last = first;
    }

    for ( /* void */ ; first <= last; first += step) {
        bits->bits |= (uint64_t) 1 << first;
    }

    return 0;
}


static int
cron_parse_value(const cron_field_t *field, const char *s, size_t n,
    unsigned *value)
{
    unsigned  i;

    for (i = 0; i < field->count; i++) {
        if (n == 3 && strncasecmp(s, field->words[i], 3) == 0) {
            *value = field->first + i;
            return 0;
        }
    }

    return cron_number(s, n, value) == 0
           && *value >= field->first && *value <= field->last ? 0 : -1;
}


/* one to three digits: 0, or -1 */

static int
cron_number(const char *s, size_t n, unsigned *value)
{
    size_t  i;

    if (n == 0 || n > 3) {
        return -1;
    }

    *value = 0;

    for (i = 0; i < n; i++) {

        if (s[i] < '0' || s[i] > '9') {
            return -1;
        }

        *value = *value * 10 + (unsigned) (s[i] - '0');
    }

    return 0;
}


static int
cron_fail(char *why, size_t size, const cron_field_t *field, const char *s,
    size_t n, const char *what)
{
    char    text[CRON_SHOWN + 1];
    size_t  i;

    for (i = 0; i < n && i < CRON_SHOWN; i++) {
        text[i] = s[i] >= ' ' && s[i] <= '~' ? s[i] : '?';
    }

    text[i] = '\0';

    if (field != NULL) {
        (void) snprintf(why, size, "%s \"%s\" %s (%u-%u)", field->name, text,
                        what, field->first, field->last);

    } else {
        (void) snprintf(why, size, "\"%s\" %s", text, what);
    }

    return -1;
}


/* 0 for what no calendar has: the 31st of April, unless weekdays help */

static int
cron_can_match(const faas_cron_t *c)
{
    int                   month;
    static const uint8_t  days[12] = {
        31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31
    };

    if (!c->day_star && !c->weekday_star) {
        return 1;
    }

    for (month = 1; month <= 12; month++) {

        if (c->month & 1u << month
            && c->day & (uint32_t) ((2ull << days[month - 1]) - 1))
        {
            return 1;
        }
    }

    return 0;
}


/* the next word between blanks, from *at on; its length, 0 at the end */

static size_t
cron_word(const char *s, size_t n, size_t *at, const char **word)
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


int
faas_cron_zone_is_valid(const char *zone)
{
    int          fd, rc;
    char         path[sizeof(CRON_ZONES) + CRON_ZONE_MAX], magic[4];
    size_t       n;
    struct stat  st;

    if (strcmp(zone, "UTC") == 0) {
        return 1;
    }

    n = strlen(zone);

    /* a relative name without dots cannot leave the directory */

    if (n == 0 || n > CRON_ZONE_MAX || *zone == '/'
        || strspn(zone, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                        "0123456789_+-/") != n)
    {
        return 0;
    }

    (void) snprintf(path, sizeof(path), "%s%s", CRON_ZONES, zone);

    fd = open(path, O_RDONLY|O_CLOEXEC|O_NONBLOCK|O_NOCTTY);
    if (fd == -1) {
        return 0;
    }

    rc = fstat(fd, &st) == 0 && S_ISREG(st.st_mode)
         && read(fd, magic, sizeof(magic)) == (ssize_t) sizeof(magic)
         && memcmp(magic, "TZif", sizeof(magic)) == 0;

    (void) close(fd);

    return rc;
}


int64_t
faas_cron_next(const faas_cron_t *c, const char *zone, int64_t after_ms)
{
    char     *old, saved[256];
    int64_t   t;

    if (after_ms < 0) {
        after_ms = 0;
    }

    if (c->every_ms) {
        return (after_ms / c->every_ms + 1) * c->every_ms;
    }

    /* one whose length nobody could have meant is not kept */

    old = getenv("TZ");

    if (old != NULL) {
        (void) snprintf(saved, sizeof(saved), "%s", old);
    }

    (void) setenv("TZ", strcmp(zone, "UTC") == 0 ? "UTC0" : zone, 1);
    tzset();

    t = cron_search(c, after_ms / 1000);

    if (old != NULL) {
        (void) setenv("TZ", saved, 1);

    } else {
        (void) unsetenv("TZ");
    }

    tzset();

    return t == -1 ? -1 : t * 1000;
}


/* the first second after `after`, or -1 */

static int64_t
cron_search(const faas_cron_t *c, int64_t after)
{
    int64_t       found, last, change;
    cron_piece_t  piece;

    last = after + CRON_YEARS * 366 * CRON_DAY;

    piece.from = after;
    piece.offset = cron_offset(after);
    piece.floor = cron_floor(c, after);

    if (piece.floor <= after + piece.offset) {
        piece.floor = after + piece.offset + 1;
    }

    for ( ;; ) {
        piece.to = cron_change(piece.from, piece.from + CRON_DAY);

        found = piece.from + piece.offset;

        if (found < piece.floor) {
            found = piece.floor;
        }

        found = cron_match(c, found, piece.to + piece.offset);

        if (found != -1) {
            return found - piece.offset;
        }

        if (piece.to > last) {
            return -1;
        }

        change = cron_offset(piece.to) - piece.offset;

        /* skipped by the clock: made up for at the first instant after */

        if (change > 0 && change <= CRON_CHANGE_MAX
            && !c->hour_star && !c->minute_star
            && cron_match(c, piece.to + piece.offset,
                          piece.to + piece.offset + change)
               != -1)
        {
            return piece.to;
        }

        if (change < 0) {
            piece.floor = cron_floor(c, piece.to);
        }

        piece.from = piece.to;
        piece.offset += change;
    }
}


/*
 * Local times below it, at or after t, come for the second time and do not
 * count; INT64_MIN when all of them do.
 */

static int64_t
cron_floor(const faas_cron_t *c, int64_t t)
{
    int64_t  change, before, now;

    if (c->hour_star) {
        return INT64_MIN;
    }

    now = cron_offset(t);
    before = cron_offset(t - CRON_CHANGE_MAX);

    if (now >= before || before - now > CRON_CHANGE_MAX) {
        return INT64_MIN;
    }

    change = cron_change(t - CRON_CHANGE_MAX, t);

    return change + before;
}


/* where in (from, to] the offset becomes another one; `to` if nowhere */

static int64_t
cron_change(int64_t from, int64_t to)
{
    int64_t  middle, offset;

    offset = cron_offset(from);

    if (cron_offset(to) == offset) {
        return to;
    }

    while (to - from > 1) {
        middle = from + (to - from) / 2;

        if (cron_offset(middle) == offset) {
            from = middle;

        } else {
            to = middle;
        }
    }

    return to;
}


static int64_t
cron_offset(int64_t t)
{
    time_t     sec;
    struct tm  tm;

    sec = (time_t) t;

    return localtime_r(&sec, &tm) != NULL ? tm.tm_gmtoff : 0;
}


/* the first local time in [from, to) that matches, or -1 */

static int64_t
cron_match(const faas_cron_t *c, int64_t from, int64_t to)
{
    int      hour, minute;
    int64_t  day, t;

    from = (from + 59) / 60 * 60;

    for (day = from / CRON_DAY; day * CRON_DAY < to; day++) {

        if (!cron_match_day(c, day)) {
            continue;
        }

        for (hour = 0; hour < 24; hour++) {

            t = day * CRON_DAY + hour * 3600;

            if (!(c->hour & 1u << hour) || t + 3600 <= from) {
                continue;
            }

            for (minute = 0; minute < 60; minute++) {

                if (!(c->minute & (uint64_t) 1 << minute)
                    || t + minute * 60 < from)
                {
                    continue;
                }

                return t + minute * 60 < to ? t + minute * 60 : -1;
            }
        }
    }

    return -1;
}


static int
cron_match_day(const faas_cron_t *c, int64_t day)
{
    int  month, mday, by_day, by_weekday;

    cron_date(day, &month, &mday);

    if (!(c->month & 1u << month)) {
        return 0;
    }

    by_day = (c->day & 1u << mday) != 0;

    /* 1970-01-01 was a Thursday */
    by_weekday = (c->weekday & 1u << ((day + 4) % 7)) != 0;

    return c->day_star || c->weekday_star ? by_day && by_weekday
                                          : by_day || by_weekday;
}


/* Gauss' years from March to February, as in ngx_gmtime() */

static void
cron_date(int64_t day, int *month, int *mday)
{
    int64_t  year, yday, mon;

    day += 719527 - 31 - 28;     /* since 1 March of year 0 */

    year = (day + 2) * 400 / (365 * 400 + 100 - 4 + 1);
    yday = day - (365 * year + year / 4 - year / 100 + year / 400);

    if (yday < 0) {
        year--;
        yday = day - (365 * year + year / 4 - year / 100 + year / 400);
    }

    mon = (yday + 31) * 10 / 306;

    *mday = (int) (yday - (367 * mon / 12 - 30) + 1);
    *month = (int) (mon >= 11 ? mon - 10 : mon + 2);
}

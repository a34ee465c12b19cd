
/*
 * Due times: five cron fields (minute, hour, day of month, month, day of
 * week; POSIX crontab(5), with names, lists, ranges, steps, `@hourly` and the
 * like, 7 for Sunday, and the rule that two restricted day fields are joined
 * by or), or `@every TIME`.  Parsing is pure.
 *
 * Daylight saving, for fields in a zone that has it:
 *
 *   a time that the clock jumps over in spring fires once, at the first
 *   instant after the gap, unless hour or minute are `*` or a step of it:
 *   those fire by elapsed time, and have nothing to make up
 *
 *   a time that comes twice in autumn fires at the first one only, unless
 *   hour is `*` or a step of it: then at both, since an hour has passed
 *
 * (vixie-cron's rules, for changes of up to 3 hours.)
 *
 * `@every T` fires at multiples of T since the epoch, so that all nodes agree
 * without having started together.
 */


#ifndef FAAS_CRON_H_INCLUDED
#define FAAS_CRON_H_INCLUDED


#include <stddef.h>
#include <stdint.h>


/* bit n: the value n matches */

typedef struct {
    int64_t                   every_ms;    /* not 0: `@every`; at least 1 s */
    uint64_t                  minute;      /* 0..59 */
    uint32_t                  hour;        /* 0..23 */
    uint32_t                  day;         /* 1..31 */
    uint32_t                  month;       /* 1..12 */
    uint32_t                  weekday;     /* 0..6, 0 is Sunday */
    unsigned                  minute_star:1;    /* was `*` or a step of it */
    unsigned                  hour_star:1;
    unsigned                  day_star:1;
    unsigned                  weekday_star:1;
} faas_cron_t;


/* the text without options; 0, or -1 with a line in why[size] */
int faas_cron_parse(const char *s, size_t n, faas_cron_t *c, char *why,
    size_t size);

/* is there such a zone on this machine ("Europe/Berlin", "UTC")?  0 or 1 */
int faas_cron_zone_is_valid(const char *zone);

/*
 * The first due time after after_ms (milliseconds since the epoch), or -1 if
 * there is none within 5 years (30 February).  Not thread-safe: it sets TZ
 * for the time of the call.
 */
int64_t faas_cron_next(const faas_cron_t *c, const char *zone,
    int64_t after_ms);


#endif /* FAAS_CRON_H_INCLUDED */

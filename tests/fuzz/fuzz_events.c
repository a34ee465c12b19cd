/* objects: scoreboard/faas_event.c scoreboard/faas_cron.c */

/* Lines of `consume`, `schedule` and `async`, times, and when a cron is due. */


#include "fuzz.h"

#include "faas_event.h"


/* seconds since the epoch that are near a change of clocks, or far away */
static const int64_t  moments[] = {
    0, 1774746000000, 1792888200000, 951782399999, 4102444800000
};


static void
due(const faas_cron_t *c, const char *zone, uint8_t pick)
{
    int64_t  after, next, then;

    after = moments[pick % (sizeof(moments) / sizeof(moments[0]))];

    next = faas_cron_next(c, zone, after);
    must(next == -1 || next > after);

    if (next == -1) {
        return;
    }

    /* nothing is due between them, so from a moment before it is the same */

    must(faas_cron_next(c, zone, next - 1) == next);

    then = faas_cron_next(c, zone, next);
    must(then == -1 || then > next);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char             *text, why[FAAS_EVENT_WHY_SIZE];
    uint8_t           which;
    faas_cron_t       cron;
    faas_async_t      async;
    faas_consume_t    consume;
    faas_schedule_t   schedule;

    if (size < 1 || size > 512) {
        return 0;
    }

    which = data[0];
    text = fuzz_text(data + 1, size - 1);
    size--;
    why[0] = '\0';

    switch (which & 3) {

    case 0:
        if (faas_cron_parse(text, size, &cron, why, sizeof(why)) == 0) {
            due(&cron, which & 4 ? "Europe/Berlin" : "UTC", which >> 3);

        } else {
            must(why[0] != '\0');
        }
        break;

    case 1:
        if (faas_schedule_parse(text, size, &schedule, why) == 0) {
            must(faas_name_is_valid(schedule.name, strlen(schedule.name)));
            must(schedule.attempts >= 1
                 && schedule.attempts <= FAAS_ATTEMPTS_MAX);
            must(schedule.overlap <= FAAS_OVERLAP_ALLOW
                 && schedule.catchup <= FAAS_CATCHUP_ALL);
            due(&schedule.cron, schedule.zone, which >> 3);

        } else {
            must(why[0] != '\0');
        }
        break;

    case 2:
        if (faas_consume_parse(text, size, &consume, why) == 0) {
            must(faas_name_is_valid(consume.queue, strlen(consume.queue)));
            must(consume.batch >= 1 && consume.batch <= FAAS_BATCH_MAX);
            must(consume.attempts >= 1
                 && consume.attempts <= FAAS_ATTEMPTS_MAX);
            must(consume.retry_min_ms <= consume.retry_max_ms);

        } else {
            must(why[0] != '\0');
        }
        break;

    default:
        if (faas_async_parse(text, size, &async, why) == 0) {
            must(async.attempts >= 1 && async.attempts <= FAAS_ATTEMPTS_MAX);
            must(async.age_ms > 0 && async.keep_ms > 0);
        }

        must(faas_time_parse(text, size) >= -1);
    }

    free(text);

    return 0;
}


/*
 * As echo, but some of its instances come to harm between fork and READY, in
 * the way and as often as the ledger says (`harm`, `harm_permille`): killed,
 * exited, aborted, hanging.  What comes through takes some milliseconds to be
 * ready, so that it can be killed from outside.
 */


#include <signal.h>
#include <sys/random.h>

#include "record.h"


#define FRAGILE_KILL   1
#define FRAGILE_EXIT   2
#define FRAGILE_ABORT  4
#define FRAGILE_HANG   8
#define FRAGILE_FAIL   16          /* after_fork says so */


static int
fragile_harm(uint32_t way)
{
    atomic_fetch_add(&record_head->harmed, 1);

    switch (way) {

    case FRAGILE_KILL:
        return raise(SIGKILL);

    case FRAGILE_EXIT:
        _exit(3);

    case FRAGILE_ABORT:
        abort();

    case FRAGILE_HANG:
        for ( ;; ) {
            (void) pause();
        }

    default:
        return FAAS_ERROR;
    }
}


static int
fragile_open(void)
{
    uint32_t  dice[2], ways, way;

    if (record_open() != FAAS_OK) {
        return FAAS_ERROR;
    }

    if (record_head == NULL
        || getrandom(dice, sizeof(dice), 0) != (ssize_t) sizeof(dice))
    {
        return FAAS_OK;
    }

    record_sleep((long) (dice[1] >> 16) % 4);

    if (dice[0] % 1000 >= atomic_load(&record_head->harm_permille)) {
        return FAAS_OK;
    }

    ways = atomic_load(&record_head->harm);

    if (ways == 0) {
        return FAAS_OK;
    }

    do {
        way = 1u << (dice[1]++ % 5);
    } while (!(ways & way));

    return fragile_harm(way);
}


static int
fragile(faas_request_t *r)
{
    int        rc;
    uint64_t   id;
    record_t  *record;

    id = record_id(r);
    record = record_begin(id);

    record_sleep(record_number(r, "ms", 20));
    rc = record_answer(r, id, "-", "-");

    record_end(record);

    return rc;
}


FAAS_FUNCTION(.handler = fragile, .after_fork = fragile_open)

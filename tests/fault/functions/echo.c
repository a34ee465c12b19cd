
/*
 * Takes its time, and says whose request it was.
 *
 *   ms=N      how long it takes, 20 by default
 *   size=N    bytes of the answer behind its first line
 *   flush=1   sends the head first, then takes its time
 *   gate=1    waits before that for as long as the ledger's `harm` is not 0
 */


#include "record.h"


#ifndef ECHO_DESCRIPTOR
#define ECHO_DESCRIPTOR
#endif


static int
echo(faas_request_t *r)
{
    int        rc;
    uint64_t   id;
    record_t  *record;

    id = record_id(r);
    record = record_begin(id);

    while (record_number(r, "gate", 0) && record_head
           && atomic_load(&record_head->harm))
    {
        record_sleep(10);
    }

    if (record_number(r, "flush", 0)) {
        rc = record_answer(r, id, "-", "-");

        if (rc == FAAS_OK) {
            rc = faas_flush(r);
        }

        record_sleep(record_number(r, "ms", 20));

    } else {
        record_sleep(record_number(r, "ms", 20));
        rc = record_answer(r, id, "-", "-");
    }

    record_end(record);

    return rc;
}


FAAS_FUNCTION(.handler = echo, .after_fork = record_open ECHO_DESCRIPTOR)

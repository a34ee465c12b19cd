
/*
 * Answers with an id of 128 bits that nobody had before: an answer that comes
 * twice is seen.
 *
 *   ms=N      how long it takes besides, 0 by default
 */


#include <stdio.h>
#include <sys/random.h>

#include "record.h"


static int
id(faas_request_t *r)
{
    int        rc, i;
    char       text[33];
    uint64_t   request;
    record_t  *record;
    uint8_t    made[16];

    request = record_id(r);
    record = record_begin(request);

    if (getrandom(made, sizeof(made), 0) != (ssize_t) sizeof(made)) {
        record_end(record);
        return FAAS_ERROR;
    }

    for (i = 0; i < 16; i++) {
        (void) snprintf(text + 2 * i, 3, "%02x", made[i]);
    }

    record_sleep(record_number(r, "ms", 0));
    rc = record_answer(r, request, text, "-");

    record_end(record);

    return rc;
}


FAAS_FUNCTION(.handler = id, .after_fork = record_open)

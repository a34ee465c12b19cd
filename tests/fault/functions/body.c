
/*
 * Hashes the body.
 *
 *   ms=N      how long it takes besides, 0 by default
 */


#include <stdio.h>

#include "hash.h"
#include "record.h"


static int
body(faas_request_t *r)
{
    int           rc;
    char          text[17], piece[65536];
    size_t        have;
    ssize_t       n;
    uint64_t      id, hash;
    record_t     *record;

    id = record_id(r);
    record = record_begin(id);

    hash = HASH_START;

    do {
        have = 0;

        do {
            n = faas_read(r, piece + have, sizeof(piece) - have);

            if (n < 0) {
                record_end(record);
                return FAAS_ERROR;
            }

            have += (size_t) n;

        } while (n > 0 && have < sizeof(piece));

        hash = hash_add(hash, piece, have);

    } while (n > 0);

    record_sleep(record_number(r, "ms", 0));

    (void) snprintf(text, sizeof(text), "%016llx", (unsigned long long) hash);
    rc = record_answer(r, id, "-", text);

    record_end(record);

    return rc;
}


FAAS_FUNCTION(.handler = body, .after_fork = record_open)

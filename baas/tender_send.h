
/*
 * Leftovers of outboxes go to the events process over baas.sock, in the name
 * of the function that wrote them.
 */


#ifndef TENDER_SEND_H_INCLUDED
#define TENDER_SEND_H_INCLUDED


#include <stdint.h>

#include "database.h"


typedef struct tender_send_s  tender_send_t;

/* of one function; opens nothing.  NULL: out of memory */
tender_send_t *tender_send_create(const char *state, const char *name,
    const char *token);
void tender_send_destroy(tender_send_t *s);

/*
 * Sends what is at least age_ms old: FAAS_OK, or a code.  While the events
 * process is not there nothing is tried, for longer each time, and that is
 * FAAS_EUNAVAILABLE.
 */
int tender_send(tender_send_t *s, database_t *d, int64_t age_ms,
    int64_t now_ms);


#endif /* TENDER_SEND_H_INCLUDED */

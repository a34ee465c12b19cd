
/*
 * What nobody tells of is looked for: instances that are over their budget
 * although no worker said so, that should be free but said nothing, that are
 * idle but of an old version; and what dead workers of nginx held.
 */


#ifndef PATROL_H_INCLUDED
#define PATROL_H_INCLUDED


#include <stdint.h>

#include "slot.h"


void patrol_init(void);

/* an instance was started: looks are taken from now on, while any lives */
void patrol_watch(void);

/* a look within a few milliseconds, not within the usual time */
void patrol_soon(void);

/* an instance that is BUSY or DRAINING is ended, if its word is still that */
void patrol_condemn(slot_t *s, uint64_t word, faas_cause_e cause);

/* a worker of nginx died: takes back its slots; wakes the others */
void patrol_worker_died(uint32_t worker);

/* workers wrote our eventfd that often */
void patrol_kicked(uint64_t count);


#endif /* PATROL_H_INCLUDED */

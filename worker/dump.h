
/*
 * faas_state/core/: a dump of each crash, timeout and end for memory, if
 * faas_core is on.  The supervisor makes it, after the death, of what it knows
 * and of the slot's memory (core.h); nobody else writes there, and nobody else
 * may read it.
 *
 *   core/ID/info         NAME VALUE, one a line, escaped as in the log; then
 *                        "thread TID NAME" and its frames, for each thread
 *   core/ID/params       NAME=VALUE, each ended by a zero
 *   core/ID/body         as far as it was there
 *   core/ID/environment  NAME=VALUE, each ended by a zero
 *
 * ID is the time, the function's name and a number, so names sort by age.  A
 * dump appears by rename, whole.  Beyond `keep` the oldest go.  A function
 * has at most one a second.
 */


#ifndef DUMP_H_INCLUDED
#define DUMP_H_INCLUDED


#include "death.h"
#include "slot.h"


#define DUMP_DIRECTORY  "core"
#define DUMP_ID_SIZE    112


/* before an instance is started in s: its memory, empty, if dumps are made */
void dump_prepare(slot_t *s);

/* from the place: what the keeper has of it; and its end */
void dump_adopt(slot_t *s);
void dump_close(slot_t *s);

/*
 * The instance of s has died of kind, as how says: 1 with the dump's name in
 * id[DUMP_ID_SIZE]; 0: there is none, which is said in the log if there
 * should be one.
 */
int dump_write(slot_t *s, const death_t *death, faas_death_e kind,
    uint32_t code, const char *how, uint64_t age_ms, char *id);

/* for the store's sweep: notes which contents dumps are of; then, is that one
   among them? */
void dump_look(void);
int dump_keeps(const char *sha256);


#endif /* DUMP_H_INCLUDED */

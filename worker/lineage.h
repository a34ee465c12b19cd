
/*
 * The processes that are not instances: for each lineage a function init with
 * its template; and all channels to them and to the instances (message.h).  Knows who says what; what follows from it is decided by
 * version.c and pool.c.
 */


#ifndef LINEAGE_H_INCLUDED
#define LINEAGE_H_INCLUDED


#include <stdint.h>

#include "slot.h"
#include "version.h"


/*
 * Asks the zygote for init and template of v.  FAAS_OK; FAAS_AGAIN when the
 * machine or the zygote are at fault (a LOADING version is tried again by
 * itself); FAAS_ERROR with why[SETTINGS_WHY_SIZE].
 */
int lineage_start(version_t *v, char *why);

/* takes channels back after a restart */
void lineage_adopt(version_t *v);

/* an instance in the slot; FAAS_OK, FAAS_AGAIN, FAAS_ERROR */
int lineage_fork(version_t *v, slot_t *slot, const faas_limits_t *limits);

/* a signal to an instance by the pid that its init knows; 0 or -1 */
int lineage_kill(version_t *v, int32_t inner_pid, int signal);

/* tells template and init to end: what is left of the version dies */
void lineage_end(version_t *v);

/* handles what instances have said so far */
void lineage_read_reports(version_t *v);

/* kills children of the init that nobody knows; returns how many there were */
int lineage_kill_strays(version_t *v);

/* a template that does not answer is no template any more */
void lineage_give_up(version_t *v);

/* from zygote_link.c: the init of version index is there; could not be
   forked; the zygote died, and with it what it was asked for */
void lineage_started(uint32_t index, int32_t pid);
void lineage_not_started(uint32_t index, const char *why);
void lineage_zygote_died(void);


#endif /* LINEAGE_H_INCLUDED */

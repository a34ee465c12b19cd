
/*
 * The processes that are not instances: for each lineage a function init with
 * its template; how they begin and end.  What follows from that is decided by
 * version.c and pool.c; what they say is read by lineage_read.c.
 */


#ifndef LINEAGE_H_INCLUDED
#define LINEAGE_H_INCLUDED


#include <stdint.h>

#include "shortage.h"
#include "slot.h"
#include "text.h"


/* what a function init gets over init_timeout before we give up on it */
#define LINEAGE_GRACE_MS  1000

/* a start that failed for the machine's sake is tried again after so long */
#define LINEAGE_AGAIN_MS  SHORTAGE_AGAIN_MS


/*
 * Asks the zygote for init and template of v.  FAAS_OK; FAAS_AGAIN when the
 * machine or the zygote are at fault (a LOADING version is tried again by
 * itself); FAAS_ERROR with why[SETTINGS_WHY_SIZE].
 */
int lineage_start(version_t *v, char *why);

/* closes what was made for a start that did not come about */
void lineage_abandon(version_t *v);

/* handler of v->timer, whatever the lineage is waiting for */
void lineage_timer(void *data);

/* the environment that a process of f gets: NAME=VALUE, each ended by a
   zero */
void lineage_environment(text_t *t, const function_t *f);

/* takes channels back after a restart */
void lineage_adopt(version_t *v);

/* an instance in the slot; FAAS_OK, FAAS_AGAIN, FAAS_ERROR */
int lineage_fork(version_t *v, slot_t *slot, const faas_limits_t *limits);

/* a signal to an instance by the pid that its init knows; 0 or -1 */
int lineage_kill(version_t *v, int32_t inner_pid, int signal);

/* tells template and init to end: what is left of the version dies */
void lineage_end(version_t *v);

/* has the init that child?  1 also when it cannot be told */
int lineage_has(const version_t *v, int32_t pid);

/* kills children of the init that nobody knows; returns how many there were;
   one of them */
int lineage_kill_strays(version_t *v);
void lineage_kill_stray(version_t *v, int32_t inner_pid);

/* a template that does not answer is no template any more */
void lineage_give_up(version_t *v);

/* from lineage_read.c: the template closed its channel; it ended, how as
   death_describe() tells it; its channel is closed; the init's end;
   any channel is closed */
void lineage_template_closed(version_t *v);
void lineage_template_gone(version_t *v, const char *how);
void lineage_close_template(version_t *v);
void lineage_closed(version_t *v);
void lineage_drop(version_t *v, const char *name, loop_event_t *e);

/* from zygote_link.c: the init of version index is there; it, or from
   lineage_read.c what it is to start, lacked something; the zygote died, and
   with it what it was asked for */
void lineage_started(uint32_t index, int32_t pid);
void lineage_not_started(uint32_t index, const char *why);
void lineage_zygote_died(void);


#endif /* LINEAGE_H_INCLUDED */


/*
 * How instances end: asked, killed, reaped; and what is said and counted
 * about it.  An instance is signalled by its init, which is its parent, so no
 * signal can meet a pid that was used again; when the init is dead, by pidfd.
 */


#ifndef INSTANCE_END_H_INCLUDED
#define INSTANCE_END_H_INCLUDED


#include "slot.h"


/* a start that is not READY after so long is killed */
void instance_end_watch(slot_t *s, uint32_t timeout_ms);

/* SIGTERM now, SIGKILL soon; its end is told of, but for cause RETIRED */
void instance_end_ask(slot_t *s, faas_cause_e cause);

/* SIGKILL now */
void instance_end_kill(slot_t *s, faas_cause_e cause);

/* the process is reaped; status as wait4 gives it, -1: not known */
void instance_end_reaped(slot_t *s, int status);

/* its init does not know it, or does not answer: from now on signalled and
   seen dead by pidfd.
   FAAS_OK; FAAS_AGAIN: there was no descriptor, the next look tries again;
   FAAS_DECLINED: there is no such process (any more: that is told), and s is
   free */
int instance_end_unparented(slot_t *s);

/* there is no process (any more), and nothing to be said of it */
void instance_end_free(slot_t *s);

/* the init says that its child has ended */
void instance_end_exited(version_t *v, int32_t inner_pid, int status);

/* the init is dead: so are, or will be, its instances */
void instance_end_orphaned(version_t *v);

/* the template is dead: what it was told to fork and did not, is not coming */
void instance_end_unforked(version_t *v);

/* a while after a restart: whose end was told to a supervisor that died */
void instance_end_verify(void);

/* SIGTERM for all instances of the host; hard: SIGKILL */
void instance_end_all(int hard);

#endif /* INSTANCE_END_H_INCLUDED */

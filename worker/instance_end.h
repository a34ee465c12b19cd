
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

/* SIGTERM now, SIGKILL soon; cause is static, NULL: nothing to be told */
void instance_end_ask(slot_t *s, const char *cause);

/* SIGKILL now */
void instance_end_kill(slot_t *s, const char *cause);

/* the process is reaped; status as wait4 gives it, -1: not known */
void instance_end_reaped(slot_t *s, int status);

/* its init does not know it: from now on signalled and seen dead by pidfd;
   frees the slot when there is no such process */
void instance_end_unparented(slot_t *s);

/* there is no process (any more), and nothing to be said of it */
void instance_end_free(slot_t *s);


#endif /* INSTANCE_END_H_INCLUDED */

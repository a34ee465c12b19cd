
/*
 * How many instances of a function there are: decided by policy.c, carried
 * out here.  Nothing else starts an instance, and `max` is kept here.
 */


#ifndef POOL_H_INCLUDED
#define POOL_H_INCLUDED


#include "slot.h"


/* something about f changed: decide at the end of this turn */
void pool_changed(function_t *f);

/* the decision itself, from the job and the timer of f */
void pool_decide(function_t *f);

/* a version lost the traffic: its idle instances end, the others when they
   become idle */
void pool_superseded(version_t *v);

/* is it of such a version, or started with what a reload changed since? */
int pool_is_superseded(const slot_t *s);

/* how far it is held back, over a restart */
void pool_adopt_backoff(function_t *f);

/* ends an instance that is IDLE, or DRAINING and free: FAAS_OK, FAAS_BUSY */
int pool_retire_slot(slot_t *s, uint64_t word);
int pool_retire_for(slot_t *s, uint64_t word, faas_cause_e cause);

/* a template, or an instance that was forked at born_ms (0: it never was),
   died of itself: backs off when nothing works */
void pool_died(function_t *f, uint64_t born_ms);

/* what a slot that is not FREE was when the last supervisor died */
void pool_adopt(slot_t *s);


#endif /* POOL_H_INCLUDED */

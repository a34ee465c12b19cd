
/*
 * Instances: how many there are, and what becomes of each.  All changes of
 * slot words that are the supervisor's are made here.
 */


#ifndef POOL_H_INCLUDED
#define POOL_H_INCLUDED


#include "lineage.h"


int pool_init(void);

/* something about f changed: decide at the end of this turn */
void pool_changed(function_t *f);

/* the decision itself, from the job and the timer of f */
void pool_decide(function_t *f);

/* a version became current, or lost that: its idle instances end */
void pool_superseded(version_t *v);

/* ends an instance that is IDLE, or DRAINING and free: FAAS_OK, FAAS_BUSY */
int pool_retire_slot(slot_t *s, uint64_t word);

/* SIGTERM for all instances, or SIGKILL */
void pool_end_all(int hard);

/* from lineage.c */
void pool_forked(version_t *v, uint32_t slot, uint64_t generation,
    int32_t inner_pid);
void pool_fork_failed(version_t *v, uint32_t slot, uint64_t generation,
    int error);
void pool_exited(version_t *v, int32_t inner_pid, int status);
void pool_ready(version_t *v, uint32_t slot, uint64_t generation, pid_t pid);
void pool_refused(version_t *v, uint32_t slot, uint64_t generation,
    const char *why);
void pool_freed(version_t *v, uint32_t slot, uint64_t generation);
void pool_retired(version_t *v, uint32_t slot, uint64_t generation);

/* the template is dead: what it was told to fork and did not is not coming */
void pool_unforked(version_t *v);

/* a template or instance died, of itself: backs off when nothing works */
void pool_died(function_t *f);

/* "exited with code 1", "was killed by signal 11 (Segmentation fault)" */
void pool_describe(int status, char *buf, size_t size);

/* the function init is dead: so are, or will be, its instances */
void pool_orphaned(version_t *v);

/* what a slot of v that is not FREE was when the last supervisor died */
void pool_adopt(slot_t *s);

/* a worker of nginx died: takes back its slots; wakes the others */
void pool_worker_died(uint32_t worker);

/* workers wrote our eventfd */
void pool_kicked(uint64_t count);

/* a while after a restart: whose end was told to a supervisor that died */
void pool_verify(void);


#endif /* POOL_H_INCLUDED */

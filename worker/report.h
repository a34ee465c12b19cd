
/*
 * What templates and instances say of instances.  A version is believed
 * nothing about slots that are not its own, or about generations that are
 * over.
 */


#ifndef REPORT_H_INCLUDED
#define REPORT_H_INCLUDED


#include "slot.h"


/* from the template */
void report_forked(version_t *v, uint32_t slot, uint64_t generation,
    int32_t inner_pid);
void report_fork_failed(version_t *v, uint32_t slot, uint64_t generation,
    int error);

/* from the instance */
void report_ready(version_t *v, uint32_t slot, uint64_t generation, pid_t pid);
void report_refused(version_t *v, uint32_t slot, uint64_t generation,
    const char *why);
void report_freed(version_t *v, uint32_t slot, uint64_t generation);
void report_retired(version_t *v, uint32_t slot, uint64_t generation);


#endif /* REPORT_H_INCLUDED */

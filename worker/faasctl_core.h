
/*
 * Dumps (dump.h) as faasctl reads them: from faas_state/core/, also when no
 * host is running.
 */


#ifndef FAASCTL_CORE_H_INCLUDED
#define FAASCTL_CORE_H_INCLUDED


#include "faasctl.h"


typedef struct {
    const char               *id;
    char                     *info;        /* zero-terminated */
    faas_bytes_t              params;      /* NAME=VALUE, each ended by a
                                              zero */
    faas_bytes_t              body;
    int                       directory;   /* open */
} core_dump_t;


/* reads dump ID; FAASCTL_DONE, or FAASCTL_FAILED and it is said why */
int faasctl_core_open(core_dump_t *dump, const char *id);
void faasctl_core_close(core_dump_t *dump);

/* the value of that name, "" when there is none, in a buffer of its own that
   the next calls use again: four of them are valid at once */
const char *faasctl_core_value(const core_dump_t *dump, const char *name);

/* a parameter of the request, NULL when there is none */
const char *faasctl_core_param(const core_dump_t *dump, const char *name);

/* the next parameter, NULL: no more; p is the one before, NULL at first */
const char *faasctl_core_next(const core_dump_t *dump, const char *p);

/* all text that is not ours is escaped, for terminals; then a line's end */
void faasctl_core_print(const char *s, size_t n);


#endif /* FAASCTL_CORE_H_INCLUDED */

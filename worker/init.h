
/*
 * The function init: one for each version.  The process that will be pid 1
 * of the function's namespaces; a subreaper where there are none.  It enters
 * the sandbox, forks the template, reaps, reports, kills on request, and
 * outlives all that it started.  It runs no user code.
 */


#ifndef INIT_H_INCLUDED
#define INIT_H_INCLUDED


#include "message.h"


/* what START brings along, in this order */

enum {
    INIT_FD_CODE = 0,        /* the store's copy of the function */
    INIT_FD_CHANNEL,
    INIT_FD_TEMPLATE,        /* template channel */
    INIT_FD_REPORT,
    INIT_FD_LOG,
    INIT_FDS,                /* so many always; then, only where there are
                                any: */
    INIT_FD_MIGRATIONS = INIT_FDS,   /* SQL to apply (migrations.h), a memfd */
    INIT_FDS_MOST
};


/* in the child that the zygote forked for start: never returns */
void init_run(const message_in_t *start) __attribute__((noreturn));


#endif /* INIT_H_INCLUDED */

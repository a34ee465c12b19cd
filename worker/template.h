
/*
 * The template: a function's code loaded, its init() done, one for each
 * version, and forked for each instance.  Its life: migrations, load, check,
 * init, selftest, LOADED; then it serves FORK until its channel ends.
 *
 * An instance is made by a clone with CLONE_PARENT: it is the init's child,
 * so no user code ever sees its wait status.
 */


#ifndef TEMPLATE_H_INCLUDED
#define TEMPLATE_H_INCLUDED


#include <sys/types.h>

#include "family.h"
#include "message.h"


enum {
    TEMPLATE_FD_CHANNEL = 0,
    TEMPLATE_FD_REPORT,
    TEMPLATE_FD_CODE,
    TEMPLATE_FD_MIGRATIONS,  /* -1: there are none */
    TEMPLATE_FDS
};


/* what FORK brings along, in this order */

enum {
    FORK_FD_LISTEN = 0,
    FORK_FD_PAGE,
    FORK_FD_LOG,
    FORK_FDS,                /* so many always; then, only with faas_core: */
    FORK_FD_CORE = FORK_FDS,
    FORK_FDS_MOST
};


/* What a template is made of; the init fills it before it forks. */

typedef struct {
    const message_t          *start;
    family_t                 *family;
    pid_t                     init;        /* its pid */
    int                       fd[TEMPLATE_FDS];
} template_t;


/* in the init's child: never returns */
void template_run(template_t *template) __attribute__((noreturn));


#endif /* TEMPLATE_H_INCLUDED */


/*
 * An instance: a fork of the template that serves requests on a slot's
 * socket, one at a time.
 */


#ifndef INSTANCE_H_INCLUDED
#define INSTANCE_H_INCLUDED


#include <sys/types.h>

#include "faas.h"
#include "message.h"


/* What an instance is made of; the template fills it in the new process. */

typedef struct {
    const message_t          *start;       /* name, version */
    const message_t          *order;       /* FORK: slot, limits, mode */
    const faas_descriptor_t  *descriptor;
    pid_t                     init;        /* its parent */
    int                       channel;     /* the template's, to be closed */
    int                       report;
    int                       listen;
    int                       page;
    int                       log;
    int                       core;        /* -1: there are no dumps */
} instance_t;


/* in the new process: never returns */
void instance_run(const instance_t *instance) __attribute__((noreturn));

/* 0 in a child that the function forked: it has no business here */
int instance_is_self(void);


#endif /* INSTANCE_H_INCLUDED */

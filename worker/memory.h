
/*
 * The memory cap over all functions (faas_memory).  What counts is what
 * instances use: the proportional set size, so that what a template shares
 * with its instances counts once; a few are measured each second.
 */


#ifndef MEMORY_H_INCLUDED
#define MEMORY_H_INCLUDED


#include "function.h"


/* may f have one more instance?  Said once while the answer is no; an idle
   instance of another function is ended then. */
int memory_allows(function_t *f);

/* one more was started: counts until the next measurement */
void memory_started(function_t *f);

/* about once a second */
void memory_measure(void);


#endif /* MEMORY_H_INCLUDED */

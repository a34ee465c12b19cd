
/*
 * The memory cap over all functions (faas_memory).  What counts is what
 * instances use: the proportional set size, so that what a template shares
 * with its instances counts once; a few are measured each second.
 */


#ifndef MEMORY_H_INCLUDED
#define MEMORY_H_INCLUDED


#include "function.h"


/* may f have one more instance?  When not, it is said, at most once a second,
   and an idle instance of another function is ended. */
int memory_allows(function_t *f);

/* one more was started */
void memory_started(function_t *f);

/* about once a second */
void memory_measure(void);


#endif /* MEMORY_H_INCLUDED */

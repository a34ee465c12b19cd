
/*
 * The memory of instances: the cap over all functions (faas_memory), and each
 * function's own limit (memory).
 *
 * What counts is what instances use: the proportional set size, so that what
 * a template shares with its instances counts once.  That is dear to ask the
 * kernel for, so a few are measured each second; and an instance is measured
 * when its resident set, which is never less and costs little, is above its
 * limit.  Where the kernel does not tell us the proportional set (we are not
 * root), what an instance has beyond its template counts.
 *
 * An instance that is over its limit is retired when it is idle, and killed
 * when it is at a request.
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

/* by the patrol: ends who is over his limit.  Up to MEMORY_LOOK instances, in
   turn, are looked at four times a second */
void memory_look(void);

#define MEMORY_LOOK  64


#endif /* MEMORY_H_INCLUDED */

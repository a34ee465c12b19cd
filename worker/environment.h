
/*
 * The environment of a function: what the operator gave with `env NAME=VALUE`
 * and nothing of nginx's or the supervisor's.
 */


#ifndef ENVIRONMENT_H_INCLUDED
#define ENVIRONMENT_H_INCLUDED


#include <stddef.h>


/*
 * Replaces the whole environment by text (NAME=VALUE, each ended by a zero;
 * n bytes), with a PATH where that gives none.  Text without a name is
 * skipped.  FAAS_OK, or FAAS_ERROR when out of memory.
 */
int environment_set(const char *text, size_t n);

/* the value that the operator gave for name, or NULL; lives for ever */
const char *environment_get(const char *name);


#endif /* ENVIRONMENT_H_INCLUDED */

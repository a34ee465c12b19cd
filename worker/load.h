
/*
 * A function's code, into this process.
 */


#ifndef LOAD_H_INCLUDED
#define LOAD_H_INCLUDED


#include <stddef.h>

#include "faas.h"


/*
 * Loads the object that fd is open on, for good, and reads its descriptor.
 * User code runs: constructors.  FAAS_OK; FAAS_ERROR with a line in why[size],
 * and in *lacks the errno of a shortage that it was for, or 0.
 */
int load_code(int fd, faas_descriptor_t *descriptor, int *lacks, char *why,
    size_t size);


#endif /* LOAD_H_INCLUDED */

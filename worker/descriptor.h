
/*
 * A function's descriptor (faas.h), as found in a shared object that may have
 * been compiled against another release of faas.h.
 */


#ifndef DESCRIPTOR_H_INCLUDED
#define DESCRIPTOR_H_INCLUDED


#include <stddef.h>

#include "faas.h"


/*
 * Copies what `symbol` points to (`space` bytes belong to it, 0: unknown)
 * into descriptor, and checks it.
 *
 * The ABI number must be ours.  The size may differ, since fields are only
 * ever added at the end: what a shorter descriptor lacks is 0; in a longer
 * one, what is not known here must be 0, for to ignore what a function asks
 * for would be to run it wrongly.
 *
 * FAAS_OK, or FAAS_ERROR with one line in why[size].
 */
int descriptor_read(faas_descriptor_t *descriptor, const void *symbol,
    size_t space, char *why, size_t size);

/*
 * Its text form for LOADED (message.h), as one NAME VALUE a line.  Returns
 * malloc()ed text, its length in *n; NULL when out of memory.
 */
char *descriptor_text(const faas_descriptor_t *descriptor, size_t *n);


#endif /* DESCRIPTOR_H_INCLUDED */


/*
 * Names for addresses.  Those of the function are read from its own file, its
 * .symtab if it has one, so that static functions have theirs; once, in the
 * template.  Nothing here allocates or locks afterwards.
 */


#ifndef CORE_SYMBOLS_H_INCLUDED
#define CORE_SYMBOLS_H_INCLUDED


#include <dlfcn.h>

#include "core.h"


/* names a frame in the function; is_return: the address is where a call comes
   back to */
void core_symbols_find(core_frame_t *frame, int is_return);

/* how many of the first addresses are the handler's own */
int core_symbols_skip(void *const *address, int n);

/* names a frame as the dynamic linker does */
void core_symbols_library(core_frame_t *frame, const Dl_info *info);


#endif /* CORE_SYMBOLS_H_INCLUDED */

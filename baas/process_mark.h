
/*
 * Which process is this?  A number of 64 bits that no other process has, its
 * forks included, for handles that must not be used behind a fork.  Cheap
 * enough for every call: it is in a page that the kernel empties in a child
 * (MADV_WIPEONFORK), so that forks made by plain clone() are seen too, and no
 * pid that comes again deceives.  Never 0.
 */


#ifndef PROCESS_MARK_H_INCLUDED
#define PROCESS_MARK_H_INCLUDED


#include <stdint.h>


uint64_t process_mark(void);


#endif /* PROCESS_MARK_H_INCLUDED */

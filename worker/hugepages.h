
/*
 * A fork costs what its page tables cost: 100 MiB of a function's tables in
 * 4 KiB pages make each instance some milliseconds late, in huge pages they
 * cost next to nothing.
 */


#ifndef HUGEPAGES_H_INCLUDED
#define HUGEPAGES_H_INCLUDED


#include <stddef.h>


/*
 * Puts what the caller's large private memory holds into huge pages, where
 * all of such a page is in use, so that no memory is added.  Returns the
 * bytes that are in huge pages now by this; 0 when there is nothing large,
 * where the kernel cannot do it (before 6.1), and where the administrator
 * said "never".
 */
size_t hugepages_collapse(void);


#endif /* HUGEPAGES_H_INCLUDED */


#ifndef FAAS_PAGE_H_INCLUDED
#define FAAS_PAGE_H_INCLUDED


#include <stdatomic.h>
#include <stdint.h>


/*
 * What an instance proves about itself: one page, a memfd of its own, mapped
 * writable by the instances of one slot, readable by nginx and supervisor,
 * believed for nothing but that slot's function.  begun > ended: a handler
 * is running.  The supervisor sets ended = begun while the slot is FREE, and
 * the counts go on over the instances of a slot: who saw begun before it
 * handed a request over, and sees the same number after the connection broke,
 * knows that the handler did not run.
 */

typedef struct {
    _Atomic uint64_t          begun;       /* requests taken, ever */
    _Atomic uint64_t          begun_ns;
    _Atomic uint64_t          ended;       /* requests finished, ever */
    _Atomic uint64_t          ended_ns;
} faas_page_t;

#define FAAS_PAGE_SIZE  4096


#endif /* FAAS_PAGE_H_INCLUDED */

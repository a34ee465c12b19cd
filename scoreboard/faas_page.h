
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
 *
 * Which request it is, the instance writes before begun rises.  That is for
 * the supervisor's line about an instance that died: text of the function's
 * own, so each length is read once and bounded, and nothing of it is printed
 * unescaped.
 *
 * The request that made begun what it is, the instance ends with an
 * END_REQUEST whose application status is faas_page_mark(begun).  It is the
 * last that the instance sends for it; nginx, which knows begun, knows by the
 * mark that this is the one, and not an END_REQUEST that the function wrote
 * itself, behind which the instance's own is still to come.
 */

#define FAAS_PAGE_SIZE    4096
#define FAAS_PAGE_ID      128
#define FAAS_PAGE_METHOD  32
#define FAAS_PAGE_URI     1024

typedef struct {
    _Atomic uint64_t          begun;       /* requests taken, ever */
    _Atomic uint64_t          begun_ns;
    _Atomic uint64_t          ended;       /* requests finished, ever */
    _Atomic uint64_t          ended_ns;

    /* of the request taken last; a length above the room: the text is cut */
    _Atomic uint32_t          id_length;
    _Atomic uint32_t          method_length;
    _Atomic uint32_t          uri_length;
    uint32_t                  reserved;
    char                      id[FAAS_PAGE_ID];
    char                      method[FAAS_PAGE_METHOD];
    char                      uri[FAAS_PAGE_URI];
} faas_page_t;


/* no exit status, which FastCGI has in its place, is so large */
#define FAAS_PAGE_MARK  0x40000000


static inline uint32_t
faas_page_mark(uint64_t begun)
{
    return FAAS_PAGE_MARK | (uint32_t) (begun & (FAAS_PAGE_MARK - 1));
}


#endif /* FAAS_PAGE_H_INCLUDED */


/*
 * What belongs to a slot and not to the instance in it: the listening socket,
 * the page, the pipe for what is printed.  Made on first use, kept over
 * generations, taken back from the keeper after a restart.
 */


#ifndef PLACE_H_INCLUDED
#define PLACE_H_INCLUDED


#include "slot.h"


/* group: of nginx's workers, or -1; called again when that changes */
void place_init(int64_t group);

/* makes what is missing; 0, or -1 (said and logged) */
int place_prepare(slot_t *s);

/*
 * The slot is no version's any more.  What a process of one function may have
 * kept open is no other function's, so socket and pipe go; the page stays:
 * workers have it mapped, and believe it little.
 */
void place_close(slot_t *s);

/* before an instance is started: the request of the one before */
void place_clear(slot_t *s);

/*
 * Throws away what waits in the backlog: it is for a former instance.
 * place_emptied() does it now and, while the slot stays FREE, a few times
 * more: a worker may have taken the instance just before it died, and connect
 * just after; it must see the end, not wait for the next instance.
 */
void place_drain(slot_t *s);
void place_emptied(slot_t *s);

/* a connection that is closed at once: a free instance says that it is */
void place_nudge(slot_t *s);

/* takes back what the keeper has: all pages; a slot's socket and pipe */
void place_adopt_pages(void);
void place_adopt(slot_t *s);

/* pages in the order in which they were made: the slot of the n-th, or
   FAAS_INDEX_NONE */
uint32_t place_page(uint32_t n);

/* removes sockets that a host left which was killed */
void place_clean(int state_dir);


#endif /* PLACE_H_INCLUDED */


/*
 * A slot as the supervisor sees it: what belongs to the place (socket, page,
 * pipe: made on first use, kept over generations) and what belongs to the
 * instance that is in it.
 */


#ifndef SLOT_H_INCLUDED
#define SLOT_H_INCLUDED


#include <stdint.h>

#include "version.h"


typedef struct slot_s  slot_t;

struct slot_s {
    uint32_t                  index;         /* on the board */
    faas_slot_t              *sh;
    _Atomic uint64_t         *born;          /* in its chunk */
    version_t                *version;       /* whose chunk it is in */

    /* the place */
    int                       listen;        /* -1: not made yet */
    int                       page_fd;
    faas_page_t              *page;          /* NULL: not made yet */
    int                       core;          /* memory for dumps, -1: none */
    journal_t                 journal;

    /* the instance; all 0 while the slot is FREE, but for the emptied */
    slot_t                   *previous;      /* live slots, slot_live */
    slot_t                   *following;
    slot_t                   *sibling_previous;    /* of its function */
    slot_t                   *sibling_next;
    slot_t                   *chain;         /* by inner pid */
    slot_t                   *empty;         /* next of the emptied */
    uint64_t                  emptied_ms;    /* when, 0: not among them */
    uint64_t                  generation;
    int32_t                   inner_pid;     /* 0: not told yet */
    uint64_t                  forked_us;
    uint32_t                  timeout_ms;    /* it was told, 0: not known */
    uint64_t                  draining_ms;   /* first seen DRAINING */
    uint64_t                  handed;        /* word that was seen HANDED, 0:
                                                none was */
    uint64_t                  overdue_ms;    /* handed_ms that was seen over
                                                its budget */
    uint64_t                  over;          /* the page's count of the request
                                                that it is ended for; 0: none
                                                was running */
    uint8_t                   signals;       /* 0, 1: asked, 2: killed */
    uint8_t                   retired;       /* it takes no more requests */
    uint8_t                   ending;        /* counted in its function's */
    uint8_t                   unseen;        /* 1: unparented, and there was
                                                no descriptor to wait with */
    uint8_t                   unparented;    /* its init is gone, or does
                                                not know it or answer */
    char                     *refused;       /* why it cannot start, in its
                                                own words, or NULL */
    uint64_t                  bytes;         /* of memory, when it was found
                                                over its limit */
    loop_timer_t              timer;         /* start, then kill */
    loop_event_t              process;       /* pidfd, when unparented */
};


extern slot_t  *slot_live;                   /* list of all that are not FREE */


void slot_init(void);

/* the slot's own record; made on first use, never freed */
slot_t *slot_at(uint32_t index);

/* a FREE slot of v, lowest first, with its socket, page and pipe; NULL: no
   chunk is left, or errno */
slot_t *slot_take(version_t *v);

/* it is to end, and counts as such in its function until it is returned */
void slot_ends(slot_t *s);

/* counts it in (1) or out (-1) of its version, function and the board */
void slot_count(slot_t *s, int n);

/* a slot of v that is not FREE and of that generation, or NULL: what a
   process says of others is not believed */
slot_t *slot_of(version_t *v, uint32_t index, uint64_t generation);

/* can the process be the instance of s, that says so?  It is a child of the
   version's init, and nobody that we know already; when it was started is
   noted on the board, where the next supervisor finds it */
int slot_identify(slot_t *s, pid_t pid);

/* 1: there is no process sh->pid, or it is another by now; 0: it is there, or
   it cannot be told */
int slot_is_gone(const slot_t *s);

/* has it begun the last request that it takes?  Is it at one? */
int slot_is_spent(const slot_t *s);
int slot_is_running(const slot_t *s);

/* is the page's last request the one that the instance is ended for?  It may
   have ended meanwhile, by our signal */
int slot_is_over(const slot_t *s);

/* it is FREE again */
void slot_return(slot_t *s);

/* gives all chunks of v back: no slot of it is in use */
void slot_release_chunks(version_t *v);

/* at the host's end: the socket of slot index, if there is one */
void slot_remove(uint32_t index);

int slot_has_chunk(const version_t *v, uint32_t chunk);

/* finds which slots of v are not FREE, and takes back what the keeper has of
   all of them */
void slot_adopt(version_t *v);

/* by the pid that the version's init knows */
void slot_name(slot_t *s, int32_t inner_pid);
slot_t *slot_by_pid(version_t *v, int32_t inner_pid);


#endif /* SLOT_H_INCLUDED */


/*
 * The slot word: state | owner worker | generation, one 64-bit word, and the
 * only truth about a slot.
 *
 *     63                    16 15        4 3     0
 *    +------------------------+-----------+-------+
 *    |       generation       |   owner   | state |
 *    +------------------------+-----------+-------+
 *
 * The generation rises with every new instance (FREE -> STARTING), so a word
 * read earlier can only be changed while it is still about the same
 * instance.  Every change is a compare-and-swap from a word that the caller
 * has read; who lost it reads again and decides anew.  The owner bits are
 * FAAS_WORKER_NONE except in BUSY and HANDED.
 *
 *   from       to         who          when
 *   ---------  ---------  -----------  ------------------------------------
 *   FREE       STARTING   supervisor   an instance is being forked
 *   STARTING   IDLE       supervisor   the instance says it is ready
 *   STARTING   HANDED(v)  supervisor   likewise, and worker v waits longest
 *   IDLE       BUSY(w)    worker w     acquire
 *   IDLE       HANDED(v)  any          found idle while worker v waits
 *   IDLE       RETIRING   supervisor   scaled in, replaced, too old
 *   BUSY(w)    IDLE       worker w     release: the instance's END_REQUEST was
 *                                      read, or the request was never sent
 *   BUSY(w)    HANDED(v)  worker w     release to whom waits longest
 *   BUSY(w)    DRAINING   worker w     the attempt ended, the instance may
 *                                      still be at it; one-shot: spent
 *   BUSY(w)    DRAINING   supervisor   worker w is dead
 *   BUSY(w)    CONDEMNED  worker w     over its budget; supervisor: backstop
 *   HANDED(v)  BUSY(v)    worker v     takes it up
 *   HANDED(v)  HANDED(u)  worker v     has no use for it, u has
 *   HANDED(v)  IDLE       worker v     nobody has; supervisor: v is dead, or
 *                                      does not take it
 *   DRAINING   IDLE       supervisor   the instance says it is free
 *   DRAINING   HANDED(v)  supervisor   likewise, and worker v waits longest
 *   DRAINING   RETIRING   supervisor   likewise, and not wanted any more
 *   DRAINING   CONDEMNED  supervisor   it did not get free in its budget
 *   any        FREE       supervisor   the process has been reaped
 *
 * CONDEMNED: the supervisor kills the instance.  RETIRING: it was asked to
 * end, and is killed when it does not.  The last line is a plain store: all
 * other writers compare the whole word, so none can undo it.
 *
 * Sleeping and waking (named "waiting first").  A worker that finds no slot
 * 1. sets its bit in waiting_mask, 2. looks again, 3. sleeps.  Whoever makes
 * a slot idle 1. stores IDLE, 2. reads the mask, 3. wakes.  All four memory
 * operations are sequentially consistent, so either the sleeper sees the
 * slot or the waker sees the bit: no wake-up is lost.  A woken worker that
 * has no use for what it finds passes the wake-up on.
 */


#ifndef FAAS_SLOT_H_INCLUDED
#define FAAS_SLOT_H_INCLUDED


#include "faas_scoreboard.h"


typedef enum {
    FAAS_SLOT_FREE = 0,
    FAAS_SLOT_STARTING,
    FAAS_SLOT_IDLE,
    FAAS_SLOT_BUSY,
    FAAS_SLOT_HANDED,
    FAAS_SLOT_DRAINING,
    FAAS_SLOT_CONDEMNED,
    FAAS_SLOT_RETIRING,
    FAAS_SLOT_STATES
} faas_slot_state_e;


#define faas_slot_word(state, owner, generation)                              \
    ((uint64_t) (state) | (uint64_t) (owner) << 4                             \
     | (uint64_t) (generation) << 16)

#define faas_slot_state(word)       ((faas_slot_state_e) ((word) & 0xf))
#define faas_slot_owner(word)       ((uint32_t) ((word) >> 4) & 0xfff)
#define faas_slot_generation(word)  ((uint64_t) (word) >> 16)


/*
 * Worker: called, if it was set, when a hint was cleared and had to be put
 * back, because the slot got into that state in the same moment: who looked
 * in between has missed the slot, so the waker's half of "waiting first" is
 * due once more.  A supervisor clears no hints but those of slots that nobody
 * else can change, and leaves this NULL.
 */
extern void  (*faas_slot_found)(faas_scoreboard_t *sb, uint32_t slot);


/* name of a state for logs and status, static */
const char *faas_slot_state_name(faas_slot_state_e state);

/* 1 when the table above has a line from -> to (for whomever) */
int faas_slot_can_become(faas_slot_state_e from, faas_slot_state_e to);

/*
 * The one setter: word -> (state, owner), same generation.  FAAS_OK, or
 * FAAS_BUSY when the word is not `word` any more.  The hints of the chunk
 * follow.  from a line that the table lacks: FAAS_ERROR, nothing changed.
 */
int faas_slot_change(faas_scoreboard_t *sb, uint32_t slot, uint64_t word,
    faas_slot_state_e state, uint32_t owner);

/* supervisor: FREE -> STARTING with the next generation, which it returns */
uint64_t faas_slot_start(faas_scoreboard_t *sb, uint32_t slot);

/* supervisor: any -> FREE, once the process is reaped (or never came) */
void faas_slot_free(faas_scoreboard_t *sb, uint32_t slot);

/*
 * Worker: finds an idle slot of the version, lowest first, and makes it
 * BUSY(worker).  FAAS_OK and the slot with its new word, or FAAS_BUSY.
 */
int faas_slot_acquire(faas_scoreboard_t *sb, uint32_t version,
    uint32_t worker, uint32_t *slot, uint64_t *word);

/*
 * Worker: takes up a slot of the version that was handed to it.  FAAS_OK
 * with slot and word (now BUSY(worker)), or FAAS_BUSY when there is none.
 */
int faas_slot_take_handed(faas_scoreboard_t *sb, uint32_t version,
    uint32_t worker, uint32_t *slot, uint64_t *word);

/*
 * Supervisor, when worker is dead (not yet freed in its record): takes back
 * what it held in this slot: BUSY -> DRAINING, HANDED -> IDLE.  FAAS_OK when
 * something changed, else FAAS_DECLINED.  Either way no hint of the slot is
 * missing afterwards: a worker that died between word and hint left it so.
 * With FAAS_WORKER_NONE it only mends the hints (a restarted supervisor).
 */
int faas_slot_orphan(faas_scoreboard_t *sb, uint32_t slot, uint32_t worker);


#endif /* FAAS_SLOT_H_INCLUDED */

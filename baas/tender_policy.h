
/*
 * When a write-ahead log is checkpointed, and how.  Pure.
 *
 * PASSIVE moves what no reader needs any more into the file and disturbs
 * nobody; a writer that then finds the whole log moved, and no reader in it,
 * begins it anew.  Where there is always a reader the log only grows: then
 * TRUNCATE keeps writers out for a moment (TENDER_WAIT_MS at most) until the
 * readers have moved on; readers that do not are waited for again later, each
 * time after twice as long, since each attempt costs the writers that moment.
 */


#ifndef TENDER_POLICY_H_INCLUDED
#define TENDER_POLICY_H_INCLUDED


#include <stdint.h>


#define TENDER_LOG_FULL   (4 * 1024 * 1024)      /* bytes to be moved: now */
#define TENDER_LOG_LARGE  (64 * 1024 * 1024)     /* make it small again */
#define TENDER_AGE_MS     5000     /* what was written is moved after that */
#define TENDER_QUIET_MS   60000    /* nobody writes: give the space back */
#define TENDER_WAIT_MS    200      /* for readers, when truncating */
#define TENDER_AGAIN_MS   1000     /* after an attempt to truncate */


typedef enum {
    TENDER_NOTHING = 0,
    TENDER_PASSIVE,
    TENDER_TRUNCATE
} tender_checkpoint_e;


/* what is known of one log */

typedef struct {
    uint64_t                  size;        /* of the log, bytes */
    uint64_t                  pending;     /* of it not in the file yet */
    int64_t                   age_ms;      /* since when that is; -1 if there
                                              is nothing */
    int64_t                   quiet_ms;    /* since the last write */
    int64_t                   tried_ms;    /* since it was to be truncated */
    uint32_t                  failures;    /* of that, in a row */
} tender_log_t;


tender_checkpoint_e tender_policy(const tender_log_t *log);


#endif /* TENDER_POLICY_H_INCLUDED */


/*
 * What becomes of messages that were received.
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queue_sqlite.h"


/* what is known of a message that is to be settled */

typedef struct {
    int64_t                   seq;
    int64_t                   queue;
    int64_t                   attempt;
    int64_t                   size;
} queue_sqlite_held_t;


static int queue_sqlite_settle_one(queue_sqlite_t *s,
    const queue_settlement_t *settlement, int64_t now_ms);
static int queue_sqlite_held(queue_sqlite_t *s, const queue_message_t *m,
    queue_sqlite_held_t *held);
static int queue_sqlite_again(queue_sqlite_t *s,
    const queue_sqlite_held_t *held, int64_t attempt, int64_t due_ms,
    int64_t now_ms);
static int queue_sqlite_die(queue_sqlite_t *s,
    const queue_sqlite_held_t *held, const char *reason, int64_t now_ms);
static int queue_sqlite_handle(const queue_message_t *m, int64_t *seq);


int
queue_sqlite_settle(queue_t *q, queue_settlement_t *settlement, size_t n,
    int64_t now_ms, int64_t deadline_ms)
{
    int              code;
    size_t           i;
    queue_sqlite_t  *s = (queue_sqlite_t *) q;

    code = queue_sqlite_begin(s, QS_BEGIN_WRITE, deadline_ms);

    if (code == FAAS_OK) {
        for (i = 0; i < n && code == FAAS_OK; i++) {
            code = queue_sqlite_settle_one(s, &settlement[i], now_ms);
            settlement[i].code = code;

            if (code == FAAS_ECONFLICT || code == FAAS_EINVAL) {
                code = FAAS_OK;
            }
        }

        code = queue_sqlite_end(s, code);
    }

    if (code != FAAS_OK) {
        for (i = 0; i < n; i++) {
            settlement[i].code = code;
        }
    }

    return code;
}


static int
queue_sqlite_settle_one(queue_sqlite_t *s,
    const queue_settlement_t *settlement, int64_t now_ms)
{
    int                  code;
    queue_sqlite_held_t  held;

    code = queue_sqlite_held(s, settlement->message, &held);
    if (code != FAAS_OK) {
        return code;
    }

    switch (settlement->verdict) {

    case QUEUE_DONE:
        code = queue_sqlite_drop(s, held.queue, held.seq, QS_LEASED,
                                 held.size);
        break;

    case QUEUE_RETRY:
        return queue_sqlite_again(s, &held, held.attempt + 1,
                                  settlement->due_ms, now_ms);

    case QUEUE_RELEASE:
        return queue_sqlite_again(s, &held, held.attempt,
                                  settlement->due_ms, now_ms);

    case QUEUE_DEAD:
        code = queue_sqlite_die(s, &held, settlement->reason, now_ms);
        break;

    default:
        return FAAS_EINVAL;
    }

    if (code == FAAS_OK && settlement->timer != NULL) {
        code = queue_sqlite_run(s, QS_TIMER_ENDED, "ti", settlement->timer,
                                (int64_t) settlement->timer_fence);
    }

    return code;
}


/* FAAS_ECONFLICT: somebody else's, or nobody's, by now.  The id is compared
   as well: the file may be another than the one it was received from. */

static int
queue_sqlite_held(queue_sqlite_t *s, const queue_message_t *m,
    queue_sqlite_held_t *held)
{
    int            code;
    const char    *id;
    sqlite3_stmt  *st;

    if (queue_sqlite_handle(m, &held->seq) != FAAS_OK) {
        return FAAS_EINVAL;
    }

    code = queue_sqlite_row(s, &st, QS_MESSAGE_READ, "i", held->seq);
    if (code != FAAS_OK) {
        return code == FAAS_ENOTFOUND ? FAAS_ECONFLICT : code;
    }

    held->queue = sqlite3_column_int64(st, QS_READ_QUEUE);
    held->attempt = sqlite3_column_int64(st, QS_READ_ATTEMPT);
    held->size = sqlite3_column_int64(st, QS_READ_SIZE);

    id = (const char *) sqlite3_column_text(st, QS_READ_ID);

    if (id == NULL) {
        code = queue_sqlite_failed(s, SQLITE_NOMEM);

    } else if (sqlite3_column_int(st, QS_READ_STATE) != QS_LEASED
               || (uint64_t) sqlite3_column_int64(st, QS_READ_FENCE)
                  != m->fence
               || strcmp(id, m->id) != 0)
    {
        code = FAAS_ECONFLICT;

    }

    queue_sqlite_done(st);

    return code;
}


int
queue_sqlite_drop(queue_sqlite_t *s, int64_t queue, int64_t seq, int from,
    int64_t size)
{
    int  code;

    code = queue_sqlite_run(s, QS_MESSAGE_DONE, "i", seq);

    if (code == FAAS_OK && size > QS_INLINE) {
        code = queue_sqlite_run(s, QS_BODY_DELETE, "i", seq);
    }

    if (code == FAAS_OK) {
        code = queue_sqlite_count(s, queue, from, QS_DONE);
    }

    return code;
}


/* at once means its old place */

static int
queue_sqlite_again(queue_sqlite_t *s, const queue_sqlite_held_t *held,
    int64_t attempt, int64_t due_ms, int64_t now_ms)
{
    int  code, delayed;

    delayed = due_ms > now_ms;

    code = queue_sqlite_run(s, QS_MESSAGE_MOVE, "iiiiin", held->seq,
                            (int64_t) (delayed ? QS_DELAYED : QS_READY),
                            delayed ? due_ms : (int64_t) 0,
                            delayed ? due_ms : now_ms, attempt);

    if (code == FAAS_OK) {
        code = queue_sqlite_count(s, held->queue, QS_LEASED,
                                  delayed ? QS_DELAYED : QS_READY);
    }

    return code;
}


static int
queue_sqlite_die(queue_sqlite_t *s, const queue_sqlite_held_t *held,
    const char *reason, int64_t now_ms)
{
    int   code;
    char  cut[QUEUE_REASON_SIZE];

    (void) snprintf(cut, sizeof(cut), "%s", reason != NULL ? reason : "");

    code = queue_sqlite_run(s, QS_MESSAGE_MOVE, "iiiiit", held->seq,
                            (int64_t) QS_DEAD, now_ms, now_ms,
                            held->attempt + 1, cut);

    if (code == FAAS_OK) {
        code = queue_sqlite_count(s, held->queue, QS_LEASED, QS_DEAD);
    }

    return code;
}


int
queue_sqlite_extend(queue_t *q, const queue_message_t *m, int64_t lease_ms,
    int64_t now_ms, int64_t deadline_ms)
{
    int              code;
    int64_t          seq;
    queue_sqlite_t  *s = (queue_sqlite_t *) q;

    if (queue_sqlite_handle(m, &seq) != FAAS_OK) {
        return FAAS_EINVAL;
    }

    code = queue_sqlite_begin(s, QS_BEGIN_LEASE, deadline_ms);
    if (code != FAAS_OK) {
        return code;
    }

    code = queue_sqlite_run(s, QS_MESSAGE_EXTEND, "itii", seq, m->id,
                            (int64_t) m->fence, now_ms + lease_ms);

    if (code == FAAS_OK && queue_sqlite_changes(s) == 0) {
        code = FAAS_ECONFLICT;
    }

    return queue_sqlite_end(s, code);
}


static int
queue_sqlite_handle(const queue_message_t *m, int64_t *seq)
{
    char  *end;

    *seq = strtoll(m->handle, &end, 10);

    return end != m->handle && *end == '\0' ? FAAS_OK : FAAS_EINVAL;
}

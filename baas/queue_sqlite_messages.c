
/*
 * Messages: sent and received.
 */


#include <stdio.h>
#include <string.h>

#include "queue_sqlite.h"


#define QS_RECEIVE_MAX  256
#define QS_ENOUGH       1               /* beside the codes of faas.h */


/* one that may be received */

typedef struct {
    int64_t                   seq;
    int64_t                   since;       /* when it became ready */
    int                       state;       /* as stored */
} queue_sqlite_found_t;


/* what the messages of one receive have in common */

typedef struct {
    const char               *name;        /* of the queue, and its row */
    int64_t                   queue;
    int64_t                   until_ms;
    size_t                    bytes;       /* taken so far; 0: nothing */
    queue_alloc_pt            alloc;
    void                     *data;
} queue_sqlite_lease_t;


static int queue_sqlite_put_row(queue_sqlite_t *s, const queue_message_t *m,
    int64_t queue, int64_t now_ms, int64_t *seq);
static int queue_sqlite_forgotten(queue_sqlite_t *s,
    const queue_message_t *m, int64_t queue, int64_t now_ms);
static int queue_sqlite_find(queue_sqlite_t *s, int64_t queue, int64_t now_ms,
    queue_sqlite_found_t *found, size_t *n);
static int queue_sqlite_find_state(queue_sqlite_t *s, int64_t queue,
    int state, int64_t until, queue_sqlite_found_t *found, size_t *n);
static size_t queue_sqlite_merge(queue_sqlite_found_t *to, size_t max,
    const queue_sqlite_found_t *a, size_t na, const queue_sqlite_found_t *b,
    size_t nb);
static int queue_sqlite_lease(queue_sqlite_t *s, queue_sqlite_lease_t *lease,
    const queue_sqlite_found_t *found, size_t nfound, queue_message_t *m,
    size_t *n);
static int queue_sqlite_lease_one(queue_sqlite_t *s,
    queue_sqlite_lease_t *lease, const queue_sqlite_found_t *found,
    int64_t fence, queue_message_t *m);


/* -- send ------------------------------------------------------------------ */

int
queue_sqlite_send(queue_t *q, const queue_message_t *m, int *code, size_t n,
    int64_t now_ms, int64_t deadline_ms)
{
    int              rc;
    size_t           i;
    queue_sqlite_t  *s = (queue_sqlite_t *) q;

    rc = queue_sqlite_begin(s, QS_BEGIN_WRITE, deadline_ms);

    if (rc == FAAS_OK) {
        for (i = 0; i < n && rc == FAAS_OK; i++) {
            code[i] = queue_message_check(&m[i]);

            if (code[i] == FAAS_OK) {
                rc = queue_sqlite_put(s, &m[i], now_ms, NULL);
            }
        }

        rc = queue_sqlite_end(s, rc);
    }

    if (rc != FAAS_OK) {
        for (i = 0; i < n; i++) {
            code[i] = rc;
        }
    }

    return rc;
}


int
queue_sqlite_put(queue_sqlite_t *s, const queue_message_t *m, int64_t now_ms,
    int *known)
{
    int      code;
    int64_t  queue, seq;

    if (known != NULL) {
        *known = 0;
    }

    code = queue_sqlite_queue_make(s, m->queue, &queue);
    if (code != FAAS_OK) {
        return code;
    }

    code = queue_sqlite_put_row(s, m, queue, now_ms, &seq);

    if (code == FAAS_ENOTFOUND) {
        code = queue_sqlite_forgotten(s, m, queue, now_ms);

        if (code == FAAS_ENOTFOUND) {
            if (known != NULL) {
                *known = 1;
            }

            return FAAS_OK;
        }

        if (code == FAAS_OK) {
            code = queue_sqlite_put_row(s, m, queue, now_ms, &seq);
        }
    }

    if (code == FAAS_OK && m->size > QS_INLINE) {
        code = queue_sqlite_run(s, QS_BODY_ADD, "ib", seq, m->data, m->size);
    }

    if (code == FAAS_OK) {
        code = queue_sqlite_count(s, queue, -1,
                                  m->due_ms > now_ms ? QS_DELAYED : QS_READY);
    }

    return code;
}


/* FAAS_ENOTFOUND: there is one of that id */

static int
queue_sqlite_put_row(queue_sqlite_t *s, const queue_message_t *m,
    int64_t queue, int64_t now_ms, int64_t *seq)
{
    int            code, delayed;
    sqlite3_stmt  *st;

    delayed = m->due_ms > now_ms;

    code = queue_sqlite_row(s, &st, QS_MESSAGE_ADD,
                            m->size > QS_INLINE ? "iiitiiiin" : "iiitiiiib",
                            queue,
                            (int64_t) (delayed ? QS_DELAYED : QS_READY),
                            delayed ? m->due_ms : (int64_t) 0, m->id,
                            m->sent_ms ? m->sent_ms : now_ms,
                            delayed ? m->due_ms : now_ms,
                            now_ms + QUEUE_MEMORY_MS, (int64_t) m->size,
                            m->data, m->size);
    if (code != FAAS_OK) {
        return code;
    }

    *seq = sqlite3_column_int64(st, 0);
    queue_sqlite_done(st);

    return FAAS_OK;
}


/* FAAS_OK: there was one of that id, and it is forgotten now; a day is over
   and the sweep was not there yet */

static int
queue_sqlite_forgotten(queue_sqlite_t *s, const queue_message_t *m,
    int64_t queue, int64_t now_ms)
{
    int            code;
    int64_t        seq;
    sqlite3_stmt  *st;

    code = queue_sqlite_row(s, &st, QS_MESSAGE_FORGOTTEN, "iti", queue,
                            m->id, now_ms);
    if (code != FAAS_OK) {
        return code;
    }

    seq = sqlite3_column_int64(st, 0);
    queue_sqlite_done(st);

    return queue_sqlite_run(s, QS_MESSAGE_DELETE, "i", seq);
}


/* -- receive --------------------------------------------------------------- */

int
queue_sqlite_receive(queue_t *q, const char *queue, int64_t lease_ms,
    queue_message_t *m, size_t *n, queue_alloc_pt alloc, void *data,
    int64_t now_ms, int64_t deadline_ms)
{
    int                    code;
    size_t                 nfound;
    int64_t                row;
    queue_sqlite_t        *s = (queue_sqlite_t *) q;
    queue_sqlite_lease_t   lease;
    queue_sqlite_found_t   found[QS_RECEIVE_MAX];

    nfound = *n < QS_RECEIVE_MAX ? *n : QS_RECEIVE_MAX;
    *n = 0;

    code = queue_sqlite_begin(s, QS_BEGIN_LEASE, deadline_ms);
    if (code != FAAS_OK) {
        return code;
    }

    code = queue_sqlite_queue(s, queue, &row);

    if (code == FAAS_OK) {
        code = queue_sqlite_find(s, row, now_ms, found, &nfound);
    }

    if (code == FAAS_OK && nfound) {
        lease.name = queue;
        lease.queue = row;
        lease.until_ms = now_ms + lease_ms;
        lease.bytes = 0;
        lease.alloc = alloc;
        lease.data = data;

        code = queue_sqlite_lease(s, &lease, found, nfound, m, n);
    }

    if (code == FAAS_ENOTFOUND) {
        code = FAAS_OK;    /* there is no such queue yet */
    }

    code = queue_sqlite_end(s, code);

    if (code != FAAS_OK) {
        *n = 0;
    }

    return code;
}


/*
 * Up to *n of the queue's: first those whose lease is over, which were here
 * before all others; then the delayed ones that are due and the ready ones,
 * by the time at which they became so.
 */

static int
queue_sqlite_find(queue_sqlite_t *s, int64_t queue, int64_t now_ms,
    queue_sqlite_found_t *found, size_t *n)
{
    int                   code;
    size_t                max, over, due, ready;
    queue_sqlite_found_t  delayed[QS_RECEIVE_MAX], sent[QS_RECEIVE_MAX];

    max = *n;

    over = max;
    code = queue_sqlite_find_state(s, queue, QS_LEASED, now_ms, found, &over);

    due = max - over;
    if (code == FAAS_OK) {
        code = queue_sqlite_find_state(s, queue, QS_DELAYED, now_ms, delayed,
                                       &due);
    }

    ready = max - over;
    if (code == FAAS_OK) {
        code = queue_sqlite_find_state(s, queue, QS_READY, now_ms, sent,
                                       &ready);
    }

    if (code == FAAS_OK) {
        *n = over + queue_sqlite_merge(found + over, max - over, delayed, due,
                                       sent, ready);
    }

    return code;
}


static int
queue_sqlite_find_state(queue_sqlite_t *s, int64_t queue, int state,
    int64_t until, queue_sqlite_found_t *found, size_t *n)
{
    int            code;
    size_t         max;
    sqlite3_stmt  *st;

    max = *n;
    *n = 0;

    if (max == 0) {
        return FAAS_OK;
    }

    code = queue_sqlite_row(s, &st, QS_MESSAGE_FIND, "iiii", queue,
                            (int64_t) state,
                            state == QS_READY ? (int64_t) 0 : until,
                            (int64_t) max);

    for ( /* void */ ; code == FAAS_OK; code = queue_sqlite_next(s, st)) {
        found[*n].seq = sqlite3_column_int64(st, 0);
        found[*n].since = sqlite3_column_int64(st, 1);
        found[*n].state = state;
        (*n)++;
    }

    return code == FAAS_ENOTFOUND ? FAAS_OK : code;
}


static size_t
queue_sqlite_merge(queue_sqlite_found_t *to, size_t max,
    const queue_sqlite_found_t *a, size_t na, const queue_sqlite_found_t *b,
    size_t nb)
{
    size_t  n;

    for (n = 0; n < max && (na || nb); n++) {

        if (nb == 0 || (na && a->since <= b->since)) {
            to[n] = *a++;
            na--;

        } else {
            to[n] = *b++;
            nb--;
        }
    }

    return n;
}


/* fewer than were found when they are too large together, or when there is no
   memory for more */

static int
queue_sqlite_lease(queue_sqlite_t *s, queue_sqlite_lease_t *lease,
    const queue_sqlite_found_t *found, size_t nfound, queue_message_t *m,
    size_t *n)
{
    int      code;
    char    *name;
    size_t   i;
    int64_t  fence;

    name = lease->alloc(lease->data, strlen(lease->name) + 1);
    if (name == NULL) {
        return FAAS_ERROR;
    }

    strcpy(name, lease->name);

    code = queue_sqlite_fence(s, (unsigned) nfound, &fence);
    if (code != FAAS_OK) {
        return code;
    }

    for (i = 0; i < nfound; i++) {
        code = queue_sqlite_lease_one(s, lease, &found[i],
                                      fence - (int64_t) (nfound - 1 - i),
                                      &m[i]);
        if (code == QS_ENOUGH
            || (code == FAAS_ERROR && i && s->rc == SQLITE_OK))
        {
            break;
        }

        if (code != FAAS_OK) {
            return code;
        }

        m[i].queue = name;
    }

    *n = i;

    return FAAS_OK;
}


/* QS_ENOUGH: this one, and what is behind it, is for another time */

static int
queue_sqlite_lease_one(queue_sqlite_t *s, queue_sqlite_lease_t *lease,
    const queue_sqlite_found_t *found, int64_t fence, queue_message_t *m)
{
    int            code;
    size_t         size;
    sqlite3_stmt  *st;

    code = queue_sqlite_row(s, &st, QS_MESSAGE_READ, "i", found->seq);

    if (code != FAAS_OK) {
        return code == FAAS_ENOTFOUND ? queue_sqlite_failed(s, SQLITE_CORRUPT)
                                      : code;
    }

    size = (size_t) sqlite3_column_int64(st, QS_READ_SIZE);

    if (lease->bytes != 0 && lease->bytes + size > QUEUE_RECEIVE_BYTES) {
        queue_sqlite_done(st);
        return QS_ENOUGH;
    }

    code = queue_sqlite_message(s, st, found->seq, m, lease->alloc,
                                lease->data);
    queue_sqlite_done(st);

    if (code != FAAS_OK) {
        return code;
    }

    m->fence = (uint64_t) fence;
    lease->bytes += size + 1;

    code = queue_sqlite_run(s, QS_MESSAGE_LEASE, "iii", found->seq,
                            lease->until_ms, fence);

    if (code == FAAS_OK) {
        code = queue_sqlite_count(s, lease->queue, found->state, QS_LEASED);
    }

    return code;
}


int
queue_sqlite_message(queue_sqlite_t *s, sqlite3_stmt *st, int64_t seq,
    queue_message_t *m, queue_alloc_pt alloc, void *data)
{
    int            code;
    const char    *id;
    sqlite3_stmt  *body;

    memset(m, 0, sizeof(*m));

    id = (const char *) sqlite3_column_text(st, QS_READ_ID);
    if (id == NULL) {
        return queue_sqlite_failed(s, SQLITE_NOMEM);
    }

    (void) snprintf(m->id, sizeof(m->id), "%s", id);
    (void) snprintf(m->handle, sizeof(m->handle), "%lld", (long long) seq);

    m->attempt = (uint32_t) sqlite3_column_int64(st, QS_READ_ATTEMPT);
    m->sent_ms = sqlite3_column_int64(st, QS_READ_SENT);
    m->due_ms = sqlite3_column_int64(st, QS_READ_SINCE);
    m->size = (size_t) sqlite3_column_int64(st, QS_READ_SIZE);

    if (m->size <= QS_INLINE) {
        m->data = queue_sqlite_copy(st, QS_READ_DATA, alloc, data);

    } else {
        code = queue_sqlite_row(s, &body, QS_BODY_READ, "i", seq);

        if (code != FAAS_OK) {
            return code == FAAS_ENOTFOUND
                   ? queue_sqlite_failed(s, SQLITE_CORRUPT) : code;
        }

        m->data = queue_sqlite_copy(body, 0, alloc, data);
        queue_sqlite_done(body);
    }

    return m->data != NULL ? FAAS_OK : FAAS_ERROR;
}

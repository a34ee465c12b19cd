
/*
 * Dead letters.
 */


#include <stdlib.h>
#include <string.h>

#include "queue_sqlite.h"


#define QS_DEAD_MAX  1000               /* in one listing */


typedef struct {
    queue_message_t           message;
    char                      reason[QUEUE_REASON_SIZE];
} queue_sqlite_letter_t;


static int queue_sqlite_dead_after(queue_sqlite_t *s, const char *queue,
    const char *after, queue_sqlite_letter_t *letters, uint32_t *n);
static int queue_sqlite_dead_read(queue_sqlite_t *s, sqlite3_stmt *st,
    const char *queue, queue_sqlite_letter_t *letter);
static int queue_sqlite_dead_find(queue_sqlite_t *s, int64_t queue,
    const char *id, int64_t *seq, int64_t *place, int64_t *size);
static int queue_sqlite_dead_one(queue_sqlite_t *s, const char *queue,
    const char *id, queue_message_t *m, const char **reason,
    queue_alloc_pt alloc, void *data);
static int queue_sqlite_dead_end(queue_sqlite_t *s, const char *queue,
    const char *id, uint64_t *n, int64_t retry_ms, int64_t deadline_ms);
static int queue_sqlite_dead_step(queue_sqlite_t *s, const char *queue,
    const char *id, uint64_t *n, int64_t retry_ms);
static int queue_sqlite_dead_next(queue_sqlite_t *s, int64_t queue,
    int64_t *seq, int64_t *size);
static int queue_sqlite_dead_leave(queue_sqlite_t *s, int64_t queue,
    int64_t seq, int64_t size, int64_t retry_ms);


int
queue_sqlite_dead(queue_t *q, const char *queue, const char *after,
    uint32_t limit,
    int (*each)(const queue_message_t *m, const char *reason, void *data),
    void *data, int64_t deadline_ms)
{
    int                     code;
    uint32_t                i, n;
    queue_sqlite_t         *s = (queue_sqlite_t *) q;
    queue_sqlite_letter_t  *letters;

    n = limit < QS_DEAD_MAX ? limit : QS_DEAD_MAX;

    if (n == 0) {
        return FAAS_OK;
    }

    letters = calloc(n, sizeof(*letters));
    if (letters == NULL) {
        return FAAS_ERROR;
    }

    code = queue_sqlite_begin(s, QS_BEGIN, deadline_ms);

    if (code == FAAS_OK) {
        code = queue_sqlite_dead_after(s, queue, after, letters, &n);
        code = queue_sqlite_end(s, code);
    }

    for (i = 0; i < n && code == FAAS_OK; i++) {
        code = each(&letters[i].message, letters[i].reason, data);
    }

    free(letters);

    return code;
}


/* behind `after` in order of death; how many in *n */

static int
queue_sqlite_dead_after(queue_sqlite_t *s, const char *queue,
    const char *after, queue_sqlite_letter_t *letters, uint32_t *n)
{
    int            code;
    int64_t        row, limit, seq, place, size;
    sqlite3_stmt  *st;

    limit = *n;
    *n = 0;

    code = queue_sqlite_queue(s, queue, &row);

    if (code == FAAS_ENOTFOUND && after == NULL) {
        return FAAS_OK;
    }

    place = -1;
    seq = -1;

    if (code == FAAS_OK && after != NULL) {
        code = queue_sqlite_dead_find(s, row, after, &seq, &place, &size);
    }

    if (code != FAAS_OK) {
        return code;
    }

    code = queue_sqlite_row(s, &st, QS_DEAD_LIST, "iiii", row, place, seq,
                            limit);

    for ( /* void */ ; code == FAAS_OK; code = queue_sqlite_next(s, st)) {

        code = queue_sqlite_dead_read(s, st, queue, &letters[*n]);

        if (code != FAAS_OK) {
            queue_sqlite_done(st);
            return code;
        }

        (*n)++;
    }

    return code == FAAS_ENOTFOUND ? FAAS_OK : code;
}


static int
queue_sqlite_dead_read(queue_sqlite_t *s, sqlite3_stmt *st,
    const char *queue, queue_sqlite_letter_t *letter)
{
    const unsigned char  *id, *reason;

    id = sqlite3_column_text(st, 0);
    reason = sqlite3_column_text(st, 5);

    if (id == NULL || reason == NULL) {
        return queue_sqlite_failed(s, SQLITE_NOMEM);
    }

    letter->message.queue = queue;
    letter->message.attempt = (uint32_t) sqlite3_column_int64(st, 1);
    letter->message.sent_ms = sqlite3_column_int64(st, 2);
    letter->message.due_ms = sqlite3_column_int64(st, 3);
    letter->message.size = (size_t) sqlite3_column_int64(st, 4);

    (void) sqlite3_snprintf(sizeof(letter->message.id), letter->message.id,
                            "%s", id);
    (void) sqlite3_snprintf(sizeof(letter->reason), letter->reason, "%s",
                            reason);

    return FAAS_OK;
}


static int
queue_sqlite_dead_find(queue_sqlite_t *s, int64_t queue, const char *id,
    int64_t *seq, int64_t *place, int64_t *size)
{
    int            code;
    sqlite3_stmt  *st;

    code = queue_sqlite_row(s, &st, QS_DEAD_FIND, "it", queue, id);

    if (code == FAAS_OK) {
        *seq = sqlite3_column_int64(st, 0);
        *place = sqlite3_column_int64(st, 1);
        *size = sqlite3_column_int64(st, 2);
        queue_sqlite_done(st);
    }

    return code;
}


/* -- one ------------------------------------------------------------------- */

int
queue_sqlite_dead_get(queue_t *q, const char *queue, const char *id,
    queue_message_t *m, const char **reason, queue_alloc_pt alloc, void *data,
    int64_t deadline_ms)
{
    int              code;
    queue_sqlite_t  *s = (queue_sqlite_t *) q;

    code = queue_sqlite_begin(s, QS_BEGIN, deadline_ms);

    if (code == FAAS_OK) {
        code = queue_sqlite_dead_one(s, queue, id, m, reason, alloc, data);
        code = queue_sqlite_end(s, code);
    }

    return code;
}


static int
queue_sqlite_dead_one(queue_sqlite_t *s, const char *queue, const char *id,
    queue_message_t *m, const char **reason, queue_alloc_pt alloc, void *data)
{
    int            code;
    char          *name;
    int64_t        row, seq, place, size;
    sqlite3_stmt  *st;

    code = queue_sqlite_queue(s, queue, &row);

    if (code == FAAS_OK) {
        code = queue_sqlite_dead_find(s, row, id, &seq, &place, &size);
    }

    if (code == FAAS_OK) {
        code = queue_sqlite_row(s, &st, QS_MESSAGE_READ, "i", seq);
    }

    if (code != FAAS_OK) {
        return code;
    }

    code = queue_sqlite_message(s, st, seq, m, alloc, data);

    if (code == FAAS_OK) {
        *reason = queue_sqlite_copy(st, QS_READ_REASON, alloc, data);
        name = alloc(data, strlen(queue) + 1);

        if (*reason == NULL || name == NULL) {
            code = FAAS_ERROR;

        } else {
            m->queue = strcpy(name, queue);
        }
    }

    queue_sqlite_done(st);

    return code;
}


/* -- to life again, or away ------------------------------------------------ */

int
queue_sqlite_dead_retry(queue_t *q, const char *queue, const char *id,
    uint64_t *n, int64_t now_ms, int64_t deadline_ms)
{
    return queue_sqlite_dead_end((queue_sqlite_t *) q, queue, id, n, now_ms,
                                 deadline_ms);
}


int
queue_sqlite_dead_purge(queue_t *q, const char *queue, const char *id,
    uint64_t *n, int64_t deadline_ms)
{
    return queue_sqlite_dead_end((queue_sqlite_t *) q, queue, id, n, -1,
                                 deadline_ms);
}


/* retry_ms -1: they are purged */

static int
queue_sqlite_dead_end(queue_sqlite_t *s, const char *queue, const char *id,
    uint64_t *n, int64_t retry_ms, int64_t deadline_ms)
{
    int       code;
    uint64_t  done;

    *n = 0;

    do {
        code = queue_sqlite_begin(s, QS_BEGIN_WRITE, deadline_ms);
        if (code != FAAS_OK) {
            return code;
        }

        done = 0;
        code = queue_sqlite_dead_step(s, queue, id, &done, retry_ms);
        code = queue_sqlite_end(s, code);

        if (code != FAAS_OK) {
            return code;
        }

        *n += done;

    } while (id == NULL && done == QS_STEP);

    return FAAS_OK;
}


static int
queue_sqlite_dead_step(queue_sqlite_t *s, const char *queue, const char *id,
    uint64_t *n, int64_t retry_ms)
{
    int      code;
    int64_t  row, seq, place, size;

    code = queue_sqlite_queue(s, queue, &row);

    if (code != FAAS_OK) {
        return code == FAAS_ENOTFOUND && id == NULL ? FAAS_OK : code;
    }

    if (id != NULL) {
        code = queue_sqlite_dead_find(s, row, id, &seq, &place, &size);

        if (code == FAAS_OK) {
            code = queue_sqlite_dead_leave(s, row, seq, size, retry_ms);
        }

        *n = code == FAAS_OK;

        return code;
    }

    while (*n < QS_STEP) {
        code = queue_sqlite_dead_next(s, row, &seq, &size);

        if (code == FAAS_OK) {
            code = queue_sqlite_dead_leave(s, row, seq, size, retry_ms);
        }

        if (code != FAAS_OK) {
            return code == FAAS_ENOTFOUND ? FAAS_OK : code;
        }

        (*n)++;
    }

    return FAAS_OK;
}


static int
queue_sqlite_dead_next(queue_sqlite_t *s, int64_t queue, int64_t *seq,
    int64_t *size)
{
    int            code;
    sqlite3_stmt  *st;

    code = queue_sqlite_row(s, &st, QS_DEAD_NEXT, "i", queue);

    if (code == FAAS_OK) {
        *seq = sqlite3_column_int64(st, 0);
        *size = sqlite3_column_int64(st, 1);
        queue_sqlite_done(st);
    }

    return code;
}


static int
queue_sqlite_dead_leave(queue_sqlite_t *s, int64_t queue, int64_t seq,
    int64_t size, int64_t retry_ms)
{
    int  code;

    if (retry_ms == -1) {
        return queue_sqlite_drop(s, queue, seq, QS_DEAD, size);
    }

    code = queue_sqlite_run(s, QS_MESSAGE_MOVE, "iiiiin", seq,
                            (int64_t) QS_READY, (int64_t) 0, retry_ms,
                            (int64_t) 0);

    if (code == FAAS_OK) {
        code = queue_sqlite_run(s, QS_MESSAGE_SENT, "ii", seq, retry_ms);
    }

    if (code == FAAS_OK) {
        code = queue_sqlite_count(s, queue, QS_DEAD, QS_READY);
    }

    return code;
}

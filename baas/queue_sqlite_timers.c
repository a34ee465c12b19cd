
/*
 * Timers.  To fire is one comparison and one message in one transaction:
 * however many nodes try, one of them finds the due time that it expects.
 */


#include <stdlib.h>
#include <string.h>

#include "queue_sqlite.h"


typedef struct {
    queue_timer_t            *timers;      /* malloc()ed, of n */
    size_t                    n;
} queue_sqlite_timers_t;


static int queue_sqlite_timer_read(queue_sqlite_t *s, sqlite3_stmt *st,
    queue_timer_t *t);
static int queue_sqlite_timer_all(queue_sqlite_t *s,
    queue_sqlite_timers_t *all);
static int queue_sqlite_timer_send(queue_sqlite_t *s, const queue_timer_t *t,
    queue_message_t *m,
    int (*build)(queue_message_t *m, uint64_t fence, void *data), void *data,
    int64_t fence, int64_t now_ms);


int
queue_sqlite_timer_set(queue_t *q, const queue_timer_t *t,
    int64_t deadline_ms)
{
    int              code;
    queue_sqlite_t  *s = (queue_sqlite_t *) q;

    if (t->key[0] == '\0') {
        return FAAS_EINVAL;
    }

    code = queue_sqlite_begin(s, QS_BEGIN_WRITE, deadline_ms);

    if (code == FAAS_OK) {
        code = queue_sqlite_run(s, QS_TIMER_SET, "ttii", t->key, t->spec,
                                t->due_ms, t->last_ms);
        code = queue_sqlite_end(s, code);
    }

    return code;
}


int
queue_sqlite_timer_get(queue_t *q, const char *key, queue_timer_t *t,
    int64_t deadline_ms)
{
    int              code;
    sqlite3_stmt    *st;
    queue_sqlite_t  *s = (queue_sqlite_t *) q;

    code = queue_sqlite_begin(s, QS_BEGIN, deadline_ms);
    if (code != FAAS_OK) {
        return code;
    }

    code = queue_sqlite_row(s, &st, QS_TIMER_GET, "t", key);

    if (code == FAAS_OK) {
        code = queue_sqlite_timer_read(s, st, t);
        queue_sqlite_done(st);
    }

    return queue_sqlite_end(s, code);
}


static int
queue_sqlite_timer_read(queue_sqlite_t *s, sqlite3_stmt *st,
    queue_timer_t *t)
{
    const unsigned char  *key, *spec;

    key = sqlite3_column_text(st, 0);
    spec = sqlite3_column_text(st, 1);

    if (key == NULL || spec == NULL) {
        return queue_sqlite_failed(s, SQLITE_NOMEM);
    }

    (void) sqlite3_snprintf(sizeof(t->key), t->key, "%s", key);
    (void) sqlite3_snprintf(sizeof(t->spec), t->spec, "%s", spec);

    t->due_ms = sqlite3_column_int64(st, 2);
    t->last_ms = sqlite3_column_int64(st, 3);
    t->fence = (uint64_t) sqlite3_column_int64(st, 4);
    t->running = sqlite3_column_int64(st, 5) != 0;

    return FAAS_OK;
}


int
queue_sqlite_timer_delete(queue_t *q, const char *key, int64_t deadline_ms)
{
    int              code;
    queue_sqlite_t  *s = (queue_sqlite_t *) q;

    code = queue_sqlite_begin(s, QS_BEGIN_WRITE, deadline_ms);
    if (code != FAAS_OK) {
        return code;
    }

    code = queue_sqlite_run(s, QS_TIMER_DELETE, "t", key);

    if (code == FAAS_OK && queue_sqlite_changes(s) == 0) {
        code = FAAS_ENOTFOUND;
    }

    return queue_sqlite_end(s, code);
}


int
queue_sqlite_timer_list(queue_t *q,
    int (*each)(const queue_timer_t *t, void *data), void *data,
    int64_t deadline_ms)
{
    int                     code;
    size_t                  i;
    queue_sqlite_t         *s = (queue_sqlite_t *) q;
    queue_sqlite_timers_t   all;

    all.timers = NULL;
    all.n = 0;

    code = queue_sqlite_begin(s, QS_BEGIN, deadline_ms);

    if (code == FAAS_OK) {
        code = queue_sqlite_end(s, queue_sqlite_timer_all(s, &all));
    }

    for (i = 0; i < all.n && code == FAAS_OK; i++) {
        code = each(&all.timers[i], data);
    }

    free(all.timers);

    return code;
}


static int
queue_sqlite_timer_all(queue_sqlite_t *s, queue_sqlite_timers_t *all)
{
    int             code;
    size_t          room;
    sqlite3_stmt   *st;
    queue_timer_t  *grown;

    room = 0;

    code = queue_sqlite_row(s, &st, QS_TIMER_LIST, "");

    for ( /* void */ ; code == FAAS_OK; code = queue_sqlite_next(s, st)) {

        if (all->n == room) {
            room = room ? room * 2 : 16;
            grown = realloc(all->timers, room * sizeof(*grown));

            if (grown == NULL) {
                queue_sqlite_done(st);
                return FAAS_ERROR;
            }

            all->timers = grown;
        }

        code = queue_sqlite_timer_read(s, st, &all->timers[all->n]);

        if (code != FAAS_OK) {
            queue_sqlite_done(st);
            return code;
        }

        all->n++;
    }

    return code == FAAS_ENOTFOUND ? FAAS_OK : code;
}


/* -- fire ------------------------------------------------------------------ */

int
queue_sqlite_timer_fire(queue_t *q, const queue_timer_t *t, int64_t next_ms,
    queue_message_t *m,
    int (*build)(queue_message_t *m, uint64_t fence, void *data), void *data,
    uint64_t *fence, int64_t now_ms, int64_t deadline_ms)
{
    int              code;
    int64_t          rising;
    queue_sqlite_t  *s = (queue_sqlite_t *) q;

    code = queue_sqlite_begin(s, QS_BEGIN_WRITE, deadline_ms);
    if (code != FAAS_OK) {
        return code;
    }

    code = queue_sqlite_fence(s, 1, &rising);

    if (code == FAAS_OK) {
        code = queue_sqlite_run(s, QS_TIMER_FIRE, "ttiii", t->key, t->spec,
                                t->due_ms, next_ms, rising);
    }

    if (code == FAAS_OK && queue_sqlite_changes(s) == 0) {
        code = FAAS_ECONFLICT;
    }

    if (code == FAAS_OK && m != NULL) {
        code = queue_sqlite_timer_send(s, t, m, build, data, rising, now_ms);
    }

    code = queue_sqlite_end(s, code);

    if (code == FAAS_OK) {
        *fence = (uint64_t) rising;
    }

    return code;
}


static int
queue_sqlite_timer_send(queue_sqlite_t *s, const queue_timer_t *t,
    queue_message_t *m,
    int (*build)(queue_message_t *m, uint64_t fence, void *data), void *data,
    int64_t fence, int64_t now_ms)
{
    int  code, known;

    code = build(m, (uint64_t) fence, data);

    if (code == FAAS_OK) {
        code = queue_message_check(m);
    }

    if (code == FAAS_OK) {
        code = queue_sqlite_put(s, m, now_ms, &known);
    }

    if (code == FAAS_OK && !known) {
        code = queue_sqlite_run(s, QS_TIMER_RUNS, "ti", t->key, fence);
    }

    return code;
}

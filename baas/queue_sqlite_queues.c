
/*
 * Queues, and how many messages each has in which state.
 */


#include <stdlib.h>
#include <string.h>

#include "queue_sqlite.h"


static int queue_sqlite_overdue(queue_sqlite_t *s, int64_t queue, int state,
    int64_t now_ms, uint64_t *n, queue_stats_t *stats);
static int queue_sqlite_coming(queue_sqlite_t *s, int64_t queue, int state,
    int64_t now_ms, queue_stats_t *stats);
static int queue_sqlite_names(queue_sqlite_t *s, char **names, size_t *n);
static void queue_sqlite_earlier(int64_t *time_ms, int64_t than_ms);


int
queue_sqlite_queue(queue_sqlite_t *s, const char *name, int64_t *queue)
{
    int            code;
    sqlite3_stmt  *st;

    code = queue_sqlite_row(s, &st, QS_QUEUE_FIND, "t", name);

    if (code == FAAS_OK) {
        *queue = sqlite3_column_int64(st, 0);
        queue_sqlite_done(st);
    }

    return code;
}


int
queue_sqlite_queue_make(queue_sqlite_t *s, const char *name, int64_t *queue)
{
    int            code;
    sqlite3_stmt  *st;

    code = queue_sqlite_queue(s, name, queue);

    if (code != FAAS_ENOTFOUND) {
        return code;
    }

    code = queue_sqlite_row(s, &st, QS_QUEUE_ADD, "t", name);

    if (code == FAAS_OK) {
        *queue = sqlite3_column_int64(st, 0);
        queue_sqlite_done(st);
    }

    return code;
}


/* -- figures --------------------------------------------------------------- */

int
queue_sqlite_count(queue_sqlite_t *s, int64_t queue, int from, int to)
{
    int                    code;
    unsigned               i;
    queue_sqlite_delta_t  *d;

    for (i = 0; i < s->ndeltas && s->deltas[i].queue != queue; i++) {
        /* void */
    }

    if (i == QS_DELTAS) {
        code = queue_sqlite_count_write(s);
        if (code != FAAS_OK) {
            return code;
        }

        i = 0;
    }

    d = &s->deltas[i];

    if (i == s->ndeltas) {
        memset(d, 0, sizeof(*d));
        d->queue = queue;
        s->ndeltas++;
    }

    if (from >= 0) {
        d->by[from]--;
    }

    if (to >= 0) {
        d->by[to]++;
    }

    return FAAS_OK;
}


int
queue_sqlite_count_write(queue_sqlite_t *s)
{
    int                    code;
    unsigned               i, n;
    queue_sqlite_delta_t  *d;

    n = s->ndeltas;
    s->ndeltas = 0;

    for (i = 0; i < n; i++) {
        d = &s->deltas[i];

        if (d->by[QS_READY] == 0 && d->by[QS_DELAYED] == 0
            && d->by[QS_LEASED] == 0 && d->by[QS_DEAD] == 0)
        {
            continue;
        }

        code = queue_sqlite_run(s, QS_QUEUE_COUNT, "iiiii", d->queue,
                                d->by[QS_READY], d->by[QS_DELAYED],
                                d->by[QS_LEASED], d->by[QS_DEAD]);
        if (code != FAAS_OK) {
            return code;
        }
    }

    return FAAS_OK;
}


/* what is delayed or leased, and due, counts as ready */

int
queue_sqlite_stats(queue_t *q, const char *queue, queue_stats_t *stats,
    int64_t now_ms, int64_t deadline_ms)
{
    int              code, i;
    int64_t          row;
    sqlite3_stmt    *st;
    queue_sqlite_t  *s = (queue_sqlite_t *) q;

    static const int  waiting[] = { QS_DELAYED, QS_LEASED };

    memset(stats, 0, sizeof(*stats));

    code = queue_sqlite_begin(s, QS_BEGIN, deadline_ms);
    if (code != FAAS_OK) {
        return code;
    }

    code = queue_sqlite_row(s, &st, QS_QUEUE_FIND, "t", queue);

    if (code != FAAS_OK) {
        return queue_sqlite_end(s, code == FAAS_ENOTFOUND ? FAAS_OK : code);
    }

    row = sqlite3_column_int64(st, 0);
    stats->ready = (uint64_t) sqlite3_column_int64(st, 1);
    stats->delayed = (uint64_t) sqlite3_column_int64(st, 2);
    stats->leased = (uint64_t) sqlite3_column_int64(st, 3);
    stats->dead = (uint64_t) sqlite3_column_int64(st, 4);
    queue_sqlite_done(st);

    code = queue_sqlite_row(s, &st, QS_STATE_NEXT, "iii", row,
                            (int64_t) QS_READY, (int64_t) -1);

    if (code == FAAS_OK) {
        stats->oldest_ms = sqlite3_column_int64(st, 1);
        queue_sqlite_done(st);

    } else if (code == FAAS_ENOTFOUND) {
        code = FAAS_OK;
    }

    for (i = 0; i < 2 && code == FAAS_OK; i++) {
        code = queue_sqlite_overdue(s, row, waiting[i], now_ms,
                                    waiting[i] == QS_LEASED ? &stats->leased
                                                            : &stats->delayed,
                                    stats);
        if (code == FAAS_OK) {
            code = queue_sqlite_coming(s, row, waiting[i], now_ms, stats);
        }
    }

    return queue_sqlite_end(s, code);
}


static int
queue_sqlite_overdue(queue_sqlite_t *s, int64_t queue, int state,
    int64_t now_ms, uint64_t *n, queue_stats_t *stats)
{
    int            code;
    uint64_t       due;
    sqlite3_stmt  *st;

    code = queue_sqlite_row(s, &st, QS_STATE_UNTIL, "iii", queue,
                            (int64_t) state, now_ms);
    if (code != FAAS_OK) {
        return code;
    }

    due = (uint64_t) sqlite3_column_int64(st, 0);

    if (due) {
        *n -= due;
        stats->ready += due;
        queue_sqlite_earlier(&stats->oldest_ms,
                             sqlite3_column_int64(st, 1));
    }

    queue_sqlite_done(st);

    return FAAS_OK;
}


static int
queue_sqlite_coming(queue_sqlite_t *s, int64_t queue, int state,
    int64_t now_ms, queue_stats_t *stats)
{
    int            code;
    sqlite3_stmt  *st;

    code = queue_sqlite_row(s, &st, QS_STATE_NEXT, "iii", queue,
                            (int64_t) state, now_ms);

    if (code == FAAS_OK) {
        queue_sqlite_earlier(&stats->next_ms, sqlite3_column_int64(st, 0));
        queue_sqlite_done(st);
    }

    return code == FAAS_ENOTFOUND ? FAAS_OK : code;
}


static void
queue_sqlite_earlier(int64_t *time_ms, int64_t than_ms)
{
    if (*time_ms == 0 || than_ms < *time_ms) {
        *time_ms = than_ms;
    }
}


/* -- list ------------------------------------------------------------------ */

int
queue_sqlite_list(queue_t *q, int (*each)(const char *queue, void *data),
    void *data, int64_t deadline_ms)
{
    int              code;
    char            *names;
    size_t           i, n;
    queue_sqlite_t  *s = (queue_sqlite_t *) q;

    names = NULL;
    n = 0;

    code = queue_sqlite_begin(s, QS_BEGIN, deadline_ms);

    if (code == FAAS_OK) {
        code = queue_sqlite_end(s, queue_sqlite_names(s, &names, &n));
    }

    for (i = 0; i < n && code == FAAS_OK; i++) {
        code = each(names + i * QUEUE_NAME_SIZE, data);
    }

    free(names);

    return code;
}


static int
queue_sqlite_names(queue_sqlite_t *s, char **names, size_t *n)
{
    int                   code;
    char                 *grown;
    size_t                room;
    sqlite3_stmt         *st;
    const unsigned char  *name;

    room = 0;

    code = queue_sqlite_row(s, &st, QS_QUEUE_LIST, "");

    for ( /* void */ ; code == FAAS_OK; code = queue_sqlite_next(s, st)) {

        if (*n == room) {
            room = room ? room * 2 : 64;
            grown = realloc(*names, room * QUEUE_NAME_SIZE);

            if (grown == NULL) {
                queue_sqlite_done(st);
                return FAAS_ERROR;
            }

            *names = grown;
        }

        name = sqlite3_column_text(st, 0);

        if (name == NULL) {
            queue_sqlite_done(st);
            return queue_sqlite_failed(s, SQLITE_NOMEM);
        }

        (void) sqlite3_snprintf(QUEUE_NAME_SIZE,
                                *names + *n * QUEUE_NAME_SIZE, "%s", name);
        (*n)++;
    }

    return code == FAAS_ENOTFOUND ? FAAS_OK : code;
}

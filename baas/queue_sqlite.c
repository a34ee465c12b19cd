
/*
 * The queue engine in a SQLite file: "sqlite" is queue/queue.db in
 * faas_state, "sqlite:PATH" another one, which nodes of one machine may
 * share.  queue_sqlite.h says how it works.
 */


#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "queue_sqlite.h"


#define QS_FILE  "/queue/queue.db"


static queue_t *queue_sqlite_open(const char *url, const char *state,
    const char *node, char *why, size_t size);
static void queue_sqlite_close(queue_t *q);
static int queue_sqlite_descriptor(queue_t *q);
static void queue_sqlite_readable(queue_t *q,
    void (*woken)(const char *queue, void *data), void *data);
static void queue_sqlite_tick(queue_t *q, int64_t now_ms,
    int64_t deadline_ms);


const queue_engine_t  queue_sqlite = {
    .name = "sqlite",

    .open = queue_sqlite_open,
    .close = queue_sqlite_close,
    .descriptor = queue_sqlite_descriptor,
    .readable = queue_sqlite_readable,
    .tick = queue_sqlite_tick,

    .send = queue_sqlite_send,
    .receive = queue_sqlite_receive,
    .settle = queue_sqlite_settle,
    .extend = queue_sqlite_extend,
    .stats = queue_sqlite_stats,
    .list = queue_sqlite_list,

    .dead = queue_sqlite_dead,
    .dead_get = queue_sqlite_dead_get,
    .dead_retry = queue_sqlite_dead_retry,
    .dead_purge = queue_sqlite_dead_purge,

    .timer_set = queue_sqlite_timer_set,
    .timer_get = queue_sqlite_timer_get,
    .timer_delete = queue_sqlite_timer_delete,
    .timer_list = queue_sqlite_timer_list,
    .timer_fire = queue_sqlite_timer_fire,

    .call_submit = queue_sqlite_call_submit,
    .call_get = queue_sqlite_call_get,
    .call_put = queue_sqlite_call_put,
};


static queue_t *
queue_sqlite_open(const char *url, const char *state, const char *node,
    char *why, size_t size)
{
    char            *path;
    queue_sqlite_t  *s;

    (void) node;    /* a fence says who holds what */

    s = NULL;
    path = NULL;

    if (strcmp(url, "sqlite") == 0) {
        if (asprintf(&path, "%s" QS_FILE, state) == -1) {
            path = NULL;
        }

    } else if (strncmp(url, "sqlite:/", 8) == 0 && url[8] != '\0') {
        path = strdup(url + 7);

    } else {
        (void) snprintf(why, size, "\"%s\" is neither \"sqlite\" nor"
                        " \"sqlite:/PATH\"", url);
        return NULL;
    }

    if (path != NULL) {
        s = calloc(1, sizeof(*s));
    }

    if (s == NULL) {
        (void) snprintf(why, size, "out of memory");
        free(path);
        return NULL;
    }

    if (path[0] != '/' || strlen(path) > QS_PATH_MAX) {
        (void) snprintf(why, size, "\"%.64s...\": no path, or too long",
                        path);
        free(path);
        free(s);
        return NULL;
    }

    s->queue.engine = &queue_sqlite;
    s->path = path;
    s->is_default = strcmp(url, "sqlite") == 0;
    s->lock = -1;

    return &s->queue;
}


/* no checkpoint: whoever is next finds the log */

static void
queue_sqlite_close(queue_t *q)
{
    queue_sqlite_t  *s = (queue_sqlite_t *) q;

    if (s != NULL) {
        queue_sqlite_close_file(s);
        queue_sqlite_unlock(s);
        free(s->path);
        free(s);
    }
}


/* SQLite tells nobody; what other nodes send is found by looking */

static int
queue_sqlite_descriptor(queue_t *q)
{
    (void) q;

    return -1;
}


static void
queue_sqlite_readable(queue_t *q,
    void (*woken)(const char *queue, void *data), void *data)
{
    (void) q;
    (void) woken;
    (void) data;
}


static void
queue_sqlite_tick(queue_t *q, int64_t now_ms, int64_t deadline_ms)
{
    queue_sqlite_keep((queue_sqlite_t *) q, now_ms, deadline_ms);
}

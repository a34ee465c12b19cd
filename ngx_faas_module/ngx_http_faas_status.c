
/*
 * faas_status: what the board says, as JSON.
 *
 * Read from the board alone, so it answers while every instance is busy or
 * the supervisor is dead.  Nothing on the board is locked: figures of one
 * answer may be from moments a little apart.  Every index that is read is
 * checked, every walk is bounded by a capacity, and text that changes in
 * place is copied before it is looked at.  Times are in the unit that a
 * member's name ends with.
 *
 * The answer is written into a chain of buffers of one size.
 */


#include "ngx_http_faas_module.h"
#include "ngx_http_faas_router.h"
#include "ngx_http_faas_variables.h"
#include "ngx_http_faas_json.h"


#define NGX_HTTP_FAAS_STATUS_BUFFER  16384


/* One answer.  From the request's pool. */

typedef struct {
    ngx_http_faas_json_t      json;
    ngx_pool_t               *pool;
    ngx_chain_t              *chain;
    ngx_chain_t             **last;
    ngx_buf_t                *buf;           /* being filled, or NULL */
    off_t                     size;

    faas_scoreboard_t        *board;
    uint32_t                  nfunctions;    /* to walk over */
    uint32_t                 *versions;      /* first version by function */
    uint32_t                 *next;          /* next one by version */
    uint32_t                  nversions;     /* in use */
    uint32_t                  nchunks;
} ngx_http_faas_status_t;


/* sums over the cells of one function */

typedef struct {
    uint64_t                  admitted;
    uint64_t                  waiting;
    uint64_t                  arrivals;
    uint64_t                  attempts;
    uint64_t                  finished;
    uint64_t                  service_us;
    uint64_t                  queue_us;
    uint64_t                  warm;
    uint64_t                  retries;
    uint64_t                  bytes_in;
    uint64_t                  bytes_out;
    uint64_t                  outcome[FAAS_OUTCOMES];
} ngx_http_faas_status_sum_t;


static ngx_int_t ngx_http_faas_status_send(ngx_http_request_t *r,
    ngx_http_faas_status_t *s);
static int ngx_http_faas_status_sink(void *data, const char *p, size_t n);
static ngx_int_t ngx_http_faas_status_versions(ngx_http_faas_status_t *s);
static void ngx_http_faas_status_host(ngx_http_faas_status_t *s);
static void ngx_http_faas_status_supervisor(ngx_http_faas_status_t *s);
static void ngx_http_faas_status_board(ngx_http_faas_status_t *s);
static void ngx_http_faas_status_region(ngx_http_faas_status_t *s,
    const char *name, uint64_t used, uint64_t capacity);
static void ngx_http_faas_status_workers(ngx_http_faas_status_t *s);
static void ngx_http_faas_status_function(ngx_http_faas_status_t *s,
    uint32_t function);
static void ngx_http_faas_status_version_list(ngx_http_faas_status_t *s,
    uint32_t function, uint32_t *instances);
static void ngx_http_faas_status_version(ngx_http_faas_status_t *s,
    uint32_t version, uint32_t *instances);
static void ngx_http_faas_status_count(ngx_http_faas_status_t *s,
    uint32_t version, uint32_t *instances);
static void ngx_http_faas_status_instances(ngx_http_faas_status_t *s,
    uint32_t *instances);
static void ngx_http_faas_status_limits(ngx_http_faas_status_t *s,
    faas_limits_t *limits);
static void ngx_http_faas_status_sum(ngx_http_faas_status_t *s,
    uint32_t function, ngx_http_faas_status_sum_t *sum);
static void ngx_http_faas_status_totals(ngx_http_faas_status_t *s,
    faas_function_t *f, ngx_http_faas_status_sum_t *sum);
static void ngx_http_faas_status_backoff(ngx_http_faas_status_t *s,
    faas_function_t *f);
static void ngx_http_faas_status_deaths(ngx_http_faas_status_t *s,
    faas_function_t *f);
static void ngx_http_faas_status_failure(ngx_http_faas_status_t *s,
    faas_function_t *f);
static void ngx_http_faas_status_routes(ngx_http_faas_status_t *s,
    const char *name, uint32_t generation);
static void ngx_http_faas_status_text(ngx_http_faas_status_t *s,
    const char *name, faas_text_t *text);


#define ngx_http_faas_status_get(field)                                       \
    atomic_load_explicit(&(field), memory_order_acquire)

#define ngx_http_faas_status_number(s, name, n)                               \
    ngx_http_faas_json_number(&(s)->json, name, (uint64_t) (n))


static const char  *ngx_http_faas_status_function_states[] = {
    [FAAS_FUNCTION_FREE] = "free",
    [FAAS_FUNCTION_LOADING] = "loading",
    [FAAS_FUNCTION_READY] = "ready",
    [FAAS_FUNCTION_FAILED] = "failed",
    [FAAS_FUNCTION_REMOVED] = "removed"
};


static const char  *ngx_http_faas_status_version_states[] = {
    [FAAS_VERSION_FREE] = "free",
    [FAAS_VERSION_LOADING] = "loading",
    [FAAS_VERSION_READY] = "ready",
    [FAAS_VERSION_DRAINING] = "draining",
    [FAAS_VERSION_FAILED] = "failed"
};


ngx_int_t
ngx_http_faas_status_handler(ngx_http_request_t *r)
{
    uint32_t                 i;
    ngx_int_t                rc;
    ngx_http_faas_status_t  *s;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    s = ngx_pcalloc(r->pool, sizeof(ngx_http_faas_status_t));
    if (s == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    s->pool = r->pool;
    s->last = &s->chain;
    s->json.sink = ngx_http_faas_status_sink;
    s->json.data = s;
    s->board = ngx_http_faas_host.board;

    if (s->board != NULL
        && ngx_http_faas_status_versions(s) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_faas_json_open(&s->json, NULL, '{');

    ngx_http_faas_status_host(s);

    ngx_http_faas_json_open(&s->json, "functions", '[');

    for (i = 0; i < s->nfunctions; i++) {
        ngx_http_faas_status_function(s, i);
    }

    ngx_http_faas_json_close(&s->json, ']');
    ngx_http_faas_json_close(&s->json, '}');

    if (s->json.failed) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_faas_status_send(r, s);
}


static ngx_int_t
ngx_http_faas_status_send(ngx_http_request_t *r, ngx_http_faas_status_t *s)
{
    ngx_int_t         rc;
    ngx_table_elt_t  *h;

    s->buf->last_in_chain = 1;
    s->buf->last_buf = (r == r->main) ? 1 : 0;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    h->hash = 1;
    ngx_str_set(&h->key, "Cache-Control");
    ngx_str_set(&h->value, "no-store");

#if (nginx_version >= 1023000)
    h->next = NULL;
#endif

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = s->size;

    ngx_str_set(&r->headers_out.content_type, "application/json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    return ngx_http_output_filter(r, s->chain);
}


static int
ngx_http_faas_status_sink(void *data, const char *p, size_t n)
{
    ngx_http_faas_status_t *s = data;

    size_t        room;
    ngx_chain_t  *cl;

    while (n != 0) {

        if (s->buf == NULL || s->buf->last == s->buf->end) {
            cl = ngx_alloc_chain_link(s->pool);
            if (cl == NULL) {
                return -1;
            }

            cl->buf = ngx_create_temp_buf(s->pool,
                                          NGX_HTTP_FAAS_STATUS_BUFFER);
            if (cl->buf == NULL) {
                return -1;
            }

            cl->next = NULL;

            *s->last = cl;
            s->last = &cl->next;
            s->buf = cl->buf;
        }

        room = ngx_min(n, (size_t) (s->buf->end - s->buf->last));

        s->buf->last = ngx_cpymem(s->buf->last, p, room);
        s->size += room;

        p += room;
        n -= room;
    }

    return 0;
}


/* lists of the versions of each function, in one walk over them all */

static ngx_int_t
ngx_http_faas_status_versions(ngx_http_faas_status_t *s)
{
    uint32_t         i, function;
    faas_version_t  *v;

    s->nfunctions = ngx_min(ngx_http_faas_status_get(s->board->functions_used),
                            s->board->functions);

    s->versions = ngx_palloc(s->pool, (s->nfunctions + 1) * sizeof(uint32_t));
    s->next = ngx_palloc(s->pool, s->board->versions * sizeof(uint32_t));

    if (s->versions == NULL || s->next == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < s->nfunctions; i++) {
        s->versions[i] = FAAS_INDEX_NONE;
    }

    for (i = s->board->versions; i-- > 0; /* void */) {
        v = faas_scoreboard_version(s->board, i);

        if (ngx_http_faas_status_get(v->state) == FAAS_VERSION_FREE) {
            continue;
        }

        s->nversions++;
        s->nchunks += ngx_min(ngx_http_faas_status_get(v->chunks),
                              FAAS_VERSION_CHUNKS);

        function = ngx_http_faas_status_get(v->function);

        if (function < s->nfunctions) {
            s->next[i] = s->versions[function];
            s->versions[function] = i;
        }
    }

    return NGX_OK;
}


static void
ngx_http_faas_status_host(ngx_http_faas_status_t *s)
{
    time_t                 now;
    uint64_t               started;
    ngx_http_faas_json_t  *j;

    j = &s->json;

    ngx_http_faas_json_text(j, "release", FAAS_RELEASE);

    if (s->board == NULL) {
        return;
    }

    now = ngx_time();
    started = ngx_http_faas_status_get(s->board->started_at);

    ngx_http_faas_json_string(j, "state",
                              (char *) ngx_http_faas_host.state.data,
                              ngx_http_faas_host.state.len);
    ngx_http_faas_status_number(s, "started_at", started);
    ngx_http_faas_status_number(s, "uptime",
                                (uint64_t) now > started
                                ? (uint64_t) now - started : 0);
    ngx_http_faas_json_flag(j, "draining",
                            ngx_http_faas_status_get(s->board->draining) != 0);
    ngx_http_faas_status_text(s, "last_error", &s->board->last_error);

    ngx_http_faas_status_supervisor(s);
    ngx_http_faas_status_board(s);
    ngx_http_faas_status_workers(s);
}


static void
ngx_http_faas_status_supervisor(ngx_http_faas_status_t *s)
{
    int                    alive;
    int32_t                pid;
    ngx_http_faas_json_t  *j;

    j = &s->json;
    pid = ngx_http_faas_status_get(s->board->supervisor_pid);

    /* of another user it may not be signalled, but then it is there */

    alive = pid > 0 && (kill(pid, 0) == 0 || ngx_errno != NGX_ESRCH);

    ngx_http_faas_json_open(j, "supervisor", '{');
    ngx_http_faas_status_number(s, "pid", pid > 0 ? pid : 0);
    ngx_http_faas_json_flag(j, "alive", alive);
    ngx_http_faas_status_number(s, "restarts",
                                ngx_http_faas_status_get(s->board->restarts));
    ngx_http_faas_json_string(j, "release", ngx_http_faas_host.release,
                        ngx_strnlen((u_char *) ngx_http_faas_host.release,
                                    sizeof(ngx_http_faas_host.release)));
    ngx_http_faas_json_close(j, '}');
}


static void
ngx_http_faas_status_board(ngx_http_faas_status_t *s)
{
    uint32_t              i, used;
    uint64_t              epoch, size;
    faas_function_t      *f;
    faas_scoreboard_t    *board;
    faas_route_buffer_t  *routes;

    board = s->board;
    used = 0;

    for (i = 0; i < s->nfunctions; i++) {
        f = faas_scoreboard_function(board, i);
        used += (ngx_http_faas_status_get(f->state) != FAAS_FUNCTION_FREE);
    }

    epoch = ngx_http_faas_status_get(board->route_epoch);
    routes = faas_scoreboard_routes(board, epoch);
    size = board->route_size - sizeof(faas_route_buffer_t);

    ngx_http_faas_json_open(&s->json, "board", '{');

    ngx_http_faas_status_number(s, "layout", board->layout);
    ngx_http_faas_status_number(s, "size_bytes", board->size);
    ngx_http_faas_status_region(s, "functions", used, board->functions);
    ngx_http_faas_status_region(s, "versions", s->nversions, board->versions);
    ngx_http_faas_status_region(s, "chunks", s->nchunks, board->chunks);
    ngx_http_faas_status_region(s, "route_bytes",
                                ngx_min(ngx_http_faas_status_get(
                                                     routes->length), size),
                                size);
    ngx_http_faas_status_number(s, "route_epoch", epoch);

    ngx_http_faas_json_close(&s->json, '}');
}


static void
ngx_http_faas_status_region(ngx_http_faas_status_t *s, const char *name,
    uint64_t used, uint64_t capacity)
{
    ngx_http_faas_json_open(&s->json, name, '{');
    ngx_http_faas_status_number(s, "used", used);
    ngx_http_faas_status_number(s, "capacity", capacity);
    ngx_http_faas_json_close(&s->json, '}');
}


static void
ngx_http_faas_status_workers(ngx_http_faas_status_t *s)
{
    int32_t         pid;
    uint32_t        i, n;
    faas_worker_t  *w;

    n = ngx_min(ngx_http_faas_status_get(s->board->workers_used),
                FAAS_WORKERS);

    ngx_http_faas_json_open(&s->json, "workers", '[');

    for (i = 0; i < n; i++) {
        w = faas_scoreboard_worker(s->board, i);
        pid = ngx_http_faas_status_get(w->pid);

        if (pid <= 0) {
            continue;
        }

        ngx_http_faas_json_open(&s->json, NULL, '{');
        ngx_http_faas_status_number(s, "record", i);
        ngx_http_faas_status_number(s, "pid", pid);
        ngx_http_faas_json_close(&s->json, '}');
    }

    ngx_http_faas_json_close(&s->json, ']');
}


static void
ngx_http_faas_status_function(ngx_http_faas_status_t *s, uint32_t function)
{
    char                         name[FAAS_NAME_SIZE];
    char                         id[FAAS_VERSION_SIZE];
    int                          template;
    uint32_t                     state, generation, current;
    uint32_t                     instances[FAAS_SLOT_STATES];
    faas_limits_t                limits;
    faas_version_t              *v;
    faas_function_t             *f;
    ngx_http_faas_json_t        *j;
    ngx_http_faas_status_sum_t   sum;

    j = &s->json;
    f = faas_scoreboard_function(s->board, function);

    generation = ngx_http_faas_status_get(f->generation);
    state = ngx_http_faas_status_get(f->state);

    ngx_memcpy(name, f->name, FAAS_NAME_SIZE);

    atomic_thread_fence(memory_order_acquire);

    /* an entry that is changing hands is not there yet */

    if (state == FAAS_FUNCTION_FREE
        || state > FAAS_FUNCTION_REMOVED
        || generation != ngx_http_faas_status_get(f->generation))
    {
        return;
    }

    name[FAAS_NAME_SIZE - 1] = '\0';

    id[0] = '\0';
    template = 0;
    current = ngx_http_faas_status_get(f->current);

    if (current < s->board->versions) {
        v = faas_scoreboard_version(s->board, current);

        ngx_memcpy(id, v->id, FAAS_VERSION_SIZE);
        id[FAAS_VERSION_SIZE - 1] = '\0';

        template = (ngx_http_faas_status_get(v->template_pid) != 0);
    }

    faas_limits_read(f, &limits);
    ngx_http_faas_status_sum(s, function, &sum);
    ngx_memzero(instances, sizeof(instances));

    ngx_http_faas_json_open(j, NULL, '{');

    ngx_http_faas_json_text(j, "name", name);
    ngx_http_faas_json_flag(j, "platform", name[0] == '_');
    ngx_http_faas_json_text(j, "state",
                            ngx_http_faas_status_function_states[state]);
    ngx_http_faas_json_text(j, "version", id);
    ngx_http_faas_json_text(j, "mode", ngx_http_faas_mode_name(limits.mode));
    ngx_http_faas_json_flag(j, "template", template);

    ngx_http_faas_status_version_list(s, function, instances);
    ngx_http_faas_status_instances(s, instances);

    ngx_http_faas_json_open(j, "queue", '{');
    ngx_http_faas_status_number(s, "waiting", sum.waiting);
    ngx_http_faas_status_number(s, "admitted", sum.admitted);
    ngx_http_faas_json_close(j, '}');

    ngx_http_faas_status_limits(s, &limits);
    ngx_http_faas_status_totals(s, f, &sum);
    ngx_http_faas_status_backoff(s, f);
    ngx_http_faas_status_deaths(s, f);
    ngx_http_faas_status_failure(s, f);
    ngx_http_faas_status_text(s, "last_error", &f->last_error);
    ngx_http_faas_status_routes(s, name, generation);

    ngx_http_faas_json_close(j, '}');
}


/* writes the list, and adds what it finds to instances[] by slot state */

static void
ngx_http_faas_status_version_list(ngx_http_faas_status_t *s,
    uint32_t function, uint32_t *instances)
{
    uint32_t  i;

    ngx_http_faas_json_open(&s->json, "versions", '[');

    for (i = s->versions[function]; i != FAAS_INDEX_NONE; i = s->next[i]) {
        ngx_http_faas_status_version(s, i, instances);
    }

    ngx_http_faas_json_close(&s->json, ']');
}


static void
ngx_http_faas_status_version(ngx_http_faas_status_t *s, uint32_t version,
    uint32_t *instances)
{
    char                   id[FAAS_VERSION_SIZE], label[FAAS_NAME_SIZE];
    uint32_t               state, i, own[FAAS_SLOT_STATES];
    faas_version_t        *v;
    ngx_http_faas_json_t  *j;

    j = &s->json;
    v = faas_scoreboard_version(s->board, version);
    state = ngx_http_faas_status_get(v->state);

    if (state == FAAS_VERSION_FREE || state > FAAS_VERSION_FAILED) {
        return;
    }

    ngx_memcpy(id, v->id, FAAS_VERSION_SIZE);
    id[FAAS_VERSION_SIZE - 1] = '\0';

    ngx_memcpy(label, v->label, FAAS_NAME_SIZE);
    label[FAAS_NAME_SIZE - 1] = '\0';

    ngx_memzero(own, sizeof(own));
    ngx_http_faas_status_count(s, version, own);

    for (i = 0; i < FAAS_SLOT_STATES; i++) {
        instances[i] += own[i];
    }

    ngx_http_faas_json_open(j, NULL, '{');

    ngx_http_faas_json_text(j, "id", id);
    ngx_http_faas_json_text(j, "label", label);
    ngx_http_faas_json_text(j, "state",
                            ngx_http_faas_status_version_states[state]);
    ngx_http_faas_status_number(s, "deployed_at",
                                ngx_http_faas_status_get(v->deployed_at));
    ngx_http_faas_json_flag(j, "template",
                            ngx_http_faas_status_get(v->template_pid) != 0);
    ngx_http_faas_status_instances(s, own);

    ngx_http_faas_json_close(j, '}');
}


static void
ngx_http_faas_status_count(ngx_http_faas_status_t *s, uint32_t version,
    uint32_t *instances)
{
    uint32_t         i, k, n, index, state;
    faas_chunk_t    *chunk;
    faas_version_t  *v;

    v = faas_scoreboard_version(s->board, version);
    n = ngx_min(ngx_http_faas_status_get(v->chunks), FAAS_VERSION_CHUNKS);

    for (i = 0; i < n; i++) {
        index = ngx_http_faas_status_get(v->chunk[i]);

        if (index >= s->board->chunks) {
            continue;
        }

        chunk = faas_scoreboard_chunk(s->board, index);

        if (faas_chunk_version(chunk) != version) {
            continue;
        }

        for (k = 0; k < FAAS_CHUNK_SLOTS; k++) {
            state = faas_slot_state(
                               ngx_http_faas_status_get(chunk->slot[k].word));

            if (state < FAAS_SLOT_STATES) {
                instances[state]++;
            }
        }
    }
}


static void
ngx_http_faas_status_instances(ngx_http_faas_status_t *s, uint32_t *instances)
{
    uint32_t  i;

    ngx_http_faas_json_open(&s->json, "instances", '{');

    for (i = 0; i < FAAS_SLOT_STATES; i++) {
        if (i != FAAS_SLOT_FREE) {
            ngx_http_faas_status_number(s, faas_slot_state_name(i),
                                        instances[i]);
        }
    }

    ngx_http_faas_json_close(&s->json, '}');
}


static void
ngx_http_faas_status_limits(ngx_http_faas_status_t *s, faas_limits_t *limits)
{
    ngx_http_faas_json_t  *j;

    j = &s->json;

    ngx_http_faas_json_open(j, "limits", '{');

    ngx_http_faas_status_number(s, "min", limits->min);
    ngx_http_faas_status_number(s, "max", limits->max);
    ngx_http_faas_status_number(s, "spare", limits->spare);
    ngx_http_faas_status_number(s, "queue", limits->queue);
    ngx_http_faas_status_number(s, "queue_timeout_ms",
                                limits->queue_timeout_ms);
    ngx_http_faas_status_number(s, "timeout_ms", limits->timeout_ms);
    ngx_http_faas_status_number(s, "init_timeout_ms", limits->init_timeout_ms);
    ngx_http_faas_status_number(s, "idle_timeout_ms", limits->idle_timeout_ms);
    ngx_http_faas_status_number(s, "template_timeout_ms",
                                limits->template_timeout_ms);
    ngx_http_faas_status_number(s, "max_requests", limits->max_requests);
    ngx_http_faas_status_number(s, "memory_bytes", limits->memory_bytes);
    ngx_http_faas_json_flag(j, "idempotent", limits->idempotent != 0);
    ngx_http_faas_json_flag(j, "accel", limits->accel != 0);

    ngx_http_faas_json_close(j, '}');
}


static void
ngx_http_faas_status_sum(ngx_http_faas_status_t *s, uint32_t function,
    ngx_http_faas_status_sum_t *sum)
{
    uint32_t      i, k, n;
    faas_cell_t  *cell;

    ngx_memzero(sum, sizeof(ngx_http_faas_status_sum_t));

    n = ngx_min(ngx_http_faas_status_get(s->board->workers_used),
                FAAS_WORKERS);

#define ngx_http_faas_status_add(field)                                       \
    sum->field += atomic_load_explicit(&cell->field, memory_order_relaxed)

    for (i = 0; i < n; i++) {
        cell = faas_scoreboard_cell(s->board, function, i);

        ngx_http_faas_status_add(admitted);
        ngx_http_faas_status_add(waiting);
        ngx_http_faas_status_add(arrivals);
        ngx_http_faas_status_add(attempts);
        ngx_http_faas_status_add(finished);
        ngx_http_faas_status_add(service_us);
        ngx_http_faas_status_add(queue_us);
        ngx_http_faas_status_add(warm);
        ngx_http_faas_status_add(retries);
        ngx_http_faas_status_add(bytes_in);
        ngx_http_faas_status_add(bytes_out);

        for (k = 0; k < FAAS_OUTCOMES; k++) {
            ngx_http_faas_status_add(outcome[k]);
        }
    }

#undef ngx_http_faas_status_add
}


static void
ngx_http_faas_status_totals(ngx_http_faas_status_t *s, faas_function_t *f,
    ngx_http_faas_status_sum_t *sum)
{
    uint32_t               i;
    ngx_http_faas_json_t  *j;

    j = &s->json;

    ngx_http_faas_json_open(j, "totals", '{');

    ngx_http_faas_status_number(s, "arrivals", sum->arrivals);
    ngx_http_faas_status_number(s, "attempts", sum->attempts);
    ngx_http_faas_status_number(s, "finished", sum->finished);
    ngx_http_faas_status_number(s, "warm", sum->warm);
    ngx_http_faas_status_number(s, "retries", sum->retries);
    ngx_http_faas_status_number(s, "bytes_in", sum->bytes_in);
    ngx_http_faas_status_number(s, "bytes_out", sum->bytes_out);
    ngx_http_faas_status_number(s, "service_us", sum->service_us);
    ngx_http_faas_status_number(s, "queue_us", sum->queue_us);

    ngx_http_faas_status_number(s, "starts",
                                ngx_http_faas_status_get(f->starts));
    ngx_http_faas_status_number(s, "cold_starts",
                                ngx_http_faas_status_get(f->cold_starts));
    ngx_http_faas_status_number(s, "deaths",
                                ngx_http_faas_status_get(f->deaths));
    ngx_http_faas_status_number(s, "kills",
                                ngx_http_faas_status_get(f->kills));
    ngx_http_faas_status_number(s, "deploys",
                                ngx_http_faas_status_get(f->deploys));

    ngx_http_faas_json_open(j, "outcomes", '{');

    for (i = 0; i < FAAS_OUTCOMES; i++) {
        ngx_http_faas_status_number(s, ngx_http_faas_outcome_name(i),
                                    sum->outcome[i]);
    }

    ngx_http_faas_json_close(j, '}');
    ngx_http_faas_json_close(j, '}');

    /* over all there was; and what the supervisor reckons with */

    ngx_http_faas_json_open(j, "means", '{');

    ngx_http_faas_status_number(s, "service_us", sum->finished
                                ? sum->service_us / sum->finished : 0);
    ngx_http_faas_status_number(s, "queue_us", sum->attempts
                                ? sum->queue_us / sum->attempts : 0);
    ngx_http_faas_status_number(s, "recent_service_us",
                                ngx_http_faas_status_get(f->service_us));
    ngx_http_faas_status_number(s, "recent_start_us",
                                ngx_http_faas_status_get(f->start_us));

    ngx_http_faas_json_close(j, '}');
}


static void
ngx_http_faas_status_backoff(ngx_http_faas_status_t *s, faas_function_t *f)
{
    int       held;
    uint64_t  now, until;

    held = (ngx_http_faas_status_get(f->backoff) != 0);
    until = ngx_http_faas_status_get(f->backoff_until_ms);
    now = ngx_http_faas_now_us() / 1000;

    ngx_http_faas_json_open(&s->json, "backoff", '{');
    ngx_http_faas_json_flag(&s->json, "held", held);
    ngx_http_faas_status_number(s, "left_ms",
                                (held && until > now) ? until - now : 0);
    ngx_http_faas_status_number(s, "deaths_in_a_row",
                                ngx_http_faas_status_get(f->backoff_row));
    ngx_http_faas_json_close(&s->json, '}');
}


/* how many of what kind, and the last ones, newest first */

static void
ngx_http_faas_status_deaths(ngx_http_faas_status_t *s, faas_function_t *f)
{
    uint32_t               i, slot;
    faas_death_t           d;
    faas_tally_t          *t;
    ngx_http_faas_json_t  *j;

    j = &s->json;
    t = &f->tally;

    ngx_http_faas_json_open(j, "deaths", '{');
    ngx_http_faas_status_number(s, "total",
                                ngx_http_faas_status_get(t->total));

    ngx_http_faas_json_open(j, "kinds", '{');

    for (i = 0; i < FAAS_DEATHS; i++) {
        ngx_http_faas_status_number(s, faas_death_name(i),
                                    ngx_http_faas_status_get(t->count[i]));
    }

    ngx_http_faas_json_close(j, '}');
    ngx_http_faas_json_open(j, "last", '[');

    for (i = 0; faas_tally_read(t, i, &d) == FAAS_OK; i++) {
        slot = ngx_http_faas_status_get(d.slot);

        ngx_http_faas_json_open(j, NULL, '{');
        ngx_http_faas_status_number(s, "at", ngx_http_faas_status_get(d.at));
        ngx_http_faas_json_text(j, "kind",
                                faas_death_name(
                                         ngx_http_faas_status_get(d.kind)));
        ngx_http_faas_status_number(s, "code",
                                    ngx_http_faas_status_get(d.code));
        ngx_http_faas_json_text(j, "version", d.version);

        if (slot != FAAS_INDEX_NONE) {
            ngx_http_faas_status_number(s, "slot", slot);
        }

        ngx_http_faas_json_close(j, '}');
    }

    ngx_http_faas_json_close(j, ']');
    ngx_http_faas_json_close(j, '}');
}


/* a start that failed, until a good deploy or faasctl ack */

static void
ngx_http_faas_status_failure(ngx_http_faas_status_t *s, faas_function_t *f)
{
    ngx_http_faas_json_open(&s->json, "failure", '{');
    ngx_http_faas_status_number(s, "at",
                                ngx_http_faas_status_get(f->failed_at));
    ngx_http_faas_status_text(s, "text", &f->failure);
    ngx_http_faas_json_close(&s->json, '}');
}


/* as this worker routes them now */

static void
ngx_http_faas_status_routes(ngx_http_faas_status_t *s, const char *name,
    uint32_t generation)
{
    char                             methods[64];
    uint32_t                         i;
    ngx_http_faas_json_t            *j;
    ngx_http_faas_route_t           *route;
    ngx_http_faas_route_index_t     *index;
    ngx_http_faas_route_public_t    *public;
    ngx_http_faas_route_function_t  *function;

    j = &s->json;

    ngx_http_faas_json_open(j, "routes", '[');

    index = ngx_http_faas_router_index();

    function = (index != NULL)
               ? ngx_http_faas_route_index_name(index, name, ngx_strlen(name))
               : NULL;

    if (function != NULL && function->generation == generation) {

        public = ngx_http_faas_route_index_public(index);

        for (i = function->first; i != FAAS_INDEX_NONE; i = route->next) {
            route = &public->routes[i];

            ngx_http_faas_json_open(j, NULL, '{');

            if (route->methods == FAAS_METHOD_ANY) {
                ngx_http_faas_json_text(j, "methods", "any");

            } else {
                (void) faas_route_methods_text(route->methods, methods);
                ngx_http_faas_json_text(j, "methods", methods);
            }

            ngx_http_faas_json_string(j, "pattern", route->pattern,
                                      route->length);
            ngx_http_faas_json_close(j, '}');
        }
    }

    ngx_http_faas_json_close(j, ']');
}


static void
ngx_http_faas_status_text(ngx_http_faas_status_t *s, const char *name,
    faas_text_t *text)
{
    size_t  n;
    char    copy[FAAS_TEXT_SIZE];

    n = faas_text_read(text, copy);

    ngx_http_faas_json_string(&s->json, name, copy, n);
}

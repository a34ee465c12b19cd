
/*
 * Connections that this nginx worker keeps to slots: at most one for each,
 * valid for one generation of the slot, that is one instance.  They are the
 * worker's memory of where it was last, so they are also what it tries first
 * when it needs a slot: an instance that it used last is warm in its cache.
 *
 * A kept connection is reusable in nginx's sense: when connections run short,
 * or the worker quits, nginx closes it.
 */


#include "ngx_http_faas_module.h"


/* One kept connection; while unused, on the free list. */

typedef struct {
    ngx_queue_t               queue;       /* in kept[version] or free */
    ngx_connection_t         *connection;
    uint32_t                  slot;
    uint32_t                  version;
    uint64_t                  generation;
} ngx_http_faas_kept_t;


static ngx_uint_t ngx_http_faas_connection_is_quiet(ngx_connection_t *c);
static void ngx_http_faas_connection_close(ngx_http_faas_kept_t *k);
static void ngx_http_faas_connection_read_handler(ngx_event_t *rev);
static void ngx_http_faas_connection_dummy_handler(ngx_event_t *wev);


static ngx_pool_t                *ngx_http_faas_connection_pool;
static ngx_queue_t               *ngx_http_faas_kept;      /* by version */
static ngx_http_faas_kept_t     **ngx_http_faas_by_slot;
static ngx_http_faas_address_t  **ngx_http_faas_addresses; /* by slot */
static ngx_queue_t                ngx_http_faas_kept_free;


ngx_int_t
ngx_http_faas_connection_init_worker(ngx_cycle_t *cycle)
{
    uint32_t    i, slots;
    ngx_log_t  *log;

    slots = ngx_http_faas_host.board->chunks * FAAS_CHUNK_SLOTS;
    log = cycle->log;

    /*
     * Not from the pool, which would touch every page: these tables are
     * sparse, and the kernel gives zeroed pages where they are used.
     */

    if (ngx_http_faas_by_slot == NULL) {
        ngx_http_faas_by_slot = calloc(slots, sizeof(void *));
    }

    if (ngx_http_faas_addresses == NULL) {
        ngx_http_faas_addresses = calloc(slots, sizeof(void *));
    }

    if (ngx_http_faas_kept == NULL) {
        ngx_http_faas_kept = ngx_palloc(cycle->pool,
                                        ngx_http_faas_host.board->versions
                                        * sizeof(ngx_queue_t));
    }

    if (ngx_http_faas_by_slot == NULL || ngx_http_faas_addresses == NULL
        || ngx_http_faas_kept == NULL)
    {
        ngx_log_error(NGX_LOG_ERR, log, ngx_errno,
                      "faas: no memory for tables of slots");
        return NGX_ERROR;
    }

    for (i = 0; i < ngx_http_faas_host.board->versions; i++) {
        ngx_queue_init(&ngx_http_faas_kept[i]);
    }

    ngx_queue_init(&ngx_http_faas_kept_free);
    ngx_http_faas_connection_pool = cycle->pool;

    return NGX_OK;
}


ngx_http_faas_address_t *
ngx_http_faas_connection_address(uint32_t slot)
{
    u_char                   *p;
    size_t                    len;
    ngx_http_faas_address_t  *a;

    a = ngx_http_faas_addresses[slot];

    if (a != NULL) {
        return a;
    }

    len = sizeof("unix:") - 1 + ngx_http_faas_host.state.len
          + sizeof("/slots/") - 1 + NGX_INT_T_LEN + sizeof(".sock");

    if (len - sizeof("unix:") >= sizeof(a->sockaddr.sun_path)) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "faas: path of slot %uD in \"%V\" is too long",
                      slot, &ngx_http_faas_host.state);
        return NULL;
    }

    a = ngx_pcalloc(ngx_http_faas_connection_pool, sizeof(*a) + len);
    if (a == NULL) {
        return NULL;
    }

    a->name.data = (u_char *) a + sizeof(*a);
    p = ngx_sprintf(a->name.data, "unix:%V/slots/%uD.sock%Z",
                    &ngx_http_faas_host.state, slot);
    a->name.len = p - a->name.data - 1;

    a->sockaddr.sun_family = AF_UNIX;
    a->socklen = sizeof(struct sockaddr_un);
    ngx_memcpy(a->sockaddr.sun_path, a->name.data + sizeof("unix:") - 1,
               a->name.len - (sizeof("unix:") - 1) + 1);

    ngx_http_faas_addresses[slot] = a;

    return a;
}


ngx_connection_t *
ngx_http_faas_connection_take(uint32_t slot, uint64_t generation,
    ngx_log_t *log)
{
    ngx_connection_t      *c;
    ngx_http_faas_kept_t  *k;

    k = ngx_http_faas_by_slot[slot];

    if (k == NULL) {
        return NULL;
    }

    c = k->connection;

    /* an event that tells of bytes may still be in the kernel, so we look */

    if (k->generation != generation || !ngx_http_faas_connection_is_quiet(c)) {
        ngx_http_faas_connection_close(k);
        return NULL;
    }

    ngx_queue_remove(&k->queue);
    ngx_queue_insert_head(&ngx_http_faas_kept_free, &k->queue);
    ngx_http_faas_by_slot[slot] = NULL;

    ngx_reusable_connection(c, 0);

    c->idle = 0;
    c->sent = 0;
    c->data = NULL;
    c->log = log;
    c->read->log = log;
    c->write->log = log;
    c->pool->log = log;

    return c;
}


ngx_int_t
ngx_http_faas_connection_keep(uint32_t slot, uint64_t generation,
    uint32_t version, ngx_connection_t *c)
{
    ngx_queue_t           *q;
    ngx_http_faas_kept_t  *k;

    if (ngx_terminate || ngx_exiting || c->pool == NULL) {
        return NGX_DECLINED;
    }

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        return NGX_DECLINED;
    }

    if (ngx_http_faas_by_slot[slot] != NULL) {
        ngx_http_faas_connection_close(ngx_http_faas_by_slot[slot]);
    }

    if (ngx_queue_empty(&ngx_http_faas_kept_free)) {
        k = ngx_pcalloc(ngx_http_faas_connection_pool, sizeof(*k));
        if (k == NULL) {
            return NGX_DECLINED;
        }

    } else {
        q = ngx_queue_head(&ngx_http_faas_kept_free);
        ngx_queue_remove(q);
        k = ngx_queue_data(q, ngx_http_faas_kept_t, queue);
    }

    k->connection = c;
    k->slot = slot;
    k->version = version;
    k->generation = generation;

    ngx_http_faas_by_slot[slot] = k;
    ngx_queue_insert_head(&ngx_http_faas_kept[version], &k->queue);

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    c->read->delayed = 0;
    c->read->handler = ngx_http_faas_connection_read_handler;
    c->write->handler = ngx_http_faas_connection_dummy_handler;

    c->data = k;
    c->idle = 1;
    c->log = ngx_cycle->log;
    c->read->log = ngx_cycle->log;
    c->write->log = ngx_cycle->log;
    c->pool->log = ngx_cycle->log;

    ngx_reusable_connection(c, 1);

    /* the instance may have ended right behind its answer */

    if (c->read->ready) {
        ngx_post_event(c->read, &ngx_posted_events);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_faas_connection_acquire(uint32_t version, uint32_t *slot,
    uint64_t *word)
{
    uint64_t               w;
    ngx_queue_t           *q, *next, *kept;
    ngx_http_faas_kept_t  *k;

    kept = &ngx_http_faas_kept[version];

    for (q = ngx_queue_head(kept); q != ngx_queue_sentinel(kept); q = next) {
        next = ngx_queue_next(q);
        k = ngx_queue_data(q, ngx_http_faas_kept_t, queue);

        w = atomic_load(&faas_scoreboard_slot(ngx_http_faas_host.board,
                                              k->slot)->word);

        if (faas_slot_generation(w) != k->generation) {
            ngx_http_faas_connection_close(k);
            continue;
        }

        if (faas_slot_state(w) != FAAS_SLOT_IDLE) {
            continue;
        }

        if (faas_slot_change(ngx_http_faas_host.board, k->slot, w,
                             FAAS_SLOT_BUSY, ngx_http_faas_host.worker)
            == FAAS_OK)
        {
            *slot = k->slot;
            *word = faas_slot_word(FAAS_SLOT_BUSY, ngx_http_faas_host.worker,
                                   k->generation);
            return NGX_OK;
        }
    }

    return NGX_BUSY;
}


/* neither bytes that nobody asked for, nor its end, nor an error */

static ngx_uint_t
ngx_http_faas_connection_is_quiet(ngx_connection_t *c)
{
    char  buf[1];

    return recv(c->fd, buf, 1, MSG_PEEK) == -1
           && ngx_socket_errno == NGX_EAGAIN;
}


static void
ngx_http_faas_connection_close(ngx_http_faas_kept_t *k)
{
    ngx_connection_t  *c;

    c = k->connection;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "faas: close kept connection %d of slot %uD",
                   c->fd, k->slot);

    ngx_queue_remove(&k->queue);
    ngx_queue_insert_head(&ngx_http_faas_kept_free, &k->queue);
    ngx_http_faas_by_slot[k->slot] = NULL;

    ngx_destroy_pool(c->pool);
    ngx_close_connection(c);
}


static void
ngx_http_faas_connection_read_handler(ngx_event_t *rev)
{
    ngx_connection_t  *c;

    c = rev->data;

    if (!c->close && !rev->timedout && ngx_http_faas_connection_is_quiet(c)) {
        rev->ready = 0;

        if (ngx_handle_read_event(rev, 0) == NGX_OK) {
            return;
        }
    }

    ngx_http_faas_connection_close(c->data);
}


static void
ngx_http_faas_connection_dummy_handler(ngx_event_t *wev)
{
    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, wev->log, 0,
                   "faas: kept connection, write event");
}


#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "baas_inner.h"
#include "faas_event.h"
#include "kv_redis.h"
#include "process_mark.h"


#define BAAS_LINE  512


static kv_t *baas_space(baas_t *b, const char *name, int *code);
static baas_space_t *baas_space_open(baas_t *b, const char *name, int *code);
static int baas_space_fill(baas_t *b, baas_space_t *space,
    const baas_share_t *share);
static void baas_database_end(const baas_t *b, baas_database_t *d);
static baas_database_t *baas_database(baas_t *b, const char *name, int *code);
static baas_database_t *baas_database_add(baas_t *b, const char *name,
    int *code);
static int baas_database_open(baas_t *b, baas_database_t *d);
static redis_t *baas_redis_server(baas_t *b, const char *url, int *code);
static const char *baas_redis_url(const baas_t *b);
static const char *baas_own_name(const baas_t *b, const char *name);


baas_t *
baas_create(const char *conf, size_t n, char *why, size_t size)
{
    baas_t  *b;

    b = calloc(1, sizeof(baas_t));
    if (b == NULL) {
        (void) snprintf(why, size, "out of memory");
        return NULL;
    }

    if (baas_conf_parse(&b->conf, conf, n, why, size) != FAAS_OK) {
        free(b);
        return NULL;
    }

    b->mark = process_mark();

    return b;
}


/* spaces before what holds them */

void
baas_destroy(baas_t *b)
{
    baas_space_t     *space;
    baas_database_t  *d;

    if (b == NULL || b->mark != process_mark()) {
        return;
    }

    while ((space = b->spaces) != NULL) {
        b->spaces = space->next;

        if (space->holder == NULL) {
            kv_redis_destroy(space->kv);
        }

        free(space);
    }

    while ((d = b->databases) != NULL) {
        b->databases = d->next;
        database_close(d->database);
        free(d);
    }

    redis_destroy(b->redis);
    client_destroy(b->client);
    call_destroy(b->call);
    baas_conf_free(&b->conf);
    free(b);
}


void
baas_begin(baas_t *b, const baas_scope_t *scope)
{
    if (b->mark == process_mark()) {
        b->scope = scope;
    }
}


void
baas_end(baas_t *b)
{
    baas_database_t  *d;

    if (b->mark != process_mark() || b->scope == NULL) {
        return;
    }

    if (b->once) {
        baas_once_abort(b);
    }

    for (d = b->databases; d; d = d->next) {

        if (d->begun) {
            d->begun = 0;
            baas_database_end(b, d);
        }
    }

    if (b->redis_used) {
        b->redis_used = 0;
        redis_context_end(b->redis);
    }

    b->scope = NULL;
}


static void
baas_database_end(const baas_t *b, baas_database_t *d)
{
    sqlite3  *db;

    db = database_handle(d->database);

    if (db && !sqlite3_get_autocommit(db)) {
        baas_log(b, "faas: database \"%s\": a transaction was left open, it is "
                 "rolled back", *d->name ? d->name : b->conf.function);
    }

    database_end(d->database);
}


int
baas_check(const baas_t *b)
{
    if (b->mark != process_mark()) {
        return FAAS_EUNSUPPORTED;
    }

    return b->scope ? FAAS_OK : FAAS_EINVAL;
}


/* -- key-value ------------------------------------------------------------- */

int
baas_kv_get(baas_t *b, const char *space, faas_bytes_t key,
    faas_kv_entry_t *entry)
{
    int    code;
    kv_t  *kv;

    if (entry == NULL) {
        return FAAS_EINVAL;
    }

    kv = baas_space(b, space, &code);

    return kv ? kv_get(kv, b->scope, key, entry) : code;
}


int
baas_kv_set(baas_t *b, const char *space, faas_bytes_t key,
    faas_bytes_t value, int64_t ttl_ms, uint64_t *version)
{
    int    code;
    kv_t  *kv;

    kv = baas_space(b, space, &code);

    return kv ? kv_set(kv, b->scope, key, value, ttl_ms, KV_ANY, version)
              : code;
}


int
baas_kv_cas(baas_t *b, const char *space, faas_bytes_t key,
    faas_bytes_t value, int64_t ttl_ms, uint64_t expected, uint64_t *version)
{
    int    code;
    kv_t  *kv;

    kv = baas_space(b, space, &code);

    /* what means "any" inside is no version of anything out there */

    if (expected == KV_ANY) {
        expected = KV_ANY - 1;
    }

    return kv ? kv_set(kv, b->scope, key, value, ttl_ms, expected, version)
              : code;
}


int
baas_kv_delete(baas_t *b, const char *space, faas_bytes_t key)
{
    int    code;
    kv_t  *kv;

    kv = baas_space(b, space, &code);

    return kv ? kv_remove(kv, b->scope, key) : code;
}


int
baas_kv_incr(baas_t *b, const char *space, faas_bytes_t key, int64_t by,
    int64_t *sum)
{
    int    code;
    kv_t  *kv;

    kv = baas_space(b, space, &code);

    return kv ? kv_incr(kv, b->scope, key, by, sum) : code;
}


int
baas_kv_expire(baas_t *b, const char *space, faas_bytes_t key,
    int64_t ttl_ms)
{
    int    code;
    kv_t  *kv;

    kv = baas_space(b, space, &code);

    return kv ? kv_expire(kv, b->scope, key, ttl_ms) : code;
}


int
baas_kv_scan(baas_t *b, const char *space, faas_bytes_t prefix,
    faas_bytes_t after, uint32_t limit,
    int (*each)(const faas_kv_entry_t *entry, void *data), void *data)
{
    int    code;
    kv_t  *kv;

    if (each == NULL) {
        return FAAS_EINVAL;
    }

    kv = baas_space(b, space, &code);

    return kv ? kv_scan(kv, b->scope, prefix, after, limit, each, data)
              : code;
}


/* the space of that name, begun for this request; NULL with *code */

static kv_t *
baas_space(baas_t *b, const char *name, int *code)
{
    baas_space_t  *space;

    *code = baas_check(b);
    if (*code != FAAS_OK) {
        return NULL;
    }

    name = baas_own_name(b, name);

    if (name == NULL) {
        *code = FAAS_EINVAL;
        return NULL;
    }

    for (space = b->spaces; space; space = space->next) {

        if (strcmp(space->name, name) == 0) {
            break;
        }
    }

    if (space == NULL) {
        space = baas_space_open(b, name, code);

        if (space == NULL) {
            return NULL;
        }
    }

    /* in one transaction with the function's own database is only its own */

    if (b->once && (space->holder == NULL || *name)) {
        *code = FAAS_EUNSUPPORTED;
        return NULL;
    }

    if (space->holder == NULL) {
        return space->kv;
    }

    if (!space->holder->begun && baas_database(b, name, code) == NULL) {
        return NULL;
    }

    return database_kv(space->holder->database);
}


static baas_space_t *
baas_space_open(baas_t *b, const char *name, int *code)
{
    baas_space_t        *space;
    const baas_share_t  *share;

    share = NULL;

    if (*name) {
        share = baas_conf_share(&b->conf, name);

        if (share == NULL) {
            *code = FAAS_EDENIED;
            return NULL;
        }
    }

    space = calloc(1, sizeof(baas_space_t) + strlen(name) + 1);
    if (space == NULL) {
        *code = FAAS_EFULL;
        return NULL;
    }

    (void) strcpy(space->name, name);

    *code = baas_space_fill(b, space, share);

    if (*code != FAAS_OK) {
        free(space);
        return NULL;
    }

    space->next = b->spaces;
    b->spaces = space;

    return space;
}


static int
baas_space_fill(baas_t *b, baas_space_t *space, const baas_share_t *share)
{
    int       code;
    char      name[NAME_MAX];
    redis_t  *redis;

    if (!redis_url_is(b->conf.kv)) {
        space->holder = baas_database(b, space->name, &code);

        return space->holder ? FAAS_OK : code;
    }

    redis = baas_redis_server(b, b->conf.kv, &code);

    if (redis == NULL) {
        return code;
    }

    (void) snprintf(name, sizeof(name), "%s%s", share ? "@" : "",
                    share ? share->name : b->conf.function);

    space->kv = kv_redis_create(redis, name);

    if (space->kv == NULL) {
        return FAAS_EFULL;
    }

    space->kv->readonly = share && !share->write;

    return FAAS_OK;
}


/* -- SQL ------------------------------------------------------------------- */

struct sqlite3 *
baas_db(baas_t *b, const char *name, int *code)
{
    int               ignored;
    baas_database_t  *d;

    if (code == NULL) {
        code = &ignored;
    }

    *code = baas_check(b);
    if (*code != FAAS_OK) {
        return NULL;
    }

    name = baas_own_name(b, name);

    if (name == NULL) {
        *code = FAAS_EINVAL;
        return NULL;
    }

    if (b->once && *name) {
        *code = FAAS_EUNSUPPORTED;
        return NULL;
    }

    d = baas_database(b, name, code);

    return d ? database_handle(d->database) : NULL;
}


struct sqlite3_stmt *
baas_db_prepare(baas_t *b, struct sqlite3 *db, const char *sql)
{
    baas_database_t  *d;

    if (baas_check(b) != FAAS_OK || db == NULL || sql == NULL) {
        return NULL;
    }

    for (d = b->databases; d; d = d->next) {

        if (d->begun && database_is(d->database, db)) {
            return database_prepare(d->database, sql);
        }
    }

    return NULL;
}


database_t *
baas_own(baas_t *b, int *code)
{
    baas_database_t  *d;

    d = baas_database(b, "", code);

    return d ? d->database : NULL;
}


/* opened and begun; name "" is the function's own */

static baas_database_t *
baas_database(baas_t *b, const char *name, int *code)
{
    baas_database_t  *d;

    for (d = b->databases; d; d = d->next) {

        if (strcmp(d->name, name) == 0) {
            break;
        }
    }

    if (d == NULL) {
        d = baas_database_add(b, name, code);

        if (d == NULL) {
            return NULL;
        }
    }

    if (!d->begun) {

        /* a file that was removed, or has another in its place (a backup),
           would take writes that nobody ever sees */

        if (d->database && database_is_moved(d->database)) {
            baas_log(b, "faas: database \"%s\": its file is another one, it "
                     "is opened again", *name ? name : b->conf.function);
            database_close(d->database);
            d->database = NULL;
        }

        if (d->database == NULL) {
            *code = baas_database_open(b, d);

            if (*code != FAAS_OK) {
                return NULL;
            }
        }

        d->begun = 1;
        database_begin(d->database, b->scope);
    }

    *code = FAAS_OK;

    return d;
}


static baas_database_t *
baas_database_add(baas_t *b, const char *name, int *code)
{
    baas_database_t  *d;

    d = calloc(1, sizeof(baas_database_t) + strlen(name) + 1);
    if (d == NULL) {
        *code = FAAS_EFULL;
        return NULL;
    }

    (void) strcpy(d->name, name);

    *code = baas_database_open(b, d);

    if (*code != FAAS_OK) {
        free(d);
        return NULL;
    }

    d->next = b->databases;
    b->databases = d;

    return d;
}


static int
baas_database_open(baas_t *b, baas_database_t *d)
{
    int                  code;
    char                 why[BAAS_LINE];
    unsigned             flags;
    const char          *directory, *file;
    const baas_share_t  *share;

    file = *d->name ? d->name : b->conf.function;
    share = *d->name ? baas_conf_share(&b->conf, d->name) : NULL;
    directory = share ? share->path : b->conf.data;

    flags = share && !share->write ? DATABASE_READONLY : DATABASE_CREATE;
    flags |= share ? DATABASE_SHARED : 0;
    flags |= b->conf.normal ? DATABASE_NORMAL : 0;

    why[0] = '\0';
    d->database = database_open(directory, file, flags,
                                b->scope->deadline_ms, &code, why,
                                sizeof(why));

    if (d->database == NULL) {
        baas_log(b, "faas: database \"%s\": %s", file, why);
        return code;
    }

    return FAAS_OK;
}


/* -- Redis ----------------------------------------------------------------- */

struct redisContext *
baas_redis(baas_t *b, int *code)
{
    int            ignored, n;
    char           key[NAME_MAX];
    redis_t       *redis;
    const char    *url;
    redisContext  *context;

    if (code == NULL) {
        code = &ignored;
    }

    *code = baas_check(b);
    if (*code != FAAS_OK) {
        return NULL;
    }

    url = baas_redis_url(b);

    if (url == NULL || b->once) {
        *code = FAAS_EUNSUPPORTED;
        return NULL;
    }

    redis = baas_redis_server(b, url, code);

    if (redis == NULL) {
        return NULL;
    }

    /* in a cluster, the node where the function's own keys are */

    n = snprintf(key, sizeof(key), "{%s}", b->conf.function);

    b->redis_used = 1;
    context = redis_context(redis, (faas_bytes_t) { key, (size_t) n },
                            b->scope->deadline_ms, code);

    if (context == NULL && *redis_why(redis)) {
        baas_log(b, "faas: %s", redis_why(redis));
    }

    return context;
}


/* there is one at most: that of key-value, or of queues */

static redis_t *
baas_redis_server(baas_t *b, const char *url, int *code)
{
    char  why[BAAS_LINE];

    if (b->redis == NULL) {
        b->redis = redis_create(url, why, sizeof(why));

        if (b->redis == NULL) {
            baas_log(b, "faas: %s", why);
            *code = FAAS_EINVAL;
            return NULL;
        }
    }

    return b->redis;
}


static const char *
baas_redis_url(const baas_t *b)
{
    if (redis_url_is(b->conf.kv)) {
        return b->conf.kv;
    }

    return redis_url_is(b->conf.queue) ? b->conf.queue : NULL;
}


/* -- functions ------------------------------------------------------------- */

int
baas_call(baas_t *b, const char *function, const faas_call_t *call,
    faas_answer_t *answer)
{
    int   rc;
    char  path[PATH_MAX];

    rc = baas_check(b);

    if (rc != FAAS_OK) {
        return rc;
    }

    if (answer == NULL) {
        return FAAS_EINVAL;
    }

    if (b->call == NULL) {

        if (baas_state_path(b, "internal.sock", path, sizeof(path))
            != FAAS_OK)
        {
            return FAAS_EUNAVAILABLE;
        }

        b->call = call_create(path, b->conf.function, b->conf.token);

        if (b->call == NULL) {
            return FAAS_EFULL;
        }
    }

    return call_make(b->call, b->scope, function, call, answer);
}


/* -- what the parts share -------------------------------------------------- */

void
baas_log(const baas_t *b, const char *format, ...)
{
    char     line[BAAS_LINE];
    va_list  ap;

    va_start(ap, format);
    (void) vsnprintf(line, sizeof(line), format, ap);
    va_end(ap);

    b->scope->log(b->scope->data, line);
}


/* "" for the function's own, which may be called by its name too; NULL for
   what is no name */

static const char *
baas_own_name(const baas_t *b, const char *name)
{
    if (name == NULL || strcmp(name, b->conf.function) == 0) {
        return "";
    }

    return baas_is_name(name) ? name : NULL;
}


int
baas_is_name(const char *name)
{
    return name && faas_name_is_valid(name, strlen(name));
}


int
baas_state_path(const baas_t *b, const char *name, char *buf, size_t size)
{
    int  n;

    n = snprintf(buf, size, "%s/%s", b->conf.state, name);

    return n > 0 && (size_t) n < size ? FAAS_OK : FAAS_ERROR;
}


int64_t
baas_now_ms(void)
{
    struct timespec  now;

    (void) clock_gettime(CLOCK_MONOTONIC, &now);

    return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

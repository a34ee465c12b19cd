
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "process_mark.h"
#include "redis_inner.h"


/* memory of a batch that is kept for the next */
#define REDIS_KEEP  (256 * 1024)


static char *redis_reserve(redis_t *r, size_t n);
static redis_command_t *redis_command_add(redis_t *r, faas_bytes_t name);
static redis_role_e redis_role(faas_bytes_t name);
static char *redis_head(char *p, char type, size_t n);


redis_t *
redis_create(const char *url, char *why, size_t size)
{
    redis_t          *r;
    redis_address_t   unknown;

    r = calloc(1, sizeof(redis_t));
    if (r == NULL) {
        (void) snprintf(why, size, "out of memory");
        return NULL;
    }

    r->mark = process_mark();

    if (redis_url_parse(&r->url, url, why, size) != FAAS_OK) {
        free(r);
        return NULL;
    }

    memset(&unknown, 0, sizeof(redis_address_t));

    if (r->url.kind != REDIS_CLUSTER
        && redis_node(r, r->url.kind == REDIS_SENTINEL ? &unknown
                                                       : &r->url.address[0])
           == NULL)
    {
        (void) snprintf(why, size, "out of memory");
        redis_destroy(r);
        return NULL;
    }

    return r;
}


void
redis_destroy(redis_t *r)
{
    size_t  i;

    if (r == NULL || !redis_is_ours(r)) {
        return;
    }

    r->context_used = 1;
    redis_context_drop(r);
    redis_forget_answers(r);

    for (i = 0; i < r->count; i++) {
        redis_node_free(r->nodes[i]);
    }

    redis_resolve_cleanup(&r->resolver);
    redis_trust_destroy(r->trust);

    free(r->nodes);
    free(r->slots);
    free(r->out);
    free(r->commands);
    explicit_bzero(&r->url, sizeof(redis_url_t));
    free(r);
}


const redis_url_t *
redis_options(const redis_t *r)
{
    return &r->url;
}


const char *
redis_why(const redis_t *r)
{
    return r->why;
}


int64_t
redis_now_ms(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


int
redis_is_ours(const redis_t *r)
{
    return r->mark == process_mark();
}


int64_t
redis_deadline(const redis_t *r, int64_t deadline_ms)
{
    int64_t  latest;

    if (r->url.timeout_ms == 0) {
        return deadline_ms;
    }

    latest = redis_now_ms() + r->url.timeout_ms;

    return deadline_ms < latest ? deadline_ms : latest;
}


void
redis_say(redis_t *r, const char *format, ...)
{
    va_list  ap;

    va_start(ap, format);
    (void) vsnprintf(r->why, sizeof(r->why), format, ap);
    va_end(ap);
}


void
redis_say_error(redis_t *r, const redis_node_t *node, const redisReply *reply)
{
    char    address[REDIS_URL_HOST + 16];
    size_t  i;

    for (i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {
        if (reply->element[i]->type == REDIS_REPLY_ERROR) {
            reply = reply->element[i];
            break;
        }
    }

    if (reply->type != REDIS_REPLY_ERROR) {
        return;
    }

    redis_say(r, "redis %s: %s",
              redis_address_text(&node->address, address, sizeof(address)),
              reply->str);
}


/* -- batches --------------------------------------------------------------- */

void
redis_batch(redis_t *r)
{
    if (!redis_is_ours(r)) {
        return;
    }

    redis_forget_answers(r);

    if (r->out_room > REDIS_KEEP) {
        free(r->out);
        r->out = NULL;
        r->out_room = 0;
    }

    r->out_size = 0;
    r->commands_count = 0;
    r->inside = 0;
    r->failed = 0;
}


void
redis_forget_answers(redis_t *r)
{
    redis_release(r->answers, r->answers_count);

    r->answers = NULL;
    r->answers_count = 0;
}


void
redis_release(redisReply **answers, size_t n)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        if (answers[i] != NULL) {
            freeReplyObject(answers[i]);
        }
    }

    free(answers);
}


redisReply **
redis_take(redis_t *r, size_t *n)
{
    redisReply  **answers;

    answers = r->answers;
    *n = r->answers_count;

    r->answers = NULL;
    r->answers_count = 0;

    return answers;
}


/* the form of a request: "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n" */
void
redis_command(redis_t *r, const faas_bytes_t *argv, size_t argc)
{
    char    *p;
    size_t   i, n;

    if (r->failed || !redis_is_ours(r)) {
        return;
    }

    n = REDIS_NUMBER + 3;

    for (i = 0; i < argc; i++) {
        n += argv[i].size + REDIS_NUMBER + 5;
    }

    p = redis_reserve(r, n);

    if (p == NULL || redis_command_add(r, argv[0]) == NULL) {
        r->failed = 1;
        return;
    }

    p = redis_head(p, '*', argc);

    for (i = 0; i < argc; i++) {
        p = redis_head(p, '$', argv[i].size);

        if (argv[i].size > 0) {
            memcpy(p, argv[i].data, argv[i].size);
            p += argv[i].size;
        }

        *p++ = '\r';
        *p++ = '\n';
    }

    r->out_size = (size_t) (p - r->out) - REDIS_HEADROOM;
}


/* room for n bytes more, behind what there is */
static char *
redis_reserve(redis_t *r, size_t n)
{
    char    *p;
    size_t   need, room;

    need = REDIS_HEADROOM + r->out_size + n;

    if (need > r->out_room) {
        room = r->out_room ? r->out_room : 1024;

        while (room < need) {
            room *= 2;
        }

        p = realloc(r->out, room);
        if (p == NULL) {
            return NULL;
        }

        r->out = p;
        r->out_room = room;
    }

    return r->out + REDIS_HEADROOM + r->out_size;
}


static redis_command_t *
redis_command_add(redis_t *r, faas_bytes_t name)
{
    size_t            room;
    redis_command_t  *c;

    if (r->commands_count == r->commands_room) {
        room = r->commands_room ? r->commands_room * 2 : 16;

        c = reallocarray(r->commands, room, sizeof(redis_command_t));
        if (c == NULL) {
            return NULL;
        }

        r->commands = c;
        r->commands_room = room;
    }

    c = &r->commands[r->commands_count++];
    c->offset = r->out_size;
    c->role = redis_role(name);
    c->inside = r->inside;

    if (c->role == REDIS_EXECUTE) {
        r->inside = 0;

    } else if (c->role == REDIS_CONTROL) {
        r->inside = name.size == 5 && strncasecmp(name.data, "MULTI", 5) == 0;
    }

    return c;
}


static redis_role_e
redis_role(faas_bytes_t name)
{
    size_t  i;

    static const struct {
        const char    *name;
        redis_role_e   role;
    } roles[] = {
        { "EXEC", REDIS_EXECUTE },
        { "MULTI", REDIS_CONTROL },
        { "WATCH", REDIS_CONTROL },
        { "UNWATCH", REDIS_CONTROL },
        { "DISCARD", REDIS_CONTROL }
    };

    for (i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
        if (name.size == strlen(roles[i].name)
            && strncasecmp(name.data, roles[i].name, name.size) == 0)
        {
            return roles[i].role;
        }
    }

    return REDIS_PLAIN;
}


/* "*12\r\n" */
static char *
redis_head(char *p, char type, size_t n)
{
    faas_bytes_t  number;

    *p++ = type;
    number = redis_number(p, (int64_t) n);
    memmove(p, number.data, number.size);
    p += number.size;
    *p++ = '\r';
    *p++ = '\n';

    return p;
}


faas_bytes_t
redis_number(char buf[REDIS_NUMBER], int64_t n)
{
    size_t        i;
    uint64_t      u;
    faas_bytes_t  number;

    i = REDIS_NUMBER;
    u = n < 0 ? 0 - (uint64_t) n : (uint64_t) n;

    do {
        buf[--i] = (char) ('0' + u % 10);
        u /= 10;
    } while (u > 0);

    if (n < 0) {
        buf[--i] = '-';
    }

    number.data = &buf[i];
    number.size = REDIS_NUMBER - i;

    return number;
}


/* -- answers --------------------------------------------------------------- */

const redisReply *
redis_answer(const redis_t *r, size_t i)
{
    return i < r->answers_count ? r->answers[i] : NULL;
}


int
redis_result_of(redis_t *r, size_t first, size_t n)
{
    int     rc;
    size_t  i;

    for (i = first; i < first + n; i++) {

        rc = i < r->answers_count && r->commands[i].role == REDIS_EXECUTE
             ? redis_exec_code(r->answers[i])
             : redis_code(redis_answer(r, i));

        if (rc != FAAS_OK) {
            return rc;
        }
    }

    return FAAS_OK;
}


int
redis_result(redis_t *r)
{
    return redis_result_of(r, 0, r->commands_count);
}


int
redis_do(redis_t *r, faas_bytes_t key, unsigned flags, int64_t deadline_ms,
    const faas_bytes_t *argv, size_t argc)
{
    int  rc;

    redis_batch(r);
    redis_command(r, argv, argc);

    rc = redis_run(r, key, flags, deadline_ms);

    return rc == FAAS_OK ? redis_result(r) : rc;
}

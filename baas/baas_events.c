
/*
 * What a function has sent or deferred.  It goes to the events process, which
 * answers when it is durable; within exactly_once it goes to the outbox of the
 * function's own database, and from there to the events process after the
 * commit.  Either way it has its id from the beginning, so that to say it
 * twice is to say it once.
 */


#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "baas_inner.h"


#define BAAS_DELAY_MAX_MS  (366ll * 24 * 3600 * 1000)


static int baas_say(baas_t *b, uint32_t operation, const char *to,
    const void *data, size_t size, const faas_send_t *options,
    int64_t delay_ms, char *id);
static int baas_message_id(const char *given, char *id);
static int baas_deliver(baas_t *b, uint32_t operation, faas_bytes_t payload,
    faas_bytes_t *answer);


int
baas_queue_send(baas_t *b, const char *queue, const void *data, size_t size,
    const faas_send_t *options, char *id)
{
    return baas_say(b, WIRE_SEND, queue, data, size, options,
                    options ? options->delay_ms : 0, id);
}


int
baas_defer(baas_t *b, int64_t delay_ms, const char *function,
    const void *data, size_t size, const faas_send_t *options, char *id)
{
    return baas_say(b, WIRE_DEFER, function, data, size, options, delay_ms,
                    id);
}


static int
baas_say(baas_t *b, uint32_t operation, const char *to, const void *data,
    size_t size, const faas_send_t *options, int64_t delay_ms, char *id)
{
    int              rc;
    char             space[FAAS_MESSAGE_ID_SIZE];
    database_t      *d;
    faas_bytes_t     payload;
    wire_writer_t    w;
    struct timespec  now;

    rc = baas_check(b);

    if (rc != FAAS_OK) {
        return rc;
    }

    if (!baas_is_name(to) || delay_ms < 0 || delay_ms > BAAS_DELAY_MAX_MS
        || (size && data == NULL))
    {
        return FAAS_EINVAL;
    }

    if (size > FAAS_MESSAGE_MAX) {
        return FAAS_ETOOLARGE;
    }

    if (id == NULL) {
        id = space;
    }

    /* the caller has it also when the answer is lost */

    rc = baas_message_id(options ? options->id : NULL, id);

    if (rc != FAAS_OK) {
        return rc;
    }

    (void) clock_gettime(CLOCK_REALTIME, &now);

    memset(&w, 0, sizeof(wire_writer_t));

    wire_put_text(&w, to);
    wire_put_text(&w, id);
    wire_put(&w, data, size);
    wire_put_number(&w, delay_ms);
    wire_put_number(&w, (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000);

    payload.data = w.data;
    payload.size = w.size;

    if (w.failed) {
        rc = FAAS_EFULL;

    } else if (b->once) {
        d = baas_own(b, &rc);

        if (d) {
            rc = database_outbox_put(d, operation, payload);
        }

        b->outbox |= rc == FAAS_OK;

    } else {
        rc = baas_deliver(b, operation, payload, NULL);
    }

    wire_free(&w);

    return rc;
}


/* a new one rises with time, so that what is indexed by it is together */

static int
baas_message_id(const char *given, char *id)
{
    size_t           n;
    uint64_t         chance[2];
    struct timespec  now;

    static const char  allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   "abcdefghijklmnopqrstuvwxyz0123456789._:-";

    if (given) {
        n = strspn(given, allowed);

        if (n == 0 || given[n] != '\0' || n >= FAAS_MESSAGE_ID_SIZE) {
            return FAAS_EINVAL;
        }

        memcpy(id, given, n + 1);

        return FAAS_OK;
    }

    if (getrandom(chance, sizeof(chance), 0) != sizeof(chance)) {
        return FAAS_EUNAVAILABLE;
    }

    (void) clock_gettime(CLOCK_REALTIME, &now);

    (void) snprintf(id, FAAS_MESSAGE_ID_SIZE, "%012llx%016llx%04x",
                    ((unsigned long long) now.tv_sec * 1000
                     + (unsigned long long) now.tv_nsec / 1000000)
                    & 0xffffffffffff,
                    (unsigned long long) chance[0],
                    (unsigned) (chance[1] & 0xffff));

    return FAAS_OK;
}


int
baas_wire(baas_t *b, uint32_t operation, faas_bytes_t payload,
    faas_bytes_t *answer)
{
    int  rc;

    rc = baas_check(b);

    if (rc != FAAS_OK) {
        return rc;
    }

    if (operation <= WIRE_HELLO || operation >= WIRE_OPERATIONS
        || (payload.size && payload.data == NULL))
    {
        return FAAS_EINVAL;
    }

    return b->once ? FAAS_EUNSUPPORTED
                   : baas_deliver(b, operation, payload, answer);
}


static int
baas_deliver(baas_t *b, uint32_t operation, faas_bytes_t payload,
    faas_bytes_t *answer)
{
    int                 code;
    client_t           *c;
    client_question_t   q;

    c = baas_client(b, &code);

    if (c == NULL) {
        return code;
    }

    q.operation = operation;
    q.payload = payload;

    client_ask(c, &q, 1, b->scope);

    if (answer) {
        *answer = q.answer;
    }

    return q.code;
}


client_t *
baas_client(baas_t *b, int *code)
{
    char  path[PATH_MAX];

    if (b->client) {
        return b->client;
    }

    if (baas_state_path(b, "baas.sock", path, sizeof(path)) != FAAS_OK) {
        *code = FAAS_EUNAVAILABLE;
        return NULL;
    }

    b->client = client_create(path, b->conf.function, b->conf.token);
    *code = b->client ? FAAS_OK : FAAS_EFULL;

    return b->client;
}


/*
 * What calls a function besides its clients, and the messages of a queue.
 * The headers are the events process's (events.h): nginx lets nobody else set
 * them.  They are looked at when a function asks for its event.
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faas_event.h"
#include "sdk.h"


#define SDK_EVENT_BATCH  "application/vnd.faas.batch"

#define SDK_EVENT_DELAY_MAX_MS  (366ll * 24 * 3600 * 1000)

/* "99;31622400000, " */
#define SDK_EVENT_FATE   24


/* what the function said of one message */

typedef enum {
    SDK_EVENT_UNSAID = 0,
    SDK_EVENT_DONE,
    SDK_EVENT_RETRY
} sdk_event_said_e;

typedef struct {
    faas_message_t            message;
    sdk_event_said_e          said;
    int64_t                   delay_ms;
} sdk_event_message_t;


/* In the request's memory, made when it is first asked for. */

struct sdk_event_s {
    faas_event_t              event;       /* type 0: an ordinary request */
    sdk_event_message_t      *message;     /* event.messages of them */
    unsigned                  batch:1;     /* the body is a sequence */
    unsigned                  read:1;      /* the messages were read */
    unsigned                  bad:1;       /* they could not be */
    unsigned                  said:1;      /* something was, of one */
};


static sdk_event_t *sdk_event(faas_request_t *r);
static void sdk_event_decode(faas_request_t *r, sdk_event_t *e);
static const char *sdk_event_text(faas_request_t *r, const char *name);
static uint64_t sdk_event_number(faas_request_t *r, const char *name);
static int sdk_event_read(faas_request_t *r, sdk_event_t *e);
static int sdk_event_read_batch(faas_request_t *r, sdk_event_t *e, char *p,
    char *end);
static int sdk_event_read_one(faas_request_t *r, faas_message_t *m, char **p,
    char *end);
static int sdk_event_field(char **p, const char *end, char stop,
    uint64_t *number);
static int sdk_event_say(faas_request_t *r, uint32_t i, sdk_event_said_e said,
    int64_t delay_ms);
static int sdk_event_list(faas_request_t *r, const char *header,
    sdk_event_said_e said);


static const char *const  sdk_event_types[] = {
    [FAAS_EVENT_QUEUE] = "queue",
    [FAAS_EVENT_TIMER] = "timer",
    [FAAS_EVENT_DEFER] = "defer",
    [FAAS_EVENT_ASYNC] = "async"
};

_Static_assert(sizeof(sdk_event_types) / sizeof(sdk_event_types[0])
               == FAAS_EVENT_ASYNC + 1, "a name for each type");


const faas_event_t *
faas_event(faas_request_t *r)
{
    sdk_event_t  *e;

    e = r ? sdk_event(r) : NULL;

    return e && e->event.type ? &e->event : NULL;
}


static sdk_event_t *
sdk_event(faas_request_t *r)
{
    sdk_event_t  *e;

    if (r->event) {
        return r->event;
    }

    e = faas_alloc(r, sizeof(sdk_event_t));
    if (e == NULL) {
        return NULL;
    }

    sdk_event_decode(r, e);

    if (e->event.messages) {
        e->message = faas_alloc(r, e->event.messages
                                   * sizeof(sdk_event_message_t));
        if (e->message == NULL) {
            return NULL;
        }
    }

    r->event = e;

    return e;
}


static void
sdk_event_decode(faas_request_t *r, sdk_event_t *e)
{
    size_t        type;
    uint64_t      n;
    const char   *text;
    faas_event_t *event;

    event = &e->event;
    text = sdk_event_text(r, "HTTP_FAAS_EVENT");

    for (type = FAAS_EVENT_ASYNC; type > 0; type--) {

        if (strcmp(text, sdk_event_types[type]) == 0) {
            break;
        }
    }

    event->type = (faas_event_e) type;
    event->name = sdk_event_text(r, "HTTP_FAAS_NAME");
    event->id = sdk_event_text(r, "HTTP_FAAS_ID");
    event->attempt = (uint32_t) sdk_event_number(r, "HTTP_FAAS_ATTEMPT");
    event->due_ms = (int64_t) sdk_event_number(r, "HTTP_FAAS_DUE");
    event->fence = sdk_event_number(r, "HTTP_FAAS_FENCE");

    if (type != FAAS_EVENT_QUEUE) {
        return;
    }

    text = faas_header(r, "Content-Type");
    e->batch = text && strcmp(text, SDK_EVENT_BATCH) == 0;

    n = e->batch ? sdk_event_number(r, "HTTP_FAAS_MESSAGES") : 1;

    event->messages = n <= FAAS_BATCH_MAX ? (uint32_t) n : 0;
}


static const char *
sdk_event_text(faas_request_t *r, const char *name)
{
    const char  *text;

    text = request_variable(r, name);

    return text ? text : "";
}


/* decimal; 0 for what is none */

static uint64_t
sdk_event_number(faas_request_t *r, const char *name)
{
    char        *p;
    uint64_t     number;
    const char  *text;

    text = sdk_event_text(r, name);
    p = (char *) text;

    if (sdk_event_field(&p, text + strlen(text), '\0', &number) != FAAS_OK) {
        return 0;
    }

    return number;
}


const faas_message_t *
faas_message(faas_request_t *r, uint32_t i)
{
    sdk_event_t  *e;

    e = r ? sdk_event(r) : NULL;

    if (e == NULL || i >= e->event.messages) {
        return NULL;
    }

    if (!e->read && sdk_event_read(r, e) != FAAS_OK) {
        e->bad = 1;
        faas_log(r, "faas: the messages cannot be read");
    }

    e->read = 1;

    return e->bad ? NULL : &e->message[i].message;
}


static int
sdk_event_read(faas_request_t *r, sdk_event_t *e)
{
    char            *body;
    size_t           n;
    faas_message_t  *m;

    body = (char *) faas_body(r, 0, &n);

    if (body == NULL) {
        return FAAS_ERROR;
    }

    if (e->batch) {
        return sdk_event_read_batch(r, e, body, body + n);
    }

    m = &e->message[0].message;

    m->id = e->event.id;
    m->data = body;
    m->size = n;
    m->attempt = e->event.attempt;
    m->sent_ms = (int64_t) sdk_event_number(r, "HTTP_FAAS_SENT");

    return FAAS_OK;
}


static int
sdk_event_read_batch(faas_request_t *r, sdk_event_t *e, char *p, char *end)
{
    uint32_t  i;

    for (i = 0; i < e->event.messages; i++) {

        if (sdk_event_read_one(r, &e->message[i].message, &p, end)
            != FAAS_OK)
        {
            return FAAS_ERROR;
        }
    }

    return p == end ? FAAS_OK : FAAS_ERROR;
}


/*
 * "ID ATTEMPT SENT_MS SIZE\n", SIZE bytes, "\n".  The last makes place for
 * the zero behind the data, which thus stay where they are.
 */

static int
sdk_event_read_one(faas_request_t *r, faas_message_t *m, char **p, char *end)
{
    char      *id;
    uint64_t   attempt, sent_ms, size;

    id = *p;
    *p = memchr(id, ' ', (size_t) (end - id));

    if (*p == NULL || *p == id || *p - id >= FAAS_MESSAGE_ID_SIZE) {
        return FAAS_ERROR;
    }

    m->id = arena_copy(&r->arena, id, (size_t) (*p - id));
    (*p)++;

    if (m->id == NULL
        || sdk_event_field(p, end, ' ', &attempt) != FAAS_OK
        || sdk_event_field(p, end, ' ', &sent_ms) != FAAS_OK
        || sdk_event_field(p, end, '\n', &size) != FAAS_OK
        || attempt > UINT32_MAX || sent_ms > INT64_MAX
        || size >= (size_t) (end - *p) || (*p)[size] != '\n')
    {
        return FAAS_ERROR;
    }

    m->data = *p;
    m->size = (size_t) size;
    m->attempt = (uint32_t) attempt;
    m->sent_ms = (int64_t) sent_ms;

    (*p)[size] = '\0';
    *p += size + 1;

    return FAAS_OK;
}


/* a decimal number, up to `stop`, which is taken too ('\0': up to the end) */

static int
sdk_event_field(char **p, const char *end, char stop, uint64_t *number)
{
    char      *digit;
    uint64_t   n;

    n = 0;

    for (digit = *p; digit < end && *digit >= '0' && *digit <= '9'; digit++) {

        if (n > (UINT64_MAX - (uint64_t) (*digit - '0')) / 10) {
            return FAAS_ERROR;
        }

        n = n * 10 + (uint64_t) (*digit - '0');
    }

    if (digit == *p || (stop ? digit == end || *digit != stop : digit != end))
    {
        return FAAS_ERROR;
    }

    *p = digit + (stop != '\0');
    *number = n;

    return FAAS_OK;
}


int
faas_message_done(faas_request_t *r, uint32_t i)
{
    return sdk_event_say(r, i, SDK_EVENT_DONE, 0);
}


int
faas_message_retry(faas_request_t *r, uint32_t i, int64_t delay_ms)
{
    if (delay_ms < -1 || delay_ms > SDK_EVENT_DELAY_MAX_MS) {
        return FAAS_EINVAL;
    }

    return sdk_event_say(r, i, SDK_EVENT_RETRY, delay_ms);
}


static int
sdk_event_say(faas_request_t *r, uint32_t i, sdk_event_said_e said,
    int64_t delay_ms)
{
    sdk_event_t  *e;

    e = r ? sdk_event(r) : NULL;

    if (e == NULL || i >= e->event.messages) {
        return FAAS_EINVAL;
    }

    /* it is told in a header */

    if (r->response.sent) {
        return FAAS_ERROR;
    }

    e->message[i].said = said;
    e->message[i].delay_ms = delay_ms;
    e->said = 1;

    return FAAS_OK;
}


/* which of the two lists counts depends on the status, which is not ours */

int
sdk_event_answer(faas_request_t *r)
{
    if (!r->event->said || r->response.sent) {
        return FAAS_OK;
    }

    if (sdk_event_list(r, "Faas-Done", SDK_EVENT_DONE) != FAAS_OK) {
        return FAAS_ERROR;
    }

    return sdk_event_list(r, "Faas-Retry", SDK_EVENT_RETRY);
}


int
sdk_event_is_done(faas_request_t *r, int status)
{
    sdk_event_t  *e;

    e = r->event;

    if (e == NULL || e->event.messages == 0) {
        return 1;
    }

    return e->message[0].said == SDK_EVENT_UNSAID
           ? status < 300 : e->message[0].said == SDK_EVENT_DONE;
}


void
sdk_event_undo(faas_request_t *r)
{
    uint32_t      i;
    sdk_event_t  *e;

    e = r->event;

    for (i = 0; e && i < e->event.messages; i++) {

        if (e->message[i].said == SDK_EVENT_DONE) {
            e->message[i].said = SDK_EVENT_UNSAID;
        }
    }
}


static int
sdk_event_list(faas_request_t *r, const char *header, sdk_event_said_e said)
{
    char         *text, *p;
    uint32_t      i;
    sdk_event_t  *e;

    e = r->event;

    text = arena_alloc(&r->arena, e->event.messages * SDK_EVENT_FATE + 1);
    if (text == NULL) {
        return FAAS_ERROR;
    }

    p = text;

    for (i = 0; i < e->event.messages; i++) {

        if (e->message[i].said != said) {
            continue;
        }

        p += sprintf(p, "%s%u", p > text ? ", " : "", i);

        if (said == SDK_EVENT_RETRY && e->message[i].delay_ms >= 0) {
            p += sprintf(p, ";%lld", (long long) e->message[i].delay_ms);
        }
    }

    return p > text ? faas_header_set(r, header, text) : FAAS_OK;
}


/*
 * Works: messages under a lease, the call that is made of them, and their
 * verdicts.
 *
 *   called ---> settling ---> gone
 *
 * called: by us, or for events_calls_run().  settling: there is a verdict for
 * each.  gone: the engine has them.
 *
 * While it is called, the lease is extended before it is over.  Verdicts are
 * given to the engine at the end of the turn, those of many works at once;
 * while the engine is not there they stay.  A lease that somebody else has got
 * meanwhile makes a verdict void: he will call again, which is what at least
 * once means.
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "events_settle.h"
#include "events_work.h"
#include "log.h"


#define WORK_SETTLEMENTS   256    /* in one commit */
#define WORK_AGAIN_MS      500    /* while the engine is not there */
#define WORK_TRIES         120
#define WORK_ANSWER_LIMIT  256    /* bytes of an answer, for a dead letter */
#define WORK_TIMER_SIZE    160

#define WORK_BATCH  "Content-Type: application/vnd.faas.batch\n"
#define WORK_BYTES  "Content-Type: application/octet-stream\n"


struct events_work_s {
    events_binding_t         *binding;
    events_take_t            *take;
    queue_message_t          *messages;    /* of the take */
    size_t                    n;

    events_delivery_t        *delivery;    /* while it is called */
    char                     *body;        /* of a batch */
    loop_timer_t              lease;

    queue_settlement_t       *settlements; /* while it is settled: n */
    unsigned                  tries;
    char                      reason[QUEUE_REASON_SIZE];
    char                      timer[WORK_TIMER_SIZE];

    events_work_t            *next;        /* of all */
    events_work_t            *prev;
    events_work_t            *settling;    /* the next of these */
};


static events_work_t *work_create(events_binding_t *b, events_take_t *take,
    queue_message_t *messages, size_t n);
static void work_call(events_work_t *w);
static faas_bytes_t work_body(events_work_t *w);
static void work_lease(void *data);
static void work_done(const events_answer_t *answer, void *data);
static void work_refused(events_work_t *w, int64_t due_ms);
static void work_judge(events_work_t *w, const events_answer_t *answer);
static void work_judge_one(events_work_t *w, size_t i,
    const events_fate_t *fate);
static void work_settle(events_work_t *w);
static void work_settle_turn(void *data);
static size_t work_settle_some(int64_t deadline_ms);
static int work_settled(events_work_t *w, const queue_settlement_t *s);
static int work_is_final(int code);
static void work_destroy(events_work_t *w);


static struct {
    events_work_t             all;         /* a head: next, prev */
    size_t                    n;

    events_work_t            *settling;
    events_work_t           **last;
    loop_job_t                job;
    loop_timer_t              again;
} work;


void
events_work_init(void)
{
    work.all.next = &work.all;
    work.all.prev = &work.all;
    work.last = &work.settling;
    work.job.handler = work_settle_turn;
    work.again.handler = work_settle_turn;
}


void
events_work_begin(events_binding_t *b, events_take_t *take,
    queue_message_t *messages, size_t n)
{
    size_t          some;
    events_work_t  *w;

    for ( /* void */ ; n; n -= some, messages += some) {
        some = n < b->consume.batch ? n : b->consume.batch;
        w = work_create(b, take, messages, some);

        if (b->own) {
            events_calls_run(w);

        } else {
            work_call(w);
        }
    }
}


/* what was called and has no verdict is given back: it is ready at once */

void
events_work_end(void)
{
    size_t           i;
    int64_t          deadline;
    events_work_t   *w;

    for (w = work.all.next; w != &work.all; w = w->next) {

        if (w->settlements == NULL) {

            if (w->delivery != NULL) {
                events_deliver_cancel(w->delivery);
                w->delivery = NULL;
            }

            work_settle(w);

            for (i = 0; i < w->n; i++) {
                w->settlements[i].verdict = QUEUE_RELEASE;
                w->settlements[i].due_ms = events_now_ms();
            }
        }
    }

    deadline = events_deadline(EVENTS_LOOK_MS);

    while (events.queue != NULL && work.settling != NULL
           && work_settle_some(deadline) == 0)
    {
        /* void */
    }

    while (work.all.next != &work.all) {
        work_destroy(work.all.next);
    }

    work.settling = NULL;
    work.last = &work.settling;
    loop_withdraw(&work.job);
    loop_disarm(&work.again);
}


size_t
events_work_count(void)
{
    return work.n;
}


const queue_message_t *
events_work_message(const events_work_t *w)
{
    return &w->messages[0];
}


const char *
events_work_function(const events_work_t *w)
{
    return w->binding->function;
}


void
events_work_delivery(events_work_t *w, events_delivery_t *d)
{
    w->delivery = d;
}


void
events_work_settle(events_work_t *w, const events_verdict_t *verdict)
{
    queue_settlement_t  *s;

    w->delivery = NULL;

    if (verdict->verdict == QUEUE_RELEASE) {
        work_refused(w, verdict->due_ms);
        return;
    }

    events_binding_served(w->binding);
    work_settle(w);

    s = &w->settlements[0];
    s->verdict = verdict->verdict;
    s->due_ms = verdict->due_ms;

    if (s->verdict == QUEUE_RETRY && s->due_ms < 0) {
        s->due_ms = events_now_ms()
                    + events_settle_backoff(s->message->attempt + 1,
                                            EVENTS_RETRY_MIN_MS,
                                            EVENTS_RETRY_MAX_MS,
                                            events_random());
    }

    if (verdict->reason != NULL) {
        (void) snprintf(w->reason, sizeof(w->reason), "%s", verdict->reason);
    }

    if (verdict->timer != NULL && verdict->timer[0] != '\0') {
        (void) snprintf(w->timer, sizeof(w->timer), "%s", verdict->timer);
        s->timer = w->timer;
        s->timer_fence = verdict->timer_fence;
    }
}


events_take_t *
events_take_create(void)
{
    events_take_t  *take;

    take = loop_alloc(sizeof(*take));
    take->references = 1;

    return take;
}


void *
events_take_alloc(void *data, size_t n)
{
    void           **chunk;
    events_take_t   *take = data;

    /* two words before it keep what follows aligned */

    chunk = malloc(2 * sizeof(void *) + n);

    if (chunk == NULL) {
        return NULL;
    }

    chunk[0] = take->chunks;
    take->chunks = chunk;

    return chunk + 2;
}


void
events_take_release(events_take_t *take)
{
    void  **chunk;

    if (--take->references) {
        return;
    }

    while (take->chunks != NULL) {
        chunk = take->chunks;
        take->chunks = chunk[0];
        free(chunk);
    }

    free(take);
}


static events_work_t *
work_create(events_binding_t *b, events_take_t *take,
    queue_message_t *messages, size_t n)
{
    events_work_t  *w;

    w = loop_alloc(sizeof(*w));
    w->binding = b;
    w->take = take;
    w->messages = messages;
    w->n = n;
    w->lease.handler = work_lease;
    w->lease.data = w;

    take->references++;
    b->works++;
    work.n++;

    w->next = &work.all;
    w->prev = work.all.prev;
    w->prev->next = w;
    work.all.prev = w;

    loop_arm(&w->lease, loop_clock_us() / 1000
                        + (uint64_t) b->lease_ms / 2);

    return w;
}


static void
work_call(events_work_t *w)
{
    events_call_t      call;
    events_binding_t  *b;
    queue_message_t   *m;

    b = w->binding;
    m = &w->messages[0];

    memset(&call, 0, sizeof(call));
    call.function = b->function;
    call.method = "POST";
    call.timeout_ms = b->call_ms;
    call.limit = WORK_ANSWER_LIMIT;
    call.event = "queue";
    call.name = b->queue;
    call.messages = (uint32_t) w->n;
    call.body = work_body(w);
    call.headers = b->consume.batch > 1 ? WORK_BATCH : WORK_BYTES;

    if (b->consume.batch == 1) {
        call.id = m->id;
        call.attempt = m->attempt + 1;
        call.sent_ms = m->sent_ms;
    }

    call.done = work_done;
    call.data = w;

    w->delivery = events_deliver(&call);
}


/* of one message itself; of a batch "ID ATTEMPT SENT_MS SIZE\n", the bytes,
   "\n" for each */

static faas_bytes_t
work_body(events_work_t *w)
{
    char            *p;
    size_t           i, size;
    faas_bytes_t     body;
    queue_message_t *m;

    if (w->binding->consume.batch == 1) {
        body.data = w->messages[0].data;
        body.size = w->messages[0].size;
        return body;
    }

    size = 0;

    for (i = 0; i < w->n; i++) {
        size += w->messages[i].size + FAAS_MESSAGE_ID_SIZE + 80;
    }

    w->body = loop_alloc(size);
    p = w->body;

    for (i = 0; i < w->n; i++) {
        m = &w->messages[i];
        p += sprintf(p, "%s %u %lld %zu\n", m->id, m->attempt + 1,
                     (long long) m->sent_ms, m->size);

        if (m->size) {
            memcpy(p, m->data, m->size);
        }

        p += m->size;
        *p++ = '\n';
    }

    body.data = w->body;
    body.size = (size_t) (p - w->body);

    return body;
}


/* half of the lease is over and the call goes on */

static void
work_lease(void *data)
{
    int             code;
    size_t          i;
    events_work_t  *w = data;

    loop_arm(&w->lease, loop_clock_us() / 1000
                        + (uint64_t) w->binding->lease_ms / 2);

    for (i = 0; i < w->n && events.queue != NULL; i++) {
        code = events.queue->engine->extend(events.queue, &w->messages[i],
                                            w->binding->lease_ms,
                                            events_now_ms(),
                                            events_deadline(EVENTS_LOOK_MS));

        if (code != FAAS_OK && !work_is_final(code)) {
            events_engine_failed(code);
            return;
        }
    }
}


static void
work_done(const events_answer_t *answer, void *data)
{
    events_work_t  *w = data;

    w->delivery = NULL;

    if (events_settle_outcome(answer) == EVENTS_REFUSED) {
        work_refused(w, -1);
        return;
    }

    events_binding_served(w->binding);
    work_judge(w, answer);
}


/* given back as it was; due_ms -1: when the binding goes on */

static void
work_refused(events_work_t *w, int64_t due_ms)
{
    size_t   i;

    if (due_ms < 0) {
        due_ms = events_now_ms() + events_binding_refused(w->binding);
    }

    work_settle(w);

    for (i = 0; i < w->n; i++) {
        w->settlements[i].verdict = QUEUE_RELEASE;
        w->settlements[i].due_ms = due_ms;
    }
}


static void
work_judge(events_work_t *w, const events_answer_t *answer)
{
    size_t         i;
    events_fate_t  fates[FAAS_BATCH_MAX];

    events_settle_batch(answer, fates, w->n);
    events_settle_reason(answer, w->reason, sizeof(w->reason));
    work_settle(w);

    for (i = 0; i < w->n; i++) {
        work_judge_one(w, i, &fates[i]);
    }
}


static void
work_judge_one(events_work_t *w, size_t i, const events_fate_t *fate)
{
    int64_t              delay;
    faas_consume_t      *c;
    queue_message_t     *m;
    queue_settlement_t  *s;

    c = &w->binding->consume;
    m = &w->messages[i];
    s = &w->settlements[i];

    if (!fate->again) {
        s->verdict = QUEUE_DONE;
        return;
    }

    if (m->attempt + 1 >= c->attempts) {
        s->verdict = QUEUE_DEAD;
        log_line(LOG_WARN, 0, "queue \"%s\": message \"%s\" is dead after %u "
                 "attempts by function \"%s\": %s", w->binding->queue, m->id,
                 m->attempt + 1, w->binding->function, w->reason);
        return;
    }

    delay = fate->delay_ms;

    if (delay < 0) {
        delay = events_settle_backoff(m->attempt + 1, c->retry_min_ms,
                                      c->retry_max_ms, events_random());
    }

    s->verdict = QUEUE_RETRY;
    s->due_ms = events_now_ms() + delay;
}


/* from here on it has verdicts, which the caller writes at once */

static void
work_settle(events_work_t *w)
{
    size_t  i;

    w->settlements = loop_alloc(w->n * sizeof(queue_settlement_t));

    for (i = 0; i < w->n; i++) {
        w->settlements[i].message = &w->messages[i];
        w->settlements[i].reason = w->reason;
    }

    loop_disarm(&w->lease);
    free(w->body);
    w->body = NULL;

    w->settling = NULL;
    *work.last = w;
    work.last = &w->settling;

    if (!loop_is_armed(&work.again)) {
        loop_post(&work.job);
    }
}


static void
work_settle_turn(void *data)
{
    (void) data;

    while (events.queue != NULL && work.settling != NULL) {

        if (work_settle_some(events_deadline(EVENTS_LOOK_MS)) != 0) {
            loop_arm(&work.again, loop_clock_us() / 1000 + WORK_AGAIN_MS);
            return;
        }
    }
}


/* the first works of those, in one commit; those that the engine did not take
   stand in line again, their number is returned */

static size_t
work_settle_some(int64_t deadline_ms)
{
    int                  code;
    size_t               n, left, some;
    events_work_t       *w, *next, *list;
    queue_settlement_t  *s, settlements[WORK_SETTLEMENTS];

    n = 0;
    list = work.settling;

    for (w = list; w != NULL && n + w->n <= WORK_SETTLEMENTS; w = w->settling)
    {
        memcpy(&settlements[n], w->settlements,
               w->n * sizeof(queue_settlement_t));
        n += w->n;
    }

    work.settling = w;

    if (w == NULL) {
        work.last = &work.settling;
    }

    for (some = 0; some < n; some++) {
        settlements[some].code = FAAS_EUNAVAILABLE;
    }

    code = events.queue->engine->settle(events.queue, settlements, n,
                                        events_now_ms(), deadline_ms);
    left = 0;
    s = settlements;

    for (w = list; n && w != NULL; w = next) {
        next = w->settling;
        some = w->n;

        if (work_settled(w, s)) {
            work_destroy(w);

        } else {
            w->settling = NULL;
            *work.last = w;
            work.last = &w->settling;
            left++;
        }

        s += some;
        n -= some;
    }

    if (left) {
        events_engine_failed(code);
    }

    return left;
}


/* 1: the engine has decided on all its messages, or it is time to give up */

static int
work_settled(events_work_t *w, const queue_settlement_t *s)
{
    size_t  i, left;

    left = 0;

    for (i = 0; i < w->n; i++) {

        if (!work_is_final(s[i].code)) {
            w->settlements[left] = w->settlements[i];
            w->messages[left] = w->messages[i];
            w->settlements[left].message = &w->messages[left];
            left++;
            continue;
        }

        if (s[i].code == FAAS_OK && s[i].verdict != QUEUE_DONE
            && s[i].verdict != QUEUE_DEAD)
        {
            events_consume_wake_at(w->binding->queue, s[i].due_ms);

        } else if (s[i].code == FAAS_OK && s[i].timer != NULL) {
            events_timers_wake(s[i].timer);

        } else if (s[i].code != FAAS_OK) {
            log_line(LOG_INFO, 0, "queue \"%s\": the lease of message \"%s\" "
                     "was lost, it comes again", w->binding->queue,
                     w->messages[i].id);
        }
    }

    w->n = left;

    return left == 0 || ++w->tries >= WORK_TRIES;
}


/* has the engine decided?  Else it is asked again */

static int
work_is_final(int code)
{
    switch (code) {

    case FAAS_OK:
    case FAAS_ECONFLICT:
    case FAAS_ENOTFOUND:
    case FAAS_EINVAL:
    case FAAS_ETOOLARGE:
    case FAAS_ECORRUPT:
    case FAAS_EUNSUPPORTED:
        return 1;

    default:
        return 0;
    }
}


static void
work_destroy(events_work_t *w)
{
    events_binding_t  *b;

    b = w->binding;
    w->next->prev = w->prev;
    w->prev->next = w->next;
    work.n--;

    loop_disarm(&w->lease);
    events_take_release(w->take);
    free(w->settlements);
    free(w->body);
    free(w);

    events_binding_settled(b);
}

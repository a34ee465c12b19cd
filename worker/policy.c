
/*
 * How many instances should there be?  See policy.h for the rules.
 *
 * Why a wait is compared with the cost of a start: whoever waits as long as a
 * start would take before starting, waits at most twice as long as with the
 * best decision in hindsight, whatever the requests turn out to be.  A few
 * milliseconds count as nothing: a wake-up on another CPU, a process and its
 * memory are dearer, and load that packs into few instances stays on warm
 * caches.
 *
 * The mean service time tells of requests that end.  When all instances are
 * busy with something longer it tells nothing, but then nothing finishes:
 * "stalled" means that for longer than the cost of a start nothing finished
 * and nothing came up while requests wait, and gets an instance for each of
 * them.  A wait that lasts although requests finish (a mean that is wrong)
 * doubles the instances.
 *
 * Of short requests many are done before the next look, and on a busy machine
 * all of them stand still together now and then, which more processes would
 * not make better.  So what speaks for more has to hold for a while, and the
 * instances double at most; unless the next look finds them standing still.
 *
 * There are no oscillations, because the two directions look at different
 * things: up at waiting requests, down at an instance that nobody needed for
 * idle_timeout.
 */


#include "policy.h"


/* a start counts as no cheaper than this */
#define POLICY_COST_MS       5.0

/* in costs of a start: nothing finishes, likewise while one is starting, a
   wait that goes on although requests finish */
#define POLICY_STALLED       2.0
#define POLICY_STALLED_LONG  4.0
#define POLICY_LASTING       4.0

/* both of short requests, milliseconds at least */
#define POLICY_SHORT_MS      50.0

/* how long a first start, of which the cost is not known, is waited for */
#define POLICY_FIRST_MS      1000.0

/* the time, and the requests, over which figures are smoothed */
#define POLICY_RATE_MS       1000.0
#define POLICY_SERVICE_N     16.0

/* spares that nobody tells us were taken are looked after so often */
#define POLICY_SPARE_MIN_MS  5
#define POLICY_SPARE_MAX_MS  1000

/* shortest time until a look for idle instances, when it is idle_timeout */
#define POLICY_IDLE_MIN_MS   100

/* a part of an instance that Little's law may round down */
#define POLICY_LITTLE_LESS   0.1


#define policy_min(a, b)  ((a) < (b) ? (a) : (b))
#define policy_max(a, b)  ((a) > (b) ? (a) : (b))


static void policy_begin(const policy_input_t *in, policy_state_t *state);
static void policy_measure(const policy_input_t *in, policy_state_t *state);
static void policy_progress(const policy_input_t *in, policy_state_t *state);
static uint32_t policy_surplus_waiting(const policy_input_t *in);
static uint32_t policy_wanted(const policy_input_t *in,
    policy_state_t *state);
static uint32_t policy_ahead(const policy_input_t *in,
    const policy_state_t *state);
static uint32_t policy_pressure(const policy_input_t *in,
    policy_state_t *state);
static int policy_is_pressed(const policy_input_t *in, policy_state_t *state,
    int too_long);
static int policy_is_short(const policy_input_t *in,
    const policy_state_t *state);
static int policy_is_stalled(const policy_input_t *in,
    const policy_state_t *state, double cost);
static int policy_is_lasting(const policy_input_t *in,
    const policy_state_t *state, double cost);
static int policy_is_active(const policy_input_t *in,
    const policy_state_t *state);
static uint32_t policy_retire(const policy_input_t *in, uint32_t floor);
static uint64_t policy_again(const policy_input_t *in,
    const policy_state_t *state, const policy_decision_t *out,
    uint32_t floor);
static uint64_t policy_idle_again(const policy_input_t *in,
    const policy_state_t *state);
static uint64_t policy_spare_again(const policy_input_t *in,
    const policy_state_t *state);
static double policy_cost(const policy_input_t *in);
static uint32_t policy_ceil(double x);


void
policy_decide(const policy_input_t *in, policy_state_t *state,
    policy_decision_t *out)
{
    uint32_t  live, total, floor, wanted, start;

    if (!state->begun) {
        policy_begin(in, state);
    }

    policy_measure(in, state);
    policy_progress(in, state);

    live = in->idle + in->busy + in->starting;
    total = live + in->ending;

    /* what is kept without anybody waiting, and what is wanted now */

    floor = policy_ahead(in, state);
    wanted = policy_wanted(in, state);
    wanted = policy_max(wanted, floor);
    wanted = policy_min(wanted, in->max);

    start = (wanted > live) ? wanted - live : 0;

    out->retire = policy_retire(in, floor);
    out->desired = live + start - out->retire;

    if (total >= in->max || in->held_back) {
        start = 0;

    } else if (start > in->max - total) {
        start = in->max - total;
    }

    out->start = start;
    out->again_ms = policy_again(in, state, out, floor);
}


/* the board may know much already: a supervisor that was restarted */

static void
policy_begin(const policy_input_t *in, policy_state_t *state)
{
    state->begun = 1;
    state->last_ms = in->now_ms;
    state->last_arrivals = in->arrivals;
    state->last_finished = in->finished;
    state->last_service_us = in->service_us;
    state->rate = 0;
    state->service_ms = -1;

    if (in->finished > 0) {
        state->service_ms = (double) in->service_us / 1000
                            / (double) in->finished;
    }

    state->serving = in->idle + in->busy;
    state->waited = 0;
    state->progress_ms = in->now_ms;
    state->capacity_ms = in->now_ms;
    state->arrival_ms = 0;
    state->pressed_ms = 0;
    state->stalled = 0;

    if (in->waiting > 0 || in->busy > 0) {
        state->arrival_ms = in->now_ms;
    }
}


static void
policy_measure(const policy_input_t *in, policy_state_t *state)
{
    double    n, dt, mean;
    uint64_t  used;

    if (in->arrivals > state->last_arrivals) {
        state->arrival_ms = in->now_ms;
    }

    /* what arrives within one millisecond counts with the next */

    if (in->now_ms > state->last_ms) {
        dt = (double) (in->now_ms - state->last_ms);
        n = (in->arrivals > state->last_arrivals)
            ? (double) (in->arrivals - state->last_arrivals) : 0;

        state->rate += dt / (dt + POLICY_RATE_MS) * (n / dt - state->rate);
        state->last_ms = in->now_ms;
        state->last_arrivals = in->arrivals;
    }

    if (in->finished == state->last_finished) {
        return;
    }

    /* counters of several writers are not read at one moment */

    if (in->finished > state->last_finished) {
        n = (double) (in->finished - state->last_finished);
        used = (in->service_us > state->last_service_us)
               ? in->service_us - state->last_service_us : 0;
        mean = (double) used / 1000 / n;

        if (state->service_ms < 0) {
            state->service_ms = mean;

        } else {
            state->service_ms += n / (n + POLICY_SERVICE_N)
                                 * (mean - state->service_ms);
        }

        state->progress_ms = in->now_ms;
    }

    state->last_finished = in->finished;
    state->last_service_us = in->service_us;
}


static void
policy_progress(const policy_input_t *in, policy_state_t *state)
{
    uint32_t  serving;

    serving = in->idle + in->busy;

    if (serving > state->serving) {
        state->progress_ms = in->now_ms;
        state->capacity_ms = in->now_ms;
    }

    /* a wait begins when it is seen first */

    if (!state->waited) {
        state->progress_ms = in->now_ms;
    }

    state->waited = (policy_surplus_waiting(in) > 0);
    state->serving = serving;
}


/* requests that wait and for which nothing is idle: an idle instance beside
   waiting requests is on its way to one of them */

static uint32_t
policy_surplus_waiting(const policy_input_t *in)
{
    return (in->waiting > in->idle) ? in->waiting - in->idle : 0;
}


/* live instances that the requests of this moment ask for */

static uint32_t
policy_wanted(const policy_input_t *in, policy_state_t *state)
{
    if (in->oneshot) {
        return policy_ahead(in, state) + in->waiting;
    }

    return policy_pressure(in, state);
}


/* live instances that are kept whether or not a request waits */

static uint32_t
policy_ahead(const policy_input_t *in, const policy_state_t *state)
{
    double    little;
    uint32_t  ahead;

    ahead = 0;

    if (in->oneshot) {

        if (policy_is_active(in, state)) {
            ahead = policy_max(in->spare, 1)
                    + policy_ceil(state->rate * policy_cost(in));
        }

        /* an instance that is busy is spent, it is nobody's spare */

        ahead = in->busy + policy_max(ahead, in->min);

    } else {

        if (in->spare > 0 && policy_is_active(in, state)) {
            little = (state->service_ms > 0)
                     ? state->rate * state->service_ms - POLICY_LITTLE_LESS
                     : 0;
            ahead = in->spare + policy_ceil(little);
        }

        ahead = policy_max(ahead, in->min);
    }

    return policy_min(ahead, in->max);
}


static uint32_t
policy_pressure(const policy_input_t *in, policy_state_t *state)
{
    double    cost, work;
    uint32_t  waiting, capacity, wanted;

    waiting = policy_surplus_waiting(in);

    if (waiting == 0) {
        state->pressed_ms = 0;
        return 0;
    }

    cost = policy_cost(in);
    capacity = in->idle + in->busy + in->starting;

    /* so many get it done within the cost of a start */

    work = (state->service_ms > 0) ? waiting * state->service_ms : 0;
    wanted = policy_ceil(work / cost);

    if (policy_is_short(in, state)
        && !policy_is_pressed(in, state, wanted > capacity))
    {
        wanted = 0;
    }

    if (capacity == 0) {
        wanted = policy_max(wanted, 1);

    } else if (policy_is_stalled(in, state, cost)) {

        /* the second time that nothing finished there is no doubt left */

        wanted = capacity + waiting;

        if (policy_is_short(in, state)
            && state->stalled != in->finished + 1)
        {
            wanted = policy_min(wanted, 2 * capacity);
        }

        state->stalled = in->finished + 1;

    } else if (policy_is_lasting(in, state, cost)) {
        wanted = policy_max(wanted, 2 * capacity);

    } else if (policy_is_short(in, state)) {
        wanted = policy_min(wanted, 2 * capacity);
    }

    /* no more in flight than wait for one */

    waiting = (waiting > in->starting) ? waiting - in->starting : 0;

    return policy_min(wanted, capacity + waiting);
}


/* 1 when the expected wait has been too long for the cost of a start, and has
   been so with the instances that there are now */

static int
policy_is_pressed(const policy_input_t *in, policy_state_t *state,
    int too_long)
{
    uint64_t  since;

    if (!too_long) {
        state->pressed_ms = 0;
        return 0;
    }

    if (state->pressed_ms == 0) {
        state->pressed_ms = in->now_ms;
    }

    since = policy_max(state->pressed_ms, state->capacity_ms);

    return (double) (in->now_ms - since) >= policy_cost(in);
}


/* known, and shorter than a start is worth */

static int
policy_is_short(const policy_input_t *in, const policy_state_t *state)
{
    return state->service_ms >= 0 && state->service_ms < policy_cost(in);
}


static int
policy_is_stalled(const policy_input_t *in, const policy_state_t *state,
    double cost)
{
    double    limit;
    uint64_t  stalled;

    limit = POLICY_STALLED * cost;

    if (in->starting > 0) {
        limit = (in->start_us > 0) ? POLICY_STALLED_LONG * cost
                                   : POLICY_FIRST_MS;
    }

    if (policy_is_short(in, state)) {
        limit = policy_max(limit, POLICY_SHORT_MS);
    }

    stalled = in->now_ms - state->progress_ms;

    if (in->longest_wait_ms > 0) {
        stalled = policy_min(stalled, in->longest_wait_ms);
    }

    return (double) stalled > limit;
}


static int
policy_is_lasting(const policy_input_t *in, const policy_state_t *state,
    double cost)
{
    double    limit;
    uint64_t  lasting;

    if (in->starting > 0
        || (double) (in->now_ms - state->progress_ms) > cost)
    {
        return 0;
    }

    limit = POLICY_LASTING * cost;

    if (policy_is_short(in, state)) {
        limit = policy_max(limit, POLICY_SHORT_MS);
    }

    lasting = policy_min(in->longest_wait_ms,
                         in->now_ms - state->capacity_ms);

    return (double) lasting > limit;
}


static int
policy_is_active(const policy_input_t *in, const policy_state_t *state)
{
    return in->waiting > 0
           || (state->arrival_ms != 0
               && in->now_ms - state->arrival_ms < in->idle_timeout_ms);
}


static uint32_t
policy_retire(const policy_input_t *in, uint32_t floor)
{
    uint32_t  live;

    live = in->idle + in->busy + in->starting;

    if (live > in->max) {
        return policy_min(in->idle, live - in->max);
    }

    if (in->idle == 0 || in->waiting > 0 || live <= floor
        || in->longest_idle_ms < in->idle_timeout_ms)
    {
        return 0;
    }

    /* how long the next one has been idle is known once this one is gone */

    return 1;
}


static uint64_t
policy_again(const policy_input_t *in, const policy_state_t *state,
    const policy_decision_t *out, uint32_t floor)
{
    uint64_t  again, next;
    uint32_t  live;

    live = in->idle + in->busy + in->starting;

    if (out->retire > 0 && in->idle > out->retire) {
        return 1;
    }

    again = 0;

    if (!in->oneshot && in->waiting > 0 && !in->held_back
        && live + in->ending < in->max)
    {
        again = (uint64_t) policy_cost(in);
    }

    if (live - out->retire > in->min || floor > in->min) {
        next = policy_idle_again(in, state);
        again = (again != 0) ? policy_min(again, next) : next;
    }

    if ((in->oneshot || in->spare > 0) && policy_is_active(in, state)
        && live + in->ending < in->max)
    {
        next = policy_spare_again(in, state);
        again = (again != 0) ? policy_min(again, next) : next;
    }

    return again;
}


/* when something may have been idle for long enough */

static uint64_t
policy_idle_again(const policy_input_t *in, const policy_state_t *state)
{
    uint64_t  again;

    again = policy_max(in->idle_timeout_ms, POLICY_IDLE_MIN_MS);

    if (in->idle > 0 && in->longest_idle_ms < in->idle_timeout_ms) {
        return in->idle_timeout_ms - in->longest_idle_ms;
    }

    /* kept because requests arrive: until they do not */

    if (in->idle > 0 && policy_is_active(in, state)
        && state->arrival_ms != 0)
    {
        again = state->arrival_ms + in->idle_timeout_ms - in->now_ms;
        again = policy_max(again, POLICY_IDLE_MIN_MS);
    }

    return again;
}


/* half of the spares may be gone by then */

static uint64_t
policy_spare_again(const policy_input_t *in, const policy_state_t *state)
{
    double  ms;

    ms = POLICY_SPARE_MAX_MS;

    if (state->rate * ms > in->idle / 2.0) {
        ms = in->idle / 2.0 / state->rate;
    }

    return policy_max((uint64_t) ms, POLICY_SPARE_MIN_MS);
}


/* milliseconds that a start is worth */

static double
policy_cost(const policy_input_t *in)
{
    double  cost;

    cost = (double) in->start_us / 1000;

    return policy_max(cost, POLICY_COST_MS);
}


/* not below 0, and nothing that does not fit */

static uint32_t
policy_ceil(double x)
{
    uint32_t  n;

    if (!(x > 0)) {
        return 0;
    }

    if (x > 1000000) {
        return 1000000;
    }

    n = (uint32_t) x;

    return ((double) n < x) ? n + 1 : n;
}

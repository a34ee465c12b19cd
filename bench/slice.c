
#include "slice.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>


#define SLICE_CPUS      64
#define SLICE_WATCH_NS  2000000


/* what a part of the run amounts to; see slice_sum() */

typedef struct {
    uint32_t   slices;
    uint64_t   requests;
    uint64_t   length;
    uint64_t   cpu;
    uint32_t   n;                          /* of latency */
    uint32_t  *latency;                    /* sorted, ns */
} slice_sum_t;


static void slice_watch(int cpu);
static uint64_t slice_usage(int fd);
static uint64_t slice_own(void);
static uint64_t slice_late(void);
static int slice_is_quiet(const slice_t *s);
static uint32_t slice_choose(char *chosen);
static void slice_sum(slice_sum_t *sum, const char *chosen);
static void slice_print_sum(FILE *out, const char *name, slice_sum_t *sum);
static uint64_t slice_quantile(slice_sum_t *sum, double q);
static int slice_compare_latency(const void *a, const void *b);
static int slice_compare_rate(const void *a, const void *b);


static int                slice_usage_fd = -1;
static int                slice_machine_fd = -1;
static int                slice_cpus;
static pid_t              slice_watcher[SLICE_CPUS];

/* shared with the watchers: the latest wake-up since it was last asked */
static _Atomic uint64_t  *slice_lateness;

static slice_t           *slices;
static uint32_t           nslices, slices_size;
static uint32_t          *latencies;       /* ns, saturated */
static uint32_t           nlatencies, latencies_size;

/* at the beginning of this slice */
static struct {
    uint64_t  time;
    uint64_t  cpu;
    uint64_t  machine;
    uint64_t  own;
    uint32_t  first;
} slice_edge;


int
slice_init(const char *usage, const char *machine)
{
    int    i;
    pid_t  pid;

    if (usage) {
        slice_usage_fd = open(usage, O_RDONLY|O_CLOEXEC);
        if (slice_usage_fd == -1) {
            return -1;
        }
    }

    if (machine) {
        slice_machine_fd = open(machine, O_RDONLY|O_CLOEXEC);
        if (slice_machine_fd == -1) {
            return -1;
        }
    }

    slice_lateness = mmap(NULL, sizeof(uint64_t) * SLICE_CPUS,
                          PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS,
                          -1, 0);
    if (slice_lateness == MAP_FAILED) {
        return -1;
    }

    slice_cpus = sysconf(_SC_NPROCESSORS_ONLN);
    if (slice_cpus > SLICE_CPUS) {
        slice_cpus = SLICE_CPUS;
    }

    for (i = 0; i < slice_cpus; i++) {
        pid = fork();

        if (pid == -1) {
            slice_done();
            return -1;
        }

        if (pid == 0) {
            slice_watch(i);
            _exit(0);
        }

        slice_watcher[i] = pid;
    }

    return 0;
}


void
slice_done(void)
{
    int  i;

    for (i = 0; i < slice_cpus; i++) {
        if (slice_watcher[i] > 0) {
            kill(slice_watcher[i], SIGKILL);
            waitpid(slice_watcher[i], NULL, 0);
            slice_watcher[i] = 0;
        }
    }
}


/*
 * A watcher sleeps on its CPU at a real-time priority: nothing that runs on
 * this machine delays it, only a machine that does not run.  Without the
 * right to such a priority nothing can be told, and nothing is watched.
 */

static void
slice_watch(int cpu)
{
    uint64_t            now, due;
    cpu_set_t           set;
    struct timespec     ts;
    struct sched_param  param;

    prctl(PR_SET_PDEATHSIG, SIGKILL);

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);

    param.sched_priority = 1;

    if (sched_setaffinity(0, sizeof(set), &set) == -1
        || sched_setscheduler(0, SCHED_FIFO, &param) == -1)
    {
        return;
    }

    due = slice_now();

    for ( ;; ) {
        due += SLICE_WATCH_NS;

        ts.tv_sec = due / 1000000000;
        ts.tv_nsec = due % 1000000000;

        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);

        now = slice_now();

        if (now - due > slice_lateness[cpu]) {
            slice_lateness[cpu] = now - due;
        }

        if (now > due) {
            due = now;
        }
    }
}


void
slice_begin(uint64_t now)
{
    (void) slice_late();

    slice_edge.time = now;
    slice_edge.cpu = slice_usage(slice_usage_fd);
    slice_edge.machine = slice_usage(slice_machine_fd);
    slice_edge.own = slice_own();
    slice_edge.first = nlatencies;
}


int
slice_add(uint64_t latency)
{
    uint32_t  *p;

    if (nlatencies == latencies_size) {
        latencies_size = latencies_size ? latencies_size * 2 : 65536;

        p = realloc(latencies, latencies_size * sizeof(uint32_t));
        if (p == NULL) {
            return -1;
        }

        latencies = p;
    }

    latencies[nlatencies++] = latency < UINT32_MAX ? latency : UINT32_MAX;

    return 0;
}


int
slice_turn(uint64_t now)
{
    slice_t   *s;
    uint64_t   cpu, machine, own, busy;

    if (now - slice_edge.time < SLICE_NS) {
        return 0;
    }

    if (nslices == slices_size) {
        slices_size = slices_size ? slices_size * 2 : 256;

        s = realloc(slices, slices_size * sizeof(slice_t));
        if (s == NULL) {
            return -1;
        }

        slices = s;
    }

    cpu = slice_usage(slice_usage_fd);
    machine = slice_usage(slice_machine_fd);
    own = slice_own();

    s = &slices[nslices++];

    s->first = slice_edge.first;
    s->requests = nlatencies - slice_edge.first;
    s->length = now - slice_edge.time;
    s->cpu = cpu - slice_edge.cpu;
    s->late = slice_late();
    s->foreign = 0;

    busy = machine - slice_edge.machine;

    if (slice_machine_fd != -1 && slice_usage_fd != -1
        && busy > s->cpu + own - slice_edge.own)
    {
        s->foreign = busy - s->cpu - (own - slice_edge.own);
    }

    slice_edge.time = now;
    slice_edge.cpu = cpu;
    slice_edge.machine = machine;
    slice_edge.own = own;
    slice_edge.first = nlatencies;

    return 0;
}


/* ns; a cpuacct.usage is one number, in a cpu.stat it is named, in us */

static uint64_t
slice_usage(int fd)
{
    char     buf[256], *p;
    ssize_t  n;

    if (fd == -1) {
        return 0;
    }

    n = pread(fd, buf, sizeof(buf) - 1, 0);
    if (n <= 0) {
        return 0;
    }

    buf[n] = '\0';

    p = strstr(buf, "usage_usec ");
    if (p) {
        return strtoull(p + sizeof("usage_usec ") - 1, NULL, 10) * 1000;
    }

    return strtoull(buf, NULL, 10);
}


static uint64_t
slice_own(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);

    return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}


static uint64_t
slice_late(void)
{
    int       i;
    uint64_t  late, max;

    max = 0;

    for (i = 0; i < slice_cpus; i++) {
        late = atomic_exchange(&slice_lateness[i], 0);

        if (late > max) {
            max = late;
        }
    }

    return max;
}


static int
slice_is_quiet(const slice_t *s)
{
    return s->late < SLICE_LATE_NS
           && s->foreign < s->length * slice_cpus / SLICE_FOREIGN_PART;
}


/* marks the quiet slices, or those that stand in; how many are truly quiet */

static uint32_t
slice_choose(char *chosen)
{
    uint32_t         i, quiet;
    const slice_t  **order;

    quiet = 0;

    for (i = 0; i < nslices; i++) {
        chosen[i] = slice_is_quiet(&slices[i]);
        quiet += chosen[i];
    }

    if (quiet * 4 >= nslices) {
        return quiet;
    }

    order = calloc(nslices, sizeof(slice_t *));
    if (order == NULL) {
        return quiet;
    }

    for (i = 0; i < nslices; i++) {
        order[i] = &slices[i];
        chosen[i] = 0;
    }

    qsort(order, nslices, sizeof(slice_t *), slice_compare_rate);

    for (i = 0; i < (nslices + 1) / 2; i++) {
        chosen[order[i] - slices] = 1;
    }

    free(order);

    return quiet;
}


/* sums up the chosen slices, all when chosen is NULL */

static void
slice_sum(slice_sum_t *sum, const char *chosen)
{
    uint32_t  i;
    slice_t  *s;

    memset(sum, 0, sizeof(slice_sum_t));

    sum->latency = calloc(nlatencies + 1, sizeof(uint32_t));

    for (i = 0; i < nslices; i++) {
        s = &slices[i];

        if (chosen && !chosen[i]) {
            continue;
        }

        sum->slices++;
        sum->requests += s->requests;
        sum->length += s->length;
        sum->cpu += s->cpu;

        if (sum->latency) {
            memcpy(sum->latency + sum->n, latencies + s->first,
                   s->requests * sizeof(uint32_t));
            sum->n += s->requests;
        }
    }

    if (sum->latency) {
        qsort(sum->latency, sum->n, sizeof(uint32_t), slice_compare_latency);
    }
}


void
slice_print(FILE *out)
{
    char         *chosen;
    uint32_t      i, quiet;
    slice_sum_t   sum;

    chosen = calloc(nslices + 1, 1);
    if (chosen == NULL) {
        return;
    }

    quiet = slice_choose(chosen);

    slice_sum(&sum, NULL);
    slice_print_sum(out, "all", &sum);
    free(sum.latency);

    slice_sum(&sum, chosen);
    slice_print_sum(out, "quiet", &sum);
    free(sum.latency);

    fprintf(out, "\"undisturbed\":%.3f,\"slices\":[",
            nslices ? (double) quiet / nslices : 0);

    for (i = 0; i < nslices; i++) {
        fprintf(out, "%s[%d,%u,%.0f,%.0f,%.0f,%.0f]", i ? "," : "",
                slice_is_quiet(&slices[i]), slices[i].requests,
                slices[i].length / 1e3, slices[i].cpu / 1e3,
                slices[i].foreign / 1e3, slices[i].late / 1e3);
    }

    fprintf(out, "]");

    free(chosen);
}


static void
slice_print_sum(FILE *out, const char *name, slice_sum_t *sum)
{
    fprintf(out, "\"%s\":{\"slices\":%u,\"requests\":%llu,\"seconds\":%.4f,"
            "\"cpu_us\":%.0f,\"p50\":%.1f,\"p99\":%.1f,\"max\":%.1f},",
            name, sum->slices, (unsigned long long) sum->requests,
            sum->length / 1e9, sum->cpu / 1e3,
            slice_quantile(sum, .5) / 1e3, slice_quantile(sum, .99) / 1e3,
            slice_quantile(sum, 1) / 1e3);
}


static uint64_t
slice_quantile(slice_sum_t *sum, double q)
{
    return sum->n ? sum->latency[(uint32_t) ((sum->n - 1) * q)] : 0;
}


static int
slice_compare_latency(const void *a, const void *b)
{
    uint32_t  x, y;

    x = *(const uint32_t *) a;
    y = *(const uint32_t *) b;

    return (x > y) - (x < y);
}


static int
slice_compare_rate(const void *a, const void *b)
{
    const slice_t  *x, *y;

    x = *(const slice_t *const *) a;
    y = *(const slice_t *const *) b;

    return (x->requests < y->requests) - (x->requests > y->requests);
}


uint64_t
slice_now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

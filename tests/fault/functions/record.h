
/*
 * What the functions of the experiments write down of each execution, and how
 * they count their own concurrency.  Both are proof against kill -9 at any
 * instruction, for that is what the experiments do to them.
 *
 * A ledger is a file, made by the script, mapped by each instance after its
 * fork: a head, then records of 64 bytes.  A record is taken by adding one to
 * `next`, so no two instances have the same.  begin_ns is written before
 * anything is done, end_ns when all is done but to say so to nginx; an
 * execution that was cut short has a begin and no end.
 *
 * Concurrency is counted by the kernel: an execution locks the first free
 * byte of [0, max) in the ledger (F_OFD_SETLK, so descriptions must not be
 * shared: it is opened after the fork).  The kernel gives the byte back when
 * the process ends, and does so before anybody can see that it ended.  If all
 * are taken there are more than max, and `over` says so.  Processes count
 * themselves likewise on [1000000, 1000000 + max), from after_fork on.
 */


#ifndef RECORD_H_INCLUDED
#define RECORD_H_INCLUDED


#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <faas.h>


#define RECORD_PROCESSES  1000000

#ifndef RECORD_VERSION
#define RECORD_VERSION    1
#endif


typedef struct {
    uint64_t          id;          /* of the request, 0: it had none */
    uint64_t          begin_ns;    /* CLOCK_MONOTONIC; written first */
    uint64_t          end_ns;      /* 0: never got there */
    uint32_t          process;     /* number of the instance, from 1 */
    uint32_t          pid;         /* as it sees itself */
    uint32_t          place;       /* the byte that it locked; max: none */
    uint32_t          version;     /* RECORD_VERSION it was compiled with */
    uint32_t          reserved[6];
} record_t;


typedef struct {
    _Atomic uint64_t  next;        /* records taken, also beyond the last */
    uint64_t          capacity;    /* script: records that there is room for */
    _Atomic uint32_t  processes;   /* instances that there ever were */
    uint32_t          max;         /* script: how many there may be at once */
    _Atomic uint32_t  over;        /* executions that found all bytes taken */
    _Atomic uint32_t  over_process;    /* likewise: instances */
    _Atomic uint32_t  most;        /* executions at once, at least */
    _Atomic uint32_t  harm;        /* script: bits of fragile.c; a gate */
    _Atomic uint32_t  harm_permille;   /* script: of all instances */
    _Atomic uint32_t  harmed;      /* instances that were */
    uint32_t          reserved[4];
} record_head_t;


_Static_assert(sizeof(record_t) == 64, "fault.py reads it so");
_Static_assert(sizeof(record_head_t) == 64, "fault.py reads it so");


static int             record_fd = -1;
static record_head_t  *record_head;
static uint32_t        record_process;


static uint64_t
record_now(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000000 + (uint64_t) ts.tv_nsec;
}


/* the first byte of [from, from + max) that nobody has; max: all are taken */
static uint32_t
record_lock(off_t from)
{
    uint32_t      i;
    struct flock  lock;

    for (i = 0; i < record_head->max; i++) {
        memset(&lock, 0, sizeof(lock));
        lock.l_type = F_WRLCK;
        lock.l_whence = SEEK_SET;
        lock.l_start = from + (off_t) i;
        lock.l_len = 1;

        if (fcntl(record_fd, F_OFD_SETLK, &lock) == 0) {
            break;
        }
    }

    return i;
}


static void
record_unlock(off_t at)
{
    struct flock  lock;

    memset(&lock, 0, sizeof(lock));
    lock.l_type = F_UNLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = at;
    lock.l_len = 1;

    (void) fcntl(record_fd, F_OFD_SETLK, &lock);
}


/* as the descriptor's after_fork; without LEDGER in env nothing is written */
static int
record_open(void)
{
    void         *p;
    const char   *path;
    struct stat   st;

    path = faas_config(NULL, "LEDGER");

    if (path == NULL) {
        return FAAS_OK;
    }

    record_fd = open(path, O_RDWR|O_CLOEXEC);

    if (record_fd == -1 || fstat(record_fd, &st) == -1) {
        faas_log(NULL, "ledger %s: %s", path, strerror(errno));
        return FAAS_ERROR;
    }

    p = mmap(NULL, (size_t) st.st_size, PROT_READ|PROT_WRITE, MAP_SHARED,
             record_fd, 0);

    if (p == MAP_FAILED) {
        faas_log(NULL, "ledger %s: %s", path, strerror(errno));
        return FAAS_ERROR;
    }

    record_head = p;
    record_process = atomic_fetch_add(&record_head->processes, 1) + 1;

    if (record_lock(RECORD_PROCESSES) == record_head->max) {
        atomic_fetch_add(&record_head->over_process, 1);
    }

    return FAAS_OK;
}


/* NULL: there is no ledger, or it is full */
static record_t *
record_begin(uint64_t id)
{
    uint32_t   most;
    uint64_t   n;
    record_t  *record;

    if (record_head == NULL) {
        return NULL;
    }

    n = atomic_fetch_add(&record_head->next, 1);

    if (n >= record_head->capacity) {
        return NULL;
    }

    record = (record_t *) (record_head + 1) + n;

    record->id = id;
    record->process = record_process;
    record->pid = (uint32_t) getpid();
    record->version = RECORD_VERSION;
    record->begin_ns = record_now();
    record->place = record_lock(0);

    if (record->place == record_head->max) {
        atomic_fetch_add(&record_head->over, 1);
    }

    most = atomic_load(&record_head->most);

    while (record->place + 1 > most
           && !atomic_compare_exchange_weak(&record_head->most, &most,
                                            record->place + 1))
    {
        /* most is read anew */
    }

    return record;
}


static void
record_end(record_t *record)
{
    if (record == NULL) {
        return;
    }

    if (record->place < record_head->max) {
        record_unlock((off_t) record->place);
    }

    record->end_ns = record_now();
}


/* the request's id: query argument "id", 16 hex digits; 0: none */
static uint64_t
record_id(faas_request_t *r)
{
    const char  *p;

    p = faas_query(r, "id", NULL);

    return p ? strtoull(p, NULL, 16) : 0;
}


static long
record_number(faas_request_t *r, const char *name, long absent)
{
    const char  *p;

    p = faas_query(r, name, NULL);

    return p ? strtol(p, NULL, 10) : absent;
}


static void
record_sleep(long ms)
{
    struct timespec  ts;

    ts.tv_sec = ms / 1000;
    ts.tv_nsec = ms % 1000 * 1000000;

    while (nanosleep(&ts, &ts) == -1 && errno == EINTR) {
        /* the rest of it */
    }
}


/*
 * The answer that load.c checks: one line that says whose it is, then, with
 * size=N, N bytes more: the id's 16 digits over and over, so that no byte of
 * another answer can stand there unseen.
 */
static int
record_answer(faas_request_t *r, uint64_t id, const char *value,
    const char *hash)
{
    long   size, n;
    char   text[17], block[4096];
    int    i;

    for (i = 15; i >= 0; i--) {
        text[i] = "0123456789abcdef"[id >> (15 - i) * 4 & 0xf];
    }

    text[16] = '\0';

    if (faas_header_set(r, "X-Id", text) != 0
        || faas_printf(r, "id=%s value=%s hash=%s process=%u version=%d\n",
                       text, value, hash, record_process, RECORD_VERSION)
           != 0)
    {
        return FAAS_ERROR;
    }

    size = record_number(r, "size", 0);

    for (n = 0; n < (long) sizeof(block); n += 16) {
        memcpy(block + n, text, 16);
    }

    while (size > 0) {
        n = size < (long) sizeof(block) ? size : (long) sizeof(block);

        if (faas_write(r, block, (size_t) n) != 0) {
            return FAAS_ERROR;
        }

        size -= n;
    }

    return FAAS_OK;
}


#endif /* RECORD_H_INCLUDED */

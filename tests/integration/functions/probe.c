
/*
 * The tests' own function: says what it saw, and does what it is told.
 *
 *   gate=PATH   writes PATH.in.PID, waits until PATH exists, removes the note
 *   count=PATH  counts how many are in the handler at once: PATH holds two
 *               uint32_t, now and the most there ever were
 *   status=N    answers with that status
 *   size=N      a body of N bytes, "0123456789..." over and over
 *   header=N:V  one more header
 *   flush=1     sends the headers before anything else is done
 *   fail=1      returns an error
 *   exit=N      ends the process
 *   die=N       kills the process with signal N
 *   read=0      leaves the body unread
 *   log=TEXT    one line in the log
 *   text=TEXT   the body is TEXT
 *
 * Else: JSON of what came.
 */


#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <faas.h>


#ifndef PROBE_VERSION
#define PROBE_VERSION  "1"
#endif

#ifndef PROBE_DESCRIPTOR
#define PROBE_DESCRIPTOR
#endif


static unsigned  probe_calls;


static int
probe_number(faas_request_t *r, const char *name, long absent)
{
    const char  *p;

    p = faas_query(r, name, NULL);

    return (int) (p ? strtol(p, NULL, 10) : absent);
}


static void
probe_gate(faas_request_t *r)
{
    int              fd;
    char             note[512];
    const char      *gate;
    struct stat      st;
    struct timespec  nap = { 0, 2000000 };

    gate = faas_query(r, "gate", NULL);

    if (gate == NULL) {
        return;
    }

    snprintf(note, sizeof(note), "%s.in.%d", gate, (int) getpid());

    fd = open(note, O_CREAT | O_WRONLY, 0666);
    if (fd != -1) {
        close(fd);
    }

    while (stat(gate, &st) == -1) {
        nanosleep(&nap, NULL);
    }

    unlink(note);
}


static _Atomic uint32_t *
probe_enter(faas_request_t *r)
{
    int                fd;
    void              *p;
    uint32_t           now, most;
    const char        *path;
    _Atomic uint32_t  *count;

    path = faas_query(r, "count", NULL);

    if (path == NULL) {
        return NULL;
    }

    fd = open(path, O_RDWR);
    if (fd == -1) {
        return NULL;
    }

    p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);

    if (p == MAP_FAILED) {
        return NULL;
    }

    count = p;
    now = atomic_fetch_add(&count[0], 1) + 1;
    most = atomic_load(&count[1]);

    while (now > most
           && !atomic_compare_exchange_weak(&count[1], &most, now))
    {
        /* void */
    }

    return count;
}


static int
probe_string(faas_request_t *r, const char *s)
{
    int  rc;

    if (s == NULL) {
        return faas_printf(r, "null");
    }

    rc = faas_printf(r, "\"");

    for ( /* void */ ; *s && rc == 0; s++) {
        if (*s == '"' || *s == '\\' || (unsigned char) *s < 0x20
            || (unsigned char) *s >= 0x7f)
        {
            rc = faas_printf(r, "\\u%04x", (unsigned char) *s);

        } else {
            rc = faas_write(r, s, 1);
        }
    }

    return rc ? rc : faas_printf(r, "\"");
}


static int
probe_variable(const char *name, const char *value, void *data)
{
    faas_request_t  *r = data;

    return probe_string(r, name) || faas_printf(r, ":")
           || probe_string(r, value) || faas_printf(r, ",");
}


static int
probe_field(faas_request_t *r, const char *name, const char *value)
{
    return faas_printf(r, "\"%s\":", name) || probe_string(r, value)
           || faas_printf(r, ",");
}


static int
probe_body(faas_request_t *r, uint64_t *bytes, uint32_t *sum)
{
    char     buf[16384];
    ssize_t  i, n;

    *bytes = 0;
    *sum = 2166136261u;

    while ((n = faas_read(r, buf, sizeof(buf))) > 0) {
        *bytes += (uint64_t) n;

        for (i = 0; i < n; i++) {
            *sum = (*sum ^ (unsigned char) buf[i]) * 16777619u;
        }
    }

    return (int) n;
}


static int
probe_size(faas_request_t *r, long long size)
{
    int     i;
    char    buf[10000];
    size_t  n;

    for (i = 0; i < 10000; i++) {
        buf[i] = (char) ('0' + i % 10);
    }

    while (size > 0) {
        n = size < 10000 ? (size_t) size : sizeof(buf);

        if (faas_write(r, buf, n) != 0) {
            return -1;
        }

        size -= (long long) n;
    }

    return 0;
}


static int
probe_answer(faas_request_t *r)
{
    char         header[256], *colon;
    int          left;
    uint32_t     sum;
    uint64_t     bytes;
    const char  *p;

    probe_calls++;
    bytes = 0;
    sum = 0;
    left = 0;

    if ((p = faas_query(r, "log", NULL)) != NULL) {
        faas_log(r, "%s", p);
    }

    if ((p = faas_query(r, "status", NULL)) != NULL
        && faas_status(r, atoi(p)) != 0)
    {
        return -1;
    }

    if ((p = faas_query(r, "header", NULL)) != NULL) {
        snprintf(header, sizeof(header), "%s", p);
        colon = strchr(header, ':');

        if (colon != NULL) {
            *colon++ = '\0';
            faas_header_add(r, header, colon);
        }
    }

    /* nginx hangs up when it has the headers of a HEAD: we go on */

    if (probe_number(r, "flush", 0) && faas_flush(r) != 0
        && strcmp(faas_method(r), "HEAD") != 0)
    {
        return -1;
    }

    probe_gate(r);

    if (faas_query(r, "exit", NULL) != NULL) {
        _exit(probe_number(r, "exit", 0));
    }

    if (faas_query(r, "die", NULL) != NULL) {
        kill(getpid(), probe_number(r, "die", SIGKILL));
    }

    if (probe_number(r, "fail", 0)) {
        return -1;
    }

    if ((p = faas_query(r, "size", NULL)) != NULL) {
        faas_header_set(r, "Content-Type", "text/plain");
        return probe_size(r, atoll(p));
    }

    if ((p = faas_query(r, "text", NULL)) != NULL) {
        faas_header_set(r, "Content-Type", "text/plain");
        return faas_printf(r, "%s", p);
    }

    if (probe_number(r, "read", 1)) {
        left = probe_body(r, &bytes, &sum);
    }

    if (faas_status(r, probe_number(r, "status", 200)) != 0
        && !probe_number(r, "flush", 0))
    {
        return -1;
    }

    faas_header_set(r, "Content-Type", "application/json");

    return faas_printf(r, "{\"pid\":%d,\"calls\":%u,\"read\":%d,"
                       "\"bytes\":%llu,\"sum\":%u,\"content_length\":%llu,"
                       "\"time_left\":%lld,",
                       (int) getpid(), probe_calls, left,
                       (unsigned long long) bytes, (unsigned) sum,
                       (unsigned long long) faas_content_length(r),
                       (long long) faas_time_left(r))
           || probe_field(r, "version", PROBE_VERSION)
           || probe_field(r, "method", faas_method(r))
           || probe_field(r, "uri", faas_uri(r))
           || probe_field(r, "path", faas_path(r))
           || probe_field(r, "path_info", faas_path_info(r))
           || probe_field(r, "query", faas_query_string(r))
           || probe_field(r, "param", faas_param(r, "name"))
           || probe_field(r, "request_id", faas_request_id(r))
           || probe_field(r, "config", faas_config(r, "PROBE"))
           || probe_field(r, "user_agent", faas_header(r, "User-Agent"))
           || faas_printf(r, "\"variables\":{")
           || faas_variables(r, probe_variable, r)
           || faas_printf(r, "\"\":\"\"}}\n");
}


static int
probe(faas_request_t *r)
{
    int                rc;
    _Atomic uint32_t  *count;

    count = probe_enter(r);

    rc = probe_answer(r);

    if (count != NULL) {
        atomic_fetch_sub(&count[0], 1);
        munmap((void *) count, 4096);
    }

    return rc;
}


FAAS_FUNCTION(.handler = probe PROBE_DESCRIPTOR)


#include <errno.h>
#include <fcgiapp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "environment.h"
#include "faas_scoreboard.h"
#include "load.h"
#include "message.h"
#include "output.h"
#include "replay.h"
#include "request.h"
#include "sandbox.h"


static int replay_prepare(char **argv, char *why, size_t size);
static int replay_start(faas_descriptor_t *descriptor, char *why,
    size_t size);
static int replay_request(const faas_descriptor_t *descriptor,
    uint32_t timeout_ms);


/* a name for gdb, and nothing else */

void faas_replay_begins(const faas_request_t *r);

__attribute__((noinline)) void
faas_replay_begins(const faas_request_t *r)
{
    __asm__ volatile ("" : : "r" (r) : "memory");
}


int
replay_run(int argc, char **argv)
{
    int                rc;
    char               why[1024];
    faas_descriptor_t  descriptor;

    if (argc != 6) {
        (void) fprintf(stderr, "faas-zygote: --replay is for faasctl\n");
        return 2;
    }

    if (replay_prepare(argv, why, sizeof(why)) != FAAS_OK
        || replay_start(&descriptor, why, sizeof(why)) != FAAS_OK)
    {
        (void) fprintf(stderr, "faas-zygote: %s: %s\n", argv[2], why);
        return 1;
    }

    rc = replay_request(&descriptor, (uint32_t) strtoul(argv[5], NULL, 10));

    (void) fflush(NULL);

    _exit(rc);
}


/* as zygote and function init do */

static int
replay_prepare(char **argv, char *why, size_t size)
{
    ssize_t      n;
    sandbox_t    sandbox;

    static char  environment[MESSAGE_TEXT];

    if (FCGX_Init() != 0 || sqlite3_initialize() != SQLITE_OK) {
        (void) snprintf(why, size, "the runtime cannot be set up");
        return FAAS_ERROR;
    }

    (void) signal(SIGPIPE, SIG_IGN);

    /* stdout is faasctl's */

    if (dup2(STDERR_FILENO, STDOUT_FILENO) == -1) {
        (void) snprintf(why, size, "dup2() failed: %s", strerror(errno));
        return FAAS_ERROR;
    }

    n = pread(REPLAY_FD_ENVIRONMENT, environment, sizeof(environment), 0);

    if (n == -1 || environment_set(environment, (size_t) n) != FAAS_OK) {
        (void) snprintf(why, size, "its environment cannot be set");
        return FAAS_ERROR;
    }

    (void) close(REPLAY_FD_ENVIRONMENT);

    memset(&sandbox, 0, sizeof(sandbox_t));
    sandbox.uid = (uid_t) strtoul(argv[3], NULL, 10);
    sandbox.gid = (gid_t) strtoul(argv[4], NULL, 10);
    sandbox.group[0] = sandbox.gid;
    sandbox.groups = 1;

    if (sandbox_enter(&sandbox, why, size) != FAAS_OK) {
        return FAAS_ERROR;
    }

    /* a debugger may look */

    (void) prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);

    return FAAS_OK;
}


/* as template and instance do */

static int
replay_start(faas_descriptor_t *descriptor, char *why, size_t size)
{
    int  rc, lacks;

    if (load_code(REPLAY_FD_CODE, descriptor, &lacks, why, size) != FAAS_OK) {
        return FAAS_ERROR;
    }

    (void) close(REPLAY_FD_CODE);

    if (descriptor->init && (rc = descriptor->init()) != 0) {
        (void) snprintf(why, size, "init() returned %d", rc);
        return FAAS_ERROR;
    }

    if (descriptor->after_fork && (rc = descriptor->after_fork()) != 0) {
        (void) snprintf(why, size, "after_fork() returned %d", rc);
        return FAAS_ERROR;
    }

    return FAAS_OK;
}


static int
replay_request(const faas_descriptor_t *descriptor, uint32_t timeout_ms)
{
    int                    rc;
    uint64_t               now_ns;
    struct timespec        now;

    static faas_request_t  r;

    if (request_read(&r, REPLAY_FD_REQUEST) != FAAS_OK) {
        (void) fprintf(stderr, "faas-zygote: there is no request\n");
        return 1;
    }

    (void) clock_gettime(CLOCK_MONOTONIC, &now);
    now_ns = (uint64_t) now.tv_sec * 1000000000 + (uint64_t) now.tv_nsec;

    request_start(&r, now_ns, timeout_ms);

    (void) close(REPLAY_FD_BEGIN);
    faas_replay_begins(&r);

    rc = descriptor->handler(&r);

    (void) request_finish(&r, rc);
    output_flush();

    return 0;
}

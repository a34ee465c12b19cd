
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client.h"
#include "faasctl.h"


#define FAASCTL_ASK_MS  10000
#define FAASCTL_PATH    108        /* of a unix socket, bytes */


static void *faasctl_keep(void *data, size_t n);
static void faasctl_log(void *data, const char *line);
static const char *faasctl_socket(void);


int
faasctl_ask(wire_operation_e operation, wire_writer_t *question,
    wire_reader_t *answer)
{
    int                 code;
    client_t           *client;
    const char         *path;
    baas_scope_t        scope;
    faas_bytes_t        none;
    struct timespec     ts;
    client_question_t   q;

    none.data = "";
    none.size = 0;
    wire_read(answer, none);

    path = faasctl_socket();

    if (path == NULL || question->failed) {
        wire_free(question);
        return FAAS_EINVAL;
    }

    client = client_create(path, NULL, NULL);

    if (client == NULL) {
        wire_free(question);
        return FAAS_ERROR;
    }

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);
    memset(&scope, 0, sizeof(scope));
    scope.deadline_ms = (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000
                        + FAASCTL_ASK_MS;
    scope.request_id = "";
    scope.traceparent = "";
    scope.tracestate = "";
    scope.alloc = faasctl_keep;
    scope.log = faasctl_log;

    memset(&q, 0, sizeof(q));
    q.operation = operation;
    q.payload.data = question->data;
    q.payload.size = question->size;

    client_ask(client, &q, 1, &scope);
    code = q.code;

    if (code == FAAS_OK) {
        wire_read(answer, q.answer);
    }

    client_destroy(client);
    wire_free(question);

    return code;
}


/* one answer at a time */

static void *
faasctl_keep(void *data, size_t n)
{
    static void  *kept;

    (void) data;

    free(kept);
    kept = faasctl_alloc(n);

    return kept;
}


static void
faasctl_log(void *data, const char *line)
{
    (void) data;

    (void) fprintf(stderr, "faasctl: %s\n", line);
}


static const char *
faasctl_socket(void)
{
    int          n;
    static char  path[FAASCTL_PATH];

    n = snprintf(path, sizeof(path), "%s/baas.sock", faasctl.state);

    return n > 0 && (size_t) n < sizeof(path) ? path : NULL;
}


int
faasctl_failed(int code, const char *what)
{
    const char  *path;

    path = faasctl_socket();

    if (path == NULL) {
        (void) fprintf(stderr, "faasctl: \"%s\" is too long for a socket's "
                       "path\n", faasctl.state);

    } else if (code == FAAS_EUNAVAILABLE && access(path, F_OK) == -1) {
        (void) fprintf(stderr, "faasctl: there is no host: \"%s\": %s "
                       "(-s DIR says where faas_state is)\n", path,
                       strerror(errno));

    } else if (code == FAAS_EDENIED
               || (code == FAAS_EUNAVAILABLE && geteuid() != 0))
    {
        (void) fprintf(stderr, "faasctl: \"%s\" does not answer us: only root "
                       "and the service's user are answered\n", path);

    } else if (what != NULL) {
        (void) fprintf(stderr, "faasctl: %s: %s\n", what, faas_error(code));

    } else {
        (void) fprintf(stderr, "faasctl: %s\n", faas_error(code));
    }

    return FAASCTL_FAILED;
}


int
faasctl_answered(const wire_reader_t *answer)
{
    if (answer->failed) {
        (void) fprintf(stderr, "faasctl: the host's answer is not understood: "
                       "is it of another release?\n");
        return FAASCTL_FAILED;
    }

    return FAASCTL_DONE;
}


void *
faasctl_alloc(size_t n)
{
    void  *p;

    p = calloc(1, n ? n : 1);

    if (p == NULL) {
        (void) fprintf(stderr, "faasctl: out of memory\n");
        exit(FAASCTL_FAILED);
    }

    return p;
}

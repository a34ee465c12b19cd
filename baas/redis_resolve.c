
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <faas.h>

#include "redis.h"
#include "redis_resolve.h"


/* one name that is asked for; what the thread writes to, so it is freed only
   when that is known to be done */

typedef struct redis_question_s {
    struct redis_question_s  *next;
    struct gaicb              cb;
    struct addrinfo           hints;
    char                      port[8];
    char                      host[];
} redis_question_t;


static redis_question_t *redis_question(redis_resolver_t *r, const char *host,
    const char *port);
static int redis_question_wait(redis_question_t *q, int64_t deadline_ms);
static void redis_question_remove(redis_resolver_t *r, redis_question_t *q);


int
redis_resolve(redis_resolver_t *r, const char *host, uint16_t port,
    int64_t deadline_ms, struct addrinfo **list, char *why, size_t size)
{
    int                rc;
    char               service[8];
    struct addrinfo    hints;
    redis_question_t  *q;

    (void) snprintf(service, sizeof(service), "%u", port);

    memset(&hints, 0, sizeof(struct addrinfo));
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;

    if (getaddrinfo(host, service, &hints, list) == 0) {
        return FAAS_OK;
    }

    q = redis_question(r, host, service);

    if (q == NULL) {
        (void) snprintf(why, size, "\"%s\" cannot be looked up", host);
        return FAAS_EUNAVAILABLE;
    }

    rc = redis_question_wait(q, deadline_ms);

    if (rc == EAI_INPROGRESS) {
        (void) snprintf(why, size, "\"%s\": no answer of the name servers",
                        host);
        return FAAS_EUNAVAILABLE;
    }

    if (rc == 0) {
        *list = q->cb.ar_result;
        q->cb.ar_result = NULL;

    } else {
        (void) snprintf(why, size, "\"%s\": %s", host, gai_strerror(rc));
    }

    redis_question_remove(r, q);

    return rc == 0 ? FAAS_OK : FAAS_EUNAVAILABLE;
}


/* the one that is under way, or a new one */
static redis_question_t *
redis_question(redis_resolver_t *r, const char *host, const char *port)
{
    size_t             n;
    struct gaicb      *list[1];
    struct sigevent    event;
    redis_question_t  *q;

    for (q = r->questions; q != NULL; q = q->next) {
        if (strcmp(q->host, host) == 0 && strcmp(q->port, port) == 0) {
            return q;
        }
    }

    n = strlen(host) + 1;

    q = calloc(1, sizeof(redis_question_t) + n);
    if (q == NULL) {
        return NULL;
    }

    memcpy(q->host, host, n);
    (void) strcpy(q->port, port);

    q->hints.ai_socktype = SOCK_STREAM;
    q->hints.ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG;

    q->cb.ar_name = q->host;
    q->cb.ar_service = q->port;
    q->cb.ar_request = &q->hints;

    memset(&event, 0, sizeof(struct sigevent));
    event.sigev_notify = SIGEV_NONE;
    list[0] = &q->cb;

    if (getaddrinfo_a(GAI_NOWAIT, list, 1, &event) != 0) {
        free(q);
        return NULL;
    }

    q->next = r->questions;
    r->questions = q;

    return q;
}


static int
redis_question_wait(redis_question_t *q, int64_t deadline_ms)
{
    int                  rc;
    int64_t              left;
    struct timespec      ts;
    const struct gaicb  *list[1];

    list[0] = &q->cb;

    for ( ;; ) {
        rc = gai_error(&q->cb);

        if (rc != EAI_INPROGRESS) {
            return rc;
        }

        left = deadline_ms - redis_now_ms();

        if (left <= 0) {
            return EAI_INPROGRESS;
        }

        ts.tv_sec = (time_t) (left / 1000);
        ts.tv_nsec = (long) (left % 1000) * 1000000;

        (void) gai_suspend(list, 1, &ts);
    }
}


static void
redis_question_remove(redis_resolver_t *r, redis_question_t *q)
{
    redis_question_t  **p;

    for (p = &r->questions; *p != q; p = &(*p)->next) { /* void */ }

    *p = q->next;

    if (q->cb.ar_result != NULL) {
        freeaddrinfo(q->cb.ar_result);
    }

    free(q);
}


/* what a thread is still writing to is left alone */
void
redis_resolve_cleanup(redis_resolver_t *r)
{
    redis_question_t  *q, *next;

    for (q = r->questions; q != NULL; q = next) {
        next = q->next;

        if (gai_cancel(&q->cb) != EAI_NOTCANCELED
            && gai_error(&q->cb) != EAI_INPROGRESS)
        {
            redis_question_remove(r, q);
        }
    }

    r->questions = NULL;
}

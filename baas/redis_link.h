
/*
 * One connection to one server: connected, logged in, and read and written
 * with a deadline.  Private to the files redis_*.c.
 */


#ifndef REDIS_LINK_H_INCLUDED
#define REDIS_LINK_H_INCLUDED


#include <stddef.h>
#include <stdint.h>

#include "redis.h"
#include "redis_resolve.h"
#include "redis_tls.h"


#define REDIS_WHY  256


/* zeroed, but fd -1, when closed */

typedef struct {
    int                       fd;          /* does not block; -1: closed */
    redis_tls_t              *tls;         /* NULL: plain */
    redisReader              *reader;
    int                       watching;    /* WATCH was sent, and no EXEC */
    int                       answered;    /* 1: it has, at least once */
} redis_link_t;


/* what is said and asked when a connection is made */

typedef struct {
    const char               *user;        /* "": the default user */
    const char               *password;    /* "": no AUTH */
    uint32_t                  db;
    int                       master;      /* 1: must be one (ROLE) */
    int                       proof;       /* 1: must answer (PING) */
    redis_trust_t            *trust;       /* NULL: no TLS */
    redis_resolver_t         *resolver;
} redis_login_t;


/*
 * FAAS_OK, or a code with a line in why[size], and closed.
 * FAAS_EREADONLY: it is no master.
 */
int redis_link_open(redis_link_t *l, const redis_address_t *a,
    const redis_login_t *login, int64_t deadline_ms, char *why, size_t size);
void redis_link_close(redis_link_t *l);

/* FAAS_OK, FAAS_ETIMEDOUT or FAAS_EUNAVAILABLE; *sent: bytes that may have
   reached the server */
int redis_link_write(redis_link_t *l, const char *buf, size_t n, size_t *sent,
    int64_t deadline_ms);

/*
 * The next answer: FAAS_OK, FAAS_ETIMEDOUT, FAAS_EUNAVAILABLE (the connection
 * was lost), FAAS_ERROR (no answer of Redis, or no memory for it).  With a
 * deadline of 0 it does not wait.
 */
int redis_link_read(redis_link_t *l, redisReply **reply, int64_t deadline_ms);

/* one command of strings and its answer, which may be an error: FAAS_OK, or
   FAAS_EUNAVAILABLE */
int redis_link_ask(redis_link_t *l, int argc, const char **argv,
    redisReply **reply, int64_t deadline_ms);

/* 1 if nothing is to be read: neither a late answer nor the end */
int redis_link_is_quiet(redis_link_t *l);


#endif /* REDIS_LINK_H_INCLUDED */


/*
 * TLS for a connection to Redis.  OpenSSL is opened (dlopen) by the first
 * process that needs it, and not linked: zygote and templates, which are
 * forked for each instance, would pay for its pages in every fork.
 *
 * It reads and writes memory only; the socket's bytes are moved here, with
 * MSG_NOSIGNAL and without blocking.
 */


#ifndef REDIS_TLS_H_INCLUDED
#define REDIS_TLS_H_INCLUDED


#include <stddef.h>
#include <sys/types.h>

#include "redis_url.h"


/* what all connections of a redis_t have in common: certificates */
typedef struct redis_trust_s  redis_trust_t;

/* one connection */
typedef struct redis_tls_s  redis_tls_t;


/* NULL with a line in why[size] */
redis_trust_t *redis_trust_create(const redis_url_t *url, char *why,
    size_t size);
void redis_trust_destroy(redis_trust_t *trust);

/* for the socket s, which stays the caller's; host is the name that the
   certificate must be for.  NULL with a line in why[size]. */
redis_tls_t *redis_tls_create(redis_trust_t *trust, int s, const char *host,
    char *why, size_t size);

/* says nothing to the other side; NULL is allowed */
void redis_tls_destroy(redis_tls_t *tls);

/* FAAS_OK when done, REDIS_TLS_AGAIN when it waits for the socket to be
   readable (or writable, if it is pending), FAAS_EDENIED or FAAS_EUNAVAILABLE
   with a line in why[size] */
#define REDIS_TLS_AGAIN  -2
int redis_tls_handshake(redis_tls_t *tls, char *why, size_t size);

/* as recv() and send() of a socket that does not block: -1 and EAGAIN */
ssize_t redis_tls_recv(redis_tls_t *tls, void *buf, size_t n);
ssize_t redis_tls_send(redis_tls_t *tls, const void *buf, size_t n);

/* 1 while some of what was sent is not with the socket yet; flush: 0 or -1 */
int redis_tls_is_pending(const redis_tls_t *tls);
int redis_tls_flush(redis_tls_t *tls);


#endif /* REDIS_TLS_H_INCLUDED */

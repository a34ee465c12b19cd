
/*
 * What faas_kv and faas_queue say of a Redis, parsed.  Pure.
 *
 *   redis://[[USER][:PASSWORD]@]HOST[:PORT][/DB][?OPTIONS]
 *   rediss://...                             the same over TLS
 *   redis+unix://[[USER]:PASSWORD@]/PATH[?OPTIONS], unix:PATH[?OPTIONS]
 *   redis-sentinel://[...@]HOST[:PORT],HOST[:PORT].../MASTER[/DB][?OPTIONS]
 *   redis-cluster://[...@]HOST[:PORT],HOST[:PORT]...[?OPTIONS]
 *   rediss-sentinel://, rediss-cluster://    the same over TLS
 *
 * HOST is a name, an IPv4 address or [an IPv6 address].  %XX stands for a
 * byte in users, passwords, paths, masters and values of options; "redis://
 * SECRET@host", without a colon, is a user without a password and refused,
 * since whoever writes it meant a password.
 *
 *   db=N               as /DB; for a unix socket
 *   prefix=TEXT        of all keys; "faas:", at most 31 bytes, no { or }
 *   timeout=TIME       a command takes at most that, whatever the deadline;
 *                      TIME is a number with ms (none means that too), s or m
 *   wait=N             a message is durable when N replicas have it
 *   wait_timeout=TIME  how long that may take; 1s
 *   ca=PATH            file of trusted certificates; the system's
 *   cert=PATH key=PATH our own certificate, in PEM
 *   verify=full|ca|no  the server's certificate: chain and name, chain only,
 *                      nothing (an attacker in between reads all); full
 *   sentinel_user=TEXT sentinel_password=TEXT   sentinels' own
 */


#ifndef REDIS_URL_H_INCLUDED
#define REDIS_URL_H_INCLUDED


#include <stddef.h>
#include <stdint.h>


#define REDIS_URL_HOST       256
#define REDIS_URL_NODES      8
#define REDIS_URL_SECRET     512
#define REDIS_URL_PREFIX     32
#define REDIS_URL_PORT       6379
#define REDIS_URL_SENTINEL   26379


typedef enum {
    REDIS_SINGLE = 0,
    REDIS_SENTINEL,
    REDIS_CLUSTER
} redis_kind_e;

typedef enum {
    REDIS_VERIFY_FULL = 0,
    REDIS_VERIFY_CA,
    REDIS_VERIFY_NO
} redis_verify_e;


/* where a server listens; a host that begins with '/' is a unix socket and
   has port 0 */

typedef struct {
    char                      host[REDIS_URL_HOST];
    uint16_t                  port;
} redis_address_t;


/* strings are zero-terminated, "" when not given */

typedef struct {
    redis_kind_e              kind;
    int                       tls;         /* 1: to servers and sentinels */
    redis_address_t           address[REDIS_URL_NODES];
    uint32_t                  addresses;   /* 1 and more: sentinels, or nodes
                                              to begin with */
    char                      master[64];  /* SENTINEL */
    char                      user[REDIS_URL_HOST];
    char                      password[REDIS_URL_SECRET];
    char                      sentinel_user[REDIS_URL_HOST];
    char                      sentinel_password[REDIS_URL_SECRET];
    uint32_t                  db;
    char                      prefix[REDIS_URL_PREFIX];
    int64_t                   timeout_ms;  /* 0: only the deadline */
    uint32_t                  wait;        /* replicas; 0: none */
    int64_t                   wait_timeout_ms;

    redis_verify_e            verify;
    char                      ca[REDIS_URL_HOST];
    char                      cert[REDIS_URL_HOST];
    char                      key[REDIS_URL_HOST];
} redis_url_t;


/* 1 if that is one of the forms above, by its scheme alone */
int redis_url_is(const char *text);

/* FAAS_OK, or FAAS_EINVAL with a line in why[size], which holds no secret */
int redis_url_parse(redis_url_t *url, const char *text, char *why,
    size_t size);

/* "host:port", "[host]:port" or the path, for logs; returns buf */
const char *redis_address_text(const redis_address_t *a, char *buf,
    size_t size);


#endif /* REDIS_URL_H_INCLUDED */

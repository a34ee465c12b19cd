
/*
 * Names to addresses, within a deadline.  getaddrinfo() knows none: with name
 * servers that do not answer it takes half a minute.  So it runs on a thread
 * (getaddrinfo_a() of glibc), and an answer that comes late is there for the
 * next who asks.  Addresses in digits need no thread.
 */


#ifndef REDIS_RESOLVE_H_INCLUDED
#define REDIS_RESOLVE_H_INCLUDED


#include <netdb.h>
#include <stdint.h>


/* the questions that are not answered yet; zeroed at first */

typedef struct {
    struct redis_question_s  *questions;
} redis_resolver_t;


/* FAAS_OK and *list for freeaddrinfo(), or FAAS_EUNAVAILABLE with a line in
   why[size] */
int redis_resolve(redis_resolver_t *r, const char *host, uint16_t port,
    int64_t deadline_ms, struct addrinfo **list, char *why, size_t size);

void redis_resolve_cleanup(redis_resolver_t *r);


#endif /* REDIS_RESOLVE_H_INCLUDED */

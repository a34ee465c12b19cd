
/*
 * Inside of baas_t, for baas*.c alone.
 *
 *   baas.c          which store, server or connection a call is for, opened
 *                   when it is first needed
 *   baas_events.c   what goes to the events process
 *   baas_once.c     effects once
 */


#ifndef BAAS_INNER_H_INCLUDED
#define BAAS_INNER_H_INCLUDED


#include "baas.h"
#include "baas_conf.h"
#include "call.h"
#include "client.h"
#include "database.h"
#include "redis.h"


/* a database that is open; in a list, and closed before baas_destroy() only
   when its file is another one */

typedef struct baas_database_s  baas_database_t;

struct baas_database_s {
    baas_database_t          *next;
    database_t               *database;    /* NULL: it has to be opened again */
    int                       begun;       /* 1: in this request */
    char                      name[];      /* "" is the function's own */
};


/* a key-value space, likewise */

typedef struct baas_space_s  baas_space_t;

struct baas_space_s {
    baas_space_t             *next;
    baas_database_t          *holder;      /* NULL: it is in Redis */
    kv_t                     *kv;          /* in Redis */
    char                      name[];      /* "" is the function's own */
};


struct baas_s {
    uint64_t                  mark;        /* process_mark() of its process */
    baas_conf_t               conf;
    const baas_scope_t       *scope;       /* NULL: between two requests */

    baas_database_t          *databases;
    baas_space_t             *spaces;
    redis_t                  *redis;
    client_t                 *client;
    call_t                   *call;

    unsigned                  redis_used:1;     /* redis_context() was, in
                                                   this request */
    unsigned                  once:1;      /* between once_begin and its end */
    unsigned                  outbox:1;    /* something was put there since */
};


/* may this process use it now?  FAAS_OK, FAAS_EUNSUPPORTED (a fork), or
   FAAS_EINVAL (not in a request) */
int baas_check(const baas_t *b);

/* one line to whoever made the scope */
void baas_log(const baas_t *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* the function's own database, begun for this request; NULL with *code */
database_t *baas_own(baas_t *b, int *code);

/* is it of the form of functions' names? */
int baas_is_name(const char *name);

/* "faas_state/NAME" in buf[size] */
int baas_state_path(const baas_t *b, const char *name, char *buf,
    size_t size);

/* asks the events process; NULL with *code */
client_t *baas_client(baas_t *b, int *code);

/* CLOCK_MONOTONIC */
int64_t baas_now_ms(void);


#endif /* BAAS_INNER_H_INCLUDED */


/*
 * The configuration of a function's backend services, as baas.h says it,
 * parsed.  Pure: opens nothing.
 */


#ifndef BAAS_CONF_H_INCLUDED
#define BAAS_CONF_H_INCLUDED


#include <stddef.h>


/* a shared store */

typedef struct {
    const char               *name;
    const char               *path;        /* of its directory */
    unsigned                  write:1;
} baas_share_t;


/* All strings are in `text`; those that were not given are NULL, but for the
   engines, which are then "sqlite". */

typedef struct {
    char                     *text;
    const char               *function;
    const char               *token;
    const char               *state;
    const char               *data;
    const char               *kv;
    const char               *queue;
    baas_share_t             *share;
    size_t                    shares;
    unsigned                  normal:1;    /* durability normal */
    unsigned                  once:1;      /* exactly_once */
} baas_conf_t;


/* FAAS_OK, or FAAS_ERROR with a line in why[size]: then nothing is to be
   freed */
int baas_conf_parse(baas_conf_t *conf, const char *text, size_t n, char *why,
    size_t size);
void baas_conf_free(baas_conf_t *conf);

/* the shared store of that name, or NULL */
const baas_share_t *baas_conf_share(const baas_conf_t *conf,
    const char *name);


#endif /* BAAS_CONF_H_INCLUDED */


/*
 * From settings to bindings: what a `consume` line means for a function, and
 * that each has a queue of its own.
 */


#include <stdlib.h>
#include <string.h>

#include "events_work.h"


#define BINDING_MARGIN_MS  5000   /* nginx answers in its budgets and this */


static events_binding_t *binding_create(const events_function_t *f,
    const faas_consume_t *conf);


size_t
events_bindings(events_binding_t ***bindings, void (*timer)(void *data))
{
    size_t                    i, j, n;
    const events_function_t  *f;

    n = 0;

    for (i = 0; i < events.settings->nfunctions; i++) {
        n += 1 + events.settings->functions[i].nconsumes;
    }

    *bindings = loop_alloc((n ? n : 1) * sizeof(events_binding_t *));
    n = 0;

    for (i = 0; i < events.settings->nfunctions; i++) {
        f = &events.settings->functions[i];

        /* the platform's own is called by clients only: nothing is ever sent
           to it, and its name is none for a queue */

        if (strcmp(f->name, WIRE_CALLS) != 0) {
            (*bindings)[n++] = binding_create(f, NULL);
        }

        for (j = 0; j < f->nconsumes; j++) {
            (*bindings)[n++] = binding_create(f, &f->consumes[j]);
        }
    }

    for (i = 0; i < n; i++) {
        (*bindings)[i]->timer.handler = timer;
        (*bindings)[i]->timer.data = (*bindings)[i];
    }

    if (n) {
        qsort(*bindings, n, sizeof(events_binding_t *), events_binding_compare);
    }

    return n;
}


static events_binding_t *
binding_create(const events_function_t *f, const faas_consume_t *conf)
{
    events_binding_t  *b;

    b = loop_alloc(sizeof(*b));
    memcpy(b->function, f->name, sizeof(b->function));

    if (conf != NULL) {
        b->consume = *conf;
        memcpy(b->queue, conf->queue, sizeof(conf->queue));

    } else {
        b->own = 1;
        b->consume.batch = 1;
        b->queue[0] = '@';
        memcpy(b->queue + 1, f->name, sizeof(f->name));
    }

    if (b->consume.parallel == 0) {
        b->consume.parallel = f->max;
    }

    if (b->consume.parallel > EVENTS_CALLS_MAX) {
        b->consume.parallel = EVENTS_CALLS_MAX;
    }

    b->call_ms = f->timeout_ms + f->queue_timeout_ms + BINDING_MARGIN_MS;
    b->lease_ms = b->consume.lease_ms;

    if (b->lease_ms == 0) {
        b->lease_ms = b->call_ms + BINDING_MARGIN_MS;
    }

    return b;
}


int
events_binding_compare(const void *one, const void *two)
{
    int                      order;
    const events_binding_t  *a, *b;

    a = *(events_binding_t *const *) one;
    b = *(events_binding_t *const *) two;
    order = strcmp(a->queue, b->queue);

    return order ? order : strcmp(a->function, b->function);
}

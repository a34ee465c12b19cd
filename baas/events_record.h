
/*
 * What is kept of an async call, beside its state: the data of queue_call_t,
 * in the form of wire.h's fields.  The request is not in it, but in the
 * message of the function's queue, so a record is small until there is an
 * answer.  Pure.
 */


#ifndef EVENTS_RECORD_H_INCLUDED
#define EVENTS_RECORD_H_INCLUDED


#include <stddef.h>
#include <stdint.h>

#include "wire.h"


/* of a decoded one, all is inside the data that it was decoded from */

typedef struct {
    uint32_t                  attempts;    /* calls that were begun */
    int64_t                   created_ms;
    int64_t                   updated_ms;
    int                       status;      /* of the answer; 0: none yet */
    faas_bytes_t              headers;     /* lines "Name: value\n" */
    faas_bytes_t              body;
    faas_bytes_t              text;        /* why it failed */
    faas_bytes_t              callback;    /* URL, or empty */
} events_record_t;


void events_record_encode(wire_writer_t *w, const events_record_t *r);

/* FAAS_OK, or FAAS_ECORRUPT */
int events_record_decode(const void *data, size_t size, events_record_t *r);


#endif /* EVENTS_RECORD_H_INCLUDED */


/*
 * Bytes of connections to baas.sock: a buffer is as large as what is in it
 * needs, an empty one is none, and all of them together are bounded.
 */


#ifndef EVENTS_BUFFER_H_INCLUDED
#define EVENTS_BUFFER_H_INCLUDED


#include <stddef.h>


/* bytes from `start` to `end`; zeroed at first */

typedef struct {
    char                     *data;
    size_t                    start;
    size_t                    end;
    size_t                    room;
} events_buffer_t;


/* FAAS_OK, or FAAS_ERROR: out of memory, or over what all may have; the
   buffer is as it was */
int events_buffer_append(events_buffer_t *b, const void *p, size_t n);

void events_buffer_release(events_buffer_t *b);


#endif /* EVENTS_BUFFER_H_INCLUDED */

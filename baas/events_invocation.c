
#include <string.h>

#include "events_invocation.h"


#define INVOCATION_FORM  1


static void invocation_put(wire_writer_t *w, const char *text);
static const char *invocation_get(wire_reader_t *r);


/* numbers first; a string goes with its zero, so that a decoded one can stay
   where it is */

void
events_invocation_encode(wire_writer_t *w, const events_invocation_t *i)
{
    wire_put_number(w, INVOCATION_FORM);
    wire_put_number(w, i->kind);
    wire_put_number(w, i->due_ms);
    wire_put_number(w, (int64_t) i->fence);
    wire_put_number(w, i->attempts);
    wire_put_number(w, i->depth);
    invocation_put(w, i->method);
    invocation_put(w, i->path);
    invocation_put(w, i->headers);
    invocation_put(w, i->timer);
    invocation_put(w, i->call);
    invocation_put(w, i->callback);
    invocation_put(w, i->request_id);
    wire_put(w, i->body.data, i->body.size);
}


int
events_invocation_decode(const void *data, size_t size,
    events_invocation_t *i)
{
    int64_t        form;
    faas_bytes_t   payload;
    wire_reader_t  r;

    payload.data = data;
    payload.size = size;
    wire_read(&r, payload);

    form = wire_get_number(&r);
    i->kind = (uint32_t) wire_get_number(&r);
    i->due_ms = wire_get_number(&r);
    i->fence = (uint64_t) wire_get_number(&r);
    i->attempts = (uint32_t) wire_get_number(&r);
    i->depth = (uint32_t) wire_get_number(&r);
    i->method = invocation_get(&r);
    i->path = invocation_get(&r);
    i->headers = invocation_get(&r);
    i->timer = invocation_get(&r);
    i->call = invocation_get(&r);
    i->callback = invocation_get(&r);
    i->request_id = invocation_get(&r);
    i->body = wire_get(&r);

    if (r.failed || form != INVOCATION_FORM || i->kind < EVENTS_DEFER
        || i->kind > EVENTS_CALLBACK)
    {
        return FAAS_ECORRUPT;
    }

    return FAAS_OK;
}


static void
invocation_put(wire_writer_t *w, const char *text)
{
    wire_put(w, text ? text : "", text ? strlen(text) + 1 : 1);
}


static const char *
invocation_get(wire_reader_t *r)
{
    const char    *text;
    faas_bytes_t   field;

    field = wire_get(r);
    text = field.data;

    if (field.size == 0
        || memchr(text, '\0', field.size) != text + field.size - 1)
    {
        r->failed = 1;
        return "";
    }

    return text;
}

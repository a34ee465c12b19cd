
#include <string.h>

#include "events_record.h"


#define RECORD_FORM  1


void
events_record_encode(wire_writer_t *w, const events_record_t *r)
{
    wire_put_number(w, RECORD_FORM);
    wire_put_number(w, r->attempts);
    wire_put_number(w, r->created_ms);
    wire_put_number(w, r->updated_ms);
    wire_put_number(w, r->status);
    wire_put(w, r->headers.data, r->headers.size);
    wire_put(w, r->text.data, r->text.size);
    wire_put(w, r->callback.data, r->callback.size);
    wire_put(w, r->body.data, r->body.size);
}


int
events_record_decode(const void *data, size_t size, events_record_t *r)
{
    int64_t        form;
    faas_bytes_t   payload;
    wire_reader_t  in;

    payload.data = data;
    payload.size = size;
    wire_read(&in, payload);

    form = wire_get_number(&in);
    r->attempts = (uint32_t) wire_get_number(&in);
    r->created_ms = wire_get_number(&in);
    r->updated_ms = wire_get_number(&in);
    r->status = (int) wire_get_number(&in);
    r->headers = wire_get(&in);
    r->text = wire_get(&in);
    r->callback = wire_get(&in);
    r->body = wire_get(&in);

    return in.failed || form != RECORD_FORM || wire_has_more(&in)
           ? FAAS_ECORRUPT : FAAS_OK;
}


/*
 * The form of baas.sock's frames (wire.h).  Pure: bytes in, bytes out.
 */


#include <stdlib.h>
#include <string.h>

#include "wire.h"


static int wire_room(wire_writer_t *w, size_t n);


void
wire_put(wire_writer_t *w, const void *data, size_t size)
{
    uint32_t  length;

    if (size > UINT32_MAX || wire_room(w, sizeof(length) + size) != FAAS_OK) {
        w->failed = 1;
        return;
    }

    length = (uint32_t) size;
    memcpy(w->data + w->size, &length, sizeof(length));
    w->size += sizeof(length);

    if (size) {
        memcpy(w->data + w->size, data, size);
        w->size += size;
    }
}


void
wire_put_text(wire_writer_t *w, const char *text)
{
    wire_put(w, text, text ? strlen(text) : 0);
}


void
wire_put_number(wire_writer_t *w, int64_t number)
{
    wire_put(w, &number, sizeof(number));
}


void
wire_free(wire_writer_t *w)
{
    free(w->data);
    memset(w, 0, sizeof(*w));
}


void
wire_read(wire_reader_t *r, faas_bytes_t payload)
{
    static const char  none[1];

    r->p = payload.size ? payload.data : none;
    r->end = r->p + payload.size;
    r->failed = 0;
}


faas_bytes_t
wire_get(wire_reader_t *r)
{
    uint32_t      length;
    faas_bytes_t  field;

    field.data = "";
    field.size = 0;

    if (r->failed || (size_t) (r->end - r->p) < sizeof(length)) {
        r->failed = 1;
        return field;
    }

    memcpy(&length, r->p, sizeof(length));

    if ((size_t) (r->end - r->p) - sizeof(length) < length) {
        r->failed = 1;
        return field;
    }

    field.data = r->p + sizeof(length);
    field.size = length;
    r->p += sizeof(length) + length;

    return field;
}


int64_t
wire_get_number(wire_reader_t *r)
{
    int64_t       number;
    faas_bytes_t  field;

    field = wire_get(r);
    number = 0;

    if (field.size == sizeof(number)) {
        memcpy(&number, field.data, sizeof(number));

    } else if (field.size != 0) {
        r->failed = 1;         /* an empty one was not given, and is 0 */
    }

    return number;
}


int
wire_has_more(const wire_reader_t *r)
{
    return !r->failed && r->p < r->end;
}


const char *
wire_get_text(wire_reader_t *r, char *buf, size_t size)
{
    faas_bytes_t  field;

    field = wire_get(r);

    if (field.size >= size || memchr(field.data, '\0', field.size) != NULL) {
        r->failed = 1;
        field.size = 0;
    }

    memcpy(buf, field.data, field.size);
    buf[field.size] = '\0';

    return buf;
}


int
wire_head_check(const wire_head_t *head)
{
    if (head->magic != WIRE_MAGIC || head->length > WIRE_PAYLOAD
        || head->operation < WIRE_HELLO || head->operation >= WIRE_OPERATIONS)
    {
        return FAAS_ERROR;
    }

    return FAAS_OK;
}


/* room for n bytes more; a payload never grows beyond what a frame takes */

static int
wire_room(wire_writer_t *w, size_t n)
{
    char    *data;
    size_t   room;

    if (w->failed || n > WIRE_PAYLOAD - w->size) {
        return FAAS_ERROR;
    }

    if (n <= w->room - w->size) {
        return FAAS_OK;
    }

    room = w->room ? w->room * 2 : 256;

    while (room < w->size + n) {
        room *= 2;
    }

    data = realloc(w->data, room);
    if (data == NULL) {
        return FAAS_ERROR;
    }

    w->data = data;
    w->room = room;

    return FAAS_OK;
}

/* objects: baas/wire.c baas/json_text.c baas/calls_document.c */

/*
 * Frames of baas.sock, which are read as they were written; and JSON, which
 * is UTF-8 whatever is put into it.
 */


#include "fuzz.h"

#include "calls_document.h"
#include "json_text.h"
#include "wire.h"


static void
frame(const uint8_t *data, size_t size)
{
    char           text[32];
    faas_bytes_t   payload, field;
    wire_head_t    head;
    wire_reader_t  r;
    wire_writer_t  w;

    if (size >= sizeof(head)) {
        memcpy(&head, data, sizeof(head));

        if (wire_head_check(&head) == FAAS_OK) {
            must(head.magic == WIRE_MAGIC && head.length <= WIRE_PAYLOAD);
        }
    }

    payload.data = data;
    payload.size = size;

    /* what can be read is, written again, the same */

    memset(&w, 0, sizeof(w));
    wire_read(&r, payload);

    while (wire_has_more(&r)) {
        field = wire_get(&r);

        if (r.failed) {
            must(field.size == 0);
            break;
        }

        must((const uint8_t *) field.data >= data
             && (const uint8_t *) field.data + field.size <= data + size);
        wire_put(&w, field.data, field.size);
    }

    must(w.size <= size && (w.size == 0 || memcmp(w.data, data, w.size) == 0));
    must(r.failed || w.size == size);

    wire_free(&w);

    wire_read(&r, payload);
    (void) wire_get_number(&r);
    must(wire_get_text(&r, text, sizeof(text)) == text);
    must(memchr(text, '\0', sizeof(text)) != NULL);
}


static void
json(const uint8_t *data, size_t size)
{
    json_text_t  t;

    memset(&t, 0, sizeof(t));

    json_string(&t, (const char *) data, size);
    must(!t.failed && t.data[t.size] == '\0' && strlen(t.data) == t.size);
    must(t.size >= 2 && t.data[0] == '"' && t.data[t.size - 1] == '"');
    must(json_is_text(t.data, t.size));

    json_base64(&t, data, size);
    must(!t.failed);

    json_free(&t);
}


static void
document(const uint8_t *data, size_t size)
{
    char              *text;
    size_t             n, cut;
    calls_document_t   d;

    if (size < 4) {
        return;
    }

    memset(&d, 0, sizeof(d));
    cut = (size_t) data[0] % (size - 3);

    d.id = "hello.0123";
    d.state = data[1] % (WIRE_CALL_CANCELLED + 1);
    d.status = data[2] + 100;
    d.created_ms = data[1] * INT64_C(100000000);
    d.updated_ms = data[2] * INT64_C(3000000000);
    d.headers.data = data + 3;
    d.headers.size = cut;
    d.body.data = data + 3 + cut;
    d.body.size = size - 3 - cut;
    d.text = d.body;

    text = calls_document(&d, &n);
    must(text != NULL && strlen(text) == n && json_is_text(text, n));

    free(text);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t   which;
    uint8_t  *copy;

    if (size < 2 || size > 8192) {
        return 0;
    }

    which = data[0];
    copy = malloc(size - 1);
    must(copy != NULL);
    memcpy(copy, data + 1, size - 1);

    switch (which % 3) {

    case 0:
        frame(copy, size - 1);
        break;

    case 1:
        json(copy, size - 1);
        break;

    default:
        document(copy, size - 1);
    }

    free(copy);

    return 0;
}

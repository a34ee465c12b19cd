/* objects: baas/call_http.c ngx_faas_module/ngx_http_faas_prefer.c */

/*
 * HTTP: an answer of nginx to a call, which means the same in whatever pieces
 * it comes; and the Prefer header.
 */


#include "fuzz.h"

#include "call_http.h"
#include "../../ngx_faas_module/ngx_http_faas_prefer.h"


#define BODY  65536


typedef struct {
    int                       rc;            /* of what came last */
    int                       status;
    size_t                    head;
    size_t                    length;        /* of a chunked body */
    int                       ended;
    char                      body[BODY];
} outcome_t;


/* reads an answer, of which at most `piece` bytes more come at a time */

static void
read_answer(const uint8_t *data, size_t size, size_t piece, int is_head,
    outcome_t *o)
{
    char                *copy;
    size_t               there, used, decoded, done;
    call_http_answer_t   answer;

    memset(&answer, 0, sizeof(answer));
    memset(o, 0, sizeof(outcome_t));
    answer.is_head = is_head != 0;

    copy = fuzz_text(data, size);
    done = 0;

    for (there = piece < size ? piece : size; ; there += piece) {

        if (there > size) {
            there = size;
        }

        used = 0;
        o->rc = call_http_parse(&answer, copy + done, there - done, &used);
        must(used <= there - done);
        done += used;

        if (o->rc != FAAS_OK || answer.status != 0 || there == size) {
            break;
        }
    }

    o->status = answer.status;
    o->head = done;

    while (o->rc == FAAS_OK && answer.status != 0 && answer.chunked) {

        used = 0;
        decoded = 0;
        o->rc = call_http_chunks(&answer, copy + done, there - done, &used,
                                 &decoded);
        must(o->rc == FAAS_ERROR || o->rc == 0 || o->rc == 1);

        if (o->rc == FAAS_ERROR) {
            break;
        }

        must(decoded <= used && used <= there - done);
        must(o->length + decoded <= BODY);
        memcpy(o->body + o->length, copy + done, decoded);
        o->length += decoded;
        done += used;

        if (o->rc == 1) {
            o->ended = 1;
            break;
        }

        if (there == size) {
            break;
        }

        there = size - there < piece ? size : there + piece;
    }

    free(copy);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char              *text;
    static outcome_t   whole, pieces;

    if (size < 2 || size > 16384) {
        return 0;
    }

    if (data[0] & 1) {
        text = malloc(size - 1);
        must(text != NULL);
        memcpy(text, data + 1, size - 1);
        (void) ngx_http_faas_prefer_is_async(text, size - 1);
        free(text);
        return 0;
    }

    read_answer(data + 2, size - 2, size, data[0] & 2, &whole);
    read_answer(data + 2, size - 2, 1 + data[1] % 32, data[0] & 2, &pieces);

    must((whole.rc == FAAS_ERROR) == (pieces.rc == FAAS_ERROR));

    if (whole.rc != FAAS_ERROR) {
        must(whole.status == pieces.status);
        must(whole.ended == pieces.ended && whole.length == pieces.length);
        must(memcmp(whole.body, pieces.body, whole.length) == 0);
    }

    return 0;
}

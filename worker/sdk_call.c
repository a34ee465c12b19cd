
/* What goes to others: messages and calls.  faas.h on baas.h. */


#include <string.h>
#include <strings.h>

#include "faas_platform.h"
#include "sdk.h"


int
faas_queue_send(faas_request_t *r, const char *queue, const void *data,
    size_t size, const faas_send_t *options, char *id)
{
    int      code;
    baas_t  *b;

    b = sdk_baas(r, &code);

    return b ? baas_queue_send(b, queue, data, size, options, id) : code;
}


int
faas_defer(faas_request_t *r, int64_t delay_ms, const char *function,
    const void *data, size_t size, const faas_send_t *options, char *id)
{
    int      code;
    baas_t  *b;

    b = sdk_baas(r, &code);

    return b ? baas_defer(b, delay_ms, function, data, size, options, id)
             : code;
}


int
faas_wire(faas_request_t *r, uint32_t operation, faas_bytes_t payload,
    faas_bytes_t *answer)
{
    int      code;
    baas_t  *b;

    b = sdk_baas(r, &code);

    return b ? baas_wire(b, operation, payload, answer) : code;
}


int
faas_call(faas_request_t *r, const char *function, const faas_call_t *call,
    faas_answer_t *answer)
{
    int      code;
    baas_t  *b;

    b = sdk_baas(r, &code);

    return b ? baas_call(b, function, call, answer) : code;
}


const char *
faas_answer_header(faas_request_t *r, const faas_answer_t *answer,
    const char *name)
{
    size_t       n;
    const char  *p, *end;

    if (r == NULL || answer == NULL || answer->headers == NULL) {
        return NULL;
    }

    n = strlen(name);

    for (p = answer->headers; *p; p = *end ? end + 1 : end) {
        end = p + strcspn(p, "\n");

        if ((size_t) (end - p) <= n || p[n] != ':'
            || strncasecmp(p, name, n) != 0)
        {
            continue;
        }

        p += n + 1;
        p += strspn(p, " \t");

        while (end > p && (end[-1] == ' ' || end[-1] == '\t')) {
            end--;
        }

        return arena_copy(&r->arena, p, (size_t) (end - p));
    }

    return NULL;
}


/*
 * Queues over HTTP (docs/http.md, openapi.json):
 *
 *   POST /queue/NAME     sends the body: 202 and {"id":"..."}, once durable
 *
 * Faas-Message-Id names the message, so that it may be sent again when the
 * answer was lost; Faas-Delay is in milliseconds.
 */


#include <string.h>

#include "http.h"


#define QUEUE_DELAY_MAX  (365ll * 24 * 3600 * 1000)


static int queue_handler(faas_request_t *r);


FAAS_FUNCTION(.handler = queue_handler)


static int
queue_handler(faas_request_t *r)
{
    int           code;
    char          name[64], id[FAAS_MESSAGE_ID_SIZE];
    size_t        size;
    json_text_t   t;
    faas_send_t   options;
    const char   *path, *delay, *data;

    if (http_is_refused(r)) {
        return FAAS_OK;
    }

    path = http_path_name(faas_path_info(r), name);

    if (path == NULL || *path != '\0' || name[0] == '\0') {
        return http_problem(r, 404, "the path is /NAME, of a queue");
    }

    if (strcmp(faas_method(r), "POST") != 0) {
        return http_not_allowed(r, "POST");
    }

    memset(&options, 0, sizeof(options));

    options.id = faas_header(r, "Faas-Message-Id");
    delay = faas_header(r, "Faas-Delay");

    if (delay != NULL
        && http_number(delay, 0, QUEUE_DELAY_MAX, &options.delay_ms) != 0)
    {
        return http_problem(r, 400, "Faas-Delay is a number of milliseconds, "
                            "up to a year");
    }

    if (faas_content_length(r) > FAAS_MESSAGE_MAX) {
        return http_problem(r, 413, "a message is at most 1 MiB");
    }

    data = faas_body(r, FAAS_MESSAGE_MAX, &size);

    if (data == NULL) {
        return FAAS_ERROR;
    }

    code = faas_queue_send(r, name, data, size, &options, id);

    if (code != FAAS_OK) {
        return http_fail(r, code);
    }

    memset(&t, 0, sizeof(t));
    json_put(&t, "{\"id\":");
    json_string(&t, id, strlen(id));
    json_put(&t, "}\n");

    return http_json(r, 202, &t);
}

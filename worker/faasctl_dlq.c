
/*
 * Dead letters.  What lies in a function's own queue is a call that was to be
 * made (events_invocation.h), and is shown as one.
 */


#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "events_invocation.h"
#include "faasctl.h"


#define DLQ_LIMIT  100
#define DLQ_STEPS  1000            /* questions about all of a queue */


typedef struct {
    int64_t                   attempts;
    int64_t                   sent_ms;
    int64_t                   died_ms;
    faas_bytes_t              reason;
    faas_bytes_t              data;
    int                       is_call;     /* of a function's own queue */
    events_invocation_t       call;
} dlq_letter_t;


static int dlq_change(wire_operation_e operation, const char *done,
    const char *undo);
static int dlq_show_json(const dlq_letter_t *letter);
static int dlq_show_text(const dlq_letter_t *letter);
static void dlq_print(faas_bytes_t text);
static const char *dlq_kind(uint32_t kind);


int
faasctl_dlq_list(void)
{
    int               code;
    size_t            lines;
    int64_t           attempts, died, size, limit;
    const char       *queue;
    json_text_t       json;
    faas_bytes_t      name, id, reason;
    wire_reader_t     answer;
    wire_writer_t     question;
    faasctl_table_t   table;

    static const char *const  head[] = {
        "QUEUE", "ID", "ATTEMPTS", "DIED", "SIZE", "REASON"
    };

    queue = faasctl.nwords > 2 ? faasctl.words[2] : "";
    limit = faasctl.limit ? faasctl.limit : DLQ_LIMIT;

    if (faasctl.after[0] != '\0' && queue[0] == '\0') {
        (void) fprintf(stderr, "faasctl: --after needs a queue: faasctl dlq "
                       "list QUEUE --after ID\n");
        return FAASCTL_USAGE;
    }

    memset(&question, 0, sizeof(question));
    wire_put_text(&question, queue);
    wire_put_text(&question, faasctl.after);
    wire_put_number(&question, limit);
    code = faasctl_ask(WIRE_DEAD_LIST, &question, &answer);

    if (code != FAAS_OK) {
        return faasctl_failed(code, code == FAAS_ENOTFOUND ? faasctl.after
                                                           : queue);
    }

    memset(&json, 0, sizeof(json));
    json_put(&json, "[");
    faasctl_table(&table, 6, head);
    id = faas_text("");

    for (lines = 0; wire_has_more(&answer); lines++) {
        name = wire_get(&answer);
        id = wire_get(&answer);
        attempts = wire_get_number(&answer);
        died = wire_get_number(&answer);
        size = wire_get_number(&answer);
        reason = wire_get(&answer);

        json_put(&json, lines ? ",{" : "{");
        faasctl_json_text(&json, "queue", name);
        faasctl_json_text(&json, "id", id);
        faasctl_json_number(&json, "attempts", attempts);
        faasctl_json_time(&json, "died", died);
        faasctl_json_number(&json, "size", size);
        faasctl_json_text(&json, "reason", reason);
        json_put(&json, "}");

        faasctl_cell(&table, name);
        faasctl_cell(&table, id);
        faasctl_cell_number(&table, attempts);
        faasctl_cell_time(&table, died);
        faasctl_cell_number(&table, size);
        faasctl_cell(&table, reason);
    }

    json_put(&json, "]");

    code = faasctl_list_print(&json, &table, "there are no dead letters");

    if (!faasctl.json && queue[0] != '\0' && lines == (size_t) limit) {
        (void) printf("perhaps there are more: faasctl dlq list %s "
                      "--after %.*s\n", queue, (int) id.size,
                      (const char *) id.data);
    }

    return code == FAASCTL_DONE ? faasctl_answered(&answer) : code;
}


int
faasctl_dlq_show(void)
{
    int            code;
    dlq_letter_t   letter;
    wire_reader_t  answer;
    wire_writer_t  question;

    memset(&question, 0, sizeof(question));
    wire_put_text(&question, faasctl.words[2]);
    wire_put_text(&question, faasctl.words[3]);
    code = faasctl_ask(WIRE_DEAD_GET, &question, &answer);

    if (code != FAAS_OK) {
        return faasctl_failed(code, faasctl.words[3]);
    }

    letter.attempts = wire_get_number(&answer);
    letter.sent_ms = wire_get_number(&answer);
    letter.died_ms = wire_get_number(&answer);
    letter.reason = wire_get(&answer);
    letter.data = wire_get(&answer);

    if (answer.failed) {
        return faasctl_answered(&answer);
    }

    letter.is_call = faasctl.words[2][0] == '@'
                     && events_invocation_decode(letter.data.data,
                                                 letter.data.size,
                                                 &letter.call)
                        == FAAS_OK;

    return faasctl.json ? dlq_show_json(&letter) : dlq_show_text(&letter);
}


static int
dlq_show_json(const dlq_letter_t *letter)
{
    int                         rc;
    json_text_t                 json;
    const events_invocation_t  *call;

    memset(&json, 0, sizeof(json));
    json_put(&json, "{");
    faasctl_json_text(&json, "queue", faas_text(faasctl.words[2]));
    faasctl_json_text(&json, "id", faas_text(faasctl.words[3]));
    faasctl_json_number(&json, "attempts", letter->attempts);
    faasctl_json_time(&json, "sent", letter->sent_ms);
    faasctl_json_time(&json, "died", letter->died_ms);
    faasctl_json_text(&json, "reason", letter->reason);

    if (letter->is_call) {
        call = &letter->call;
        json_put(&json, ",\"call\":{");
        faasctl_json_text(&json, "kind", faas_text(dlq_kind(call->kind)));
        faasctl_json_text(&json, "method", faas_text(call->method));
        faasctl_json_text(&json, "path", faas_text(call->path));
        faasctl_json_text(&json, "headers", faas_text(call->headers));
        faasctl_json_text(&json, "timer", faas_text(call->timer));
        faasctl_json_time(&json, "due", call->due_ms);
        faasctl_json_text(&json, "id", faas_text(call->call));
        faasctl_json_text(&json, "callback", faas_text(call->callback));
        faasctl_json_data(&json, "body", call->body);
        json_put(&json, "}");

    } else {
        faasctl_json_data(&json, "data", letter->data);
    }

    json_put(&json, "}");
    rc = faasctl_json_print(&json);
    json_free(&json);

    return rc;
}


static int
dlq_show_text(const dlq_letter_t *letter)
{
    char                        buf[64];
    faas_bytes_t                data;
    const events_invocation_t  *call;

    (void) printf("queue     %s\nid        %s\nattempts  %lld\n",
                  faasctl.words[2], faasctl.words[3],
                  (long long) letter->attempts);
    (void) printf("sent      %s\n",
                  faasctl_time(letter->sent_ms, buf, sizeof(buf)));
    (void) printf("died      %s\n",
                  faasctl_time(letter->died_ms, buf, sizeof(buf)));
    (void) printf("reason    %.*s\n", (int) letter->reason.size,
                  (const char *) letter->reason.data);

    data = letter->data;

    if (letter->is_call) {
        call = &letter->call;
        data = call->body;
        (void) printf("kind      %s\n", dlq_kind(call->kind));

        if (call->timer[0] != '\0') {
            (void) printf("timer     %s\ndue       %s\n", call->timer,
                          faasctl_time(call->due_ms, buf, sizeof(buf)));
        }

        if (call->call[0] != '\0') {
            (void) printf("call      %s\n", call->call);
        }

        if (call->callback[0] != '\0') {
            (void) printf("callback  %s\n", call->callback);
        }

        if (call->path[0] != '\0') {
            (void) printf("request   %s %s\n", call->method, call->path);
            dlq_print(faas_text(call->headers));
        }
    }

    (void) printf("\n");
    dlq_print(data);

    if (data.size && ((const char *) data.data)[data.size - 1] != '\n') {
        (void) printf("\n");
    }

    return FAASCTL_DONE;
}


/* as it is into a file or a pipe; a terminal is not to be steered by it */

static void
dlq_print(faas_bytes_t text)
{
    int                   terminal;
    size_t                i;
    const unsigned char  *p;

    terminal = isatty(STDOUT_FILENO);
    p = text.data;

    for (i = 0; i < text.size; i++) {
        (void) putchar(terminal && (p[i] == 0x7f || p[i] == 0x9b
                                    || (p[i] < 0x20 && p[i] != '\n'
                                        && p[i] != '\t'))
                       ? '?' : p[i]);
    }
}


static const char *
dlq_kind(uint32_t kind)
{
    switch (kind) {

    case EVENTS_DEFER:
        return "deferred call";

    case EVENTS_TIMER:
        return "timer";

    case EVENTS_ASYNC:
        return "async call";

    default:
        return "callback";
    }
}


int
faasctl_dlq_retry(void)
{
    return dlq_change(WIRE_DEAD_RETRY, "sent again, attempts count from 0",
                      "This cannot be undone; what fails again is a dead "
                      "letter again.");
}


int
faasctl_dlq_purge(void)
{
    return dlq_change(WIRE_DEAD_PURGE, "deleted",
                      "This cannot be undone; \"faasctl -o json dlq show "
                      "QUEUE ID\" beforehand keeps a copy.");
}


/* of many letters, the host does as many as it can in its time; asked again
   it goes on */

static int
dlq_change(wire_operation_e operation, const char *done, const char *undo)
{
    int             rc, code, steps;
    int64_t         n;
    const char     *queue, *id;
    json_text_t     json;
    wire_reader_t   answer;
    wire_writer_t   question;

    queue = faasctl.words[2];
    id = faasctl.nwords > 3 ? faasctl.words[3] : "";

    if ((id[0] != '\0') == faasctl.all) {
        (void) fprintf(stderr, "faasctl: either one letter's ID, or --all of "
                       "the queue (see faasctl help)\n");
        return FAASCTL_USAGE;
    }

    for (steps = 1; steps <= DLQ_STEPS; steps++) {
        memset(&question, 0, sizeof(question));
        wire_put_text(&question, queue);
        wire_put_text(&question, id);
        code = faasctl_ask(operation, &question, &answer);

        if (code != FAAS_ETIMEDOUT || !faasctl.all) {
            break;
        }
    }

    if (code != FAAS_OK) {
        return faasctl_failed(code, id[0] != '\0' ? id : queue);
    }

    n = wire_get_number(&answer);

    if (answer.failed) {
        return faasctl_answered(&answer);
    }

    if (!faasctl.json) {
        (void) printf("queue \"%s\": %s%lld dead letter%s %s\n%s\n", queue,
                      steps > 1 ? "more than " : "", (long long) n,
                      n == 1 ? "" : "s", done, undo);
        return FAASCTL_DONE;
    }

    memset(&json, 0, sizeof(json));
    json_put(&json, "{");
    faasctl_json_text(&json, "queue", faas_text(queue));
    faasctl_json_number(&json, operation == WIRE_DEAD_RETRY ? "retried"
                                                            : "purged", n);
    faasctl_json_text(&json, "undo", faas_text(undo));
    json_put(&json, "}");
    rc = faasctl_json_print(&json);
    json_free(&json);

    return rc;
}

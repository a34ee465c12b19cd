
#include <string.h>

#include "faasctl.h"


int
faasctl_queue_list(void)
{
    int               i, code;
    int64_t           figures[5];
    json_text_t       json;
    faas_bytes_t      queue;
    wire_reader_t     answer;
    wire_writer_t     question;
    faasctl_table_t   table;

    static const char *const  head[] = {
        "QUEUE", "READY", "DELAYED", "LEASED", "DEAD", "OLDEST"
    };
    static const char *const  names[] = {
        "ready", "delayed", "leased", "dead", "oldest_ms"
    };

    memset(&question, 0, sizeof(question));
    code = faasctl_ask(WIRE_QUEUE_LIST, &question, &answer);

    if (code != FAAS_OK) {
        return faasctl_failed(code, NULL);
    }

    memset(&json, 0, sizeof(json));
    json_put(&json, "[");
    faasctl_table(&table, 6, head);

    while (wire_has_more(&answer)) {
        queue = wire_get(&answer);
        json_put(&json, json.size > 1 ? ",{" : "{");
        faasctl_json_text(&json, "queue", queue);
        faasctl_cell(&table, queue);

        for (i = 0; i < 5; i++) {
            figures[i] = wire_get_number(&answer);
            faasctl_json_number(&json, names[i], figures[i]);

            if (i < 4) {
                faasctl_cell_number(&table, figures[i]);
            }
        }

        faasctl_cell_age(&table, figures[0] ? figures[4] : -1);
        json_put(&json, "}");
    }

    json_put(&json, "]");

    code = faasctl_list_print(&json, &table, "there are no queues");

    return code == FAASCTL_DONE ? faasctl_answered(&answer) : code;
}


int
faasctl_timer_list(void)
{
    int               code, running;
    int64_t           due, last;
    json_text_t       json;
    faas_bytes_t      function, timer;
    wire_reader_t     answer;
    wire_writer_t     question;
    faasctl_table_t   table;

    static const char *const  head[] = {
        "FUNCTION", "TIMER", "DUE", "LAST", "RUNNING"
    };

    memset(&question, 0, sizeof(question));
    code = faasctl_ask(WIRE_TIMER_LIST, &question, &answer);

    if (code != FAAS_OK) {
        return faasctl_failed(code, NULL);
    }

    memset(&json, 0, sizeof(json));
    json_put(&json, "[");
    faasctl_table(&table, 5, head);

    while (wire_has_more(&answer)) {
        function = wire_get(&answer);
        timer = wire_get(&answer);
        due = wire_get_number(&answer);
        last = wire_get_number(&answer);
        running = wire_get_number(&answer) != 0;

        json_put(&json, json.size > 1 ? ",{" : "{");
        faasctl_json_text(&json, "function", function);
        faasctl_json_text(&json, "timer", timer);
        faasctl_json_time(&json, "due", due);
        faasctl_json_time(&json, "last", last);
        json_put(&json, running ? ",\"running\":true}" : ",\"running\":false}");

        faasctl_cell(&table, function);
        faasctl_cell(&table, timer);
        faasctl_cell_time(&table, due);
        faasctl_cell_time(&table, last);
        faasctl_cell(&table, faas_text(running ? "yes" : "no"));
    }

    json_put(&json, "]");

    code = faasctl_list_print(&json, &table, "there are no timers");

    return code == FAASCTL_DONE ? faasctl_answered(&answer) : code;
}

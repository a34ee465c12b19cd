
/*
 * Functions, as the board has them.  It is read while it changes: each index
 * is bounded, texts are copied, figures may be a moment apart.
 */


#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "faasctl.h"
#include "line.h"


/* what of a function is shown; all copied */

typedef struct {
    char                      name[FAAS_NAME_SIZE];
    const char               *state;
    char                      version[FAAS_VERSION_SIZE];
    uint32_t                  instances;
    uint64_t                  starts;
    uint64_t                  deaths;      /* of the tally, all kinds */
    int64_t                   held_ms;     /* 0: it is not held back */
    uint32_t                  row;
    char                      failure[FAAS_TEXT_SIZE];
    int64_t                   failed_ms;
    char                      error[FAAS_TEXT_SIZE];
    faas_tally_t             *tally;
} function_view_t;


static int function_view(faas_scoreboard_t *board, uint32_t i,
    function_view_t *v);
static void function_text(faas_text_t *t, char *dst);
static uint32_t function_count(faas_scoreboard_t *board);
static void function_json(json_text_t *json, const function_view_t *v);
static void function_print(const function_view_t *v);
static void function_print_deaths(const function_view_t *v);
static void function_death_text(const faas_death_t *d, char *buf,
    size_t size);


static const char *const  function_states[] = {
    [FAAS_FUNCTION_FREE] = "free",
    [FAAS_FUNCTION_LOADING] = "loading",
    [FAAS_FUNCTION_READY] = "ready",
    [FAAS_FUNCTION_FAILED] = "failed",
    [FAAS_FUNCTION_REMOVED] = "removed"
};


int
faasctl_list(void)
{
    uint32_t            i, n;
    json_text_t         json;
    faasctl_table_t     table;
    function_view_t     v;
    faas_scoreboard_t  *board;

    static const char *const  head[] = {
        "FUNCTION", "STATE", "VERSION", "INSTANCES", "DEATHS", "HELD",
        "FAILED START"
    };

    board = faasctl_board();

    if (board == NULL) {
        return FAASCTL_FAILED;
    }

    memset(&json, 0, sizeof(json));
    json_put(&json, "[");
    faasctl_table(&table, 7, head);
    n = function_count(board);

    for (i = 0; i < n; i++) {

        if (!function_view(board, i, &v)) {
            continue;
        }

        json_put(&json, json.size > 1 ? "," : "");
        function_json(&json, &v);

        faasctl_cell(&table, faas_text(v.name));
        faasctl_cell(&table, faas_text(v.state));
        faasctl_cell(&table, faas_text(v.version[0] ? v.version : "-"));
        faasctl_cell_number(&table, v.instances);
        faasctl_cell_number(&table, (int64_t) v.deaths);
        faasctl_cell_age(&table, v.held_ms ? v.held_ms : -1);
        faasctl_cell(&table, faas_text(v.failure[0] ? v.failure : "-"));
    }

    json_put(&json, "]");

    return faasctl_list_print(&json, &table, "there are no functions");
}


int
faasctl_describe(void)
{
    int                 rc;
    uint32_t            i, n;
    json_text_t         json;
    function_view_t     v;
    faas_scoreboard_t  *board;

    board = faasctl_board();

    if (board == NULL) {
        return FAASCTL_FAILED;
    }

    n = function_count(board);

    for (i = 0; i < n; i++) {
        if (function_view(board, i, &v)
            && strcmp(v.name, faasctl.words[1]) == 0)
        {
            break;
        }
    }

    if (i == n) {
        (void) fprintf(stderr, "faasctl: %s: there is no such function\n",
                       faasctl.words[1]);
        return FAASCTL_FAILED;
    }

    if (!faasctl.json) {
        function_print(&v);
        return FAASCTL_DONE;
    }

    memset(&json, 0, sizeof(json));
    function_json(&json, &v);
    rc = faasctl_json_print(&json);
    json_free(&json);

    return rc;
}


int
faasctl_ack(void)
{
    int          rc;
    const char  *answer;
    json_text_t  json;

    static const char  undo[] =
        "This cannot be undone; the error log still has it, and a start that "
        "fails again is shown again.";

    rc = faasctl_tell(FAAS_CONTROL_ACK, faasctl.words[1], &answer);

    if (rc != FAASCTL_DONE) {
        return rc;
    }

    if (!faasctl.json) {
        (void) printf("function \"%s\": acknowledged: %s\n%s\n",
                      faasctl.words[1], answer, undo);
        return FAASCTL_DONE;
    }

    memset(&json, 0, sizeof(json));
    json_put(&json, "{");
    faasctl_json_text(&json, "function", faas_text(faasctl.words[1]));
    faasctl_json_text(&json, "acknowledged", faas_text(answer));
    faasctl_json_text(&json, "undo", faas_text(undo));
    json_put(&json, "}");
    rc = faasctl_json_print(&json);
    json_free(&json);

    return rc;
}


static uint32_t
function_count(faas_scoreboard_t *board)
{
    uint32_t  n;

    n = atomic_load(&board->functions_used);

    return n < board->functions ? n : board->functions;
}


/* 1: there is one */

static int
function_view(faas_scoreboard_t *board, uint32_t i, function_view_t *v)
{
    uint32_t          state, current;
    uint64_t          now_ms, until_ms;
    faas_function_t  *f;
    struct timespec   now;

    f = faas_scoreboard_function(board, i);
    state = atomic_load(&f->state);

    if (state == FAAS_FUNCTION_FREE || state > FAAS_FUNCTION_REMOVED) {
        return 0;
    }

    memset(v, 0, sizeof(function_view_t));

    memcpy(v->name, f->name, FAAS_NAME_SIZE - 1);
    v->state = function_states[state];
    v->instances = atomic_load(&f->instances);
    v->starts = atomic_load(&f->starts);
    v->tally = &f->tally;
    v->deaths = atomic_load(&f->tally.total);
    v->row = atomic_load(&f->backoff_row);
    v->failed_ms = (int64_t) atomic_load(&f->failed_at) * 1000;
    function_text(&f->failure, v->failure);
    function_text(&f->last_error, v->error);

    current = atomic_load(&f->current);

    if (current < board->versions) {
        memcpy(v->version, faas_scoreboard_version(board, current)->id,
               FAAS_VERSION_SIZE - 1);
    }

    if (atomic_load(&f->backoff)) {
        (void) clock_gettime(CLOCK_MONOTONIC, &now);
        now_ms = (uint64_t) now.tv_sec * 1000
                 + (uint64_t) now.tv_nsec / 1000000;
        until_ms = atomic_load(&f->backoff_until_ms);
        v->held_ms = until_ms > now_ms ? (int64_t) (until_ms - now_ms) : 1;
    }

    return 1;
}


/* it may quote a function: a terminal is not to be steered by it */

static void
function_text(faas_text_t *t, char *dst)
{
    (void) faas_text_read(t, dst);
    line_clean(dst, strlen(dst));
}


static void
function_json(json_text_t *json, const function_view_t *v)
{
    uint32_t      i;
    faas_death_t  d;

    json_put(json, "{");
    faasctl_json_text(json, "function", faas_text(v->name));
    faasctl_json_text(json, "state", faas_text(v->state));
    faasctl_json_text(json, "version", faas_text(v->version));
    faasctl_json_number(json, "instances", v->instances);
    faasctl_json_number(json, "starts", (int64_t) v->starts);
    faasctl_json_number(json, "held_ms", v->held_ms);
    faasctl_json_number(json, "deaths_in_a_row", v->row);
    faasctl_json_number(json, "deaths", (int64_t) v->deaths);

    json_put(json, ",\"deaths_by_kind\":{");

    for (i = 0; i < FAAS_DEATHS; i++) {
        faasctl_json_number(json, faas_death_name(i),
                            (int64_t) atomic_load(&v->tally->count[i]));
    }

    json_put(json, "},\"last_deaths\":[");

    for (i = 0; faas_tally_read(v->tally, i, &d) == FAAS_OK; i++) {
        json_put(json, i ? ",{" : "{");
        faasctl_json_time(json, "at", (int64_t) atomic_load(&d.at) * 1000);
        faasctl_json_text(json, "kind", faas_text(faas_death_name(
                                                  atomic_load(&d.kind))));
        faasctl_json_number(json, "code", atomic_load(&d.code));
        faasctl_json_text(json, "version", faas_text(d.version));
        faasctl_json_number(json, "slot",
                            atomic_load(&d.slot) == FAAS_INDEX_NONE
                            ? -1 : (int64_t) atomic_load(&d.slot));
        json_put(json, "}");
    }

    json_put(json, "]");
    faasctl_json_text(json, "failure", faas_text(v->failure));
    faasctl_json_time(json, "failed_at", v->failed_ms);
    faasctl_json_text(json, "last_error", faas_text(v->error));
    json_put(json, "}");
}


static void
function_print(const function_view_t *v)
{
    char  time[64];

    (void) printf("function    %s\nstate       %s\nversion     %s\n"
                  "instances   %u, of %llu started\n",
                  v->name, v->state, v->version[0] ? v->version : "-",
                  v->instances, (unsigned long long) v->starts);

    if (v->held_ms > 0) {
        (void) printf("held back   for %lld.%03u s more, after %u deaths in "
                      "a row\n", (long long) v->held_ms / 1000,
                      (unsigned) (v->held_ms % 1000), v->row);
    }

    if (v->failure[0] != '\0') {
        (void) printf("failed      %s\n            %s\n            "
                      "(until a good deploy, or \"faasctl ack %s\")\n",
                      faasctl_time(v->failed_ms, time, sizeof(time)),
                      v->failure, v->name);
    }

    if (v->error[0] != '\0' && strcmp(v->error, v->failure) != 0) {
        (void) printf("last error  %s\n", v->error);
    }

    function_print_deaths(v);
}


static void
function_print_deaths(const function_view_t *v)
{
    char          time[64], what[64];
    uint32_t      i, n;
    uint64_t      count;
    faas_death_t  d;

    (void) printf("deaths      %llu", (unsigned long long) v->deaths);
    n = 0;

    for (i = 0; i < FAAS_DEATHS; i++) {
        count = atomic_load(&v->tally->count[i]);

        if (count) {
            (void) printf("%s%s %llu", n++ ? ", " : ": ", faas_death_name(i),
                          (unsigned long long) count);
        }
    }

    (void) printf("\n");

    for (i = 0; faas_tally_read(v->tally, i, &d) == FAAS_OK; i++) {
        function_death_text(&d, what, sizeof(what));

        (void) printf("            %s  %s, version %s",
                      faasctl_time((int64_t) atomic_load(&d.at) * 1000, time,
                                   sizeof(time)), what, d.version);

        if (atomic_load(&d.slot) != FAAS_INDEX_NONE) {
            (void) printf(" slot %u", atomic_load(&d.slot));
        }

        (void) printf("\n");
    }
}


/* "signal 11 (Segmentation fault)", "exit 3", "oom" */

static void
function_death_text(const faas_death_t *d, char *buf, size_t size)
{
    uint32_t  kind, code;

    kind = atomic_load(&d->kind);
    code = atomic_load(&d->code);

    if (kind == FAAS_DEATH_SIGNAL && code < NSIG) {
        (void) snprintf(buf, size, "signal %u (%s)", code,
                        strsignal((int) code));

    } else if (kind == FAAS_DEATH_EXIT) {
        (void) snprintf(buf, size, "exit %u", code);

    } else {
        (void) snprintf(buf, size, "%s", faas_death_name(kind));
    }
}

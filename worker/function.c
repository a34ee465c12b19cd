
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "board.h"
#include "claims.h"
#include "data.h"
#include "events_link.h"
#include "function.h"
#include "log.h"
#include "pool.h"
#include "tenders.h"
#include "version.h"


static function_t *function_attach(uint32_t index, const char *name);
static void function_decide(void *data);
static void function_timer(void *data);
static void function_release(void *data);
static void function_once(const function_t *f, const settings_descriptor_t *d);


function_t  *function_list;


static function_t  **functions;      /* by board index, NULL: free */


void
function_init(void)
{
    functions = loop_alloc(supervisor.board->functions
                           * sizeof(function_t *));
}


function_t *
function_find(const char *name)
{
    function_t  *f;

    for (f = function_list; f != NULL; f = f->next) {
        if (strcmp(f->name, name) == 0) {
            return f;
        }
    }

    return NULL;
}


function_t *
function_at(uint32_t index)
{
    return index < supervisor.board->functions ? functions[index]
                                               : NULL;
}


function_t *
function_create(const char *name)
{
    uint32_t          i;
    function_t       *f;
    faas_function_t  *sh;

    for (i = 0; i < supervisor.board->functions; i++) {
        if (functions[i] == NULL) {
            break;
        }
    }

    if (i == supervisor.board->functions) {
        supervisor_error(0, "function \"%s\" has no place: the scoreboard is "
                         "full with %u functions (faas_scoreboard)", name, i);
        return NULL;
    }

    sh = faas_scoreboard_function(supervisor.board, i);

    /* what a former function left, but for the generation; the cells' totals
       begin with what stands there */

    atomic_store(&sh->current, FAAS_INDEX_NONE);
    memset(sh->name, 0, FAAS_NAME_SIZE);
    memcpy(sh->name, name, strlen(name));
    atomic_store(&sh->instances, 0);
    atomic_store(&sh->service_us, 0);
    atomic_store(&sh->start_us, 0);
    atomic_store(&sh->backoff, 0);
    atomic_store(&sh->backoff_until_ms, 0);
    atomic_store(&sh->starts, 0);
    atomic_store(&sh->cold_starts, 0);
    atomic_store(&sh->deaths, 0);
    atomic_store(&sh->kills, 0);
    atomic_store(&sh->deploys, 0);
    atomic_store(&sh->kick, 0);
    atomic_store(&sh->backoff_row, 0);
    faas_text_write(&sh->last_error, "", 0);
    faas_text_write(&sh->failure, "", 0);
    atomic_store(&sh->failed_at, 0);
    memset(&sh->tally, 0, sizeof(sh->tally));
    memset(sh->good, 0, sizeof(sh->good));
    board_token(sh->token);
    atomic_fetch_add(&sh->generation, 1);

    f = function_attach(i, name);

    f->order = claims_order(name);

    if (supervisor.board->functions_used < i + 1) {
        atomic_store(&supervisor.board->functions_used, i + 1);
    }

    function_limits(f);
    atomic_store(&sh->state, FAAS_FUNCTION_LOADING);
    claims_save();
    claims_changed();
    events_link_changed();

    return f;
}


function_t *
function_adopt(uint32_t index)
{
    function_t       *f;
    faas_function_t  *sh;

    sh = faas_scoreboard_function(supervisor.board, index);

    f = function_attach(index, sh->name);

    faas_limits_read(sh, &f->limits);
    pool_adopt_backoff(f);
    f->order = claims_order(f->name);
    f->present = atomic_load(&sh->state) != FAAS_FUNCTION_REMOVED;

    return f;
}


static function_t *
function_attach(uint32_t index, const char *name)
{
    function_t  *f, **p;

    f = loop_alloc(sizeof(function_t));

    f->index = index;
    f->sh = faas_scoreboard_function(supervisor.board, index);
    (void) snprintf(f->name, sizeof(f->name), "%s", name);

    f->platform = name[0] == '_';

    f->decide.handler = function_decide;
    f->decide.data = f;
    f->release.handler = function_release;
    f->release.data = f;
    f->timer.handler = function_timer;
    f->timer.data = f;
    f->policy.service_ms = -1;

    journal_file_init(&f->journal, f->name);

    functions[index] = f;

    for (p = &function_list; *p != NULL; p = &(*p)->next) { /* void */ }
    *p = f;

    return f;
}


void
function_unserved(function_t *f)
{
    version_t  *v;

    if (f->present) {
        return;
    }

    for (v = f->versions; v != NULL; v = v->next) {
        if (v->sh->label[0] != '\0'
            && atomic_load(&v->sh->state) != FAAS_VERSION_DRAINING)
        {
            break;
        }
    }

    if (v != NULL) {
        if (atomic_load(&f->sh->state) != FAAS_FUNCTION_FAILED) {
            function_error(f, LOG_WARN, "only labelled versions are there: "
                           "nothing serves");
            function_state(f, FAAS_FUNCTION_FAILED);
        }

        return;
    }

    function_state(f, FAAS_FUNCTION_REMOVED);

    if (f->versions == NULL) {
        loop_post(&f->release);
    }
}


static void
function_release(void *data)
{
    function_t  *f, **p;

    f = data;

    if (f->present || f->versions != NULL) {
        return;
    }

    log_line(LOG_NOTICE, 0, "function \"%s\" is removed", f->name);

    for (p = &function_list; *p != f; p = &(*p)->next) { /* void */ }
    *p = f->next;

    loop_withdraw(&f->decide);
    loop_withdraw(&f->release);
    loop_withdraw(&f->migrate);
    loop_disarm(&f->migrate_again);
    loop_disarm(&f->timer);
    journal_file_close(&f->journal);

    functions[f->index] = NULL;
    claims_drop(f->name);

    atomic_store(&f->sh->current, FAAS_INDEX_NONE);
    atomic_store(&f->sh->state, FAAS_FUNCTION_FREE);

    free(f);

    claims_save();
    claims_changed();
    events_link_changed();
    tenders_changed();
}


void
function_state(function_t *f, faas_function_state_e state)
{
    if (atomic_load(&f->sh->state) == state) {
        return;
    }

    atomic_store(&f->sh->state, state);
    claims_changed();
    events_link_changed();
    tenders_changed();
    function_wake(f);
}


void
function_limits(function_t *f)
{
    char                          note[SETTINGS_WHY_SIZE];
    faas_limits_t                 l;
    const settings_function_t    *all;
    const settings_descriptor_t  *d;

    d = NULL;

    if (f->current != NULL) {

        if (f->current->descriptor.routes == NULL) {
            return;    /* adopted without its descriptor: what held, holds */
        }

        d = &f->current->descriptor;
    }

    all = f->platform ? NULL : supervisor.settings->ceilings;

    settings_limits(&l, function_conf(f), all, d, supervisor.cores, note);

    if (note[0] != '\0') {
        log_line(LOG_NOTICE, 0, "function \"%s\": %s", f->name, note);
    }

    if (settings_number(function_conf(f), all, SETTINGS_EXACTLY_ONCE)) {
        function_once(f, d);
    }

    events_link_changed();

    if (memcmp(&l, &f->limits, sizeof(faas_limits_t)) != 0) {
        f->limits = l;
        faas_limits_write(f->sh, &l);
    }
}


/* says which batches are none */

static void
function_once(const function_t *f, const settings_descriptor_t *d)
{
    char                   *line;
    const char             *p;
    const settings_list_t  *list;

    list = settings_consume(function_conf(f), d);

    for (p = settings_next(list, NULL); p != NULL; p = settings_next(list, p))
    {
        line = loop_alloc(strlen(p) + 1);

        if (settings_consume_once(p, line)) {
            log_line(LOG_NOTICE, 0, "function \"%s\": \"consume %s\" with "
                     "exactly_once takes one message at a time", f->name, p);
        }

        free(line);
    }
}


int
function_data(function_t *f, const user_t *user, char *why)
{
    if (data_function(f->name, user, why) == -1) {
        return -1;
    }

    f->user = *user;
    f->has_data = 1;
    tenders_changed();

    return 0;
}


void
function_error(function_t *f, int level, const char *format, ...)
{
    char     text[FAAS_TEXT_SIZE];
    va_list  args;

    va_start(args, format);
    (void) vsnprintf(text, sizeof(text), format, args);
    va_end(args);

    faas_text_write(&f->sh->last_error, text, strlen(text));

    log_line(level, 0, "function \"%s\": %s", f->name, text);
}


void
function_told(function_t *f, const char *text)
{
    faas_text_write(&f->sh->last_error, text, strlen(text));
}


void
function_error_again(function_t *f, const char *format, ...)
{
    char     text[FAAS_TEXT_SIZE], last[FAAS_TEXT_SIZE];
    va_list  args;

    va_start(args, format);
    (void) vsnprintf(text, sizeof(text), format, args);
    va_end(args);

    (void) faas_text_read(&f->sh->last_error, last);

    if (strcmp(text, last) != 0) {
        function_error(f, LOG_ERROR, "%s", text);
    }
}


void
function_clear_error(function_t *f)
{
    faas_text_write(&f->sh->last_error, "", 0);
}


void
function_failure(function_t *f, const char *format, ...)
{
    char     text[FAAS_TEXT_SIZE];
    va_list  args;

    va_start(args, format);
    (void) vsnprintf(text, sizeof(text), format, args);
    va_end(args);

    function_error(f, LOG_ERROR, "%s", text);
    function_failed(f, text);
}


void
function_failed(function_t *f, const char *text)
{
    faas_text_write(&f->sh->failure, text, strlen(text));
    atomic_store(&f->sh->failed_at, (uint64_t) time(NULL));
}


int
function_settled(function_t *f, char *text)
{
    char    own[FAAS_TEXT_SIZE];
    size_t  n;

    n = faas_text_read(&f->sh->failure, text ? text : own);

    if (n == 0) {
        return 0;
    }

    faas_text_write(&f->sh->failure, "", 0);
    atomic_store(&f->sh->failed_at, 0);

    return 1;
}


void
function_wake(function_t *f)
{
    uint32_t  i;
    uint64_t  mask;

    for (i = 0; i < FAAS_WORKERS / 64; i++) {
        mask = atomic_load(&f->sh->waiting_mask[i]);

        while (mask) {
            supervisor_wake(i * 64 + (uint32_t) __builtin_ctzll(mask));
            mask &= mask - 1;
        }
    }
}


const settings_function_t *
function_conf(const function_t *f)
{
    return settings_function(supervisor.settings, f->name);
}


static void
function_decide(void *data)
{
    pool_decide(data);
}


static void
function_timer(void *data)
{
    pool_changed(data);
}


#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "function.h"
#include "log.h"
#include "pool.h"
#include "routes.h"
#include "version.h"


#define FUNCTION_ORDER_FILE  "order"


/* one line of the order file: a name, by its position */

typedef struct function_order_s  function_order_t;

struct function_order_s {
    function_order_t         *next;
    uint64_t                  order;
    char                      name[FAAS_NAME_SIZE];
};


static function_t *function_attach(uint32_t index, const char *name);
static void function_decide(void *data);
static void function_timer(void *data);
static uint64_t function_order(const char *name);
static void function_order_forget(const char *name);
static void function_order_save(void);
static void function_release(void *data);
static void function_token(faas_function_t *sh);
static void function_publish(void *data);
static void function_refused(const routes_source_t *source,
    const faas_route_spec_t *spec, const routes_source_t *other);
static int function_older(const void *one, const void *two);


function_t  *function_list;


static struct {
    function_t        **index;       /* by board index */
    function_order_t   *orders;
    uint64_t            last_order;
    int                 state_dir;
    int                 forgotten;   /* 1: every name has an entry */
    loop_job_t          publish;
} functions = { .state_dir = -1 };


void
function_init(int state_dir)
{
    int                fd;
    char              *end, *line, *text;
    ssize_t            n;
    function_order_t  *o;

    functions.index = loop_alloc(supervisor.board->functions
                                 * sizeof(function_t *));
    functions.state_dir = state_dir;
    functions.publish.handler = function_publish;

    fd = openat(state_dir, FUNCTION_ORDER_FILE, O_RDONLY|O_CLOEXEC|O_NOFOLLOW);
    if (fd == -1) {
        return;
    }

    text = loop_alloc(supervisor.board->functions * FAAS_NAME_SIZE + 1);
    n = read(fd, text, supervisor.board->functions * FAAS_NAME_SIZE);
    close(fd);

    line = text;

    while (n > 0 && (end = strchr(line, '\n')) != NULL) {
        *end = '\0';

        if (*line != '\0' && strlen(line) < FAAS_NAME_SIZE) {
            o = loop_alloc(sizeof(function_order_t));
            (void) snprintf(o->name, sizeof(o->name), "%s", line);
            o->order = ++functions.last_order;
            o->next = functions.orders;
            functions.orders = o;
        }

        line = end + 1;
    }

    free(text);
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
    return index < supervisor.board->functions ? functions.index[index]
                                               : NULL;
}


function_t *
function_create(const char *name)
{
    uint32_t          i;
    function_t       *f;
    faas_function_t  *sh;

    for (i = 0; i < supervisor.board->functions; i++) {
        if (functions.index[i] == NULL) {
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
    faas_text_write(&sh->last_error, "", 0);
    function_token(sh);
    atomic_fetch_add(&sh->generation, 1);

    f = function_attach(i, name);

    f->order = function_order(name);

    if (supervisor.board->functions_used < i + 1) {
        atomic_store(&supervisor.board->functions_used, i + 1);
    }

    function_limits(f);
    atomic_store(&sh->state, FAAS_FUNCTION_LOADING);
    function_order_save();
    function_routes_changed();

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
    f->order = function_order(f->name);
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

    f->decide.handler = function_decide;
    f->decide.data = f;
    f->release.handler = function_release;
    f->release.data = f;
    f->timer.handler = function_timer;
    f->timer.data = f;
    f->policy.service_ms = -1;

    journal_file_init(&f->journal, f->name);

    functions.index[index] = f;

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
    loop_disarm(&f->timer);
    journal_file_close(&f->journal);

    functions.index[f->index] = NULL;
    function_order_forget(f->name);

    atomic_store(&f->sh->current, FAAS_INDEX_NONE);
    atomic_store(&f->sh->state, FAAS_FUNCTION_FREE);

    free(f);

    function_order_save();
    function_routes_changed();
}


void
function_state(function_t *f, faas_function_state_e state)
{
    if (atomic_load(&f->sh->state) == state) {
        return;
    }

    atomic_store(&f->sh->state, state);
    function_routes_changed();
    function_wake(f);
}


void
function_limits(function_t *f)
{
    char                          note[SETTINGS_WHY_SIZE];
    faas_limits_t                 l;
    const settings_descriptor_t  *d;

    d = NULL;

    if (f->current != NULL) {

        if (f->current->descriptor.routes == NULL) {
            return;    /* adopted without its descriptor: what held, holds */
        }

        d = &f->current->descriptor;
    }

    settings_limits(&l, function_conf(f), supervisor.settings->ceilings, d,
                    supervisor.cores, note);

    if (note[0] != '\0') {
        log_line(LOG_NOTICE, 0, "function \"%s\": %s", f->name, note);
    }

    if (memcmp(&l, &f->limits, sizeof(faas_limits_t)) != 0) {
        f->limits = l;
        faas_limits_write(f->sh, &l);
    }
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
function_clear_error(function_t *f)
{
    faas_text_write(&f->sh->last_error, "", 0);
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


void
function_routes_changed(void)
{
    loop_post(&functions.publish);
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


/* where the name stands in the order of claims: as it stood, or last */

static uint64_t
function_order(const char *name)
{
    function_order_t  *o, **p;

    for (p = &functions.orders; *p != NULL; p = &(*p)->next) {
        o = *p;

        if (strcmp(o->name, name) == 0) {
            return o->order;
        }
    }

    o = loop_alloc(sizeof(function_order_t));
    (void) snprintf(o->name, sizeof(o->name), "%s", name);
    o->order = ++functions.last_order;
    o->next = functions.orders;
    functions.orders = o;

    return o->order;
}


static void
function_order_forget(const char *name)
{
    function_order_t  *o, **p;

    for (p = &functions.orders; *p != NULL; p = &(*p)->next) {
        o = *p;

        if (strcmp(o->name, name) == 0) {
            *p = o->next;
            free(o);
            return;
        }
    }
}


void
function_forget(void)
{
    function_order_t  *o, **p;

    for (p = &functions.orders; *p != NULL; /* void */ ) {
        o = *p;

        if (function_find(o->name) == NULL) {
            *p = o->next;
            free(o);

        } else {
            p = &o->next;
        }
    }

    functions.forgotten = 1;
    function_order_save();
}


/* names in the order of their claims; replaced in one piece */

static void
function_order_save(void)
{
    int          fd;
    char        *text;
    size_t       n, size, i, count;
    function_t  *f, **sorted;

    if (!functions.forgotten) {
        return;    /* what the file says of names to come still counts */
    }

    count = 0;

    for (f = function_list; f != NULL; f = f->next) {
        count++;
    }

    size = count * FAAS_NAME_SIZE + 1;
    text = loop_alloc(size);
    sorted = loop_alloc((count + 1) * sizeof(function_t *));
    n = 0;
    i = 0;

    for (f = function_list; f != NULL; f = f->next) {
        sorted[i++] = f;
    }

    qsort(sorted, count, sizeof(function_t *), function_older);

    for (i = 0; i < count; i++) {
        n += (size_t) snprintf(text + n, size - n, "%s\n", sorted[i]->name);
    }

    fd = openat(functions.state_dir, FUNCTION_ORDER_FILE ".new",
                O_WRONLY|O_CREAT|O_TRUNC|O_CLOEXEC|O_NOFOLLOW, 0644);

    if (fd == -1 || write(fd, text, n) != (ssize_t) n
        || renameat(functions.state_dir, FUNCTION_ORDER_FILE ".new",
                    functions.state_dir, FUNCTION_ORDER_FILE)
           == -1)
    {
        log_line(LOG_ERROR, errno, "could not save the order of functions");
    }

    if (fd != -1) {
        close(fd);
    }

    free(sorted);
    free(text);
}


static int
function_older(const void *one, const void *two)
{
    const function_t  *a, *b;

    a = *(function_t *const *) one;
    b = *(function_t *const *) two;

    return a->order < b->order ? -1 : a->order > b->order;
}


static void
function_token(faas_function_t *sh)
{
    size_t         i;
    unsigned char  bytes[16];

    if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes)) {
        memset(sh->token, 0, sizeof(sh->token));
        return;
    }

    for (i = 0; i < sizeof(bytes); i++) {
        (void) snprintf(sh->token + i * 2, 3, "%02x", bytes[i]);
    }
}


static void
function_publish(void *data)
{
    int                         full;
    size_t                      n, count;
    function_t                 *f, **sorted;
    routes_source_t            *sources, *s;
    const settings_function_t  *conf;

    (void) data;

    count = 0;

    for (f = function_list; f != NULL; f = f->next) {
        count++;
    }

    sorted = loop_alloc((count + 1) * sizeof(function_t *));
    sources = loop_alloc((count + 1) * sizeof(routes_source_t));
    n = 0;

    for (f = function_list; f != NULL; f = f->next) {
        if (atomic_load(&f->sh->state) != FAAS_FUNCTION_REMOVED) {
            sorted[n++] = f;
        }
    }

    qsort(sorted, n, sizeof(function_t *), function_older);

    for (count = 0; count < n; count++) {
        f = sorted[count];
        s = &sources[count];

        s->function = f->index;
        s->generation = atomic_load(&f->sh->generation);
        s->name = f->name;
        s->routes = "";
        s->data = f;

        if (f->current != NULL && f->current->descriptor.routes != NULL) {
            s->routes = f->current->descriptor.routes;
            s->length = f->current->descriptor.routes_length;
        }

        conf = function_conf(f);

        if (conf != NULL && conf->routes != NULL) {
            s->prefix = conf->routes;

        } else if (supervisor.settings->ceilings != NULL) {
            s->prefix = supervisor.settings->ceilings->routes;
        }
    }

    routes_publish(supervisor.board, sources, n, function_refused, &full);

    if (full) {
        supervisor_error(0, "the route table is full: not all routes are "
                         "published (faas_scoreboard)");
    }

    free(sources);
    free(sorted);
}


/*
 * Called once for each refused route at each publication; told when what is
 * refused of a function is not what was refused before.
 */

static void
function_refused(const routes_source_t *source, const faas_route_spec_t *spec,
    const routes_source_t *other)
{
    int          shown;
    size_t       i;
    uint64_t     h;
    function_t  *f;

    f = source->data;
    shown = (int) (spec->length < 96 ? spec->length : 96);

    for (h = 14695981039346656037ull, i = 0; i < spec->length; i++) {
        h = (h ^ (unsigned char) spec->pattern[i]) * 1099511628211ull;
    }

    h ^= spec->methods;

    for (i = 0; i < FUNCTION_REFUSED; i++) {

        if (f->refused[i] == h) {
            return;
        }

        if (f->refused[i] == 0) {
            f->refused[i] = h;
            break;
        }
    }

    if (other != NULL) {
        function_error(f, LOG_ERROR, "route \"%.*s\" is refused: function "
                       "\"%s\" has it", shown, spec->pattern, other->name);

    } else {
        function_error(f, LOG_ERROR, "route \"%.*s\" is refused: not below "
                       "\"%s\", or the route table is full", shown,
                       spec->pattern,
                       source->prefix ? source->prefix : "/");
    }
}

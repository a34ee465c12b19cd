
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "claims.h"
#include "deposit.h"
#include "events_link.h"
#include "instance_end.h"
#include "lineage.h"
#include "log.h"
#include "pool.h"
#include "routes.h"
#include "version.h"


static version_t *version_attach(function_t *f, uint32_t index);
static void version_fail(version_t *v, const char *why);
static void version_hold(version_t *v);
static void version_promote(version_t *v);
static void version_supersede(version_t *v, version_t *old);
static int version_is_same(const settings_t *a, const settings_t *b,
    const char *name);
static int version_is_same_block(const settings_function_t *a,
    const settings_function_t *b);
static int version_is_same_text(const char *a, const char *b);
static void version_state(version_t *v, faas_version_state_e state);
static void version_release(void *data);
static void version_keep_descriptor(version_t *v, const char *text,
    size_t length);
static void version_adopt_descriptor(version_t *v);
static int version_is_same_list(const settings_list_t *a,
    const settings_list_t *b);


static struct {
    version_t  **index;              /* by board index, NULL: free */
    uint32_t     next;               /* where to look for a free one */
} versions;


version_t *
version_create(function_t *f, const char *sha256, const char *label)
{
    char        why[SETTINGS_WHY_SIZE];
    uint32_t    i, n;
    version_t  *v;

    if (versions.index == NULL) {
        versions.index = loop_alloc(supervisor.board->versions
                                    * sizeof(version_t *));
    }

    /* entries are reused as late as can be: a reader that keeps an index
       finds another generation in it, but better none at all */

    for (n = 0; n < supervisor.board->versions; n++) {
        i = (versions.next + n) % supervisor.board->versions;

        if (versions.index[i] == NULL) {
            break;
        }
    }

    if (n == supervisor.board->versions) {
        function_error(f, LOG_ERROR, "no place for another version: the "
                       "scoreboard is full (faas_scoreboard)");
        return NULL;
    }

    versions.next = i + 1;

    v = version_attach(f, i);

    atomic_store(&v->sh->function, f->index);
    atomic_store(&v->sh->chunks, 0);
    memset(v->sh->id, 0, sizeof(v->sh->id));
    memcpy(v->sh->id, sha256, 8);
    memcpy(v->sh->sha256, sha256, 65);
    memset(v->sh->label, 0, sizeof(v->sh->label));
    memcpy(v->sh->label, label, strlen(label));
    atomic_store(&v->sh->init_pid, 0);
    atomic_store(&v->sh->template_pid, 0);
    atomic_store(&v->sh->deployed_at, (uint64_t) time(NULL));
    atomic_store(&v->sh->proven, 0);
    atomic_fetch_add(&v->sh->generation, 1);
    version_state(v, FAAS_VERSION_LOADING);

    if (lineage_start(v, why) == FAAS_ERROR) {
        version_failed(v, why);
    }

    return v;
}


version_t *
version_adopt(uint32_t index)
{
    function_t      *f;
    version_t       *v;
    faas_version_t  *sh;

    if (versions.index == NULL) {
        versions.index = loop_alloc(supervisor.board->versions
                                    * sizeof(version_t *));
    }

    sh = faas_scoreboard_version(supervisor.board, index);

    f = function_at(atomic_load(&sh->function));

    if (f == NULL) {
        atomic_store(&sh->state, FAAS_VERSION_FREE);
        return NULL;
    }

    v = version_attach(f, index);

    version_adopt_descriptor(v);
    version_migrate_adopt(v);
    lineage_adopt(v);

    if (atomic_load(&f->sh->current) == index
        && atomic_load(&sh->state) == FAAS_VERSION_READY)
    {
        f->current = v;
    }

    return v;
}


version_t *
version_at(uint32_t index)
{
    return versions.index != NULL && index < supervisor.board->versions
           ? versions.index[index] : NULL;
}


static version_t *
version_attach(function_t *f, uint32_t index)
{
    version_t  *v;

    v = loop_alloc(sizeof(version_t));

    v->function = f;
    v->index = index;
    v->sh = faas_scoreboard_version(supervisor.board, index);

    v->init.fd = -1;
    v->template.fd = -1;
    v->report.fd = -1;
    v->journal.event.fd = -1;
    v->journal.write = -1;
    v->migrations.fd = -1;

    v->release.handler = version_release;
    v->release.data = v;

    v->next = f->versions;
    f->versions = v;

    versions.index[index] = v;

    return v;
}


version_t *
version_find(function_t *f, const char *label, faas_version_state_e state)
{
    version_t  *v;

    for (v = f->versions; v != NULL; v = v->next) {
        if (atomic_load(&v->sh->state) == state
            && strcmp(v->sh->label, label) == 0)
        {
            return v;
        }
    }

    return NULL;
}


void
version_loaded(version_t *v, const char *text, size_t length)
{
    char                   why[SETTINGS_WHY_SIZE];
    function_t            *f;
    settings_descriptor_t  d;

    f = v->function;

    if (atomic_load(&v->sh->state) == FAAS_VERSION_READY) {

        /* started again from nothing: it is what it was */

        log_line(LOG_INFO, 0, "function \"%s\": template of version %s is up "
                 "again", f->name, v->sh->id);
        pool_changed(f);
        version_idle(v);
        return;
    }

    if (atomic_load(&v->sh->state) != FAAS_VERSION_LOADING) {
        return;
    }

    if (settings_descriptor(&d, text, length, why) == -1) {
        version_failed(v, why);
        return;
    }

    if (routes_check(d.routes, d.routes_length, why) == -1) {
        settings_descriptor_free(&d);
        version_failed(v, why);
        return;
    }

    v->descriptor = d;
    version_keep_descriptor(v, text, length);
    version_migrate_keep(v);

    version_state(v, FAAS_VERSION_READY);
    version_promote(v);

    /* one that is never called does not keep its template for ever */
    version_idle(v);
}


void
version_failed(version_t *v, const char *why)
{
    function_t  *f;

    f = v->function;

    switch (atomic_load(&v->sh->state)) {

    case FAAS_VERSION_LOADING:
        version_fail(v, why);
        return;

    case FAAS_VERSION_READY:
        /* it could be loaded once: tried again, ever more slowly */
        function_failure(f, "template of version %s could not be started "
                         "again: %s", v->sh->id, why);
        faas_tally_add(&f->sh->tally, FAAS_DEATH_TEMPLATE, 0,
                       FAAS_INDEX_NONE, v->sh->id, (uint64_t) time(NULL));
        lineage_end(v);
        pool_died(f, 0);
        return;

    default:
        lineage_end(v);
    }
}


/* the first attempt failed: whatever ran before runs on */

static void
version_fail(version_t *v, const char *why)
{
    function_t  *f;
    version_t   *old;

    f = v->function;

    function_failure(f, "version %s%s%s is refused: %s", v->sh->id,
                     v->sh->label[0] ? " label " : "", v->sh->label, why);

    /* one failed content is remembered */

    old = version_find(f, v->sh->label, FAAS_VERSION_FAILED);

    version_state(v, FAAS_VERSION_FAILED);
    version_migrate_keep(v);
    lineage_end(v);

    if (old != NULL) {
        version_drop(old);
    }

    version_hold(v);

    if (f->current != NULL && v->sh->label[0] == '\0') {

        /* it may have been what served before: its turn comes again */

        f->current->given_up = 0;
    }

    if (f->current == NULL && v->sh->label[0] == '\0') {
        function_state(f, FAAS_FUNCTION_FAILED);

    } else {
        function_unserved(f);
    }
}


/* one that was to replace a barren one: that serves with what it has, and asks
   for another one ever more slowly */

static void
version_hold(version_t *v)
{
    uint64_t     now;
    function_t  *f;

    f = v->function;
    now = loop_now_ms();

    if (f->current == NULL || f->current->lineage != LINEAGE_BARREN
        || strcmp(f->current->sh->sha256, v->sh->sha256) != 0)
    {
        return;
    }

    backoff_death(&f->renewal, now, now, 0);

    if (backoff_holds(&f->renewal, now)) {
        log_line(LOG_WARN, 0, "function \"%s\": its template cannot be had "
                 "again, the next attempt is in %u ms", f->name,
                 (unsigned) (f->renewal.until_ms - now));
    }
}


/* traffic moves to v */

static void
version_promote(version_t *v)
{
    version_t   *old, *failed;
    function_t  *f;

    f = v->function;

    if (v->sh->label[0] != '\0') {
        log_line(LOG_NOTICE, 0, "function \"%s\": version %s is there under "
                 "label \"%s\"", f->name, v->sh->id, v->sh->label);

        for (old = f->versions; old != NULL; old = old->next) {
            if (old != v
                && atomic_load(&old->sh->state) == FAAS_VERSION_READY
                && strcmp(old->sh->label, v->sh->label) == 0)
            {
                version_drop(old);
                break;
            }
        }

        function_unserved(f);
        version_idle(v);
        return;
    }

    old = f->current;
    f->current = v;

    backoff_reset(&f->renewal);
    version_supersede(v, old);
    memset(f->refused, 0, sizeof(f->refused));
    function_limits(f);
    events_link_changed();

    atomic_store(&f->sh->current, v->index);
    atomic_fetch_add(&f->sh->deploys, 1);

    log_line(LOG_NOTICE, 0, "function \"%s\": version %s is current%s%s",
             f->name, v->sh->id, old ? ", it supersedes " : "",
             old ? old->sh->id : "");

    if (atomic_load(&f->sh->state) == FAAS_FUNCTION_READY) {
        claims_changed();
        function_wake(f);

    } else {
        function_state(f, FAAS_FUNCTION_READY);
    }

    failed = version_find(f, "", FAAS_VERSION_FAILED);

    if (failed != NULL) {
        version_drop(failed);
    }

    if (old != NULL && old->given_up) {
        version_state(old, FAAS_VERSION_FAILED);
        pool_superseded(old);
        version_idle(old);

    } else if (old != NULL) {
        version_drop(old);
    }

    pool_changed(f);
}


/* what the change from old (or NULL) to v means for what is known of f */

static void
version_supersede(version_t *v, version_t *old)
{
    function_t  *f;

    f = v->function;

    if (old != NULL && strcmp(old->sh->sha256, v->sh->sha256) == 0) {

        /* the same once more: it has to live with its past */

        atomic_store(&v->sh->proven, atomic_load(&old->sh->proven));
        function_clear_error(f);
        return;
    }

    backoff_reset(&f->backoff);
    atomic_store(&f->sh->backoff_row, 0);

    if (old != NULL && old->given_up) {
        return;    /* the failure stays to be seen */
    }

    if (old != NULL && atomic_load(&old->sh->proven)) {
        memcpy(f->sh->good, old->sh->sha256, sizeof(f->sh->good));
    }

    function_clear_error(f);
    (void) function_settled(f, NULL);
}


void
version_unready(version_t *v)
{
    char         good[sizeof(((faas_function_t *) 0)->good)];
    function_t  *f;

    f = v->function;
    v->unready++;

    memcpy(good, f->sh->good, sizeof(good));
    good[sizeof(good) - 1] = '\0';

    if (f->current != v || atomic_load(&v->sh->proven) || v->given_up
        || v->unready <= BACKOFF_FREE || f->backoff.row <= BACKOFF_FREE
        || good[0] == '\0' || strcmp(good, v->sh->sha256) == 0
        || version_find(f, "", FAAS_VERSION_LOADING) != NULL)
    {
        return;
    }

    v->given_up = 1;

    function_failure(f, "version %s is refused: %u of its instances died "
                     "before they were ready; version %.8s is to serve again",
                     v->sh->id, v->unready, good);

    f->cold = 1;

    (void) version_create(f, good, "");
}


void
version_adopt_unready(function_t *f)
{
    version_t  *v;

    v = version_find(f, "", FAAS_VERSION_LOADING);

    if (v == NULL || f->current == NULL
        || atomic_load(&f->current->sh->proven)
        || strcmp(f->current->sh->sha256, v->sh->sha256) == 0)
    {
        return;
    }

    f->current->given_up = strncmp(f->sh->good, v->sh->sha256,
                                   sizeof(f->sh->good))
                           == 0;
}


int
version_wanted(version_t *v)
{
    char  why[SETTINGS_WHY_SIZE];

    switch (v->lineage) {

    case LINEAGE_LIVE:
        return 1;

    case LINEAGE_NONE:
        v->function->cold = 1;

        if (lineage_start(v, why) == FAAS_ERROR) {
            version_failed(v, why);
        }

        return 0;

    case LINEAGE_BARREN:
        if (!backoff_holds(&v->function->renewal, loop_now_ms())) {
            version_renew(v->function);
        }

        return 0;

    default:
        return 0;    /* something is under way */
    }
}


void
version_renew(function_t *f)
{
    if (f->current == NULL || version_find(f, "", FAAS_VERSION_LOADING)) {
        return;
    }

    f->cold = 1;

    (void) version_create(f, f->current->sh->sha256, "");
}


void
version_again(function_t *f, version_t *v)
{
    char  sha256[65];

    if (v == NULL) {
        version_renew(f);
        return;
    }

    memcpy(sha256, v->sh->sha256, sizeof(sha256));

    if (atomic_load(&v->sh->state) == FAAS_VERSION_LOADING) {
        version_drop(v);
    }

    (void) version_create(f, sha256, "");
}


void
version_configured(const settings_t *old)
{
    version_t   *v;
    function_t  *f;

    for (f = function_list; f != NULL; f = f->next) {

        if (version_is_same(old, supervisor.settings, f->name)) {
            continue;
        }

        log_line(LOG_NOTICE, 0, "function \"%s\": user, environment, memory "
                 "or backend services changed", f->name);

        v = version_find(f, "", FAAS_VERSION_LOADING);

        if (v != NULL) {
            version_again(f, v);

        } else if (f->current != NULL && f->current->lineage != LINEAGE_NONE)
        {
            version_renew(f);
        }
    }
}


/* would a lineage be started the same way? */

static int
version_is_same(const settings_t *a, const settings_t *b, const char *name)
{
    return version_is_same_block(settings_function(a, name),
                                 settings_function(b, name))
           && version_is_same_block(a->ceilings, b->ceilings)
           && version_is_same_text(a->user, b->user)
           && version_is_same_text(a->kv, b->kv)
           && version_is_same_text(a->queue, b->queue);
}


static int
version_is_same_block(const settings_function_t *a,
    const settings_function_t *b)
{
    static const settings_function_t  none = {
        .number = { [0 ... SETTINGS_NUMBERS - 1] = SETTINGS_UNSET }
    };

    if (a == NULL) {
        a = &none;
    }

    if (b == NULL) {
        b = &none;
    }

    return a->number[SETTINGS_MEMORY] == b->number[SETTINGS_MEMORY]
           && a->number[SETTINGS_EXACTLY_ONCE]
              == b->number[SETTINGS_EXACTLY_ONCE]
           && a->number[SETTINGS_DURABILITY] == b->number[SETTINGS_DURABILITY]
           && version_is_same_list(&a->env, &b->env)
           && version_is_same_list(&a->share, &b->share)
           && version_is_same_text(a->user, b->user);
}


static int
version_is_same_list(const settings_list_t *a, const settings_list_t *b)
{
    return a->length == b->length
           && (a->length == 0 || memcmp(a->text, b->text, a->length) == 0);
}


static int
version_is_same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}


void
version_drop(version_t *v)
{
    function_t  *f;

    f = v->function;

    if (f->current == v) {
        f->current = NULL;
        atomic_store(&f->sh->current, FAAS_INDEX_NONE);
    }

    version_state(v, FAAS_VERSION_DRAINING);
    pool_superseded(v);
    version_idle(v);
}


int
version_is_leftover(const version_t *v)
{
    return atomic_load(&v->sh->state) == FAAS_VERSION_READY
           && v->sh->label[0] == '\0' && v->function->current != v;
}


void
version_idle(version_t *v)
{
    faas_limits_t         *l;
    faas_version_state_e   state;

    if (v->live > 0) {
        return;
    }

    state = atomic_load(&v->sh->state);
    l = &v->function->limits;

    if (state == FAAS_VERSION_DRAINING || state == FAAS_VERSION_FAILED) {

        if (v->lineage != LINEAGE_NONE) {
            lineage_end(v);

        } else if (state == FAAS_VERSION_DRAINING) {
            loop_post(&v->release);
        }

        return;
    }

    if (state == FAAS_VERSION_READY && v->lineage == LINEAGE_BARREN) {
        lineage_end(v);
        return;
    }

    if (state == FAAS_VERSION_READY && v->lineage == LINEAGE_LIVE) {
        loop_arm(&v->timer, loop_now_ms() + l->template_timeout_ms);
    }
}


void
version_lineage_ended(version_t *v)
{
    faas_version_state_e  state;

    atomic_store(&v->sh->init_pid, 0);
    atomic_store(&v->sh->template_pid, 0);

    instance_end_orphaned(v);

    state = atomic_load(&v->sh->state);

    if (state == FAAS_VERSION_LOADING) {
        version_failed(v, "its process died before it was loaded");
        return;
    }

    pool_changed(v->function);
    version_idle(v);
}


static void
version_state(version_t *v, faas_version_state_e state)
{
    atomic_store(&v->sh->state, state);
}


/* at the end of a turn, when nobody up the stack knows v any more */

static void
version_release(void *data)
{
    version_t   *v, **p;
    function_t  *f;

    v = data;
    f = v->function;

    if (v->live > 0 || v->lineage != LINEAGE_NONE
        || atomic_load(&v->sh->state) != FAAS_VERSION_DRAINING)
    {
        return;
    }

    loop_disarm(&v->timer);
    slot_release_chunks(v);
    journal_close(&v->journal);
    settings_descriptor_free(&v->descriptor);
    migrations_close(&v->migrations);
    deposit_remove("v/%u/descriptor", v->index);
    deposit_remove("v/%u/migrations", v->index);
    deposit_remove("v/%u/log-read", v->index);
    deposit_remove("v/%u/log-write", v->index);

    version_state(v, FAAS_VERSION_FREE);
    versions.index[v->index] = NULL;

    for (p = &f->versions; *p != v; p = &(*p)->next) { /* void */ }
    *p = v->next;

    free(v);

    function_unserved(f);
}


/* the text of the descriptor, for the next supervisor */

static void
version_keep_descriptor(version_t *v, const char *text, size_t length)
{
    int  fd;

    fd = memfd_create("faas-descriptor", MFD_CLOEXEC);

    if (fd == -1) {
        return;
    }

    if (write(fd, text, length) == (ssize_t) length) {
        (void) deposit_put(fd, "v/%u/descriptor", v->index);
    }

    close(fd);
}


static void
version_adopt_descriptor(version_t *v)
{
    int      fd;
    char     why[SETTINGS_WHY_SIZE], *text;
    ssize_t  n;

    fd = deposit_take("v/%u/descriptor", v->index);

    if (fd == -1) {
        return;
    }

    text = loop_alloc(MESSAGE_TEXT);
    n = pread(fd, text, MESSAGE_TEXT - 1, 0);
    close(fd);

    if (n < 0 || settings_descriptor(&v->descriptor, text, (size_t) n, why)
                 == -1)
    {
        v->descriptor.routes = NULL;
    }

    free(text);
}

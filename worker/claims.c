
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "claims.h"
#include "log.h"
#include "routes.h"
#include "state_file.h"
#include "version.h"


#define CLAIMS_FILE  "order"


/* one name that has or had a function, by its position in the order */

typedef struct claims_name_s  claims_name_t;

struct claims_name_s {
    claims_name_t            *next;
    uint64_t                  order;
    char                      name[FAAS_NAME_SIZE];
};


static int claims_older(const void *one, const void *two);
static void claims_publish(void *data);
static void claims_refused(const routes_source_t *source,
    const faas_route_spec_t *spec, const routes_source_t *other);


static struct {
    claims_name_t  *names;
    uint64_t        last;            /* order given last */
    int             settled;         /* 1: every name has an entry */
    loop_job_t      publish;
} claims = { .publish = { .handler = claims_publish } };


void
claims_init(void)
{
    int             fd;
    char           *p, *text;
    size_t          size;
    ssize_t         n;
    const char     *name;
    claims_name_t  *c;

    fd = openat(supervisor.state_dir, CLAIMS_FILE,
                O_RDONLY|O_CLOEXEC|O_NOFOLLOW);

    if (fd == -1) {
        return;
    }

    size = supervisor.board->functions * FAAS_NAME_SIZE;
    text = loop_alloc(size + 1);
    n = read(fd, text, size);
    close(fd);

    text[n > 0 ? n : 0] = '\0';
    p = text;

    while ((name = state_file_order(&p)) != NULL) {
        c = loop_alloc(sizeof(claims_name_t));
        (void) snprintf(c->name, sizeof(c->name), "%s", name);
        c->order = ++claims.last;
        c->next = claims.names;
        claims.names = c;
    }

    free(text);
}


void
claims_changed(void)
{
    loop_post(&claims.publish);
}


/* where the name stands in the order of claims: as it stood, or last */

uint64_t
claims_order(const char *name)
{
    claims_name_t  *o, **p;

    for (p = &claims.names; *p != NULL; p = &(*p)->next) {
        o = *p;

        if (strcmp(o->name, name) == 0) {
            return o->order;
        }
    }

    o = loop_alloc(sizeof(claims_name_t));
    (void) snprintf(o->name, sizeof(o->name), "%s", name);
    o->order = ++claims.last;
    o->next = claims.names;
    claims.names = o;

    return o->order;
}


void
claims_drop(const char *name)
{
    claims_name_t  *o, **p;

    for (p = &claims.names; *p != NULL; p = &(*p)->next) {
        o = *p;

        if (strcmp(o->name, name) == 0) {
            *p = o->next;
            free(o);
            return;
        }
    }
}


void
claims_settle(void)
{
    claims_name_t  *o, **p;

    for (p = &claims.names; *p != NULL; /* void */ ) {
        o = *p;

        if (function_find(o->name) == NULL) {
            *p = o->next;
            free(o);

        } else {
            p = &o->next;
        }
    }

    claims.settled = 1;
    claims_save();
}


/* names in the order of their claims; replaced in one piece */

void
claims_save(void)
{
    int          fd;
    char        *text;
    size_t       n, size, i, count;
    function_t  *f, **sorted;

    if (!claims.settled) {
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

    qsort(sorted, count, sizeof(function_t *), claims_older);

    for (i = 0; i < count; i++) {
        n += (size_t) snprintf(text + n, size - n, "%s\n", sorted[i]->name);
    }

    fd = openat(supervisor.state_dir, CLAIMS_FILE ".new",
                O_WRONLY|O_CREAT|O_TRUNC|O_CLOEXEC|O_NOFOLLOW, 0644);

    if (fd == -1 || write(fd, text, n) != (ssize_t) n
        || renameat(supervisor.state_dir, CLAIMS_FILE ".new",
                    supervisor.state_dir, CLAIMS_FILE)
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
claims_older(const void *one, const void *two)
{
    const function_t  *a, *b;

    a = *(function_t *const *) one;
    b = *(function_t *const *) two;

    return a->order < b->order ? -1 : a->order > b->order;
}


static void
claims_publish(void *data)
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

    qsort(sorted, n, sizeof(function_t *), claims_older);

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

    routes_publish(supervisor.board, sources, n, claims_refused, &full);

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
claims_refused(const routes_source_t *source, const faas_route_spec_t *spec,
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

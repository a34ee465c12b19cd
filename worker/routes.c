
#define PCRE2_CODE_UNIT_WIDTH 8

#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loop.h"
#include "routes.h"


/*
 * What nginx compiles with, so that what is good here is good there: the
 * whole path, and never \C, which could cut a character.
 */

#define ROUTES_OPTIONS                                                        \
    (PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_NEVER_BACKSLASH_C)

#define ROUTES_MATCH_LIMIT  100000
#define ROUTES_DEPTH_LIMIT  10000
#define ROUTES_HEAP_LIMIT   1024         /* KiB */
#define ROUTES_NEST_LIMIT   100          /* parentheses */


/* a route that is in the table: found by its pattern */

typedef struct {
    const routes_source_t    *source;
    faas_route_spec_t         spec;
    int64_t                   next;          /* of the same hash, -1: last */
} routes_claim_t;


typedef struct {
    routes_claim_t           *claims;
    size_t                    count;
    size_t                    room;
    int64_t                  *buckets;       /* index of a claim or -1 */
    size_t                    size;          /* of buckets, power of two */
} routes_index_t;


static void *routes_alloc(PCRE2_SIZE n, void *data);
static void routes_free(void *p, void *data);
static int routes_compile(const faas_route_spec_t *spec, char *why);
static int routes_probe(pcre2_code *code, pcre2_general_context *memory);
static size_t routes_count(const routes_source_t *sources, size_t n);
static void routes_index_init(routes_index_t *index, size_t n);
static const routes_source_t *routes_claim(routes_index_t *index,
    const routes_source_t *source, const faas_route_spec_t *spec);
static int routes_is_allowed(const routes_source_t *source,
    const faas_route_spec_t *spec);
static size_t routes_hash(const char *p, size_t n);


int
routes_check(const char *text, size_t n, char *why)
{
    int                rc;
    unsigned           count;
    const char        *reason;
    faas_route_spec_t  spec;

    for (count = 0; /* void */ ; count++) {

        spec.pattern = NULL;
        spec.length = 0;

        rc = faas_route_next(&text, &n, &spec, &reason);

        if (rc == FAAS_DONE) {
            return 0;
        }

        if (rc != FAAS_OK) {
            (void) snprintf(why, ROUTES_WHY_SIZE, "route \"%.*s\": %s",
                            (int) (spec.length < 96 ? spec.length : 96),
                            spec.pattern ? spec.pattern : "", reason);
            return -1;
        }

        if (count == FAAS_ROUTES_PER_FUNCTION) {
            (void) snprintf(why, ROUTES_WHY_SIZE, "more than %d routes",
                            FAAS_ROUTES_PER_FUNCTION);
            return -1;
        }

        if (routes_compile(&spec, why) == -1) {
            return -1;
        }
    }
}


size_t
routes_build(const routes_source_t *sources, size_t n, char *buf, size_t size,
    routes_refused_pt refused, int *full)
{
    size_t                  i, used, left;
    const char             *text, *why;
    faas_route_t            head;
    routes_index_t          index;
    faas_route_spec_t       spec;
    const routes_source_t  *other;

    used = 0;
    *full = 0;

    memset(&head, 0, sizeof(head));

    routes_index_init(&index, routes_count(sources, n));

    /* first the names: a function without room for its routes is reachable */

    for (i = 0; i < n; i++) {
        memset(&head, 0, sizeof(head));
        head.function = sources[i].function;
        head.generation = sources[i].generation;
        head.order = (uint32_t) i;

        if (faas_route_append(buf, size, &used, &head, "") != FAAS_OK) {
            *full = 1;
        }
    }

    for (i = 0; i < n; i++) {
        text = sources[i].routes;
        left = sources[i].length;

        while (faas_route_next(&text, &left, &spec, &why) == FAAS_OK) {

            if (!routes_is_allowed(&sources[i], &spec)) {
                refused(&sources[i], &spec, NULL);
                continue;
            }

            other = routes_claim(&index, &sources[i], &spec);

            if (other != NULL) {

                if (other != &sources[i]) {
                    refused(&sources[i], &spec, other);
                }

                continue;
            }

            memset(&head, 0, sizeof(head));
            head.function = sources[i].function;
            head.generation = sources[i].generation;
            head.methods = spec.methods;
            head.literal = (uint16_t) faas_route_literal(spec.pattern,
                                                         spec.length);
            head.length = (uint16_t) spec.length;
            head.order = (uint32_t) i;

            if (faas_route_append(buf, size, &used, &head, spec.pattern)
                != FAAS_OK)
            {
                *full = 1;
                refused(&sources[i], &spec, NULL);
            }
        }
    }

    free(index.claims);
    free(index.buckets);

    return used;
}


void
routes_publish(faas_scoreboard_t *sb, const routes_source_t *sources,
    size_t n, routes_refused_pt refused, int *full)
{
    size_t                used;
    uint64_t              epoch;
    faas_route_buffer_t  *buffer;

    epoch = atomic_load(&sb->route_epoch) + 1;
    buffer = faas_scoreboard_routes(sb, epoch);

    used = routes_build(sources, n, buffer->data,
                        sb->route_size - sizeof(faas_route_buffer_t),
                        refused, full);

    atomic_store(&buffer->length, (uint32_t) used);
    atomic_store(&sb->route_epoch, epoch);
}


static void *
routes_alloc(PCRE2_SIZE n, void *data)
{
    (void) data;

    return loop_realloc(NULL, n);
}


static void
routes_free(void *p, void *data)
{
    (void) data;

    free(p);
}


static int
routes_compile(const faas_route_spec_t *spec, char *why)
{
    int                     error, shown;
    size_t                  offset;
    PCRE2_UCHAR             message[96];
    pcre2_code             *code;
    pcre2_compile_context  *context;
    pcre2_general_context  *memory;

    shown = (int) (spec->length < 64 ? spec->length : 64);

    if (spec->length > FAAS_ROUTE_PATTERN_MAX) {
        (void) snprintf(why, ROUTES_WHY_SIZE, "route \"%.*s\": pattern of "
                        "%zu bytes, %d are allowed", shown, spec->pattern,
                        spec->length, FAAS_ROUTE_PATTERN_MAX);
        return -1;
    }

    /* a pattern is not refused for a shortage of memory */

    memory = pcre2_general_context_create(routes_alloc, routes_free, NULL);
    context = pcre2_compile_context_create(memory);

    pcre2_set_max_pattern_length(context, FAAS_ROUTE_PATTERN_MAX);
    pcre2_set_parens_nest_limit(context, ROUTES_NEST_LIMIT);

    code = pcre2_compile((PCRE2_SPTR) spec->pattern, spec->length,
                         ROUTES_OPTIONS, &error, &offset, context);

    pcre2_compile_context_free(context);

    if (code == NULL) {
        message[0] = '\0';
        (void) pcre2_get_error_message(error, message, sizeof(message));
        (void) snprintf(why, ROUTES_WHY_SIZE, "route \"%.*s\": %s at offset "
                        "%zu", shown, spec->pattern, (char *) message,
                        offset);
        pcre2_general_context_free(memory);
        return -1;
    }

    error = routes_probe(code, memory);
    pcre2_code_free(code);
    pcre2_general_context_free(memory);

    if (error) {
        (void) snprintf(why, ROUTES_WHY_SIZE, "route \"%.*s\": cannot be "
                        "matched within the limits", shown, spec->pattern);
        return -1;
    }

    return 0;
}


/*
 * One match with nginx's limits: a pattern that exceeds them on "/" exceeds
 * them always.  What is left is bounded by the limits at each match.
 */

static int
routes_probe(pcre2_code *code, pcre2_general_context *memory)
{
    int                   rc;
    pcre2_match_data     *data;
    pcre2_match_context  *context;

    data = pcre2_match_data_create_from_pattern(code, memory);
    context = pcre2_match_context_create(memory);

    pcre2_set_match_limit(context, ROUTES_MATCH_LIMIT);
    pcre2_set_depth_limit(context, ROUTES_DEPTH_LIMIT);
    pcre2_set_heap_limit(context, ROUTES_HEAP_LIMIT);

    rc = pcre2_match(code, (PCRE2_SPTR) "/", 1, 0, 0, data, context);

    if (rc >= 0 || rc == PCRE2_ERROR_NOMATCH) {
        rc = 0;
    }

    pcre2_match_context_free(context);
    pcre2_match_data_free(data);

    return rc;
}


static size_t
routes_count(const routes_source_t *sources, size_t n)
{
    size_t      i, j, count;

    count = 0;

    /* never more routes than lines */

    for (i = 0; i < n; i++) {
        count += sources[i].length > 0;

        for (j = 0; j < sources[i].length; j++) {
            count += sources[i].routes[j] == '\n';
        }
    }

    return count;
}


static void
routes_index_init(routes_index_t *index, size_t n)
{
    size_t  i;

    index->count = 0;
    index->room = n + 1;
    index->size = 16;

    while (index->size < n * 2) {
        index->size *= 2;
    }

    index->claims = loop_alloc(index->room * sizeof(routes_claim_t));
    index->buckets = loop_alloc(index->size * sizeof(int64_t));

    for (i = 0; i < index->size; i++) {
        index->buckets[i] = -1;
    }
}


/*
 * Who has the route already: all its methods with the same pattern.  NULL:
 * nobody, it is the source's now.
 */

static const routes_source_t *
routes_claim(routes_index_t *index, const routes_source_t *source,
    const faas_route_spec_t *spec)
{
    size_t           bucket;
    int64_t          i;
    routes_claim_t  *claim;

    bucket = routes_hash(spec->pattern, spec->length) & (index->size - 1);

    for (i = index->buckets[bucket]; i != -1; i = claim->next) {
        claim = &index->claims[i];

        if (claim->spec.length == spec->length
            && memcmp(claim->spec.pattern, spec->pattern, spec->length) == 0
            && (spec->methods & ~claim->spec.methods) == 0)
        {
            return claim->source;
        }
    }

    if (index->count == index->room) {
        return NULL;
    }

    claim = &index->claims[index->count];
    claim->source = source;
    claim->spec = *spec;
    claim->next = index->buckets[bucket];
    index->buckets[bucket] = (int64_t) index->count++;

    return NULL;
}


/* `routes PREFIX`: what matches must begin with it, so it is literal */

static int
routes_is_allowed(const routes_source_t *source, const faas_route_spec_t *spec)
{
    size_t  n;

    if (source->prefix == NULL) {
        return 1;
    }

    n = strlen(source->prefix);

    return faas_route_literal(spec->pattern, spec->length) >= n
           && memcmp(spec->pattern, source->prefix, n) == 0;
}


static size_t
routes_hash(const char *p, size_t n)
{
    size_t  h;

    for (h = 14695981039346656037ull; n > 0; n--) {
        h = (h ^ (unsigned char) *p++) * 1099511628211ull;
    }

    return h;
}

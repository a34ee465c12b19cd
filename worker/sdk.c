
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "baas_conf.h"
#include "instance.h"
#include "sdk.h"


#define SDK_NS_PER_MS  1000000


static void *sdk_alloc(void *data, size_t n);
static void sdk_log(void *data, const char *line);
static uint32_t sdk_depth(faas_request_t *r);


/* the function's, and this instance's */

static struct {
    char                     *conf;        /* NULL: no services */
    size_t                    length;
    unsigned                  once:1;
    baas_t                   *baas;        /* NULL: not asked for yet */
    baas_scope_t              scope;       /* of the request */
} sdk;


int
sdk_configure(const char *conf, size_t n, char *why, size_t size)
{
    baas_conf_t  parsed;

    if (n == 0) {
        return FAAS_OK;
    }

    if (baas_conf_parse(&parsed, conf, n, why, size) != FAAS_OK) {
        return FAAS_ERROR;
    }

    sdk.once = parsed.once;
    baas_conf_free(&parsed);

    sdk.conf = malloc(n);
    if (sdk.conf == NULL) {
        (void) snprintf(why, size, "out of memory");
        return FAAS_ERROR;
    }

    memcpy(sdk.conf, conf, n);
    sdk.length = n;

    return FAAS_OK;
}


const char *
sdk_conf(size_t *n)
{
    *n = sdk.length;

    return sdk.conf;
}


int
sdk_is_once(void)
{
    return sdk.once;
}


baas_t *
sdk_baas(faas_request_t *r, int *code)
{
    char  why[256];

    *code = FAAS_OK;

    if (r == NULL) {
        *code = FAAS_EINVAL;
        return NULL;
    }

    if (r->baas) {
        return r->baas;
    }

    if (sdk.conf == NULL || !instance_is_self()) {
        *code = FAAS_EUNSUPPORTED;
        return NULL;
    }

    if (sdk.baas == NULL) {
        sdk.baas = baas_create(sdk.conf, sdk.length, why, sizeof(why));

        if (sdk.baas == NULL) {
            faas_log(r, "faas: %s", why);
            *code = FAAS_EFULL;
            return NULL;
        }
    }

    sdk.scope.deadline_ms = r->services_ns
                            ? (int64_t) (r->services_ns / SDK_NS_PER_MS)
                            : INT64_MAX;
    sdk.scope.request_id = faas_request_id(r);
    sdk.scope.traceparent = request_variable(r, "HTTP_TRACEPARENT");
    sdk.scope.tracestate = request_variable(r, "HTTP_TRACESTATE");
    sdk.scope.depth = sdk_depth(r);
    sdk.scope.alloc = sdk_alloc;
    sdk.scope.log = sdk_log;
    sdk.scope.data = r;

    if (sdk.scope.traceparent == NULL) {
        sdk.scope.traceparent = "";
    }

    if (sdk.scope.tracestate == NULL) {
        sdk.scope.tracestate = "";
    }

    baas_begin(sdk.baas, &sdk.scope);

    r->baas = sdk.baas;

    return r->baas;
}


void
sdk_end(faas_request_t *r)
{
    baas_end(r->baas);
    r->baas = NULL;
}


static void *
sdk_alloc(void *data, size_t n)
{
    return faas_alloc(data, n);
}


static void
sdk_log(void *data, const char *line)
{
    faas_log(data, "%s", line);
}


/* what is no number is as deep as can be: nobody but the platform sets it */

static uint32_t
sdk_depth(faas_request_t *r)
{
    char           *end;
    const char     *text;
    unsigned long   depth;

    text = request_variable(r, "HTTP_FAAS_DEPTH");

    if (text == NULL || *text == '\0') {
        return 0;
    }

    depth = strtoul(text, &end, 10);

    return *end == '\0' && depth < UINT32_MAX ? (uint32_t) depth : UINT32_MAX;
}

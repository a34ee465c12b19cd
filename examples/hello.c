#include <faas.h>

static int
hello(faas_request_t *r)
{
    const char  *name = faas_param(r, "name");   /* from the route, or NULL */

    faas_header_set(r, "Content-Type", "text/plain");
    return faas_printf(r, "hello, %s\n", name ? name : "world");
}

FAAS_FUNCTION(.handler = hello, .routes = "GET /hello/(?<name>[^/]+)")

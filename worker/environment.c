
#include <stdlib.h>
#include <string.h>

#include "environment.h"
#include "faas_scoreboard.h"


#define ENVIRONMENT_PATH  "/usr/local/bin:/usr/bin:/bin"


/*
 * A copy of its own, not a view of environ: a function may change its
 * environment, what the operator said stays.  Ends with an empty text.
 */

static char  *environment_text;


int
environment_set(const char *text, size_t n)
{
    char  *p, *equals;

    free(environment_text);

    environment_text = malloc(n + 2);
    if (environment_text == NULL) {
        return FAAS_ERROR;
    }

    memcpy(environment_text, text, n);
    environment_text[n] = '\0';
    environment_text[n + 1] = '\0';

    if (clearenv() != 0 || setenv("PATH", ENVIRONMENT_PATH, 1) == -1) {
        return FAAS_ERROR;
    }

    for (p = environment_text; *p; p += strlen(p) + 1) {
        equals = strchr(p, '=');

        if (equals == NULL || equals == p) {
            continue;
        }

        *equals = '\0';

        if (setenv(p, equals + 1, 1) == -1) {
            return FAAS_ERROR;
        }

        *equals = '=';
    }

    return FAAS_OK;
}


const char *
environment_get(const char *name)
{
    char    *p;
    size_t   n;

    if (environment_text == NULL) {
        return NULL;
    }

    n = strlen(name);

    for (p = environment_text; *p; p += strlen(p) + 1) {

        if (strncmp(p, name, n) == 0 && p[n] == '=') {
            return p + n + 1;
        }
    }

    return NULL;
}


#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "descriptor.h"
#include "faas_control.h"
#include "faas_scoreboard.h"


/* what every descriptor of this ABI has: up to and with the handler */
#define DESCRIPTOR_SIZE_MIN  offsetof(faas_descriptor_t, init)

/* no descriptor will ever be longer; a larger number is no size at all */
#define DESCRIPTOR_SIZE_MAX  4096


static int descriptor_copy(faas_descriptor_t *descriptor, const void *symbol,
    size_t space, char *why, size_t size);
static int descriptor_check(const faas_descriptor_t *descriptor, char *why,
    size_t size);
static int descriptor_refuse(char *why, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static size_t descriptor_string(char *p, const char *name, const char *value);


int
descriptor_read(faas_descriptor_t *descriptor, const void *symbol,
    size_t space, char *why, size_t size)
{
    if (descriptor_copy(descriptor, symbol, space, why, size) != FAAS_OK) {
        return FAAS_ERROR;
    }

    return descriptor_check(descriptor, why, size);
}


static int
descriptor_copy(faas_descriptor_t *descriptor, const void *symbol,
    size_t space, char *why, size_t size)
{
    size_t       i;
    uint32_t     head[2];
    const char  *p;

    p = symbol;

    if (space && space < sizeof(head)) {
        return descriptor_refuse(why, size, "faas_function is no descriptor");
    }

    memcpy(head, p, sizeof(head));

    if (head[0] != FAAS_ABI) {
        return descriptor_refuse(why, size, "it was compiled for ABI %u, this "
                                 "host runs ABI %u: %s", head[0], FAAS_ABI,
                                 head[0] > FAAS_ABI ? "the host is older"
                                                    : "compile it again");
    }

    if (head[1] < DESCRIPTOR_SIZE_MIN || head[1] > DESCRIPTOR_SIZE_MAX
        || (space && head[1] > space))
    {
        return descriptor_refuse(why, size, "its descriptor has an impossible "
                                 "size of %u bytes", head[1]);
    }

    for (i = sizeof(faas_descriptor_t); i < head[1]; i++) {

        if (p[i] != 0) {
            return descriptor_refuse(why, size, "its descriptor sets a field "
                                     "at offset %zu that this host does not "
                                     "know: the host is older", i);
        }
    }

    memset(descriptor, 0, sizeof(faas_descriptor_t));
    memcpy(descriptor, p, head[1] < sizeof(faas_descriptor_t)
                          ? head[1] : sizeof(faas_descriptor_t));

    return FAAS_OK;
}


static int
descriptor_check(const faas_descriptor_t *descriptor, char *why, size_t size)
{
    if (descriptor->handler == NULL) {
        return descriptor_refuse(why, size, "its descriptor has no handler");
    }

    if (descriptor->mode && strcmp(descriptor->mode, "resident") != 0
        && strcmp(descriptor->mode, "oneshot") != 0)
    {
        return descriptor_refuse(why, size, "mode is \"%.64s\", not "
                                 "\"resident\" or \"oneshot\"",
                                 descriptor->mode);
    }

    if (descriptor->min < 0 || descriptor->min > FAAS_MAX_INSTANCES
        || descriptor->max < 0 || descriptor->max > FAAS_MAX_INSTANCES)
    {
        return descriptor_refuse(why, size, "min %d, max %d: not within 0 and "
                                 "%d", descriptor->min, descriptor->max,
                                 FAAS_MAX_INSTANCES);
    }

    if (descriptor->max && descriptor->min > descriptor->max) {
        return descriptor_refuse(why, size, "min %d is more than max %d",
                                 descriptor->min, descriptor->max);
    }

    if (descriptor->idempotent != 0 && descriptor->idempotent != 1) {
        return descriptor_refuse(why, size, "idempotent is %d, not 0 or 1",
                                 descriptor->idempotent);
    }

    return FAAS_OK;
}


static int
descriptor_refuse(char *why, size_t size, const char *format, ...)
{
    va_list  ap;

    va_start(ap, format);
    (void) vsnprintf(why, size, format, ap);
    va_end(ap);

    return FAAS_ERROR;
}


char *
descriptor_text(const faas_descriptor_t *descriptor, size_t *n)
{
    char        *text, *p;
    size_t       i, size;
    struct {
        const char  *name;
        const char  *value;
    } string[] = {
        { "mode", descriptor->mode },
        { "routes", descriptor->routes },
        { "schedule", descriptor->schedule },
        { "consumes", descriptor->consumes },
        { "timeout", descriptor->timeout },
        { "memory", descriptor->memory },
    };

    size = 128;

    for (i = 0; i < sizeof(string) / sizeof(string[0]); i++) {

        if (string[i].value) {
            size += 3 * strlen(string[i].value) + 16;
        }
    }

    text = malloc(size);
    if (text == NULL) {
        return NULL;
    }

    p = text;
    p += sprintf(p, "abi %u\n", descriptor->abi);

    for (i = 0; i < sizeof(string) / sizeof(string[0]); i++) {
        p += descriptor_string(p, string[i].name, string[i].value);
    }

    p += sprintf(p, "min %d\nmax %d\nidempotent %d\n", descriptor->min,
                 descriptor->max, descriptor->idempotent);

    *n = (size_t) (p - text);

    return text;
}


/* nothing for what is not given */

static size_t
descriptor_string(char *p, const char *name, const char *value)
{
    char  *start;

    if (value == NULL) {
        return 0;
    }

    start = p;
    p += sprintf(p, "%s ", name);
    p += faas_control_encode(p, value, strlen(value));
    *p++ = '\n';

    return (size_t) (p - start);
}

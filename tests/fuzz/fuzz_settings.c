/* objects: worker/settings.c worker/settings_descriptor.c */
/* objects: worker/settings_list.c worker/settings_event.c */
/* objects: scoreboard/faas_control.c base/loop.c base/log.c */
/* objects: scoreboard/faas_event.c scoreboard/faas_cron.c */
/* objects: worker/descriptor.c baas/baas_conf.c */

/*
 * The configuration as nginx writes it, a descriptor as a template tells it,
 * the configuration of backend services; and descriptors themselves, which
 * as a text have to be what the supervisor takes.
 */


#include "fuzz.h"

#include "baas_conf.h"
#include "descriptor.h"
#include "settings.h"


static int
handler(faas_request_t *r)
{
    (void) r;

    return 0;
}


static void
limits(const settings_t *s, const settings_descriptor_t *d)
{
    char           note[SETTINGS_WHY_SIZE];
    faas_limits_t  l;

    settings_limits(&l, s ? s->blocks : NULL, s ? s->ceilings : NULL, d, 2,
                    note);

    must(l.max >= 1 && l.max <= FAAS_MAX_INSTANCES);
    must(l.min <= l.max);
    must(l.mode == FAAS_MODE_RESIDENT || l.mode == FAAS_MODE_ONESHOT);
    must(memchr(note, '\0', sizeof(note)) != NULL);
}


static void
configuration(const uint8_t *data, size_t size)
{
    char        *text, why[SETTINGS_WHY_SIZE];
    settings_t  *s;

    text = fuzz_text(data, size);
    why[0] = '\0';

    s = settings_parse(text, size, why);

    if (s != NULL) {
        limits(s, NULL);
        must(settings_function(s, "no-such-name-here") == NULL
             || size > 0);
        settings_free(s);

    } else {
        must(why[0] != '\0' && strchr(why, '\n') == NULL);
    }

    free(text);
}


static void
told(const uint8_t *data, size_t size)
{
    char                   *text, why[SETTINGS_WHY_SIZE];
    settings_descriptor_t   d;

    text = fuzz_text(data, size);
    why[0] = '\0';

    if (settings_descriptor(&d, text, size, why) == 0) {
        must(d.routes != NULL && strlen(d.routes) <= d.routes_length);
        limits(NULL, &d);
        settings_descriptor_free(&d);

    } else {
        must(why[0] != '\0');
    }

    free(text);
}


/* strings, each up to a zero, and numbers from the first bytes */

static void
descriptor(const uint8_t *data, size_t size)
{
    char                   *text, *told_text, *p, *end, why[SETTINGS_WHY_SIZE];
    size_t                  n;
    unsigned                i;
    const char            **field;
    faas_descriptor_t       from, d;
    settings_descriptor_t   s;

    if (size < 8) {
        return;
    }

    memset(&from, 0, sizeof(from));
    from.abi = FAAS_ABI;
    from.size = (uint32_t) sizeof(from);
    from.handler = handler;
    from.min = (int8_t) data[0];
    from.max = (int8_t) data[1];

    text = fuzz_text(data + 2, size - 2);
    p = text;
    end = text + size - 2;

    for (i = 0; i < 5 && p < end; i++) {
        field = i == 0 ? &from.mode : i == 1 ? &from.routes
                : i == 2 ? &from.schedule : i == 3 ? &from.consumes
                : &from.timeout;

        if (*p != '\0') {
            *field = p;
        }

        p += strlen(p) + 1;
    }

    if (descriptor_read(&d, &from, sizeof(from), why, sizeof(why))
        == FAAS_OK)
    {
        told_text = descriptor_text(&d, &n);
        must(told_text != NULL && strlen(told_text) == n);

        /* what is wrong in it may be found there; but it is well-formed */

        if (settings_descriptor(&s, told_text, n, why) == 0) {
            if (d.routes != NULL) {
                must(strcmp(s.routes, d.routes) == 0);
            }

            limits(NULL, &s);
            settings_descriptor_free(&s);
        }

        free(told_text);
    }

    free(text);
}


static void
services(const uint8_t *data, size_t size)
{
    size_t        i;
    char         *text, why[SETTINGS_WHY_SIZE];
    baas_conf_t   conf;

    text = fuzz_text(data, size);

    if (baas_conf_parse(&conf, text, size, why, sizeof(why)) == FAAS_OK) {
        must(conf.kv != NULL && conf.queue != NULL);

        for (i = 0; i < conf.shares; i++) {
            must(baas_conf_share(&conf, conf.share[i].name) != NULL);
        }

        baas_conf_free(&conf);
    }

    free(text);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }

    switch (data[0] & 3) {

    case 0:
        configuration(data + 1, size - 1);
        break;

    case 1:
        told(data + 1, size - 1);
        break;

    case 2:
        descriptor(data + 1, size - 1);
        break;

    default:
        services(data + 1, size - 1);
    }

    return 0;
}

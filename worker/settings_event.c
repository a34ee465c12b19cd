
/*
 * What a function consumes and when it is called: lines checked and kept,
 * and the rule whose lines hold.
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faas_event.h"
#include "settings.h"


static int settings_event_same(settings_event_e kind, const char *line,
    const char *key);
static int settings_event_parse(settings_event_e kind, const char *line,
    size_t n, char *key, char *why);


/* one queue has one consumer in a function, one name is one timer */

int
settings_event_add(settings_list_t *list, settings_event_e kind,
    const char *line, size_t n, char *why)
{
    char         reason[FAAS_EVENT_WHY_SIZE], key[FAAS_NAME_SIZE];
    const char  *p;

    if (settings_event_parse(kind, line, n, key, reason) == -1) {
        (void) snprintf(why, SETTINGS_WHY_SIZE, "%s", reason);
        return -1;
    }

    for (p = settings_next(list, NULL); p != NULL; p = settings_next(list, p))
    {
        if (settings_event_same(kind, p, key)) {
            (void) snprintf(why, SETTINGS_WHY_SIZE, kind == SETTINGS_CONSUME
                            ? "queue \"%s\" is consumed twice"
                            : "two timers are named \"%s\"", key);
            return -1;
        }
    }

    settings_append(list, line, n);

    return 0;
}


static int
settings_event_same(settings_event_e kind, const char *line, const char *key)
{
    char  other[FAAS_NAME_SIZE], why[FAAS_EVENT_WHY_SIZE];

    return settings_event_parse(kind, line, strlen(line), other, why) == 0
           && strcmp(other, key) == 0;
}


/* key[FAAS_NAME_SIZE] is the queue's or timer's name */

static int
settings_event_parse(settings_event_e kind, const char *line, size_t n,
    char *key, char *why)
{
    faas_consume_t   consume;
    faas_schedule_t  schedule;

    if (kind == SETTINGS_CONSUME) {

        if (faas_consume_parse(line, n, &consume, why) == -1) {
            return -1;
        }

        memcpy(key, consume.queue, FAAS_NAME_SIZE);
        return 0;
    }

    if (faas_schedule_parse(line, n, &schedule, why) == -1) {
        return -1;
    }

    memcpy(key, schedule.name, FAAS_NAME_SIZE);

    return 0;
}


const settings_list_t *
settings_consume(const settings_function_t *conf,
    const settings_descriptor_t *d)
{
    static const settings_list_t  none;

    if (conf != NULL && conf->consume.text != NULL) {
        return &conf->consume;
    }

    return d != NULL ? &d->consume : &none;
}


const settings_list_t *
settings_schedule(const settings_function_t *conf,
    const settings_descriptor_t *d)
{
    static const settings_list_t  none;

    if (conf != NULL && conf->schedule.text != NULL) {
        return &conf->schedule;
    }

    return d != NULL ? &d->schedule : &none;
}


int
settings_consume_once(const char *line, char *dst)
{
    int     had;
    size_t  n;

    had = 0;

    for (line += strspn(line, " \t"); *line != '\0';
         line += strspn(line, " \t"))
    {
        n = strcspn(line, " \t");

        if (strncmp(line, "batch=", 6) == 0) {
            had = strtoul(line + 6, NULL, 10) > 1;

        } else {
            memcpy(dst, line, n);
            dst += n;
            *dst++ = ' ';
        }

        line += n;
    }

    /* there is a queue before it, so something was written */

    dst[-1] = '\0';

    return had;
}


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faas_control.h"
#include "log.h"
#include "tender_settings.h"


#define TENDER_VALUES  3


static int tender_settings_lines(tender_settings_t *s, char *why,
    size_t size);
static int tender_settings_line(tender_settings_t *s, char *line, char *why,
    size_t size);
static int tender_settings_set(tender_settings_t *s, size_t which,
    char **value);
static int tender_settings_level(tender_settings_t *s, const char *value);
static int tender_settings_place(tender_settings_t *s, char **value);


typedef enum {
    TENDER_STATE = 0,
    TENDER_ERROR_LOG,
    TENDER_LOG_LEVEL,
    TENDER_DATA,
    TENDER_SHARE,
    TENDER_SETTINGS
} tender_setting_e;


static const struct {
    const char  *name;
    size_t       values;
} tender_setting[] = {
    [TENDER_STATE] = { "state", 1 },
    [TENDER_ERROR_LOG] = { "error_log", 1 },
    [TENDER_LOG_LEVEL] = { "log_level", 1 },
    [TENDER_DATA] = { "data", 3 },
    [TENDER_SHARE] = { "share", 2 },
};

_Static_assert(sizeof(tender_setting) / sizeof(tender_setting[0])
               == TENDER_SETTINGS, "each setting has its line");


int
tender_settings_parse(tender_settings_t *s, const char *text, size_t n,
    char *why, size_t size)
{
    memset(s, 0, sizeof(tender_settings_t));

    s->log_level = LOG_NOTICE;

    s->text = malloc(n + 1);
    if (s->text == NULL) {
        snprintf(why, size, "out of memory");
        return -1;
    }

    memcpy(s->text, text, n);
    s->text[n] = '\0';

    if (strlen(s->text) != n) {
        snprintf(why, size, "a zero byte");
        tender_settings_free(s);
        return -1;
    }

    if (tender_settings_lines(s, why, size) == -1) {
        tender_settings_free(s);
        return -1;
    }

    if (s->state == NULL) {
        snprintf(why, size, "no \"state\"");
        tender_settings_free(s);
        return -1;
    }

    return 0;
}


void
tender_settings_free(tender_settings_t *s)
{
    free(s->text);
    free(s->place);

    memset(s, 0, sizeof(tender_settings_t));
}


static int
tender_settings_lines(tender_settings_t *s, char *why, size_t size)
{
    char  *line, *end;

    for (line = s->text; *line != '\0'; line = end + 1) {
        end = strchr(line, '\n');

        if (end == NULL) {
            snprintf(why, size, "the last line has no end");
            return -1;
        }

        *end = '\0';

        if (tender_settings_line(s, line, why, size) == -1) {
            return -1;
        }
    }

    return 0;
}


static int
tender_settings_line(tender_settings_t *s, char *line, char *why, size_t size)
{
    char    *value[TENDER_VALUES], *p;
    size_t   n, which;
    ssize_t  length;

    /* empty until they are found */

    for (n = 0; n < TENDER_VALUES; n++) {
        value[n] = line + strlen(line);
    }

    n = 0;

    for (p = strchr(line, ' '); p != NULL; p = strchr(p, ' ')) {
        *p++ = '\0';

        if (n < TENDER_VALUES) {
            value[n] = p;
        }

        n++;
    }

    for (which = 0; which < TENDER_SETTINGS; which++) {
        if (strcmp(line, tender_setting[which].name) == 0) {
            break;
        }
    }

    if (which == TENDER_SETTINGS) {
        snprintf(why, size, "unknown setting \"%s\"", line);
        return -1;
    }

    if (n != tender_setting[which].values) {
        snprintf(why, size, "\"%s\" has %zu values", line, n);
        return -1;
    }

    while (n-- > 0) {
        length = faas_control_decode(value[n]);

        if (length < 1 || strlen(value[n]) != (size_t) length) {
            snprintf(why, size, "a malformed value of \"%s\"", line);
            return -1;
        }
    }

    if (tender_settings_set(s, which, value) == -1) {
        snprintf(why, size, "a bad value of \"%s\", or no memory", line);
        return -1;
    }

    return 0;
}


static int
tender_settings_set(tender_settings_t *s, size_t which, char **value)
{
    switch (which) {

    case TENDER_STATE:
        s->state = value[0];
        return value[0][0] == '/' ? 0 : -1;

    case TENDER_ERROR_LOG:
        s->error_log = value[0];
        return 0;

    case TENDER_LOG_LEVEL:
        return tender_settings_level(s, value[0]);

    case TENDER_SHARE:
        value[2] = NULL;
        return tender_settings_place(s, value);

    default:    /* TENDER_DATA */
        return tender_settings_place(s, value);
    }
}


static int
tender_settings_level(tender_settings_t *s, const char *value)
{
    if (value[1] != '\0' || value[0] < '0' + LOG_EMERG
        || value[0] > '0' + LOG_DEBUG)
    {
        return -1;
    }

    s->log_level = value[0] - '0';

    return 0;
}


static int
tender_settings_place(tender_settings_t *s, char **value)
{
    tender_settings_place_t  *place;

    if (value[1][0] != '/') {
        return -1;
    }

    place = realloc(s->place,
                    (s->places + 1) * sizeof(tender_settings_place_t));

    if (place == NULL) {
        return -1;
    }

    s->place = place;
    place = &s->place[s->places++];

    place->name = value[0];
    place->path = value[1];
    place->token = value[2];

    return 0;
}

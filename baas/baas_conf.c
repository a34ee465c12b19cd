
#include <faas.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "baas_conf.h"
#include "faas_control.h"


#define BAAS_CONF_ENGINE  "sqlite"


typedef struct {
    baas_conf_t              *conf;
    unsigned                  line;
    char                     *why;
    size_t                    size;
} baas_conf_parser_t;


static int baas_conf_line(baas_conf_parser_t *parser, char *line);
static int baas_conf_text(baas_conf_parser_t *parser, const char *name,
    const char **field, char *value);
static int baas_conf_durability(baas_conf_parser_t *parser, char *value);
static int baas_conf_once(baas_conf_parser_t *parser, const char *value);
static int baas_conf_add_share(baas_conf_parser_t *parser, char *value);
static int baas_conf_complete(baas_conf_parser_t *parser);
static int baas_conf_fail(baas_conf_parser_t *parser, const char *format, ...)
    __attribute__((format(printf, 2, 3)));


int
baas_conf_parse(baas_conf_t *conf, const char *text, size_t n, char *why,
    size_t size)
{
    char                *p, *end, *newline;
    baas_conf_parser_t   parser;

    memset(conf, 0, sizeof(baas_conf_t));
    conf->kv = BAAS_CONF_ENGINE;
    conf->queue = BAAS_CONF_ENGINE;

    parser.conf = conf;
    parser.line = 0;
    parser.why = why;
    parser.size = size;

    conf->text = malloc(n + 1);
    if (conf->text == NULL) {
        return baas_conf_fail(&parser, "out of memory");
    }

    if (n) {
        memcpy(conf->text, text, n);
    }

    conf->text[n] = '\0';

    if (memchr(conf->text, '\0', n)) {
        (void) baas_conf_fail(&parser, "a zero in it");
        goto failed;
    }

    end = conf->text + n;

    for (p = conf->text; p < end; p = newline + 1) {
        parser.line++;

        newline = memchr(p, '\n', (size_t) (end - p));

        if (newline == NULL) {
            (void) baas_conf_fail(&parser, "the last line is cut");
            goto failed;
        }

        *newline = '\0';

        if (baas_conf_line(&parser, p) != FAAS_OK) {
            goto failed;
        }
    }

    if (baas_conf_complete(&parser) != FAAS_OK) {
        goto failed;
    }

    return FAAS_OK;

failed:

    baas_conf_free(conf);

    return FAAS_ERROR;
}


static int
baas_conf_line(baas_conf_parser_t *parser, char *line)
{
    char         *value;
    size_t        i;
    baas_conf_t  *conf;

    conf = parser->conf;

    const struct {
        const char   *name;
        const char  **field;
    } texts[] = {
        { "function", &conf->function },
        { "token", &conf->token },
        { "state", &conf->state },
        { "data", &conf->data },
        { "kv", &conf->kv },
        { "queue", &conf->queue },
    };

    value = strchr(line, ' ');

    if (value == NULL) {
        return baas_conf_fail(parser, "\"%s\" without a value", line);
    }

    *value++ = '\0';

    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {

        if (strcmp(line, texts[i].name) == 0) {
            return baas_conf_text(parser, line, texts[i].field, value);
        }
    }

    if (strcmp(line, "share") == 0) {
        return baas_conf_add_share(parser, value);
    }

    if (strcmp(line, "durability") == 0) {
        return baas_conf_durability(parser, value);
    }

    if (strcmp(line, "exactly_once") == 0) {
        return baas_conf_once(parser, value);
    }

    return baas_conf_fail(parser, "unknown setting \"%s\"", line);
}


/* a string: one that holds a zero would be taken for a shorter one */

static int
baas_conf_text(baas_conf_parser_t *parser, const char *name,
    const char **field, char *value)
{
    ssize_t  n;

    n = faas_control_decode(value);

    if (n <= 0 || strlen(value) != (size_t) n) {
        return baas_conf_fail(parser, "bad value of \"%s\"", name);
    }

    *field = value;

    return FAAS_OK;
}


static int
baas_conf_durability(baas_conf_parser_t *parser, char *value)
{
    if (strcmp(value, "full") == 0) {
        parser->conf->normal = 0;

    } else if (strcmp(value, "normal") == 0) {
        parser->conf->normal = 1;

    } else {
        return baas_conf_fail(parser, "bad value of \"durability\"");
    }

    return FAAS_OK;
}


static int
baas_conf_once(baas_conf_parser_t *parser, const char *value)
{
    if ((value[0] != '0' && value[0] != '1') || value[1] != '\0') {
        return baas_conf_fail(parser, "bad value of \"exactly_once\"");
    }

    parser->conf->once = value[0] == '1';

    return FAAS_OK;
}


/* NAME r|w PATH: three values, each encoded, so that a blank parts them */

static int
baas_conf_add_share(baas_conf_parser_t *parser, char *value)
{
    char          *right, *path;
    baas_conf_t   *conf;
    baas_share_t  *share;

    conf = parser->conf;

    right = strchr(value, ' ');
    path = right ? strchr(right + 1, ' ') : NULL;

    if (path == NULL || path != right + 2
        || (right[1] != 'r' && right[1] != 'w'))
    {
        return baas_conf_fail(parser, "bad value of \"share\"");
    }

    *right = '\0';
    *path = '\0';

    share = realloc(conf->share, (conf->shares + 1) * sizeof(baas_share_t));
    if (share == NULL) {
        return baas_conf_fail(parser, "out of memory");
    }

    conf->share = share;
    share += conf->shares;

    memset(share, 0, sizeof(baas_share_t));
    share->write = right[1] == 'w';

    if (baas_conf_text(parser, "share", &share->name, value) != FAAS_OK
        || baas_conf_text(parser, "share", &share->path, path + 1) != FAAS_OK)
    {
        return FAAS_ERROR;
    }

    conf->shares++;

    return FAAS_OK;
}


/* without these nothing can be reached */

static int
baas_conf_complete(baas_conf_parser_t *parser)
{
    baas_conf_t  *conf;

    conf = parser->conf;
    parser->line = 0;

    if (conf->function == NULL || conf->token == NULL || conf->state == NULL
        || conf->data == NULL)
    {
        return baas_conf_fail(parser, "no \"%s\"",
                              conf->function == NULL ? "function"
                              : conf->token == NULL ? "token"
                              : conf->state == NULL ? "state" : "data");
    }

    return FAAS_OK;
}


static int
baas_conf_fail(baas_conf_parser_t *parser, const char *format, ...)
{
    int      n;
    va_list  ap;

    n = parser->line
        ? snprintf(parser->why, parser->size, "backend services, line %u: ",
                   parser->line)
        : snprintf(parser->why, parser->size, "backend services: ");

    if (n < 0 || (size_t) n >= parser->size) {
        return FAAS_ERROR;
    }

    va_start(ap, format);
    (void) vsnprintf(parser->why + n, parser->size - (size_t) n, format, ap);
    va_end(ap);

    return FAAS_ERROR;
}


void
baas_conf_free(baas_conf_t *conf)
{
    free(conf->text);
    free(conf->share);
    memset(conf, 0, sizeof(baas_conf_t));
}


const baas_share_t *
baas_conf_share(const baas_conf_t *conf, const char *name)
{
    size_t  i;

    for (i = 0; i < conf->shares; i++) {

        if (strcmp(conf->share[i].name, name) == 0) {
            return &conf->share[i];
        }
    }

    return NULL;
}

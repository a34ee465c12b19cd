
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "faasctl.h"


static void faasctl_json_name(json_text_t *t, const char *name);


void
faasctl_table(faasctl_table_t *t, size_t columns, const char *const *head)
{
    size_t  i;

    memset(t, 0, sizeof(*t));
    t->columns = columns;

    for (i = 0; i < columns; i++) {
        faasctl_cell(t, faas_text(head[i]));
    }
}


/* what could move the cursor or look like another line is shown as '?' */

void
faasctl_cell(faasctl_table_t *t, faas_bytes_t text)
{
    char           *cell, **cells;
    size_t          i;
    unsigned char   c;

    if (t->n == t->room) {
        t->room = t->room ? t->room * 2 : 64;
        cells = faasctl_alloc(t->room * sizeof(char *));

        if (t->n) {
            memcpy(cells, t->cells, t->n * sizeof(char *));
        }

        free(t->cells);
        t->cells = cells;
    }

    cell = faasctl_alloc(text.size + 1);

    for (i = 0; i < text.size; i++) {
        c = ((const unsigned char *) text.data)[i];
        cell[i] = (char) (c < 0x20 || c == 0x7f ? '?' : c);
    }

    t->cells[t->n++] = cell;
}


void
faasctl_cell_number(faasctl_table_t *t, int64_t number)
{
    char  buf[32];

    (void) snprintf(buf, sizeof(buf), "%lld", (long long) number);
    faasctl_cell(t, faas_text(buf));
}


void
faasctl_cell_time(faasctl_table_t *t, int64_t ms)
{
    char  buf[64];

    faasctl_cell(t, faas_text(ms ? faasctl_time(ms, buf, sizeof(buf)) : "-"));
}


void
faasctl_cell_age(faasctl_table_t *t, int64_t ms)
{
    char  buf[64];

    if (ms < 0) {
        (void) snprintf(buf, sizeof(buf), "-");

    } else if (ms < 1000) {
        (void) snprintf(buf, sizeof(buf), "%lldms", (long long) ms);

    } else if (ms < 60000) {
        (void) snprintf(buf, sizeof(buf), "%llds", (long long) ms / 1000);

    } else if (ms < 3600000) {
        (void) snprintf(buf, sizeof(buf), "%lldm%llds",
                        (long long) ms / 60000,
                        (long long) ms / 1000 % 60);

    } else {
        (void) snprintf(buf, sizeof(buf), "%lldh%lldm",
                        (long long) ms / 3600000,
                        (long long) ms / 60000 % 60);
    }

    faasctl_cell(t, faas_text(buf));
}


void
faasctl_table_print(const faasctl_table_t *t, const char *none)
{
    size_t  i, c, width;

    for (i = 0; i < t->n && t->n > t->columns; i++) {
        c = i % t->columns;

        if (c + 1 == t->columns) {
            (void) printf("%s\n", t->cells[i]);
            continue;
        }

        /* of the column */

        width = 0;

        for ( /* void */ ; c < t->n; c += t->columns) {
            if (strlen(t->cells[c]) > width) {
                width = strlen(t->cells[c]);
            }
        }

        (void) printf("%-*s  ", (int) width, t->cells[i]);
    }

    if (t->n <= t->columns) {
        (void) printf("%s\n", none);
    }
}


void
faasctl_table_free(faasctl_table_t *t)
{
    size_t  i;

    for (i = 0; i < t->n; i++) {
        free(t->cells[i]);
    }

    free(t->cells);
}


const char *
faasctl_time(int64_t ms, char *buf, size_t size)
{
    time_t     sec;
    struct tm  tm;

    sec = (time_t) (ms / 1000);

    if (localtime_r(&sec, &tm) == NULL
        || strftime(buf, size, "%Y-%m-%d %H:%M:%S %z", &tm) == 0)
    {
        (void) snprintf(buf, size, "%lld ms", (long long) ms);
    }

    return buf;
}


/* -- JSON ------------------------------------------------------------------ */

static void
faasctl_json_name(json_text_t *t, const char *name)
{
    if (t->size && t->data[t->size - 1] != '{') {
        json_put(t, ",");
    }

    json_string(t, name, strlen(name));
    json_put(t, ":");
}


void
faasctl_json_text(json_text_t *t, const char *name, faas_bytes_t text)
{
    faasctl_json_name(t, name);
    json_string(t, text.data, text.size);
}


void
faasctl_json_number(json_text_t *t, const char *name, int64_t number)
{
    char  buf[32];

    (void) snprintf(buf, sizeof(buf), "%lld", (long long) number);
    faasctl_json_name(t, name);
    json_put(t, buf);
}


/* RFC 3339; null for 0 */

void
faasctl_json_time(json_text_t *t, const char *name, int64_t ms)
{
    char       date[40], buf[64];
    time_t     sec;
    struct tm  tm;

    sec = (time_t) (ms / 1000);
    faasctl_json_name(t, name);

    if (ms == 0 || gmtime_r(&sec, &tm) == NULL
        || strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm) == 0)
    {
        json_put(t, "null");
        return;
    }

    (void) snprintf(buf, sizeof(buf), "\"%s.%03dZ\"", date,
                    (int) (ms % 1000));
    json_put(t, buf);
}


/* text if it is UTF-8, else base64, and "encoding" says so */

void
faasctl_json_data(json_text_t *t, const char *name, faas_bytes_t data)
{
    if (json_is_text(data.data, data.size)) {
        faasctl_json_text(t, name, data);
        return;
    }

    faasctl_json_name(t, name);
    json_put(t, "\"");
    json_base64(t, data.data, data.size);
    json_put(t, "\",\"encoding\":\"base64\"");
}


int
faasctl_json_print(const json_text_t *t)
{
    if (t->failed) {
        (void) fprintf(stderr, "faasctl: out of memory\n");
        return FAASCTL_FAILED;
    }

    (void) printf("%s\n", t->data);

    return FAASCTL_DONE;
}


int
faasctl_list_print(json_text_t *json, faasctl_table_t *table,
    const char *none)
{
    int  rc;

    rc = FAASCTL_DONE;

    if (faasctl.json) {
        rc = faasctl_json_print(json);

    } else {
        faasctl_table_print(table, none);
    }

    json_free(json);
    faasctl_table_free(table);

    return rc;
}


/* reads HTTP/1.1 answers, whole or byte by byte, and checks whose they are */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "load.h"


static size_t answer_head(load_answer_t *a, const char *data, size_t n);
static void answer_parse(load_answer_t *a);
static void answer_header(load_answer_t *a, const char *name, char *value);
static size_t answer_line(load_answer_t *a, const char *data, size_t n);
static size_t answer_body(load_answer_t *a, const char *data, size_t n);
static void answer_text(load_answer_t *a, const char *data, size_t n);


static const struct {
    const char  *name;
    size_t       offset;
} answer_kept[] = {
    { "X-Id", offsetof(load_answer_t, id) },
    { "X-Outcome", offsetof(load_answer_t, outcome) },
    { "X-Started", offsetof(load_answer_t, started) },
    { "X-Worker", offsetof(load_answer_t, worker) },
    { "Retry-After", offsetof(load_answer_t, retry_after) },
    { "Proxy-Status", offsetof(load_answer_t, proxy_status) },
};


size_t
load_answer_read(load_answer_t *a, const char *data, size_t n)
{
    size_t  used;

    used = 0;

    while (used < n && a->state != ANSWER_DONE && a->state != ANSWER_GARBLED) {

        switch (a->state) {

        case ANSWER_HEAD:
            used += answer_head(a, data + used, n - used);
            break;

        case ANSWER_LENGTH:
        case ANSWER_CHUNK:
        case ANSWER_CLOSE:
            used += answer_body(a, data + used, n - used);
            break;

        default:
            used += answer_line(a, data + used, n - used);
            break;
        }
    }

    return used;
}


int
load_answer_end(load_answer_t *a)
{
    if (a->state == ANSWER_CLOSE) {
        a->state = ANSWER_DONE;
    }

    return a->state == ANSWER_DONE;
}


int
load_answer_is_right(load_answer_t *a, uint64_t id, int has_body,
    uint64_t hash)
{
    char  expected[17], word[LOAD_TEXT];

    (void) snprintf(expected, sizeof(expected), "%016llx",
                    (unsigned long long) id);

    if (strcmp(a->id, expected) != 0) {
        return 0;
    }

    if (a->head_only) {
        return 1;
    }

    if (!a->text_done || a->filler_wrong
        || strcmp(load_answer_word(a, "id", word), expected) != 0)
    {
        return 0;
    }

    (void) load_answer_word(a, "hash", word);

    if (has_body && strcmp(word, "-") != 0) {
        (void) snprintf(expected, sizeof(expected), "%016llx",
                        (unsigned long long) hash);

        return strcmp(word, expected) == 0;
    }

    return 1;
}


int
load_answer_is_another(load_answer_t *a, uint64_t id)
{
    char  expected[17];

    (void) snprintf(expected, sizeof(expected), "%016llx",
                    (unsigned long long) id);

    return a->id[0] != '\0' && strcmp(a->id, expected) != 0;
}


const char *
load_answer_word(load_answer_t *a, const char *name, char *to)
{
    char    *p;
    size_t   n;

    n = strlen(name);

    for (p = a->text; p; p = strchr(p, ' ')) {
        p += (*p == ' ');

        if (strncmp(p, name, n) == 0 && p[n] == '=') {
            p += n + 1;
            n = strcspn(p, " ");
            memcpy(to, p, n);
            to[n] = '\0';

            return to;
        }
    }

    return strcpy(to, "-");
}


static size_t
answer_head(load_answer_t *a, const char *data, size_t n)
{
    char    *end;
    size_t   before, room;

    before = a->head_length;
    room = LOAD_HEAD - before;

    if (n > room) {
        n = room;
    }

    memcpy(a->head + before, data, n);
    a->head_length += n;
    a->head[a->head_length] = '\0';

    end = strstr(a->head, "\r\n\r\n");

    if (end == NULL) {
        if (a->head_length == LOAD_HEAD
            || strlen(a->head) != a->head_length)
        {
            a->state = ANSWER_GARBLED;
        }

        return n;
    }

    n = (size_t) (end + 4 - a->head) - before;
    end[2] = '\0';

    answer_parse(a);

    return n;
}


static void
answer_parse(load_answer_t *a)
{
    char  *p, *next, *colon;

    if (strncmp(a->head, "HTTP/1.1 ", 9) != 0) {
        a->state = ANSWER_GARBLED;
        return;
    }

    a->status = atoi(a->head + 9);

    if (a->status < 100 || a->status > 599) {
        a->state = ANSWER_GARBLED;
        return;
    }

    if (a->status < 200) {
        /* interim: the answer is still to come */
        a->head_length = 0;
        return;
    }

    /* HTTP/1.1 without either framing: up to the end */
    a->state = ANSWER_CLOSE;

    for (p = strstr(a->head, "\r\n") + 2; *p; p = next) {
        next = strstr(p, "\r\n");
        *next = '\0';
        next += 2;

        colon = strchr(p, ':');

        if (colon == NULL) {
            a->state = ANSWER_GARBLED;
            return;
        }

        *colon++ = '\0';
        colon += strspn(colon, " \t");
        answer_header(a, p, colon);
    }

    if (a->head_only || a->status == 204 || a->status == 304
        || (a->state == ANSWER_LENGTH && a->left == 0))
    {
        a->state = ANSWER_DONE;
    }
}


static void
answer_header(load_answer_t *a, const char *name, char *value)
{
    size_t  i;

    if (strcasecmp(name, "Content-Length") == 0) {
        a->state = ANSWER_LENGTH;
        a->left = strtoull(value, NULL, 10);
        return;
    }

    if (strcasecmp(name, "Transfer-Encoding") == 0) {
        a->state = strcasecmp(value, "chunked") == 0 ? ANSWER_SIZE
                                                     : ANSWER_GARBLED;
        return;
    }

    if (strcasecmp(name, "Connection") == 0) {
        a->is_last = (strcasecmp(value, "close") == 0);
        return;
    }

    for (i = 0; i < sizeof(answer_kept) / sizeof(answer_kept[0]); i++) {
        if (strcasecmp(name, answer_kept[i].name) == 0) {
            (void) snprintf((char *) a + answer_kept[i].offset, LOAD_TEXT,
                            "%s", value);
        }
    }
}


/* the lines of the chunked coding */
static size_t
answer_line(load_answer_t *a, const char *data, size_t n)
{
    char    *end;
    size_t   i;

    for (i = 0; i < n; i++) {

        if (data[i] != '\n') {
            if (a->line_length == sizeof(a->line) - 1) {
                a->state = ANSWER_GARBLED;
                return i;
            }

            a->line[a->line_length++] = data[i];
            continue;
        }

        if (a->line_length && a->line[a->line_length - 1] == '\r') {
            a->line_length--;
        }

        a->line[a->line_length] = '\0';

        switch (a->state) {

        case ANSWER_SIZE:
            a->left = strtoull(a->line, &end, 16);
            a->state = a->left ? ANSWER_CHUNK : ANSWER_TRAILER;

            if (end == a->line) {
                a->state = ANSWER_GARBLED;
            }

            break;

        case ANSWER_CHUNK_END:
            a->state = a->line_length ? ANSWER_GARBLED : ANSWER_SIZE;
            break;

        default: /* ANSWER_TRAILER */
            a->state = a->line_length ? ANSWER_TRAILER : ANSWER_DONE;
            break;
        }

        a->line_length = 0;

        return i + 1;
    }

    return n;
}


static size_t
answer_body(load_answer_t *a, const char *data, size_t n)
{
    if (a->state == ANSWER_CLOSE) {
        answer_text(a, data, n);
        return n;
    }

    if (n > a->left) {
        n = a->left;
    }

    answer_text(a, data, n);
    a->left -= n;

    if (a->left == 0) {
        a->state = a->state == ANSWER_CHUNK ? ANSWER_CHUNK_END : ANSWER_DONE;
    }

    return n;
}


static void
answer_text(load_answer_t *a, const char *data, size_t n)
{
    size_t  i;

    for (i = 0; i < n && !a->text_done; i++) {

        if (data[i] == '\n') {
            a->text_done = 1;
            a->text[a->text_length] = '\0';

        } else if (a->text_length < LOAD_TEXT - 1) {
            a->text[a->text_length++] = data[i] ? data[i] : '?';
        }
    }

    for ( /* void */ ; i < n; i++) {
        a->filler_wrong |= (data[i] != a->filler_id[a->filler++ % 16]);
    }
}

/* objects: worker/state_file.c worker/death.c worker/oom.c */
/* objects: base/loop.c base/log.c scoreboard/faas_tally.c */

/*
 * What the supervisor reads of what is left: small files in faas_state, and
 * the page of an instance that died, which is memory that the function could
 * write to.
 */


#include "fuzz.h"

#include "death.h"
#include "faas_scoreboard.h"
#include "state_file.h"


static void
node(const uint8_t *data, size_t size)
{
    char  *text, name[STATE_FILE_NODE + 1];

    text = malloc(size + (size == 0));
    must(text != NULL);

    if (size > 0) {
        memcpy(text, data, size);
    }

    if (state_file_node(text, size, name) == 0) {
        must(strspn(name, "0123456789abcdef") == STATE_FILE_NODE);
        must(strlen(name) == STATE_FILE_NODE);
        must(memcmp(name, data, STATE_FILE_NODE) == 0);
    }

    free(text);
}


static void
order(const uint8_t *data, size_t size)
{
    char        *text, *p;
    size_t       n;
    const char  *name;

    text = fuzz_text(data, size);
    p = text;

    while ((name = state_file_order(&p)) != NULL) {
        n = strlen(name);
        must(n > 0 && n < FAAS_NAME_SIZE);
        must(strchr(name, '\n') == NULL);
        must(name >= text && p == name + n + 1 && p <= text + size);

        /* where it stood, a line */
        must(data[p - text - 1] == '\n');
    }

    free(text);
}


static void
printable(const char *s, size_t n)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        must(s[i] >= 0x20 && s[i] < 0x7f);
    }
}


static void
page(const uint8_t *data, size_t size)
{
    char         *buf;
    faas_page_t  *p;

    p = calloc(1, sizeof(faas_page_t));
    buf = malloc(DEATH_REQUEST_SIZE);
    must(p != NULL && buf != NULL);

    memcpy(p, data, size < sizeof(faas_page_t) ? size : sizeof(faas_page_t));

    death_request(p, 0, buf);

    must(memchr(buf, '\0', DEATH_REQUEST_SIZE) != NULL);
    printable(buf, strlen(buf));

    /* the same page with its lengths as they are, and others that are not */

    atomic_store(&p->begun, atomic_load(&p->ended) + 1);
    death_request(p, 0, buf);
    must(memchr(buf, '\0', DEATH_REQUEST_SIZE) != NULL);
    printable(buf, strlen(buf));
    must(strncmp(buf, "request \"", 9) == 0);

    if (size >= 3) {
        memset(p->id, data[0], sizeof(p->id));
        memset(p->method, data[1], sizeof(p->method));
        memset(p->uri, data[2], sizeof(p->uri));
        atomic_store(&p->id_length, UINT32_MAX);
        atomic_store(&p->method_length, UINT32_MAX);
        atomic_store(&p->uri_length, UINT32_MAX);

        death_request(p, 1, buf);
        must(memchr(buf, '\0', DEATH_REQUEST_SIZE) != NULL);
        printable(buf, strlen(buf));
    }

    free(buf);
    free(p);
}


static void
escape(const uint8_t *data, size_t size)
{
    char    *dst;
    size_t   n, room;

    if (size == 0) {
        return;
    }

    room = data[0] + 1u;
    data++;
    size--;

    dst = malloc(room);
    must(dst != NULL);

    n = death_escape(dst, room, (const char *) data, size);
    must(n < room && dst[n] == '\0');
    printable(dst, n);
    must(memchr(dst, '"', n) == NULL);

    free(dst);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }

    switch (data[0] & 3) {

    case 0:
        node(data + 1, size - 1);
        break;

    case 1:
        order(data + 1, size - 1);
        break;

    case 2:
        page(data + 1, size - 1);
        break;

    default:
        escape(data + 1, size - 1);
    }

    return 0;
}

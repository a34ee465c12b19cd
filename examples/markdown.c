
/*
 * markdown: CommonMark in, an HTML fragment out, by libcmark, the reference
 * implementation.
 *
 *     curl --data-binary @README.md http://127.0.0.1:8080/fn/markdown
 *
 * Resident.  POST or PUT only (405 else).  Safe: raw HTML and links such as
 * javascript: are left out of what is rendered, so text of strangers may be
 * posted.  The body may be declared as text/markdown, text/plain, or as what
 * curl says by default; another type is a 415.  At most 4 MiB (413), UTF-8
 * (400).
 */


#include <string.h>
#include <strings.h>

#include <cmark.h>

#include <faas.h>


#define MARKDOWN_MAX  (4 * 1024 * 1024)


static int markdown_error(faas_request_t *r, int status, const char *text);
static int markdown_is_text(const char *type);
static int markdown_is_utf8(const unsigned char *p, size_t n);


static int
markdown(faas_request_t *r)
{
    int          rc;
    char        *html;
    size_t       n;
    const char  *method, *body;

    method = faas_method(r);

    if (strcmp(method, "POST") != 0 && strcmp(method, "PUT") != 0) {
        faas_header_set(r, "Allow", "POST, PUT");
        return markdown_error(r, 405, "post the text to render");
    }

    if (!markdown_is_text(faas_header(r, "Content-Type"))) {
        return markdown_error(r, 415, "text/markdown or text/plain");
    }

    if (faas_content_length(r) > MARKDOWN_MAX) {
        return markdown_error(r, 413, "more than 4 MiB");
    }

    body = faas_body(r, MARKDOWN_MAX, &n);
    if (body == NULL) {
        return markdown_error(r, 400, "the body could not be read");
    }

    if (!markdown_is_utf8((const unsigned char *) body, n)) {
        return markdown_error(r, 400, "not UTF-8");
    }

    html = cmark_markdown_to_html(body, n, CMARK_OPT_DEFAULT);
    if (html == NULL) {
        return FAAS_ERROR;
    }

    rc = faas_header_set(r, "Content-Type", "text/html; charset=utf-8");

    if (rc == FAAS_OK) {
        rc = faas_write(r, html, strlen(html));
    }

    cmark_get_default_mem_allocator()->free(html);

    return rc;
}


static int
markdown_error(faas_request_t *r, int status, const char *text)
{
    faas_status(r, status);
    faas_header_set(r, "Content-Type", "text/plain");

    return faas_printf(r, "%s\n", text);
}


static int
markdown_is_text(const char *type)
{
    size_t             i, n;

    static const char  *const types[] = {
        "text/markdown",
        "text/plain",
        "application/x-www-form-urlencoded",    /* curl --data-binary */
        "application/octet-stream"
    };

    if (type == NULL || *type == '\0') {
        return 1;
    }

    n = strcspn(type, "; \t");

    for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strlen(types[i]) == n && strncasecmp(type, types[i], n) == 0) {
            return 1;
        }
    }

    return 0;
}


/*
 * Well-formed as RFC 3629 has it: no overlong forms, no surrogates, nothing
 * above U+10FFFF.
 */

static int
markdown_is_utf8(const unsigned char *p, size_t n)
{
    size_t         i, length;
    unsigned char  low, high;

    while (n > 0) {

        if (*p < 0x80) {
            p++;
            n--;
            continue;
        }

        low = 0x80;
        high = 0xbf;

        if (*p >= 0xc2 && *p <= 0xdf) {
            length = 2;

        } else if (*p >= 0xe0 && *p <= 0xef) {
            length = 3;
            low = (*p == 0xe0) ? 0xa0 : 0x80;
            high = (*p == 0xed) ? 0x9f : 0xbf;

        } else if (*p >= 0xf0 && *p <= 0xf4) {
            length = 4;
            low = (*p == 0xf0) ? 0x90 : 0x80;
            high = (*p == 0xf4) ? 0x8f : 0xbf;

        } else {
            return 0;
        }

        if (length > n || p[1] < low || p[1] > high) {
            return 0;
        }

        for (i = 2; i < length; i++) {
            if ((p[i] & 0xc0) != 0x80) {
                return 0;
            }
        }

        p += length;
        n -= length;
    }

    return 1;
}


FAAS_FUNCTION(.handler = markdown, .mode = "resident", .timeout = "10s")

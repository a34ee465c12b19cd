
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "events_callback.h"
#include "sha256.h"


#define CALLBACK_BLOCK  64         /* of SHA-256, bytes */


static int callback_is_plain(const char *url);
static int callback_has_prefix(const char *url, const char *prefix);
static int callback_goes_up(const char *path);


const events_callback_t *
events_callback_find(const events_settings_t *s, const char *url)
{
    size_t                    i;
    const events_callback_t  *c, *found;

    if (!callback_is_plain(url)) {
        return NULL;
    }

    found = NULL;

    for (i = 0; i < s->ncallbacks; i++) {
        c = &s->callbacks[i];

        if (callback_has_prefix(url, c->url)
            && (found == NULL || strlen(c->url) > strlen(found->url)))
        {
            found = c;
        }
    }

    return found;
}


/* http or https, an authority without a user, a path that does not go up; no
   byte of which parsers disagree */

static int
callback_is_plain(const char *url)
{
    size_t       n;
    const char  *p, *authority;

    if (strncasecmp(url, "http://", 7) == 0) {
        authority = url + 7;

    } else if (strncasecmp(url, "https://", 8) == 0) {
        authority = url + 8;

    } else {
        return 0;
    }

    for (p = url; *p; p++) {

        if ((unsigned char) *p <= 0x20 || (unsigned char) *p >= 0x7f
            || *p == '\\' || *p == '#' || *p == '"' || *p == '<'
            || *p == '>')
        {
            return 0;
        }
    }

    if (p - url > EVENTS_URL_MAX) {
        return 0;
    }

    n = strcspn(authority, "/?");

    return n != 0 && memchr(authority, '@', n) == NULL
           && memchr(authority, '%', n) == NULL
           && !callback_goes_up(authority + n);
}


static int
callback_has_prefix(const char *url, const char *prefix)
{
    size_t  n, scheme;

    n = strlen(prefix);
    scheme = strcspn(prefix, "/");

    /* scheme and host in any case; what follows as it is */

    scheme += strspn(prefix + scheme, "/");
    scheme += strcspn(prefix + scheme, "/?");

    if (n == 0 || strncasecmp(url, prefix, scheme) != 0
        || strncmp(url + scheme, prefix + scheme, n - scheme) != 0)
    {
        return 0;
    }

    return prefix[n - 1] == '/' || prefix[n - 1] == '?' || url[n] == '\0'
           || url[n] == '/' || url[n] == '?';
}


/* segments "." and "..", also where the dots are escaped, and with the
   parameters that some servers cut off first: "..;x" */

static int
callback_goes_up(const char *path)
{
    size_t       n, dots;
    const char  *p;

    for (p = path; *p == '/'; /* void */ ) {
        p++;
        n = 0;
        dots = 0;

        while (p[n] != '\0' && p[n] != '/' && p[n] != '?' && p[n] != ';') {

            if (p[n] == '.') {
                n++;

            } else if (strncasecmp(p + n, "%2e", 3) == 0) {
                n += 3;

            } else {
                dots = 0;
                break;
            }

            dots++;
        }

        if (dots == 1 || dots == 2) {
            return 1;
        }

        p += strcspn(p, "/?");
    }

    /* what is a slash to some */

    for (n = 0; path[n] != '\0' && path[n] != '?'; n++) {
        if (strncasecmp(path + n, "%2f", 3) == 0
            || strncasecmp(path + n, "%5c", 3) == 0)
        {
            return 1;
        }
    }

    return 0;
}


void
events_callback_sign(const events_callback_t *c, int64_t unix_s,
    faas_bytes_t body, char *buf)
{
    int       n;
    char      time[32];
    size_t    i;
    uint8_t   key[CALLBACK_BLOCK], pad[CALLBACK_BLOCK], digest[SHA256_SIZE];
    sha256_t  sha;

    memset(key, 0, sizeof(key));

    if (c->secret_size > sizeof(key)) {
        sha256_init(&sha);
        sha256_update(&sha, c->secret, c->secret_size);
        sha256_final(&sha, key);

    } else {
        memcpy(key, c->secret, c->secret_size);
    }

    for (i = 0; i < sizeof(pad); i++) {
        pad[i] = key[i] ^ 0x36;
    }

    n = snprintf(time, sizeof(time), "%lld.", (long long) unix_s);

    sha256_init(&sha);
    sha256_update(&sha, pad, sizeof(pad));
    sha256_update(&sha, time, (size_t) n);

    if (body.size) {
        sha256_update(&sha, body.data, body.size);
    }

    sha256_final(&sha, digest);

    for (i = 0; i < sizeof(pad); i++) {
        pad[i] = key[i] ^ 0x5c;
    }

    sha256_init(&sha);
    sha256_update(&sha, pad, sizeof(pad));
    sha256_update(&sha, digest, sizeof(digest));
    sha256_final(&sha, digest);

    n = snprintf(buf, EVENTS_SIGNATURE_SIZE, "t=%lld,v1=", (long long) unix_s);

    for (i = 0; i < sizeof(digest); i++) {
        (void) snprintf(buf + n + 2 * i, EVENTS_SIGNATURE_SIZE - (size_t) n
                        - 2 * i, "%02x", digest[i]);
    }
}

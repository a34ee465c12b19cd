
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "death.h"


static size_t death_field(char *dst, size_t size, const char *s, size_t room,
    uint32_t length);


void
death_describe(int status, char *buf, size_t size)
{
    if (status == -1) {
        (void) snprintf(buf, size, "ended");

    } else if (WIFSIGNALED(status)) {
        (void) snprintf(buf, size, "was killed by signal %d (%s)",
                        WTERMSIG(status), strsignal(WTERMSIG(status)));

    } else {
        (void) snprintf(buf, size, "exited with code %d",
                        WEXITSTATUS(status));
    }
}


faas_death_e
death_kind(const death_t *death, uint32_t *code)
{
    int  status;

    status = death->status;
    *code = status == -1 ? 0
            : (uint32_t) (WIFSIGNALED(status) ? WTERMSIG(status)
                                              : WEXITSTATUS(status));

    switch (death->cause) {

    case FAAS_CAUSE_TIMEOUT:
        return FAAS_DEATH_TIMEOUT;

    case FAAS_CAUSE_MEMORY:
        return FAAS_DEATH_OOM;

    case FAAS_CAUSE_NOT_READY:
        return FAAS_DEATH_START;

    case FAAS_CAUSE_NOT_RETIRED:
        return FAAS_DEATH_STUCK;

    case FAAS_CAUSE_ORPHANED:
        return FAAS_DEATH_TEMPLATE;

    default:
        break;
    }

    if (death->oom) {
        return FAAS_DEATH_OOM;
    }

    if (death->starting) {
        return FAAS_DEATH_START;
    }

    if (status == -1) {
        return FAAS_DEATH_LOST;
    }

    if (!WIFSIGNALED(status)) {
        return FAAS_DEATH_EXIT;
    }

    return WTERMSIG(status) == SIGKILL ? FAAS_DEATH_KILLED
                                       : FAAS_DEATH_SIGNAL;
}


void
death_request(const faas_page_t *page, int ended, char *buf)
{
    char     *p, *last;
    uint32_t  length;

    if (page == NULL
        || (!ended
            && atomic_load(&page->begun) == atomic_load(&page->ended)))
    {
        (void) snprintf(buf, DEATH_REQUEST_SIZE, "no request was running");
        return;
    }

    p = buf;
    last = buf + DEATH_REQUEST_SIZE;

    p += snprintf(p, (size_t) (last - p), "request \"");
    p += death_field(p, (size_t) (last - p), page->id, FAAS_PAGE_ID,
                     atomic_load(&page->id_length));

    p += snprintf(p, (size_t) (last - p), "\" \"");
    p += death_field(p, (size_t) (last - p), page->method, FAAS_PAGE_METHOD,
                     atomic_load(&page->method_length));

    length = atomic_load(&page->uri_length);

    p += snprintf(p, (size_t) (last - p), " ");
    p += death_field(p, (size_t) (last - p), page->uri, FAAS_PAGE_URI,
                     length);
    p += snprintf(p, (size_t) (last - p), "\"");

    if (length > FAAS_PAGE_URI) {
        (void) snprintf(p, (size_t) (last - p), " (cut, %u bytes)", length);
    }
}


/* its memory may change while it is read: only a copy is looked at */

static size_t
death_field(char *dst, size_t size, const char *s, size_t room,
    uint32_t length)
{
    char  copy[FAAS_PAGE_URI];

    if (length < room) {
        room = length;
    }

    memcpy(copy, s, room);

    return death_escape(dst, size, copy, room);
}


size_t
death_escape(char *dst, size_t size, const char *s, size_t n)
{
    char           *p, *last;
    size_t          i;
    unsigned char   c;

    static const char  hex[] = "0123456789ABCDEF";

    p = dst;
    last = dst + size - 1;

    for (i = 0; i < n; i++) {
        c = (unsigned char) s[i];

        if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {

            if (last - p < 1) {
                break;
            }

            *p++ = (char) c;
            continue;
        }

        if (last - p < 4) {
            break;
        }

        *p++ = '\\';
        *p++ = 'x';
        *p++ = hex[c >> 4];
        *p++ = hex[c & 15];
    }

    *p = '\0';

    return (size_t) (p - dst);
}

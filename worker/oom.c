
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loop.h"
#include "oom.h"


#define OOM_KEY     "oom_kill "
#define OOM_VMSTAT  "/proc/vmstat"
#define OOM_CGROUP  "/sys/fs/cgroup"


static int64_t oom_read(void);
static int oom_events(char *path, size_t size);
static int oom_text(const char *path, char *buf, size_t size);


static oom_t  oom;


int64_t
oom_parse(const char *text)
{
    const char  *p;

    for (p = text; p != NULL && *p != '\0'; p = strchr(p, '\n')) {

        if (*p == '\n') {
            p++;
        }

        if (strncmp(p, OOM_KEY, sizeof(OOM_KEY) - 1) == 0) {
            return strtoll(p + sizeof(OOM_KEY) - 1, NULL, 10);
        }
    }

    return -1;
}


void
oom_count(oom_t *o, int64_t count, uint64_t now_ms)
{
    if (count < 0) {
        return;
    }

    if (o->known && (uint64_t) count > o->count) {

        if (now_ms - o->risen_ms > OOM_RECENT_MS) {
            o->left = 0;
        }

        o->left += (uint64_t) count - o->count;
        o->risen_ms = now_ms;
    }

    o->known = 1;
    o->count = (uint64_t) count;
}


int
oom_take(oom_t *o, uint64_t now_ms)
{
    if (o->left == 0 || now_ms - o->risen_ms > OOM_RECENT_MS) {
        return 0;
    }

    o->left--;

    return 1;
}


void
oom_look(void)
{
    oom_count(&oom, oom_read(), loop_clock_us() / 1000);
}


int
oom_has_killed(void)
{
    oom_look();

    return oom_take(&oom, loop_clock_us() / 1000);
}


static int64_t
oom_read(void)
{
    int64_t      count;
    static char  path[512], buf[16384];

    /* where we are does not change; whether it can be read may */

    if (path[0] == '\0' && oom_events(path, sizeof(path)) == -1) {
        (void) snprintf(path, sizeof(path), "%s", OOM_VMSTAT);
    }

    count = oom_text(path, buf, sizeof(buf)) == 0 ? oom_parse(buf) : -1;

    if (count == -1 && strcmp(path, OOM_VMSTAT) != 0) {
        (void) snprintf(path, sizeof(path), "%s", OOM_VMSTAT);
        oom.known = 0;
    }

    return count;
}


/* "0::/system.slice/nginx.service" */

static int
oom_events(char *path, size_t size)
{
    int    n;
    char   buf[512], *p, *end;

    if (oom_text("/proc/self/cgroup", buf, sizeof(buf)) == -1) {
        return -1;
    }

    p = strncmp(buf, "0::", 3) == 0 ? buf : strstr(buf, "\n0::");

    if (p == NULL) {
        return -1;
    }

    p = strchr(p, '/');
    end = p ? strchr(p, '\n') : NULL;

    if (end == NULL) {
        return -1;
    }

    n = snprintf(path, size, OOM_CGROUP "%.*s/memory.events",
                 (int) (end - p), p);

    return n > 0 && (size_t) n < size ? access(path, R_OK) : -1;
}


static int
oom_text(const char *path, char *buf, size_t size)
{
    int      fd;
    size_t   length;
    ssize_t  n;

    fd = open(path, O_RDONLY|O_CLOEXEC);

    if (fd == -1) {
        return -1;
    }

    for (length = 0; length < size - 1; length += (size_t) n) {
        n = read(fd, buf + length, size - 1 - length);

        if (n <= 0) {
            break;
        }
    }

    close(fd);
    buf[length] = '\0';

    return 0;
}


#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "line.h"
#include "log.h"


/* a line with a request of a client in it, all of it escaped */
#define LOG_LINE_SIZE  8192


static const char *const  log_levels[] = {
    [0] = "stderr",
    [LOG_EMERG] = "emerg",
    [LOG_ALERT] = "alert",
    [LOG_CRIT] = "crit",
    [LOG_ERROR] = "error",
    [LOG_WARN] = "warn",
    [LOG_NOTICE] = "notice",
    [LOG_INFO] = "info",
    [LOG_DEBUG] = "debug",
};

_Static_assert(sizeof(log_levels) / sizeof(log_levels[0]) == LOG_DEBUG + 1,
               "a name for each level");


static struct {
    char   *path;
    int     fd;
    int     level;
    dev_t   device;
    ino_t   inode;
} log_file = { .fd = -1, .level = LOG_NOTICE };


void
log_open(const char *path, int level)
{
    char  *copy;

    log_file.level = level;

    if (path != NULL && log_file.path != NULL
        && strcmp(path, log_file.path) == 0)
    {
        log_check();
        return;
    }

    copy = NULL;

    if (path != NULL) {
        copy = strdup(path);
    }

    free(log_file.path);
    log_file.path = copy;

    if (log_file.fd != -1) {
        close(log_file.fd);
        log_file.fd = -1;
    }

    log_check();
}


void
log_check(void)
{
    int          fd;
    struct stat  st;

    if (log_file.path == NULL) {
        return;
    }

    if (log_file.fd != -1 && stat(log_file.path, &st) == 0
        && st.st_dev == log_file.device && st.st_ino == log_file.inode)
    {
        return;
    }

    fd = open(log_file.path,
              O_WRONLY|O_APPEND|O_CREAT|O_CLOEXEC|O_NOCTTY|O_NONBLOCK, 0644);

    if (fd == -1 || fstat(fd, &st) == -1) {
        if (fd != -1) {
            close(fd);
        }

        return;    /* goes on with what it has */
    }

    if (log_file.fd != -1) {
        close(log_file.fd);
    }

    log_file.fd = fd;
    log_file.device = st.st_dev;
    log_file.inode = st.st_ino;
}


void
log_line(int level, int error, const char *format, ...)
{
    int        n, max;
    char       line[LOG_LINE_SIZE];
    time_t     now;
    va_list    args;
    struct tm  tm;

    if (level > log_file.level) {
        return;
    }

    now = time(NULL);
    localtime_r(&now, &tm);

    max = LOG_LINE_SIZE - 1;    /* one byte is kept for the line's end */

    n = (int) strftime(line, 32, "%Y/%m/%d %H:%M:%S", &tm);
    n += snprintf(line + n, (size_t) (max - n), " [%s] %d#0: faas: ",
                  log_levels[level], (int) getpid());

    va_start(args, format);
    n += vsnprintf(line + n, (size_t) (max - n), format, args);
    va_end(args);

    if (n < max && error) {
        n += snprintf(line + n, (size_t) (max - n), " (%d: %s)", error,
                      strerror(error));
    }

    if (n > max - 1) {
        n = max - 1;
    }

    /* what comes from functions must not make lines of its own */

    line_clean(line, (size_t) n);

    line[n++] = '\n';

    if (write(log_file.fd != -1 ? log_file.fd : STDERR_FILENO, line,
              (size_t) n)
        == -1)
    {
        /* nowhere to tell */
    }
}


#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "faas_scoreboard.h"
#include "output.h"
#include "request.h"


#define OUTPUT_LINE  512


static void output_flush_stream(FILE *stream);
static void output_line(const char *id, const char *text, size_t n);
static size_t output_escape(char *dst, const char *text, size_t n);
static void output_write(const char *data, size_t n);
static int output_has_room(int fd);


/* bytes that were dropped and not yet spoken of */

static size_t  output_lost;


void
output_flush(void)
{
    if (__fpending(stdout)) {
        output_flush_stream(stdout);
    }

    if (__fpending(stderr)) {
        output_flush_stream(stderr);
    }
}


/* a buffer is no larger than what a pipe with any room at all takes at once */

static void
output_flush_stream(FILE *stream)
{
    int  fd;

    fd = fileno(stream);

    if (fd != -1 && !output_has_room(fd)) {
        output_lost += __fpending(stream);
        __fpurge(stream);
        return;
    }

    (void) fflush(stream);
}


void
faas_log(faas_request_t *r, const char *format, ...)
{
    int          n;
    char         line[OUTPUT_LINE], *text;
    va_list      ap;
    const char  *id;

    id = r ? faas_request_id(r) : "";
    text = line;

    va_start(ap, format);
    n = vsnprintf(line, sizeof(line), format, ap);
    va_end(ap);

    if (n < 0) {
        return;
    }

    if ((size_t) n >= sizeof(line)) {
        text = malloc((size_t) n + 1);

        if (text) {
            va_start(ap, format);
            n = vsnprintf(text, (size_t) n + 1, format, ap);
            va_end(ap);

        } else {
            text = line;
            n = sizeof(line) - 1;
        }
    }

    if (n >= 0) {
        output_line(id, text, (size_t) n);
    }

    if (text != line) {
        free(text);
    }
}


/* one line: what would end it, or play with a terminal, is escaped */

static void
output_line(const char *id, const char *text, size_t n)
{
    char    space[4 * OUTPUT_LINE], *line, *p;
    size_t  length;

    /* a newline at the end is a habit of printf(), not a second line */

    if (n && text[n - 1] == '\n') {
        n--;
    }

    length = strlen(id);
    line = space;

    if (4 * n + length + 2 > sizeof(space)) {
        line = malloc(4 * n + length + 2);

        if (line == NULL) {
            output_lost += n;
            return;
        }
    }

    p = line;

    if (length) {
        p = mempcpy(p, id, length);
        *p++ = ' ';
    }

    p += output_escape(p, text, n);
    *p++ = '\n';

    output_write(line, (size_t) (p - line));

    if (line != space) {
        free(line);
    }
}


static size_t
output_escape(char *dst, const char *text, size_t n)
{
    char    *p;
    size_t   i;

    static const char  hex[] = "0123456789abcdef";

    p = dst;

    for (i = 0; i < n; i++) {

        if (((unsigned char) text[i] >= ' ' && text[i] != 0x7f)
            || text[i] == '\t')
        {
            *p++ = text[i];
            continue;
        }

        *p++ = '\\';
        *p++ = 'x';
        *p++ = hex[(unsigned char) text[i] >> 4];
        *p++ = hex[text[i] & 0xf];
    }

    return (size_t) (p - dst);
}


/* in pieces that a pipe takes whole or not at all */

static void
output_write(const char *data, size_t n)
{
    int      length;
    char     note[80];
    size_t   part;
    ssize_t  written;

    while (n) {

        if (!output_has_room(STDERR_FILENO)) {
            output_lost += n;
            return;
        }

        if (output_lost) {
            length = snprintf(note, sizeof(note), "faas: %zu bytes of output "
                              "were lost, the log was full\n", output_lost);
            output_lost = 0;

            if (write(STDERR_FILENO, note, (size_t) length) == -1) {
                return;
            }

            continue;
        }

        part = n < PIPE_BUF ? n : PIPE_BUF;

        do {
            written = write(STDERR_FILENO, data, part);
        } while (written == -1 && errno == EINTR);

        if (written == -1) {
            output_lost += n;
            return;
        }

        data += written;
        n -= (size_t) written;
    }
}


/* it is waited for once, not for each line that is lost after that */

static int
output_has_room(int fd)
{
    struct pollfd  pfd;

    pfd.fd = fd;
    pfd.events = POLLOUT;

    return poll(&pfd, 1, output_lost ? 0 : OUTPUT_WAIT_MS) == 1;
}


#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "journal.h"
#include "log.h"


/* how much of one pipe is read before others have their turn */
#define JOURNAL_SHARE  (64 * 1024)

/* a disk that is full now and then is spoken of no more often */
#define JOURNAL_PAUSE_MS  10000


static void journal_readable(void *data, uint32_t events);
static ssize_t journal_read(journal_t *j);
static void journal_lines(journal_t *j, const char *p, size_t n);
static void journal_gather(journal_t *j, const char *p, size_t n);
static void journal_write(journal_t *j, const char *p, size_t n, char mark);
static int journal_note(journal_t *j);
static int journal_line(journal_t *j, const char *p, size_t n, char mark);
static int journal_file_ready(journal_file_t *file);
static void journal_lost(journal_file_t *file);


static int  journal_dir = -1;


void
journal_directory(int fd)
{
    journal_dir = fd;
}


void
journal_file_init(journal_file_t *file, const char *name)
{
    memset(file, 0, sizeof(journal_file_t));
    file->fd = -1;
    file->name = loop_alloc(strlen(name) + sizeof(".log"));
    (void) sprintf(file->name, "%s.log", name);
}


void
journal_file_close(journal_file_t *file)
{
    if (file->fd != -1) {
        close(file->fd);
        file->fd = -1;
    }

    free(file->name);
    file->name = NULL;
}


int
journal_open(journal_t *j, int read_end, int write_end)
{
    int  p[2];

    memset(j, 0, sizeof(journal_t));
    j->event.fd = -1;
    j->write = -1;

    p[0] = read_end;
    p[1] = write_end;

    if (read_end == -1 || write_end == -1) {

        if (read_end != -1) {
            close(read_end);
        }

        if (write_end != -1) {
            close(write_end);
        }

        if (pipe2(p, O_CLOEXEC) == -1) {
            return -1;
        }

        /* only our end: a function's write waits until we have read */

        if (fcntl(p[0], F_SETFL, O_RDONLY|O_NONBLOCK) == -1) {
            goto failed;
        }
    }

    j->event.handler = journal_readable;
    j->event.data = j;

    if (loop_add(&j->event, p[0], EPOLLIN) == -1) {
        goto failed;
    }

    j->write = p[1];

    return 0;

failed:

    close(p[0]);
    close(p[1]);

    return -1;
}


void
journal_close(journal_t *j)
{
    int  fd;

    if (j->event.fd == -1) {
        return;
    }

    journal_owner(j, NULL, "", -1, 0);

    fd = loop_remove(&j->event);
    close(fd);
    close(j->write);
    j->write = -1;
}


void
journal_owner(journal_t *j, journal_file_t *file, const char *version,
    int64_t slot, pid_t pid)
{
    int  n;

    if (j->event.fd == -1) {
        return;
    }

    if (j->file != NULL) {

        /* bounded: a stray process may write for ever */

        for (n = 0; n < 16 && journal_read(j) > 0; n++) { /* void */ }

        if (j->length > 0) {
            journal_write(j, j->buffer, j->length, ':');
        }
    }

    free(j->buffer);
    j->buffer = NULL;
    j->length = 0;

    j->file = file;
    j->slot = slot;
    j->pid = pid;
    (void) snprintf(j->version, sizeof(j->version), "%s", version);
}


static void
journal_readable(void *data, uint32_t events)
{
    (void) events;
    (void) journal_read(data);
}


static ssize_t
journal_read(journal_t *j)
{
    ssize_t  n;

    static char  share[JOURNAL_SHARE];

    n = read(j->event.fd, share, sizeof(share));

    if (n > 0) {
        journal_lines(j, share, (size_t) n);
    }

    return n;
}


static void
journal_lines(journal_t *j, const char *p, size_t n)
{
    size_t       length;
    const char  *end;

    while (n > 0) {
        end = memchr(p, '\n', n);

        if (end == NULL) {
            journal_gather(j, p, n);
            return;
        }

        length = (size_t) (end - p);
        n -= length + 1;

        if (j->length > 0) {
            journal_gather(j, p, length);
            journal_write(j, j->buffer, j->length, ':');
            free(j->buffer);
            j->buffer = NULL;
            j->length = 0;

        } else {
            while (length > JOURNAL_LINE_MAX) {
                journal_write(j, p, JOURNAL_LINE_MAX, '+');
                p += JOURNAL_LINE_MAX;
                length -= JOURNAL_LINE_MAX;
            }

            journal_write(j, p, length, ':');
        }

        p = end + 1;
    }
}


/* keeps a piece of a line; what does not fit any more is written */

static void
journal_gather(journal_t *j, const char *p, size_t n)
{
    size_t  room;

    while (n > 0) {

        if (j->length == JOURNAL_LINE_MAX) {
            journal_write(j, j->buffer, j->length, '+');
            j->length = 0;
        }

        if (j->buffer == NULL) {
            j->buffer = loop_alloc(JOURNAL_LINE_MAX);
        }

        room = JOURNAL_LINE_MAX - j->length;

        if (room > n) {
            room = n;
        }

        memcpy(j->buffer + j->length, p, room);
        j->length += (uint32_t) room;
        p += room;
        n -= room;
    }
}


/* a line goes to the file or is lost, as on a full disk; how many were is told
   there when it takes lines again */

static void
journal_write(journal_t *j, const char *p, size_t n, char mark)
{
    if (j->file == NULL) {
        return;
    }

    if (journal_file_ready(j->file) == -1
        || journal_note(j) == -1
        || journal_line(j, p, n, mark) == -1)
    {
        journal_lost(j->file);
    }
}


static int
journal_note(journal_t *j)
{
    int   length;
    char  note[80];

    if (j->file->lost == 0) {
        return 0;
    }

    length = snprintf(note, sizeof(note), "faas: %llu lines of this log were "
                      "lost", (unsigned long long) j->file->lost);

    if (journal_line(j, note, (size_t) length, ':') == -1) {
        return -1;
    }

    j->file->lost = 0;

    return 0;
}


/* 0, or -1 with errno */

static int
journal_line(journal_t *j, const char *p, size_t n, char mark)
{
    int              length;
    char             head[128];
    size_t           size;
    ssize_t          rc;
    struct tm        tm;
    struct iovec     iov[3];
    struct timespec  ts;

    static char  end[] = "\n";

    clock_gettime(CLOCK_REALTIME, &ts);
    localtime_r(&ts.tv_sec, &tm);

    /* what was written of a line before there was no more room */

    size = 0;

    if (j->file->torn) {
        head[size++] = '\n';
    }

    size += strftime(head + size, sizeof(head) - size, "%Y/%m/%d %H:%M:%S",
                     &tm);

    if (j->slot >= 0) {
        length = snprintf(head + size, sizeof(head) - size,
                          ".%03ld %s slot %lld pid %d%c ",
                          ts.tv_nsec / 1000000, j->version,
                          (long long) j->slot, (int) j->pid, mark);

    } else {
        length = snprintf(head + size, sizeof(head) - size,
                          ".%03ld %s template%c ", ts.tv_nsec / 1000000,
                          j->version, mark);
    }

    size += (size_t) length;

    iov[0].iov_base = head;
    iov[0].iov_len = size;
    iov[1].iov_base = (void *) p;
    iov[1].iov_len = n;
    iov[2].iov_base = end;
    iov[2].iov_len = 1;

    rc = writev(j->file->fd, iov, 3);

    if (rc == -1) {
        return -1;
    }

    j->file->size += (uint64_t) rc;

    if ((size_t) rc < size + n + 1) {
        j->file->torn = 1;
        errno = ENOSPC;
        return -1;
    }

    j->file->torn = 0;

    return 0;
}


/* an open file of the right size: 0, or -1 with errno */

static int
journal_file_ready(journal_file_t *file)
{
    int          error;
    char         old[128];
    struct stat  st;

    if (file->fd != -1 && file->size > JOURNAL_FILE_MAX) {
        (void) snprintf(old, sizeof(old), "%s.1", file->name);
        (void) renameat(journal_dir, file->name, journal_dir, old);
        close(file->fd);
        file->fd = -1;
    }

    if (file->fd != -1 && loop_now_ms() - file->checked_ms > 1000) {
        file->checked_ms = loop_now_ms();

        if (fstatat(journal_dir, file->name, &st, AT_SYMLINK_NOFOLLOW) == -1
            || st.st_ino != file->inode || st.st_dev != file->device)
        {
            close(file->fd);
            file->fd = -1;
        }
    }

    if (file->fd != -1) {
        return 0;
    }

    file->fd = openat(journal_dir, file->name,
                      O_WRONLY|O_APPEND|O_CREAT|O_CLOEXEC|O_NOFOLLOW
                      |O_NOCTTY|O_NONBLOCK, 0640);

    if (file->fd == -1) {
        return -1;
    }

    if (fstat(file->fd, &st) == -1) {
        error = errno;
        close(file->fd);
        file->fd = -1;
        errno = error;
        return -1;
    }

    file->inode = st.st_ino;
    file->device = st.st_dev;
    file->size = (uint64_t) st.st_size;
    file->checked_ms = loop_now_ms();
    file->torn = 0;

    return 0;
}


/* errno tells why; nginx's log hears of the first one */

static void
journal_lost(journal_file_t *file)
{
    uint64_t  now;

    now = loop_now_ms();

    if (file->lost++ == 0
        && (file->told_ms == 0 || now - file->told_ms > JOURNAL_PAUSE_MS))
    {
        file->told_ms = now;
        log_line(LOG_ERROR, errno, "log \"%s\" takes no lines, they are lost",
                 file->name);
    }
}


#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "tender.h"
#include "tender_place.h"


#define TENDER_PLACE_RETRY_MS  5000
#define TENDER_PLACE_READ_MS   30000     /* whatever its mtime says */


static int tender_place_open(tender_place_t *p, int64_t now_ms);
static int tender_place_lock(tender_place_t *p, int64_t now_ms);
static int tender_place_is_there(tender_place_t *p, struct stat *st);
static void tender_place_read(tender_place_t *p, const struct stat *st,
    int64_t now_ms);
static void tender_place_found(tender_place_t *p, const char *entry);
static void tender_place_leave(tender_place_t *p);
static int tender_place_trouble(tender_place_t *p, int64_t now_ms, int error,
    const char *why);


tender_place_t *
tender_place_create(const char *state, const char *name, const char *path,
    const char *token)
{
    tender_place_t  *p;

    p = calloc(1, sizeof(tender_place_t));
    if (p == NULL) {
        return NULL;
    }

    p->fd = -1;
    p->lock = -1;
    p->name = strdup(name);
    p->path = strdup(path);

    if (token != NULL) {
        p->token = strdup(token);
        p->send = tender_send_create(state, name, token);
    }

    if (p->name == NULL || p->path == NULL
        || (token != NULL && (p->token == NULL || p->send == NULL)))
    {
        tender_place_destroy(p);
        return NULL;
    }

    return p;
}


void
tender_place_destroy(tender_place_t *p)
{
    if (p == NULL) {
        return;
    }

    tender_place_leave(p);
    tender_send_destroy(p->send);
    free(p->name);
    free(p->path);
    free(p->token);
    free(p);
}


int
tender_place_tick(tender_place_t *p, int64_t now_ms)
{
    int              soon;
    struct stat      st;
    tender_file_t   *f;

    if (now_ms < p->retry_ms) {
        return 0;
    }

    if (p->lock != -1 && !tender_place_is_there(p, &st)) {
        tender_place_leave(p);
    }

    if (p->lock == -1
        && (tender_place_open(p, now_ms) == -1
            || !tender_place_is_there(p, &st)))
    {
        return 0;
    }

    tender_place_read(p, &st, now_ms);

    soon = 0;

    for (f = p->files; f != NULL; f = f->next) {
        soon |= tender_file_tick(f, p->fd, p->path, now_ms);
    }

    return soon;
}


static int
tender_place_open(tender_place_t *p, int64_t now_ms)
{
    struct stat  st;

    if (p->fd == -1) {
        p->fd = open(p->path, O_RDONLY|O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC);

        if (p->fd == -1 || fstat(p->fd, &st) == -1) {
            return tender_place_trouble(p, now_ms, errno,
                                        "cannot be opened");
        }

        if (p->token != NULL && st.st_uid != geteuid()) {
            return tender_place_trouble(p, now_ms, 0,
                                        "is not owned by this user");
        }

        if (st.st_mode & (p->token ? S_IWOTH|S_IWGRP : S_IWOTH)) {
            return tender_place_trouble(p, now_ms, 0,
                                        "can be written by others");
        }

        p->device = st.st_dev;
        p->inode = st.st_ino;
        p->read_ms = -TENDER_PLACE_READ_MS;
        p->mtime_ns = -1;
    }

    return tender_place_lock(p, now_ms);
}


static int
tender_place_lock(tender_place_t *p, int64_t now_ms)
{
    int          fd;
    struct stat  st;

    fd = openat(p->fd, TENDER_LOCK, O_RDWR|O_CREAT|O_NOFOLLOW|O_CLOEXEC
                |O_NOCTTY|O_NONBLOCK, 0600);

    if (fd == -1) {
        return tender_place_trouble(p, now_ms, errno,
                                    "its lock cannot be opened");
    }

    if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode)) {
        close(fd);
        return tender_place_trouble(p, now_ms, 0,
                                    "its lock is no regular file");
    }

    if (flock(fd, LOCK_EX|LOCK_NB) == -1) {
        close(fd);

        if (errno == EWOULDBLOCK) {    /* a predecessor that is ending */
            return -1;
        }

        return tender_place_trouble(p, now_ms, errno, "cannot be locked");
    }

    p->lock = fd;

    if (p->why[0] != '\0') {
        log_line(LOG_NOTICE, 0, "directory \"%s\" is looked after again",
                 p->path);
        p->why[0] = '\0';
    }

    return 0;
}


/* is it still that directory that has the name? */

static int
tender_place_is_there(tender_place_t *p, struct stat *st)
{
    return lstat(p->path, st) == 0 && st->st_dev == p->device
           && st->st_ino == p->inode;
}


/* -- what is in it --------------------------------------------------------- */

static void
tender_place_read(tender_place_t *p, const struct stat *st, int64_t now_ms)
{
    int              fd;
    DIR             *dir;
    int64_t          mtime_ns;
    struct dirent   *entry;
    tender_file_t   *f, **last;

    mtime_ns = (int64_t) st->st_mtim.tv_sec * 1000000000
               + st->st_mtim.tv_nsec;

    if (mtime_ns == p->mtime_ns
        && now_ms - p->read_ms < TENDER_PLACE_READ_MS)
    {
        return;
    }

    fd = openat(p->fd, ".", O_RDONLY|O_DIRECTORY|O_CLOEXEC);
    dir = fd != -1 ? fdopendir(fd) : NULL;

    if (dir == NULL) {
        if (fd != -1) {
            close(fd);
        }

        return;    /* next time */
    }

    /* a change in the same tick of the file system's clock would not be seen:
       a directory that was changed just now is read again */

    p->mtime_ns = kv_now_ms() - mtime_ns / 1000000 < 1000 ? -1 : mtime_ns;
    p->read_ms = now_ms;
    p->reads++;

    while ((entry = readdir(dir)) != NULL) {
        tender_place_found(p, entry->d_name);
    }

    closedir(dir);

    for (last = &p->files; *last != NULL; /* void */ ) {
        f = *last;

        if (f->seen == p->reads) {
            last = &f->next;
            continue;
        }

        *last = f->next;
        tender_file_destroy(f);
    }
}


static void
tender_place_found(tender_place_t *p, const char *entry)
{
    char            name[sizeof(((tender_file_t *) 0)->name)];
    size_t          n;
    unsigned        flags;
    tender_file_t  *f;

    n = strlen(entry);

    if (n < 4 || n - 3 >= sizeof(name) || strcmp(entry + n - 3, ".db") != 0) {
        return;
    }

    memcpy(name, entry, n - 3);
    name[n - 3] = '\0';

    for (f = p->files; f != NULL; f = f->next) {
        if (strcmp(f->name, name) == 0) {
            f->seen = p->reads;
            return;
        }
    }

    flags = p->token ? 0 : DATABASE_SHARED;

    /* only a function's own database has an outbox */

    f = tender_file_create(name, flags,
                           strcmp(name, p->name) == 0 ? p->send : NULL);

    if (f != NULL) {
        f->seen = p->reads;
        f->next = p->files;
        p->files = f;
    }
}


static void
tender_place_leave(tender_place_t *p)
{
    tender_file_t  *f;

    while (p->files != NULL) {
        f = p->files;
        p->files = f->next;
        tender_file_destroy(f);
    }

    if (p->lock != -1) {
        close(p->lock);
        p->lock = -1;
    }

    if (p->fd != -1) {
        close(p->fd);
        p->fd = -1;
    }
}


static int
tender_place_trouble(tender_place_t *p, int64_t now_ms, int error,
    const char *why)
{
    p->retry_ms = now_ms + TENDER_PLACE_RETRY_MS;

    if (strcmp(p->why, why) != 0) {
        log_line(LOG_ERROR, error, "directory \"%s\" of databases %s",
                 p->path, why);
        snprintf(p->why, sizeof(p->why), "%s", why);
    }

    tender_place_leave(p);

    return -1;
}


/*
 * The watched functions directory.
 *
 * Events only say when to look, and which names to report even though size
 * and times are what they were (two writes in one tick of the clock).  What
 * is there is found by looking: open the path anew, take it for replaced when
 * it is another inode, read it, compare each candidate with what was reported
 * of it last.  A look that fails for another reason than that there is no
 * such directory (no descriptors, an I/O error) proves nothing and is taken
 * again.
 *
 * The parent is watched too: an inode that was renamed away or removed while
 * its descriptor is held sends no event that tells so in time, and path may
 * be a symbolic link that is switched.
 *
 * Names that begin with a dot are what copying programs write into before
 * they rename, and are nobody's business.
 */


#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "watch.h"


#define WATCH_COALESCE_MS    50
#define WATCH_CREATED_MS     500      /* longer than most take to write */
#define WATCH_REMOVE_MS      1000
#define WATCH_POLL_MS        1000     /* no directory, or no watch on it */
#define WATCH_FULL_MS        30000
#define WATCH_AGAIN_MAX_MS   1000

#define WATCH_READS          16       /* at most, for each watch_run() */
#define WATCH_NAME_SIZE      64
#define WATCH_DIGITS         9
#define WATCH_TITLE                                                           \
    "-_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define WATCH_NEVER          UINT64_MAX

#define WATCH_MASK                                                            \
    (IN_CLOSE_WRITE|IN_MOVED_TO|IN_MOVED_FROM|IN_CREATE|IN_DELETE|IN_ATTRIB   \
     |IN_MOVE_SELF|IN_DELETE_SELF|IN_EXCL_UNLINK|IN_ONLYDIR)

#define WATCH_PARENT_MASK                                                     \
    (IN_MOVED_TO|IN_MOVED_FROM|IN_CREATE|IN_DELETE|IN_ONLYDIR)


/* what a look saw of a file, and what was reported of it */

typedef struct {
    ino_t                     ino;
    dev_t                     dev;
    mode_t                    mode;
    off_t                     size;
    struct timespec           mtime;
    struct timespec           ctime;
} watch_stat_t;


/* one candidate; made by a look that finds it, freed once it is removed */

typedef struct {
    watch_stat_t              stat;       /* as reported last */
    watch_stat_t              now;        /* as the last look saw it */
    uint64_t                  gone_ms;    /* when it was missed first, or
                                             WATCH_NEVER: it is there */
    uint64_t                  again_ms;   /* to be reported from then on
                                             whatever it looks like, or
                                             WATCH_NEVER */
    uint32_t                  again_delay_ms;  /* of the last watch_again() */
    unsigned                  seen:1;     /* by the look going on */
    unsigned                  reported:1;
    unsigned                  removed:1;
    char                      name[];
} watch_file_t;


struct watch_s {
    char                     *path;
    char                     *parent;     /* NULL: it has none to watch */
    const char               *base;       /* of path, inside path */

    watch_pt                  handler;
    void                     *data;

    int                       inotify;
    int                       wd;         /* -1: the directory is not watched */
    int                       parent_wd;
    int                       dir;
    dev_t                     dev;        /* of dir */
    ino_t                     ino;

    watch_file_t            **file;       /* of watch_file_t, by name */
    size_t                    nfiles;
    size_t                    allocated;

    uint64_t                  due_ms;     /* a look because of events */
    uint64_t                  full_ms;    /* the next one in any case */
    int                       error;      /* of the last one, 0: none */
};


static int watch_split_path(watch_t *w, const char *path);
static void watch_read_events(watch_t *w, uint64_t now_ms);
static void watch_event(watch_t *w, const struct inotify_event *event,
    uint64_t now_ms);
static int watch_is_being_made(watch_t *w, const char *name);
static void watch_soon(watch_t *w, uint64_t when_ms);
static void watch_look(watch_t *w, uint64_t now_ms);
static void watch_mark(watch_file_t *f, int rc, uint64_t now_ms);
static int watch_open(watch_t *w);
static void watch_close(watch_t *w);
static void watch_parent(watch_t *w);
static int watch_read(watch_t *w);
static int watch_see(watch_t *w, size_t known, const char *name,
    const struct stat *st);
static watch_file_t *watch_add(watch_t *w, const char *name);
static watch_file_t *watch_find(watch_t *w, size_t n, const char *name);
static int watch_compare(const void *one, const void *two);
static void watch_report(watch_t *w, uint64_t now_ms);
static void watch_report_file(watch_t *w, watch_file_t *f, uint64_t now_ms);
static int watch_is_same(const watch_stat_t *a, const watch_stat_t *b);
static const char *watch_refuse(const watch_file_t *f);
static int watch_is_candidate(const char *name);
static int watch_ends_with(const char *name, const char *suffix);
static int watch_copy_name(char *dst, const char *p, size_t n);


watch_t *
watch_create(const char *path, watch_pt handler, void *data)
{
    int       error;
    watch_t  *w;

    w = calloc(1, sizeof(watch_t));
    if (w == NULL) {
        return NULL;
    }

    w->handler = handler;
    w->data = data;
    w->wd = -1;
    w->parent_wd = -1;
    w->dir = -1;
    w->inotify = -1;
    w->due_ms = WATCH_NEVER;
    w->full_ms = 0;

    if (watch_split_path(w, path) == -1) {
        goto failed;
    }

    w->inotify = inotify_init1(IN_NONBLOCK|IN_CLOEXEC);
    if (w->inotify == -1) {
        goto failed;
    }

    /* from now on, so that nothing between here and the first look is lost */

    watch_parent(w);
    (void) watch_open(w);

    return w;

failed:

    error = errno;
    watch_destroy(w);
    errno = error;

    return NULL;
}


void
watch_destroy(watch_t *w)
{
    size_t  i;

    if (w == NULL) {
        return;
    }

    for (i = 0; i < w->nfiles; i++) {
        free(w->file[i]);
    }

    if (w->dir != -1) {
        (void) close(w->dir);
    }

    if (w->inotify != -1) {
        (void) close(w->inotify);
    }

    free(w->file);
    free(w->parent);
    free(w->path);
    free(w);
}


static int
watch_split_path(watch_t *w, const char *path)
{
    char    *slash;
    size_t   n;

    n = strlen(path);

    while (n > 1 && path[n - 1] == '/') {
        n--;
    }

    w->path = strndup(path, n);
    if (w->path == NULL) {
        return -1;
    }

    slash = strrchr(w->path, '/');
    w->base = (slash != NULL) ? slash + 1 : w->path;

    if (w->base[0] == '\0' || strcmp(w->base, ".") == 0
        || strcmp(w->base, "..") == 0)
    {
        return 0;
    }

    if (slash == NULL) {
        w->parent = strdup(".");

    } else if (slash == w->path) {
        w->parent = strdup("/");

    } else {
        w->parent = strndup(w->path, (size_t) (slash - w->path));
    }

    return (w->parent != NULL) ? 0 : -1;
}


int
watch_fd(watch_t *w)
{
    return w->inotify;
}


int
watch_error(watch_t *w)
{
    return w->error;
}


int
watch_directory(watch_t *w)
{
    return w->dir;
}


uint64_t
watch_next(watch_t *w)
{
    size_t         i;
    uint64_t       next;
    watch_file_t  *f;

    next = (w->due_ms < w->full_ms) ? w->due_ms : w->full_ms;

    for (i = 0; i < w->nfiles; i++) {
        f = w->file[i];

        if (f->gone_ms != WATCH_NEVER) {
            if (f->gone_ms + WATCH_REMOVE_MS < next) {
                next = f->gone_ms + WATCH_REMOVE_MS;
            }

        } else if (f->again_ms < next) {
            next = f->again_ms;
        }
    }

    return next;
}


void
watch_again(watch_t *w, const char *name, uint64_t now_ms)
{
    watch_file_t  *f;

    f = watch_find(w, w->nfiles, name);

    if (f == NULL) {
        watch_soon(w, now_ms + WATCH_COALESCE_MS);
        return;
    }

    /* a file may be written for long, and the end of it is an event */

    f->again_delay_ms = (f->again_delay_ms == 0) ? WATCH_COALESCE_MS
                                                 : f->again_delay_ms * 2;

    if (f->again_delay_ms > WATCH_AGAIN_MAX_MS) {
        f->again_delay_ms = WATCH_AGAIN_MAX_MS;
    }

    f->again_ms = now_ms + f->again_delay_ms;
}


void
watch_run(watch_t *w, uint64_t now_ms)
{
    watch_read_events(w, now_ms);

    if (watch_next(w) <= now_ms) {
        watch_look(w, now_ms);
    }
}


static void
watch_read_events(watch_t *w, uint64_t now_ms)
{
    int                          i;
    char                         buf[4096]
                              __attribute__((aligned(sizeof(uint64_t))));
    ssize_t                      n, done;
    const struct inotify_event  *event;

    for (i = 0; i < WATCH_READS; i++) {

        n = read(w->inotify, buf, sizeof(buf));

        if (n == -1 && errno == EINTR) {
            continue;
        }

        if (n <= 0) {
            return;
        }

        for (done = 0; done < n; /* void */ ) {
            event = (const void *) (buf + done);
            done += (ssize_t) (sizeof(struct inotify_event) + event->len);
            watch_event(w, event, now_ms);
        }
    }
}


static void
watch_event(watch_t *w, const struct inotify_event *event, uint64_t now_ms)
{
    size_t         i;
    const char    *name;
    watch_file_t  *f;

    name = (event->len != 0) ? event->name : "";

    if (event->mask & IN_Q_OVERFLOW) {

        /* any of them may have been written */

        for (i = 0; i < w->nfiles; i++) {
            w->file[i]->again_ms = now_ms;
        }

        watch_soon(w, now_ms);
        return;
    }

    if (event->wd == w->parent_wd) {

        if (event->mask & IN_IGNORED) {
            w->parent_wd = -1;
            watch_soon(w, now_ms + WATCH_COALESCE_MS);

        } else if (strcmp(name, w->base) == 0) {
            watch_soon(w, now_ms + WATCH_COALESCE_MS);
        }

        return;
    }

    if (event->wd != w->wd) {
        return;
    }

    if (event->mask & IN_IGNORED) {
        w->wd = -1;
        watch_soon(w, now_ms + WATCH_COALESCE_MS);
        return;
    }

    if (name[0] != '\0' && !watch_is_candidate(name)) {
        return;
    }

    if ((event->mask & IN_CREATE) && watch_is_being_made(w, name)) {
        watch_soon(w, now_ms + WATCH_CREATED_MS);
        return;
    }

    if (event->mask & (IN_CLOSE_WRITE|IN_MOVED_TO)) {
        f = watch_find(w, w->nfiles, name);

        if (f != NULL) {
            f->again_ms = now_ms + WATCH_COALESCE_MS;
            f->again_delay_ms = 0;
        }
    }

    watch_soon(w, now_ms + WATCH_COALESCE_MS);
}


/* 1: a new regular file, of which the end of writing will be told, most
   likely: not when it was written nameless and then linked.  A second link is
   not made to be written. */

static int
watch_is_being_made(watch_t *w, const char *name)
{
    struct stat  st;

    return w->dir != -1
           && fstatat(w->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0
           && S_ISREG(st.st_mode)
           && st.st_nlink == 1;
}


static void
watch_soon(watch_t *w, uint64_t when_ms)
{
    if (when_ms < w->due_ms) {
        w->due_ms = when_ms;
    }
}


static void
watch_look(watch_t *w, uint64_t now_ms)
{
    int     rc;
    size_t  i;

    w->due_ms = WATCH_NEVER;
    w->full_ms = now_ms + WATCH_FULL_MS;

    for (i = 0; i < w->nfiles; i++) {
        w->file[i]->seen = 0;
    }

    watch_parent(w);

    rc = watch_open(w);

    if (rc == 0 && w->dir != -1) {
        rc = watch_read(w);
    }

    w->error = rc == -1 ? errno : 0;

    if (rc == -1 || w->dir == -1 || w->wd == -1) {
        w->full_ms = now_ms + WATCH_POLL_MS;
    }

    for (i = 0; i < w->nfiles; i++) {
        watch_mark(w->file[i], rc, now_ms);
    }

    watch_report(w, now_ms);
}


/* what a look that went to its end (rc 0) or failed says of a file's life */

static void
watch_mark(watch_file_t *f, int rc, uint64_t now_ms)
{
    if (f->seen) {
        f->gone_ms = WATCH_NEVER;
        return;
    }

    if (rc == 0) {
        if (f->gone_ms == WATCH_NEVER) {
            f->gone_ms = now_ms;
        }

        return;
    }

    /* nothing is known of it: what was due has to wait for the next look */

    if (f->gone_ms != WATCH_NEVER) {
        f->gone_ms = now_ms;
    }

    if (f->again_ms != WATCH_NEVER) {
        f->again_ms = now_ms + WATCH_POLL_MS;
    }
}


/* dir and wd are of what path names now; -1: that could not be found out */

static int
watch_open(watch_t *w)
{
    int          fd, error;
    char         self[32];
    struct stat  st;

    fd = open(w->path, O_RDONLY|O_DIRECTORY|O_CLOEXEC);

    if (fd == -1) {
        if (errno != ENOENT && errno != ENOTDIR) {
            return -1;
        }

        watch_close(w);
        return 0;
    }

    if (fstat(fd, &st) == -1) {
        error = errno;
        (void) close(fd);
        errno = error;
        return -1;
    }

    if (w->dir != -1 && st.st_dev == w->dev && st.st_ino == w->ino) {

        /* the same; its inode cannot be a reused one while dir is open */

        (void) close(fd);

    } else {
        watch_close(w);
        w->dir = fd;
        w->dev = st.st_dev;
        w->ino = st.st_ino;
    }

    if (w->wd == -1) {
        (void) snprintf(self, sizeof(self), "/proc/self/fd/%d", w->dir);
        w->wd = inotify_add_watch(w->inotify, self, WATCH_MASK);
    }

    return 0;
}


static void
watch_close(watch_t *w)
{
    if (w->wd != -1) {
        (void) inotify_rm_watch(w->inotify, w->wd);
        w->wd = -1;
    }

    if (w->dir != -1) {
        (void) close(w->dir);
        w->dir = -1;
    }
}


/* without it changes of the path itself are found late, so errors are not */

static void
watch_parent(watch_t *w)
{
    int  wd;

    if (w->parent == NULL) {
        return;
    }

    /* the same number when it is the same inode */

    wd = inotify_add_watch(w->inotify, w->parent, WATCH_PARENT_MASK);

    if (w->parent_wd != -1 && w->parent_wd != wd) {
        (void) inotify_rm_watch(w->inotify, w->parent_wd);
    }

    w->parent_wd = wd;
}


static int
watch_read(watch_t *w)
{
    int             fd, error;
    DIR            *dir;
    size_t          known;
    struct stat     st;
    struct dirent  *entry;

    /* a stream of its own, with its own position */

    fd = openat(w->dir, ".", O_RDONLY|O_DIRECTORY|O_CLOEXEC);
    if (fd == -1) {
        return -1;
    }

    dir = fdopendir(fd);
    if (dir == NULL) {
        (void) close(fd);
        return -1;
    }

    error = 0;
    known = w->nfiles;

    for ( ;; ) {
        errno = 0;
        entry = readdir(dir);

        if (entry == NULL) {
            if (errno != 0) {
                error = errno;
            }

            break;
        }

        if (!watch_is_candidate(entry->d_name)) {
            continue;
        }

        if (fstatat(w->dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == -1) {
            if (errno != ENOENT) {
                error = errno;
            }

            continue;
        }

        if (watch_see(w, known, entry->d_name, &st) == -1) {
            error = ENOMEM;
        }
    }

    (void) closedir(dir);

    if (w->nfiles != known) {
        qsort(w->file, w->nfiles, sizeof(watch_file_t *), watch_compare);
    }

    errno = error;

    return error ? -1 : 0;
}


/* the first `known` files are sorted, those that this look found follow */

static int
watch_see(watch_t *w, size_t known, const char *name, const struct stat *st)
{
    watch_file_t  *f;

    f = watch_find(w, known, name);

    if (f == NULL) {
        f = watch_add(w, name);
        if (f == NULL) {
            return -1;
        }
    }

    f->seen = 1;
    f->now.ino = st->st_ino;
    f->now.dev = st->st_dev;
    f->now.mode = st->st_mode;
    f->now.size = st->st_size;
    f->now.mtime = st->st_mtim;
    f->now.ctime = st->st_ctim;

    return 0;
}


static watch_file_t *
watch_add(watch_t *w, const char *name)
{
    size_t          n;
    watch_file_t   *f, **file;

    if (w->nfiles == w->allocated) {
        n = (w->allocated == 0) ? 16 : w->allocated * 2;

        file = realloc(w->file, n * sizeof(watch_file_t *));
        if (file == NULL) {
            return NULL;
        }

        w->file = file;
        w->allocated = n;
    }

    n = strlen(name) + 1;

    f = calloc(1, sizeof(watch_file_t) + n);
    if (f == NULL) {
        return NULL;
    }

    memcpy(f->name, name, n);
    f->gone_ms = WATCH_NEVER;
    f->again_ms = WATCH_NEVER;

    w->file[w->nfiles++] = f;

    return f;
}


static watch_file_t *
watch_find(watch_t *w, size_t n, const char *name)
{
    int     rc;
    size_t  low, high, middle;

    low = 0;
    high = n;

    while (low < high) {
        middle = low + (high - low) / 2;
        rc = strcmp(name, w->file[middle]->name);

        if (rc == 0) {
            return w->file[middle];
        }

        if (rc < 0) {
            high = middle;

        } else {
            low = middle + 1;
        }
    }

    return NULL;
}


static int
watch_compare(const void *one, const void *two)
{
    watch_file_t *const  *a, *const  *b;

    a = one;
    b = two;

    return strcmp((*a)->name, (*b)->name);
}


/* the handler may call watch_again(): that adds and removes no file */

static void
watch_report(watch_t *w, uint64_t now_ms)
{
    size_t         i, n;
    watch_file_t  *f;

    for (i = 0; i < w->nfiles; i++) {
        if (w->file[i]->seen) {
            watch_report_file(w, w->file[i], now_ms);
        }
    }

    for (i = 0; i < w->nfiles; i++) {
        f = w->file[i];

        if (f->gone_ms != WATCH_NEVER
            && now_ms - f->gone_ms >= WATCH_REMOVE_MS)
        {
            f->removed = 1;
            w->handler(w->data, WATCH_REMOVED, f->name, "");
        }
    }

    for (i = 0, n = 0; i < w->nfiles; i++) {
        f = w->file[i];

        if (f->removed) {
            free(f);

        } else {
            w->file[n++] = f;
        }
    }

    w->nfiles = n;
}


static void
watch_report_file(watch_t *w, watch_file_t *f, uint64_t now_ms)
{
    int          same;
    const char  *why;

    why = watch_refuse(f);
    same = f->reported && watch_is_same(&f->stat, &f->now);

    if (same && f->again_ms > now_ms) {
        return;
    }

    f->again_ms = WATCH_NEVER;

    if (same && why != NULL) {
        return;
    }

    f->stat = f->now;
    f->reported = 1;

    if (why != NULL) {
        w->handler(w->data, WATCH_REFUSED, f->name, why);

    } else {
        w->handler(w->data, WATCH_CHANGED, f->name, "");
    }
}


static int
watch_is_same(const watch_stat_t *a, const watch_stat_t *b)
{
    if (a->ino != b->ino || a->dev != b->dev || a->mode != b->mode) {
        return 0;
    }

    /* what a directory holds does not make it another one */

    if (!S_ISREG(a->mode)) {
        return 1;
    }

    return a->size == b->size
           && a->mtime.tv_sec == b->mtime.tv_sec
           && a->mtime.tv_nsec == b->mtime.tv_nsec
           && a->ctime.tv_sec == b->ctime.tv_sec
           && a->ctime.tv_nsec == b->ctime.tv_nsec;
}


/* the rule what is taken for a function, NULL: this is */

static const char *
watch_refuse(const watch_file_t *f)
{
    char      name[WATCH_NAME_SIZE], label[WATCH_NAME_SIZE];
    unsigned  number;

    if (S_ISLNK(f->now.mode)) {
        return "a symbolic link, not a regular file";
    }

    if (!S_ISREG(f->now.mode)) {
        return "not a regular file";
    }

    if (watch_ends_with(f->name, ".sql")) {

        if (watch_parse_sql(f->name, name, label, &number) == -1) {
            return "not named NAME.NUMBER[-TITLE].sql or"
                   " NAME.DATABASE.NUMBER[-TITLE].sql";
        }

        return NULL;
    }

    if (!watch_ends_with(f->name, ".so")) {
        return "this release serves shared objects (NAME.so) only";
    }

    if (watch_parse_name(f->name, name, label) == -1) {
        return "not named NAME.so or NAME@LABEL.so with names of"
               " [a-z0-9][a-z0-9_-]{0,62}";
    }

    return NULL;
}


static int
watch_is_candidate(const char *name)
{
    return name[0] != '.'
           && (watch_ends_with(name, ".so") || watch_ends_with(name, ".sql")
               || watch_ends_with(name, ".fcgi"));
}


static int
watch_ends_with(const char *name, const char *suffix)
{
    size_t  n, m;

    n = strlen(name);
    m = strlen(suffix);

    return n >= m && memcmp(name + n - m, suffix, m) == 0;
}


int
watch_parse_name(const char *file, char *name, char *label)
{
    size_t       n;
    const char  *at;

    if (!watch_ends_with(file, ".so")) {
        return -1;
    }

    n = strlen(file) - (sizeof(".so") - 1);
    at = memchr(file, '@', n);

    label[0] = '\0';

    if (at == NULL) {
        return watch_copy_name(name, file, n);
    }

    if (watch_copy_name(name, file, (size_t) (at - file)) == -1) {
        return -1;
    }

    at++;

    return watch_copy_name(label, at, n - (size_t) (at - file));
}


int
watch_parse_sql(const char *file, char *name, char *database,
    unsigned *number)
{
    size_t       n;
    const char  *dot, *end;

    if (!watch_ends_with(file, ".sql")) {
        return -1;
    }

    end = file + strlen(file) - (sizeof(".sql") - 1);
    dot = memchr(file, '.', (size_t) (end - file));

    if (dot == NULL
        || watch_copy_name(name, file, (size_t) (dot - file)) == -1)
    {
        return -1;
    }

    file = dot + 1;
    dot = memchr(file, '.', (size_t) (end - file));

    if (dot == NULL) {
        memcpy(database, name, strlen(name) + 1);

    } else {

        if (watch_copy_name(database, file, (size_t) (dot - file)) == -1) {
            return -1;
        }

        file = dot + 1;
    }

    *number = 0;

    for (n = 0; file < end && *file >= '0' && *file <= '9'; n++, file++) {

        if (n == WATCH_DIGITS) {
            return -1;
        }

        *number = *number * 10 + (unsigned) (*file - '0');
    }

    if (*number == 0 || (file < end && *file != '-') || file + 1 == end) {
        return -1;
    }

    return strspn(file, WATCH_TITLE) == (size_t) (end - file) ? 0 : -1;
}


static int
watch_copy_name(char *dst, const char *p, size_t n)
{
    size_t  i;

    if (n == 0 || n >= WATCH_NAME_SIZE || p[0] == '_' || p[0] == '-') {
        return -1;
    }

    for (i = 0; i < n; i++) {
        if ((p[i] < 'a' || p[i] > 'z') && (p[i] < '0' || p[i] > '9')
            && p[i] != '_' && p[i] != '-')
        {
            return -1;
        }

        dst[i] = p[i];
    }

    dst[n] = '\0';

    return 0;
}

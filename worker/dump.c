
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "beside.h"
#include "core.h"
#include "deposit.h"
#include "dump.h"
#include "lineage.h"
#include "log.h"
#include "text.h"


#define DUMP_NEW       ".new"
#define DUMP_PAUSE_MS  1000

/* an id begins with the time: YYYYMMDDTHHMMSS */
#define DUMP_STAMP     15

/* names in a directory that are looked at: more are none of ours */
#define DUMP_NAMES     10000


/* a dump under way */

typedef struct {
    slot_t                   *slot;
    const death_t            *death;
    faas_death_e              kind;
    uint32_t                  code;
    const char               *how;
    uint64_t                  age_ms;
    core_t                   *core;        /* NULL: the instance had none */
} dump_t;


static int dump_is_wanted(const death_t *death, faas_death_e kind);
static core_t *dump_read_core(const slot_t *s);
static int dump_make(int directory, const dump_t *d, char *id);
static int dump_files(int new, const dump_t *d);
static void dump_info(text_t *t, const dump_t *d);
static void dump_traces(text_t *t, const core_t *core);
static void dump_escaped(text_t *t, const char *s, size_t n);
static int dump_file(int directory, const char *name, const void *data,
    size_t n);
static int dump_body(int directory, const dump_t *d);
static int dump_rename(int directory, const char *function, char *id);
static void dump_remove(int directory, const char *name);
static void dump_keep_some(int directory);
static int dump_names(int directory, char ***names);
static int dump_compare(const void *a, const void *b);
static int dump_is_ahead(const char *name);
static void dump_stamp(char *stamp);
static uint32_t dump_least(uint32_t n, uint32_t most);


static struct {
    text_t    contents;              /* sha256 of each, one a line */
    char      now[DUMP_STAMP + 1];   /* while they are sorted */
} dump;


void
dump_prepare(slot_t *s)
{
    int          fd;
    off_t        size;
    struct stat  st;

    size = supervisor.settings->core
           ? (off_t) sizeof(core_t) + supervisor.settings->core_body : 0;

    if (s->core != -1
        && (fstat(s->core, &st) == -1 || st.st_size != size
            || fallocate(s->core, FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE,
                         0, size)
               == -1))
    {
        dump_close(s);
    }

    if (size == 0 || s->core != -1) {
        return;
    }

    fd = memfd_create("faas-core", MFD_CLOEXEC|MFD_ALLOW_SEALING);

    if (fd == -1
        || ftruncate(fd, size) == -1
        || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK|F_SEAL_GROW|F_SEAL_SEAL)
           == -1)
    {
        log_line(LOG_WARN, errno, "no memory for dumps of slot %u", s->index);

        if (fd != -1) {
            close(fd);
        }

        return;
    }

    s->core = fd;
    (void) deposit_put(fd, "s/%u/core", s->index);
}


void
dump_adopt(slot_t *s)
{
    s->core = deposit_take("s/%u/core", s->index);
}


void
dump_close(slot_t *s)
{
    if (s->core != -1) {
        deposit_remove("s/%u/core", s->index);
        close(s->core);
        s->core = -1;
    }
}


int
dump_write(slot_t *s, const death_t *death, faas_death_e kind, uint32_t code,
    const char *how, uint64_t age_ms, char *id)
{
    int          directory, rc;
    dump_t       d;
    uint64_t     now;
    function_t  *f;

    f = s->version->function;
    now = loop_now_ms();

    if (!supervisor.settings->core || !dump_is_wanted(death, kind)
        || (f->dumped_ms != 0 && now - f->dumped_ms < DUMP_PAUSE_MS))
    {
        return 0;
    }

    f->dumped_ms = now;

    d.slot = s;
    d.death = death;
    d.kind = kind;
    d.code = code;
    d.how = how;
    d.age_ms = age_ms;
    d.core = dump_read_core(s);

    rc = -1;
    (void) mkdirat(supervisor.state_dir, DUMP_DIRECTORY, 0700);
    directory = openat(supervisor.state_dir, DUMP_DIRECTORY,
                       O_RDONLY|O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC);

    if (directory != -1) {
        rc = dump_make(directory, &d, id);

        if (rc == 0) {
            dump_keep_some(directory);
        }
    }

    if (rc == -1) {
        log_line(LOG_ERROR, errno, "function \"%s\": there is no dump of slot "
                 "%u", f->name, s->index);
    }

    if (directory != -1) {
        close(directory);
    }

    free(d.core);

    return rc == 0;
}


/* an end that was not the host's wish, but a crash or over a limit */

static int
dump_is_wanted(const death_t *death, faas_death_e kind)
{
    switch (kind) {

    case FAAS_DEATH_SIGNAL:
    case FAAS_DEATH_OOM:
    case FAAS_DEATH_TIMEOUT:
        return 1;

    case FAAS_DEATH_START:
        return death->cause == FAAS_CAUSE_NONE && death->status != -1
               && WIFSIGNALED(death->status);

    default:
        return 0;
    }
}


static core_t *
dump_read_core(const slot_t *s)
{
    core_t  *core;

    if (s->core == -1) {
        return NULL;
    }

    core = loop_alloc(sizeof(core_t));

    if (pread(s->core, core, sizeof(core_t), 0) != sizeof(core_t)
        || core->magic != CORE_MAGIC)
    {
        free(core);
        return NULL;
    }

    return core;
}


/* 0, or -1 with errno */

static int
dump_make(int directory, const dump_t *d, char *id)
{
    int  new, rc, error;

    dump_remove(directory, DUMP_NEW);

    if (mkdirat(directory, DUMP_NEW, 0700) == -1) {
        return -1;
    }

    new = openat(directory, DUMP_NEW,
                 O_RDONLY|O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC);

    rc = new == -1 ? -1 : dump_files(new, d);

    if (rc == 0) {
        rc = dump_rename(directory, d->slot->version->function->name, id);
    }

    error = errno;

    if (new != -1) {
        close(new);
    }

    if (rc == -1) {
        dump_remove(directory, DUMP_NEW);
    }

    errno = error;

    return rc;
}


static int
dump_files(int new, const dump_t *d)
{
    int     rc, error;
    size_t  n;
    text_t  info, environment;

    memset(&info, 0, sizeof(info));
    memset(&environment, 0, sizeof(environment));

    dump_info(&info, d);
    lineage_environment(&environment, d->slot->version->function);

    rc = dump_file(new, "info", info.data, info.size);

    if (rc == 0) {
        rc = dump_file(new, "environment", environment.data,
                       environment.size);
    }

    if (rc == 0 && d->core != NULL) {
        n = dump_least(atomic_load(&d->core->params_length), CORE_PARAMS);
        rc = dump_file(new, "params", d->core->params, n);

        if (rc == 0) {
            rc = dump_body(new, d);
        }
    }

    error = errno;
    text_free(&info);
    text_free(&environment);
    errno = error;

    return rc;
}


static void
dump_info(text_t *t, const dump_t *d)
{
    char           path[PATH_MAX];
    version_t     *v;
    function_t    *f;
    const core_t  *core;

    v = d->slot->version;
    f = v->function;
    core = d->core;

    text_format(t, "function %s\nversion %s\nslot %u\npid %d\n", f->name,
                v->sh->sha256, d->slot->index,
                (int) atomic_load(&d->slot->sh->pid));
    text_format(t, "kind %s\ncode %u\nhow %s\n", faas_death_name(d->kind),
                d->code, d->how);
    text_format(t, "time %lld\nage_ms %llu\nserved %u\n",
                (long long) time(NULL), (unsigned long long) d->age_ms,
                atomic_load(&d->slot->sh->served));
    text_format(t, "timeout_ms %u\nuid %u\ngid %u\n", f->limits.timeout_ms,
                (unsigned) f->user.uid, (unsigned) f->user.gid);

    if (beside_path("faas-zygote", path) == 0) {
        text_format(t, "zygote %s\n", path);
    }

    if (core == NULL) {
        text_format(t, "request none\n");
        return;
    }

    text_format(t, "request %s\nparams_cut %d\nbody_taken %llu\n"
                "body_whole %d\n",
                atomic_load(&core->running) || slot_is_over(d->slot)
                ? "running" : "none",
                atomic_load(&core->params_cut) != 0,
                (unsigned long long) atomic_load(&core->body_taken),
                atomic_load(&core->body_whole) != 0);

    if (atomic_load(&core->signal) != 0) {
        text_format(t, "signal %u\nsignal_code %d\naddress 0x%llx\n",
                    atomic_load(&core->signal), atomic_load(&core->code),
                    (unsigned long long) atomic_load(&core->address));
    }

    dump_traces(t, core);
}


static void
dump_traces(text_t *t, const core_t *core)
{
    uint32_t              i, j, n, frames;
    const core_frame_t   *f;
    const core_thread_t  *thread;

    n = dump_least(atomic_load(&core->threads), CORE_THREADS);

    for (i = 0; i < n; i++) {
        thread = &core->thread[i];
        frames = dump_least(atomic_load(&thread->frames), CORE_FRAMES);

        text_format(t, "thread %d ", (int) thread->tid);
        dump_escaped(t, thread->name, sizeof(thread->name));
        text_format(t, frames ? "\n" : "\n  did not answer\n");

        for (j = 0; j < frames; j++) {
            f = &thread->frame[j];

            text_format(t, "  #%u 0x%llx", j,
                        (unsigned long long) f->address);

            if (f->module[0] != '\0') {
                text_format(t, " ");
                dump_escaped(t, f->module, sizeof(f->module));
                text_format(t, "+0x%llx", (unsigned long long) f->offset);
            }

            if (f->symbol[0] != '\0') {
                text_format(t, " ");
                dump_escaped(t, f->symbol, sizeof(f->symbol));
                text_format(t, "+0x%llx", (unsigned long long) f->beyond);
            }

            text_format(t, "\n");
        }
    }

    if (atomic_load(&core->more) != 0) {
        text_format(t, "threads_more %u\n", atomic_load(&core->more));
    }
}


/* a function's own word: s, of at most n bytes */

static void
dump_escaped(text_t *t, const char *s, size_t n)
{
    char  escaped[4 * CORE_SYMBOL + 1];

    (void) death_escape(escaped, sizeof(escaped), s, strnlen(s, n));
    text_format(t, "%s", escaped);
}


static int
dump_file(int directory, const char *name, const void *data, size_t n)
{
    int      fd, error;
    ssize_t  done;

    fd = openat(directory, name, O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0600);

    if (fd == -1) {
        return -1;
    }

    done = n ? write(fd, data, n) : 0;
    error = done == -1 ? errno : ENOSPC;

    close(fd);

    if (done != (ssize_t) n) {
        errno = error;
        return -1;
    }

    return 0;
}


/* in pieces: it may be large */

static int
dump_body(int directory, const dump_t *d)
{
    int           fd, error;
    ssize_t       n, written;
    uint64_t      length, room, done;

    static char   piece[65536];

    length = atomic_load(&d->core->body_length);
    room = (uint64_t) supervisor.settings->core_body;

    if (length > room) {
        length = room;
    }

    fd = openat(directory, "body", O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0600);

    if (fd == -1) {
        return -1;
    }

    for (done = 0; done < length; done += (uint64_t) n) {
        n = (ssize_t) (length - done < sizeof(piece) ? length - done
                                                     : sizeof(piece));

        n = pread(d->slot->core, piece, (size_t) n,
                  (off_t) (sizeof(core_t) + done));

        written = n > 0 ? write(fd, piece, (size_t) n) : -1;

        if (written != n) {
            error = written == -1 ? errno : ENOSPC;
            close(fd);
            errno = error;
            return -1;
        }
    }

    close(fd);

    return 0;
}


static int
dump_rename(int directory, const char *function, char *id)
{
    char      stamp[DUMP_STAMP + 1];
    unsigned  i;

    dump_stamp(stamp);

    for (i = 1; i < 100; i++) {
        (void) snprintf(id, DUMP_ID_SIZE, "%s-%s-%u", stamp, function, i);

        if (renameat(directory, DUMP_NEW, directory, id) == 0) {
            return 0;
        }

        if (errno != EEXIST && errno != ENOTEMPTY) {
            return -1;
        }
    }

    return -1;
}


static void
dump_remove(int directory, const char *name)
{
    int     fd;
    size_t  i;

    static const char *const  files[] = {
        "info", "params", "body", "environment"
    };

    fd = openat(directory, name, O_RDONLY|O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC);

    if (fd == -1) {
        return;
    }

    for (i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        (void) unlinkat(fd, files[i], 0);
    }

    close(fd);
    (void) unlinkat(directory, name, AT_REMOVEDIR);
}


static void
dump_keep_some(int directory)
{
    int     i, n;
    char  **names;

    n = dump_names(directory, &names);

    for (i = 0; i < n; i++) {

        if (n - i > supervisor.settings->core_keep) {
            dump_remove(directory, names[i]);
        }

        free(names[i]);
    }

    free(names);
}


/* oldest first; the caller frees each, and the array */

static int
dump_names(int directory, char ***names)
{
    int             n, fd;
    DIR            *dir;
    struct dirent  *entry;

    *names = loop_alloc(DUMP_NAMES * sizeof(char *));
    fd = openat(directory, ".", O_RDONLY|O_DIRECTORY|O_CLOEXEC);
    dir = fd == -1 ? NULL : fdopendir(fd);

    if (dir == NULL) {
        if (fd != -1) {
            close(fd);
        }

        return 0;
    }

    n = 0;

    while (n < DUMP_NAMES && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.') {
            (*names)[n++] = loop_strdup(entry->d_name,
                                        strlen(entry->d_name));
        }
    }

    (void) closedir(dir);

    dump_stamp(dump.now);
    qsort(*names, (size_t) n, sizeof(char *), dump_compare);

    return n;
}


/* what was made by a clock that was ahead is the oldest: else what is made now
   would be the first to go */

static int
dump_compare(const void *a, const void *b)
{
    int          ahead;
    const char  *one, *other;

    one = *(char *const *) a;
    other = *(char *const *) b;

    ahead = dump_is_ahead(other) - dump_is_ahead(one);

    return ahead ? ahead : strcmp(one, other);
}


static int
dump_is_ahead(const char *name)
{
    return strncmp(name, dump.now, DUMP_STAMP) > 0;
}


static void
dump_stamp(char *stamp)
{
    time_t     now;
    struct tm  tm;

    now = time(NULL);
    (void) gmtime_r(&now, &tm);

    if (strftime(stamp, DUMP_STAMP + 1, "%Y%m%dT%H%M%S", &tm) == 0) {
        stamp[0] = '\0';
    }
}


void
dump_look(void)
{
    int      i, n, directory, fd;
    char   **names, path[DUMP_ID_SIZE + 8], buf[512], *p;
    ssize_t  length;

    text_free(&dump.contents);
    memset(&dump.contents, 0, sizeof(dump.contents));

    directory = openat(supervisor.state_dir, DUMP_DIRECTORY,
                       O_RDONLY|O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC);

    if (directory == -1) {
        return;
    }

    n = dump_names(directory, &names);

    for (i = 0; i < n; i++) {
        (void) snprintf(path, sizeof(path), "%s/info", names[i]);
        fd = openat(directory, path, O_RDONLY|O_NOFOLLOW|O_CLOEXEC);
        length = fd == -1 ? -1 : read(fd, buf, sizeof(buf) - 1);

        if (length > 0) {
            buf[length] = '\0';
            p = strstr(buf, "\nversion ");

            if (p != NULL) {
                text_format(&dump.contents, "%.64s\n", p + 9);
            }
        }

        if (fd != -1) {
            close(fd);
        }

        free(names[i]);
    }

    free(names);
    close(directory);
}


int
dump_keeps(const char *sha256)
{
    return dump.contents.size > 0
           && memmem(dump.contents.data, dump.contents.size, sha256,
                     strlen(sha256))
              != NULL;
}


static uint32_t
dump_least(uint32_t n, uint32_t most)
{
    return n < most ? n : most;
}


#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "database_inner.h"
#include "kv_sqlite.h"
#include "process_mark.h"


#define DATABASE_NAME_MAX      63
#define DATABASE_SHARED_UMASK  0007


/* one that is being opened */

typedef struct {
    const char               *name;
    unsigned                  flags;
    int                       directory;   /* descriptor */
    char                     *path;        /* of the file, no link in it */
    struct stat               st;          /* of the file */

    int                       code;
    char                     *why;
    size_t                    size;
} database_opening_t;


static void database_free(database_t *d);
static int database_open_files(database_opening_t *o, database_t *d,
    const char *directory);
static int database_fail(database_opening_t *o, int code, const char *format,
    ...)
    __attribute__((format(printf, 3, 4)));
static int database_fail_errno(database_opening_t *o, const char *what,
    const char *name);
static int database_fail_sqlite(database_opening_t *o, database_t *d, int rc,
    const char *what);
static int database_check_name(database_opening_t *o);
static int database_open_directory(database_opening_t *o, const char *path);
static int database_check_files(database_opening_t *o);
static int database_check_file(database_opening_t *o, const char *suffix);
static int database_make_file(database_opening_t *o);
static int database_open_file(database_opening_t *o, database_t *d);
static int database_setup(database_opening_t *o, database_t *d);
static int database_setup_journal(database_opening_t *o, database_t *d);
static int database_journal_mode(database_t *d, const char *sql, int *wal);
static void database_limits(sqlite3 *db);


database_t *
database_open(const char *directory, const char *name, unsigned flags,
    int64_t deadline_ms, int *code, char *why, size_t size)
{
    int                 rc;
    mode_t              mask;
    database_t         *d;
    database_opening_t  o;

    memset(&o, 0, sizeof(o));

    o.name = name;
    o.flags = flags;
    o.directory = -1;
    o.why = why;
    o.size = size;

    d = calloc(1, sizeof(database_t));
    if (d == NULL) {
        (void) database_fail(&o, FAAS_EFULL, "out of memory");
        *code = o.code;
        return NULL;
    }

    d->mark = process_mark();
    d->flags = flags;
    d->deadline_ms = deadline_ms;

    /*
     * What is shared is born with its mode: who opens it in between is another
     * user, who would be refused, or whom SQLite would give a handle that can
     * only read
     */

    mask = flags & DATABASE_SHARED ? umask(DATABASE_SHARED_UMASK) : 0;

    rc = database_open_files(&o, d, directory);

    if (flags & DATABASE_SHARED) {
        (void) umask(mask);
    }

    if (o.directory != -1) {
        close(o.directory);
    }

    free(o.path);

    *code = rc;

    if (rc != FAAS_OK) {
        database_free(d);
        return NULL;
    }

    if (size != 0) {
        why[0] = '\0';    /* of a log that was not there */
    }

    kv_sqlite_init(&d->kv, d, flags & DATABASE_READONLY);

    return d;
}


static int
database_open_files(database_opening_t *o, database_t *d,
    const char *directory)
{
    int  rc;

    rc = database_check_name(o);

    if (rc == FAAS_OK) {
        rc = database_open_directory(o, directory);
    }

    if (rc == FAAS_OK) {
        rc = database_check_files(o);
    }

    if (rc == FAAS_OK) {
        rc = database_open_file(o, d);
    }

    if (rc == FAAS_OK) {
        rc = database_setup(o, d);
    }

    return rc;
}


void
database_close(database_t *d)
{
    if (d != NULL && database_is_ours(d)) {
        database_free(d);
    }
}


static void
database_free(database_t *d)
{
    size_t         i;
    sqlite3_stmt  *stmt;

    /* also those that the function compiled for itself */

    while (d->db != NULL && (stmt = sqlite3_next_stmt(d->db, NULL)) != NULL) {
        sqlite3_finalize(stmt);
    }

    for (i = 0; i < DATABASE_CACHE; i++) {
        sqlite3_free(d->cache[i].sql);
    }

    sqlite3_close_v2(d->db);
    sqlite3_free(d->once_key);
    free(d->evicted);
    free(d);
}


/* -- the file, before SQLite sees it --------------------------------------- */

static int
database_check_name(database_opening_t *o)
{
    size_t       n;
    const char  *p;

    n = 0;

    for (p = o->name; *p != '\0'; p++) {
        if (!((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9')
              || (n > 0 && (*p == '_' || *p == '-'))))
        {
            break;
        }

        n++;
    }

    if (*p != '\0' || n == 0 || n > DATABASE_NAME_MAX) {
        return database_fail(o, FAAS_EINVAL, "not a name of a database");
    }

    return FAAS_OK;
}


/*
 * The directory's own path may lead over links, the operator's; SQLite, which
 * is told to follow none, gets the real one.
 */

static int
database_open_directory(database_opening_t *o, const char *path)
{
    char         *real;
    mode_t        bad;
    struct stat   st;

    o->directory = open(path, O_PATH|O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC);

    if (o->directory == -1 || fstat(o->directory, &st) == -1) {
        return database_fail_errno(o, "directory ", path);
    }

    bad = o->flags & DATABASE_SHARED ? S_IWOTH : S_IWOTH|S_IWGRP;

    if (st.st_mode & bad) {
        return database_fail(o, FAAS_EDENIED,
                             "directory \"%s\" can be written by others",
                             path);
    }

    real = realpath(path, NULL);
    if (real == NULL) {
        return database_fail_errno(o, "directory ", path);
    }

    if (asprintf(&o->path, "%s/%s.db", real, o->name) == -1) {
        o->path = NULL;
    }

    free(real);

    if (o->path == NULL) {
        return database_fail(o, FAAS_EFULL, "out of memory");
    }

    return FAAS_OK;
}


static int
database_check_files(database_opening_t *o)
{
    int  rc;

    rc = database_check_file(o, ".db");

    if (rc == FAAS_ENOTFOUND && o->flags & DATABASE_CREATE) {
        rc = database_make_file(o);

        if (rc == FAAS_OK) {
            rc = database_check_file(o, ".db");
        }
    }

    if (rc != FAAS_OK) {
        return rc;
    }

    /* what SQLite opens beside it; it follows no link there, but neither
       should it write through a second name of a file */

    rc = database_check_file(o, ".db-wal");

    if (rc == FAAS_OK || rc == FAAS_ENOTFOUND) {
        rc = database_check_file(o, ".db-shm");
    }

    if (rc == FAAS_OK || rc == FAAS_ENOTFOUND) {
        rc = database_check_file(o, ".db-journal");
    }

    return rc == FAAS_ENOTFOUND ? FAAS_OK : rc;
}


static int
database_check_file(database_opening_t *o, const char *suffix)
{
    char         name[DATABASE_NAME_MAX + 16];
    struct stat  st;

    snprintf(name, sizeof(name), "%s%s", o->name, suffix);

    if (fstatat(o->directory, name, &st, AT_SYMLINK_NOFOLLOW) == -1) {
        return database_fail_errno(o, "file ", name);
    }

    if (!S_ISREG(st.st_mode)) {
        return database_fail(o, FAAS_EDENIED, "\"%s\" is not a regular file",
                             name);
    }

    if (st.st_nlink > 1) {
        return database_fail(o, FAAS_EDENIED, "\"%s\" has other names", name);
    }

    if (st.st_mode & S_IWOTH) {
        return database_fail(o, FAAS_EDENIED,
                             "\"%s\" can be written by others", name);
    }

    if (strcmp(suffix, ".db") != 0) {
        return FAAS_OK;
    }

    if (!(o->flags & DATABASE_SHARED) && st.st_uid != geteuid()) {
        return database_fail(o, FAAS_EDENIED,
                             "\"%s\" is owned by user %u, not by %u", name,
                             (unsigned) st.st_uid, (unsigned) geteuid());
    }

    o->st = st;

    return FAAS_OK;
}


/* the descriptor is closed before SQLite has locks on the file, which would
   go with it; who makes it at the same time makes the same */

static int
database_make_file(database_opening_t *o)
{
    int   fd, directory;
    char  name[DATABASE_NAME_MAX + 16];

    snprintf(name, sizeof(name), "%s.db", o->name);

    fd = openat(o->directory, name,
                O_RDWR|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC, 0660);

    if (fd == -1) {
        return errno == EEXIST ? FAAS_OK
                               : database_fail_errno(o, "file ", name);
    }

    if (fchmod(fd, 0660) == -1) {    /* whatever the umask is */
        close(fd);
        return database_fail_errno(o, "file ", name);
    }

    close(fd);

    /* the file's name must last as what is committed to it does */

    directory = openat(o->directory, ".", O_RDONLY|O_DIRECTORY|O_CLOEXEC);

    if (directory == -1 || fsync(directory) == -1) {
        (void) database_fail_errno(o, "directory of ", name);

        if (directory != -1) {
            close(directory);
        }

        return o->code;
    }

    close(directory);

    return FAAS_OK;
}


/* -- SQLite ---------------------------------------------------------------- */

static int
database_open_file(database_opening_t *o, database_t *d)
{
    int          rc, flags, moved;
    struct stat  st;

    flags = SQLITE_OPEN_NOMUTEX|SQLITE_OPEN_NOFOLLOW|SQLITE_OPEN_EXRESCODE
            |SQLITE_OPEN_PRIVATECACHE;
    flags |= o->flags & DATABASE_READONLY ? SQLITE_OPEN_READONLY
                                          : SQLITE_OPEN_READWRITE;

    rc = sqlite3_open_v2(o->path, &d->db, flags, NULL);

    if (rc != SQLITE_OK) {
        return database_fail_sqlite(o, d, rc, "cannot be opened");
    }

    /* what was opened is what was looked at */

    moved = 1;

    if (sqlite3_file_control(d->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved)
        != SQLITE_OK
        || moved
        || lstat(o->path, &st) == -1
        || st.st_dev != o->st.st_dev
        || st.st_ino != o->st.st_ino)
    {
        return database_fail(o, FAAS_EUNAVAILABLE,
                             "\"%s\" was replaced while it was opened",
                             o->path);
    }

    return FAAS_OK;
}


static int
database_setup(database_opening_t *o, database_t *d)
{
    int   rc;
    char  sql[160];

    sqlite3_db_config(d->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_db_config(d->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(d->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(d->db, SQLITE_DBCONFIG_ENABLE_FKEY, 1, NULL);
    sqlite3_db_config(d->db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL);
    sqlite3_db_config(d->db, SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, 0, NULL);

    sqlite3_wal_autocheckpoint(d->db, 0);
    database_limits(d->db);
    database_guard(d);

    snprintf(sql, sizeof(sql),
             "PRAGMA mmap_size = 0; PRAGMA journal_size_limit = %d; "
             "PRAGMA synchronous = %s", DATABASE_JOURNAL_MAX,
             o->flags & DATABASE_NORMAL ? "NORMAL" : "FULL");

    rc = sqlite3_exec(d->db, sql, NULL, NULL, NULL);

    if (rc != SQLITE_OK) {
        return database_fail_sqlite(o, d, rc, "cannot be set up");
    }

    rc = database_setup_journal(o, d);

    if (rc != FAAS_OK) {
        return rc;
    }

    /* which expires what was compiled before */

    sqlite3_set_authorizer(d->db, database_authorize, d);

    rc = database_prepare_transactions(d);

    return rc == SQLITE_OK
           ? FAAS_OK : database_fail_sqlite(o, d, rc, "cannot be set up");
}


/*
 * A new file becomes one in WAL mode, once.  That takes an exclusive lock, for
 * which SQLite does not always ask the busy handler.  A file that cannot be
 * written is read as it is.
 */

static int
database_setup_journal(database_opening_t *o, database_t *d)
{
    int              rc, wal;
    struct timespec  pause;

    rc = database_journal_mode(d, "PRAGMA journal_mode", &wal);

    if (sqlite3_db_readonly(d->db, "main") == 1) {
        return rc == SQLITE_OK
               ? FAAS_OK : database_fail_sqlite(o, d, rc, "cannot be read");
    }

    pause.tv_sec = 0;
    pause.tv_nsec = 1000000;

    while (rc != SQLITE_OK || !wal) {

        if (rc == SQLITE_OK || (rc & 0xff) == SQLITE_BUSY) {
            rc = database_journal_mode(d, "PRAGMA journal_mode = WAL", &wal);
        }

        if (rc == SQLITE_OK && wal) {
            break;
        }

        if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_BUSY) {
            return database_fail_sqlite(o, d, rc, "cannot be read");
        }

        if (database_monotonic_ms() >= d->deadline_ms) {
            return database_fail(o, FAAS_EBUSY, "\"%s\" is locked", o->path);
        }

        (void) nanosleep(&pause, NULL);
    }

    /* the log is made with the first read, which is to be now */

    rc = sqlite3_exec(d->db, "SELECT 1 FROM sqlite_schema LIMIT 1", NULL, NULL,
                      NULL);

    return rc == SQLITE_OK
           ? FAAS_OK : database_fail_sqlite(o, d, rc, "cannot be read");
}


static int
database_journal_mode(database_t *d, const char *sql, int *wal)
{
    int            rc;
    sqlite3_stmt  *stmt;

    *wal = 0;

    rc = sqlite3_prepare_v2(d->db, sql, -1, &stmt, NULL);
    if (rc != SQLITE_OK) {
        return rc;
    }

    rc = sqlite3_step(stmt);

    if (rc == SQLITE_ROW) {
        *wal = sqlite3_stricmp((const char *) sqlite3_column_text(stmt, 0),
                               "wal") == 0;
    }

    return sqlite3_finalize(stmt);
}


static void
database_limits(sqlite3 *db)
{
    size_t  i;

    static const struct {
        int  which;
        int  max;
    } limits[] = {
        { SQLITE_LIMIT_LENGTH, DATABASE_VALUE_MAX },
        { SQLITE_LIMIT_SQL_LENGTH, DATABASE_SQL_MAX },
        { SQLITE_LIMIT_COLUMN, 2000 },
        { SQLITE_LIMIT_EXPR_DEPTH, 500 },
        { SQLITE_LIMIT_COMPOUND_SELECT, 500 },
        { SQLITE_LIMIT_VDBE_OP, 1000000 },
        { SQLITE_LIMIT_FUNCTION_ARG, 100 },
        { SQLITE_LIMIT_ATTACHED, 0 },
        { SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000 },
        { SQLITE_LIMIT_VARIABLE_NUMBER, 32766 },
        { SQLITE_LIMIT_TRIGGER_DEPTH, 100 },
        { SQLITE_LIMIT_WORKER_THREADS, 0 },
    };

    for (i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        sqlite3_limit(db, limits[i].which, limits[i].max);
    }
}


/* -- why not --------------------------------------------------------------- */

static int
database_fail(database_opening_t *o, int code, const char *format, ...)
{
    va_list  args;

    va_start(args, format);
    vsnprintf(o->why, o->size, format, args);
    va_end(args);

    o->code = code;

    return code;
}


static int
database_fail_errno(database_opening_t *o, const char *what, const char *name)
{
    int  code, error;

    error = errno;

    switch (error) {

    case ENOENT:
        code = FAAS_ENOTFOUND;
        break;

    case EACCES:
    case EPERM:
    case ELOOP:
    case ENOTDIR:
        code = FAAS_EDENIED;
        break;

    case EROFS:
        code = FAAS_EREADONLY;
        break;

    case ENOSPC:
    case EDQUOT:
    case ENOMEM:
        code = FAAS_EFULL;
        break;

    default:
        code = FAAS_EUNAVAILABLE;
    }

    return database_fail(o, code, "%s\"%s\": %s", what, name,
                         strerror(error));
}


static int
database_fail_sqlite(database_opening_t *o, database_t *d, int rc,
    const char *what)
{
    int  code, error;

    if (d->db == NULL) {
        return database_fail(o, FAAS_EFULL, "out of memory");
    }

    code = database_error(d, rc);
    error = sqlite3_system_errno(d->db);

    return database_fail(o, code, "\"%s\" %s: %s%s%s", o->path, what,
                         sqlite3_errmsg(d->db), error ? ", " : "",
                         error ? strerror(error) : "");
}

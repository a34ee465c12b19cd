
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "baas_conf.h"
#include "database.h"
#include "faas_scoreboard.h"
#include "migrate.h"
#include "sandbox.h"


static void migrate_child(int fd, const baas_conf_t *conf,
    uint32_t timeout_ms, int answer) __attribute__((noreturn));
static char *migrate_read(int fd, size_t *n);
static int migrate_all(const migrate_file_t *file, size_t count,
    const baas_conf_t *conf, uint32_t timeout_ms, char *why);
static int migrate_database(const migrate_file_t *file, size_t count,
    const baas_conf_t *conf, uint32_t timeout_ms, char *why);
static int migrate_wait(pid_t pid, int answer, char *why);
static int migrate_field(char **p, char *end, char stop, const char **field);
static int migrate_number(const char *text, uint64_t max, uint64_t *number);


int
migrate(int fd, const char *conf, size_t n, uint32_t timeout_ms, char *why)
{
    int          rc, pipefd[2];
    pid_t        pid, parent;
    baas_conf_t  parsed;

    if (baas_conf_parse(&parsed, conf, n, why, MIGRATE_WHY) != FAAS_OK) {
        return FAAS_ERROR;
    }

    rc = FAAS_ERROR;

    if (pipe2(pipefd, O_CLOEXEC) == -1) {
        (void) snprintf(why, MIGRATE_WHY, "migrations: pipe2() failed "
                        "(%d: %s)", errno, strerror(errno));
        goto done;
    }

    parent = getpid();
    pid = fork();

    if (pid == 0) {
        (void) close(pipefd[0]);

        /* with the template, whose time is limited, ends what it waits for */

        if (sandbox_die_with(parent) != FAAS_OK) {
            _exit(1);
        }

        migrate_child(fd, &parsed, timeout_ms, pipefd[1]);
    }

    (void) close(pipefd[1]);

    if (pid == -1) {
        (void) snprintf(why, MIGRATE_WHY, "migrations: fork() failed "
                        "(%d: %s)", errno, strerror(errno));

    } else {
        rc = migrate_wait(pid, pipefd[0], why);
    }

    (void) close(pipefd[0]);

done:

    baas_conf_free(&parsed);

    return rc;
}


/* says nothing when all went well, else why not */

static void
migrate_child(int fd, const baas_conf_t *conf, uint32_t timeout_ms,
    int answer)
{
    int              rc;
    char            *pack, why[MIGRATE_WHY];
    size_t           n, count;
    ssize_t          written;
    migrate_file_t  *file;

    pack = migrate_read(fd, &n);
    rc = FAAS_ERROR;

    if (pack == NULL || migrate_parse(pack, n, &file, &count) != FAAS_OK) {
        (void) snprintf(why, sizeof(why), "migrations: they cannot be read");

    } else {
        rc = migrate_all(file, count, conf, timeout_ms, why);
    }

    if (rc == FAAS_OK) {
        _exit(0);
    }

    written = write(answer, why, strlen(why));

    _exit(written == -1 ? 2 : 1);
}


static char *
migrate_read(int fd, size_t *n)
{
    char        *pack;
    ssize_t      got;
    struct stat  st;

    if (fstat(fd, &st) == -1 || st.st_size > MIGRATE_SIZE) {
        return NULL;
    }

    pack = malloc((size_t) st.st_size + 1);
    if (pack == NULL) {
        return NULL;
    }

    for (*n = 0; *n < (size_t) st.st_size; *n += (size_t) got) {
        got = pread(fd, pack + *n, (size_t) st.st_size - *n, (off_t) *n);

        if (got <= 0) {
            free(pack);
            return NULL;
        }
    }

    pack[*n] = '\0';

    return pack;
}


/* those of one database are next to each other */

static int
migrate_all(const migrate_file_t *file, size_t count, const baas_conf_t *conf,
    uint32_t timeout_ms, char *why)
{
    size_t  i, n;

    for (i = 0; i < count; i += n) {

        for (n = 1; i + n < count; n++) {

            if (strcmp(file[i + n].database, file[i].database) != 0) {
                break;
            }
        }

        if (migrate_database(file + i, n, conf, timeout_ms, why) != FAAS_OK) {
            return FAAS_ERROR;
        }
    }

    return FAAS_OK;
}


static int
migrate_database(const migrate_file_t *file, size_t count,
    const baas_conf_t *conf, uint32_t timeout_ms, char *why)
{
    int                    code;
    char                   line[MIGRATE_WHY - 64];
    size_t                 i;
    int64_t                deadline_ms;
    unsigned               flags;
    database_t            *d;
    const char            *directory;
    struct timespec        now;
    const baas_share_t    *share;
    database_migration_t  *m;

    (void) clock_gettime(CLOCK_MONOTONIC, &now);

    deadline_ms = timeout_ms ? (int64_t) now.tv_sec * 1000
                               + now.tv_nsec / 1000000 + timeout_ms
                             : INT64_MAX;

    /* the one that faas_db() opens by that name */

    share = strcmp(file->database, conf->function) == 0
            ? NULL : baas_conf_share(conf, file->database);

    if (share && !share->write) {
        (void) snprintf(why, MIGRATE_WHY, "migration \"%s\": the function "
                        "may only read the shared database \"%s\"",
                        file->name, file->database);
        return FAAS_ERROR;
    }

    directory = share ? share->path : conf->data;

    m = calloc(count, sizeof(database_migration_t));
    if (m == NULL) {
        (void) snprintf(why, MIGRATE_WHY, "migrations: out of memory");
        return FAAS_ERROR;
    }

    for (i = 0; i < count; i++) {
        m[i].number = file[i].number;
        m[i].name = file[i].name;
        m[i].sql = file[i].sql;
        m[i].size = file[i].size;
    }

    flags = DATABASE_CREATE | (share ? DATABASE_SHARED : 0)
            | (conf->normal ? DATABASE_NORMAL : 0);
    line[0] = '\0';

    d = database_open(directory, file->database, flags, deadline_ms, &code,
                      line, sizeof(line));

    if (d == NULL) {
        (void) snprintf(why, MIGRATE_WHY, "migrations: database \"%s\": %s",
                        file->database, line);
        free(m);
        return FAAS_ERROR;
    }

    code = database_migrate(d, m, count, line, sizeof(line));

    if (code != FAAS_OK) {
        (void) snprintf(why, MIGRATE_WHY, "migration %s",
                        *line ? line : faas_error(code));
    }

    database_close(d);
    free(m);

    return code == FAAS_OK ? FAAS_OK : FAAS_ERROR;
}


static int
migrate_wait(pid_t pid, int answer, char *why)
{
    int      status;
    size_t   n;
    ssize_t  got;

    n = 0;

    /* up to the end of the pipe, which comes with the end of the child */

    do {
        got = read(answer, why + n, MIGRATE_WHY - 1 - n);

        if (got > 0) {
            n += (size_t) got;
        }

    } while (got > 0 || (got == -1 && errno == EINTR));

    why[n] = '\0';

    while (waitpid(pid, &status, 0) == -1) {

        if (errno != EINTR) {
            (void) snprintf(why, MIGRATE_WHY, "migrations: waitpid() failed "
                            "(%d: %s)", errno, strerror(errno));
            return FAAS_ERROR;
        }
    }

    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        return FAAS_OK;
    }

    if (n == 0) {

        if (WIFSIGNALED(status)) {
            (void) snprintf(why, MIGRATE_WHY, "migrations: ended by signal %d",
                            WTERMSIG(status));

        } else {
            (void) snprintf(why, MIGRATE_WHY, "migrations: exited with %d",
                            WEXITSTATUS(status));
        }
    }

    return FAAS_ERROR;
}


/* "DB NUMBER NAME SIZE\n", SIZE bytes, "\n" */

int
migrate_parse(char *pack, size_t n, migrate_file_t **files, size_t *count)
{
    char            *p, *end;
    size_t           room;
    uint64_t         number, size;
    const char      *digits, *length;
    migrate_file_t  *file;

    *files = NULL;
    *count = 0;
    room = 0;
    end = pack + n;

    for (p = pack; p < end; p += size + 1) {

        if (*count == room) {
            room = room ? room * 2 : 16;
            file = realloc(*files, room * sizeof(migrate_file_t));

            if (file == NULL) {
                goto failed;
            }

            *files = file;
        }

        file = &(*files)[*count];

        if (migrate_field(&p, end, ' ', &file->database) != FAAS_OK
            || migrate_field(&p, end, ' ', &digits) != FAAS_OK
            || migrate_field(&p, end, ' ', &file->name) != FAAS_OK
            || migrate_field(&p, end, '\n', &length) != FAAS_OK
            || migrate_number(digits, UINT32_MAX, &number) != FAAS_OK
            || migrate_number(length, MIGRATE_SIZE, &size) != FAAS_OK
            || size >= (size_t) (end - p) || p[size] != '\n')
        {
            goto failed;
        }

        file->number = (uint32_t) number;
        file->sql = p;
        file->size = (size_t) size;

        (*count)++;
    }

    return FAAS_OK;

failed:

    free(*files);
    *files = NULL;
    *count = 0;

    return FAAS_ERROR;
}


static int
migrate_field(char **p, char *end, char stop, const char **field)
{
    char  *q;

    q = memchr(*p, stop, (size_t) (end - *p));

    if (q == NULL || q == *p || memchr(*p, '\0', (size_t) (q - *p))) {
        return FAAS_ERROR;
    }

    *q = '\0';
    *field = *p;
    *p = q + 1;

    return FAAS_OK;
}


static int
migrate_number(const char *text, uint64_t max, uint64_t *number)
{
    *number = 0;

    for ( /* void */ ; *text; text++) {

        if (*text < '0' || *text > '9') {
            return FAAS_ERROR;
        }

        *number = *number * 10 + (uint64_t) (*text - '0');

        if (*number > max) {
            return FAAS_ERROR;
        }
    }

    return FAAS_OK;
}


#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loop.h"
#include "migrations.h"
#include "store.h"
#include "text.h"
#include "watch.h"


#define MIGRATIONS_OK      0
#define MIGRATIONS_ERROR  -1
#define MIGRATIONS_AGAIN  -2
#define MIGRATIONS_SHORT  -3


/* one file */

typedef struct {
    char                      database[64];
    unsigned                  number;
    unsigned                  other:1;       /* not the function's own */
    char                     *name;
    char                     *sql;
    size_t                    size;
} migrations_file_t;


typedef struct {
    migrations_file_t        *file;
    size_t                    count;
    size_t                    room;
    size_t                    bytes;
} migrations_list_t;


static int migrations_names(migrations_list_t *list, int dir,
    const char *function, char *why);
static int migrations_add(migrations_list_t *list, const char *function,
    const char *name, char *why);
static int migrations_compare(const void *one, const void *two);
static int migrations_read(migrations_list_t *list, int dir, uid_t owner,
    uid_t deployer, char *why);
static int migrations_pack(migrations_t *m, const migrations_list_t *list,
    char *why);
static int migrations_memfd(const text_t *text);
static int migrations_why(char *why, const char *format, ...)
    __attribute__((format(printf, 2, 3)));


int
migrations_gather(migrations_t *m, int dir, const char *function,
    uid_t owner, uid_t deployer, char *why)
{
    int                rc;
    size_t             i;
    migrations_list_t  list;

    m->fd = -1;
    m->sha256[0] = '\0';
    memset(&list, 0, sizeof(migrations_list_t));

    rc = migrations_names(&list, dir, function, why);

    if (rc == MIGRATIONS_OK && list.count > 0) {

        qsort(list.file, list.count, sizeof(migrations_file_t),
              migrations_compare);

        rc = migrations_read(&list, dir, owner, deployer, why);

        if (rc == MIGRATIONS_OK) {
            rc = migrations_pack(m, &list, why);
        }
    }

    for (i = 0; i < list.count; i++) {
        free(list.file[i].name);
        free(list.file[i].sql);
    }

    free(list.file);

    return rc;
}


static int
migrations_names(migrations_list_t *list, int dir, const char *function,
    char *why)
{
    int             fd, rc;
    DIR            *d;
    struct dirent  *entry;

    /* a directory stream of its own, with its own position */

    fd = openat(dir, ".", O_RDONLY|O_DIRECTORY|O_CLOEXEC);
    d = fd != -1 ? fdopendir(fd) : NULL;

    if (d == NULL) {
        (void) migrations_why(why, "the functions directory cannot be read: "
                              "%s", strerror(errno));

        if (fd != -1) {
            (void) close(fd);
        }

        return MIGRATIONS_SHORT;
    }

    rc = MIGRATIONS_OK;

    while (rc == MIGRATIONS_OK) {

        errno = 0;
        entry = readdir(d);

        if (entry == NULL) {

            if (errno != 0) {
                (void) migrations_why(why, "the functions directory cannot "
                                      "be read: %s", strerror(errno));
                rc = MIGRATIONS_SHORT;
            }

            break;
        }

        rc = migrations_add(list, function, entry->d_name, why);
    }

    (void) closedir(d);

    return rc;
}


/* names that are no migration's are told of by the watch */

static int
migrations_add(migrations_list_t *list, const char *function,
    const char *name, char *why)
{
    char                of[64], database[64];
    unsigned            number;
    migrations_file_t  *f;

    if (watch_parse_sql(name, of, database, &number) == -1
        || strcmp(of, function) != 0)
    {
        return MIGRATIONS_OK;
    }

    if (list->count == MIGRATIONS_MOST) {
        return migrations_why(why, "more than %d migrations",
                              MIGRATIONS_MOST);
    }

    if (list->count == list->room) {
        list->room = list->room ? list->room * 2 : 16;
        list->file = loop_realloc(list->file,
                                  list->room * sizeof(migrations_file_t));
    }

    f = &list->file[list->count];
    memset(f, 0, sizeof(migrations_file_t));

    f->name = loop_strdup(name, strlen(name));
    memcpy(f->database, database, sizeof(database));
    f->number = number;
    f->other = strcmp(database, function) != 0;
    list->count++;

    return MIGRATIONS_OK;
}


static int
migrations_compare(const void *one, const void *two)
{
    int                       rc;
    const migrations_file_t  *a, *b;

    a = one;
    b = two;

    if (a->other != b->other) {
        return a->other ? 1 : -1;
    }

    rc = strcmp(a->database, b->database);

    if (rc != 0) {
        return rc;
    }

    return a->number < b->number ? -1 : a->number > b->number;
}


static int
migrations_read(migrations_list_t *list, int dir, uid_t owner, uid_t deployer,
    char *why)
{
    int                 rc;
    char                reason[STORE_WHY_SIZE];
    size_t              i;
    migrations_file_t  *f;

    for (i = 0; i < list->count; i++) {
        f = &list->file[i];

        if (i > 0 && f->number == f[-1].number
            && strcmp(f->database, f[-1].database) == 0)
        {
            return migrations_why(why, "migrations \"%.64s\" and \"%.64s\" "
                                  "have one number", f[-1].name, f->name);
        }

        rc = store_read(dir, f->name, owner, deployer,
                        MIGRATIONS_SIZE - list->bytes, &f->sql, &f->size,
                        reason);

        if (rc != 0) {
            (void) migrations_why(why, "migration \"%.64s\": %.110s", f->name,
                                  reason);
            return rc;
        }

        list->bytes += f->size;
    }

    return MIGRATIONS_OK;
}


static int
migrations_pack(migrations_t *m, const migrations_list_t *list, char *why)
{
    size_t                    i;
    text_t                    text;
    const migrations_file_t  *f;

    memset(&text, 0, sizeof(text_t));

    for (i = 0; i < list->count; i++) {
        f = &list->file[i];

        text_format(&text, "%s %u %s %zu\n", f->database, f->number, f->name,
                    f->size);
        text_add(&text, f->sql, f->size);
        text_add(&text, "\n", 1);
    }

    m->fd = migrations_memfd(&text);

    if (m->fd == -1 || store_sha256(text.data, text.size, m->sha256) == -1) {
        (void) migrations_why(why, "no memory for migrations");
        migrations_close(m);
        text_free(&text);
        return MIGRATIONS_SHORT;
    }

    text_free(&text);

    return MIGRATIONS_OK;
}


/* sealed: what is applied is what was hashed */

static int
migrations_memfd(const text_t *text)
{
    int      fd;
    size_t   done;
    ssize_t  n;

    fd = memfd_create("faas-migrations", MFD_CLOEXEC|MFD_ALLOW_SEALING);

    if (fd == -1) {
        return -1;
    }

    for (done = 0; done < text->size; done += (size_t) n) {

        n = write(fd, text->data + done, text->size - done);

        if (n <= 0) {
            (void) close(fd);
            return -1;
        }
    }

    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK|F_SEAL_GROW|F_SEAL_WRITE
                               |F_SEAL_SEAL) == -1)
    {
        (void) close(fd);
        return -1;
    }

    return fd;
}


int
migrations_adopt(migrations_t *m, int fd)
{
    int          rc;
    void        *p;
    struct stat  st;

    m->fd = fd;
    m->sha256[0] = '\0';

    if (fstat(fd, &st) == -1 || st.st_size == 0) {
        return -1;
    }

    p = mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);

    if (p == MAP_FAILED) {
        return -1;
    }

    rc = store_sha256(p, (size_t) st.st_size, m->sha256);
    (void) munmap(p, (size_t) st.st_size);

    return rc;
}


void
migrations_close(migrations_t *m)
{
    if (m->fd != -1) {
        (void) close(m->fd);
        m->fd = -1;
    }

    m->sha256[0] = '\0';
}


static int
migrations_why(char *why, const char *format, ...)
{
    va_list  args;

    va_start(args, format);
    (void) vsnprintf(why, MIGRATIONS_WHY_SIZE, format, args);
    va_end(args);

    return MIGRATIONS_ERROR;
}

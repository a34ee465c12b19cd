
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "death.h"
#include "faasctl_core.h"


#define CORE_FILE_MAX  ((off_t) 1100 * 1024 * 1024)
#define CORE_NAMES     10000
#define CORE_ID_MAX    112


static int core_directory(int missing);
static char *core_file(int directory, const char *name, size_t *size);
static int core_is_id(const char *id);
static int core_names(char ***names);
static int core_compare(const void *a, const void *b);
static int core_remove(int directory, const char *id);
static void core_json(json_text_t *json, const core_dump_t *dump);
static void core_json_threads(json_text_t *json, const core_dump_t *dump);
static void core_request(const core_dump_t *dump, char *buf, size_t size);


/* -- reading --------------------------------------------------------------- */

int
faasctl_core_open(core_dump_t *dump, const char *id)
{
    int     directory;
    size_t  n;

    memset(dump, 0, sizeof(core_dump_t));
    dump->id = id;
    dump->directory = -1;

    directory = core_is_id(id) ? core_directory(1) : -2;

    if (directory == -1) {
        return FAASCTL_FAILED;
    }

    if (directory != -2) {
        dump->directory = openat(directory, id,
                                 O_RDONLY|O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC);
        close(directory);
    }

    if (dump->directory != -1) {
        dump->info = core_file(dump->directory, "info", &n);
    }

    if (dump->info == NULL) {
        (void) fprintf(stderr, "faasctl: %s: there is no such dump (faasctl "
                       "core list)\n", id);
        faasctl_core_close(dump);
        return FAASCTL_FAILED;
    }

    dump->params.data = core_file(dump->directory, "params", &n);
    dump->params.size = dump->params.data ? n : 0;
    dump->body.data = core_file(dump->directory, "body", &n);
    dump->body.size = dump->body.data ? n : 0;

    return FAASCTL_DONE;
}


void
faasctl_core_close(core_dump_t *dump)
{
    free(dump->info);
    free((void *) dump->params.data);
    free((void *) dump->body.data);

    if (dump->directory != -1) {
        close(dump->directory);
    }
}


const char *
faasctl_core_value(const core_dump_t *dump, const char *name)
{
    char          *buf;
    size_t         n, length;
    const char    *p, *end;

    static char    values[4][4096];
    static size_t  turn;

    buf = values[turn++ % 4];
    buf[0] = '\0';
    length = strlen(name);

    for (p = dump->info; p != NULL && *p != '\0'; p = end ? end + 1 : NULL) {
        end = strchr(p, '\n');

        if (strncmp(p, name, length) == 0 && p[length] == ' ') {
            p += length + 1;
            n = end ? (size_t) (end - p) : strlen(p);

            if (n >= sizeof(values[0])) {
                n = sizeof(values[0]) - 1;
            }

            memcpy(buf, p, n);
            buf[n] = '\0';
            break;
        }
    }

    return buf;
}


const char *
faasctl_core_next(const core_dump_t *dump, const char *p)
{
    const char  *first, *last;

    first = dump->params.data;

    if (first == NULL) {
        return NULL;
    }

    /* core_file() ends it with a zero, whatever it holds */

    last = first + dump->params.size;
    p = p ? p + strlen(p) + 1 : first;

    return p < last ? p : NULL;
}


const char *
faasctl_core_param(const core_dump_t *dump, const char *name)
{
    size_t       n;
    const char  *p;

    n = strlen(name);

    for (p = faasctl_core_next(dump, NULL); p != NULL;
         p = faasctl_core_next(dump, p))
    {
        if (strncmp(p, name, n) == 0 && p[n] == '=') {
            return p + n + 1;
        }
    }

    return NULL;
}


static int
core_is_id(const char *id)
{
    return id[0] != '\0' && id[0] != '.' && strchr(id, '/') == NULL
           && strlen(id) < CORE_ID_MAX;
}


/* missing: it is said when there is none */

static int
core_directory(int missing)
{
    int   fd;
    char  path[4096];

    (void) snprintf(path, sizeof(path), "%s/core", faasctl.state);
    fd = open(path, O_RDONLY|O_DIRECTORY|O_CLOEXEC);

    if (fd == -1 && (missing || errno != ENOENT)) {
        (void) fprintf(stderr, "faasctl: \"%s\": %s (-s DIR says where "
                       "faas_state is; faas_core on makes dumps)\n", path,
                       strerror(errno));
    }

    return fd;
}


/* malloc()ed, with a zero behind it; NULL: there is none */

static char *
core_file(int directory, const char *name, size_t *size)
{
    int          fd;
    char        *data;
    ssize_t      n;
    struct stat  st;

    *size = 0;
    fd = openat(directory, name, O_RDONLY|O_NOFOLLOW|O_CLOEXEC);

    if (fd == -1) {
        return NULL;
    }

    data = NULL;

    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)
        && st.st_size <= CORE_FILE_MAX)
    {
        data = faasctl_alloc((size_t) st.st_size + 1);
        n = read(fd, data, (size_t) st.st_size);
        *size = n > 0 ? (size_t) n : 0;
    }

    close(fd);

    return data;
}


/* newest first; how many, or -1 */

static int
core_names(char ***names)
{
    int             n, fd;
    DIR            *dir;
    struct dirent  *entry;

    *names = faasctl_alloc(CORE_NAMES * sizeof(char *));
    fd = core_directory(0);

    if (fd == -1) {
        return errno == ENOENT ? 0 : -1;
    }

    dir = fdopendir(fd);

    if (dir == NULL) {
        close(fd);
        return -1;
    }

    n = 0;

    while (n < CORE_NAMES && (entry = readdir(dir)) != NULL) {
        if (core_is_id(entry->d_name)) {
            (*names)[n] = faasctl_alloc(strlen(entry->d_name) + 1);
            memcpy((*names)[n++], entry->d_name, strlen(entry->d_name));
        }
    }

    (void) closedir(dir);
    qsort(*names, (size_t) n, sizeof(char *), core_compare);

    return n;
}


static int
core_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *) b, *(char *const *) a);
}


/* -- commands -------------------------------------------------------------- */

int
faasctl_core_list(void)
{
    int              i, n;
    char           **names, request[2048];
    core_dump_t      dump;
    json_text_t      json;
    faasctl_table_t  table;

    static const char *const  head[] = {
        "ID", "DIED", "FUNCTION", "VERSION", "KIND", "REQUEST"
    };

    n = core_names(&names);

    if (n == -1) {
        free(names);
        return FAASCTL_FAILED;
    }

    memset(&json, 0, sizeof(json));
    json_put(&json, "[");
    faasctl_table(&table, 6, head);

    for (i = 0; i < n; i++) {

        if (faasctl_core_open(&dump, names[i]) == FAASCTL_DONE) {
            core_request(&dump, request, sizeof(request));

            json_put(&json, json.size > 1 ? ",{" : "{");
            core_json(&json, &dump);
            json_put(&json, "}");

            faasctl_cell(&table, faas_text(dump.id));
            faasctl_cell_time(&table, 1000 * atoll(
                                    faasctl_core_value(&dump, "time")));
            faasctl_cell(&table, faas_text(faasctl_core_value(&dump,
                                                              "function")));
            faasctl_cell(&table, (faas_bytes_t)
                                 { faasctl_core_value(&dump, "version"), 8 });
            faasctl_cell(&table, faas_text(faasctl_core_value(&dump,
                                                              "kind")));
            faasctl_cell(&table, faas_text(request));
            faasctl_core_close(&dump);
        }

        free(names[i]);
    }

    free(names);
    json_put(&json, "]");

    return faasctl_list_print(&json, &table, "there are no dumps");
}


int
faasctl_core_show(void)
{
    int           rc;
    const char   *p;
    core_dump_t   dump;
    json_text_t   json;

    rc = faasctl_core_open(&dump, faasctl.words[2]);

    if (rc != FAASCTL_DONE) {
        return rc;
    }

    if (!faasctl.json) {
        (void) printf("%s\n", dump.info);

        for (p = faasctl_core_next(&dump, NULL); p != NULL;
             p = faasctl_core_next(&dump, p))
        {
            faasctl_core_print(p, strlen(p));
        }

        if (dump.body.size > 0) {
            (void) printf("\n");
            faasctl_core_print(dump.body.data, dump.body.size);
        }

    } else {
        memset(&json, 0, sizeof(json));
        json_put(&json, "{");
        core_json(&json, &dump);
        core_json_threads(&json, &dump);

        json_put(&json, ",\"params\":{");

        for (p = faasctl_core_next(&dump, NULL); p != NULL;
             p = faasctl_core_next(&dump, p))
        {
            if (strchr(p, '=') != NULL) {
                json_put(&json, json.data[json.size - 1] == '{' ? "" : ",");
                json_string(&json, p, strcspn(p, "="));
                json_put(&json, ":");
                json_string(&json, strchr(p, '=') + 1,
                            strlen(strchr(p, '=') + 1));
            }
        }

        json_put(&json, "}");
        faasctl_json_data(&json, "body", dump.body);
        json_put(&json, "}");
        rc = faasctl_json_print(&json);
        json_free(&json);
    }

    faasctl_core_close(&dump);

    return rc;
}


int
faasctl_core_rm(void)
{
    int           i, n, directory, removed, rc;
    char        **names;
    const char   *id;
    json_text_t   json;

    static const char  undo[] = "This cannot be undone.";

    id = faasctl.nwords > 2 ? faasctl.words[2] : "";

    if ((id[0] != '\0') == faasctl.all) {
        (void) fprintf(stderr, "faasctl: either one dump's ID, or --all (see "
                       "faasctl help)\n");
        return FAASCTL_USAGE;
    }

    directory = core_directory(1);

    if (directory == -1) {
        return FAASCTL_FAILED;
    }

    removed = 0;

    if (!faasctl.all) {
        removed = core_is_id(id) && core_remove(directory, id) == 0;

    } else {
        n = core_names(&names);

        for (i = 0; i < n; i++) {
            removed += core_remove(directory, names[i]) == 0;
            free(names[i]);
        }

        free(names);
    }

    close(directory);

    if (!faasctl.all && removed == 0) {
        (void) fprintf(stderr, "faasctl: %s: there is no such dump\n", id);
        return FAASCTL_FAILED;
    }

    if (!faasctl.json) {
        (void) printf("%d dump%s deleted\n%s\n", removed,
                      removed == 1 ? "" : "s", undo);
        return FAASCTL_DONE;
    }

    memset(&json, 0, sizeof(json));
    json_put(&json, "{");
    faasctl_json_number(&json, "deleted", removed);
    faasctl_json_text(&json, "undo", faas_text(undo));
    json_put(&json, "}");
    rc = faasctl_json_print(&json);
    json_free(&json);

    return rc;
}


static int
core_remove(int directory, const char *id)
{
    int     fd;
    size_t  i;

    static const char *const  files[] = {
        "info", "params", "body", "environment"
    };

    fd = openat(directory, id, O_RDONLY|O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC);

    if (fd == -1) {
        return -1;
    }

    for (i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        (void) unlinkat(fd, files[i], 0);
    }

    close(fd);

    return unlinkat(directory, id, AT_REMOVEDIR);
}


static void
core_json(json_text_t *json, const core_dump_t *dump)
{
    size_t       i;
    char         request[2048];
    const char  *value;

    static const char *const  texts[] = {
        "function", "version", "kind", "how", "request", "address"
    };
    static const char *const  numbers[] = {
        "slot", "pid", "code", "age_ms", "served", "timeout_ms", "signal",
        "body_taken"
    };

    faasctl_json_text(json, "id", faas_text(dump->id));

    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        value = faasctl_core_value(dump, texts[i]);

        if (value[0] != '\0') {
            faasctl_json_text(json, texts[i], faas_text(value));
        }
    }

    for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        value = faasctl_core_value(dump, numbers[i]);

        if (value[0] != '\0') {
            faasctl_json_number(json, numbers[i], atoll(value));
        }
    }

    faasctl_json_time(json, "died", 1000 * atoll(faasctl_core_value(dump,
                                                                "time")));
    core_request(dump, request, sizeof(request));
    faasctl_json_text(json, "line", faas_text(request));
}


static void
core_json_threads(json_text_t *json, const core_dump_t *dump)
{
    int          inside;
    size_t       n;
    const char  *p, *end;

    json_put(json, ",\"threads\":[");
    inside = 0;

    for (p = dump->info; p != NULL && *p != '\0'; p = end ? end + 1 : NULL) {
        end = strchr(p, '\n');
        n = end ? (size_t) (end - p) : strlen(p);

        if (strncmp(p, "thread ", 7) == 0) {
            json_put(json, inside ? "]},{" : "{");
            inside = 1;
            faasctl_json_text(json, "thread",
                              (faas_bytes_t) { p + 7, n - 7 });
            json_put(json, ",\"frames\":[");

        } else if (inside && strncmp(p, "  ", 2) == 0) {
            json_put(json, json->data[json->size - 1] == '[' ? "" : ",");
            json_string(json, p + 2, n - 2);
        }
    }

    json_put(json, inside ? "]}]" : "]");
}


/* "GET /x?y", escaped */

static void
core_request(const core_dump_t *dump, char *buf, size_t size)
{
    size_t       n;
    const char  *method, *uri;

    method = faasctl_core_param(dump, "REQUEST_METHOD");
    uri = faasctl_core_param(dump, "REQUEST_URI");

    if (strcmp(faasctl_core_value(dump, "request"), "running") != 0
        || method == NULL || uri == NULL)
    {
        (void) snprintf(buf, size, "-");
        return;
    }

    n = death_escape(buf, size - 2, method, strlen(method));
    buf[n++] = ' ';
    (void) death_escape(buf + n, size - n, uri, strlen(uri));
}


void
faasctl_core_print(const char *s, size_t n)
{
    char    escaped[4 * 256 + 1];
    size_t  part;

    for ( /* void */ ; n > 0; n -= part, s += part) {
        part = n < 256 ? n : 256;
        (void) death_escape(escaped, sizeof(escaped), s, part);
        (void) fputs(escaped, stdout);
    }

    (void) printf("\n");
}


#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data.h"
#include "log.h"
#include "state_file.h"
#include "supervisor.h"


#define DATA_NODE_FILE  "node"
#define DATA_NODE_NEW   "node.new"


/* a directory as it shall be; path is for messages */

typedef struct {
    int                       parent;
    const char               *name;
    const char               *path;
    uid_t                     uid;
    gid_t                     gid;
    mode_t                    mode;
} data_directory_t;


static int data_ours(const char *name);
static int data_below(const char *parent, data_directory_t *d, char *why);
static int data_directory(const data_directory_t *d, char *why);
static int data_open(const data_directory_t *d, int *made, char *why);
static int data_adopt(const data_directory_t *d, int fd, struct stat *st,
    int made, char *why);
static int data_node_read(void);
static int data_node_make(void);
static void data_shares_of(const settings_function_t *f,
    const user_t *service);
static int data_why(char *why, const char *format, ...)
    __attribute__((format(printf, 2, 3)));


static char  data_node_name[STATE_FILE_NODE + 1];


int
data_init(void)
{
    if (data_ours("data") == -1 || data_ours("share") == -1) {
        return -1;
    }

    if (data_node_read() == 0) {
        return 0;
    }

    if (data_node_make() == -1) {
        supervisor_error(errno, "could not make \"%s\" in faas_state",
                         DATA_NODE_FILE);
        return -1;
    }

    return 0;
}


const char *
data_node(void)
{
    return data_node_name;
}


/* others go through it, and see nothing */

static int
data_ours(const char *name)
{
    char              why[SETTINGS_WHY_SIZE];
    data_directory_t  d;

    d.parent = supervisor.state_dir;
    d.name = name;
    d.path = name;
    d.uid = geteuid();
    d.gid = getegid();
    d.mode = 0711;

    if (data_directory(&d, why) == -1) {
        supervisor_error(0, "%s", why);
        return -1;
    }

    return 0;
}


int
data_function(const char *name, const user_t *user, char *why)
{
    char              path[FAAS_NAME_SIZE + 8];
    data_directory_t  d;

    (void) snprintf(path, sizeof(path), "data/%s", name);

    d.name = name;
    d.path = path;
    d.uid = user->uid;
    d.gid = user->gid;
    d.mode = 0700;

    return data_below("data", &d, why);
}


int
data_share(const char *name, const user_t *service, char *why)
{
    char              path[FAAS_NAME_SIZE + 8];
    data_directory_t  d;

    (void) snprintf(path, sizeof(path), "share/%s", name);

    d.name = name;
    d.path = path;
    d.uid = service->uid;
    d.gid = service->gid;
    d.mode = 02770;

    return data_below("share", &d, why);
}


int
data_queue(const user_t *service, char *why)
{
    data_directory_t  d;

    d.parent = supervisor.state_dir;
    d.name = "queue";
    d.path = "queue";
    d.uid = service->uid;
    d.gid = service->gid;
    d.mode = 0700;

    return data_directory(&d, why);
}


void
data_shares(void)
{
    char                        why[SETTINGS_WHY_SIZE];
    user_t                      service;
    const settings_function_t  *f;

    if (user_of_service(&service, why) == -1) {
        return;    /* each function says so */
    }

    for (f = supervisor.settings->blocks; f != NULL; f = f->next) {
        data_shares_of(f, &service);
    }

    if (supervisor.settings->ceilings != NULL) {
        data_shares_of(supervisor.settings->ceilings, &service);
    }
}


static void
data_shares_of(const settings_function_t *f, const user_t *service)
{
    char         why[SETTINGS_WHY_SIZE], name[FAAS_NAME_SIZE];
    const char  *p;

    for (p = settings_next(&f->share, NULL); p != NULL;
         p = settings_next(&f->share, p))
    {
        (void) snprintf(name, sizeof(name), "%.*s", (int) strcspn(p, " "), p);

        if (data_share(name, service, why) == -1) {
            supervisor_error(0, "shared store \"%s\": %s", name, why);
        }
    }
}


static int
data_below(const char *parent, data_directory_t *d, char *why)
{
    int  rc;

    d->parent = openat(supervisor.state_dir, parent,
                       O_RDONLY|O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC);

    if (d->parent == -1) {
        return data_why(why, "could not open \"%s\" in faas_state: %s",
                        parent, strerror(errno));
    }

    rc = data_directory(d, why);
    (void) close(d->parent);

    return rc;
}


static int
data_directory(const data_directory_t *d, char *why)
{
    int          fd, made, rc;
    struct stat  st;

    fd = data_open(d, &made, why);

    if (fd == -1) {
        return -1;
    }

    if (fstat(fd, &st) == -1) {
        rc = data_why(why, "fstat failed for \"%s\": %s", d->path,
                      strerror(errno));

    } else {
        rc = data_adopt(d, fd, &st, made, why);
    }

    (void) close(fd);

    return rc;
}


/*
 * One that is ours and should be somebody else's, and is empty, is what a
 * supervisor left that was killed before it could give it away: it is made
 * again.
 */

static int
data_open(const data_directory_t *d, int *made, char *why)
{
    int          fd;
    struct stat  st;

    *made = mkdirat(d->parent, d->name, 0700) == 0;

    if (!*made && errno == EEXIST && d->uid != geteuid()
        && fstatat(d->parent, d->name, &st, AT_SYMLINK_NOFOLLOW) == 0
        && S_ISDIR(st.st_mode) && st.st_uid == geteuid()
        && unlinkat(d->parent, d->name, AT_REMOVEDIR) == 0)
    {
        *made = mkdirat(d->parent, d->name, 0700) == 0;
    }

    if (!*made && errno != EEXIST && errno != ENOTEMPTY) {
        return data_why(why, "could not make \"%s\" in faas_state: %s",
                        d->path, strerror(errno));
    }

    fd = openat(d->parent, d->name,
                O_RDONLY|O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC);

    if (fd == -1) {
        return data_why(why, "could not open \"%s\" in faas_state: %s",
                        d->path,
                        errno == ELOOP || errno == ENOTDIR
                        ? "it is no directory" : strerror(errno));
    }

    return fd;
}


/* who changes the group loses the mode's highest bits: that goes first */

static int
data_adopt(const data_directory_t *d, int fd, struct stat *st, int made,
    char *why)
{
    if (st->st_uid != d->uid && !made) {
        return data_why(why, "\"%s\" in faas_state belongs to uid %lu, not "
                        "to uid %lu", d->path, (unsigned long) st->st_uid,
                        (unsigned long) d->uid);
    }

    if ((st->st_uid != d->uid || st->st_gid != d->gid)
        && fchown(fd, d->uid, d->gid) == -1)
    {
        return data_why(why, "could not give \"%s\" in faas_state to uid "
                        "%lu: %s", d->path, (unsigned long) d->uid,
                        strerror(errno));
    }

    if ((st->st_uid != d->uid || st->st_gid != d->gid
         || (st->st_mode & 07777) != d->mode)
        && fchmod(fd, d->mode) == -1)
    {
        return data_why(why, "could not change the mode of \"%s\" in "
                        "faas_state: %s", d->path, strerror(errno));
    }

    return 0;
}


static int
data_node_read(void)
{
    int          fd;
    char         text[STATE_FILE_NODE + 1];
    ssize_t      n;
    struct stat  st;

    fd = openat(supervisor.state_dir, DATA_NODE_FILE,
                O_RDONLY|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC);

    if (fd == -1) {
        return -1;
    }

    n = -1;

    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        n = read(fd, text, sizeof(text));
    }

    (void) close(fd);

    if (n > 0 && state_file_node(text, (size_t) n, data_node_name) == 0) {
        return 0;
    }

    log_line(LOG_WARN, 0, "\"%s\" in faas_state is not 16 hex digits, "
             "this is another node now", DATA_NODE_FILE);

    return -1;
}


/* whole or not at all, also when the power goes */

static int
data_node_make(void)
{
    int            fd, i, rc;
    char           text[STATE_FILE_NODE + 2];
    unsigned char  bytes[STATE_FILE_NODE / 2];

    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t) sizeof(bytes)) {
        return -1;
    }

    for (i = 0; i < STATE_FILE_NODE / 2; i++) {
        (void) snprintf(text + i * 2, sizeof(text) - (size_t) i * 2, "%02x",
                        bytes[i]);
    }

    text[STATE_FILE_NODE] = '\n';

    (void) unlinkat(supervisor.state_dir, DATA_NODE_NEW, 0);

    fd = openat(supervisor.state_dir, DATA_NODE_NEW,
                O_WRONLY|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC, 0644);

    if (fd == -1) {
        return -1;
    }

    rc = write(fd, text, STATE_FILE_NODE + 1) == STATE_FILE_NODE + 1
         && fsync(fd) == 0
         && renameat(supervisor.state_dir, DATA_NODE_NEW,
                     supervisor.state_dir, DATA_NODE_FILE) == 0
         && fsync(supervisor.state_dir) == 0 ? 0 : -1;

    (void) close(fd);

    memcpy(data_node_name, text, STATE_FILE_NODE);

    return rc;
}


static int
data_why(char *why, const char *format, ...)
{
    va_list  args;

    va_start(args, format);
    (void) vsnprintf(why, SETTINGS_WHY_SIZE, format, args);
    va_end(args);

    return -1;
}

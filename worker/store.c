
/*
 * The content-addressed store.
 *
 * What makes a copy whole:
 * - a writer that has the dropped file open is seen by a read lease that is
 *   not given, and one that comes while we read breaks it; where there are no
 *   leases (NFS, FUSE), times and size of the file before and after must be
 *   the same;
 * - the copy is hashed as it is read, written under another name, synced,
 *   and renamed: under the name of a hash there is never anything else.  A
 *   crash leaves a file of the other kind behind, which store_sweep() takes.
 *
 * What makes it safe: the name is one component, never a link, and what it
 * names is checked on the descriptor that is read.  Nothing is ever chmoded
 * or chowned but what was made here.
 */


#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shortage.h"
#include "store.h"


#define STORE_DIRECTORY  "store"
#define STORE_TEMPORARY  "tmp."
#define STORE_MAX_SIZE   (1024u * 1024 * 1024)
#define STORE_BUFFER     (64 * 1024)
#define STORE_HASH_SIZE  64

#define STORE_OK         0
#define STORE_ERROR     -1
#define STORE_AGAIN     -2
#define STORE_SHORT     -3


static int store_begin(int dir, const char *name, uid_t owner, uid_t deployer,
    struct stat *st, int *leased, char *why);
static int store_read_whole(int fd, char *p, size_t size, char *why);
static int store_open_source(int dir, const char *name, struct stat *st,
    char *why);
static int store_trusted(const struct stat *st, uid_t owner, uid_t deployer,
    char *why);
static int store_lease(int fd, int *leased, char *why);
static int store_unchanged(int fd, const struct stat *before, int leased);
static int store_copy(int from, int to, uint64_t size, char *sha256,
    char *why);
static int store_write(int fd, const char *p, size_t n);
static int store_hash(int fd, uint64_t size, char *sha256);
static void store_hex(const unsigned char *hash, size_t n, char *sha256);
static int store_place(int store, const char *temporary,
    store_object_t *object, char *why);
static int store_is_whole(int fd, const store_object_t *object);
static int store_is_name(const char *name);
static int store_failed(char *why, const char *what);
static int store_why(char *why, const char *format, ...)
    __attribute__((format(printf, 2, 3)));


int
store_open(int state_dir)
{
    int          fd, error;
    struct stat  st;

    if (mkdirat(state_dir, STORE_DIRECTORY, 0700) == 0) {
        (void) fsync(state_dir);

    } else if (errno != EEXIST) {
        return -1;
    }

    fd = openat(state_dir, STORE_DIRECTORY,
                O_RDONLY|O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC);
    if (fd == -1) {
        return -1;
    }

    if (fstat(fd, &st) == -1) {
        goto failed;
    }

    /* what others may write to proves nothing */

    if (st.st_uid != geteuid()) {
        errno = EPERM;
        goto failed;
    }

    if ((st.st_mode & 07777) != 0700 && fchmod(fd, 0700) == -1) {
        goto failed;
    }

    return fd;

failed:

    error = errno;
    (void) close(fd);
    errno = error;

    return -1;
}


int
store_take(int store, int functions_dir, const char *name, uid_t owner,
    uid_t deployer, store_object_t *object, char *why)
{
    int          from, to, rc, leased;
    char         temporary[32];
    struct stat  st;

    to = -1;
    object->fd = -1;
    why[0] = '\0';

    from = store_begin(functions_dir, name, owner, deployer, &st, &leased,
                       why);
    if (from < 0) {
        return from;
    }

    if (st.st_size == 0) {
        rc = store_why(why, "the file is empty");
        goto done;
    }

    if (st.st_size > (off_t) STORE_MAX_SIZE) {
        rc = store_why(why, "the file is larger than 1 GiB");
        goto done;
    }

    (void) snprintf(temporary, sizeof(temporary), STORE_TEMPORARY "%ld",
                    (long) getpid());
    (void) unlinkat(store, temporary, 0);

    to = openat(store, temporary,
                O_WRONLY|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC, 0600);
    if (to == -1) {
        rc = store_failed(why, "cannot make a copy in the store");
        goto done;
    }

    object->size = (uint64_t) st.st_size;

    rc = store_copy(from, to, object->size, object->sha256, why);
    if (rc != STORE_OK) {
        goto done;
    }

    if (!store_unchanged(from, &st, leased)) {
        (void) store_why(why, "the file changed while it was read");
        rc = STORE_AGAIN;
        goto done;
    }

    /* a function's user opens it again through the descriptor it is given,
       the directory keeps everybody else away */

    if (fchmod(to, 0444) == -1 || fsync(to) == -1) {
        rc = store_failed(why, "cannot write the copy in the store");
        goto done;
    }

    rc = store_place(store, temporary, object, why);

done:

    if (to != -1) {
        (void) close(to);

        if (rc != STORE_OK) {
            (void) unlinkat(store, temporary, 0);
        }
    }

    /* with it the lease is gone */

    (void) close(from);

    return rc;
}


int
store_read(int functions_dir, const char *name, uid_t owner, uid_t deployer,
    size_t most, char **data, size_t *size, char *why)
{
    int          fd, rc, leased;
    char        *p;
    struct stat  st;

    why[0] = '\0';

    fd = store_begin(functions_dir, name, owner, deployer, &st, &leased, why);
    if (fd < 0) {
        return fd;
    }

    p = NULL;

    if ((uint64_t) st.st_size > most) {
        rc = store_why(why, "the file is larger than %zu bytes", most);
        goto failed;
    }

    *size = (size_t) st.st_size;
    p = malloc(*size + 1);

    if (p == NULL) {
        rc = store_failed(why, "cannot keep the file");
        goto failed;
    }

    rc = store_read_whole(fd, p, *size, why);

    if (rc == STORE_OK && !store_unchanged(fd, &st, leased)) {
        (void) store_why(why, "the file changed while it was read");
        rc = STORE_AGAIN;
    }

    if (rc != STORE_OK) {
        goto failed;
    }

    (void) close(fd);

    p[*size] = '\0';
    *data = p;

    return STORE_OK;

failed:

    free(p);
    (void) close(fd);

    return rc;
}


static int
store_read_whole(int fd, char *p, size_t size, char *why)
{
    size_t   done;
    ssize_t  n;

    for (done = 0; done < size; done += (size_t) n) {

        n = pread(fd, p + done, size - done, (off_t) done);

        if (n == -1 && errno == EINTR) {
            n = 0;
            continue;
        }

        if (n == -1) {
            return store_failed(why, "cannot read the file");
        }

        if (n == 0) {
            (void) store_why(why, "the file changed while it was read");
            return STORE_AGAIN;
        }
    }

    return STORE_OK;
}


/* a file that may be trusted and is not being written, with what it was like
   when that was so; a descriptor, or STORE_ERROR, STORE_AGAIN, STORE_SHORT */

static int
store_begin(int dir, const char *name, uid_t owner, uid_t deployer,
    struct stat *st, int *leased, char *why)
{
    int  fd, rc;

    memset(st, 0, sizeof(struct stat));
    *leased = 0;

    fd = store_open_source(dir, name, st, why);
    if (fd < 0) {
        return fd;
    }

    rc = store_trusted(st, owner, deployer, why);

    if (rc == STORE_OK) {
        rc = store_lease(fd, leased, why);
    }

    if (rc == STORE_OK && fstat(fd, st) == -1) {
        rc = store_failed(why, "fstat() failed");
    }

    if (rc == STORE_OK) {
        rc = store_trusted(st, owner, deployer, why);
    }

    if (rc != STORE_OK) {
        (void) close(fd);
        return rc;
    }

    return fd;
}


/* a descriptor, or STORE_ERROR, STORE_AGAIN, STORE_SHORT */

static int
store_open_source(int dir, const char *name, struct stat *st, char *why)
{
    int  fd, rc;

    if (name[0] == '\0' || strchr(name, '/') != NULL
        || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
    {
        return store_why(why, "not the name of a file");
    }

    /* looked at before it is opened: to open a device can do something */

    if (fstatat(dir, name, st, AT_SYMLINK_NOFOLLOW) == -1) {
        goto failed;
    }

    if (S_ISLNK(st->st_mode)) {
        return store_why(why, "a symbolic link, not a regular file");
    }

    if (!S_ISREG(st->st_mode)) {
        return store_why(why, "not a regular file");
    }

    fd = openat(dir, name, O_RDONLY|O_NOFOLLOW|O_NONBLOCK|O_NOCTTY|O_CLOEXEC);

    if (fd == -1) {
        goto failed;
    }

    if (fstat(fd, st) == -1) {
        rc = store_failed(why, "fstat() failed");
        (void) close(fd);
        return rc;
    }

    return fd;

failed:

    if (errno == ENOENT) {
        (void) store_why(why, "the file is gone");
        return STORE_AGAIN;
    }

    return store_failed(why, "cannot open the file");
}


/* the rule whose files may become functions, on what was opened */

static int
store_trusted(const struct stat *st, uid_t owner, uid_t deployer, char *why)
{
    if (!S_ISREG(st->st_mode)) {
        return store_why(why, "not a regular file");
    }

    if (st->st_uid != 0 && st->st_uid != owner
        && (deployer == (uid_t) -1 || st->st_uid != deployer))
    {
        return store_why(why, "owned by uid %lu, who is neither root, nor who"
                         " started nginx, nor faas_deployer",
                         (unsigned long) st->st_uid);
    }

    if (st->st_mode & (S_IWGRP|S_IWOTH)) {
        return store_why(why, "writable by group or others (mode %04o)",
                         (unsigned int) (st->st_mode & 07777));
    }

    if (st->st_nlink == 0) {
        (void) store_why(why, "the file is gone");
        return STORE_AGAIN;
    }

    /* a second name may be anywhere, and whoever owns a directory can give
       one to a file that was never meant to be a function */

    if (st->st_nlink > 1) {
        return store_why(why, "the file has %lu hard links",
                         (unsigned long) st->st_nlink);
    }

    return STORE_OK;
}


/*
 * STORE_AGAIN when somebody has the file open for writing.  The signal of a
 * broken lease is one that is ignored by default; the writer waits only until
 * the descriptor is closed.
 */

static int
store_lease(int fd, int *leased, char *why)
{
    *leased = 0;

    if (fcntl(fd, F_SETSIG, SIGURG) == -1) {
        return STORE_OK;
    }

    if (fcntl(fd, F_SETLEASE, F_RDLCK) == 0) {
        *leased = 1;
        return STORE_OK;
    }

    if (errno == EAGAIN) {
        (void) store_why(why, "the file is being written");
        return STORE_AGAIN;
    }

    return STORE_OK;
}


static int
store_unchanged(int fd, const struct stat *before, int leased)
{
    struct stat  st;

    if (leased && fcntl(fd, F_GETLEASE) != F_RDLCK) {
        return 0;
    }

    return fstat(fd, &st) == 0
           && st.st_size == before->st_size
           && st.st_mode == before->st_mode
           && st.st_uid == before->st_uid
           && st.st_mtim.tv_sec == before->st_mtim.tv_sec
           && st.st_mtim.tv_nsec == before->st_mtim.tv_nsec
           && st.st_ctim.tv_sec == before->st_ctim.tv_sec
           && st.st_ctim.tv_nsec == before->st_ctim.tv_nsec;
}


/* copies to `to`, or only reads when that is -1 */

static int
store_copy(int from, int to, uint64_t size, char *sha256, char *why)
{
    int             rc;
    char            buf[STORE_BUFFER];
    ssize_t         n;
    uint64_t        done;
    EVP_MD_CTX     *md;
    unsigned int    length;
    unsigned char   hash[EVP_MAX_MD_SIZE];

    done = 0;

    md = EVP_MD_CTX_new();

    if (md == NULL || EVP_DigestInit_ex(md, EVP_sha256(), NULL) != 1) {
        goto digest;
    }

    for ( ;; ) {
        n = pread(from, buf, sizeof(buf), (off_t) done);

        if (n == -1 && errno == EINTR) {
            continue;
        }

        if (n == -1) {
            rc = store_failed(why, "cannot read the file");
            goto done;
        }

        done += (uint64_t) n;

        if (n == 0 || done > size) {
            break;
        }

        if (EVP_DigestUpdate(md, buf, (size_t) n) != 1) {
            goto digest;
        }

        if (to != -1 && store_write(to, buf, (size_t) n) == -1) {
            rc = store_failed(why, "cannot write the copy in the store");
            goto done;
        }
    }

    if (done != size) {
        (void) store_why(why, "the file changed while it was read");
        rc = STORE_AGAIN;
        goto done;
    }

    if (EVP_DigestFinal_ex(md, hash, &length) != 1) {
        goto digest;
    }

    store_hex(hash, length, sha256);
    rc = STORE_OK;

done:

    EVP_MD_CTX_free(md);

    return rc;

digest:

    /* it takes nothing but memory */

    errno = ENOMEM;
    rc = store_failed(why, "sha256 failed");
    goto done;
}


static int
store_write(int fd, const char *p, size_t n)
{
    ssize_t  written;

    while (n > 0) {
        written = write(fd, p, n);

        if (written == -1) {
            if (errno == EINTR) {
                continue;
            }

            return -1;
        }

        p += written;
        n -= (size_t) written;
    }

    return 0;
}


static int
store_hash(int fd, uint64_t size, char *sha256)
{
    char  why[STORE_WHY_SIZE];

    return store_copy(fd, -1, size, sha256, why);
}


int
store_sha256(const void *data, size_t n, char *sha256)
{
    unsigned int   length;
    unsigned char  hash[EVP_MAX_MD_SIZE];

    if (EVP_Digest(data, n, hash, &length, EVP_sha256(), NULL) != 1) {
        return STORE_ERROR;
    }

    store_hex(hash, length, sha256);

    return STORE_OK;
}


static void
store_hex(const unsigned char *hash, size_t n, char *sha256)
{
    size_t  i;

    static const char  hex[] = "0123456789abcdef";

    for (i = 0; i < n; i++) {
        *sha256++ = hex[hash[i] >> 4];
        *sha256++ = hex[hash[i] & 0xf];
    }

    *sha256 = '\0';
}


/* gives the copy its name, unless it is there; the one that stays is opened */

static int
store_place(int store, const char *temporary, store_object_t *object,
    char *why)
{
    int  fd, rc;

    fd = store_get(store, object->sha256);

    if (fd != -1) {

        if (store_is_whole(fd, object)) {
            (void) unlinkat(store, temporary, 0);
            object->fd = fd;
            return STORE_OK;
        }

        /* what a broken disk left; whoever maps it keeps its inode */

        (void) close(fd);
    }

    fd = openat(store, temporary, O_RDONLY|O_NOFOLLOW|O_CLOEXEC);

    if (fd == -1
        || renameat(store, temporary, store, object->sha256) == -1
        || fsync(store) == -1)
    {
        rc = store_failed(why, "cannot place the copy in the store");

        if (fd != -1) {
            (void) close(fd);
        }

        return rc;
    }

    object->fd = fd;

    return STORE_OK;
}


static int
store_is_whole(int fd, const store_object_t *object)
{
    char         sha256[STORE_HASH_SIZE + 1];
    struct stat  st;

    return fstat(fd, &st) == 0
           && (uint64_t) st.st_size == object->size
           && store_hash(fd, object->size, sha256) == STORE_OK
           && strcmp(sha256, object->sha256) == 0;
}


int
store_get(int store, const char *sha256)
{
    int          fd;
    struct stat  st;

    if (!store_is_name(sha256)) {
        errno = EINVAL;
        return -1;
    }

    fd = openat(store, sha256, O_RDONLY|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC);
    if (fd == -1) {
        return -1;
    }

    if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode)) {
        (void) close(fd);
        errno = EINVAL;
        return -1;
    }

    return fd;
}


static int
store_is_name(const char *name)
{
    return strspn(name, "0123456789abcdef") == STORE_HASH_SIZE
           && name[STORE_HASH_SIZE] == '\0';
}


int
store_sweep(int store, int (*keep)(const char *sha256, void *data),
    void *data)
{
    int             fd, gone;
    DIR            *dir;
    struct dirent  *entry;

    /* a directory stream of its own, with its own position */

    fd = openat(store, ".", O_RDONLY|O_DIRECTORY|O_CLOEXEC);
    if (fd == -1) {
        return -1;
    }

    dir = fdopendir(fd);
    if (dir == NULL) {
        (void) close(fd);
        return -1;
    }

    gone = 0;

    while ((entry = readdir(dir)) != NULL) {

        if (store_is_name(entry->d_name)) {
            if (keep(entry->d_name, data)) {
                continue;
            }

        } else if (strncmp(entry->d_name, STORE_TEMPORARY,
                           sizeof(STORE_TEMPORARY) - 1)
                   != 0)
        {
            continue;
        }

        if (unlinkat(store, entry->d_name, 0) == 0) {
            gone++;
        }
    }

    (void) closedir(dir);

    return gone;
}


/* of a system call, by errno */

static int
store_failed(char *why, const char *what)
{
    int  error;

    error = errno;
    (void) store_why(why, "%s: %s", what, strerror(error));

    return is_shortage(error) ? STORE_SHORT : STORE_ERROR;
}


static int
store_why(char *why, const char *format, ...)
{
    va_list  args;

    va_start(args, format);
    (void) vsnprintf(why, STORE_WHY_SIZE, format, args);
    va_end(args);

    return STORE_ERROR;
}

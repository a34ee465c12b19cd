/* objects: worker/store.c */
/* libs: -lcrypto */

/*
 * The code store: what is refused, that a copy is whole or not there, also
 * under writers, kills and failing system calls.
 */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store.h"


#define NOBODY  ((uid_t) 65534)


typedef struct {
    char            path[64];
    int             root;          /* of the test's files */
    int             functions;
    int             store;
    store_object_t  object;
    char            why[STORE_WHY_SIZE];
} test_t;


static void
put(int dir, const char *name, const void *data, size_t n)
{
    int  fd;

    fd = openat(dir, name, O_WRONLY|O_CREAT|O_TRUNC, 0644);
    assert_true(fd != -1);
    assert_int_equal(write(fd, data, n), n);
    assert_int_equal(close(fd), 0);
}


static int
take(test_t *t, const char *name)
{
    return store_take(t->store, t->functions, name, geteuid(), (uid_t) -1,
                      &t->object, t->why);
}


static void
refused(test_t *t, const char *name, const char *why)
{
    assert_int_equal(take(t, name), -1);
    assert_int_equal(t->object.fd, -1);

    if (strstr(t->why, why) == NULL) {
        fail_msg("\"%s\" is refused with \"%s\", not \"%s\"", name, t->why,
                 why);
    }
}


/* calls each for every name in the directory; returns how many there are */

static int
list(int dir, void (*each)(int dir, const char *name))
{
    int             n;
    DIR            *d;
    struct dirent  *entry;

    d = fdopendir(openat(dir, ".", O_RDONLY|O_DIRECTORY));
    assert_non_null(d);

    n = 0;

    while ((entry = readdir(d)) != NULL) {
        if (entry->d_name[0] == '.') {
            continue;
        }

        n++;

        if (each != NULL) {
            each(dir, entry->d_name);
        }
    }

    closedir(d);

    return n;
}


static int
descriptors(void)
{
    int  dir, n;

    dir = open("/proc/self/fd", O_RDONLY|O_DIRECTORY);
    n = list(dir, NULL);
    close(dir);

    return n;
}


/* that a file named by a hash has that hash */

static void
whole(int dir, const char *name)
{
    int             fd;
    char            hex[65], *data;
    size_t          i;
    struct stat     st;
    unsigned char   hash[EVP_MAX_MD_SIZE];

    if (strncmp(name, "tmp.", 4) == 0) {
        return;
    }

    fd = openat(dir, name, O_RDONLY|O_NOFOLLOW);
    assert_true(fd != -1);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0444);

    data = malloc((size_t) st.st_size + 1);
    assert_non_null(data);
    assert_int_equal(read(fd, data, (size_t) st.st_size), st.st_size);

    assert_int_equal(EVP_Digest(data, (size_t) st.st_size, hash, NULL,
                                EVP_sha256(), NULL), 1);

    for (i = 0; i < 32; i++) {
        snprintf(hex + 2 * i, 3, "%02x", hash[i]);
    }

    assert_string_equal(hex, name);

    free(data);
    close(fd);
}


static int
setup(void **state)
{
    test_t  *t;

    t = calloc(1, sizeof(test_t));
    assert_non_null(t);

    umask(022);
    strcpy(t->path, "/tmp/faas_test_store.XXXXXX");
    assert_non_null(mkdtemp(t->path));

    t->root = open(t->path, O_RDONLY|O_DIRECTORY);
    assert_true(t->root != -1);
    assert_int_equal(mkdirat(t->root, "functions", 0755), 0);

    t->functions = openat(t->root, "functions", O_RDONLY|O_DIRECTORY);
    assert_true(t->functions != -1);

    t->store = store_open(t->root);
    assert_true(t->store != -1);

    *state = t;

    return 0;
}


static void
remove_it(int dir, const char *name)
{
    (void) unlinkat(dir, name, 0);
    (void) unlinkat(dir, name, AT_REMOVEDIR);
}


static int
teardown(void **state)
{
    test_t  *t = *state;

    list(t->functions, remove_it);
    list(t->store, remove_it);
    list(t->root, remove_it);

    close(t->functions);
    close(t->store);
    close(t->root);

    assert_int_equal(rmdir(t->path), 0);
    free(t);

    return 0;
}


static void
test_taken_file_is_found_by_its_hash(void **state)
{
    int          fd, before;
    char         buf[8];
    test_t      *t = *state;
    struct stat  st;

    put(t->functions, "hello.so", "hello", 5);
    before = descriptors();

    assert_int_equal(take(t, "hello.so"), 0);
    assert_string_equal(t->object.sha256,
        "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
    assert_int_equal(t->object.size, 5);
    assert_int_equal(read(t->object.fd, buf, sizeof(buf)), 5);
    assert_memory_equal(buf, "hello", 5);

    /* it is the store's, for reading only, and dies with an exec */

    assert_int_equal(fcntl(t->object.fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    assert_int_equal(fcntl(t->object.fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(fstat(t->object.fd, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0444);
    close(t->object.fd);

    put(t->functions, "hello.so", "other", 5);

    fd = store_get(t->store, t->object.sha256);
    assert_true(fd != -1);
    assert_int_equal(read(fd, buf, sizeof(buf)), 5);
    assert_memory_equal(buf, "hello", 5);
    close(fd);

    assert_int_equal(list(t->store, NULL), 1);
    assert_int_equal(descriptors(), before);
}


static void
test_same_content_is_kept_once(void **state)
{
    test_t      *t = *state;
    struct stat  first, second;

    put(t->functions, "a.so", "content", 7);
    put(t->functions, "b.so", "content", 7);

    assert_int_equal(take(t, "a.so"), 0);
    assert_int_equal(fstat(t->object.fd, &first), 0);
    close(t->object.fd);

    assert_int_equal(take(t, "b.so"), 0);
    assert_int_equal(fstat(t->object.fd, &second), 0);
    close(t->object.fd);

    assert_int_equal(first.st_ino, second.st_ino);
    assert_int_equal(list(t->store, NULL), 1);
}


static void
test_damaged_copy_is_replaced(void **state)
{
    int          fd;
    char         buf[8];
    test_t      *t = *state;
    struct stat  st;

    put(t->functions, "a.so", "content", 7);
    assert_int_equal(take(t, "a.so"), 0);

    /* who maps the damaged one keeps it */

    fd = openat(t->store, t->object.sha256, O_RDONLY);
    assert_true(fd != -1);
    assert_int_equal(fchmod(fd, 0644), 0);
    put(t->store, t->object.sha256, "broken!", 7);
    close(t->object.fd);

    assert_int_equal(take(t, "a.so"), 0);
    assert_int_equal(read(t->object.fd, buf, sizeof(buf)), 7);
    assert_memory_equal(buf, "content", 7);
    close(t->object.fd);

    assert_int_equal(read(fd, buf, sizeof(buf)), 7);
    assert_memory_equal(buf, "broken!", 7);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_nlink, 0);
    close(fd);

    assert_int_equal(list(t->store, whole), 1);
}


static void
test_large_file_is_taken_whole(void **state)
{
    char    *data;
    size_t   i, n;
    test_t  *t = *state;

    static const size_t  sizes[] = {
        1, 65535, 65536, 65537, 131072, 3 * 1024 * 1024 + 11
    };

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        data = malloc(sizes[i]);
        assert_non_null(data);

        for (n = 0; n < sizes[i]; n++) {
            data[n] = (char) (n * 2654435761u >> 11);
        }

        put(t->functions, "big.so", data, sizes[i]);
        assert_int_equal(take(t, "big.so"), 0);
        assert_int_equal(t->object.size, sizes[i]);
        close(t->object.fd);
        free(data);
    }

    assert_int_equal(list(t->store, whole), i);
}


static void
test_what_is_no_trusted_file_is_refused(void **state)
{
    int                 fd;
    test_t             *t = *state;
    struct sockaddr_un  sun;

    put(t->functions, "good.so", "x", 1);

    assert_int_equal(symlinkat("good.so", t->functions, "link.so"), 0);
    refused(t, "link.so", "symbolic link");

    assert_int_equal(symlinkat("/nowhere", t->functions, "dangling.so"), 0);
    refused(t, "dangling.so", "symbolic link");

    assert_int_equal(mkfifoat(t->functions, "fifo.so", 0644), 0);
    refused(t, "fifo.so", "not a regular file");

    assert_int_equal(mkdirat(t->functions, "dir.so", 0755), 0);
    refused(t, "dir.so", "not a regular file");

    sun.sun_family = AF_UNIX;
    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/functions/socket.so",
             t->path);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *) &sun, sizeof(sun)), 0);
    close(fd);
    refused(t, "socket.so", "not a regular file");

    if (geteuid() == 0
        && mknodat(t->functions, "device.so", S_IFCHR|0644, 0x103) == 0)
    {
        refused(t, "device.so", "not a regular file");
    }

    put(t->functions, "empty.so", "", 0);
    refused(t, "empty.so", "empty");

    assert_int_equal(fchmodat(t->functions, "good.so", 0664, 0), 0);
    refused(t, "good.so", "writable by group or others (mode 0664)");
    assert_int_equal(fchmodat(t->functions, "good.so", 0646, 0), 0);
    refused(t, "good.so", "writable by group or others (mode 0646)");
    assert_int_equal(fchmodat(t->functions, "good.so", 0644, 0), 0);

    assert_int_equal(linkat(t->functions, "good.so", t->root, "second", 0),
                     0);
    refused(t, "good.so", "has 2 hard links");
    assert_int_equal(unlinkat(t->root, "second", 0), 0);

    refused(t, "", "name");
    refused(t, ".", "name");
    refused(t, "..", "name");
    refused(t, "../functions/good.so", "name");
    refused(t, "/etc/passwd", "name");

    fd = openat(t->functions, "huge.so", O_WRONLY|O_CREAT, 0644);
    assert_int_equal(ftruncate(fd, 1024l * 1024 * 1024 + 1), 0);
    close(fd);
    refused(t, "huge.so", "larger than 1 GiB");

    assert_int_equal(list(t->store, NULL), 0);

    assert_int_equal(take(t, "good.so"), 0);
    close(t->object.fd);
}


static void
test_stranger_cannot_deploy(void **state)
{
    test_t  *t = *state;

    if (geteuid() != 0) {
        skip();
    }

    put(t->functions, "a.so", "x", 1);
    assert_int_equal(fchownat(t->functions, "a.so", NOBODY, 0, 0), 0);

    refused(t, "a.so", "owned by uid 65534");

    assert_int_equal(store_take(t->store, t->functions, "a.so", 0, 4242,
                                &t->object, t->why), -1);

    assert_int_equal(store_take(t->store, t->functions, "a.so", 0, NOBODY,
                                &t->object, t->why), 0);
    close(t->object.fd);

    assert_int_equal(store_take(t->store, t->functions, "a.so", NOBODY,
                                (uid_t) -1, &t->object, t->why), 0);
    close(t->object.fd);
}


static void
test_missing_file_is_no_error(void **state)
{
    test_t  *t = *state;

    assert_int_equal(take(t, "gone.so"), -2);
    assert_string_equal(t->why, "the file is gone");
    assert_int_equal(t->object.fd, -1);
}


/* 1 when this file system gives leases */

static int
has_leases(int dir, const char *name)
{
    int  fd, rc;

    fd = openat(dir, name, O_RDONLY);
    assert_true(fd != -1);
    rc = fcntl(fd, F_SETLEASE, F_RDLCK);
    close(fd);

    return rc == 0;
}


static void
test_file_open_for_writing_is_left_alone(void **state)
{
    int      fd;
    test_t  *t = *state;

    put(t->functions, "a.so", "half", 4);

    if (!has_leases(t->functions, "a.so")) {
        skip();
    }

    fd = openat(t->functions, "a.so", O_WRONLY|O_APPEND);
    assert_true(fd != -1);

    assert_int_equal(take(t, "a.so"), -2);
    assert_string_equal(t->why, "the file is being written");

    assert_int_equal(write(fd, "done", 4), 4);
    close(fd);

    assert_int_equal(take(t, "a.so"), 0);
    assert_int_equal(t->object.size, 8);
    close(t->object.fd);
}


/* overwrites a.so in place, over and over, with one letter of many */

static void
overwrite(test_t *t)
{
    int     fd;
    char   *data;
    char    letter;
    size_t  n;

    data = malloc(300000);

    for (letter = 'a'; ; letter = (letter == 'z') ? 'a' : letter + 1) {
        memset(data, letter, 300000);
        fd = openat(t->functions, "a.so", O_WRONLY|O_CREAT|O_TRUNC, 0644);

        for (n = 0; n < 300000; n += 50000) {
            if (write(fd, data + n, 50000) != 50000) {
                _exit(1);
            }
        }

        close(fd);
    }
}


static void
test_file_under_a_writer_is_taken_whole_or_not(void **state)
{
    int      i, taken, status;
    char    *data;
    pid_t    pid;
    size_t   n;
    test_t  *t = *state;

    put(t->functions, "a.so", "x", 1);

    if (!has_leases(t->functions, "a.so")) {
        skip();
    }

    data = malloc(300000);
    assert_non_null(data);

    pid = fork();

    if (pid == 0) {
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        overwrite(t);
    }

    /* on a busy machine the writer may stop for long with the file open */

    for (i = 0, taken = 0;
         (i < 20000 && taken < 200) || (i < 2000000 && taken == 0);
         i++)
    {

        switch (take(t, "a.so")) {

        case 0:
            taken++;
            assert_int_equal(read(t->object.fd, data, 300000),
                             t->object.size);
            assert_true(t->object.size == 300000 || t->object.size == 1);

            for (n = 1; n < t->object.size; n++) {
                assert_int_equal(data[n], data[0]);
            }

            close(t->object.fd);
            break;

        case -1:
            assert_string_equal(t->why, "the file is empty");
            break;

        default:
            (void) sched_yield();
            break;
        }
    }

    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_true(taken > 0);

    list(t->store, whole);
    free(data);
}


static int
keep_listed(const char *sha256, void *data)
{
    return strcmp(sha256, data) == 0;
}


static int
keep_all(const char *sha256, void *data)
{
    (void) sha256;
    (void) data;

    return 1;
}


static void
test_sweep_takes_what_is_not_wanted(void **state)
{
    char     kept[65];
    test_t  *t = *state;

    put(t->functions, "a.so", "a", 1);
    put(t->functions, "b.so", "b", 1);
    assert_int_equal(take(t, "a.so"), 0);
    close(t->object.fd);
    assert_int_equal(take(t, "b.so"), 0);
    close(t->object.fd);
    strcpy(kept, t->object.sha256);

    put(t->store, "tmp.4711", "half", 4);
    put(t->store, "README", "not ours", 8);

    assert_int_equal(store_sweep(t->store, keep_all, NULL), 1);
    assert_int_equal(store_sweep(t->store, keep_listed, kept), 1);
    assert_int_equal(store_sweep(t->store, keep_listed, kept), 0);

    assert_int_equal(store_get(t->store, kept) == -1, 0);
    assert_int_equal(faccessat(t->store, "README", F_OK, 0), 0);
    assert_int_equal(list(t->store, NULL), 2);
}


static void
test_get_takes_nothing_but_a_hash(void **state)
{
    char     name[65];
    test_t  *t = *state;

    assert_int_equal(store_get(t->store, "../functions"), -1);
    assert_int_equal(errno, EINVAL);
    assert_int_equal(store_get(t->store, ""), -1);
    assert_int_equal(errno, EINVAL);

    memset(name, 'a', 64);
    name[64] = '\0';
    assert_int_equal(store_get(t->store, name), -1);
    assert_int_equal(errno, ENOENT);

    assert_int_equal(symlinkat("/etc/passwd", t->store, name), 0);
    assert_int_equal(store_get(t->store, name), -1);
    assert_int_equal(errno, ELOOP);

    name[63] = 'F';
    assert_int_equal(store_get(t->store, name), -1);
    assert_int_equal(errno, EINVAL);
}


static void
test_store_is_ours_and_closed_to_others(void **state)
{
    int          fd;
    test_t      *t = *state;
    struct stat  st;

    assert_int_equal(fstat(t->store, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);

    assert_int_equal(fchmod(t->store, 0755), 0);
    fd = store_open(t->root);
    assert_true(fd != -1);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    close(fd);

    assert_int_equal(renameat(t->root, "store", t->root, "moved"), 0);
    assert_int_equal(symlinkat("functions", t->root, "store"), 0);
    assert_int_equal(store_open(t->root), -1);
    assert_int_equal(fstat(t->functions, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0755);
    assert_int_equal(unlinkat(t->root, "store", 0), 0);
    assert_int_equal(renameat(t->root, "moved", t->root, "store"), 0);

    if (geteuid() == 0) {
        assert_int_equal(fchown(t->store, NOBODY, 0), 0);
        assert_int_equal(store_open(t->root), -1);
        assert_int_equal(errno, EPERM);
        assert_int_equal(fchown(t->store, 0, 0), 0);
    }
}


static void
test_failed_write_leaves_nothing(void **state)
{
    char           *data;
    int             before;
    test_t         *t = *state;
    struct rlimit   old, limit;

    data = calloc(1, 200000);
    assert_non_null(data);
    put(t->functions, "a.so", data, 200000);
    free(data);

    before = descriptors();

    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    limit = old;
    limit.rlim_cur = 100000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);

    refused(t, "a.so", "cannot write the copy in the store: File too large");

    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_DFL);

    assert_int_equal(descriptors(), before);
    assert_int_equal(list(t->store, NULL), 0);

    assert_int_equal(take(t, "a.so"), 0);
    close(t->object.fd);
}


static void
test_lack_of_descriptors_leaves_nothing(void **state)
{
    int            n, rc, failed, before;
    test_t        *t = *state;
    struct rlimit  old, limit;

    put(t->functions, "a.so", "content", 7);
    before = descriptors();

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    limit = old;
    failed = 0;

    for (n = 0; n < 64; n++) {
        limit.rlim_cur = (rlim_t) n;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        rc = take(t, "a.so");
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);

        assert_int_equal(descriptors(), before + (rc == 0));

        if (rc == 0) {
            break;
        }

        failed++;
        assert_int_equal(rc, -3);
        assert_non_null(strstr(t->why, "Too many open files"));
        assert_int_equal(list(t->store, NULL), 0);
    }

    assert_int_equal(rc, 0);
    assert_true(failed > 3);
    close(t->object.fd);
}


static void
test_killed_copy_leaves_only_what_sweep_takes(void **state)
{
    int        i, n, status;
    char      *data;
    pid_t      pid;
    test_t    *t = *state;
    uint64_t   round;

    data = calloc(1, 400000);
    assert_non_null(data);

    for (i = 0; i < 60; i++) {

        pid = fork();

        if (pid == 0) {
            (void) prctl(PR_SET_PDEATHSIG, SIGKILL);

            for (round = 0; ; round++) {
                memcpy(data, &round, sizeof(round));
                put(t->functions, "a.so", data, 400000);

                if (take(t, "a.so") == 0) {
                    close(t->object.fd);
                }
            }
        }

        /* at any moment: the busy wait is what makes the moments differ */

        for (n = 0; n < i * 2000; n++) {
            (void) getppid();
        }

        while (i % 3 == 0 && list(t->store, NULL) == 0) {
            (void) getppid();
        }

        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));

        list(t->store, whole);
        store_sweep(t->store, keep_all, NULL);
        n = list(t->store, whole);
        assert_int_equal(store_sweep(t->store, keep_listed, (void *) ""), n);
    }

    free(data);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
#define test(f)  cmocka_unit_test_setup_teardown(f, setup, teardown)
        test(test_taken_file_is_found_by_its_hash),
        test(test_same_content_is_kept_once),
        test(test_damaged_copy_is_replaced),
        test(test_large_file_is_taken_whole),
        test(test_what_is_no_trusted_file_is_refused),
        test(test_stranger_cannot_deploy),
        test(test_missing_file_is_no_error),
        test(test_file_open_for_writing_is_left_alone),
        test(test_file_under_a_writer_is_taken_whole_or_not),
        test(test_sweep_takes_what_is_not_wanted),
        test(test_get_takes_nothing_but_a_hash),
        test(test_store_is_ours_and_closed_to_others),
        test(test_failed_write_leaves_nothing),
        test(test_lack_of_descriptors_leaves_nothing),
        test(test_killed_copy_leaves_only_what_sweep_takes)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

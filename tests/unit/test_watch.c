/* objects: worker/watch.c */

/*
 * The watched directory.  The clock is the test's own; inotify queues an
 * event before the call that causes it returns, so nothing here waits.
 */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "watch.h"


typedef struct {
    char       root[64];
    char       path[80];           /* of the functions directory */
    watch_t   *watch;
    uint64_t   now;
    char       log[4096];          /* what was reported: "+a.so -b.so" */
    char       why[256];           /* of the last refusal */
    int        again;              /* how often to ask for another report */
} test_t;


static void
report(void *data, watch_event_e event, const char *name, const char *why)
{
    size_t   n;
    test_t  *t = data;

    static const char  sign[] = "?+-!";

    n = strlen(t->log);
    snprintf(t->log + n, sizeof(t->log) - n, "%s%c%s", (n == 0) ? "" : " ",
             sign[event], name);

    if (event == WATCH_REFUSED) {
        snprintf(t->why, sizeof(t->why), "%s", why);

    } else {
        assert_string_equal(why, "");
    }

    if (t->again > 0) {
        t->again--;
        watch_again(t->watch, name, t->now);
    }
}


/* after ms more; the answer is what was reported */

static const char *
after(test_t *t, uint64_t ms)
{
    t->now += ms;
    t->log[0] = '\0';
    watch_run(t->watch, t->now);
    assert_true(watch_next(t->watch) > t->now);

    return t->log;
}


/* events are read, then what they made due is looked at */

static const char *
settled(test_t *t)
{
    assert_string_equal(after(t, 1), "");

    return after(t, 50);
}


static const char *
in(test_t *t, const char *name)
{
    static char  path[512];

    snprintf(path, sizeof(path), "%s/%s", t->path, name);

    return path;
}


static void
put(test_t *t, const char *name, const char *text)
{
    int  fd;

    fd = open(in(t, name), O_WRONLY|O_CREAT|O_TRUNC, 0644);
    assert_true(fd != -1);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}


static void
take_away(test_t *t, const char *name)
{
    assert_int_equal(unlink(in(t, name)), 0);
}


static int
setup(void **state)
{
    test_t  *t;

    t = calloc(1, sizeof(test_t));
    assert_non_null(t);

    strcpy(t->root, "/tmp/faas_test_watch.XXXXXX");
    assert_non_null(mkdtemp(t->root));
    snprintf(t->path, sizeof(t->path), "%s/functions", t->root);

    t->now = 1000000;
    *state = t;

    return 0;
}


static void
begin(test_t *t)
{
    assert_int_equal(mkdir(t->path, 0755), 0);
    t->watch = watch_create(t->path, report, t);
    assert_non_null(t->watch);
    assert_true(watch_directory(t->watch) != -1);
    assert_true(watch_next(t->watch) <= t->now);
    assert_string_equal(after(t, 0), "");
}


static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void) st;
    (void) type;
    (void) ftw;

    return remove(path);
}


static int
teardown(void **state)
{
    test_t  *t = *state;

    watch_destroy(t->watch);
    assert_int_equal(nftw(t->root, remove_one, 8, FTW_DEPTH|FTW_PHYS), 0);
    free(t);

    return 0;
}


static void
test_names_of_functions(void **state)
{
    char    name[64], label[64], file[300];
    size_t  i;

    static const struct {
        const char  *file;
        const char  *name;
        const char  *label;
    } good[] = {
        { "hello.so", "hello", "" },
        { "a.so", "a", "" },
        { "0.so", "0", "" },
        { "a_b-c.so", "a_b-c", "" },
        { "hello@blue.so", "hello", "blue" },
        { "hello@1.so", "hello", "1" }
    };

    static const char *const  bad[] = {
        "", ".so", "so", "hello", "hello.s", "hello.so ", "Hello.so",
        "-a.so", "_a.so", "a.b.so", "a b.so", "../a.so", "a/b.so", "@a.so",
        "a@.so", "a@b@c.so", "a@-b.so", "a@B.so", "a\n.so", "caf\303\251.so",
        "a.so.so", "a.fcgi", "hello.so.so", "a%00.so"
    };

    (void) state;

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(watch_parse_name(good[i].file, name, label), 0);
        assert_string_equal(name, good[i].name);
        assert_string_equal(label, good[i].label);
    }

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (watch_parse_name(bad[i], name, label) != -1) {
            fail_msg("\"%s\" is taken for a function", bad[i]);
        }
    }

    memset(file, 'a', sizeof(file));
    strcpy(file + 63, ".so");
    assert_int_equal(watch_parse_name(file, name, label), 0);
    assert_int_equal(strlen(name), 63);

    memset(file, 'a', sizeof(file));
    strcpy(file + 64, ".so");
    assert_int_equal(watch_parse_name(file, name, label), -1);

    memset(file, 'a', sizeof(file));
    file[63] = '@';
    strcpy(file + 127, ".so");
    assert_int_equal(watch_parse_name(file, name, label), 0);
    assert_int_equal(strlen(label), 63);
}


static void
test_files_found_at_first_look_in_order(void **state)
{
    test_t  *t = *state;

    assert_int_equal(mkdir(t->path, 0755), 0);
    put(t, "b.so", "x");
    put(t, "a.so", "x");
    put(t, "a@blue.so", "x");
    put(t, "notes.txt", "x");
    put(t, ".b.so", "x");
    put(t, "b.so.tmp", "x");

    t->watch = watch_create(t->path, report, t);
    assert_non_null(t->watch);
    assert_string_equal(after(t, 0), "+a.so +a@blue.so +b.so");
    assert_string_equal(after(t, 1), "");
    assert_string_equal(after(t, 30000), "");
}


static void
test_new_and_changed_files_are_reported(void **state)
{
    test_t  *t = *state;

    begin(t);

    put(t, "a.so", "one");
    assert_string_equal(after(t, 1), "");
    assert_int_equal(watch_next(t->watch), t->now + 50);
    assert_string_equal(after(t, 50), "+a.so");

    put(t, "a.so", "two");
    assert_string_equal(settled(t), "+a.so");

    put(t, "b.so", "three");
    put(t, "c.so", "three");
    assert_string_equal(settled(t), "+b.so +c.so");

    /* by rename, the way install does it */

    put(t, "a.so.new", "four");
    assert_string_equal(settled(t), "");
    {
        char  new[512];

        strcpy(new, in(t, "a.so.new"));
        assert_int_equal(rename(new, in(t, "a.so")), 0);
    }
    assert_string_equal(settled(t), "+a.so");

    assert_int_equal(chmod(in(t, "a.so"), 0600), 0);
    assert_string_equal(settled(t), "+a.so");

    assert_string_equal(after(t, 40000), "");
}


static void
test_events_coalesce(void **state)
{
    int      i;
    test_t  *t = *state;

    begin(t);

    for (i = 0; i < 40; i++) {
        put(t, "a.so", (i % 2) ? "odd" : "even");
        assert_string_equal(after(t, 1), "");
    }

    assert_string_equal(after(t, 11), "+a.so");
    assert_string_equal(after(t, 1000), "");
}


static void
test_same_size_and_time_is_reported_after_a_write(void **state)
{
    test_t           *t = *state;
    struct timespec   times[2] = { { 1, 0 }, { 1, 0 } };

    begin(t);
    put(t, "a.so", "one");
    assert_int_equal(utimensat(AT_FDCWD, in(t, "a.so"), times, 0), 0);
    assert_string_equal(settled(t), "+a.so");

    put(t, "a.so", "two");
    assert_int_equal(utimensat(AT_FDCWD, in(t, "a.so"), times, 0), 0);
    assert_string_equal(settled(t), "+a.so");
}


static void
test_removal_counts_after_a_second(void **state)
{
    test_t  *t = *state;

    begin(t);
    put(t, "a.so", "one");
    put(t, "b.so", "one");
    assert_string_equal(settled(t), "+a.so +b.so");

    take_away(t, "a.so");
    assert_string_equal(settled(t), "");
    assert_int_equal(watch_next(t->watch), t->now + 1000);
    assert_string_equal(after(t, 999), "");
    assert_string_equal(after(t, 1), "-a.so");
    assert_string_equal(after(t, 5000), "");

    put(t, "a.so", "one");
    assert_string_equal(settled(t), "+a.so");
}


static void
test_reappearance_is_a_change(void **state)
{
    test_t  *t = *state;

    begin(t);
    put(t, "a.so", "one");
    assert_string_equal(settled(t), "+a.so");

    take_away(t, "a.so");
    assert_string_equal(settled(t), "");
    assert_string_equal(after(t, 900), "");

    put(t, "a.so", "two");
    assert_string_equal(settled(t), "+a.so");
    assert_string_equal(after(t, 3000), "");

    /* too fast to be seen missing */

    take_away(t, "a.so");
    put(t, "a.so", "three");
    assert_string_equal(settled(t), "+a.so");
}


static void
test_unfinished_file_waits_for_its_end(void **state)
{
    int      fd;
    test_t  *t = *state;

    begin(t);

    fd = open(in(t, "a.so"), O_WRONLY|O_CREAT, 0644);
    assert_true(fd != -1);
    assert_int_equal(write(fd, "half", 4), 4);
    assert_string_equal(settled(t), "");

    assert_int_equal(write(fd, "done", 4), 4);
    close(fd);
    assert_string_equal(settled(t), "+a.so");
}


static void
test_file_linked_when_written_is_found(void **state)
{
    int      fd;
    char     self[64];
    test_t  *t = *state;

    begin(t);

    fd = open(t->path, O_WRONLY|O_TMPFILE, 0644);
    if (fd == -1) {
        skip();
    }

    assert_int_equal(write(fd, "x", 1), 1);
    snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
    assert_int_equal(linkat(AT_FDCWD, self, AT_FDCWD, in(t, "a.so"),
                            AT_SYMLINK_FOLLOW), 0);
    close(fd);

    assert_string_equal(after(t, 1), "");
    assert_true(watch_next(t->watch) <= t->now + 500);
    assert_string_equal(after(t, 500), "+a.so");
}


static void
test_refused_names_are_told_once(void **state)
{
    char     name[300];
    test_t  *t = *state;

    begin(t);

    put(t, "Upper.so", "x");
    assert_string_equal(settled(t), "!Upper.so");
    assert_non_null(strstr(t->why, "not named NAME.so"));
    assert_string_equal(after(t, 31000), "");

    assert_int_equal(symlink("/etc/passwd", in(t, "link.so")), 0);
    assert_string_equal(settled(t), "!link.so");
    assert_string_equal(t->why, "a symbolic link, not a regular file");

    assert_int_equal(mkfifo(in(t, "fifo.so"), 0644), 0);
    assert_string_equal(settled(t), "!fifo.so");
    assert_string_equal(t->why, "not a regular file");

    assert_int_equal(mkdir(in(t, "dir.so"), 0755), 0);
    assert_string_equal(settled(t), "!dir.so");
    put(t, "dir.so/x", "x");
    assert_string_equal(after(t, 31000), "");

    put(t, "php.fcgi", "x");
    assert_string_equal(settled(t), "!php.fcgi");

    memset(name, 'a', sizeof(name));
    strcpy(name + 252, ".so");
    put(t, name, "x");
    assert_non_null(strstr(settled(t), "!aaaa"));

    put(t, "new\nline.so", "x");
    assert_string_equal(settled(t), "!new\nline.so");

    /* what is refused can become good, and is gone when it is gone */

    take_away(t, "link.so");
    put(t, "link.so", "x");
    assert_string_equal(settled(t), "+link.so");

    take_away(t, "fifo.so");
    assert_string_equal(settled(t), "");
    assert_string_equal(after(t, 1000), "-fifo.so");

    /* and the other way round */

    take_away(t, "link.so");
    assert_int_equal(symlink("/etc/passwd", in(t, "link.so")), 0);
    assert_string_equal(settled(t), "!link.so");
}


static void
test_directory_that_does_not_exist_yet(void **state)
{
    test_t  *t = *state;

    t->watch = watch_create(t->path, report, t);
    assert_non_null(t->watch);
    assert_int_equal(watch_directory(t->watch), -1);
    assert_string_equal(after(t, 0), "");
    assert_int_equal(watch_next(t->watch), t->now + 1000);
    assert_string_equal(after(t, 1000), "");

    assert_int_equal(mkdir(t->path, 0755), 0);
    put(t, "a.so", "x");
    assert_string_equal(settled(t), "+a.so");
    assert_true(watch_directory(t->watch) != -1);
    assert_int_equal(watch_next(t->watch), t->now + 30000);
}


static void
test_path_below_a_directory_that_does_not_exist_yet(void **state)
{
    char     path[96];
    test_t  *t = *state;

    snprintf(path, sizeof(path), "%s/deep//", t->path);
    t->watch = watch_create(path, report, t);
    assert_non_null(t->watch);
    assert_string_equal(after(t, 0), "");

    assert_int_equal(mkdir(t->path, 0755), 0);
    assert_int_equal(mkdir(path, 0755), 0);
    put(t, "deep/a.so", "x");
    assert_string_equal(after(t, 1000), "+a.so");

    put(t, "deep/b.so", "x");
    assert_string_equal(settled(t), "+b.so");
}


static void
test_replaced_directory_is_followed(void **state)
{
    int          before;
    char         old[96], other[96];
    test_t      *t = *state;
    struct stat  st, now;

    begin(t);
    put(t, "a.so", "x");
    put(t, "b.so", "x");
    assert_string_equal(settled(t), "+a.so +b.so");
    before = watch_directory(t->watch);
    assert_int_equal(fstat(before, &st), 0);

    snprintf(old, sizeof(old), "%s/old", t->root);
    assert_int_equal(rename(t->path, old), 0);
    assert_int_equal(mkdir(t->path, 0755), 0);
    put(t, "b.so", "y");
    put(t, "c.so", "y");

    assert_string_equal(settled(t), "+b.so +c.so");
    assert_int_equal(fstat(watch_directory(t->watch), &now), 0);
    assert_true(now.st_ino != st.st_ino);
    assert_string_equal(after(t, 1000), "-a.so");

    /* the new one is watched, the old one is not */

    put(t, "c.so", "z");
    assert_string_equal(settled(t), "+c.so");

    snprintf(other, sizeof(other), "%s/old/d.so", t->root);
    assert_int_equal(close(open(other, O_WRONLY|O_CREAT, 0644)), 0);
    assert_string_equal(after(t, 1), "");
    assert_string_equal(after(t, 1000), "");
}


static void
test_removed_directory_takes_its_functions_along(void **state)
{
    test_t  *t = *state;

    begin(t);
    put(t, "a.so", "x");
    assert_string_equal(settled(t), "+a.so");

    take_away(t, "a.so");
    assert_int_equal(rmdir(t->path), 0);
    assert_string_equal(settled(t), "");
    assert_int_equal(watch_directory(t->watch), -1);
    assert_string_equal(after(t, 999), "");
    assert_string_equal(after(t, 1), "-a.so");

    assert_int_equal(mkdir(t->path, 0755), 0);
    put(t, "a.so", "x");
    assert_string_equal(settled(t), "+a.so");
}


static void
test_switched_symbolic_link_is_followed(void **state)
{
    char     a[96], b[96], file[128], new[96];
    test_t  *t = *state;

    snprintf(a, sizeof(a), "%s/release-1", t->root);
    snprintf(b, sizeof(b), "%s/release-2", t->root);
    snprintf(new, sizeof(new), "%s/new", t->root);
    assert_int_equal(mkdir(a, 0755), 0);
    assert_int_equal(mkdir(b, 0755), 0);
    assert_int_equal(symlink(a, t->path), 0);

    snprintf(file, sizeof(file), "%s/a.so", b);
    assert_int_equal(close(open(file, O_WRONLY|O_CREAT, 0644)), 0);

    t->watch = watch_create(t->path, report, t);
    assert_non_null(t->watch);
    put(t, "a.so", "x");
    put(t, "gone.so", "x");
    assert_string_equal(after(t, 0), "+a.so +gone.so");
    after(t, 50);

    assert_int_equal(symlink(b, new), 0);
    assert_int_equal(rename(new, t->path), 0);
    assert_string_equal(settled(t), "+a.so");
    assert_string_equal(after(t, 1000), "-gone.so");
}


static void
test_again_is_reported_later_and_later(void **state)
{
    int       i;
    test_t   *t = *state;
    uint64_t  delay;

    static const uint64_t  delays[] = { 50, 100, 200, 400, 800, 1000, 1000 };

    begin(t);
    put(t, "a.so", "x");
    t->again = 1000;
    assert_string_equal(settled(t), "+a.so");

    for (i = 0; i < 7; i++) {
        delay = watch_next(t->watch) - t->now;
        assert_int_equal(delay, delays[i]);
        assert_string_equal(after(t, delay - 1), "");
        assert_string_equal(after(t, 1), "+a.so");
    }

    /* written to again: soon again */

    put(t, "a.so", "y");
    assert_string_equal(settled(t), "+a.so");
    assert_int_equal(watch_next(t->watch), t->now + 50);

    t->again = 0;
    assert_string_equal(after(t, 50), "+a.so");
    assert_string_equal(after(t, 5000), "");

    watch_again(t->watch, "unknown.so", t->now);
    assert_int_equal(watch_next(t->watch), t->now + 50);
    assert_string_equal(after(t, 50), "");

    /* from the report of a removal, on what is about to go */

    put(t, "b.so", "y");
    assert_string_equal(settled(t), "+b.so");
    take_away(t, "a.so");
    take_away(t, "b.so");
    t->again = 1000;
    assert_string_equal(settled(t), "");
    assert_string_equal(after(t, 1000), "-a.so -b.so");
    assert_string_equal(after(t, 1000), "");
}


static void
test_overflow_reports_what_may_have_changed(void **state)
{
    int      i, fd, limit;
    char     text[32], name[32];
    FILE    *f;
    test_t  *t = *state;

    limit = 0;
    f = fopen("/proc/sys/fs/inotify/max_queued_events", "r");
    if (f == NULL || fgets(text, sizeof(text), f) == NULL
        || (limit = atoi(text)) > 100000)
    {
        skip();
    }

    fclose(f);

    begin(t);
    put(t, "a.so", "x");
    assert_string_equal(settled(t), "+a.so");

    for (i = 0; i < limit; i++) {
        snprintf(name, sizeof(name), "junk%d", i % 2);
        fd = open(in(t, name), O_WRONLY|O_CREAT, 0644);
        close(fd);
    }

    put(t, "b.so", "x");

    for (i = 0; i < limit && strcmp(after(t, 0), "") == 0; i++) {
        /* void */
    }

    assert_string_equal(t->log, "+a.so +b.so");
    assert_string_equal(after(t, 1000), "");
}


static void
test_lack_of_descriptors_removes_nothing(void **state)
{
    int            n;
    test_t        *t = *state;
    struct rlimit  old, limit;

    begin(t);
    put(t, "a.so", "x");
    put(t, "gone.so", "x");
    assert_string_equal(settled(t), "+a.so +gone.so");
    take_away(t, "gone.so");
    put(t, "new.so", "x");

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    limit = old;

    /* as many as are open */

    limit.rlim_cur = (rlim_t) open("/dev/null", O_RDONLY);
    close((int) limit.rlim_cur);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);

    for (n = 0; n < 5; n++) {
        assert_string_equal(after(t, 1001), "");
        assert_true(watch_next(t->watch) <= t->now + 1000);
    }

    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);

    assert_string_equal(after(t, 1000), "+new.so");
    assert_string_equal(after(t, 1000), "-gone.so");
}


static void
test_missed_events_are_made_up_for(void **state)
{
    char     buf[4096];
    test_t  *t = *state;

    begin(t);
    put(t, "a.so", "x");
    assert_string_equal(settled(t), "+a.so");

    take_away(t, "a.so");
    put(t, "b.so", "x");
    assert_true(read(watch_fd(t->watch), buf, sizeof(buf)) > 0);

    assert_string_equal(after(t, 29000), "");
    assert_string_equal(after(t, 1000), "+b.so");
    assert_string_equal(after(t, 1000), "-a.so");
}


static void
test_many_files_and_no_leak_of_descriptors(void **state)
{
    int      i, before, now;
    char     name[32], last[32];
    test_t  *t = *state;

    begin(t);
    before = open("/dev/null", O_RDONLY);
    close(before);

    for (i = 0; i < 300; i++) {
        snprintf(name, sizeof(name), "f%03d.so", (i * 77) % 300);
        put(t, name, "x");
    }

    after(t, 1);
    after(t, 50);
    assert_int_equal(strlen(t->log), 300 * 9 - 1);

    for (i = 0; i < 300; i++) {
        snprintf(last, sizeof(last), "+f%03d.so", i);
        assert_memory_equal(t->log + i * 9, last, 8);
    }

    for (i = 0; i < 200; i++) {
        after(t, 30000);
    }

    now = open("/dev/null", O_RDONLY);
    close(now);
    assert_int_equal(now, before);

    for (i = 0; i < 300; i += 2) {
        snprintf(name, sizeof(name), "f%03d.so", i);
        take_away(t, name);
    }

    assert_string_equal(settled(t), "");
    after(t, 1000);
    assert_int_equal(strlen(t->log), 150 * 9 - 1);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
#define test(f)  cmocka_unit_test_setup_teardown(f, setup, teardown)
        cmocka_unit_test(test_names_of_functions),
        test(test_files_found_at_first_look_in_order),
        test(test_new_and_changed_files_are_reported),
        test(test_events_coalesce),
        test(test_same_size_and_time_is_reported_after_a_write),
        test(test_removal_counts_after_a_second),
        test(test_reappearance_is_a_change),
        test(test_unfinished_file_waits_for_its_end),
        test(test_file_linked_when_written_is_found),
        test(test_refused_names_are_told_once),
        test(test_directory_that_does_not_exist_yet),
        test(test_path_below_a_directory_that_does_not_exist_yet),
        test(test_replaced_directory_is_followed),
        test(test_removed_directory_takes_its_functions_along),
        test(test_switched_symbolic_link_is_followed),
        test(test_again_is_reported_later_and_later),
        test(test_overflow_reports_what_may_have_changed),
        test(test_lack_of_descriptors_removes_nothing),
        test(test_missed_events_are_made_up_for),
        test(test_many_files_and_no_leak_of_descriptors)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

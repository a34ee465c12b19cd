
/* objects: worker/family.c worker/fds.c */

/*
 * A fork whose child is the parent's, both ways that it is made, and what a
 * subreaper does about the processes that come to it.
 */


#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* its static functions are what is tested */
#include "sibling.c"

#include "faas_scoreboard.h"
#include "family.h"
#include "fds.h"


typedef pid_t (*fork_pt)(void);


/*
 * Runs `fork` in a child and returns what came of it: the pid that the child
 * was told; *status is the new process's, reaped here.
 */

static pid_t
sibling_of_a_child(fork_pt make, int *status)
{
    int    tell[2];
    pid_t  middle, pid, told;

    assert_int_equal(pipe(tell), 0);

    middle = fork();

    if (middle == 0) {
        pid = make();

        if (pid == 0) {
            /* libc and the kernel agree on who this is */
            _exit(gettid() == getpid() && pthread_kill(pthread_self(), 0) == 0
                  ? 42 : 1);
        }

        if (write(tell[1], &pid, sizeof(pid_t)) != sizeof(pid_t)) {
            _exit(1);
        }

        /* and is no child here, for user code to wait for */

        _exit(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD ? 0 : 1);
    }

    assert_int_equal(read(tell[0], &told, sizeof(pid_t)), sizeof(pid_t));
    assert_int_equal(waitpid(told, status, 0), told);
    assert_int_equal(waitpid(middle, &pid, 0), middle);
    assert_int_equal(pid, 0);

    (void) close(tell[0]);
    (void) close(tell[1]);

    return told;
}


static void
test_child_is_the_parents(void **state)
{
    int  status;

    (void) state;

    (void) sibling_of_a_child(sibling_fork, &status);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
}


static void
test_child_is_the_parents_where_the_kernel_does_not_help(void **state)
{
    int  status;

    (void) state;

    (void) sibling_of_a_child(sibling_fork_twice, &status);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
}


static void
pause_for_ever(void)
{
    for ( ;; ) {
        (void) pause();
    }
}


/*
 * Forks a process that has a child, ends, and so leaves it to us: in a session
 * of its own, or in that of the process that left it.
 */

static pid_t
leave_a_stranger(int in_own_session)
{
    int    tell[2];
    pid_t  middle, pid;

    assert_int_equal(pipe(tell), 0);

    middle = fork();

    if (middle == 0) {
        (void) setsid();

        pid = fork();

        if (pid == 0) {

            if (in_own_session) {
                (void) setsid();
            }

            (void) signal(SIGTERM, SIG_IGN);
            pid = getpid();

            if (write(tell[1], &pid, sizeof(pid_t)) != sizeof(pid_t)) {
                _exit(1);
            }

            pause_for_ever();
        }

        _exit(0);
    }

    assert_int_equal(read(tell[0], &pid, sizeof(pid_t)), sizeof(pid_t));
    assert_int_equal(waitpid(middle, NULL, 0), middle);

    (void) close(tell[0]);
    (void) close(tell[1]);

    return pid;
}


static void
test_strangers_are_killed_and_members_are_not(void **state)
{
    int        children, status;
    pid_t      member, session, stranger, background;
    family_t  *family;

    (void) state;

    children = family_open_children();
    family = family_create();
    assert_int_not_equal(children, -1);
    assert_non_null(family);

    member = fork();

    if (member == 0) {
        pause_for_ever();
    }

    assert_int_equal(family_join(family, member), FAAS_OK);
    assert_true(family_has(family, member));

    stranger = leave_a_stranger(1);

    background = leave_a_stranger(0);
    session = getsid(background);
    assert_int_not_equal(session, background);
    assert_int_equal(family_join(family, session), FAAS_OK);

    /* while a member is being born nobody is touched, and that is told */

    family_birth(family);
    assert_int_equal(family_kill_strangers(family, children), FAAS_AGAIN);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), 0);
    family_born(family);

    assert_int_equal(family_kill_strangers(family, children), FAAS_OK);
    assert_int_equal(waitpid(stranger, &status, 0), stranger);
    assert_int_equal(WTERMSIG(status), SIGKILL);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), 0);

    family_leave(family, session);
    family_kill_strangers(family, children);
    assert_int_equal(waitpid(background, NULL, 0), background);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), 0);

    family_leave(family, member);
    assert_false(family_has(family, member));

    family_kill_all(children);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);

    (void) close(children);
}


static void
test_all_are_killed_however_many(void **state)
{
    int    children, i;
    pid_t  pid;

    (void) state;

    children = family_open_children();

    /* enough that the list is longer than one read of it */

    for (i = 0; i < 700; i++) {
        pid = fork();
        assert_int_not_equal(pid, -1);

        if (pid == 0) {

            if (i % 7 == 0) {
                (void) setsid();

                if (fork() == 0) {
                    (void) setsid();
                    pause_for_ever();
                }
            }

            pause_for_ever();
        }
    }

    family_kill_all(children);

    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);

    (void) close(children);
}


static void
test_members_have_an_end(void **state)
{
    int        i;
    family_t  *family;

    (void) state;

    family = family_create();
    assert_non_null(family);

    for (i = 0; i < FAMILY_MEMBERS; i++) {
        assert_int_equal(family_join(family, 1000 + i), FAAS_OK);
    }

    assert_int_equal(family_join(family, 999), FAAS_BUSY);
    family_leave(family, 1234);
    assert_int_equal(family_join(family, 999), FAAS_OK);
    assert_true(family_has(family, 999));
    assert_false(family_has(family, 1234));
}


/* getsid() says 0 of a session that is not in our process namespace */

static void
test_nobody_is_no_member(void **state)
{
    family_t  *family;

    (void) state;

    family = family_create();
    assert_non_null(family);

    assert_int_equal(family_join(family, 1234), FAAS_OK);
    family_leave(family, 1234);
    assert_false(family_has(family, 0));
}


static void
test_only_the_listed_descriptors_stay(void **state)
{
    int          fd[3], i, status;
    pid_t        pid;
    struct stat  sent[3], st;

    (void) state;

    for (i = 0; i < 3; i++) {
        fd[i] = memfd_create("test", 0);
        assert_int_equal(fstat(fd[i], &sent[i]), 0);
    }

    pid = fork();

    if (pid == 0) {

        /* each in the place of another */

        for (i = 0; i < 3; i++) {
            fd[i] = fcntl(fd[i], F_DUPFD, 20);
        }

        for (i = 0; i < 3; i++) {
            (void) dup2(fd[i], FDS_FIRST + (i + 1) % 3);
            fd[i] = FDS_FIRST + (i + 1) % 3;
        }

        if (fds_keep(fd, 3) != FAAS_OK) {
            _exit(1);
        }

        for (i = 0; i < 3; i++) {

            if (fd[i] != FDS_FIRST + i || fstat(fd[i], &st) == -1
                || st.st_ino != sent[i].st_ino
                || fcntl(fd[i], F_GETFD) != FD_CLOEXEC)
            {
                _exit(2 + i);
            }
        }

        for (i = FDS_FIRST + 3; i < 1024; i++) {

            if (fcntl(i, F_GETFD) != -1) {
                _exit(9);
            }
        }

        _exit(0);
    }

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);

    for (i = 0; i < 3; i++) {
        (void) close(fd[i]);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_child_is_the_parents),
        cmocka_unit_test(
            test_child_is_the_parents_where_the_kernel_does_not_help),
        cmocka_unit_test(test_strangers_are_killed_and_members_are_not),
        cmocka_unit_test(test_all_are_killed_however_many),
        cmocka_unit_test(test_members_have_an_end),
        cmocka_unit_test(test_nobody_is_no_member),
        cmocka_unit_test(test_only_the_listed_descriptors_stay),
    };

    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == -1) {
        return 1;
    }

    return cmocka_run_group_tests(tests, NULL, NULL);
}

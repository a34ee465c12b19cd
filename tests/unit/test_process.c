
/* objects: worker/process.c */

/*
 * What /proc says of a process, whatever its name is, and of one that is gone.
 */


#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "faas_scoreboard.h"
#include "process.h"


static void
test_parent_and_start_are_those_of_the_process(void **state)
{
    char       c;
    int        fd[2];
    pid_t      pid;
    process_t  self, child;

    (void) state;

    assert_int_equal(process_look(getpid(), &self), FAAS_OK);
    assert_int_equal(self.parent, getppid());
    assert_true(self.started > 0);

    assert_int_equal(pipe(fd), 0);

    pid = fork();
    assert_true(pid != -1);

    if (pid == 0) {
        (void) prctl(PR_SET_NAME, "a) R 1 (b) 2 3");

        if (write(fd[1], "x", 1) == 1) {
            (void) pause();
        }

        _exit(1);
    }

    assert_int_equal(read(fd[0], &c, 1), 1);
    assert_int_equal(process_look(pid, &child), FAAS_OK);
    assert_int_equal(child.parent, getpid());
    assert_true(child.started >= self.started);
    assert_true(process_is(pid, child.started));
    assert_true(process_is(pid, 0));
    assert_false(process_is(pid, child.started + 1));

    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(process_look(pid, &child), FAAS_DONE);
    assert_false(process_is(pid, child.started));
    assert_false(process_is(pid, 0));

    (void) close(fd[0]);
    (void) close(fd[1]);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_parent_and_start_are_those_of_the_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

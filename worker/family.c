
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "faas_scoreboard.h"
#include "family.h"


typedef int (*family_visit_pt)(family_t *family, pid_t pid);


static int family_each_child(int children, family_visit_pt visit,
    family_t *family);
static int family_kill_stranger(family_t *family, pid_t pid);
static int family_kill(family_t *family, pid_t pid);


family_t *
family_create(void)
{
    void  *p;

    p = mmap(NULL, sizeof(family_t), PROT_READ|PROT_WRITE,
             MAP_SHARED|MAP_ANONYMOUS, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}


int
family_hide(family_t *family)
{
    if (madvise(family, sizeof(family_t), MADV_DONTFORK) == -1) {
        return FAAS_ERROR;
    }

    return FAAS_OK;
}


int
family_join(family_t *family, pid_t pid)
{
    int32_t  i, last;

    for (i = 0; i < FAMILY_MEMBERS; i++) {

        if (atomic_load(&family->member[i]) != 0) {
            continue;
        }

        atomic_store(&family->member[i], pid);

        last = atomic_load(&family->last);

        if (i >= last) {
            atomic_store(&family->last, i + 1);
        }

        return FAAS_OK;
    }

    return FAAS_BUSY;
}


void
family_leave(family_t *family, pid_t pid)
{
    int32_t  i, last;

    last = atomic_load(&family->last);

    for (i = 0; i < last; i++) {

        if (atomic_load(&family->member[i]) == pid) {
            atomic_store(&family->member[i], 0);
        }
    }
}


int
family_has(family_t *family, pid_t pid)
{
    int32_t  i, last;

    if (pid == 0) {
        return 0;
    }

    last = atomic_load(&family->last);

    for (i = 0; i < last; i++) {

        if (atomic_load(&family->member[i]) == pid) {
            return 1;
        }
    }

    return 0;
}


void
family_birth(family_t *family)
{
    atomic_store(&family->birth, 1);
}


void
family_born(family_t *family)
{
    atomic_store(&family->birth, 0);
}


int
family_has_birth(family_t *family)
{
    return atomic_load(&family->birth) != 0;
}


int
family_open_children(void)
{
    return open("/proc/thread-self/children", O_RDONLY|O_CLOEXEC);
}


int
family_kill_strangers(family_t *family, int children)
{
    return family_each_child(children, family_kill_stranger, family);
}


/*
 * The order makes it safe against births: pid was listed before; when no
 * birth is on now, then whoever was born before the list was made is a member
 * by now.
 */

static int
family_kill_stranger(family_t *family, pid_t pid)
{
    pid_t  session;

    if (family_has_birth(family)) {
        return FAAS_AGAIN;
    }

    if (family_has(family, pid)) {
        return FAAS_OK;
    }

    session = getsid(pid);

    if (session != -1 && !family_has(family, session)) {
        (void) kill(pid, SIGKILL);
    }

    return FAAS_OK;
}


void
family_kill_all(int children)
{
    while (family_kill_once(children)) { /* void */ }
}


int
family_kill_once(int children)
{
    sigset_t         set;
    struct timespec  pause;

    (void) sigemptyset(&set);
    (void) sigaddset(&set, SIGCHLD);
    (void) sigprocmask(SIG_BLOCK, &set, NULL);

    (void) family_each_child(children, family_kill, NULL);

    while (waitpid(-1, NULL, WNOHANG) > 0) { /* void */ }

    if (waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD) {
        return 0;
    }

    /* until one of them has ended; the time is for who came meanwhile */

    pause.tv_sec = 0;
    pause.tv_nsec = 10 * 1000 * 1000;

    (void) sigtimedwait(&set, NULL, &pause);

    return 1;
}


static int
family_kill(family_t *family, pid_t pid)
{
    (void) family;

    /* its group goes too, if it leads one */

    (void) kill(-pid, SIGKILL);
    (void) kill(pid, SIGKILL);

    return FAAS_OK;
}


/* FAAS_OK, or what the last visit that was none said */

static int
family_each_child(int children, family_visit_pt visit, family_t *family)
{
    int      rc, said;
    char     buf[4096], *p, *end;
    long     pid;
    size_t   kept;
    ssize_t  n;

    kept = 0;
    rc = FAAS_OK;

    if (lseek(children, 0, SEEK_SET) == -1) {
        return rc;
    }

    /* numbers, each followed by a space; one may be cut by the buffer's end */

    for ( ;; ) {
        n = read(children, buf + kept, sizeof(buf) - 1 - kept);

        if (n <= 0) {
            return rc;
        }

        buf[kept + (size_t) n] = '\0';

        for (p = buf; ; p = end + 1) {
            pid = strtol(p, &end, 10);

            if (end == p || *end != ' ') {
                break;
            }

            if (pid > 1) {
                said = visit(family, (pid_t) pid);

                if (said != FAAS_OK) {
                    rc = said;
                }
            }
        }

        kept = strlen(p);
        memmove(buf, p, kept);
    }
}


/*
 * As echo, until it is told otherwise:
 *
 *   how=loop       never ends, and takes all the processor that it can get
 *   how=deadlock   waits for a lock that it has itself
 *   how=ignore     sleeps for ever with all signals blocked that can be
 *   children=N     forks N processes before, which leave its session, ignore
 *                  SIGTERM and stay
 */


#include <pthread.h>
#include <signal.h>

#include "record.h"


static void
stuck_children(long n)
{
    while (n-- > 0) {
        if (fork() == 0) {
            (void) setsid();
            (void) signal(SIGTERM, SIG_IGN);

            for ( ;; ) {
                (void) pause();
            }
        }
    }
}


static void
stuck_for_ever(const char *how)
{
    sigset_t           set;
    volatile unsigned  n;
    pthread_mutex_t    mutex = PTHREAD_MUTEX_INITIALIZER;

    if (strcmp(how, "ignore") == 0) {
        (void) sigfillset(&set);
        (void) sigprocmask(SIG_BLOCK, &set, NULL);
    }

    if (strcmp(how, "deadlock") == 0) {
        (void) pthread_mutex_lock(&mutex);
        (void) pthread_mutex_lock(&mutex);
    }

    for (n = 0; strcmp(how, "loop") == 0; n++) {
        /* for ever */
    }

    for ( ;; ) {
        (void) pause();
    }
}


static int
stuck(faas_request_t *r)
{
    int          rc;
    uint64_t     id;
    record_t    *record;
    const char  *how;

    id = record_id(r);
    how = faas_query(r, "how", NULL);

    if (how) {
        /* before the ledger is told, so that who reads it finds them */
        stuck_children(record_number(r, "children", 0));
    }

    record = record_begin(id);

    if (how) {
        stuck_for_ever(how);
    }

    record_sleep(record_number(r, "ms", 20));
    rc = record_answer(r, id, "-", "-");

    record_end(record);

    return rc;
}


FAAS_FUNCTION(.handler = stuck, .after_fork = record_open)


/*
 * Dies: in its constructor when the file FLAG is there, at each request
 * (CRASH_FIRST), or a second after its fork (CRASH_LATE).  Else it answers,
 * after ms=N.
 */


#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <faas.h>


#ifdef FLAG

__attribute__((constructor)) static void
crash_constructor(void)
{
    if (access(FLAG, F_OK) == 0) {
        abort();
    }
}

#endif


static int
crash_after_fork(void)
{
#ifdef CRASH_LATE
    (void) alarm(1);
#endif

    return FAAS_OK;
}


static int
crash(faas_request_t *r)
{
    long             ms;
    const char      *text;
    struct timespec  nap;

#ifdef CRASH_FIRST
    abort();
#endif

    text = faas_query(r, "ms", NULL);
    ms = text ? strtol(text, NULL, 10) : 0;

    nap.tv_sec = ms / 1000;
    nap.tv_nsec = ms % 1000 * 1000000;
    (void) nanosleep(&nap, NULL);

    return faas_printf(r, "alive\n");
}


FAAS_FUNCTION(.handler = crash, .after_fork = crash_after_fork)


/*
 * faas-zygote --replay: one request of a dump, run again, alone.  faasctl
 * starts it, feeds the request as FastCGI, and tells what came of it; or gdb
 * starts it for faasctl.  Its command line:
 *
 *   faas-zygote --replay NAME UID GID TIMEOUT_MS
 *
 * The function's environment, user, no_new_privs and limits are those of an
 * instance; it has no backend services, so whatever it does has no effect
 * there: calls of faas.h for them fail with FAAS_EUNSUPPORTED.
 */


#ifndef REPLAY_H_INCLUDED
#define REPLAY_H_INCLUDED


/* its descriptors, besides 0, 1 and 2 */

enum {
    REPLAY_FD_CODE = 3,
    REPLAY_FD_REQUEST,       /* a stream socket */
    REPLAY_FD_ENVIRONMENT,   /* NAME=VALUE, each ended by a zero */
    REPLAY_FD_BEGIN,         /* closed when the handler begins */
    REPLAY_FD_END            /* none: how far they go */
};

/* where faasctl has gdb stop: just before the handler is called */
#define REPLAY_BREAKPOINT  "faas_replay_begins"


/* the exit status; main()'s argc and argv */
int replay_run(int argc, char **argv);


#endif /* REPLAY_H_INCLUDED */

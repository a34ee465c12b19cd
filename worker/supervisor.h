
/*
 * The supervisor: one process, one loop, one owner of everything on the
 * scoreboard that is not a worker's.  Its parts, from the outside in:
 *
 *   supervisor.c   start, adoption, housekeeping, the end
 *   control.c      masters and workers of nginx: faas_state/control
 *   owner.c        nginx workers that died holding something
 *   deploy.c       a file changed: what is to be done about it
 *   version.c      a version's life: loading, current, draining
 *   pool.c         instances: started, ready, freed, ended; scaling
 *   slot.c         a slot's socket, page and pipe
 *   lineage.c      zygote, function inits and templates: who sends what
 *   function.c     function entries: limits, state, routes, errors
 *   journal.c      what functions print
 *   routes.c       the published table
 *   settings.c     configuration and descriptors, pure
 *   policy.c, backoff.c   decisions, pure
 *   loop.c, log.c, deposit.c   descriptors and timers, lines, the keeper
 *
 * What a restarted supervisor needs is on the board or with the keeper
 * before it is used, so a kill -9 at any point leaves what can be adopted.
 */


#ifndef SUPERVISOR_H_INCLUDED
#define SUPERVISOR_H_INCLUDED


#include <stdint.h>

#include "faas_scoreboard.h"
#include "faas_slot.h"
#include "settings.h"
#include "watch.h"


/* the one host of this process; writer: supervisor.c, once, unless said */

typedef struct {
    settings_t               *settings;      /* supervisor_configure() */
    faas_scoreboard_t        *board;
    uint64_t                  size;          /* of the board */
    int                       board_fd;
    int                       event_fd;      /* workers kick us here */
    int                       wake[FAAS_WORKERS];
    int                       store;
    watch_t                  *watch;         /* deploy.c */
    uint32_t                  cores;
    uint64_t                  memory;        /* cap over all functions */
    int                       adopting;      /* 1 until the directory was
                                                looked through after a
                                                restart */
    int                       draining;      /* 1: the host ends */
} supervisor_t;


extern supervisor_t  supervisor;


int supervisor_run(const char *state);

/*
 * A configuration from nginx, as text in a memfd (kept when it is good).  0,
 * with what was clamped or needs a restart in note[SETTINGS_WHY_SIZE]; -1
 * with the reason there, and nothing changed.
 */
int supervisor_configure(int fd, char *note);

/* begins to end the host; a second call with at_once lets nothing finish */
void supervisor_drain(const char *why, int at_once);

/* wakes a worker of nginx */
void supervisor_wake(uint32_t worker);

/* an error of the host, on the board and in the log */
void supervisor_error(int error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));


#endif /* SUPERVISOR_H_INCLUDED */

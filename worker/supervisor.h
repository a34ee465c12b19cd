
/*
 * The supervisor: one process, one loop, one owner of everything on the
 * scoreboard that is not a worker's.  Its parts, from the outside in:
 *
 *   supervisor.c     start, adoption, housekeeping
 *   board.c          directories, scoreboard, eventfds
 *   drain.c          the end
 *   control.c        masters and workers of nginx: faas_state/control
 *   owner.c          nginx workers that died
 *   deploy.c         a file changed: what is to be done about it
 *   function.c       function entries: state, limits, errors
 *   claims.c         whose a route is, and the published table
 *   version.c        a version's life: loading, current, draining
 *   version_migrate.c  when SQL files beside a function make another one
 *   lineage.c        function init and template: begin and end
 *   lineage_start.c  what a lineage is started with
 *   lineage_read.c   what is said on its channels
 *   migrations.c     SQL files beside functions
 *   zygote_link.c    the zygote
 *   pool.c           how many instances there are
 *   report.c         what instances say
 *   patrol.c         what nobody says
 *   instance_end.c   how instances end
 *   death.c, oom.c   what is said of it
 *   dump.c           faas_state/core/
 *   memory.c         what instances use, and the cap
 *   slot.c, place.c  slots; their sockets, pages and pipes
 *   journal.c        what functions print
 *   platform.c       functions of the platform itself
 *   user.c, data.c   whom processes run as; directories that last
 *   service.c, service_start.c   processes beside the zygote, for
 *                    events_link.c and tenders.c
 *   routes.c, settings.c, settings_descriptor.c, policy.c, backoff.c   pure
 *   deposit.c        what the keeper holds
 *   ../base          descriptors and timers, lines in the log
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
    int                       state_dir;     /* our working directory too */
    uint32_t                  cores;
    int                       restarted;     /* 1: there was one before us */
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

/* wakes a worker of nginx */
void supervisor_wake(uint32_t worker);

/* an error of the host, on the board and in the log */
void supervisor_error(int error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));


#endif /* SUPERVISOR_H_INCLUDED */

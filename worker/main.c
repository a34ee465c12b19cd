
/*
 * faas-supervisor: two programs in one file, since one execs the other.
 *
 *   faas-supervisor --keeper --state DIR      started by nginx's master
 *   faas-supervisor --supervise --state DIR   started by the keeper
 *   faas-supervisor --version
 */


#include <stdio.h>
#include <string.h>

#include "faas_control.h"
#include "keeper.h"
#include "supervisor.h"


int
main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        (void) printf("faas-supervisor %s, layout %d\n", FAAS_RELEASE,
                      FAAS_SCOREBOARD_LAYOUT);
        return 0;
    }

    if (argc == 4 && strcmp(argv[2], "--state") == 0) {

        if (strcmp(argv[1], "--keeper") == 0) {
            return keeper_run(argv[3]);
        }

        if (strcmp(argv[1], "--supervise") == 0) {
            return supervisor_run(argv[3]);
        }
    }

    (void) fprintf(stderr, "usage: faas-supervisor --version\n"
                   "It is started by nginx, with --keeper or --supervise and "
                   "--state DIR.\n");

    return 2;
}


/*
 * One directory of databases.  It is this tender's while it holds the lock on
 * the file .tender in it.
 */


#ifndef TENDER_PLACE_H_INCLUDED
#define TENDER_PLACE_H_INCLUDED


#include <stdint.h>
#include <sys/types.h>

#include "tender_file.h"
#include "tender_send.h"


typedef struct tender_place_s  tender_place_t;

struct tender_place_s {
    tender_place_t           *next;
    unsigned                  wanted;      /* by the settings, a mark */
    char                     *name;        /* function or shared store */
    char                     *path;
    char                     *token;       /* NULL: a shared store */
    tender_send_t            *send;        /* NULL: a shared store */

    int                       fd;          /* of the directory, -1 */
    int                       lock;        /* descriptor, -1: not ours */
    dev_t                     device;
    ino_t                     inode;
    int64_t                   mtime_ns;    /* when it was last read */
    int64_t                   read_ms;     /* CLOCK_MONOTONIC */
    int64_t                   retry_ms;
    unsigned                  reads;       /* counts them */
    char                      why[200];    /* what was last said of it */

    tender_file_t            *files;
};


/* NULL: out of memory; token NULL: a shared store */
tender_place_t *tender_place_create(const char *state, const char *name,
    const char *path, const char *token);

/* closes all and gives up the lock */
void tender_place_destroy(tender_place_t *p);

/* looks at the directory and its databases; 1: look again soon */
int tender_place_tick(tender_place_t *p, int64_t now_ms);


#endif /* TENDER_PLACE_H_INCLUDED */

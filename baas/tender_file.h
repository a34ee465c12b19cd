
/*
 * One database that the tender looks after.  It is opened when there is
 * something to do and closed when it has been quiet, so that many idle
 * functions cost a stat() each, no descriptors.
 */


#ifndef TENDER_FILE_H_INCLUDED
#define TENDER_FILE_H_INCLUDED


#include <stdint.h>

#include "tender_send.h"


typedef struct tender_file_s  tender_file_t;

struct tender_file_s {
    tender_file_t            *next;        /* of its directory */
    unsigned                  seen;        /* by the last look at that */
    char                      name[64];    /* without ".db" */
    unsigned                  flags;       /* of database_open() */
    tender_send_t            *send;        /* its outbox is sent by; NULL */

    database_t               *database;    /* NULL: not open */
    unsigned                  fresh:1;     /* was never open */

    /* the log's file, as last seen while the database was not open */
    uint64_t                  size;
    int64_t                   mtime_ns;

    /* CLOCK_MONOTONIC, -1: not */
    int64_t                   written_ms;  /* a change was last seen */
    int64_t                   dirty_ms;    /* since when there is something to
                                              be moved */
    int64_t                   tried_ms;    /* to truncate the log */
    int64_t                   outbox_ms;   /* when to look at the outbox */
    int64_t                   retry_ms;    /* nothing is done before */
    uint32_t                  failures;    /* to truncate, in a row */

    uint64_t                  change;      /* a number that differs after each
                                              transaction */
    int64_t                   purge_ms;    /* wall clock: something expires */
    char                      why[200];    /* what was last said of it */
};


/* NULL: out of memory.  send may be NULL */
tender_file_t *tender_file_create(const char *name, unsigned flags,
    tender_send_t *send);
void tender_file_destroy(tender_file_t *f);

/* does what is due; `directory` is open, at path.  1: look again soon */
int tender_file_tick(tender_file_t *f, int directory, const char *path,
    int64_t now_ms);


#endif /* TENDER_FILE_H_INCLUDED */

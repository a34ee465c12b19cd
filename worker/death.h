
/*
 * What is said about the death of an instance.  Pure but for the page that it
 * reads, which is memory of a function: nothing there is believed, and
 * nothing of it reaches a line but printable characters.
 */


#ifndef DEATH_H_INCLUDED
#define DEATH_H_INCLUDED


#include <stddef.h>

#include "faas_scoreboard.h"


/* room for all of a request: four characters for each byte, and words */
#define DEATH_REQUEST_SIZE                                                    \
    (4 * (FAAS_PAGE_ID + FAAS_PAGE_METHOD + FAAS_PAGE_URI) + 128)

#define DEATH_HOW_SIZE  96


/* a death that is to be told of */

typedef struct {
    faas_cause_e              cause;       /* why we ended it, NONE: not */
    int                       status;      /* as wait4 gives it, -1: unknown */
    int                       starting;    /* 1: it was not ready yet */
    int                       oom;         /* 1: by the kernel, it seems */
} death_t;


/* "exited with code 1", "was killed by signal 11 (Segmentation fault)" */
void death_describe(int status, char *buf, size_t size);

/* what kind it is, and its signal or exit code (0: neither) */
faas_death_e death_kind(const death_t *death, uint32_t *code);

/* the request that the page names, in buf[DEATH_REQUEST_SIZE]: request "ID"
   "METHOD URI", or that no request was running; ended: it is named even if it
   ended */
void death_request(const faas_page_t *page, int ended, char *buf);

/* s[n] with all that is not printable, quotes and backslashes as \xHH; cut to
   dst[size]; the length */
size_t death_escape(char *dst, size_t size, const char *s, size_t n);


#endif /* DEATH_H_INCLUDED */

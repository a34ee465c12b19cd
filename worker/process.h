
/*
 * What /proc says of a process.
 */


#ifndef PROCESS_H_INCLUDED
#define PROCESS_H_INCLUDED


#include <stdint.h>
#include <sys/types.h>


/* A pid is given to another when its process is gone; both have it at other
   times, so pid and start name one process. */

typedef struct {
    pid_t                     parent;
    uint64_t                  started;     /* clock ticks since the boot */
} process_t;


/* FAAS_OK; FAAS_DONE: there is none; FAAS_ERROR: it cannot be told */
int process_look(pid_t pid, process_t *p);

/* 0: there is none, or it was started at another time (0: any); 1: it is there,
   or it cannot be told */
int process_is(pid_t pid, uint64_t started);


#endif /* PROCESS_H_INCLUDED */

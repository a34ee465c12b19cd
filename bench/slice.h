
#ifndef SLICE_H_INCLUDED
#define SLICE_H_INCLUDED


#include <stdint.h>
#include <stdio.h>


/*
 * A run cut into slices of 50 ms, so that what a shared machine does to it
 * can be told from what the measured program does.  A slice is quiet when
 * during it no watcher woke up late (the hypervisor took the CPU; they are
 * late by 30 to 150 us otherwise) and strangers used less than a tenth of the
 * machine.  Where less than a quarter
 * of the slices are quiet, the half of them in which most was answered
 * stands in, and the output says so.
 */

#define SLICE_NS            50000000ull
#define SLICE_LATE_NS       300000ull      /* a watcher this late: a stall */
#define SLICE_FOREIGN_PART  10             /* a tenth of the machine */


/* one slice; times in ns */

typedef struct {
    uint32_t   requests;                   /* answered in it */
    uint32_t   first;                      /* index of their first latency */
    uint64_t   length;
    uint64_t   cpu;                        /* of the measured processes */
    uint64_t   foreign;                    /* of all others but us */
    uint64_t   late;                       /* the latest wake-up in it */
} slice_t;


/*
 * Starts the watchers, one process per CPU, and opens the two files of CPU
 * use, either NULL when there is none: of the measured processes and of the
 * whole machine (cgroup v1 cpuacct.usage, or v2 cpu.stat).  0 or -1.
 */
int slice_init(const char *usage, const char *machine);

/* ends the watchers */
void slice_done(void);

/* the run begins now */
void slice_begin(uint64_t now);

/* one answer came after latency ns; 0, or -1 when memory is out */
int slice_add(uint64_t latency);

/* the end of a slice, if it is time; 0, or -1 when memory is out */
int slice_turn(uint64_t now);

/*
 * "all":{...},"quiet":{...},"undisturbed":PART,"slices":[...]; a slice is
 * [quiet, requests, length, cpu, foreign, late], times in us
 */
void slice_print(FILE *out);

/* CLOCK_MONOTONIC in ns */
uint64_t slice_now(void);


#endif /* SLICE_H_INCLUDED */


/*
 * Minidumps (faas_core).  Each slot has a memfd, sealed in its size, that its
 * instances map: there an instance keeps a copy of the request that it is at,
 * and there, when it crashes or is asked to end at a request, its threads
 * leave their backtraces.  After its death the supervisor reads that and makes
 * a dump of it (dump.h): no process of a function writes a file of ours, and
 * what a killed one had is there all the same.  The supervisor empties the
 * memory before each instance.
 *
 * What stands there is the function's own word, bounded and escaped by who
 * reads it.
 *
 * In a signal handler (core_trace.c) only what is safe there is done: system
 * calls, backtrace(), whose library was loaded before, and tables made before.
 * What may not be safe, asking the dynamic linker for names of libraries and
 * libfcgi for what came of the body, comes last, when the rest is written, and
 * a timer ends it.
 */


#ifndef CORE_H_INCLUDED
#define CORE_H_INCLUDED


#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>


#define CORE_MAGIC     0x45524f43u     /* "CORE" */
#define CORE_FRAMES    48              /* of one thread */
#define CORE_THREADS   64
#define CORE_PARAMS    (96 * 1024)
#define CORE_MODULE    48
#define CORE_SYMBOL    64


typedef struct {
    uint64_t                  address;
    uint64_t                  offset;      /* in the module */
    uint64_t                  beyond;      /* behind the symbol */
    char                      module[CORE_MODULE];    /* file's name, "": not
                                                         known */
    char                      symbol[CORE_SYMBOL];    /* "": not known */
} core_frame_t;


typedef struct {
    int32_t                   tid;
    _Atomic uint32_t          frames;      /* 0: it did not answer */
    char                      name[16];
    core_frame_t              frame[CORE_FRAMES];
} core_thread_t;


typedef struct {
    uint32_t                  magic;       /* an instance has it mapped */
    _Atomic uint32_t          running;     /* 1: at the request below */
    _Atomic uint32_t          params_length;
    _Atomic uint32_t          params_cut;  /* 1: there were more */
    _Atomic uint64_t          body_length; /* bytes copied, behind the head */
    _Atomic uint64_t          body_taken;  /* bytes read by the function */
    _Atomic uint32_t          body_whole;  /* 1: its end was seen */

    _Atomic uint32_t          signal;      /* that a thread met, 0: none */
    _Atomic int32_t           code;        /* si_code */
    _Atomic uint64_t          address;     /* si_addr */
    _Atomic uint32_t          threads;     /* of the array; the first is that
                                              one */
    _Atomic uint32_t          more;        /* threads beyond */

    char                      params[CORE_PARAMS];    /* NAME=VALUE, each
                                              ended by a zero */
    core_thread_t             thread[CORE_THREADS];
} core_t;


/* -- in the instance ------------------------------------------------------- */

struct faas_request_s;

/* in the template, before its first fork: reads the symbols of the function
   out of its file; without them frames have offsets alone */
void core_symbols(int code, const char *name);

/* maps fd[size] and takes the signals that the function has not taken;
   without it, the calls below do nothing.  FAAS_OK or FAAS_ERROR */
int core_open(int fd, uint64_t size);

/* a request begins, or has ended */
void core_begin(struct faas_request_s *r);
void core_end(void);

/* n bytes of the body were read; 0: its end */
void core_body(const void *data, size_t n);

/* in the handler of a signal that asks the process to end: when it is at a
   request, all threads' backtraces */
void core_asked(void);


/* -- between core.c and core_trace.c --------------------------------------- */

extern core_t  *core_here;                 /* NULL: there are no dumps */

int core_trace_init(void);
void core_drain(void);


#endif /* CORE_H_INCLUDED */


/*
 * The supervisor's event loop: descriptors (epoll), timers (a heap) and jobs
 * that run once at the end of a turn, so that many events of one turn make
 * one decision.  Single-threaded.  All structs belong to the caller and may
 * be freed once they are removed, disarmed or withdrawn, also from inside a
 * handler of the same turn.
 *
 * Out of memory ends the process (loop_alloc): the keeper starts another
 * supervisor, which adopts what is there; that path has to be right anyway,
 * and is tested, as opposed to hundreds of half-done ones.
 */


#ifndef LOOP_H_INCLUDED
#define LOOP_H_INCLUDED


#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>


/* a descriptor that is polled; fd is -1 while it is not */

typedef struct {
    int                       fd;
    void                    (*handler)(void *data, uint32_t events);
    void                     *data;
} loop_event_t;


typedef struct {
    uint64_t                  at_ms;
    size_t                    position;      /* in the heap; 0: not armed */
    void                    (*handler)(void *data);
    void                     *data;
} loop_timer_t;


typedef struct loop_job_s  loop_job_t;

struct loop_job_s {
    loop_job_t               *next;
    void                    (*handler)(void *data);
    void                     *data;
    int                       posted;
    uint64_t                  turn;          /* when it ran last */
};


int loop_init(void);

/* begins to poll fd for events; 0, or -1 with errno */
int loop_add(loop_event_t *e, int fd, uint32_t events);
int loop_change(loop_event_t *e, uint32_t events);

/* stops polling, does not close; returns the descriptor, -1 if there was
   none, and leaves -1 in e */
int loop_remove(loop_event_t *e);

/* (re)arms a timer; a time in the past fires in the next turn */
void loop_arm(loop_timer_t *t, uint64_t at_ms);
void loop_disarm(loop_timer_t *t);
#define loop_is_armed(t)  ((t)->position != 0)

/* runs job at the end of this turn, once however often it is posted */
void loop_post(loop_job_t *job);
void loop_withdraw(loop_job_t *job);

/* waits for something and serves it; 0, or -1 with errno */
int loop_turn(void);

/* CLOCK_MONOTONIC: as of this turn, and as of now */
uint64_t loop_now_ms(void);
uint64_t loop_clock_us(void);

/*
 * Memory, zeroed or as realloc() gives it; does not return without.  A moment
 * without any is waited out, LOOP_PATIENCE_MS at most, while nothing else is
 * served; then the process ends with code 1, and whoever started it starts
 * another, which has as much as the machine can give.
 */
#define LOOP_PATIENCE_MS  1000

void *loop_alloc(size_t size);
void *loop_realloc(void *p, size_t size);
char *loop_strdup(const char *s, size_t n);


#endif /* LOOP_H_INCLUDED */


/*
 * A process of the host's own beside the zygote (faas-events, faas-tender):
 * started as its user, started again when it dies, taken over by the next
 * supervisor, ended with the host.
 *
 * The process has descriptors 0 to 4 and no other: nothing to read, nginx's
 * error log, the channel (SOCK_SEQPACKET) and, where it listens, a socket.
 * The channel is its life: who starts one closes the far end, so the near end
 * tells exactly whether there is one, to us and, through the keeper, to the
 * next supervisor.  A process does not run before both channel and pidfd are
 * with the keeper.
 *
 * Where two at once would do harm (`lock`), descriptor 0 is an empty file
 * with a lock on it that ends with the process.  That holds also when
 * supervisor and keeper are killed together and their successors start while
 * the process has not seen it yet.
 */


#ifndef SERVICE_H_INCLUDED
#define SERVICE_H_INCLUDED


#include <stdint.h>

#include "loop.h"
#include "text.h"
#include "user.h"


#define SERVICE_KEY_SIZE  24


typedef enum {
    SERVICE_NONE = 0,         /* no process */
    SERVICE_WAITING,          /* to be started when the timer says so */
    SERVICE_RUNNING,
    SERVICE_ENDING            /* told to end, its channel is still open */
} service_e;


typedef struct service_s  service_t;

/* belongs to who starts it; zeroed, with the first part filled in, at first */

struct service_s {
    const char               *program;       /* beside ours */
    const char               *title;         /* in lines of the log */
    const char               *lock;          /* file in faas_state, or NULL */
    char                      key[SERVICE_KEY_SIZE];    /* with the keeper */
    user_t                    user;
    int                       listen;        /* its descriptor 4, or -1 */
    void                    (*started)(service_t *s);    /* or taken over:
                                                settings are wanted */
    void                    (*ended)(service_t *s);    /* for good; it may be
                                                freed.  Or NULL */

    /* service.c */
    service_t                *next;
    service_e                 state;
    int                       wanted;        /* 1: is to run */
    loop_event_t              channel;
    loop_timer_t              timer;         /* of the start, or of SIGKILL */
    int                       process;       /* pidfd, or -1 */
    int32_t                   pid;
    uint64_t                  started_ms;
    uint64_t                  died_ms;       /* by itself, 0: never */
    uint64_t                  held_ms;       /* since when another one holds
                                                the lock, 0: not */
    char                      error[128];    /* what it said last */
};


/* takes over what the last supervisor started; once, before the others */
void service_adopt(service_t *s);

/* has it run from now on.  -1: there is no such program (told once) */
int service_start(service_t *s);

/* ends it; s->ended() when it is gone, maybe at once */
void service_stop(service_t *s);

/* ends it and starts another */
void service_restart(service_t *s);

/* "settings" with a sealed memfd of the text.  FAAS_OK, FAAS_AGAIN (later),
   FAAS_ERROR (it is not there) */
int service_settings(service_t *s, const text_t *text);

/* is the program there?  0 or 1; that it is not is told once */
int service_has_program(const char *name);

/* all of them, at the end of the host: none is started again; returns how
   many are left.  hard: by SIGKILL */
int service_end_all(int hard);

/*
 * From service_start.c: a process of that program, with its channel polled
 * and with the keeper.  FAAS_OK; FAAS_AGAIN while another one holds the lock;
 * FAAS_ERROR with errno.
 */
int service_start_process(service_t *s, int program);


#endif /* SERVICE_H_INCLUDED */


/*
 * The keeper: the process that outlives supervisors.  It starts one, starts
 * the next when that dies, adopts orphans (PR_SET_CHILD_SUBREAPER), and holds
 * under a key every descriptor that a restarted supervisor needs.  It parses
 * nothing but the fixed packet below, from its own child, over a socket pair
 * (SOCK_SEQPACKET):
 *
 *   supervisor -> keeper   PUT     key, one descriptor: keep it; replaces
 *                          REMOVE  key: close it
 *   keeper -> supervisor   GIVE    key, one descriptor; one for each kept, at
 *                                  the start of a supervisor
 *                          END     that was all
 *
 * Keys in use:
 *
 *   config, ready, program       what nginx gave, the zygote's executable
 *   program/NAME                 those of faas-events and faas-tender
 *   board, event, worker/W       the scoreboard and the eventfds
 *   control, lifeline/N          the control listener, attached masters
 *   zygote, zygote-pid           the zygote's channel and pidfd
 *   events, events-pid           those of the events process
 *   tender/U, tender/U-pid       those of the tender of uid U
 *   baas                         the listening socket baas.sock
 *   v/V/init, v/V/template, v/V/report, v/V/log-read, v/V/log-write,
 *   v/V/descriptor, v/V/migrations   of version V
 *   s/S/listen, s/S/log-read, s/S/log-write, s/S/core, p/S
 *                                of slot S; p/S is its page
 *
 * The lock on faas_state (flock of the directory) is held by keeper and
 * supervisor together, and by nothing that they start.
 */


#ifndef KEEPER_H_INCLUDED
#define KEEPER_H_INCLUDED


#include <stdint.h>


#define KEEPER_KEY_SIZE    40

/* where a supervisor finds its channel and the lock */
#define KEEPER_CHANNEL_FD  3
#define KEEPER_LOCK_FD     4

/* exit status of a supervisor that must not be started again */
#define KEEPER_ENDED       0
#define KEEPER_BAD_START   2


typedef enum {
    KEEPER_PUT = 1,
    KEEPER_REMOVE,
    KEEPER_GIVE,
    KEEPER_END
} keeper_type_e;


typedef struct {
    uint32_t                  type;          /* keeper_type_e */
    char                      key[KEEPER_KEY_SIZE];
} keeper_packet_t;


/* the keeper process; returns its exit status */
int keeper_run(const char *state);

/* one packet, fd -1: without a descriptor; 0, or -1 with errno */
int keeper_packet_send(int s, keeper_type_e type, const char *key, int fd);

/* likewise; *fd is the receiver's, -1: none came (also on failure, unless a
   malformed packet brought one) */
int keeper_packet_receive(int s, int flags, keeper_packet_t *packet, int *fd);


#endif /* KEEPER_H_INCLUDED */

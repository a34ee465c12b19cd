
/*
 * faas-tender: the one checkpointer of the databases of one user (database.h
 * says why there is one), and their housekeeper.
 *
 *   tender.c            start, channel, the loop's turns
 *   tender_settings.c   what the supervisor says, parsed (pure)
 *   tender_place.c      one directory: its lock, which databases are in it
 *   tender_file.c       one database: checkpoint, purge, outbox
 *   tender_policy.c     when a checkpoint is due, and which (pure)
 *   tender_send.c       baas.sock: leftovers of outboxes
 *
 * Started by the supervisor as that user, with
 *
 *   0 /dev/null   1, 2 nginx's error log   3 channel
 *
 * The channel is a SOCK_SEQPACKET pair, as that of faas-events.  supervisor ->
 * tender: the packet "settings" with one descriptor, a sealed memfd of the
 * text below, at the start and whenever it changed.  tender -> supervisor:
 * "ready", or "error TEXT" (bad settings: the old ones stay).  Its end ends
 * the process.  kill -9 at any instruction loses nothing.
 *
 * The settings, a line each, NAME and values separated by one space, every
 * value percent-encoded by itself (faas_control.h):
 *
 *   state PATH            faas_state; baas.sock is there
 *   error_log PATH        as the supervisor's; log_level N
 *   data NAME DIR TOKEN   a function of this user: directory of its
 *                         databases, its secret for baas.sock
 *   share NAME DIR        a shared store that this tender looks after
 *
 * A directory belongs to who holds a lock (flock) on DIR/.tender; another
 * tender waits for it, so a successor may start while its predecessor ends.
 */


#ifndef TENDER_H_INCLUDED
#define TENDER_H_INCLUDED


#define TENDER_FD_CHANNEL  3
#define TENDER_LOCK        ".tender"


#endif /* TENDER_H_INCLUDED */

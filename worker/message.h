
/*
 * What supervisor, zygote, function init, template and instance say to each
 * other: one packet on a SOCK_SEQPACKET socket pair is one message_t, with
 * descriptors by SCM_RIGHTS in the order given here.
 *
 *   zygote channel    supervisor <-> zygote
 *     START      ->   name, version, index, uid, gid, init_timeout_ms, flags;
 *                     text: the user's groups as decimals joined by ',',
 *                     ended by a zero; the environment, NAME=VALUE, each
 *                     ended by a zero; one more zero; the lines of baas.h;
 *                     descriptors: code, init channel, template channel,
 *                     report channel, log (write end), and migrations where
 *                     there are any (INIT_FD_MIGRATIONS): for each, in
 *                     order, "DB NUMBER NAME SIZE\n", SIZE bytes, "\n"; DB
 *                     is the function's name for its own database
 *     STARTED    <-   index, pid of the function init (as the supervisor
 *                     sees it)
 *     FAILED     <-   index, status = errno, text
 *
 *   init channel      supervisor <-> function init, one per version
 *     TEMPLATE   <-   pid (in the init's namespace) of the template
 *     EXITED     <-   pid (likewise) of the template or an instance, status
 *                     as wait4 gives it, rusage; its process group and what
 *                     it left behind is killed
 *     KILL       ->   pid, status = signal; sent to the process group of
 *                     that child, nothing when it is not a child any more
 *     end of file     the init kills all that is left and ends
 *
 *   template channel  supervisor <-> template, one per version
 *     LOADED     <-   text: the descriptor, one NAME VALUE a line (as in
 *                     faas_control.h), routes percent-encoded
 *     FAILED     <-   text: why the version cannot start (one line); the
 *                     template then ends; the function init says so here
 *                     too, when its sandbox or the fork fails, and ends
 *     FORK       ->   slot, generation, timeout_ms, max_requests, flags;
 *                     descriptors: listening socket, page, log (write end),
 *                     and memory for a dump if there is to be one (core.h)
 *     FORKED     <-   slot, generation, pid (in the init's namespace); is
 *                     in the channel before EXITED of that pid can be in
 *                     the init channel: who meets an EXITED of an unknown
 *                     pid empties the template channel first
 *     FAILED     <-   slot, generation, status = errno: that fork failed
 *     end of file     the template ends; instances live on
 *
 *   report channel    instance -> supervisor, one per version, shared by its
 *                     instances; carries SCM_CREDENTIALS, so the supervisor
 *                     knows the pid in its own namespace.  Not believed for
 *                     anything beyond this version's slots.
 *     READY      <-   slot, generation: it polls its listening socket
 *     FAILED     <-   slot, generation, text: after_fork refused
 *     FREE       <-   slot, generation: between two requests it saw the end
 *                     of a connection, and it is not running anything; says
 *                     READY too, to a supervisor that has not heard of it
 *     RETIRED    <-   slot, generation: it has served max_requests and wants
 *                     to end; it serves what still comes until KILL with
 *                     SIGTERM ends it between two requests
 *
 * A packet that is not of this form is dropped (from a report channel) or
 * ends the version (from the others).
 */


#ifndef MESSAGE_H_INCLUDED
#define MESSAGE_H_INCLUDED


#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>


#define MESSAGE_MAGIC   0x4d414146u     /* "FAAM" */
#define MESSAGE_TEXT    (96 * 1024)
#define MESSAGE_FDS     8


typedef enum {
    MESSAGE_START = 1,
    MESSAGE_STARTED,
    MESSAGE_FAILED,
    MESSAGE_TEMPLATE,
    MESSAGE_EXITED,
    MESSAGE_KILL,
    MESSAGE_LOADED,
    MESSAGE_FORK,
    MESSAGE_FORKED,
    MESSAGE_READY,
    MESSAGE_FREE,
    MESSAGE_RETIRED
} message_type_e;


/* FORK flags */
#define MESSAGE_ONESHOT  0x1

/* START: dumps are made, symbols are to be known */
#define MESSAGE_CORE     0x2


typedef struct {
    uint32_t                  magic;
    uint32_t                  type;          /* message_type_e */
    uint32_t                  index;         /* version index on the board */
    uint32_t                  slot;
    uint64_t                  generation;
    int32_t                   pid;
    int32_t                   status;        /* wait status, errno, signal */
    uint32_t                  uid;
    uint32_t                  gid;
    uint32_t                  timeout_ms;
    uint32_t                  init_timeout_ms;
    uint32_t                  max_requests;
    uint32_t                  flags;
    uint64_t                  utime_us;      /* EXITED: rusage */
    uint64_t                  stime_us;
    uint64_t                  maxrss_kb;
    uint64_t                  memory_bytes;
    char                      name[64];
    char                      version[12];
    uint32_t                  text_length;   /* bytes of text that follow */
} message_t;


/* a received message with what came along; the receiver owns the fds */

typedef struct {
    message_t                 head;
    int                       fd[MESSAGE_FDS];
    uint32_t                  nfds;
    pid_t                     sender;        /* by SCM_CREDENTIALS, or 0 */
    char                     *text;          /* inside the caller's buffer,
                                                zero-terminated */
} message_in_t;


/*
 * Sends head (magic and text_length are filled in) with text and fds.  FAAS
 * vocabulary: 0, -1 with errno, -2 when a non-blocking socket is full.
 */
int message_send(int s, message_t *head, const char *text, size_t length,
    const int *fds, uint32_t nfds);

/*
 * Receives one into in, text into buf[size].  0; -1 with errno (EPROTO: not
 * of this form); -2 none there; -4 at the end of the stream.
 */
int message_recv(int s, message_in_t *in, char *buf, size_t size);

/* for a new report channel: asks for SCM_CREDENTIALS */
int message_want_credentials(int s);


#endif /* MESSAGE_H_INCLUDED */

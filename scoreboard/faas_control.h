
/*
 * faas_state/control: what nginx and the supervisor say to each other.
 *
 * A SOCK_SEQPACKET unix socket; one message is one packet: a fixed head, a
 * payload of at most FAAS_CONTROL_PAYLOAD bytes, and descriptors.  The
 * supervisor listens; the peer is known by SO_PEERCRED, and only root, the
 * user who started nginx, and nginx's worker user get an answer.  A message
 * that does not parse ends the connection and nothing else.
 *
 *   master -> supervisor   ATTACH    payload faas_control_attach_t, one
 *                                    descriptor: the configuration, a
 *                                    sealed memfd in the form below
 *   supervisor -> master   BOARD     payload faas_control_board_t; board,
 *                                    the supervisor's eventfd
 *                          EVENTFDS  payload uint32_t first; that many of
 *                                    the workers' eventfds, in order, as
 *                                    many messages as it takes
 *                          REFUSED   payload text: why
 *   master -> supervisor   RELOAD    as ATTACH, on the connection that it
 *                                    attached with
 *   supervisor -> master   ACCEPTED  the configuration is in force (payload
 *                                    text: what was clamped or needs a
 *                                    restart, may be empty), or REFUSED
 *   worker -> supervisor   WORKER    payload uint32_t record index
 *   supervisor -> worker   PAGE      payload faas_control_page_t, one
 *                                    descriptor, readable: a slot's page;
 *                                    sent for every page there is, then for
 *                                    each new one
 *   faasctl -> supervisor  LOOK      no payload; root and who started nginx
 *                                    only, as ACK
 *   supervisor -> faasctl  BOARD     the board, only to be read
 *   faasctl -> supervisor  ACK       payload text: a function's name; its
 *                                    failed start was seen
 *   supervisor -> faasctl  ACCEPTED  payload text: what it was, or REFUSED
 *
 * The connection on which a master attached is its lifeline: nginx workers
 * inherit it, so it ends when the last process of that nginx is gone, and
 * when the last lifeline of all masters ends, the host ends.
 *
 * The configuration is text, one setting a line: NAME VALUE.  Numbers are
 * plain decimals (milliseconds, bytes); strings are percent-encoded (every
 * byte outside 0x21..0x7e, and '%').  `function NAME` opens a block whose
 * settings are indented by one space and hold for that function; NAME may be
 * `*`, the ceilings.  A setting that is absent was not given.  An unknown
 * name is an error that names it: module and supervisor are of one release.
 */


#ifndef FAAS_CONTROL_H_INCLUDED
#define FAAS_CONTROL_H_INCLUDED


#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>


/* given by tests only, which build what does not belong together */
#ifndef FAAS_RELEASE
#define FAAS_RELEASE            "0.1.0"
#endif

#define FAAS_CONTROL_MAGIC      0x43414146u     /* "FAAC" */
#define FAAS_CONTROL_PAYLOAD    4096
#define FAAS_CONTROL_FDS        128             /* SCM_MAX_FD is 253 */


typedef enum {
    FAAS_CONTROL_ATTACH = 1,
    FAAS_CONTROL_BOARD,
    FAAS_CONTROL_EVENTFDS,
    FAAS_CONTROL_REFUSED,
    FAAS_CONTROL_RELOAD,
    FAAS_CONTROL_ACCEPTED,
    FAAS_CONTROL_WORKER,
    FAAS_CONTROL_PAGE,
    FAAS_CONTROL_LOOK,
    FAAS_CONTROL_ACK
} faas_control_type_e;


typedef struct {
    uint32_t                  magic;
    uint32_t                  layout;      /* FAAS_SCOREBOARD_LAYOUT */
    uint32_t                  type;        /* faas_control_type_e */
    uint32_t                  length;      /* of the payload, bytes */
} faas_control_head_t;


typedef struct {
    char                      release[32]; /* of the module */
    int32_t                   pid;         /* of the master */
    uint32_t                  reserved;
} faas_control_attach_t;


typedef struct {
    uint64_t                  size;        /* of the board, bytes */
    char                      release[32]; /* of the supervisor */
} faas_control_board_t;


typedef struct {
    uint32_t                  slot;
    uint32_t                  reserved;
} faas_control_page_t;


/*
 * One message as received.  The caller of faas_control_recv() owns fd[0 ..
 * nfds - 1] and closes what it does not keep.
 */

typedef struct {
    faas_control_head_t       head;
    char                      payload[FAAS_CONTROL_PAYLOAD + 1];  /* always
                                              zero-terminated */
    int                       fd[FAAS_CONTROL_FDS];
    uint32_t                  nfds;
} faas_control_message_t;


/*
 * Sends one message on s; descriptors are duplicated into it, the caller
 * keeps its own.  Never raises SIGPIPE.  FAAS_OK, FAAS_AGAIN when a
 * non-blocking socket is full, FAAS_ERROR with errno.
 */
int faas_control_send(int s, faas_control_type_e type, const void *payload,
    size_t length, const int *fds, uint32_t nfds);

/*
 * Receives one message; descriptors come close-on-exec.  FAAS_OK; FAAS_AGAIN
 * when there is none on a non-blocking socket; FAAS_DONE at the end of the
 * stream; FAAS_ERROR with errno, or with errno EPROTO when the packet is not
 * one of ours or of another layout (m->head.layout then tells which).
 */
int faas_control_recv(int s, faas_control_message_t *m);

/*
 * Percent-encodes n bytes of s into dst, which has room for 3 * n + 1;
 * returns dst's length.  Decodes in place and zero-terminates; returns the
 * length, or -1 when the text is malformed.
 */
size_t faas_control_encode(char *dst, const char *s, size_t n);
ssize_t faas_control_decode(char *s);


#endif /* FAAS_CONTROL_H_INCLUDED */


/*
 * The supervisor's side of the zygote: one process for the host, started
 * again when it dies; what it had started lives on, what it was asked for and
 * had not started yet is asked for again.
 */


#ifndef ZYGOTE_LINK_H_INCLUDED
#define ZYGOTE_LINK_H_INCLUDED


#include "message.h"


/* starts the zygote, or takes back the one there is; 0 or -1 */
int zygote_link_init(void);

/* FAAS_OK, or FAAS_ERROR with errno */
int zygote_link_send(message_t *m, const char *text, size_t length,
    const int *fds, uint32_t nfds);

/* handles what the zygote has said so far */
void zygote_link_read(void);

/* it does not do what it was asked for: it is killed, another one does */
void zygote_link_stuck(void);

/* closes its channel, which ends it; with kill, by SIGKILL; 1 when gone */
int zygote_link_end(int hard);


#endif /* ZYGOTE_LINK_H_INCLUDED */

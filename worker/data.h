
/*
 * Where backend services keep what lasts, below faas_state:
 *
 *   data/NAME    databases of a function: its user's, 0700
 *   share/NAME   a shared store: the service user's and group's, 2770
 *   queue        the events process's: the service user's, 0700
 *   node         which node this is: 16 hex digits, made once
 *
 * data and share are ours, so nobody else makes or replaces what is directly
 * below them.  No link is followed, and what belongs to somebody else stays
 * what it is and is an error.
 */


#ifndef DATA_H_INCLUDED
#define DATA_H_INCLUDED


#include <stdint.h>
#include <sys/types.h>

#include "settings.h"
#include "user.h"


/* data, share and node; 0, or -1 (said) */
int data_init(void);

/* the node's name, a string */
const char *data_node(void);

/* make and check; 0, or -1 with a line in why[SETTINGS_WHY_SIZE] */
int data_function(const char *name, const user_t *user, char *why);
int data_share(const char *name, const user_t *service, char *why);
int data_queue(const user_t *service, char *why);

/* data_share() for all that the configuration names; errors are logged */
void data_shares(void);


#endif /* DATA_H_INCLUDED */

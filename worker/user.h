
/*
 * Whom processes run as.
 */


#ifndef USER_H_INCLUDED
#define USER_H_INCLUDED


#include <sys/types.h>

#include "sandbox.h"


/* decimals joined by ',' */
#define USER_GROUPS_SIZE  (SANDBOX_GROUPS * sizeof("4294967295"))


struct function_s;


typedef struct {
    uid_t                     uid;
    gid_t                     gid;
    gid_t                     group[SANDBOX_GROUPS];    /* supplementary */
    size_t                    groups;
} user_t;


/*
 * The service user: faas_user, else faas, else nobody; ourselves, when we are
 * not root.  0, or -1 with a line in why[SETTINGS_WHY_SIZE].
 */
int user_of_service(user_t *user, char *why);

/*
 * The function's user: its block's, the ceilings', else the service user.
 * One of its own is also in the service user's group, so that it reaches the
 * sockets in faas_state and shared stores.
 */
int user_of_function(const struct function_s *f, user_t *user, char *why);

/* its groups in text[USER_GROUPS_SIZE] */
void user_groups(const user_t *user, char *text);

/* from now on this process is that user's, for good; 0, or -1 with errno.
   Nothing, when we are not root. */
int user_become(const user_t *user);


#endif /* USER_H_INCLUDED */


/*
 * The end of the host: instances get a while to finish, then everything is
 * killed, waited for, and removed.
 */


#ifndef DRAIN_H_INCLUDED
#define DRAIN_H_INCLUDED


/* begins the end; again, with at_once: nothing is let finish any more */
void drain_begin(const char *why, int at_once);

int drain_is_over(void);

/* removes what should not stay; returns the supervisor's exit status */
int drain_end(void);


#endif /* DRAIN_H_INCLUDED */

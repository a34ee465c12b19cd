
/*
 * A mark that does not survive a fork: how a process tells itself from its
 * children without a system call.  What belongs to one process (a connection,
 * a database) keeps one, and is not touched where it is gone.
 */


#ifndef MARK_H_INCLUDED
#define MARK_H_INCLUDED


/*
 * A page of memory that is 1 in this process and 0 in every fork of it
 * (MADV_WIPEONFORK).  NULL with errno.
 */
volatile int *mark_create(void);

/* in any process; NULL too */
void mark_destroy(volatile int *mark);


#endif /* MARK_H_INCLUDED */

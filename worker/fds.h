
/*
 * Which descriptors a process has.  Each process of the fork line has a
 * short list of its own at fixed low numbers, and nothing else: what it does
 * not list is closed.
 */


#ifndef FDS_H_INCLUDED
#define FDS_H_INCLUDED


/* 0 is /dev/null, 1 and 2 are a log; what a process owns begins here */
#define FDS_FIRST  3


/*
 * Moves fd[0 .. n - 1] to FDS_FIRST, FDS_FIRST + 1, ..., close-on-exec, and
 * closes every other descriptor above.  FAAS_OK, or FAAS_ERROR with errno;
 * then it is undefined what is where, and the process has to end.
 */
int fds_keep(int *fd, int n);

/* opens /dev/null for those below FDS_FIRST that are closed */
void fds_fill(void);


#endif /* FDS_H_INCLUDED */

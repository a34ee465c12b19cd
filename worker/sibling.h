
#ifndef SIBLING_H_INCLUDED
#define SIBLING_H_INCLUDED


#include <sys/types.h>


/*
 * As fork(), but the child's parent is the caller's parent, who reaps it.
 * For a process with one thread.  Handlers of pthread_atfork() are not run:
 * a function has after_fork() for that.
 */
pid_t sibling_fork(void);


#endif /* SIBLING_H_INCLUDED */

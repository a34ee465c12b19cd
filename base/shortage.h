
/*
 * What a system call says that can be over without anybody's doing: there was
 * no memory, descriptor, process, or room on a disk.  The rule written once:
 * what fails for a shortage is tried again, until it does not; everything
 * else is an error that is told and stays.
 */


#ifndef SHORTAGE_H_INCLUDED
#define SHORTAGE_H_INCLUDED


#include <errno.h>


/* how soon, milliseconds: the machine's shortage is not ours to make worse */
#define SHORTAGE_AGAIN_MS  1000


static inline int
is_shortage(int error)
{
    switch (error) {

    case ENOMEM:
    case EAGAIN:      /* processes (fork), locked memory, timers */
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOSPC:      /* also inotify watches */
    case EDQUOT:
    case EROFS:       /* how a file system that had an error goes on */
    case EIO:
        return 1;

    default:
        return 0;
    }
}


#endif /* SHORTAGE_H_INCLUDED */

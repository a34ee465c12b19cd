
/*
 * What libfcgi reads and writes with.  It calls its OS_Read() and OS_Write()
 * (fcgios.h) through the dynamic linker, so that those of this program take
 * their place.  Its own are a read() and a write(): a signal that the function
 * has a handler for (without SA_RESTART) was the end of the connection to
 * them, and SIGPIPE that of the process, once the function had set it back.
 */


#ifndef FCGI_IO_H_INCLUDED
#define FCGI_IO_H_INCLUDED


#include <stddef.h>


__attribute__((visibility("default"))) int OS_Read(int fd, char *buf,
    size_t n);
__attribute__((visibility("default"))) int OS_Write(int fd, char *buf,
    size_t n);

/*
 * From now on a read fails (EAGAIN) that would have to wait for longer than
 * pause_ms, or that begins when all_ms are over.  all_ms 0: they wait.
 */
void fcgi_io_bound(int pause_ms, int all_ms);


#endif /* FCGI_IO_H_INCLUDED */


/*
 * What functions print: one pipe for each slot and each version, read here,
 * cut into lines and written, framed, to faas_state/log/NAME.log:
 *
 *   2026/11/23 10:00:00.123 1a2b3c4d slot 5 pid 4711: text
 *
 * A line longer than the buffer is written in pieces, all but the last with
 * a '+' in place of the ':', so nothing is lost and nothing runs together.
 * A file that was moved away is made anew within a second; one that grows
 * over JOURNAL_FILE_MAX is moved to NAME.log.1.  Nothing waits for a full disk:
 * what it does not take is lost, said in nginx's log when that begins and, with
 * the number of lines, in this one when it takes lines again.
 */


#ifndef JOURNAL_H_INCLUDED
#define JOURNAL_H_INCLUDED


#include <stdint.h>
#include <sys/types.h>

#include "loop.h"


#define JOURNAL_LINE_MAX  8192
#define JOURNAL_FILE_MAX  (64 * 1024 * 1024)


/* the log of one function; owned by the function */

typedef struct {
    char                     *name;
    int                       fd;            /* -1: not open */
    uint64_t                  size;
    uint64_t                  checked_ms;
    uint64_t                  lost;          /* lines, not told in it yet */
    uint64_t                  told_ms;       /* in nginx's log, 0: never */
    int                       torn;          /* it ends within a line */
    dev_t                     device;
    ino_t                     inode;
} journal_file_t;


/*
 * One pipe.  Both ends stay open here: the pipe outlives the instances that
 * write to it.  The buffer exists only while it holds half a line.
 */

typedef struct {
    loop_event_t              event;         /* the read end */
    int                       write;
    journal_file_t           *file;          /* NULL: nobody's, dropped */
    char                      version[12];
    int64_t                   slot;          /* -1: the template's */
    pid_t                     pid;
    char                     *buffer;
    uint32_t                  length;
} journal_t;


/* the directory that log files are made in */
void journal_directory(int fd);

void journal_file_init(journal_file_t *file, const char *name);
void journal_file_close(journal_file_t *file);

/* makes the pipe, or takes over one that is there (both ends given, else -1);
   0, or -1 with errno */
int journal_open(journal_t *j, int read_end, int write_end);

/* reads what is there, writes half a line too, and closes */
void journal_close(journal_t *j);

/* who writes to the pipe from now on; what is in it is the former's */
void journal_owner(journal_t *j, journal_file_t *file, const char *version,
    int64_t slot, pid_t pid);


#endif /* JOURNAL_H_INCLUDED */

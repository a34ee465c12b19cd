
/*
 * The watched functions directory.  inotify says that something happened; a
 * look at the directory says what: the watcher keeps (name, inode, size,
 * mtime, ctime) of every candidate and reports differences, so that overflow,
 * missed events and a replaced directory need no code of their own.
 *
 * Events coalesce for 50 ms.  A file that is gone counts as removed after
 * 1 s without reappearance (linkers and install overwrite by delete and
 * create).  A full look is taken every 30 s, and every second while the
 * directory itself does not exist.
 *
 * Time is passed in, so that tests need not wait.
 */


#ifndef WATCH_H_INCLUDED
#define WATCH_H_INCLUDED


#include <stdint.h>


typedef struct watch_s  watch_t;


typedef enum {
    WATCH_CHANGED = 1,       /* new, or another content: take it */
    WATCH_REMOVED,
    WATCH_REFUSED            /* a .so, .sql or .fcgi whose name says nothing,
                                or that is no regular file; why says it; told
                                once until it changes */
} watch_event_e;


/*
 * name is the file's, "hello.so": raw bytes that somebody else chose, to be
 * escaped before they are logged.  why is "" unless refused.  Called from
 * watch_run(), in the order of names; it may call watch_again() and
 * watch_directory(), nothing else of this file.  WATCH_CHANGED comes again
 * for the same content when the file was written to or renamed; WATCH_REMOVED
 * comes for everything reported before, also for what was refused.  Names
 * that begin with a dot are not reported at all.
 */
typedef void (*watch_pt)(void *data, watch_event_e event, const char *name,
    const char *why);


/* begins to watch path (which may not exist yet); NULL with errno on failure.
   The caller frees it with watch_destroy(). */
watch_t *watch_create(const char *path, watch_pt handler, void *data);
void watch_destroy(watch_t *w);

/* the inotify descriptor, to be polled for reading */
int watch_fd(watch_t *w);

/* the directory's descriptor, for openat(); -1 while it does not exist;
   changes when the directory is replaced */
int watch_directory(watch_t *w);

/* reads events and looks where it is due; call when the descriptor is
   readable and when the time watch_next() gave has come */
void watch_run(watch_t *w, uint64_t now_ms);

/* why the last look did not go to its end, 0: it did; one that did not says
   of no file that it is gone, and the next is soon */
int watch_error(watch_t *w);

/* when watch_run() is due without an event: absolute, in now_ms's clock */
uint64_t watch_next(watch_t *w);

/* reports name again soon (a content that changed while it was read, or that
   is being written), the later the more often it is asked for in a row */
void watch_again(watch_t *w, const char *name, uint64_t now_ms);


/*
 * Function name and label of a file name: "hello.so" -> hello, "";
 * "hello@blue.so" -> hello, blue.  0, or -1 when it is neither NAME.so nor
 * NAME@LABEL.so with names of [a-z0-9][a-z0-9_-]{0,62}.  Buffers of 64.
 */
int watch_parse_name(const char *file, char *name, char *label);


/*
 * What a migration is of: "hello.1-first.sql" -> hello, hello, 1;
 * "hello.orders.20.sql" -> hello, orders, 20.  0, or -1 when it is neither
 * NAME.NUMBER[-TITLE].sql (of the function's own database, which is named as
 * it is) nor NAME.DATABASE.NUMBER[-TITLE].sql, NUMBER of 1 to 9 digits and
 * not 0, TITLE of letters, digits, - and _.  Buffers of 64.
 */
int watch_parse_sql(const char *file, char *name, char *database,
    unsigned *number);


#endif /* WATCH_H_INCLUDED */


/*
 * The supervisor's side of the keeper: what is deposited survives a kill -9
 * of the supervisor.  Keys are listed in keeper.h; here they are given as a
 * printf format.
 */


#ifndef DEPOSIT_H_INCLUDED
#define DEPOSIT_H_INCLUDED


/* receives all that is kept; 0, or -1 with errno.  Once, at the start. */
int deposit_open(int channel);

/* takes what was kept under that key: a descriptor that is the caller's now
   (and stays deposited), or -1 */
int deposit_take(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

/* keeps fd under that key; the caller's stays its own.  0, or -1. */
int deposit_put(int fd, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* a deposit that is not needed any more */
void deposit_remove(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

/* takes any deposit whose key begins with prefix: the descriptor and what
   follows the prefix as a number; -1 when there is none left */
int deposit_take_any(const char *prefix, unsigned *number);

/* is there one that nobody took whose key begins with prefix?  0, or 1 with
   what follows the prefix as a number */
int deposit_has_any(const char *prefix, unsigned *number);

/* removes and closes what nobody took: leftovers of a crash */
void deposit_settle(void);


#endif /* DEPOSIT_H_INCLUDED */

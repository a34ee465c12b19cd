
/*
 * Migrations: numbered SQL files beside a function's file in the functions
 * directory (watch_parse_sql()).  They are gathered and packed when a version
 * is started first; the template applies them before it loads the code.
 */


#ifndef MIGRATIONS_H_INCLUDED
#define MIGRATIONS_H_INCLUDED


#include <sys/types.h>


#define MIGRATIONS_WHY_SIZE  192
#define MIGRATIONS_MOST      4096                   /* files */
#define MIGRATIONS_SIZE      (16 * 1024 * 1024)     /* bytes of all of them */


/* what a version is started with */

typedef struct {
    int                       fd;            /* memfd, packed as message.h
                                                says; -1: there are none */
    char                      sha256[65];    /* of its content; "": none */
} migrations_t;


/*
 * Gathers those of a function from a directory: in the order of databases,
 * its own first, and of numbers, no number twice.  Whose files they may be is
 * store_take()'s rule.  0, the caller closes m->fd; -1 with a line in
 * why[MIGRATIONS_WHY_SIZE]; -2, also with a line: one of them is being
 * written, the end of which will be told of; -3, also with a line: the machine
 * was short of something, come back soon.
 */
int migrations_gather(migrations_t *m, int dir, const char *function,
    uid_t owner, uid_t deployer, char *why);

/* what another supervisor gathered, by its descriptor: the hash; 0 or -1 */
int migrations_adopt(migrations_t *m, int fd);

void migrations_close(migrations_t *m);


#endif /* MIGRATIONS_H_INCLUDED */

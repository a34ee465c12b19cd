
/*
 * Who is whose.  A subreaper (the zygote, a function init) has two kinds of
 * children: members, which it or its template forked on purpose, and
 * strangers, which came to it when their parent died.  A stranger in the
 * session of a living member is let be (a shell's background job); any other
 * has lost all that it belonged to and is killed.  Its own children become
 * strangers by that, so a whole tree of daemons falls within a few rounds.
 *
 * A template gives birth to its init's children (CLONE_PARENT), so the list
 * of members is memory that the two share; instances do not have it
 * (MADV_DONTFORK).  A birth is announced before the fork and over when the
 * supervisor has been told of it: in between the init touches nobody it does
 * not know.
 */


#ifndef FAMILY_H_INCLUDED
#define FAMILY_H_INCLUDED


#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>


/* more than a version has slots, and more versions than a board has */
#define FAMILY_MEMBERS  8192


/* Made by family_create(), freed with the process. */

typedef struct {
    _Atomic uint32_t          birth;       /* template: 1 while one is on;
                                              init: 0 when that has died */
    _Atomic int32_t           last;        /* init: highest place in use + 1 */
    _Atomic int32_t           member[FAMILY_MEMBERS];  /* pid, 0: free;
                                              template or init sets, init
                                              clears after reaping */
} family_t;


/* empty, shared with later forks of this process; NULL with errno */
family_t *family_create(void);

/* in the template: instances shall not inherit it */
int family_hide(family_t *family);

/* adds a member; FAAS_OK, or FAAS_BUSY when all places are taken */
int family_join(family_t *family, pid_t pid);

/* the member has been reaped */
void family_leave(family_t *family, pid_t pid);

/* 0, which getsid() says of a session outside our process namespace, is none */
int family_has(family_t *family, pid_t pid);

/* around the fork of a member by the template; a template that dies in
   between leaves it to the init to say that it is over */
void family_birth(family_t *family);
void family_born(family_t *family);
int family_has_birth(family_t *family);

/* the caller's children, as /proc lists them; a descriptor, -1 with errno */
int family_open_children(void);

/* kills the strangers among the caller's children; each will be heard of by
   SIGCHLD, and may leave children: look again then.  FAAS_AGAIN: there was a
   birth, some may be left, of whom nothing will be heard */
int family_kill_strangers(family_t *family, int children);

/* kills all children, reaps them, and those that come to it by that, until
   there are none; or once, within 10 ms: 1 when some are left */
void family_kill_all(int children);
int family_kill_once(int children);


#endif /* FAMILY_H_INCLUDED */

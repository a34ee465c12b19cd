
/*
 * The content-addressed store, faas_state/store: one read-only file for each
 * content of a function, named by its sha256.  Instances map only these, so
 * overwriting or truncating the dropped file can never fault a running one.
 */


#ifndef STORE_H_INCLUDED
#define STORE_H_INCLUDED


#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>


#define STORE_WHY_SIZE  192


typedef struct {
    char                      sha256[65];    /* hex, lower case */
    int                       fd;            /* O_RDONLY, of the store's copy,
                                                owned by the caller */
    uint64_t                  size;
} store_object_t;


/* opens (and makes, 0700) the store below state_dir; a descriptor, or -1 with
   errno: EPERM when it belongs to somebody else */
int store_open(int state_dir);

/*
 * Takes the file `name` of the directory functions_dir into the store: opened
 * with O_NOFOLLOW, regular, not empty, at most 1 GiB, with one hard link,
 * owned by root, by owner or by deployer ((uid_t) -1: none), not writable by
 * group or others; copied, synced, checked not to have changed meanwhile,
 * renamed into place (or the copy that is there already used).  0; -1 with a
 * line in why[STORE_WHY_SIZE]; -2, also with a line, when the file is being
 * written, changed while it was read, or is gone: no error yet, come back
 * when the next event says so, or with watch_again(); -3 with a line when the
 * machine was short of something (shortage.h): an error until it is over,
 * come back with watch_again().
 */
int store_take(int store, int functions_dir, const char *name, uid_t owner,
    uid_t deployer, store_object_t *object, char *why);

/*
 * Reads a file of the directory whole, under the rules of store_take(), but
 * nothing is stored and it may be empty.  0 with malloc()ed *data, the
 * caller's, zero-terminated behind *size bytes; -1, -2 and -3 as above.
 */
int store_read(int functions_dir, const char *name, uid_t owner,
    uid_t deployer, size_t most, char **data, size_t *size, char *why);

/* sha256 of n bytes, as hex; 0 or -1 */
int store_sha256(const void *data, size_t n, char *sha256);

/* opens what the store has for sha256; a descriptor, or -1 with errno */
int store_get(int store, const char *sha256);

/* removes objects whose sha256 keep() does not want (0), and leftovers of
   copies that were interrupted; returns how many went, or -1 with errno */
int store_sweep(int store, int (*keep)(const char *sha256, void *data),
    void *data);


#endif /* STORE_H_INCLUDED */

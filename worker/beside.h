
/*
 * What is installed beside the supervisor's own program.
 */


#ifndef BESIDE_H_INCLUDED
#define BESIDE_H_INCLUDED


#include <limits.h>


/* path of `name` there, in path[PATH_MAX]; 0, or -1 with errno */
int beside_path(const char *name, char *path);

/*
 * That program, held open (O_PATH): a package that is upgraded under a living
 * host must not give it processes of another release.  What a supervisor
 * before us held is taken back from the keeper's key.  A descriptor, or -1
 * with errno.
 */
int beside_program(const char *name, const char *key);


#endif /* BESIDE_H_INCLUDED */

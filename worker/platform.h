
/*
 * Functions of the platform itself: ordinary ones, but that their files are
 * beside the supervisor, that their names begin with '_', which no file in
 * the functions directory may have, and that `function *` does not hold for
 * them.  `_calls` (faas-calls.so) is the front of async calls.
 */


#ifndef PLATFORM_H_INCLUDED
#define PLATFORM_H_INCLUDED


/* deploys those that are not there yet; after the adoption of functions.  One
   that cannot be had is told of, once. */
void platform_deploy(void);


#endif /* PLATFORM_H_INCLUDED */

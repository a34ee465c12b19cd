
/*
 * What ps shows.  The memory of the arguments and the environment that the
 * program was started with becomes the title, so that neither is seen in a
 * function's /proc entry.
 */


#ifndef TITLE_H_INCLUDED
#define TITLE_H_INCLUDED


/* once, in main(), before anybody keeps a pointer into environ */
void title_init(int argc, char **argv);

void title_set(const char *format, ...) __attribute__((format(printf, 1, 2)));


#endif /* TITLE_H_INCLUDED */

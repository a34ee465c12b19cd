
/*
 * What small files in faas_state say.  Pure: who reads the files is data.c
 * and claims.c.
 */


#ifndef STATE_FILE_H_INCLUDED
#define STATE_FILE_H_INCLUDED


#include <stddef.h>


#define STATE_FILE_NODE  16


/* the node's name, as text[size] has it: hex digits, then a line's end or
   nothing; 0, or -1 */
int state_file_node(const char *text, size_t size,
    char node[STATE_FILE_NODE + 1]);

/* the next name of the order of functions, NULL: no more; *p, the rest of a
   zero-terminated text, is changed and moves on */
const char *state_file_order(char **p);


#endif /* STATE_FILE_H_INCLUDED */


/*
 * What others wrote, as part of a line of ours: it must neither make lines of
 * its own nor steer a terminal.
 */


#ifndef LINE_H_INCLUDED
#define LINE_H_INCLUDED


#include <stddef.h>


/* control characters become spaces */

static inline void
line_clean(char *text, size_t n)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        if ((unsigned char) text[i] < 0x20 || text[i] == 0x7f) {
            text[i] = ' ';
        }
    }
}


#endif /* LINE_H_INCLUDED */

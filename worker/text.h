
/*
 * A text that grows: lines for those who read NAME VALUE (faas_control.h).
 * Out of memory ends the process, as loop_alloc() does.
 */


#ifndef TEXT_H_INCLUDED
#define TEXT_H_INCLUDED


#include <stddef.h>


/* zeroed at first; data is malloc()ed and the owner's, or NULL */

typedef struct {
    char                     *data;
    size_t                    size;
    size_t                    room;
} text_t;


void text_add(text_t *t, const char *s, size_t n);
void text_format(text_t *t, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* s percent-encoded */
void text_value(text_t *t, const char *s);

/* a line of a name and one value */
void text_line(text_t *t, const char *name, const char *value);

/* 1 when both hold the same */
int text_is_same(const text_t *a, const text_t *b);

void text_free(text_t *t);


#endif /* TEXT_H_INCLUDED */

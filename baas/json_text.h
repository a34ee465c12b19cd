
/*
 * JSON, written: a text that grows.  The caller writes the punctuation.
 */


#ifndef JSON_TEXT_H_INCLUDED
#define JSON_TEXT_H_INCLUDED


#include <stddef.h>
#include <stdint.h>


/* zeroed at first; data is malloc()ed, zero-terminated and the owner's.
   failed: out of memory, and stays so */

typedef struct {
    char                     *data;
    size_t                    size;
    size_t                    room;
    int                       failed;
} json_text_t;


/* as it is */
void json_put(json_text_t *t, const char *s);
void json_add(json_text_t *t, const char *s, size_t n);

/* in quotes; what is not UTF-8 becomes U+FFFD */
void json_string(json_text_t *t, const char *s, size_t n);

/* the digits alone */
void json_base64(json_text_t *t, const void *data, size_t n);

/* is it UTF-8 (RFC 3629)?  0 or 1 */
int json_is_text(const void *text, size_t n);

void json_free(json_text_t *t);


#endif /* JSON_TEXT_H_INCLUDED */


/*
 * What the fuzz targets share.  The first lines of a target say what it is
 * linked with, as in tests/unit.  What has to hold is checked with must():
 * the fuzzer takes an abort for what it is.
 */


#ifndef FUZZ_H_INCLUDED
#define FUZZ_H_INCLUDED


#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


#define must(x)                                                               \
    do {                                                                      \
        if (!(x)) {                                                           \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__,           \
                    __LINE__, #x);                                            \
            abort();                                                          \
        }                                                                     \
    } while (0)


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


/* a copy that ends where the input ends, zero-terminated behind that */

static inline char *
fuzz_text(const uint8_t *data, size_t size)
{
    char  *text;

    text = malloc(size + 1);
    must(text != NULL);

    if (size > 0) {
        memcpy(text, data, size);
    }

    text[size] = '\0';

    return text;
}


#endif /* FUZZ_H_INCLUDED */


/* FNV-1a of 64 bits, eight bytes a step: what body.c and load.c agree on */


#ifndef HASH_H_INCLUDED
#define HASH_H_INCLUDED


#include <stddef.h>
#include <stdint.h>
#include <string.h>


#define HASH_START  0xcbf29ce484222325ull
#define HASH_PRIME  0x100000001b3ull


/* the pieces of one body have lengths that are multiples of 8, the last one
   excepted */
static uint64_t
hash_add(uint64_t hash, const void *data, size_t n)
{
    uint64_t              word;
    const unsigned char  *p;

    for (p = data; n >= sizeof(word); p += sizeof(word), n -= sizeof(word)) {
        memcpy(&word, p, sizeof(word));
        hash = (hash ^ word) * HASH_PRIME;
    }

    for (; n; p++, n--) {
        hash = (hash ^ *p) * HASH_PRIME;
    }

    return hash;
}


#endif /* HASH_H_INCLUDED */

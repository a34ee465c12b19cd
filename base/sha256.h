
/*
 * SHA-256 (FIPS 180-4), for programs that functions are forked from: there
 * OpenSSL would cost each fork more than all the rest of the runtime.
 */


#ifndef SHA256_H_INCLUDED
#define SHA256_H_INCLUDED


#include <stddef.h>
#include <stdint.h>


#define SHA256_SIZE  32


typedef struct {
    uint32_t                  state[8];
    uint64_t                  length;      /* bytes so far */
    uint8_t                   block[64];   /* what does not fill one yet */
} sha256_t;


void sha256_init(sha256_t *s);
void sha256_update(sha256_t *s, const void *data, size_t n);
void sha256_final(sha256_t *s, uint8_t digest[SHA256_SIZE]);


#endif /* SHA256_H_INCLUDED */


#include <string.h>

#include "sha256.h"


#define SHA256_BLOCK  64


static void sha256_block(uint32_t state[8], const uint8_t *p);


/* 32 bits of the cube roots' fractions of the first 64 primes */

static const uint32_t  sha256_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5,
    0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
    0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
    0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
    0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
    0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
    0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5,
    0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2
};


void
sha256_init(sha256_t *s)
{
    static const uint32_t  first[8] = {
        0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19
    };

    memcpy(s->state, first, sizeof(first));
    s->length = 0;
}


void
sha256_update(sha256_t *s, const void *data, size_t n)
{
    size_t          there, part;
    const uint8_t  *p;

    p = data;
    there = s->length % SHA256_BLOCK;
    s->length += n;

    if (there) {
        part = SHA256_BLOCK - there < n ? SHA256_BLOCK - there : n;

        memcpy(s->block + there, p, part);
        p += part;
        n -= part;

        if (there + part < SHA256_BLOCK) {
            return;
        }

        sha256_block(s->state, s->block);
    }

    for ( /* void */ ; n >= SHA256_BLOCK; n -= SHA256_BLOCK) {
        sha256_block(s->state, p);
        p += SHA256_BLOCK;
    }

    if (n) {
        memcpy(s->block, p, n);
    }
}


void
sha256_final(sha256_t *s, uint8_t digest[SHA256_SIZE])
{
    int       i;
    size_t    there;
    uint64_t  bits;

    there = s->length % SHA256_BLOCK;
    bits = s->length * 8;

    s->block[there++] = 0x80;

    if (there > SHA256_BLOCK - 8) {
        memset(s->block + there, 0, SHA256_BLOCK - there);
        sha256_block(s->state, s->block);
        there = 0;
    }

    memset(s->block + there, 0, SHA256_BLOCK - 8 - there);

    for (i = 0; i < 8; i++) {
        s->block[SHA256_BLOCK - 1 - i] = (uint8_t) (bits >> (8 * i));
    }

    sha256_block(s->state, s->block);

    for (i = 0; i < SHA256_SIZE; i++) {
        digest[i] = (uint8_t) (s->state[i / 4] >> (24 - 8 * (i % 4)));
    }
}


#define rotate(x, n)  ((x) >> (n) | (x) << (32 - (n)))

static void
sha256_block(uint32_t state[8], const uint8_t *p)
{
    int       i;
    uint32_t  a, b, c, d, e, f, g, h, t1, t2, w[64];

    for (i = 0; i < 16; i++, p += 4) {
        w[i] = (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16
               | (uint32_t) p[2] << 8 | p[3];
    }

    for (i = 16; i < 64; i++) {
        t1 = w[i - 2];
        t2 = w[i - 15];

        w[i] = (rotate(t1, 17) ^ rotate(t1, 19) ^ t1 >> 10) + w[i - 7]
               + (rotate(t2, 7) ^ rotate(t2, 18) ^ t2 >> 3) + w[i - 16];
    }

    a = state[0];
    b = state[1];
    c = state[2];
    d = state[3];
    e = state[4];
    f = state[5];
    g = state[6];
    h = state[7];

    for (i = 0; i < 64; i++) {
        t1 = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25))
             + ((e & f) ^ (~e & g)) + sha256_k[i] + w[i];
        t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22))
             + ((a & b) ^ (a & c) ^ (b & c));

        h = g;
        g = f;
        f = e;
        e = d + t1;
        d = c;
        c = b;
        b = a;
        a = t1 + t2;
    }

    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
    state[5] += f;
    state[6] += g;
    state[7] += h;
}

/* objects: base/sha256.c */
/* libs: -lcrypto */

/*
 * SHA-256 against FIPS 180-4's examples and OpenSSL's, at every length around
 * the blocks' ends and in pieces of every size.
 */


#include <openssl/sha.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sha256.h"


static void
hex(const char *text, char *out)
{
    int       i;
    uint8_t   digest[SHA256_SIZE];
    sha256_t  s;

    sha256_init(&s);
    sha256_update(&s, text, strlen(text));
    sha256_final(&s, digest);

    for (i = 0; i < SHA256_SIZE; i++) {
        (void) sprintf(out + 2 * i, "%02x", digest[i]);
    }
}


static void
test_examples_of_the_standard(void **state)
{
    char  out[65];

    (void) state;

    hex("", out);
    assert_string_equal(out, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934c"
                             "a495991b7852b855");
    hex("abc", out);
    assert_string_equal(out, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9c"
                             "b410ff61f20015ad");
    hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", out);
    assert_string_equal(out, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167"
                             "f6ecedd419db06c1");
}


static void
test_every_length_and_piece_is_as_openssl_has_it(void **state)
{
    size_t    n, piece, at;
    uint8_t   data[300], digest[SHA256_SIZE], expected[SHA256_SIZE];
    sha256_t  s;

    (void) state;

    for (n = 0; n < sizeof(data); n++) {
        data[n] = (uint8_t) (n * 37 + 11);
    }

    for (n = 0; n <= sizeof(data); n++) {
        (void) SHA256(data, n, expected);

        for (piece = 1; piece <= 130; piece++) {
            sha256_init(&s);

            for (at = 0; at < n; at += piece) {
                sha256_update(&s, data + at,
                              n - at < piece ? n - at : piece);
            }

            sha256_final(&s, digest);
            assert_memory_equal(digest, expected, SHA256_SIZE);
        }
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_examples_of_the_standard),
        cmocka_unit_test(test_every_length_and_piece_is_as_openssl_has_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

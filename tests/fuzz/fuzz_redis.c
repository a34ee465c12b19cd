/* objects: $(filter-out baas/kv_%,$(BAAS_REDIS)) baas/process_mark.c */
/* libs: -lhiredis */

/* The URL of a Redis, and what its answers mean. */


#include "fuzz.h"

#include <hiredis/hiredis.h>

#include "baas.h"
#include "redis_reply.h"
#include "redis_url.h"


/*
 * hiredis 0.14 allocates what an answer announces, without a bound of its
 * own.  Where there is less it has to say so: that is gone through as well.
 */

const char *__asan_default_options(void);

const char *
__asan_default_options(void)
{
    return "allocator_may_return_null=1:max_allocation_size_mb=256";
}


static void
url(const uint8_t *data, size_t size)
{
    char         *text, why[256], buf[REDIS_URL_HOST + 16];
    uint32_t      i;
    redis_url_t   u;

    text = fuzz_text(data, size);
    why[0] = '\0';

    if (redis_url_parse(&u, text, why, sizeof(why)) == FAAS_OK) {
        must(redis_url_is(text));
        must(u.addresses >= 1 && u.addresses <= REDIS_URL_NODES);

        for (i = 0; i < u.addresses; i++) {
            must(u.address[i].host[0] != '\0');
            must(memchr(u.address[i].host, '\0', REDIS_URL_HOST) != NULL);
            must((u.address[i].host[0] == '/') == (u.address[i].port == 0));
            (void) redis_address_text(&u.address[i], buf, sizeof(buf));
        }

        must(u.timeout_ms >= 0 && u.wait_timeout_ms >= 0);

    } else {
        must(why[0] != '\0' && strchr(why, '\n') == NULL);
    }

    free(text);
}


static void
reply(const uint8_t *data, size_t size)
{
    void              *r;
    size_t             n;
    int64_t            number;
    const char        *text;
    redisReader       *reader;
    redis_redirect_t   redirect;

    reader = redisReaderCreate();
    must(reader != NULL);

    if (redisReaderFeed(reader, (const char *) data, size) == REDIS_OK) {

        r = NULL;

        while (redisReaderGetReply(reader, &r) == REDIS_OK && r != NULL) {
            (void) redis_code(r);
            (void) redis_exec_code(r);
            (void) redis_is_error(r, "MOVED");

            if (redis_redirect(r, &redirect)) {
                must(redirect.slot < 16384);
                must(memchr(redirect.address.host, '\0', REDIS_URL_HOST)
                     != NULL);
            }

            number = 0;
            (void) redis_reply_number(r, &number);

            text = redis_reply_text(r, &n);
            must(text != NULL || n == 0);

            freeReplyObject(r);
            r = NULL;
        }
    }

    redisReaderFree(reader);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 4096) {
        return 0;
    }

    if (data[0] & 1) {
        reply(data + 1, size - 1);

    } else {
        url(data + 1, size - 1);
    }

    return 0;
}

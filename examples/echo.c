
/*
 * echo: answers with the body it was sent, of any size, in constant memory,
 * under the content type it came with.
 *
 *     curl --data-binary @file http://127.0.0.1:8080/fn/echo
 *
 * Resident.  A body that cannot be read to its end (the client went away)
 * ends in an error, never in an answer that looks complete.
 */


#include <faas.h>


#define ECHO_CHUNK  (64 * 1024)


static int echo_copy(faas_request_t *r, char *buf);


static int
echo(faas_request_t *r)
{
    char        *buf;
    const char  *type;

    type = faas_header(r, "Content-Type");

    if (faas_header_set(r, "Content-Type",
                        type != NULL ? type : "application/octet-stream")
        != FAAS_OK)
    {
        return FAAS_ERROR;
    }

    buf = faas_alloc(r, ECHO_CHUNK);
    if (buf == NULL) {
        return FAAS_ERROR;
    }

    return echo_copy(r, buf);
}


static int
echo_copy(faas_request_t *r, char *buf)
{
    ssize_t  n;

    for ( ;; ) {
        n = faas_read(r, buf, ECHO_CHUNK);

        if (n == 0) {
            return FAAS_OK;
        }

        if (n < 0) {
            faas_log(r, "the body ended early");
            return FAAS_ERROR;
        }

        if (faas_write(r, buf, (size_t) n) != FAAS_OK) {
            return FAAS_ERROR;
        }
    }
}


FAAS_FUNCTION(.handler = echo, .mode = "resident", .timeout = "10m")

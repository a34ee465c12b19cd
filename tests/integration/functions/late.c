
/*
 * Answers 300 kB, and then fails in the way that the query names.
 */


#include <signal.h>
#include <unistd.h>

#include <faas.h>


static int
late(faas_request_t *r)
{
    int   i;
    char  buf[1000] = { 0 };

    if (faas_query(r, "length", NULL) != NULL) {
        faas_header_set(r, "Content-Length", "400000");
    }

    for (i = 0; i < 300; i++) {
        if (faas_write(r, buf, sizeof(buf)) != 0) {
            return -1;
        }
    }

    if (faas_flush(r) != 0) {
        return -1;
    }

    if (faas_query(r, "exit", NULL) != NULL) {
        _exit(1);
    }

    if (faas_query(r, "die", NULL) != NULL) {
        raise(SIGKILL);
    }

    while (faas_query(r, "hang", NULL) != NULL) {
        pause();
    }

    return faas_query(r, "fail", NULL) ? -1 : 0;
}


FAAS_FUNCTION(.handler = late)

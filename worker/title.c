
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "title.h"


static char    *title_start;
static size_t   title_size;


void
title_init(int argc, char **argv)
{
    int    i;
    char  *last;

    if (argc == 0) {
        return;
    }

    /* as long as they stand one behind the other, as the kernel put them */

    last = argv[0] + strlen(argv[0]) + 1;

    for (i = 1; i < argc && argv[i] == last; i++) {
        last += strlen(argv[i]) + 1;
    }

    for (i = 0; environ[i] && environ[i] == last; i++) {
        last += strlen(environ[i]) + 1;
    }

    title_start = argv[0];
    title_size = (size_t) (last - title_start);

    /* the zygote needs none of it, and a function gets its own */

    (void) clearenv();
}


void
title_set(const char *format, ...)
{
    int      n;
    char     text[128];
    va_list  ap;

    va_start(ap, format);
    n = vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);

    if (n < 0) {
        return;
    }

    (void) prctl(PR_SET_NAME, text, 0, 0, 0);

    if (title_size == 0) {
        return;
    }

    memset(title_start, 0, title_size);
    (void) snprintf(title_start, title_size, "%s", text);
}

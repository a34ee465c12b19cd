
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "faas_scoreboard.h"
#include "process.h"


/* fields of /proc/PID/stat, from 1; the second is the name */

#define PROCESS_NAME     2
#define PROCESS_PARENT   4
#define PROCESS_STARTED  22


int
process_look(pid_t pid, process_t *p)
{
    int          fd, i;
    char         buf[1024];
    ssize_t      n;
    const char  *field;

    (void) snprintf(buf, sizeof(buf), "/proc/%d/stat", (int) pid);

    fd = open(buf, O_RDONLY|O_CLOEXEC);

    if (fd == -1) {
        return errno == ENOENT || errno == ESRCH ? FAAS_DONE : FAAS_ERROR;
    }

    n = read(fd, buf, sizeof(buf) - 1);
    close(fd);

    if (n <= 0) {
        return FAAS_DONE;
    }

    buf[n] = '\0';

    /* the name is in parentheses and may hold anything */

    field = strrchr(buf, ')');

    for (i = PROCESS_NAME; field != NULL && i < PROCESS_STARTED; i++) {
        field = strchr(field + 1, ' ');

        if (field != NULL && i + 1 == PROCESS_PARENT) {
            p->parent = (pid_t) strtol(field + 1, NULL, 10);
        }
    }

    if (field == NULL) {
        return FAAS_ERROR;
    }

    p->started = strtoull(field + 1, NULL, 10);

    return FAAS_OK;
}


int
process_is(pid_t pid, uint64_t started)
{
    process_t  p;

    switch (process_look(pid, &p)) {

    case FAAS_OK:
        return started == 0 || p.started == started;

    case FAAS_DONE:
        return 0;

    default:
        return 1;
    }
}

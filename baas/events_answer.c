
#include <string.h>
#include <strings.h>

#include "events_deliver.h"


const char *
events_answer_header(const events_answer_t *answer, const char *name,
    char *buf, size_t size)
{
    size_t       n, length;
    const char  *line, *end, *value;

    if (answer->headers == NULL) {
        return NULL;
    }

    length = strlen(name);

    for (line = answer->headers; *line; line = end + (*end == '\n')) {
        end = line + strcspn(line, "\n");

        if ((size_t) (end - line) <= length || line[length] != ':'
            || strncasecmp(line, name, length) != 0)
        {
            continue;
        }

        value = line + length + 1;
        value += strspn(value, " \t");
        n = value < end ? (size_t) (end - value) : 0;

        if (n >= size) {
            return NULL;
        }

        memcpy(buf, value, n);
        buf[n] = '\0';

        return buf;
    }

    return NULL;
}

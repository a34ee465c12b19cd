
#include <string.h>

#include "faas_scoreboard.h"
#include "state_file.h"


int
state_file_node(const char *text, size_t size, char node[STATE_FILE_NODE + 1])
{
    size_t  i;

    if (size < STATE_FILE_NODE
        || (size > STATE_FILE_NODE && text[STATE_FILE_NODE] != '\n'))
    {
        return -1;
    }

    for (i = 0; i < STATE_FILE_NODE; i++) {

        if (text[i] == '\0' || strchr("0123456789abcdef", text[i]) == NULL) {
            return -1;
        }
    }

    memcpy(node, text, STATE_FILE_NODE);
    node[STATE_FILE_NODE] = '\0';

    return 0;
}


const char *
state_file_order(char **p)
{
    char  *line, *end;

    while ((end = strchr(*p, '\n')) != NULL) {
        line = *p;
        *end = '\0';
        *p = end + 1;

        if (*line != '\0' && end - line < FAAS_NAME_SIZE) {
            return line;
        }
    }

    return NULL;
}

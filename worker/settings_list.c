
#include <stdlib.h>
#include <string.h>

#include "settings.h"


const char *
settings_next(const settings_list_t *list, const char *p)
{
    if (p == NULL) {
        p = list->text;

    } else {
        p += strlen(p) + 1;
    }

    return p != NULL && p < list->text + list->length ? p : NULL;
}


int
settings_append(settings_list_t *list, const char *s, size_t n)
{
    char  *text;

    text = realloc(list->text, list->length + n + 1);
    if (text == NULL) {
        return -1;
    }

    memcpy(text + list->length, s, n);
    text[list->length + n] = '\0';

    list->text = text;
    list->length += n + 1;

    return 0;
}

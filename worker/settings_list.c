
#include <stdlib.h>
#include <string.h>

#include "loop.h"
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


void
settings_append(settings_list_t *list, const char *s, size_t n)
{
    list->text = loop_realloc(list->text, list->length + n + 1);

    memcpy(list->text + list->length, s, n);
    list->text[list->length + n] = '\0';

    list->length += n + 1;
}


/*
 * The settings text of tender.h, parsed.  Pure: opens nothing.
 */


#ifndef TENDER_SETTINGS_H_INCLUDED
#define TENDER_SETTINGS_H_INCLUDED


#include <stddef.h>


/* one directory of databases */

typedef struct {
    const char               *name;        /* function or shared store */
    const char               *path;
    const char               *token;       /* NULL: a shared store */
} tender_settings_place_t;


/* all strings are in `text` */

typedef struct {
    char                     *text;
    const char               *state;
    const char               *error_log;   /* NULL: descriptor 2 */
    int                       log_level;
    tender_settings_place_t  *place;
    size_t                    places;
} tender_settings_t;


/* 0; or -1 with a line in why[size], and nothing is to be freed */
int tender_settings_parse(tender_settings_t *s, const char *text, size_t n,
    char *why, size_t size);
void tender_settings_free(tender_settings_t *s);


#endif /* TENDER_SETTINGS_H_INCLUDED */


/*
 * Callbacks: who may be told of the end of an async call, and the signature
 * by which he knows that it is us.  Pure.
 *
 * A URL is allowed if it begins with one of the prefixes of faas_callback and
 * cannot mean anything outside of it: the prefix ends where a part of the URL
 * ends, nothing in the path leads upwards, there is no user in it and nothing
 * that two parsers could read in two ways.
 */


#ifndef EVENTS_CALLBACK_H_INCLUDED
#define EVENTS_CALLBACK_H_INCLUDED


#include <stddef.h>
#include <stdint.h>

#include <faas.h>

#include "events_settings.h"


#define EVENTS_URL_MAX         2000
#define EVENTS_SIGNATURE_SIZE  128


/* the longest prefix that allows it, or NULL */
const events_callback_t *events_callback_find(const events_settings_t *s,
    const char *url);

/* "t=UNIX,v1=HEX", the HMAC-SHA256 of "UNIX." and the body, in
   buf[EVENTS_SIGNATURE_SIZE] */
void events_callback_sign(const events_callback_t *c, int64_t unix_s,
    faas_bytes_t body, char *buf);


#endif /* EVENTS_CALLBACK_H_INCLUDED */


/*
 * A call (events_deliver.h) as libcurl takes it: what is sent, and where to.
 */


#ifndef EVENTS_REQUEST_H_INCLUDED
#define EVENTS_REQUEST_H_INCLUDED


#include <curl/curl.h>

#include "events_deliver.h"


/* sets all that says what is asked; the headers are the caller's to free,
   also on failure, when they outlived the handle.  FAAS_OK or FAAS_EINVAL */
int events_request_prepare(CURL *easy, const events_call_t *call,
    struct curl_slist **headers);

/* may that line, "Name: value" of n bytes, be sent with a call?  0 or 1 */
int events_request_line_is_fit(const char *line, size_t n);


#endif /* EVENTS_REQUEST_H_INCLUDED */

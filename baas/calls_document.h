
/*
 * An async call as JSON: what GET PREFIX/_calls/ID answers, and what a
 * callback is told.  Pure; used by the function _calls and by the events
 * process.
 *
 *   {
 *     "id": "NAME.HEX",
 *     "state": "queued" | "running" | "done" | "failed" | "cancelled",
 *     "attempts": 1,                       calls that were begun
 *     "created": "2026-11-23T10:00:00.000Z",
 *     "updated": "2026-11-23T10:00:01.250Z",
 *     "error": "...",                      failed: why
 *     "status": 200,                       done: the answer
 *     "headers": [["Content-Type", "text/plain"], ...],    but those of
 *                                          nginx and of its connection
 *     "body": "...",
 *     "encoding": "base64"                 when the body is not UTF-8
 *   }
 */


#ifndef CALLS_DOCUMENT_H_INCLUDED
#define CALLS_DOCUMENT_H_INCLUDED


#include <stddef.h>
#include <stdint.h>

#include "wire.h"


typedef struct {
    const char               *id;
    uint32_t                  state;       /* wire_call_e */
    uint32_t                  attempts;
    int64_t                   created_ms;
    int64_t                   updated_ms;
    int                       status;
    faas_bytes_t              headers;     /* lines "Name: value\n" */
    faas_bytes_t              body;
    faas_bytes_t              text;
} calls_document_t;


/* malloc()ed, zero-terminated, length in *n; NULL: out of memory */
char *calls_document(const calls_document_t *d, size_t *n);

/* is a header of this name the function's, and not the connection's or the
   server's that brought it? */
int calls_document_is_kept(const char *name, size_t n);

/* "queued" and so on */
const char *calls_document_state(uint32_t state);


#endif /* CALLS_DOCUMENT_H_INCLUDED */


/*
 * What the platform's own functions (_calls, baas/functions/) have beyond
 * faas.h.  Not installed: none of it is promised to anybody.
 */


#ifndef FAAS_PLATFORM_H_INCLUDED
#define FAAS_PLATFORM_H_INCLUDED


#include "faas.h"


#ifdef __cplusplus
extern "C" {
#endif


/*
 * Asks the events process one question of wire.h; the answer is valid until
 * the handler returns.  What may be asked is decided there, by the function's
 * token.
 */
FAAS_EXPORT int faas_wire(faas_request_t *r, uint32_t operation,
    faas_bytes_t payload, faas_bytes_t *answer);


#ifdef __cplusplus
}
#endif


#endif /* FAAS_PLATFORM_H_INCLUDED */


/*
 * What an error of Redis means for the caller: a code of faas.h.  Pure.
 */


#ifndef REDIS_REPLY_H_INCLUDED
#define REDIS_REPLY_H_INCLUDED


#include <stddef.h>
#include <stdint.h>

#include <hiredis/hiredis.h>

#include "redis_url.h"


/* "MOVED 3999 127.0.0.1:6381" */

typedef struct {
    uint32_t                  slot;
    int                       ask;         /* 1: ASK, 0: MOVED */
    redis_address_t           address;     /* host "": that of who said it */
} redis_redirect_t;


/* the code for the text of an error, without '-' */
int redis_error_code(const char *text, size_t size);

/* FAAS_OK for what is no error; NULL is FAAS_ETIMEDOUT.  Looks into arrays of
   EXEC too: the first error there counts */
int redis_code(const redisReply *reply);

/* as redis_code(), for the answer to EXEC: FAAS_ECONFLICT when what was
   watched has changed */
int redis_exec_code(const redisReply *reply);

/* does the error begin with that word? */
int redis_is_error(const redisReply *reply, const char *word);

/* 1 and *r filled in when it is a redirection of a cluster */
int redis_redirect(const redisReply *reply, redis_redirect_t *r);

/* an integer, or the decimal number in a string: FAAS_OK, or FAAS_ECORRUPT */
int redis_reply_number(const redisReply *reply, int64_t *number);

/* bytes of a string or status reply; of anything else none, NULL */
const char *redis_reply_text(const redisReply *reply, size_t *size);


#endif /* REDIS_REPLY_H_INCLUDED */

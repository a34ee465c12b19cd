
/*
 * One receive in the making: what the files of the engine in Redis share that
 * take part in it.
 */


#ifndef QUEUE_REDIS_RECEIVE_H_INCLUDED
#define QUEUE_REDIS_RECEIVE_H_INCLUDED


#include "queue_redis.h"


/* entries that are looked at, copied out of an answer that goes away */

typedef struct {
    char                      id[QR_CLAIM][QR_ENTRY_SIZE];
    int64_t                   idle_ms[QR_CLAIM];
    size_t                    n;
} qr_entries_t;


/* one receive */

typedef struct {
    queue_redis_t            *e;
    qr_queue_t               *queue;
    char                     *name;        /* of it, for the caller */
    int64_t                   lease_ms;
    queue_message_t          *m;
    size_t                    n;           /* so many are wanted */
    size_t                    got;
    size_t                    bytes;       /* of those */
    int64_t                   server_ms;   /* Redis's clock */
    queue_alloc_pt            alloc;
    void                     *data;
    int64_t                   now_ms;
    int64_t                   deadline_ms;
    qr_entries_t              dropped;     /* there was no memory for them */
} qr_receive_t;


/* queue_redis_left.c: puts what is due into the stream; takes over those of
   left that nobody has a lease of, and adds them */
int qr_receive_move(qr_receive_t *r,
    char due[QR_MOVE][FAAS_MESSAGE_ID_SIZE], size_t n);
int qr_receive_claim(qr_receive_t *r, qr_entries_t *left);

/* queue_redis_receive.c: an [entry, fields] of a stream becomes the next
   message, FAAS_OK; or is dropped for lack of memory */
int qr_receive_keep(qr_receive_t *r, const redisReply *entry);

/* writes a lease of an entry into the batch, three commands, whose fence is
   higher by that much */
void qr_receive_lease(qr_receive_t *r, const char *entry, uint64_t by);


#endif /* QUEUE_REDIS_RECEIVE_H_INCLUDED */


/*
 * The load generator's two halves: load.c asks, load_answer.c reads answers
 * and says whether each is to its request.
 */


#ifndef LOAD_H_INCLUDED
#define LOAD_H_INCLUDED


#include <stddef.h>
#include <stdint.h>


#define LOAD_HEAD    8192          /* bytes of an answer's head, at most */
#define LOAD_TEXT    256           /* of a value that is written down */


typedef enum {
    ANSWER_HEAD = 0,
    ANSWER_LENGTH,                 /* a body with Content-Length */
    ANSWER_SIZE,                   /* chunked: the line with the size */
    ANSWER_CHUNK,
    ANSWER_CHUNK_END,              /* CR LF behind a chunk */
    ANSWER_TRAILER,
    ANSWER_CLOSE,                  /* a body up to the connection's end */
    ANSWER_DONE,
    ANSWER_GARBLED                 /* nothing that HTTP/1.1 knows */
} load_answer_e;


/* An answer while it is being read.  Zeroed before each. */

typedef struct {
    load_answer_e  state;
    int            head_only;      /* to a HEAD; set by the caller */

    char           head[LOAD_HEAD + 1];
    size_t         head_length;

    int            status;
    int            is_last;        /* Connection: close */
    uint64_t       left;           /* of the body or the chunk */
    char           line[80];       /* a chunk's size, a trailer */
    size_t         line_length;

    char           text[LOAD_TEXT];    /* the body's first line */
    size_t         text_length;
    int            text_done;
    uint64_t       filler;         /* bytes behind it */
    int            filler_wrong;   /* not the digits of filler_id */
    char           filler_id[17];

    /* headers; "" when they are not there */
    char           id[LOAD_TEXT];             /* X-Id */
    char           outcome[LOAD_TEXT];        /* X-Outcome */
    char           started[LOAD_TEXT];        /* X-Started */
    char           worker[LOAD_TEXT];         /* X-Worker */
    char           retry_after[LOAD_TEXT];
    char           proxy_status[LOAD_TEXT];
} load_answer_t;


/* takes n bytes; how many of them were the answer's: fewer only when it is
   done or garbled */
size_t load_answer_read(load_answer_t *a, const char *data, size_t n);

/* the connection ended; 1: and with that the answer is whole */
int load_answer_end(load_answer_t *a);

/* 1 when the answer, a 200, is to request id, whose body had this hash */
int load_answer_is_right(load_answer_t *a, uint64_t id, int has_body,
    uint64_t hash);

/* 1 when an answer of any status says that it is to another request */
int load_answer_is_another(load_answer_t *a, uint64_t id);

/* the word behind "NAME=" in the first line, or "-" */
const char *load_answer_word(load_answer_t *a, const char *name, char *to);


#endif /* LOAD_H_INCLUDED */

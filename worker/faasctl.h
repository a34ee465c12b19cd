
/*
 * faasctl, the operator's program.  It asks the events process over
 * faas_state/baas.sock (wire.h), as root or as the user of the service, and
 * the supervisor over faas_state/control (faas_control.h), as root or as who
 * started nginx; and prints tables, or one JSON document.
 *
 *   faasctl.c         options, which command
 *   faasctl_ask.c     questions to the events process, and answers
 *   faasctl_host.c    questions to the supervisor, and the board
 *   faasctl_function.c  functions: what the board says
 *   faasctl_core.c    dumps
 *   faasctl_replay.c  a dumped request, run again
 *   faasctl_dlq.c     dead letters
 *   faasctl_list.c    queues and timers
 *   faasctl_table.c   columns, times, JSON
 *
 * Exits with 0: done; 1: not done, with a line on stderr that says why; 2: it
 * was called wrongly.
 */


#ifndef FAASCTL_H_INCLUDED
#define FAASCTL_H_INCLUDED


#include <stddef.h>
#include <stdint.h>

#include "faas_control.h"
#include "faas_scoreboard.h"
#include "json_text.h"
#include "wire.h"


#define FAASCTL_DONE    0
#define FAASCTL_FAILED  1
#define FAASCTL_USAGE   2


/* the command line */

typedef struct {
    const char               *state;       /* -s, FAAS_STATE, or the default */
    int                       json;        /* -o json */
    int                       all;         /* --all */
    int                       gdb;         /* --gdb */
    const char               *after;       /* --after, "" */
    int64_t                   limit;       /* --limit, 0: not given */
    const char               *words[5];    /* what is no option */
    int                       nwords;
} faasctl_t;

extern faasctl_t  faasctl;


/* -- faasctl_ask.c --------------------------------------------------------- */

/* asks, and frees the question; the answer is valid until the next one is
   asked.  A code of faas.h */
int faasctl_ask(wire_operation_e operation, wire_writer_t *question,
    wire_reader_t *answer);

/* says why it could not be done, and about what (or NULL); FAASCTL_FAILED */
int faasctl_failed(int code, const char *what);

/* was the whole answer of the form that was expected?  FAASCTL_DONE, or
   FAASCTL_FAILED with a line */
int faasctl_answered(const wire_reader_t *answer);


/* -- faasctl_host.c -------------------------------------------------------- */

/* maps the host's board, only to be read; NULL, and it is said why */
faas_scoreboard_t *faasctl_board(void);

/*
 * Sends a message with a text to the supervisor and waits for the answer,
 * which is freed by nobody: FAASCTL_DONE with its text, or FAASCTL_FAILED
 * when it refuses, and it is said why, and about what.
 */
int faasctl_tell(faas_control_type_e type, const char *text,
    const char **answer);


/* -- commands -------------------------------------------------------------- */

int faasctl_list(void);
int faasctl_describe(void);
int faasctl_ack(void);
int faasctl_core_list(void);
int faasctl_core_show(void);
int faasctl_core_rm(void);
int faasctl_replay(void);
int faasctl_dlq_list(void);
int faasctl_dlq_show(void);
int faasctl_dlq_retry(void);
int faasctl_dlq_purge(void);
int faasctl_queue_list(void);
int faasctl_timer_list(void);


/* -- faasctl_table.c ------------------------------------------------------- */

typedef struct {
    size_t                    columns;
    size_t                    n;           /* cells, the head's too */
    size_t                    room;
    char                    **cells;
} faasctl_table_t;

/* the head; then cell by cell, each is copied */
void faasctl_table(faasctl_table_t *t, size_t columns,
    const char *const *head);
void faasctl_cell(faasctl_table_t *t, faas_bytes_t text);
void faasctl_cell_number(faasctl_table_t *t, int64_t number);
void faasctl_cell_time(faasctl_table_t *t, int64_t ms);      /* 0: "-" */
void faasctl_cell_age(faasctl_table_t *t, int64_t ms);

/* prints it; `none` instead, when it has no line */
void faasctl_table_print(const faasctl_table_t *t, const char *none);
void faasctl_table_free(faasctl_table_t *t);

/* local time with its zone */
const char *faasctl_time(int64_t ms, char *buf, size_t size);

/* members of an object, with a comma before all but the first */
void faasctl_json_text(json_text_t *t, const char *name, faas_bytes_t text);
void faasctl_json_number(json_text_t *t, const char *name, int64_t number);
void faasctl_json_time(json_text_t *t, const char *name, int64_t ms);
void faasctl_json_data(json_text_t *t, const char *name, faas_bytes_t data);

/* prints it: FAASCTL_DONE, or FAASCTL_FAILED */
int faasctl_json_print(const json_text_t *t);

/* prints a list as it was asked for, and frees both */
int faasctl_list_print(json_text_t *json, faasctl_table_t *table,
    const char *none);

/* memory, or the end of the program */
void *faasctl_alloc(size_t n);


#endif /* FAASCTL_H_INCLUDED */

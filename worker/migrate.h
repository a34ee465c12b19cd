
/*
 * Applies the migrations that came with START (message.h), as the function's
 * user and inside its sandbox, before its code is loaded.  A child does it,
 * so that no template, of which instances are forked, ever had a database
 * open.
 */


#ifndef MIGRATE_H_INCLUDED
#define MIGRATE_H_INCLUDED


#include <stddef.h>
#include <stdint.h>


#define MIGRATE_SIZE  (64 * 1024 * 1024)     /* of all, bytes */
#define MIGRATE_WHY   512


/* one of a pack; texts are inside it, zero-terminated but for sql */

typedef struct {
    const char               *database;
    uint32_t                  number;
    const char               *name;        /* of its file */
    const char               *sql;
    size_t                    size;
} migrate_file_t;


/*
 * Parses a pack of n bytes, which is changed.  FAAS_OK: *files, malloc()ed,
 * and how many in *count; FAAS_ERROR: it is none, or out of memory.  Pure.
 */
int migrate_parse(char *pack, size_t n, migrate_file_t **files,
    size_t *count);

/*
 * Applies those of the memfd fd; conf[n] is the configuration of baas.h.
 * Takes at most timeout_ms, 0: as long as it takes.  FAAS_OK, or FAAS_ERROR
 * with a line in why[MIGRATE_WHY]; then the databases of the files before are
 * up to date, and the one that failed is as it was.
 */
int migrate(int fd, const char *conf, size_t n, uint32_t timeout_ms,
    char *why);


#endif /* MIGRATE_H_INCLUDED */

/* objects: $(BAAS_QUEUE) $(SCOREBOARD) base/log.c */
/* libs: -lsqlite3 */

/*
 * The queue engine in SQLite: what every engine must do; after each of these
 * tests the file is looked at as well (queue_gone()).
 */


#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include "queue_conformance.h"
#include "queue_sqlite_file.h"


int
main(void)
{
    const struct CMUnitTest  tests[] = { QUEUE_CONFORMANCE };

    return queue_sqlite_tests(tests);
}

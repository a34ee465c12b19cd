
/*
 * The tables, and all SQL of the engine.  A change of the tables raises
 * QS_VERSION, and brings the statements that make the new ones of the old.
 */


#include <stdio.h>

#include "queue_sqlite.h"


#define QS_TEXT_(x)  #x
#define QS_TEXT(x)   QS_TEXT_(x)


static int queue_sqlite_pragma(sqlite3 *db, const char *sql, int *value);


/*
 * messages.since: when it became ready, or died.  messages.forget: until when
 * the queue remembers its id.  messages.data is NULL when it is in bodies,
 * or gone (DONE).  calls.idempotency is NULL without a key.  timers.running
 * is the fence of the firing that runs, 0: none.
 */

static const char  queue_sqlite_tables[] =
    "CREATE TABLE counters ("
    " name TEXT PRIMARY KEY,"
    " value INTEGER NOT NULL"
    ") STRICT, WITHOUT ROWID;"

    "INSERT INTO counters VALUES ('fence', 0);"

    "CREATE TABLE queues ("
    " queue INTEGER PRIMARY KEY AUTOINCREMENT,"
    " name TEXT NOT NULL UNIQUE,"
    " ready INTEGER NOT NULL DEFAULT 0,"
    " delayed INTEGER NOT NULL DEFAULT 0,"
    " leased INTEGER NOT NULL DEFAULT 0,"
    " dead INTEGER NOT NULL DEFAULT 0"
    ") STRICT;"

    "CREATE TABLE messages ("
    " seq INTEGER PRIMARY KEY,"
    " queue INTEGER NOT NULL,"
    " state INTEGER NOT NULL,"
    " place INTEGER NOT NULL,"
    " id TEXT NOT NULL,"
    " fence INTEGER NOT NULL DEFAULT 0,"
    " attempt INTEGER NOT NULL DEFAULT 0,"
    " sent INTEGER NOT NULL,"
    " since INTEGER NOT NULL,"
    " forget INTEGER NOT NULL,"
    " size INTEGER NOT NULL,"
    " reason TEXT,"
    " data BLOB"
    ") STRICT;"

    "CREATE INDEX messages_place ON messages (queue, state, place);"
    "CREATE UNIQUE INDEX messages_id ON messages (queue, id);"

    "CREATE TABLE bodies ("
    " seq INTEGER PRIMARY KEY,"
    " data BLOB NOT NULL"
    ") STRICT;"

    "CREATE TABLE timers ("
    " key TEXT PRIMARY KEY,"
    " spec TEXT NOT NULL,"
    " due INTEGER NOT NULL,"
    " last INTEGER NOT NULL,"
    " fence INTEGER NOT NULL DEFAULT 0,"
    " running INTEGER NOT NULL DEFAULT 0"
    ") STRICT, WITHOUT ROWID;"

    "CREATE TABLE calls ("
    " seq INTEGER PRIMARY KEY,"
    " id TEXT NOT NULL UNIQUE,"
    " function TEXT NOT NULL,"
    " idempotency TEXT,"
    " hash BLOB NOT NULL,"
    " state INTEGER NOT NULL,"
    " expires INTEGER NOT NULL,"
    " data BLOB NOT NULL"
    ") STRICT;"

    "CREATE UNIQUE INDEX calls_key ON calls (function, idempotency)"
    " WHERE idempotency IS NOT NULL;"
    "CREATE INDEX calls_expires ON calls (expires);"

    "PRAGMA application_id = " QS_TEXT(QS_APPLICATION) ";"
    "PRAGMA user_version = " QS_TEXT(QS_VERSION) ";";


/* the numbers in them are QS_READY ... QS_DONE */

const char *const  queue_sqlite_sql[QS_STATEMENTS] = {
    [QS_BEGIN] = "BEGIN",
    [QS_BEGIN_WRITE] = "BEGIN IMMEDIATE",
    [QS_BEGIN_LEASE] = "BEGIN IMMEDIATE",
    [QS_COMMIT] = "COMMIT",
    [QS_ROLLBACK] = "ROLLBACK",

    [QS_FENCE] =
        "UPDATE counters SET value = value + ?1 WHERE name = 'fence'"
        " RETURNING value",

    [QS_QUEUE_FIND] =
        "SELECT queue, ready, delayed, leased, dead FROM queues"
        " WHERE name = ?1",
    [QS_QUEUE_ADD] =
        "INSERT INTO queues (name) VALUES (?1) RETURNING queue",
    [QS_QUEUE_COUNT] =
        "UPDATE queues SET ready = ready + ?2, delayed = delayed + ?3,"
        " leased = leased + ?4, dead = dead + ?5 WHERE queue = ?1",
    [QS_QUEUE_LIST] =
        "SELECT name FROM queues ORDER BY name",
    [QS_QUEUE_AFTER] =
        "SELECT queue FROM queues WHERE queue > ?1 ORDER BY queue LIMIT ?2",
    [QS_QUEUE_REMOVE] =
        "DELETE FROM queues WHERE queue = ?1"
        " AND NOT EXISTS (SELECT 1 FROM messages WHERE queue = ?1)",

    [QS_STATE_UNTIL] =
        "SELECT count(*), min(place) FROM messages"
        " WHERE queue = ?1 AND state = ?2 AND place <= ?3",
    [QS_STATE_NEXT] =
        "SELECT place, since FROM messages"
        " WHERE queue = ?1 AND state = ?2 AND place > ?3"
        " ORDER BY place LIMIT 1",

    [QS_MESSAGE_ADD] =
        "INSERT INTO messages"
        " (queue, state, place, id, sent, since, forget, size, data)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
        " ON CONFLICT (queue, id) DO NOTHING RETURNING seq",
    [QS_MESSAGE_FORGOTTEN] =
        "SELECT seq FROM messages"
        " WHERE queue = ?1 AND id = ?2 AND state = 4 AND forget <= ?3",
    [QS_MESSAGE_DELETE] =
        "DELETE FROM messages WHERE seq = ?1",
    [QS_MESSAGE_FIND] =
        "SELECT seq, since FROM messages"
        " WHERE queue = ?1 AND state = ?2 AND place <= ?3"
        " ORDER BY place, seq LIMIT ?4",
    [QS_MESSAGE_READ] =
        "SELECT queue, state, fence, id, attempt, sent, since, size, data,"
        " reason FROM messages WHERE seq = ?1",
    [QS_MESSAGE_LEASE] =
        "UPDATE messages SET state = 2, place = ?2, fence = ?3"
        " WHERE seq = ?1",
    [QS_MESSAGE_MOVE] =
        "UPDATE messages SET state = ?2, place = ?3, since = ?4,"
        " attempt = ?5, reason = ?6 WHERE seq = ?1",
    [QS_MESSAGE_SENT] =
        "UPDATE messages SET sent = ?2 WHERE seq = ?1",
    [QS_MESSAGE_DONE] =
        "UPDATE messages SET state = 4, place = forget, size = 0,"
        " reason = NULL, data = NULL WHERE seq = ?1",
    [QS_MESSAGE_EXTEND] =
        "UPDATE messages SET place = ?4"
        " WHERE seq = ?1 AND id = ?2 AND fence = ?3 AND state = 2",
    [QS_MESSAGE_FORGET] =
        "DELETE FROM messages WHERE seq IN (SELECT seq FROM messages"
        " WHERE queue = ?1 AND state = 4 AND place <= ?2 LIMIT ?3)",

    [QS_BODY_ADD] = "INSERT INTO bodies VALUES (?1, ?2)",
    [QS_BODY_READ] = "SELECT data FROM bodies WHERE seq = ?1",
    [QS_BODY_DELETE] = "DELETE FROM bodies WHERE seq = ?1",

    [QS_DEAD_FIND] =
        "SELECT seq, place, size FROM messages"
        " WHERE queue = ?1 AND id = ?2 AND state = 3",
    [QS_DEAD_LIST] =
        "SELECT id, attempt, sent, since, size, reason FROM messages"
        " WHERE queue = ?1 AND state = 3 AND (place, seq) > (?2, ?3)"
        " ORDER BY place, seq LIMIT ?4",
    [QS_DEAD_NEXT] =
        "SELECT seq, size FROM messages"
        " WHERE queue = ?1 AND state = 3 ORDER BY place, seq LIMIT 1",

    [QS_TIMER_SET] =
        "INSERT INTO timers (key, spec, due, last) VALUES (?1, ?2, ?3, ?4)"
        " ON CONFLICT (key) DO UPDATE SET spec = excluded.spec,"
        " due = excluded.due, last = excluded.last"
        " WHERE spec <> excluded.spec",
    [QS_TIMER_GET] =
        "SELECT key, spec, due, last, fence, running FROM timers"
        " WHERE key = ?1",
    [QS_TIMER_LIST] =
        "SELECT key, spec, due, last, fence, running FROM timers"
        " ORDER BY key",
    [QS_TIMER_DELETE] =
        "DELETE FROM timers WHERE key = ?1",
    [QS_TIMER_FIRE] =
        "UPDATE timers SET due = ?4, last = ?3, fence = ?5"
        " WHERE key = ?1 AND spec = ?2 AND due = ?3",
    [QS_TIMER_RUNS] =
        "UPDATE timers SET running = ?2 WHERE key = ?1",
    [QS_TIMER_ENDED] =
        "UPDATE timers SET running = 0 WHERE key = ?1 AND running = ?2",

    [QS_CALL_FIND] =
        "SELECT id, hash FROM calls"
        " WHERE id = ?1 OR (function = ?2 AND idempotency = ?3)",
    [QS_CALL_EXPIRE_KEY] =
        "DELETE FROM calls WHERE (id = ?1"
        " OR (function = ?2 AND idempotency = ?3)) AND expires <= ?4",
    [QS_CALL_ADD] =
        "INSERT INTO calls"
        " (id, function, idempotency, hash, state, expires, data)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [QS_CALL_GET] =
        "SELECT id, coalesce(idempotency, ''), hash, state, expires, data"
        " FROM calls WHERE id = ?1 AND expires > ?2",
    [QS_CALL_PUT] =
        "UPDATE calls SET state = ?2, data = ?3, expires = ?4"
        " WHERE id = ?1 AND expires > ?5 AND (?6 >> state) & 1",
    [QS_CALL_IS] =
        "SELECT 1 FROM calls WHERE id = ?1 AND expires > ?2",
    [QS_CALL_EXPIRE] =
        "DELETE FROM calls WHERE seq IN (SELECT seq FROM calls"
        " WHERE expires <= ?1 LIMIT ?2)",

    [QS_FREE_PAGES] = "PRAGMA freelist_count",
    [QS_VACUUM] = "PRAGMA incremental_vacuum(" QS_TEXT(QS_STEP) ")",
};

_Static_assert(QS_READY == 0 && QS_DELAYED == 1 && QS_LEASED == 2
               && QS_DEAD == 3 && QS_DONE == 4, "numbers in the SQL");


int
queue_sqlite_make(sqlite3 *db, char *why, size_t size)
{
    int  rc, version;

    rc = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (rc != SQLITE_OK) {
        return rc;
    }

    /* another node may have done it meanwhile */

    rc = queue_sqlite_known(db, &version, why, size);

    if (rc == SQLITE_OK && version == 0) {
        rc = sqlite3_exec(db, queue_sqlite_tables, NULL, NULL, NULL);
    }

    if (rc == SQLITE_OK) {
        rc = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    }

    if (rc != SQLITE_OK && !sqlite3_get_autocommit(db)) {
        (void) sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    }

    return rc;
}


/* Never is somebody else's database taken for a queue, nor one that a later
   release has changed. */

int
queue_sqlite_known(sqlite3 *db, int *version, char *why, size_t size)
{
    int  rc, application, tables;

    rc = queue_sqlite_pragma(db, "PRAGMA user_version", version);

    if (rc == SQLITE_OK) {
        rc = queue_sqlite_pragma(db, "PRAGMA application_id", &application);
    }

    if (rc == SQLITE_OK) {
        rc = queue_sqlite_pragma(db, "SELECT count(*) FROM sqlite_schema",
                                 &tables);
    }

    if (rc != SQLITE_OK) {
        return rc;
    }

    if (*version == 0 && application == 0 && tables == 0) {
        return SQLITE_OK;
    }

    if (application != QS_APPLICATION) {
        (void) snprintf(why, size, "is a database, but not of queues");
        return SQLITE_NOTADB;
    }

    if (*version != QS_VERSION) {
        (void) snprintf(why, size, "has version %d, this program knows %d",
                        *version, QS_VERSION);
        return SQLITE_NOTADB;
    }

    return SQLITE_OK;
}


static int
queue_sqlite_pragma(sqlite3 *db, const char *sql, int *value)
{
    int            rc;
    sqlite3_stmt  *st;

    rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);
    if (rc != SQLITE_OK) {
        return rc;
    }

    *value = 0;

    rc = sqlite3_step(st);

    if (rc == SQLITE_ROW) {
        *value = sqlite3_column_int(st, 0);
        rc = SQLITE_OK;
    }

    (void) sqlite3_finalize(st);

    return rc;
}


/*
 * A version: one content of a function's file (and label), with its lineage
 * (function init and template) and its instances.
 *
 *   LOADING   the first template is being made; traffic is elsewhere
 *   READY     a template could be loaded; `current` of its function, or
 *             labelled
 *   DRAINING  superseded, removed or cancelled: instances finish, then the
 *             lineage ends, then the entry is free
 *   FAILED    could not be loaded; kept, one for a label, so that the same
 *             content is recognized
 *
 * A READY version whose template ended (template_timeout) is started again
 * from the store when an instance is needed.  One whose template died while
 * instances live is superseded by a new version of the same content: a
 * lineage has one template.
 */


#ifndef VERSION_H_INCLUDED
#define VERSION_H_INCLUDED


#include <stdint.h>

#include "function.h"
#include "message.h"
#include "migrations.h"


typedef enum {
    LINEAGE_NONE = 0,         /* no process */
    LINEAGE_STARTING,         /* asked for, not loaded yet */
    LINEAGE_LIVE,             /* init and template are there */
    LINEAGE_BARREN,           /* the template is gone, instances live */
    LINEAGE_ENDING            /* told to end, init still there */
} lineage_e;


struct version_s {
    version_t                *next;          /* of its function */
    function_t               *function;
    uint32_t                  index;         /* on the board */
    faas_version_t           *sh;
    settings_descriptor_t     descriptor;    /* routes NULL: not known yet */
    uint64_t                  seen;          /* deploy.c: the look that saw
                                                its file */
    int                       gathered;      /* 1: so are its migrations */
    migrations_t              migrations;    /* that it is loaded with; the
                                                descriptor until it is */

    /* lineage.c */
    lineage_e                 lineage;
    loop_event_t              init;
    loop_event_t              template;
    loop_event_t              report;
    loop_timer_t              timer;         /* of what comes next */
    int                       asked;         /* 1: START sent, no STARTED */
    int32_t                   template_pid;  /* inside */
    journal_t                 journal;

    uint32_t                  unready;       /* instances of it that died
                                                before they were ready */
    int                       given_up;      /* 1: the last good version is to
                                                serve again */

    /* pool.c */
    uint32_t                  live;          /* slots not FREE */
    uint32_t                  forks;         /* FORK sent, no answer yet */
    uint64_t                  used[FAAS_VERSION_CHUNKS];    /* bits of slots
                                                that are not FREE */

    loop_job_t                release;       /* frees it, at a turn's end */
};


/* a new version of f in state LOADING, its lineage started; NULL (said and
   logged) when there is no room */
version_t *version_create(function_t *f, const char *sha256,
    const char *label);

version_t *version_adopt(uint32_t index);
version_t *version_at(uint32_t index);

/* the version of f with that label in that state, or NULL */
version_t *version_find(function_t *f, const char *label,
    faas_version_state_e state);

/* from lineage.c: the template says what it is; it cannot be had; the last
   process of the lineage is gone */
void version_loaded(version_t *v, const char *text, size_t length);
void version_failed(version_t *v, const char *why);
void version_lineage_ended(version_t *v);

/* makes sure that there is or will be a template: 1 when it is there */
int version_wanted(version_t *v);

/* superseded, removed or cancelled */
void version_drop(version_t *v);

/* 1: neither current nor labelled, though it could be loaded: a supervisor
   died between two steps of a change from one version to another */
int version_is_leftover(const version_t *v);

/*
 * An instance died before it was ready.  When that is all that a new current
 * version's instances do, it cannot start, although it could be loaded: the
 * content that served before is made current again.  (Not so when they die at
 * requests: then a client could undo a deploy.)
 */
void version_unready(version_t *v);

/* whether that was so of the current version of f is not on the board */
void version_adopt_unready(function_t *f);

/* the last instance has ended, or something else that may end it changed */
void version_idle(version_t *v);

/* the same content once more, with what the configuration now says */
void version_renew(function_t *f);

/* the content of v, which is superseded if it is loading, or of the current
   version when v is NULL, anew */
void version_again(function_t *f, version_t *v);

/* from version_migrate.c */

/* version_renew(), if migrations are there that neither current nor loading
   version of f was started with, and with which it was not refused; FAAS_AGAIN
   when a shortage kept it from looking */
int version_migrate(function_t *f);

/* gathers what v is started with, unless that was done; FAAS_OK, FAAS_AGAIN,
   FAAS_ERROR, the last two with a line in why[SETTINGS_WHY_SIZE] */
int version_migrate_gather(version_t *v, char *why);

/* v is not started with them again: only their hash is kept; what a
   supervisor before us gathered is taken back */
void version_migrate_keep(version_t *v);
void version_migrate_adopt(version_t *v);

/* the configuration was another: renews functions whose processes would be
   started differently now */
void version_configured(const settings_t *old);


#endif /* VERSION_H_INCLUDED */

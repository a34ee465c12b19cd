
/* The tally of a function's deaths.  One writer, the supervisor. */


#include <string.h>

#include "faas_scoreboard.h"


static const char *const  faas_death_names[] = {
    [FAAS_DEATH_SIGNAL]   = "signal",
    [FAAS_DEATH_EXIT]     = "exit",
    [FAAS_DEATH_OOM]      = "oom",
    [FAAS_DEATH_TIMEOUT]  = "timeout",
    [FAAS_DEATH_KILLED]   = "killed",
    [FAAS_DEATH_START]    = "start",
    [FAAS_DEATH_STUCK]    = "stuck",
    [FAAS_DEATH_TEMPLATE] = "template",
    [FAAS_DEATH_LOST]     = "lost"
};

_Static_assert(sizeof(faas_death_names) / sizeof(char *) == FAAS_DEATHS,
               "each kind of death has a name");


const char *
faas_death_name(uint32_t kind)
{
    return kind < FAAS_DEATHS ? faas_death_names[kind] : "unknown";
}


void
faas_tally_add(faas_tally_t *t, faas_death_e kind, uint32_t code,
    uint32_t slot, const char *version, uint64_t at)
{
    uint64_t       total;
    faas_death_t  *d;

    total = atomic_load(&t->total);
    d = &t->last[total % FAAS_TALLY_LAST];

    /* 0: being written */

    atomic_store(&d->at, 0);
    atomic_store(&d->kind, kind);
    atomic_store(&d->code, code);
    atomic_store(&d->slot, slot);
    memset(d->version, 0, FAAS_VERSION_SIZE);
    memcpy(d->version, version, strnlen(version, FAAS_VERSION_SIZE - 1));
    atomic_store(&d->at, at);

    atomic_store(&t->count[kind], atomic_load(&t->count[kind]) + 1);
    atomic_store(&t->total, total + 1);
}


int
faas_tally_read(const faas_tally_t *t, uint32_t n, faas_death_t *death)
{
    uint64_t             total, at;
    const faas_death_t  *d;

    total = atomic_load(&t->total);

    if (n >= total || n >= FAAS_TALLY_LAST) {
        return FAAS_DECLINED;
    }

    d = &t->last[(total - 1 - n) % FAAS_TALLY_LAST];

    at = atomic_load(&d->at);
    atomic_store(&death->at, at);
    atomic_store(&death->kind, atomic_load(&d->kind));
    atomic_store(&death->code, atomic_load(&d->code));
    atomic_store(&death->slot, atomic_load(&d->slot));
    memcpy(death->version, d->version, FAAS_VERSION_SIZE);
    death->version[FAAS_VERSION_SIZE - 1] = '\0';

    return at != 0 && atomic_load(&t->total) == total ? FAAS_OK
                                                      : FAAS_DECLINED;
}


/*
 * What a version is started with beside its code: gathered when it is loaded
 * first, and again when files of the functions directory say so.
 */


#include <string.h>
#include <unistd.h>

#include "deploy.h"
#include "deposit.h"
#include "log.h"
#include "version.h"


static int version_migrate_known(function_t *f, const char *sha256);


int
version_migrate(function_t *f)
{
    int           rc;
    char          why[MIGRATIONS_WHY_SIZE];
    version_t    *v;
    migrations_t  m;

    v = version_find(f, "", FAAS_VERSION_LOADING);

    /* what failed is what the file has, and it may have failed for them */

    if (v == NULL) {
        v = version_find(f, "", FAAS_VERSION_FAILED);
    }

    if (v == NULL && f->current == NULL) {
        return FAAS_OK;
    }

    rc = migrations_gather(&m, deploy_directory(), f->name, geteuid(),
                           deploy_deployer(), why);

    if (rc != 0) {

        if (rc == -2) {
            return FAAS_OK;    /* the end of writing will be told of */
        }

        function_error_again(f, "%s", why);

        return rc == -3 ? FAAS_AGAIN : FAAS_ERROR;
    }

    if (m.sha256[0] != '\0' && !version_migrate_known(f, m.sha256)) {
        log_line(LOG_NOTICE, 0, "function \"%s\": migrations changed",
                 f->name);
        version_again(f, v);
    }

    migrations_close(&m);

    return FAAS_OK;
}


/* what was tried last, or serves: a failed one of the current content, too */

static int
version_migrate_known(function_t *f, const char *sha256)
{
    version_t  *v;

    for (v = f->versions; v != NULL; v = v->next) {

        switch (atomic_load(&v->sh->state)) {

        case FAAS_VERSION_LOADING:
        case FAAS_VERSION_READY:
        case FAAS_VERSION_FAILED:
            break;

        default:
            continue;
        }

        if (v->sh->label[0] == '\0'
            && strcmp(v->migrations.sha256, sha256) == 0)
        {
            return 1;
        }
    }

    return 0;
}


int
version_migrate_gather(version_t *v, char *why)
{
    int          rc;
    const char  *name;

    name = v->function->name;

    if (v->gathered || v->function->platform
        || atomic_load(&v->sh->state) != FAAS_VERSION_LOADING)
    {
        return FAAS_OK;
    }

    rc = migrations_gather(&v->migrations, deploy_directory(), name,
                           geteuid(), deploy_deployer(), why);

    if (rc != 0) {
        return rc == -1 ? FAAS_ERROR : FAAS_AGAIN;
    }

    v->gathered = 1;

    if (v->migrations.fd != -1) {
        (void) deposit_put(v->migrations.fd, "v/%u/migrations", v->index);
    }

    return FAAS_OK;
}


/* it is not started with them again: only the hash is of use */

void
version_migrate_keep(version_t *v)
{
    if (v->migrations.fd != -1) {
        close(v->migrations.fd);
        v->migrations.fd = -1;
    }
}


void
version_migrate_adopt(version_t *v)
{
    int  fd;

    fd = deposit_take("v/%u/migrations", v->index);

    if (fd == -1) {
        return;
    }

    v->gathered = migrations_adopt(&v->migrations, fd) == 0;

    if (atomic_load(&v->sh->state) != FAAS_VERSION_LOADING) {
        version_migrate_keep(v);
    }
}

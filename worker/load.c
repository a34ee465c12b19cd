
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <string.h>

#include "descriptor.h"
#include "faas_scoreboard.h"
#include "load.h"


static const void *load_find(void *handle, size_t *space, char *why,
    size_t size);


int
load_code(int fd, faas_descriptor_t *descriptor, int *lacks, char *why,
    size_t size)
{
    void        *handle;
    char         path[32];
    size_t       n, space;
    const char  *error;
    const void  *symbol;

    (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);

    /* user code runs from here on: constructors */

    *lacks = 0;
    errno = 0;
    handle = dlopen(path, RTLD_NOW|RTLD_LOCAL);

    if (handle == NULL) {
        *lacks = errno == ENOMEM || errno == EMFILE || errno == ENFILE
                 ? errno : 0;
        error = dlerror();
        n = strlen(path);

        /* "/proc/self/fd/5: undefined symbol: x": no name of the user's */

        if (strncmp(error, path, n) == 0 && strncmp(error + n, ": ", 2) == 0) {
            error += n + 2;
        }

        (void) snprintf(why, size, "cannot be loaded: %s", error);
        return FAAS_ERROR;
    }

    symbol = load_find(handle, &space, why, size);

    if (symbol == NULL) {
        return FAAS_ERROR;
    }

    return descriptor_read(descriptor, symbol, space, why, size);
}


/* the descriptor of this object, not of one that it depends on */

static const void *
load_find(void *handle, size_t *space, char *why, size_t size)
{
    void             *symbol;
    Dl_info           info;
    ElfW(Sym)        *entry;
    struct link_map  *map, *owner;

    symbol = dlsym(handle, "faas_function");

    if (symbol == NULL) {
        (void) snprintf(why, size, "has no descriptor (FAAS_FUNCTION)");
        return NULL;
    }

    if (dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0
        || dladdr1(symbol, &info, (void **) &owner, RTLD_DL_LINKMAP) == 0
        || owner != map)
    {
        (void) snprintf(why, size, "has no descriptor (FAAS_FUNCTION) of its "
                        "own");
        return NULL;
    }

    *space = 0;

    if (dladdr1(symbol, &info, (void **) &entry, RTLD_DL_SYMENT) != 0
        && entry)
    {
        *space = entry->st_size;
    }

    return symbol;
}

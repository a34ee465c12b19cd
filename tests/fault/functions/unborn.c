
/* a function whose init, run once in the template, ends as UNBORN says */


#include <stdlib.h>
#include <unistd.h>

#include <faas.h>


static int
unborn_init(void)
{
    switch (UNBORN) {

    case 1:
        _exit(3);

    case 2:
        abort();

    case 3:
        for ( ;; ) {
            (void) pause();
        }

    default:
        return FAAS_ERROR;
    }
}


static int
unborn(faas_request_t *r)
{
    return faas_printf(r, "this cannot be\n");
}


FAAS_FUNCTION(.handler = unborn, .init = unborn_init)

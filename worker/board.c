
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "board.h"
#include "data.h"
#include "deposit.h"
#include "faas_control.h"
#include "journal.h"
#include "place.h"
#include "supervisor.h"


static int board_directory(const char *name, mode_t mode, int64_t group);
static int board_create(void);


int
board_directories(void)
{
    int      fd;
    int64_t  group;

    group = geteuid() == 0 ? supervisor.settings->group : SETTINGS_UNSET;

    if (board_directory("slots", group >= 0 ? 0750 : 0700, group) == -1
        || board_directory("log", 0750, SETTINGS_UNSET) == -1
        || data_init() == -1)
    {
        return -1;
    }

    fd = openat(supervisor.state_dir, "log", O_RDONLY|O_DIRECTORY|O_CLOEXEC);

    if (fd == -1) {
        supervisor_error(errno, "could not open \"log\" in faas_state");
        return -1;
    }

    journal_directory(fd);

    return 0;
}


/* nobody but us may write there, whoever made it: not through a link, and not
   what another user owns */

static int
board_directory(const char *name, mode_t mode, int64_t group)
{
    int          fd;
    struct stat  st;

    if (mkdirat(supervisor.state_dir, name, mode) == -1 && errno != EEXIST) {
        supervisor_error(errno, "could not create \"%s\" in faas_state",
                         name);
        return -1;
    }

    fd = openat(supervisor.state_dir, name,
                O_RDONLY|O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC);

    if (fd == -1 || fstat(fd, &st) == -1) {
        supervisor_error(errno, "could not open \"%s\" in faas_state", name);
        goto failed;
    }

    if (st.st_uid != geteuid()) {
        supervisor_error(0, "\"%s\" in faas_state is owned by uid %u", name,
                         (unsigned) st.st_uid);
        goto failed;
    }

    if ((group >= 0 && fchown(fd, (uid_t) -1, (gid_t) group) == -1)
        || fchmod(fd, mode) == -1)
    {
        supervisor_error(errno, "could not change the mode of \"%s\" in "
                         "faas_state", name);
        goto failed;
    }

    close(fd);

    return 0;

failed:

    if (fd != -1) {
        close(fd);
    }

    return -1;
}


int
board_open(void)
{
    void         *p;
    struct stat   st;
    const char   *why;

    supervisor.board_fd = deposit_take("board");

    if (supervisor.board_fd == -1) {
        return board_create();
    }

    supervisor.adopting = 1;

    if (fstat(supervisor.board_fd, &st) == -1) {
        supervisor_error(errno, "fstat failed for the scoreboard");
        return -1;
    }

    supervisor.size = (uint64_t) st.st_size;

    p = mmap(NULL, supervisor.size, PROT_READ|PROT_WRITE, MAP_SHARED,
             supervisor.board_fd, 0);

    if (p == MAP_FAILED) {
        supervisor_error(errno, "mmap failed for the scoreboard");
        return -1;
    }

    why = faas_scoreboard_check(p, supervisor.size);

    if (why != NULL) {
        supervisor_error(0, "the scoreboard cannot be adopted: %s", why);
        return -1;
    }

    supervisor.board = p;
    atomic_fetch_add(&supervisor.board->restarts, 1);

    return 0;
}


static int
board_create(void)
{
    int   fd;
    void *p;

    supervisor.size = supervisor.settings->scoreboard == SETTINGS_UNSET
                      ? FAAS_SCOREBOARD_SIZE_DEFAULT
                      : (uint64_t) supervisor.settings->scoreboard;

    fd = memfd_create("faas-scoreboard", MFD_CLOEXEC|MFD_ALLOW_SEALING);

    if (fd == -1
        || ftruncate(fd, (off_t) supervisor.size) == -1
        || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK|F_SEAL_GROW|F_SEAL_SEAL) == -1
        || (p = mmap(NULL, supervisor.size, PROT_READ|PROT_WRITE, MAP_SHARED,
                     fd, 0))
           == MAP_FAILED)
    {
        supervisor_error(errno, "could not make a scoreboard of %llu bytes",
                         (unsigned long long) supervisor.size);

        if (fd != -1) {
            close(fd);
        }

        return -1;
    }

    if (faas_scoreboard_format(p, supervisor.size, FAAS_RELEASE) != FAAS_OK) {
        supervisor_error(0, "a scoreboard of %llu bytes is out of range",
                         (unsigned long long) supervisor.size);
        close(fd);
        return -1;
    }

    place_clean(supervisor.state_dir);

    supervisor.board = p;
    supervisor.board_fd = fd;
    atomic_store(&supervisor.board->started_at, (uint64_t) time(NULL));
    board_token(supervisor.board->events_token);

    if (deposit_put(fd, "board") == -1) {
        supervisor_error(errno, "the keeper did not take the scoreboard");
        return -1;
    }

    return 0;
}


int
board_eventfds(void)
{
    uint32_t  i;

    supervisor.event_fd = deposit_take("event");

    if (supervisor.event_fd == -1) {
        supervisor.event_fd = eventfd(0, EFD_CLOEXEC|EFD_NONBLOCK);

        if (supervisor.event_fd == -1
            || deposit_put(supervisor.event_fd, "event") == -1)
        {
            supervisor_error(errno, "eventfd failed");
            return -1;
        }
    }

    for (i = 0; i < FAAS_WORKERS; i++) {

        supervisor.wake[i] = deposit_take("worker/%u", i);

        if (supervisor.wake[i] != -1) {
            continue;
        }

        supervisor.wake[i] = eventfd(0, EFD_CLOEXEC|EFD_NONBLOCK);

        if (supervisor.wake[i] == -1
            || deposit_put(supervisor.wake[i], "worker/%u", i) == -1)
        {
            supervisor_error(errno, "eventfd failed");
            return -1;
        }
    }

    return 0;
}


/* without randomness there is none, and who has it is not believed */

void
board_token(char *token)
{
    size_t         i;
    unsigned char  bytes[16];

    memset(token, 0, BOARD_TOKEN_SIZE);

    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t) sizeof(bytes)) {
        return;
    }

    for (i = 0; i < sizeof(bytes); i++) {
        (void) snprintf(token + i * 2, 3, "%02x", bytes[i]);
    }
}

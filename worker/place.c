
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control.h"
#include "deposit.h"
#include "dump.h"
#include "log.h"
#include "place.h"


#define PLACE_DIRECTORY   "slots"
#define PLACE_BACKLOG     64

/* how long, and how often, connections to an emptied slot are looked for */
#define PLACE_EMPTIED_MS  1000
#define PLACE_LOOK_MS     25


static int place_listen(slot_t *s);
static int place_make_page(slot_t *s);
static int place_map_page(slot_t *s);
static void place_look_emptied(void *data);
static void place_address(const slot_t *s, struct sockaddr_un *un);


static struct {
    uint32_t     *pages;             /* slot indices, oldest page first */
    uint32_t      npages;
    int64_t       group;             /* of nginx's workers, or -1 */
    slot_t       *emptied;           /* a while ago at most */
    loop_timer_t  timer;             /* of the next look at those */
} place;


void
place_init(int64_t group)
{
    if (place.pages == NULL) {
        place.pages = loop_alloc((size_t) supervisor.board->chunks
                                 * FAAS_CHUNK_SLOTS * sizeof(uint32_t));
    }

    place.group = group;
}


int
place_prepare(slot_t *s)
{
    if (s->listen != -1) {
        return 0;
    }

    if ((s->page == NULL && place_make_page(s) == -1)
        || place_listen(s) == -1)
    {
        return -1;
    }

    if (journal_open(&s->journal, -1, -1) == -1) {
        supervisor_error(errno, "no pipe for slot %u", s->index);
        place_close(s);
        return -1;
    }

    (void) deposit_put(s->journal.event.fd, "s/%u/log-read", s->index);
    (void) deposit_put(s->journal.write, "s/%u/log-write", s->index);

    return 0;
}


/*
 * The directory is ours alone, so the moment between bind and chmod is
 * nobody's.  Non-blocking for what we accept ourselves; whoever shares the
 * socket polls it first.
 */

static int
place_listen(slot_t *s)
{
    int                 fd;
    struct sockaddr_un  un;

    fd = socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK, 0);

    if (fd == -1) {
        supervisor_error(errno, "no socket for slot %u", s->index);
        return -1;
    }

    place_address(s, &un);
    (void) unlink(un.sun_path);

    if (bind(fd, (struct sockaddr *) &un, sizeof(un)) == -1
        || (place.group >= 0
            && chown(un.sun_path, (uid_t) -1, (gid_t) place.group) == -1
            && geteuid() == 0)
        || chmod(un.sun_path, place.group >= 0 ? 0660 : 0600) == -1
        || listen(fd, PLACE_BACKLOG) == -1
        || deposit_put(fd, "s/%u/listen", s->index) == -1)
    {
        supervisor_error(errno, "could not make socket \"%s\"", un.sun_path);
        close(fd);
        return -1;
    }

    s->listen = fd;

    return 0;
}


/* sealed: no instance can take pages away under whoever reads them */

static int
place_make_page(slot_t *s)
{
    s->page_fd = memfd_create("faas-page", MFD_CLOEXEC|MFD_ALLOW_SEALING);

    if (s->page_fd == -1
        || ftruncate(s->page_fd, FAAS_PAGE_SIZE) == -1
        || fcntl(s->page_fd, F_ADD_SEALS,
                 F_SEAL_SHRINK|F_SEAL_GROW|F_SEAL_SEAL) == -1
        || place_map_page(s) == -1)
    {
        supervisor_error(errno, "no page for slot %u", s->index);

        if (s->page_fd != -1) {
            close(s->page_fd);
            s->page_fd = -1;
        }

        return -1;
    }

    (void) deposit_put(s->page_fd, "p/%u", s->index);

    return 0;
}


static int
place_map_page(slot_t *s)
{
    void  *p;

    p = mmap(NULL, FAAS_PAGE_SIZE, PROT_READ|PROT_WRITE, MAP_SHARED,
             s->page_fd, 0);

    if (p == MAP_FAILED) {
        return -1;
    }

    s->page = p;
    place.pages[place.npages++] = s->index;
    control_new_page();

    return 0;
}


void
place_close(slot_t *s)
{
    struct sockaddr_un  un;

    if (s->listen != -1) {
        place_address(s, &un);
        (void) unlink(un.sun_path);
        deposit_remove("s/%u/listen", s->index);
        close(s->listen);
        s->listen = -1;
    }

    if (s->journal.event.fd != -1) {
        deposit_remove("s/%u/log-read", s->index);
        deposit_remove("s/%u/log-write", s->index);
        journal_close(&s->journal);
    }

    dump_close(s);

    s->version = NULL;
}


void
place_drain(slot_t *s)
{
    int  fd;

    for ( ;; ) {
        fd = accept4(s->listen, NULL, NULL, SOCK_CLOEXEC);

        if (fd == -1) {
            if (errno == EINTR || errno == ECONNABORTED) {
                continue;
            }

            return;
        }

        close(fd);
    }
}


/* a page goes on to other functions, its counts alone */

void
place_clear(slot_t *s)
{
    memset(&s->page->id_length, 0,
           sizeof(faas_page_t) - offsetof(faas_page_t, id_length));
}


void
place_emptied(slot_t *s)
{
    place_drain(s);

    if (s->emptied_ms == 0) {
        s->empty = place.emptied;
        place.emptied = s;
    }

    s->emptied_ms = loop_now_ms();

    if (!loop_is_armed(&place.timer)) {
        place.timer.handler = place_look_emptied;
        loop_arm(&place.timer, loop_now_ms() + PLACE_LOOK_MS);
    }
}


static void
place_look_emptied(void *data)
{
    slot_t  *s, **p;

    (void) data;

    for (p = &place.emptied; *p != NULL; /* void */ ) {
        s = *p;

        if (s->listen != -1
            && faas_slot_state(atomic_load(&s->sh->word)) == FAAS_SLOT_FREE)
        {
            place_drain(s);

            if (loop_now_ms() - s->emptied_ms < PLACE_EMPTIED_MS) {
                p = &s->empty;
                continue;
            }
        }

        *p = s->empty;
        s->empty = NULL;
        s->emptied_ms = 0;
    }

    if (place.emptied != NULL) {
        loop_arm(&place.timer, loop_now_ms() + PLACE_LOOK_MS);
    }
}


void
place_nudge(slot_t *s)
{
    int                 fd;
    struct sockaddr_un  un;

    fd = socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK, 0);

    if (fd == -1) {
        return;
    }

    place_address(s, &un);
    (void) connect(fd, (struct sockaddr *) &un, sizeof(un));
    close(fd);
}


void
place_adopt(slot_t *s)
{
    int  read_end, write_end;

    s->listen = deposit_take("s/%u/listen", s->index);
    dump_adopt(s);

    read_end = deposit_take("s/%u/log-read", s->index);
    write_end = deposit_take("s/%u/log-write", s->index);

    if (s->listen == -1 || read_end == -1 || write_end == -1
        || journal_open(&s->journal, read_end, write_end) == -1)
    {
        /* half made when the supervisor died; nobody can be in it */

        if (s->listen != -1) {
            deposit_remove("s/%u/listen", s->index);
            close(s->listen);
            s->listen = -1;
        }

        return;
    }

    journal_owner(&s->journal, &s->version->function->journal,
                  s->version->sh->id, s->index, atomic_load(&s->sh->pid));
}


void
place_adopt_pages(void)
{
    int       fd;
    slot_t   *s;
    unsigned  index;

    while ((fd = deposit_take_any("p/", &index)) != -1) {

        s = slot_at(index);

        if (s == NULL || s->page_fd != -1) {
            close(fd);
            continue;
        }

        s->page_fd = fd;

        if (place_map_page(s) == -1) {
            close(fd);
            s->page_fd = -1;
        }
    }
}


void
place_clean(int state_dir)
{
    int             fd;
    DIR            *dir;
    char           *p;
    struct dirent  *d;

    fd = openat(state_dir, PLACE_DIRECTORY,
                O_RDONLY|O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC);
    dir = fd != -1 ? fdopendir(fd) : NULL;

    if (dir == NULL) {
        if (fd != -1) {
            close(fd);
        }

        return;
    }

    while ((d = readdir(dir)) != NULL) {
        p = strrchr(d->d_name, '.');

        if (p != NULL && strcmp(p, ".sock") == 0) {
            (void) unlinkat(fd, d->d_name, 0);
        }
    }

    closedir(dir);
}


uint32_t
place_page(uint32_t n)
{
    return n < place.npages ? place.pages[n] : FAAS_INDEX_NONE;
}


/* relative to faas_state, our working directory: that may be long */

static void
place_address(const slot_t *s, struct sockaddr_un *un)
{
    memset(un, 0, sizeof(*un));
    un->sun_family = AF_UNIX;
    (void) snprintf(un->sun_path, sizeof(un->sun_path),
                    PLACE_DIRECTORY "/%u.sock", s->index);
}

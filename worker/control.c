
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control.h"
#include "deposit.h"
#include "drain.h"
#include "faas_control.h"
#include "function.h"
#include "log.h"
#include "loop.h"
#include "owner.h"
#include "place.h"
#include "shortage.h"
#include "supervisor.h"


#define CONTROL_SOCKET   "control"
#define CONTROL_BACKLOG  64

/* without a descriptor to accept with; polled, the socket would be ready at
   once, over and over */
#define CONTROL_PAUSE_MS  500

/* connections at once: 256 workers, some masters, and who else is let in */
#define CONTROL_CONNECTIONS  1024


typedef enum {
    CONTROL_NEW = 0,          /* has not said what it is */
    CONTROL_MASTER,           /* attached: a lifeline */
    CONTROL_WORKER            /* gets pages */
} control_kind_e;


/* one connection; made by accept (or adoption), freed at its end */

typedef struct control_s  control_t;

struct control_s {
    control_t                *next;
    loop_event_t              event;
    control_kind_e            kind;
    uint32_t                  number;        /* of the lifeline's deposit */
    pid_t                     pid;           /* of who connected */
    uid_t                     uid;
    uint32_t                  pages;         /* a worker's: how many it has */
    int                       full;          /* 1: waits for room */
};


static int control_listen(void);
static void control_accept(void *data, uint32_t events);
static void control_pause(void);
static void control_resume(void *data);
static void control_accept_one(int fd);
static control_t *control_create(int fd, control_kind_e kind);
static void control_close(control_t *c);
static void control_events(void *data, uint32_t events);
static int control_message(control_t *c, faas_control_message_t *m);
static int control_attach(control_t *c, faas_control_message_t *m);
static int control_reload(control_t *c, faas_control_message_t *m);
static int control_worker(control_t *c, faas_control_message_t *m);
static int control_look(control_t *c);
static int control_ack(control_t *c, const faas_control_message_t *m);
static int control_is_operator(const control_t *c);
static int control_send_board(control_t *c);
static int control_refuse(control_t *c, const char *why);
static void control_pages(void *data);
static int control_send_pages(control_t *c);


static struct {
    loop_event_t   listen;
    loop_timer_t   paused;           /* until accept() is tried again */
    loop_job_t     pages;
    control_t     *list;
    uint32_t       count;
    uint32_t       lifelines;
    uint32_t       number;
} control = { .listen = { .fd = -1 } };


int
control_init(int state_dir)
{
    int        fd;
    unsigned   number;
    control_t *c;

    (void) state_dir;

    control.listen.handler = control_accept;
    control.paused.handler = control_resume;
    control.pages.handler = control_pages;

    fd = deposit_take("control");

    if (fd == -1) {
        fd = control_listen();
    }

    if (fd == -1 || loop_add(&control.listen, fd, EPOLLIN) == -1) {
        return -1;
    }

    while ((fd = deposit_take_any("lifeline/", &number)) != -1) {

        c = control_create(fd, CONTROL_MASTER);

        if (c == NULL) {
            close(fd);
            continue;
        }

        c->number = number;
        control.lifelines++;

        if (control.number <= number) {
            control.number = number + 1;
        }
    }

    return 0;
}


/*
 * Connecting takes write permission; nginx's workers have it by their group
 * or user.  Who connects is asked for its credentials in any case.
 */

static int
control_listen(void)
{
    int                 fd;
    int64_t             group;
    struct sockaddr_un  un;

    fd = socket(AF_UNIX, SOCK_SEQPACKET|SOCK_CLOEXEC|SOCK_NONBLOCK, 0);

    if (fd == -1) {
        return -1;
    }

    memset(&un, 0, sizeof(un));
    un.sun_family = AF_UNIX;
    memcpy(un.sun_path, CONTROL_SOCKET, sizeof(CONTROL_SOCKET));

    group = supervisor.settings->group;

    (void) unlink(CONTROL_SOCKET);

    if (bind(fd, (struct sockaddr *) &un, sizeof(un)) == -1
        || (group >= 0 && geteuid() == 0
            && lchown(CONTROL_SOCKET, (uid_t) -1, (gid_t) group) == -1)
        || chmod(CONTROL_SOCKET, 0660) == -1
        || listen(fd, CONTROL_BACKLOG) == -1
        || deposit_put(fd, "control") == -1)
    {
        close(fd);
        return -1;
    }

    return fd;
}


void
control_new_page(void)
{
    loop_post(&control.pages);
}


int
control_has_lifeline(void)
{
    return control.lifelines > 0;
}


static void
control_accept(void *data, uint32_t events)
{
    int  fd, n;

    (void) data;
    (void) events;

    for (n = 0; n < CONTROL_BACKLOG; n++) {

        fd = accept4(control.listen.fd, NULL, NULL,
                     SOCK_CLOEXEC|SOCK_NONBLOCK);

        if (fd == -1) {
            if (is_shortage(errno) && errno != EAGAIN) {
                control_pause();
            }

            return;
        }

        control_accept_one(fd);
    }
}


static void
control_pause(void)
{
    log_line(LOG_CRIT, errno, "accept failed on \"control\"");

    if (loop_change(&control.listen, 0) == 0) {
        loop_arm(&control.paused, loop_now_ms() + CONTROL_PAUSE_MS);
    }
}


static void
control_resume(void *data)
{
    (void) data;

    if (loop_change(&control.listen, EPOLLIN) == -1) {
        loop_arm(&control.paused, loop_now_ms() + CONTROL_PAUSE_MS);
    }
}


static void
control_accept_one(int fd)
{
    socklen_t     length;
    control_t    *c;
    struct ucred  peer;

    length = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == -1
        || (peer.uid != 0 && peer.uid != geteuid()
            && (int64_t) peer.uid != supervisor.settings->worker_uid))
    {
        log_line(LOG_WARN, 0, "pid %d of uid %u is not let to \"control\"",
                 (int) peer.pid, (unsigned) peer.uid);
        close(fd);
        return;
    }

    if (supervisor.draining) {

        /* a new host wants our place */

        (void) faas_control_send(fd, FAAS_CONTROL_REFUSED, "draining", 8,
                                 NULL, 0);
        close(fd);
        drain_begin("another host is waiting", 1);
        return;
    }

    if (control.count == CONTROL_CONNECTIONS) {
        log_line(LOG_ERROR, 0, "too many connections to \"control\"");
        close(fd);
        return;
    }

    c = control_create(fd, CONTROL_NEW);

    if (c == NULL) {
        close(fd);
        return;
    }

    c->pid = peer.pid;
    c->uid = peer.uid;
}


static control_t *
control_create(int fd, control_kind_e kind)
{
    control_t  *c;

    c = loop_alloc(sizeof(control_t));

    c->kind = kind;
    c->event.handler = control_events;
    c->event.data = c;

    if (loop_add(&c->event, fd, EPOLLIN) == -1) {
        free(c);
        return NULL;
    }

    c->next = control.list;
    control.list = c;
    control.count++;

    return c;
}


static void
control_close(control_t *c)
{
    int         fd;
    control_t **p;

    fd = loop_remove(&c->event);
    close(fd);

    for (p = &control.list; *p != c; p = &(*p)->next) { /* void */ }
    *p = c->next;

    control.count--;

    switch (c->kind) {

    case CONTROL_MASTER:
        deposit_remove("lifeline/%u", c->number);

        if (--control.lifelines == 0) {
            drain_begin("the last nginx is gone", 0);
        }

        break;

    case CONTROL_WORKER:
        owner_look();
        break;

    default:
        break;
    }

    free(c);
}


static void
control_events(void *data, uint32_t events)
{
    int                      rc;
    control_t               *c;

    static faas_control_message_t  m;

    c = data;

    if ((events & EPOLLOUT) && control_send_pages(c) == -1) {
        control_close(c);
        return;
    }

    if (!(events & (EPOLLIN|EPOLLHUP|EPOLLERR))) {
        return;
    }

    rc = faas_control_recv(c->event.fd, &m);

    if (rc == FAAS_AGAIN) {
        return;
    }

    if (rc != FAAS_OK) {
        if (rc == FAAS_ERROR) {
            log_line(LOG_WARN, errno, "pid %d sent what is no message to "
                     "\"control\"", (int) c->pid);

            if (errno == EPROTO) {
                (void) control_refuse(c, "not of release " FAAS_RELEASE);
            }
        }

        control_close(c);
        return;
    }

    rc = control_message(c, &m);

    while (m.nfds > 0) {
        close(m.fd[--m.nfds]);
    }

    if (rc == -1) {
        control_close(c);
    }
}


static int
control_message(control_t *c, faas_control_message_t *m)
{
    switch (m->head.type) {

    case FAAS_CONTROL_ATTACH:
        return control_attach(c, m);

    case FAAS_CONTROL_RELOAD:
        return control_reload(c, m);

    case FAAS_CONTROL_WORKER:
        return control_worker(c, m);

    case FAAS_CONTROL_LOOK:
        return control_look(c);

    case FAAS_CONTROL_ACK:
        return control_ack(c, m);

    default:
        log_line(LOG_WARN, 0, "pid %d sent message %u to \"control\"",
                 (int) c->pid, m->head.type);
        return -1;
    }
}


static int
control_attach(control_t *c, faas_control_message_t *m)
{
    char                   note[SETTINGS_WHY_SIZE];
    faas_control_attach_t  attach;

    if (c->kind != CONTROL_NEW || m->nfds != 1
        || m->head.length != sizeof(attach))
    {
        return control_refuse(c, "a malformed ATTACH");
    }

    if (supervisor.draining) {

        /* since it connected: this host would not be there for long */

        drain_begin("another host is waiting", 1);
        return control_refuse(c, "draining");
    }

    memcpy(&attach, m->payload, sizeof(attach));
    attach.release[sizeof(attach.release) - 1] = '\0';

    if (supervisor_configure(m->fd[0], note) == -1) {
        (void) control_refuse(c, note);
        return -1;
    }

    if (note[0] != '\0') {
        log_line(LOG_WARN, 0, "%s", note);
    }

    if (control_send_board(c) == -1) {
        return -1;
    }

    c->kind = CONTROL_MASTER;
    c->number = control.number++;
    control.lifelines++;

    (void) deposit_put(c->event.fd, "lifeline/%u", c->number);

    log_line(LOG_INFO, 0, "nginx %d of release %s is attached",
             (int) attach.pid, attach.release);

    return 0;
}


static int
control_send_board(control_t *c)
{
    int                   fds[2];
    uint32_t              first, n;
    faas_control_board_t  board;

    memset(&board, 0, sizeof(board));
    board.size = supervisor.size;
    memcpy(board.release, FAAS_RELEASE, sizeof(FAAS_RELEASE));

    fds[0] = supervisor.board_fd;
    fds[1] = supervisor.event_fd;

    if (faas_control_send(c->event.fd, FAAS_CONTROL_BOARD, &board,
                          sizeof(board), fds, 2)
        != FAAS_OK)
    {
        return -1;
    }

    for (first = 0; first < FAAS_WORKERS; first += n) {
        n = FAAS_WORKERS - first;

        if (n > FAAS_CONTROL_FDS) {
            n = FAAS_CONTROL_FDS;
        }

        if (faas_control_send(c->event.fd, FAAS_CONTROL_EVENTFDS, &first,
                              sizeof(first), &supervisor.wake[first], n)
            != FAAS_OK)
        {
            log_line(LOG_ALERT, errno, "could not send eventfds to nginx");
            return -1;
        }
    }

    return 0;
}


static int
control_reload(control_t *c, faas_control_message_t *m)
{
    char  note[SETTINGS_WHY_SIZE];

    if (c->kind != CONTROL_MASTER || m->nfds != 1) {
        return control_refuse(c, "a malformed RELOAD");
    }

    if (supervisor.draining) {

        /* what is new would serve nobody: nginx starts another host, which
           waits for our place */

        drain_begin("another host is waiting", 1);
        return -1;
    }

    if (supervisor_configure(m->fd[0], note) == -1) {

        /* the old configuration stays in force, and so does the lifeline */

        (void) control_refuse(c, note);
        return 0;
    }

    if (faas_control_send(c->event.fd, FAAS_CONTROL_ACCEPTED, note,
                          strlen(note), NULL, 0)
        == FAAS_ERROR)
    {
        log_line(LOG_WARN, errno, "could not answer a reload");
    }

    return 0;
}


static int
control_worker(control_t *c, faas_control_message_t *m)
{
    uint32_t        index;
    faas_worker_t  *w;

    if (c->kind != CONTROL_NEW || m->head.length != sizeof(index)) {
        return control_refuse(c, "a malformed WORKER");
    }

    memcpy(&index, m->payload, sizeof(index));

    if (index >= FAAS_WORKERS) {
        return control_refuse(c, "no such worker record");
    }

    w = faas_scoreboard_worker(supervisor.board, index);

    if (atomic_load(&w->pid) != c->pid) {
        return control_refuse(c, "the record is not yours");
    }

    c->kind = CONTROL_WORKER;
    owner_look();

    return control_send_pages(c);
}


/* -- faasctl --------------------------------------------------------------- */

/* nginx's workers are let to the socket too, and have no business here */

static int
control_is_operator(const control_t *c)
{
    return c->kind == CONTROL_NEW && (c->uid == 0 || c->uid == geteuid());
}


static int
control_look(control_t *c)
{
    int                   fd, rc;
    char                  path[64];
    faas_control_board_t  board;

    if (!control_is_operator(c)) {
        return control_refuse(c, "only root and who started nginx may look");
    }

    memset(&board, 0, sizeof(board));
    board.size = supervisor.size;
    memcpy(board.release, FAAS_RELEASE, sizeof(FAAS_RELEASE));

    (void) snprintf(path, sizeof(path), "/proc/self/fd/%d",
                    supervisor.board_fd);
    fd = open(path, O_RDONLY|O_CLOEXEC);

    if (fd == -1) {
        return control_refuse(c, "the board cannot be opened");
    }

    rc = faas_control_send(c->event.fd, FAAS_CONTROL_BOARD, &board,
                           sizeof(board), &fd, 1);
    close(fd);

    return rc == FAAS_OK ? 0 : -1;
}


static int
control_ack(control_t *c, const faas_control_message_t *m)
{
    char         text[FAAS_TEXT_SIZE];
    function_t  *f;

    if (!control_is_operator(c)) {
        return control_refuse(c, "only root and who started nginx may "
                              "acknowledge");
    }

    f = function_find(m->payload);

    if (f == NULL) {
        return control_refuse(c, "there is no such function");
    }

    if (!function_settled(f, text)) {
        return control_refuse(c, "it has no failed start");
    }

    log_line(LOG_NOTICE, 0, "function \"%s\": its failed start is "
             "acknowledged by uid %u: %s", f->name, (unsigned) c->uid, text);

    return faas_control_send(c->event.fd, FAAS_CONTROL_ACCEPTED, text,
                             strlen(text), NULL, 0)
           == FAAS_OK ? 0 : -1;
}


static int
control_refuse(control_t *c, const char *why)
{
    log_line(LOG_WARN, 0, "pid %d is refused on \"control\": %s",
             (int) c->pid, why);

    (void) faas_control_send(c->event.fd, FAAS_CONTROL_REFUSED, why,
                             strlen(why), NULL, 0);

    return -1;
}


static void
control_pages(void *data)
{
    control_t  *c, *next;

    (void) data;

    for (c = control.list; c != NULL; c = next) {
        next = c->next;

        if (c->kind == CONTROL_WORKER && control_send_pages(c) == -1) {
            control_close(c);
        }
    }
}


/* the pages that a worker has not got yet, as far as its socket has room */

static int
control_send_pages(control_t *c)
{
    int                  fd, rc;
    char                 path[64];
    slot_t              *s;
    uint32_t             index;
    faas_control_page_t  page;

    while (c->kind == CONTROL_WORKER
           && (index = place_page(c->pages)) != FAAS_INDEX_NONE)
    {
        s = slot_at(index);

        /* another description of the same memory, only to be read */

        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", s->page_fd);
        fd = open(path, O_RDONLY|O_CLOEXEC);

        if (fd == -1) {
            log_line(LOG_ALERT, errno, "could not open the page of slot %u",
                     index);
            return -1;
        }

        page.slot = index;
        page.reserved = 0;

        rc = faas_control_send(c->event.fd, FAAS_CONTROL_PAGE, &page,
                               sizeof(page), &fd, 1);
        close(fd);

        if (rc == FAAS_AGAIN || (rc == FAAS_ERROR && errno == ETOOMANYREFS))
        {
            if (!c->full) {
                c->full = 1;
                return loop_change(&c->event, EPOLLIN|EPOLLOUT);
            }

            return 0;
        }

        if (rc != FAAS_OK) {
            return -1;
        }

        c->pages++;
    }

    if (c->full) {
        c->full = 0;
        return loop_change(&c->event, EPOLLIN);
    }

    return 0;
}

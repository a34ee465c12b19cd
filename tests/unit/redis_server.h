
/*
 * A redis-server for tests: on a unix socket, or a free port, of a private
 * directory, with what it needs to end with the test program.
 */


#ifndef REDIS_SERVER_H_INCLUDED
#define REDIS_SERVER_H_INCLUDED


#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <time.h>
#include <unistd.h>

#include <hiredis/hiredis.h>


#define SERVER_ARGS  48


typedef struct {
    pid_t   pid;               /* 0: not running */
    char    directory[64];
    char    socket[96];
    int     port;              /* 0: only the socket */
    char   *argv[SERVER_ARGS];
} server_t;


static void __attribute__((unused))
server_pause(void)
{
    struct timespec  ts = { 0, 2000000 };

    (void) nanosleep(&ts, NULL);
}


static int64_t __attribute__((unused))
server_clock_ms(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


/* one that was free a moment ago */
static int __attribute__((unused))
server_free_port(void)
{
    int                 s;
    socklen_t           n;
    struct sockaddr_in  sin;

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    n = sizeof(sin);

    s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (s == -1 || bind(s, (struct sockaddr *) &sin, n) == -1
        || getsockname(s, (struct sockaddr *) &sin, &n) == -1)
    {
        abort();
    }

    (void) close(s);

    return ntohs(sin.sin_port);
}


static pid_t __attribute__((unused))
server_spawn(char *const argv[], const char *log)
{
    int    fd;
    pid_t  pid, parent;

    parent = getpid();
    pid = fork();

    if (pid != 0) {
        return pid;
    }

    (void) prctl(PR_SET_PDEATHSIG, SIGKILL);

    if (getppid() != parent) {
        _exit(1);
    }

    fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    (void) dup2(fd, 1);
    (void) dup2(fd, 2);
    fd = open("/dev/null", O_RDONLY);
    (void) dup2(fd, 0);
    (void) execvp(argv[0], argv);
    _exit(127);
}


/* a connection as anybody's, or NULL; the caller's */
static redisContext * __attribute__((unused))
server_connect(const server_t *s)
{
    redisContext  *c;

    c = redisConnectUnix(s->socket);

    if (c != NULL && c->err != 0) {
        redisFree(c);
        return NULL;
    }

    return c;
}


/* until it answers; loads what it has on disk.  -1 when it has ended: its port
   was somebody's after all */
static int __attribute__((unused))
server_ready(server_t *s)
{
    int            ready;
    int64_t        end;
    redisReply    *reply;
    redisContext  *c;

    ready = 0;

    for (end = server_clock_ms() + 20000; server_clock_ms() < end; ) {
        c = server_connect(s);

        if (c != NULL) {
            reply = redisCommand(c, "PING");
            ready = reply != NULL
                    && (reply->type == REDIS_REPLY_STATUS
                        || strncmp(reply->str, "NOAUTH", 6) == 0);

            if (reply != NULL) {
                freeReplyObject(reply);
            }

            redisFree(c);
        }

        if (ready) {
            return 0;
        }

        if (waitpid(s->pid, NULL, WNOHANG) == s->pid) {
            s->pid = 0;
            return -1;
        }

        server_pause();
    }

    return -1;
}


static int __attribute__((unused))
server_restart(server_t *s)
{
    char  log[128];

    (void) snprintf(log, sizeof(log), "%s/log", s->directory);
    s->pid = server_spawn(s->argv, log);

    return s->pid == -1 ? -1 : server_ready(s);
}


/* options: more of redis-server's arguments, ended by NULL; port -1: a free
   one, 0: none */
static int __attribute__((unused))
server_start(server_t *s, int port, const char *const *options)
{
    int          i;
    static char  ports[64][8];
    static int   used;

    memset(s, 0, sizeof(server_t));
    (void) strcpy(s->directory, "/tmp/faas-redis.XXXXXX");

    if (mkdtemp(s->directory) == NULL) {
        return -1;
    }

    s->port = port;
    (void) snprintf(s->socket, sizeof(s->socket), "%s/redis.sock",
                    s->directory);
    (void) snprintf(ports[used], sizeof(ports[0]), "%d", s->port);

    i = 0;
    s->argv[i++] = (char *) "redis-server";
    s->argv[i++] = (char *) "--port";
    s->argv[i++] = ports[used++ % 64];
    s->argv[i++] = (char *) "--bind";
    s->argv[i++] = (char *) "127.0.0.1";
    s->argv[i++] = (char *) "--unixsocket";
    s->argv[i++] = s->socket;
    s->argv[i++] = (char *) "--dir";
    s->argv[i++] = s->directory;
    s->argv[i++] = (char *) "--save";
    s->argv[i++] = (char *) "";
    s->argv[i++] = (char *) "--enable-debug-command";
    s->argv[i++] = (char *) "yes";

    while (options != NULL && *options != NULL && i < SERVER_ARGS - 1) {
        s->argv[i++] = (char *) *options++;
    }

    if (port != -1) {
        return server_restart(s);
    }

    /* a port that was free may not be any more; the bus of a cluster's node is
       10000 higher */

    for (i = 0; i < 100 && s->pid == 0; i++) {
        s->port = server_free_port();
        (void) sprintf(s->argv[2], "%d", s->port);

        if (s->port <= 55535 && server_restart(s) == 0) {
            return 0;
        }
    }

    return -1;
}


static void __attribute__((unused))
server_stop(server_t *s, int signo)
{
    if (s->pid > 0) {
        (void) kill(s->pid, signo);
        (void) kill(s->pid, SIGCONT);
        (void) waitpid(s->pid, NULL, 0);
        s->pid = 0;
    }
}


/* stops it, and removes its directory */
static void __attribute__((unused))
server_remove(server_t *s)
{
    pid_t  pid;

    server_stop(s, SIGKILL);

    if (s->directory[0] != '\0') {
        pid = fork();

        if (pid == 0) {
            (void) execlp("rm", "rm", "-rf", s->directory, (char *) NULL);
            _exit(127);
        }

        (void) waitpid(pid, NULL, 0);
    }

    s->directory[0] = '\0';
}


/* one command of words, as the default user: its answer as a number, -1 for an
   error */
static long long __attribute__((unused))
server_tell(const server_t *s, const char *command)
{
    int            argc;
    char          *words, *word, *rest;
    long long      n;
    const char    *argv[32];
    redisReply    *reply;
    redisContext  *c;

    c = server_connect(s);

    if (c == NULL) {
        return -1;
    }

    n = -1;
    argc = 0;
    words = strdup(command);

    for (word = strtok_r(words, " ", &rest); word != NULL && argc < 32;
         word = strtok_r(NULL, " ", &rest))
    {
        argv[argc++] = word;
    }

    reply = redisCommandArgv(c, argc, argv, NULL);
    free(words);

    if (reply != NULL) {
        n = reply->type == REDIS_REPLY_INTEGER ? reply->integer
            : reply->type == REDIS_REPLY_ERROR ? -1 : 0;

        if (reply->type == REDIS_REPLY_ERROR) {
            (void) fprintf(stderr, "%s: %s\n", command, reply->str);
        }

        freeReplyObject(reply);
    }

    redisFree(c);

    return n;
}


#endif /* REDIS_SERVER_H_INCLUDED */

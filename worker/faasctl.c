
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faas_control.h"
#include "faasctl.h"


#define FAASCTL_STATE  "/var/lib/faas"

#define FAASCTL_WORDS  (sizeof(faasctl.words) / sizeof(faasctl.words[0]))


/* a command, its words that follow, and what else it takes */

typedef struct {
    const char               *group;
    const char               *name;        /* NULL: the group is all of it */
    int                       least;       /* words behind the name */
    int                       most;
    int                     (*run)(void);
    const char               *usage;
    const char               *help;
} faasctl_command_t;


static int faasctl_parse(int argc, char **argv);
static int faasctl_option(const char *option, char **argv, int *i);
static int faasctl_value(const char *option, const char *name, char **argv,
    int *i, const char **value);
static const faasctl_command_t *faasctl_command(void);
static int faasctl_wrong(const char *what, const char *about);
static void faasctl_help(void);


faasctl_t  faasctl;


static const faasctl_command_t  faasctl_commands[] = {
    { "list", NULL, 0, 0, faasctl_list,
      "list",
      "functions: state, version, instances, deaths, for how long one\n"
      "          is held back, and whether a start of it has failed" },
    { "describe", NULL, 1, 1, faasctl_describe,
      "describe FUNCTION",
      "one of them: versions, the tally of its deaths and the last few,\n"
      "          its failed start" },
    { "ack", NULL, 1, 1, faasctl_ack,
      "ack FUNCTION",
      "its failed start was seen: it is in status and list no more" },
    { "core", "list", 0, 0, faasctl_core_list,
      "core list",
      "dumps of crashes, timeouts and ends for memory (faas_core)" },
    { "core", "show", 1, 1, faasctl_core_show,
      "core show ID",
      "one of them: cause, backtrace of every thread, the request" },
    { "core", "rm", 0, 1, faasctl_core_rm,
      "core rm ID | core rm --all",
      "deletes it, or all; this cannot be undone" },
    { "replay", NULL, 1, 1, faasctl_replay,
      "replay ID [--gdb]",
      "runs its request again in a fresh process of that version,\n"
      "          without backend services; under gdb, stopped before the\n"
      "          handler" },
    { "queue", "list", 0, 0, faasctl_queue_list,
      "queue list",
      "queues: how many messages are ready, delayed, leased to a\n"
      "          consumer, dead; age of the oldest that is ready" },
    { "timer", "list", 0, 0, faasctl_timer_list,
      "timer list",
      "timers: when they are due, when they last were, and whether\n"
      "          that run goes on" },
    { "dlq", "list", 0, 1, faasctl_dlq_list,
      "dlq list [QUEUE] [--after ID] [--limit N]",
      "dead letters: messages, calls, timers' runs that were given up" },
    { "dlq", "show", 2, 2, faasctl_dlq_show,
      "dlq show QUEUE ID",
      "one of them, with its data" },
    { "dlq", "retry", 1, 2, faasctl_dlq_retry,
      "dlq retry QUEUE ID | dlq retry QUEUE --all",
      "sends it, or all of the queue, again; attempts count from 0" },
    { "dlq", "purge", 1, 2, faasctl_dlq_purge,
      "dlq purge QUEUE ID | dlq purge QUEUE --all",
      "deletes it, or all of the queue; this cannot be undone" }
};

#define FAASCTL_COMMANDS                                                      \
    (sizeof(faasctl_commands) / sizeof(faasctl_commands[0]))


int
main(int argc, char **argv)
{
    int                       rc;
    const faasctl_command_t  *command;

    rc = faasctl_parse(argc, argv);

    if (rc != -1) {
        return rc;
    }

    command = faasctl_command();

    if (command == NULL) {
        return FAASCTL_USAGE;
    }

    rc = command->run();

    if (fflush(stdout) != 0 || ferror(stdout)) {
        perror("faasctl: stdout");
        return FAASCTL_FAILED;
    }

    return rc;
}


/* -1: go on; else the exit status */

static int
faasctl_parse(int argc, char **argv)
{
    int  i, rc, options;

    faasctl.state = getenv("FAAS_STATE");
    faasctl.after = "";

    if (faasctl.state == NULL || faasctl.state[0] == '\0') {
        faasctl.state = FAASCTL_STATE;
    }

    options = 1;

    for (i = 1; i < argc; i++) {

        if (options && strcmp(argv[i], "--") == 0) {
            options = 0;
            continue;
        }

        if (options && argv[i][0] == '-' && argv[i][1] != '\0') {
            rc = faasctl_option(argv[i], argv, &i);

            if (rc != -1) {
                return rc;
            }

            continue;
        }

        if ((size_t) faasctl.nwords == FAASCTL_WORDS) {
            return faasctl_wrong("too many words, from", argv[i]);
        }

        faasctl.words[faasctl.nwords++] = argv[i];
    }

    if (faasctl.nwords == 0) {
        return faasctl_wrong("no command is given", NULL);
    }

    if (strcmp(faasctl.words[0], "help") == 0) {
        faasctl_help();
        return FAASCTL_DONE;
    }

    return -1;
}


static int
faasctl_option(const char *option, char **argv, int *i)
{
    int          rc;
    char        *end;
    const char  *value;

    if (strcmp(option, "-h") == 0 || strcmp(option, "--help") == 0) {
        faasctl_help();
        return FAASCTL_DONE;
    }

    if (strcmp(option, "-V") == 0 || strcmp(option, "--version") == 0) {
        (void) printf("faasctl %s\n", FAAS_RELEASE);
        return FAASCTL_DONE;
    }

    if (strcmp(option, "--gdb") == 0) {
        faasctl.gdb = 1;
        return -1;
    }

    if (strcmp(option, "--all") == 0) {
        faasctl.all = 1;
        return -1;
    }

    rc = faasctl_value(option, "-s", argv, i, &faasctl.state);

    if (rc != 0) {
        return rc;
    }

    rc = faasctl_value(option, "--after", argv, i, &faasctl.after);

    if (rc != 0) {
        return rc;
    }

    rc = faasctl_value(option, "--limit", argv, i, &value);

    if (rc == -1) {
        faasctl.limit = strtoll(value, &end, 10);

        if (*end != '\0' || faasctl.limit < 1 || faasctl.limit > 1000) {
            return faasctl_wrong("--limit is a number from 1 to 1000, not",
                                 value);
        }

        return -1;
    }

    if (rc != 0) {
        return rc;
    }

    rc = faasctl_value(option, "-o", argv, i, &value);

    if (rc == -1) {
        faasctl.json = strcmp(value, "json") == 0;

        if (!faasctl.json && strcmp(value, "text") != 0) {
            return faasctl_wrong("-o is json or text, not", value);
        }

        return -1;
    }

    return rc != 0 ? rc : faasctl_wrong("unknown option", option);
}


/* 0: it is another option; -1: it was this one, with a value; else the exit
   status */

static int
faasctl_value(const char *option, const char *name, char **argv, int *i,
    const char **value)
{
    size_t  n;

    n = strlen(name);

    if (strncmp(option, name, n) != 0) {
        return 0;
    }

    option += n;

    if (*option == '\0') {
        option = argv[*i + 1];

        if (option == NULL) {
            return faasctl_wrong("a value is missing behind", name);
        }

        (*i)++;

    } else if (name[1] == '-') {

        /* --limit=5 */

        if (*option != '=') {
            return 0;
        }

        option++;
    }

    *value = option;

    return -1;
}


static const faasctl_command_t *
faasctl_command(void)
{
    int                       more, grouped;
    size_t                    i;
    const faasctl_command_t  *c;

    grouped = 0;

    for (i = 0; i < FAASCTL_COMMANDS; i++) {
        c = &faasctl_commands[i];

        if (strcmp(c->group, faasctl.words[0]) != 0) {
            continue;
        }

        grouped = 1;
        more = faasctl.nwords - 1;

        if (c->name != NULL) {

            if (more < 1 || strcmp(c->name, faasctl.words[1]) != 0) {
                continue;
            }

            more--;
        }

        if (more < c->least || more > c->most) {
            (void) faasctl_wrong("usage:", c->usage);
            return NULL;
        }

        return c;
    }

    (void) faasctl_wrong(!grouped ? "unknown command"
                         : faasctl.nwords < 2 ? "a word is missing behind"
                         : "unknown command",
                         !grouped || faasctl.nwords < 2 ? faasctl.words[0]
                                                        : faasctl.words[1]);

    return NULL;
}


static int
faasctl_wrong(const char *what, const char *about)
{
    if (about != NULL) {
        (void) fprintf(stderr, "faasctl: %s \"%s\" (see faasctl help)\n",
                       what, about);

    } else {
        (void) fprintf(stderr, "faasctl: %s (see faasctl help)\n", what);
    }

    return FAASCTL_USAGE;
}


static void
faasctl_help(void)
{
    size_t  i;

    (void) printf("usage: faasctl [-s DIR] [-o json|text] COMMAND\n\n"
                  "  -s DIR  faas_state of the host; else FAAS_STATE, else %s"
                  "\n"
                  "  -o json one JSON document instead of text\n"
                  "  -V      version\n\n", FAASCTL_STATE);

    for (i = 0; i < FAASCTL_COMMANDS; i++) {
        (void) printf("  %s\n          %s\n", faasctl_commands[i].usage,
                      faasctl_commands[i].help);
    }

    (void) printf("\nA queue of the name @FUNCTION has the async calls, "
                  "deferred calls, callbacks and\ntimers' runs of that "
                  "function.\n\nExits with 0: done, 1: not done, 2: called "
                  "wrongly.\n");
}

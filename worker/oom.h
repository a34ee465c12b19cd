
/*
 * Did the kernel kill for lack of memory?  It does not say whom: it counts,
 * in memory.events of our cgroup (version 2), which has our functions', or in
 * /proc/vmstat.  A SIGKILL that nobody of ours sent, within two seconds of
 * such a count, was one of those, as far as the count goes.
 */


#ifndef OOM_H_INCLUDED
#define OOM_H_INCLUDED


#include <stdint.h>


#define OOM_RECENT_MS  2000


/* what was counted and not yet taken; zeroed at first */

typedef struct {
    uint64_t                  count;
    uint64_t                  left;
    uint64_t                  risen_ms;
    int                       known;       /* 1: there is a count */
} oom_t;


/* pure: the value in a line "oom_kill N" of text, -1: there is none */
int64_t oom_parse(const char *text);

/* pure: what the counter says now, -1: it cannot be read */
void oom_count(oom_t *oom, int64_t count, uint64_t now_ms);

/* pure: takes one, if there is one: 1 or 0 */
int oom_take(oom_t *oom, uint64_t now_ms);

/* at the start, and about once a second, so that a rise has a time */
void oom_look(void);

/* a process of ours was killed just now: by the kernel?  1 or 0 */
int oom_has_killed(void);


#endif /* OOM_H_INCLUDED */


/*
 * The supervisor's side of the events process (baas/events.h): its socket
 * baas.sock, its directory, what it is told of functions.
 */


#ifndef EVENTS_LINK_H_INCLUDED
#define EVENTS_LINK_H_INCLUDED


#define EVENTS_LINK_SOCKET  "baas.sock"


/* the socket, and the process that a supervisor before us has started; after
   the adoption of functions; 0, or -1 (said) */
int events_link_init(void);

/* from now on it runs: the directory was looked through, so that what it is
   told first is not that there are no functions */
void events_link_begin(void);

/* functions, limits, events, tokens changed: it is told, soon, of all that
   changed until then at once */
void events_link_changed(void);

/* the configuration changed: another engine or user is another process */
void events_link_configured(void);


#endif /* EVENTS_LINK_H_INCLUDED */


/*
 * What comes from the supervisor over EVENTS_FD_CHANNEL (events.h).
 */


#ifndef EVENTS_CHANNEL_H_INCLUDED
#define EVENTS_CHANNEL_H_INCLUDED


#include "events_settings.h"


/* 1: a packet, zero-terminated, and its descriptor (the caller's) or -1;
   0: there is none; -1: the end */
int events_channel_recv(char *packet, size_t size, int *fd);

/* the text in a memfd, parsed; NULL with a line in why[size] */
events_settings_t *events_channel_settings(int fd, char *why, size_t size);


#endif /* EVENTS_CHANNEL_H_INCLUDED */

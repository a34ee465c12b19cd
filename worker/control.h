
/*
 * The supervisor's side of faas_state/control (scoreboard/faas_control.h):
 * masters attach here and keep the host alive by it, workers get pages.
 */


#ifndef CONTROL_H_INCLUDED
#define CONTROL_H_INCLUDED


/* listens, or goes on with what was deposited; 0 or -1 */
int control_init(int state_dir);

/* a slot got a page: workers are told at the end of this turn */
void control_new_page(void);

/* 1 while a master, or a worker that inherited its connection, is there */
int control_has_lifeline(void);


#endif /* CONTROL_H_INCLUDED */

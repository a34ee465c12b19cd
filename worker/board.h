
/*
 * What the host stands on: the directories below faas_state, the scoreboard,
 * the eventfds; made at a first start, taken back from the keeper after a
 * restart.
 */


#ifndef BOARD_H_INCLUDED
#define BOARD_H_INCLUDED


#define BOARD_TOKEN_SIZE  40


/* each 0, or -1 (said and logged) */
int board_directories(void);
int board_open(void);
int board_eventfds(void);

/* a secret of 32 hex digits in token[BOARD_TOKEN_SIZE] */
void board_token(char *token);


#endif /* BOARD_H_INCLUDED */

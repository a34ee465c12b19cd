
/*
 * The nginx workers that claimed a record on the board: seen dead by pidfd,
 * then what they held is taken back and the record is free.
 */


#ifndef OWNER_H_INCLUDED
#define OWNER_H_INCLUDED


#include <stdint.h>


/* looks through the records: new ones are watched; about once a second, and
   when a worker connects or its connection ends */
void owner_look(void);


#endif /* OWNER_H_INCLUDED */


/*
 * Whose a route is: of two functions that declare the same one, the older
 * keeps it.  The order in which names appeared outlives the host, in
 * faas_state/order, one name a line.  From it and from what the current
 * versions declare the route table is built and published.
 */


#ifndef CLAIMS_H_INCLUDED
#define CLAIMS_H_INCLUDED


#include <stdint.h>


/* reads the order */
void claims_init(void);

/* where name stands: as it stood, or last; smaller is older */
uint64_t claims_order(const char *name);

/* the function is gone, and what it claimed is free */
void claims_drop(const char *name);

/* the directory was looked through: names that have no entry now lose their
   place */
void claims_settle(void);

/* writes the order */
void claims_save(void);

/* the table is published anew at the end of this turn */
void claims_changed(void);


#endif /* CLAIMS_H_INCLUDED */

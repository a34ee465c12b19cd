
/*
 * The channels of a lineage, as far as they are read: who says what, and who
 * is to be told.
 */


#ifndef LINEAGE_READ_H_INCLUDED
#define LINEAGE_READ_H_INCLUDED


#include "version.h"


/* handlers of v's channels; data is the version */
void lineage_read_init_events(void *data, uint32_t events);
void lineage_read_template_events(void *data, uint32_t events);
void lineage_read_report_events(void *data, uint32_t events);

/* reads what is there now: FAAS_OK, or FAAS_DONE when the channel is to be
   given up */
int lineage_read_template(version_t *v);
void lineage_read_reports(version_t *v);


#endif /* LINEAGE_READ_H_INCLUDED */

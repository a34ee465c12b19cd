
/*
 * The supervisor's side of the tenders (baas/tender.h): one process for each
 * user whose functions have data, and the service user's for shared stores.
 */


#ifndef TENDERS_H_INCLUDED
#define TENDERS_H_INCLUDED


/* takes over what a supervisor before us has started; after the adoption of
   functions */
void tenders_init(void);

/* functions, tokens, directories, shared stores changed: each tender is told
   what is its own, soon, of all that changed until then at once */
void tenders_changed(void);


#endif /* TENDERS_H_INCLUDED */

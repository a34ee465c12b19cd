
/*
 * From files to versions: what a change in the functions directory means.
 */


#ifndef DEPLOY_H_INCLUDED
#define DEPLOY_H_INCLUDED


/* watches settings->functions from now on; 0 or -1 */
int deploy_watch(void);

/* 1 when the directory was looked through and nothing is loading */
int deploy_is_settled(void);

/* the configuration changed: limits, environments, users of all functions */
void deploy_configured(void);

void deploy_stop(void);

/* removes from the store what no version is made of; now and then */
void deploy_sweep(void);


#endif /* DEPLOY_H_INCLUDED */

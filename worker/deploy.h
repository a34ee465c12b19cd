
/*
 * From files to versions: what a change in the functions directory means.
 */


#ifndef DEPLOY_H_INCLUDED
#define DEPLOY_H_INCLUDED


#include <sys/types.h>


/* watches settings->functions from now on; 0 or -1 */
int deploy_watch(void);

/* the functions directory's descriptor, -1: it is not there */
int deploy_directory(void);

/* who may own files in it besides root and us; (uid_t) -1: nobody */
uid_t deploy_deployer(void);

/* that content of the function's file is to be current (label ""), or there
   under that label */
void deploy_version(const char *name, const char *label, const char *sha256);

/* 1 when the directory was looked through and nothing is loading */
int deploy_is_settled(void);

/* the configuration changed: limits, environments, users of all functions */
void deploy_configured(void);

void deploy_stop(void);

/* removes from the store what no version is made of; now and then */
void deploy_sweep(void);


#endif /* DEPLOY_H_INCLUDED */

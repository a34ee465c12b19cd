
/*
 * What a function prints.  Its descriptors 1 and 2 are a pipe that the
 * supervisor reads.  A function that prints faster than that is read waits in
 * its own write(), as with any pipe, at most until its budget ends and it is
 * killed.  What this runtime writes for it never waits longer than
 * OUTPUT_WAIT_MS: then it is dropped, and the log says how much.
 */


#ifndef OUTPUT_H_INCLUDED
#define OUTPUT_H_INCLUDED


#define OUTPUT_WAIT_MS  100


/* empties stdout's and stderr's buffers, when there is something in them */
void output_flush(void);


#endif /* OUTPUT_H_INCLUDED */

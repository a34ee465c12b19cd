
/*
 * Lines of the supervisor's own, in nginx's error log and its format:
 *
 *   2026/11/23 10:00:00 [error] 4711#0: faas: message (13: Permission denied)
 *
 * The file is opened by path and again when another file is found there
 * (rotation); without a path, descriptor 2 is used.
 */


#ifndef LOG_H_INCLUDED
#define LOG_H_INCLUDED


/* nginx's numbers, not syslog.h's */

#define LOG_EMERG   1
#define LOG_ALERT   2
#define LOG_CRIT    3
#define LOG_ERROR   4
#define LOG_WARN    5
#define LOG_NOTICE  6
#define LOG_INFO    7
#define LOG_DEBUG   8


/* path may be NULL; may be called again with other settings */
void log_open(const char *path, int level);

/* looks whether the file was moved away; called about once a second */
void log_check(void);

/* one line; error is an errno or 0 */
void log_line(int level, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));


#endif /* LOG_H_INCLUDED */

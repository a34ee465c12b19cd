
/*
 * What every engine of queues must do (baas/queue.h), run against each of
 * them.  A test program says how storage is made and opened (queue_node.h),
 * and lists QUEUE_CONFORMANCE among its tests.
 *
 * Time is the wall clock's, since Redis has no other: what is to happen later
 * is waited for, and what must not happen yet is looked for until it may.
 */


#ifndef QUEUE_CONFORMANCE_H_INCLUDED
#define QUEUE_CONFORMANCE_H_INCLUDED


#include "queue_node.h"

#include "queue_conformance_messages.h"
#include "queue_conformance_leases.h"
#include "queue_conformance_dead.h"
#include "queue_conformance_timers.h"
#include "queue_conformance_calls.h"
#include "queue_conformance_nodes.h"


#define QUEUE_CONFORMANCE                                                     \
    QUEUE_CONFORMANCE_MESSAGES, QUEUE_CONFORMANCE_LEASES,                     \
    QUEUE_CONFORMANCE_DEAD, QUEUE_CONFORMANCE_TIMERS,                         \
    QUEUE_CONFORMANCE_CALLS, QUEUE_CONFORMANCE_NODES


#endif /* QUEUE_CONFORMANCE_H_INCLUDED */

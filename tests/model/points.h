
/*
 * Forced into each source that the model runs (-include): an operation on a
 * word that somebody else may change asks the explorer first, who runs next.
 * Relaxed operations are no points of their own: they happen together with
 * what is before them.  What relaxed means to a processor that reorders is
 * not modelled.
 */


#ifndef MODEL_POINTS_H_INCLUDED
#define MODEL_POINTS_H_INCLUDED


#include <stdatomic.h>


/* the explorer's; stays away while others run */
extern void  (*model_point)(const volatile void *address);


#undef atomic_load
#undef atomic_store
#undef atomic_exchange
#undef atomic_fetch_add
#undef atomic_fetch_sub
#undef atomic_fetch_and
#undef atomic_fetch_or
#undef atomic_compare_exchange_strong
#undef atomic_compare_exchange_weak

#define atomic_load(p)                                                        \
    (model_point(p), atomic_load_explicit(p, memory_order_seq_cst))
#define atomic_store(p, v)                                                    \
    (model_point(p), atomic_store_explicit(p, v, memory_order_seq_cst))
#define atomic_exchange(p, v)                                                 \
    (model_point(p), atomic_exchange_explicit(p, v, memory_order_seq_cst))
#define atomic_fetch_add(p, v)                                                \
    (model_point(p), atomic_fetch_add_explicit(p, v, memory_order_seq_cst))
#define atomic_fetch_sub(p, v)                                                \
    (model_point(p), atomic_fetch_sub_explicit(p, v, memory_order_seq_cst))
#define atomic_fetch_and(p, v)                                                \
    (model_point(p), atomic_fetch_and_explicit(p, v, memory_order_seq_cst))
#define atomic_fetch_or(p, v)                                                 \
    (model_point(p), atomic_fetch_or_explicit(p, v, memory_order_seq_cst))
#define atomic_compare_exchange_strong(p, e, v)                               \
    (model_point(p), atomic_compare_exchange_strong_explicit(p, e, v,         \
                         memory_order_seq_cst, memory_order_seq_cst))
#define atomic_compare_exchange_weak  atomic_compare_exchange_strong


#endif /* MODEL_POINTS_H_INCLUDED */

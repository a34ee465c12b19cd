
#include "tender_policy.h"


#define TENDER_FAILURES_MAX  6      /* 64 seconds between two attempts */


static int tender_policy_may_truncate(const tender_log_t *log);


tender_checkpoint_e
tender_policy(const tender_log_t *log)
{
    if (log->size == 0) {
        return TENDER_NOTHING;
    }

    if (log->size >= TENDER_LOG_LARGE && tender_policy_may_truncate(log)) {
        return TENDER_TRUNCATE;
    }

    if (log->age_ms >= 0) {
        return log->pending >= TENDER_LOG_FULL || log->age_ms >= TENDER_AGE_MS
               ? TENDER_PASSIVE : TENDER_NOTHING;
    }

    if (log->quiet_ms >= TENDER_QUIET_MS && tender_policy_may_truncate(log)) {
        return TENDER_TRUNCATE;
    }

    return TENDER_NOTHING;
}


static int
tender_policy_may_truncate(const tender_log_t *log)
{
    uint32_t  n;

    n = log->failures < TENDER_FAILURES_MAX ? log->failures
                                            : TENDER_FAILURES_MAX;

    return log->tried_ms >= (int64_t) TENDER_AGAIN_MS << n;
}

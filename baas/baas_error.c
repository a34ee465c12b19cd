
#include <faas.h>


const char *
faas_error(int code)
{
    switch (code) {

    case FAAS_OK:
        return "success";

    case FAAS_ENOTFOUND:
        return "not found";

    case FAAS_ECONFLICT:
        return "conflict with another version";

    case FAAS_EINVAL:
        return "invalid argument or value";

    case FAAS_ETOOLARGE:
        return "too large";

    case FAAS_EDENIED:
        return "not permitted";

    case FAAS_EBUSY:
        return "locked by others";

    case FAAS_EFULL:
        return "no space or memory left";

    case FAAS_EREADONLY:
        return "read-only";

    case FAAS_EUNAVAILABLE:
        return "service unavailable";

    case FAAS_ETIMEDOUT:
        return "no answer by the deadline";

    case FAAS_ECORRUPT:
        return "stored data cannot be read";

    case FAAS_ELOOP:
        return "calls nested too deeply";

    case FAAS_EUNSUPPORTED:
        return "not supported here";

    default:
        return code < 0 ? "error" : "success";
    }
}

#include "server/sse.h"

void qvl_sse_begin(struct qvl_exchange *x)
{
    qvl_exchange_add_header(x, "Cache-Control", "no-cache");
    qvl_exchange_add_header(x, "X-Accel-Buffering", "no"); /* nginx */
    qvl_exchange_begin(x, 200, "text/event-stream; charset=utf-8");
}

enum qvl_status qvl_sse_add(struct qvl_bytes *out, const char *event, const char *json, size_t n,
                            struct qvl_error *err)
{
    enum qvl_status status = event ? qvl_bytes_add_format(out, err, "event: %s\n", event) : QVL_OK;
    if (!status)
        status = qvl_bytes_add_text(out, "data: ", err);
    if (!status)
        status = qvl_bytes_add(out, json, n, err);
    return status ? status : qvl_bytes_add_text(out, "\n\n", err);
}

#include "load/safetensors_write.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "load/quantize.h"
#include "load/safetensors.h"

/* Packed ones and those as long as whole lines keep the place behind them aligned; then by size of the element. */
static int rank(const struct qvl_tensor *t)
{
    if (qvl_tensor_bytes(t) % QVL_PANEL_LINE == 0)
        return 0;
    return t->dtype == QVL_F32 ? 1 : 2;
}

static int compare(const void *a, const void *b)
{
    const struct qvl_tensor *x = ((const struct qvl_safetensors_out *)a)->tensor;
    const struct qvl_tensor *y = ((const struct qvl_safetensors_out *)b)->tensor;
    return rank(x) != rank(y) ? rank(x) - rank(y) : strcmp(x->name, y->name);
}

uint64_t qvl_safetensors_place(struct qvl_safetensors_out *out, size_t n)
{
    uint64_t at = 0;
    qsort(out, n, sizeof *out, compare);
    for (size_t i = 0; i < n; i++) {
        out[i].begin = at;
        at += qvl_tensor_bytes(out[i].tensor);
    }
    return at;
}

static enum qvl_status add_metadata(const struct qvl_safetensors_out *out, size_t n,
                                    const char *const (*metadata)[2], size_t n_metadata, struct qvl_bytes *text,
                                    struct qvl_error *err)
{
    enum qvl_status status = qvl_bytes_add_text(text, "{\"__metadata__\":{", err);
    const char *comma = "";
    for (size_t i = 0; i < n_metadata && !status; i++, comma = ",")
        status = qvl_bytes_add_format(text, err, "%s\"%s\":\"%s\"", comma, metadata[i][0], metadata[i][1]);
    for (size_t i = 0; i < n && !status; i++, comma = ",") {
        char hex[2 * QVL_SHA256_BYTES + 1];
        qvl_hex(out[i].sha256, QVL_SHA256_BYTES, hex);
        status =
            qvl_bytes_add_format(text, err, "%s\"" QVL_SHA256_KEY "%s\":\"%s\"", comma, out[i].tensor->name, hex);
    }
    return status ? status : qvl_bytes_add_text(text, "}", err);
}

static enum qvl_status add_entry(const struct qvl_safetensors_out *out, struct qvl_bytes *text,
                                 struct qvl_error *err)
{
    const struct qvl_tensor *t = out->tensor;
    bool is_packed = qvl_dtype_is_packed(t->dtype);
    uint64_t n_bytes = qvl_tensor_bytes(t);
    uint32_t n_dim = is_packed ? 1 : t->n_dim;
    enum qvl_status status = qvl_bytes_add_format(text, err, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", t->name,
                                                  qvl_dtype_name(is_packed ? QVL_I8 : t->dtype));
    for (uint32_t i = 0; i < n_dim && !status; i++)
        status = qvl_bytes_add_format(text, err, "%s%" PRIu64, i ? "," : "", is_packed ? n_bytes : t->dim[i]);
    return status ? status
                  : qvl_bytes_add_format(text, err, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", out->begin,
                                         out->begin + n_bytes);
}

enum qvl_status qvl_safetensors_header(const struct qvl_safetensors_out *out, size_t n,
                                       const char *const (*metadata)[2], size_t n_metadata, struct qvl_bytes *text,
                                       struct qvl_error *err)
{
    static const char blanks[] = "                                                                "; /* a line */
    uint64_t n_json = 0;
    size_t begin = text->n;
    enum qvl_status status = qvl_bytes_add(text, &n_json, sizeof n_json, err);
    if (!status)
        status = add_metadata(out, n, metadata, n_metadata, text, err);
    for (size_t i = 0; i < n && !status; i++)
        status = add_entry(&out[i], text, err);
    if (status || (status = qvl_bytes_add_text(text, "}", err)))
        return status;
    size_t n_used = text->n - begin;
    if ((status = qvl_bytes_add(text, blanks, qvl_round_up(n_used, QVL_PANEL_LINE) - n_used, err)))
        return status;
    n_json = text->n - begin - sizeof n_json;
    memcpy(text->data + begin, &n_json, sizeof n_json); /* little-endian, as the weights are */
    return QVL_OK;
}

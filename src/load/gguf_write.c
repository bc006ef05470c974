/* Numbers are little-endian, as every machine that qvl runs on has them. Source of truth: docs/gguf.md of ggml and
 * gguf_writer.py of llama.cpp. */
#include "load/gguf_write.h"

#include <string.h>

#include "base/checked.h"

enum { VERSION = 3 };

static enum qvl_status put_u32(struct qvl_bytes *b, uint32_t x, struct qvl_error *err)
{
    return qvl_bytes_add(b, &x, sizeof x, err);
}

static enum qvl_status put_u64(struct qvl_bytes *b, uint64_t x, struct qvl_error *err)
{
    return qvl_bytes_add(b, &x, sizeof x, err);
}

static enum qvl_status put_string(struct qvl_bytes *b, const char *text, size_t n, struct qvl_error *err)
{
    enum qvl_status status = put_u64(b, n, err);
    return status || n == 0 ? status : qvl_bytes_add(b, text, n, err);
}

/* ---- keys ------------------------------------------------------------------------------------------ */

static enum qvl_status begin_key(struct qvl_gguf_out *out, const char *key, enum qvl_gguf_kind kind,
                                 struct qvl_error *err)
{
    enum qvl_status status = put_string(&out->keys, key, strlen(key), err);
    out->n_key++;
    return status ? status : put_u32(&out->keys, kind, err);
}

enum qvl_status qvl_gguf_put_number(struct qvl_gguf_out *out, enum qvl_gguf_kind kind, double value,
                                    struct qvl_error *err)
{
    switch (kind) {
    case QVL_GGUF_F32: return qvl_bytes_add(&out->keys, &(float){(float)value}, sizeof(float), err);
    case QVL_GGUF_F64: return qvl_bytes_add(&out->keys, &value, sizeof value, err);
    case QVL_GGUF_BOOL:
    case QVL_GGUF_U8: return qvl_bytes_add(&out->keys, &(uint8_t){(uint8_t)value}, 1, err);
    case QVL_GGUF_I8: return qvl_bytes_add(&out->keys, &(int8_t){(int8_t)value}, 1, err);
    case QVL_GGUF_U16: return qvl_bytes_add(&out->keys, &(uint16_t){(uint16_t)value}, 2, err);
    case QVL_GGUF_I16: return qvl_bytes_add(&out->keys, &(int16_t){(int16_t)value}, 2, err);
    case QVL_GGUF_U32: return put_u32(&out->keys, (uint32_t)value, err);
    case QVL_GGUF_I32: return put_u32(&out->keys, (uint32_t)(int32_t)value, err);
    case QVL_GGUF_U64: return put_u64(&out->keys, (uint64_t)value, err);
    case QVL_GGUF_I64: return put_u64(&out->keys, (uint64_t)(int64_t)value, err);
    default: return qvl_fail(err, QVL_ERR_INTERNAL, "internal fault: %d is no kind of a number in GGUF", (int)kind);
    }
}

enum qvl_status qvl_gguf_put_string(struct qvl_gguf_out *out, const char *text, size_t n, struct qvl_error *err)
{
    return put_string(&out->keys, text, n, err);
}

enum qvl_status qvl_gguf_add_number(struct qvl_gguf_out *out, const char *key, enum qvl_gguf_kind kind,
                                    double value, struct qvl_error *err)
{
    enum qvl_status status = begin_key(out, key, kind, err);
    return status ? status : qvl_gguf_put_number(out, kind, value, err);
}

enum qvl_status qvl_gguf_add_string(struct qvl_gguf_out *out, const char *key, const char *text, size_t n,
                                    struct qvl_error *err)
{
    enum qvl_status status = begin_key(out, key, QVL_GGUF_STRING, err);
    return status ? status : put_string(&out->keys, text, n, err);
}

enum qvl_status qvl_gguf_add_array(struct qvl_gguf_out *out, const char *key, enum qvl_gguf_kind element,
                                   uint64_t n, struct qvl_error *err)
{
    enum qvl_status status = begin_key(out, key, QVL_GGUF_ARRAY, err);
    if (!status && !(status = put_u32(&out->keys, element, err)))
        status = put_u64(&out->keys, n, err);
    return status;
}

enum qvl_status qvl_gguf_add_keys(struct qvl_gguf_out *out, const struct qvl_gguf_out *more, struct qvl_error *err)
{
    out->n_key += more->n_key;
    return more->n_key ? qvl_bytes_add(&out->keys, more->keys.data, more->keys.n, err) : QVL_OK;
}

/* ---- tensors --------------------------------------------------------------------------------------- */

uint64_t qvl_gguf_row_bytes(enum qvl_ggml_type type, uint64_t n)
{
    uint32_t n_block = 1, n_bytes = 0;
    qvl_ggml_type_block(type, &n_block, &n_bytes);
    return n / n_block * n_bytes;
}

enum qvl_status qvl_gguf_add_tensor(struct qvl_gguf_out *out, const char *name, enum qvl_ggml_type type,
                                    uint32_t n_dim, const uint64_t *dim, uint64_t *begin, struct qvl_error *err)
{
    uint64_t n_bytes = qvl_gguf_row_bytes(type, dim[n_dim - 1]);
    enum qvl_status status = put_string(&out->tensors, name, strlen(name), err);
    if (!status)
        status = put_u32(&out->tensors, n_dim, err);
    for (uint32_t i = n_dim; i-- > 0 && !status;) { /* inner to outer */
        status = put_u64(&out->tensors, dim[i], err);
        n_bytes *= i + 1 < n_dim ? dim[i] : 1; /* fits: a tensor of weights_table.c */
    }
    if (status || (status = put_u32(&out->tensors, type, err)) ||
        (status = put_u64(&out->tensors, out->n_data, err)))
        return status;
    *begin = out->n_data;
    out->n_data += qvl_round_up(n_bytes, QVL_GGUF_ALIGNMENT);
    out->n_tensor++;
    return QVL_OK;
}

/* ---- all ------------------------------------------------------------------------------------------- */

enum qvl_status qvl_gguf_header(const struct qvl_gguf_out *out, struct qvl_bytes *header, struct qvl_error *err)
{
    static const char zeros[QVL_GGUF_ALIGNMENT] = {0};
    size_t begin = header->n;
    enum qvl_status status;
    if ((status = qvl_bytes_add(header, "GGUF", 4, err)) || (status = put_u32(header, VERSION, err)) ||
        (status = put_u64(header, out->n_tensor, err)) || (status = put_u64(header, out->n_key, err)) ||
        (out->n_key && (status = qvl_bytes_add(header, out->keys.data, out->keys.n, err))) ||
        (out->n_tensor && (status = qvl_bytes_add(header, out->tensors.data, out->tensors.n, err))))
        return status;
    size_t n = header->n - begin;
    return qvl_bytes_add(header, zeros, qvl_round_up(n, QVL_GGUF_ALIGNMENT) - n, err);
}

void qvl_gguf_out_free(struct qvl_gguf_out *out)
{
    qvl_bytes_free(&out->keys);
    qvl_bytes_free(&out->tensors);
    *out = (struct qvl_gguf_out){0};
}

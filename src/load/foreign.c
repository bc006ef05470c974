/* What enters: the tensors that stand for one matrix, as the files' headers tell of them. What leaves: one matrix
 * of load/stored.h, every part of the type and shape that its rows will be read with.
 *
 * A scheme of the config and the sizes of the matrix decide which parts there must be, and their shapes; the first
 * scheme that the parts fit is the matrix's. Two that fit the same parts read the same numbers. Which matrices are
 * quantised, the parts' names say. */
#include "load/foreign.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/language.h"

/* ---- names --------------------------------------------------------------------------------------------- */

enum family { QUANT_WEIGHT = 1, COMPRESSED = 2, FP8 = 4 }; /* AWQ and GPTQ; compressed-tensors; FP8 */

static enum family family_of(enum qvl_foreign_kind kind)
{
    return kind <= QVL_FOREIGN_GPTQ_V2 ? QUANT_WEIGHT : kind <= QVL_FOREIGN_CT_FLOAT ? COMPRESSED : FP8;
}

static const struct {
    const char *ending;
    enum qvl_foreign_role role;
    unsigned families;
} endings[] = {
    {".qweight", QVL_PART_WEIGHT, QUANT_WEIGHT},
    {".scales", QVL_PART_SCALE, QUANT_WEIGHT},
    {".qzeros", QVL_PART_ZERO, QUANT_WEIGHT},
    {".g_idx", QVL_PART_ORDER, QUANT_WEIGHT},
    {".weight_packed", QVL_PART_WEIGHT, COMPRESSED},
    {".weight_scale", QVL_PART_SCALE, COMPRESSED | FP8},
    {".weight_zero_point", QVL_PART_ZERO, COMPRESSED},
    {".weight_g_idx", QVL_PART_ORDER, COMPRESSED},
    {".weight_shape", QVL_PART_SHAPE, COMPRESSED},
    {".weight_scale_inv", QVL_PART_SCALE, FP8},
    {".input_scale", QVL_PART_PASSED_OVER, COMPRESSED | FP8},
    {".input_zero_point", QVL_PART_PASSED_OVER, COMPRESSED},
    {".output_scale", QVL_PART_PASSED_OVER, COMPRESSED | FP8},
    {".output_zero_point", QVL_PART_PASSED_OVER, COMPRESSED},
    {".activation_scale", QVL_PART_PASSED_OVER, FP8},
    {".self_attn.k_scale", QVL_PART_PASSED_OVER, COMPRESSED | FP8},
    {".self_attn.v_scale", QVL_PART_PASSED_OVER, COMPRESSED | FP8},
    {".weight", QVL_PART_WEIGHT, COMPRESSED | FP8}, /* where it is of bytes */
};

enum qvl_foreign_role qvl_foreign_role_of(const struct qvl_foreign_config *config,
                                          const struct qvl_safetensors_entry *entry, char *out, size_t n_out)
{
    size_t n = strlen(entry->name);
    unsigned families = 0;
    for (uint32_t i = 0; i < config->n_scheme; i++)
        families |= family_of(config->scheme[i].kind);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t n_end = strlen(endings[i].ending);
        if (!(endings[i].families & families) || n <= n_end ||
            strcmp(entry->name + n - n_end, endings[i].ending) != 0)
            continue;
        if (endings[i].role == QVL_PART_PASSED_OVER)
            return entry->n_element <= 1 ? QVL_PART_PASSED_OVER : QVL_PART_NONE;
        if (strcmp(endings[i].ending, ".weight") == 0 && entry->dtype != QVL_I8 && entry->dtype != QVL_F8)
            return QVL_PART_NONE;
        snprintf(out, n_out, "%.*s.weight", (int)(n - n_end), entry->name);
        return endings[i].role;
    }
    return QVL_PART_NONE;
}

/* ---- what a scheme asks for -------------------------------------------------------------------------------- */

enum { ANY_FLOAT = -1, ANY_INTEGER = -2 };

struct wanted {
    bool is_needed, is_allowed;
    int dtype; /* enum qvl_dtype, ANY_FLOAT or ANY_INTEGER */
    uint32_t n_dim;
    uint64_t dim[2];
    bool is_one; /* a single number, however many dimensions it has */
};

static struct wanted want(int dtype, uint32_t n_dim, uint64_t outer, uint64_t inner)
{
    return (struct wanted){
        .is_needed = true, .is_allowed = true, .dtype = dtype, .n_dim = n_dim, .dim = {outer, inner}};
}

static const char *describe(const struct qvl_foreign_scheme *scheme, char out[80])
{
    static const char *const names[] = {[QVL_FOREIGN_AWQ] = "AWQ",
                                        [QVL_FOREIGN_GPTQ] = "GPTQ",
                                        [QVL_FOREIGN_GPTQ_V2] = "GPTQ v2",
                                        [QVL_FOREIGN_CT_PACKED] = "compressed-tensors pack-quantized",
                                        [QVL_FOREIGN_CT_INT] = "compressed-tensors int-quantized",
                                        [QVL_FOREIGN_CT_FLOAT] = "compressed-tensors float-quantized",
                                        [QVL_FOREIGN_FP8] = "FP8"};
    char group[40] = "";
    if (scheme->group_rows > 1)
        snprintf(group, sizeof group, qvl_text(", blocks of %ux%u"), scheme->group_rows, scheme->group_columns);
    else if (scheme->group_columns)
        snprintf(group, sizeof group, qvl_text(", groups of %u"), scheme->group_columns);
    snprintf(out, 80, qvl_text("%s, %u bits%s"), names[scheme->kind], scheme->n_bit, group);
    return out;
}

/* Words that n numbers fill. */
static uint64_t n_word(const struct qvl_foreign_scheme *scheme, uint64_t n)
{
    return (n * scheme->n_bit + 31) / 32;
}

/* Rows and columns of the matrix of scales. Blocks may stick out, groups may not. */
static void grid_of(const struct qvl_foreign_scheme *s, const struct qvl_tensor *t, uint64_t *n_row,
                    uint64_t *n_column)
{
    *n_row = s->group_rows ? (t->dim[0] + s->group_rows - 1) / s->group_rows : 1;
    *n_column = s->group_columns ? (t->dim[1] + s->group_columns - 1) / s->group_columns : 1;
}

static void want_column_words(const struct qvl_foreign_scheme *s, const struct qvl_tensor *t,
                              struct wanted out[QVL_PART_N])
{
    uint64_t n_out = t->dim[0], n_in = t->dim[1], n_row, n_group;
    grid_of(s, t, &n_row, &n_group);
    out[QVL_PART_WEIGHT] = s->kind == QVL_FOREIGN_AWQ ? want(QVL_I32, 2, n_in, n_word(s, n_out))
                                                      : want(QVL_I32, 2, n_word(s, n_in), n_out);
    out[QVL_PART_SCALE] = want(ANY_FLOAT, 2, n_group, n_out);
    out[QVL_PART_ZERO] = want(QVL_I32, 2, n_group, n_word(s, n_out));
    out[QVL_PART_ZERO].is_needed = s->kind != QVL_FOREIGN_AWQ || !s->is_symmetric;
    if (s->kind != QVL_FOREIGN_AWQ)
        out[QVL_PART_ORDER] = want(QVL_I32, 1, n_in, 0);
    out[QVL_PART_ORDER].is_needed = s->is_ordered;
}

static void want_rows(const struct qvl_foreign_scheme *s, const struct qvl_tensor *t, struct wanted out[QVL_PART_N])
{
    uint64_t n_out = t->dim[0], n_in = t->dim[1], n_row, n_group;
    bool is_packed = s->kind == QVL_FOREIGN_CT_PACKED, is_int = s->kind == QVL_FOREIGN_CT_INT;
    grid_of(s, t, &n_row, &n_group);
    out[QVL_PART_WEIGHT] =
        is_packed ? want(QVL_I32, 2, n_out, n_word(s, n_in)) : want(is_int ? QVL_I8 : QVL_F8, 2, n_out, n_in);
    out[QVL_PART_SCALE] = want(ANY_FLOAT, 2, n_row, n_group);
    out[QVL_PART_SCALE].is_one = s->group_rows == 0;
    if (!s->is_symmetric) {
        bool is_zero_packed = is_packed && s->group_rows == 1;
        out[QVL_PART_ZERO] =
            want(is_zero_packed ? QVL_I32 : QVL_I8, 2, is_zero_packed ? n_word(s, n_out) : n_row, n_group);
        out[QVL_PART_ZERO].is_one = s->group_rows == 0;
    }
    if (is_packed) {
        out[QVL_PART_SHAPE] = want(ANY_INTEGER, 1, 2, 0);
        out[QVL_PART_ORDER] = want(QVL_I32, 1, n_in, 0);
        out[QVL_PART_ORDER].is_needed = s->is_ordered;
    }
}

/* ---- parts against a scheme ------------------------------------------------------------------------------- */

static bool is_wanted(const struct qvl_safetensors_entry *e, const struct wanted *w)
{
    if (w->dtype == ANY_FLOAT     ? !qvl_dtype_is_float(e->dtype)
        : w->dtype == ANY_INTEGER ? e->dtype != QVL_I64 && e->dtype != QVL_I32
                                  : (int)e->dtype != w->dtype)
        return false;
    if (w->is_one)
        return e->n_element == 1;
    return e->n_dim == w->n_dim && memcmp(e->dim, w->dim, w->n_dim * sizeof *w->dim) == 0;
}

static void show_shape(const uint64_t *dim, uint32_t n_dim, char out[48])
{
    if (n_dim == 2)
        snprintf(out, 48, "[%" PRIu64 ", %" PRIu64 "]", dim[0], dim[1]);
    else if (n_dim == 1)
        snprintf(out, 48, "[%" PRIu64 "]", dim[0]);
    else
        snprintf(out, 48, qvl_text("of %u dimensions"), n_dim);
}

static enum qvl_status fail_part(const struct qvl_foreign_scheme *scheme, const struct qvl_foreign_part *part,
                                 const struct wanted *wanted, struct qvl_error *err)
{
    char found[48], expected[48], text[80];
    const struct qvl_safetensors_entry *e = part->entry;
    const char *type = wanted->dtype == ANY_FLOAT     ? "BF16, F16, F32"
                       : wanted->dtype == ANY_INTEGER ? "I64, I32"
                                                      : qvl_dtype_name((enum qvl_dtype)wanted->dtype);
    describe(scheme, text);
    if (!wanted->is_allowed)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: %.100s has no place beside weights of %s", part->file->path,
                        e->name, text);
    show_shape(e->dim, e->n_dim, found);
    show_shape(wanted->dim, wanted->is_one ? 1 : wanted->n_dim, expected);
    return qvl_fail(err, QVL_ERR_MODEL, "%s: %.100s is %s %s, expected %s %s (%s)", part->file->path, e->name,
                    qvl_dtype_name(e->dtype), found, type, expected, text);
}

/* The name that a missing part would have. */
static const char *ending_of(enum qvl_foreign_role role, enum qvl_foreign_kind kind)
{
    bool is_byte = role == QVL_PART_WEIGHT && kind >= QVL_FOREIGN_CT_INT;
    for (size_t i = 0; i < sizeof endings / sizeof *endings && !is_byte; i++) {
        bool is_it = endings[i].role == role && (endings[i].families & family_of(kind));
        if (is_it && (kind != QVL_FOREIGN_FP8 || strcmp(endings[i].ending, ".weight_scale") != 0))
            return endings[i].ending;
    }
    return ".weight";
}

/* Whether the matrix can be stored so at all. */
static enum qvl_status check_sizes(const struct qvl_foreign_scheme *s, const struct qvl_tensor *t,
                                   struct qvl_error *err)
{
    char text[80];
    describe(s, text);
    if (t->n_dim != 2)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: is quantised (%s), but is no matrix", t->name, text);
    if (s->group_rows == 1 && s->group_columns && t->dim[1] % s->group_columns)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: has %" PRIu64 " columns, which are no whole groups (%s)", t->name,
                        t->dim[1], text);
    bool is_column_words = s->kind <= QVL_FOREIGN_GPTQ_V2, is_gptq = is_column_words && s->kind != QVL_FOREIGN_AWQ;
    if ((is_column_words && t->dim[0] * s->n_bit % 32) || (is_gptq && t->dim[1] * s->n_bit % 32))
        return qvl_fail(err, QVL_ERR_MODEL, "%s: [%" PRIu64 ", %" PRIu64 "] numbers do not fill whole words (%s)",
                        t->name, t->dim[0], t->dim[1], text);
    return QVL_OK;
}

static enum qvl_status check_parts(const struct qvl_foreign_scheme *scheme, const struct qvl_tensor *t,
                                   const struct qvl_foreign_parts *parts, struct qvl_error *err)
{
    struct wanted wanted[QVL_PART_N] = {0};
    char text[80];
    enum qvl_status status = check_sizes(scheme, t, err);
    if (status)
        return status;
    if (scheme->kind <= QVL_FOREIGN_GPTQ_V2)
        want_column_words(scheme, t, wanted);
    else
        want_rows(scheme, t, wanted);
    for (int role = 0; role < QVL_PART_N; role++) {
        const struct qvl_foreign_part *part = &parts->of[role];
        if (!part->entry && wanted[role].is_needed)
            return qvl_fail(err, QVL_ERR_MODEL, "%s: is quantised (%s), but %.*s%s is missing", t->name,
                            describe(scheme, text), (int)(strlen(t->name) - strlen(".weight")), t->name,
                            ending_of((enum qvl_foreign_role)role, scheme->kind));
        if (part->entry && (!wanted[role].is_allowed || !is_wanted(part->entry, &wanted[role])))
            return fail_part(scheme, part, &wanted[role], err);
    }
    return QVL_OK;
}

static void fill(const struct qvl_foreign_scheme *scheme, struct qvl_stored *out)
{
    static const struct {
        enum qvl_stored_format format;
        qvl_stored_rows_fn *rows;
    } how[] = {[QVL_FOREIGN_AWQ] = {QVL_STORED_AWQ, qvl_foreign_rows_awq},
               [QVL_FOREIGN_GPTQ] = {QVL_STORED_GPTQ, qvl_foreign_rows_gptq},
               [QVL_FOREIGN_GPTQ_V2] = {QVL_STORED_GPTQ, qvl_foreign_rows_gptq_v2},
               [QVL_FOREIGN_CT_PACKED] = {QVL_STORED_INT, qvl_foreign_rows_packed},
               [QVL_FOREIGN_CT_INT] = {QVL_STORED_INT, qvl_foreign_rows_int},
               [QVL_FOREIGN_CT_FLOAT] = {QVL_STORED_FP8, qvl_foreign_rows_fp8},
               [QVL_FOREIGN_FP8] = {QVL_STORED_FP8, qvl_foreign_rows_fp8}};
    *out = (struct qvl_stored){.format = how[scheme->kind].format,
                               .n_bit = scheme->n_bit,
                               .group_rows = scheme->group_rows,
                               .group_columns = scheme->group_columns,
                               .is_symmetric = scheme->is_symmetric,
                               .rows = how[scheme->kind].rows};
}

enum qvl_status qvl_foreign_bind(const struct qvl_foreign_config *config, const struct qvl_tensor *t,
                                 const struct qvl_foreign_parts *parts, struct qvl_stored *out,
                                 struct qvl_error *err)
{
    struct qvl_error first = {0}, other;
    enum qvl_status status = QVL_ERR_MODEL;
    for (uint32_t i = 0; i < config->n_scheme && status; i++) {
        status = check_parts(&config->scheme[i], t, parts, i == 0 ? &first : &other);
        if (!status)
            fill(&config->scheme[i], out);
    }
    if (status)
        *err = first;
    return status;
}

/* ---- values ------------------------------------------------------------------------------------------------- */

static const void *bytes_of(const struct qvl_foreign_part *part)
{
    return part->entry ? part->file->map + part->entry->begin : NULL;
}

static enum qvl_status check_scales(const struct qvl_foreign_part *part, struct qvl_error *err)
{
    const struct qvl_safetensors_entry *e = part->entry;
    uint32_t type = e->dtype == QVL_F32 ? QVL_GGML_F32 : e->dtype == QVL_F16 ? QVL_GGML_F16 : QVL_GGML_BF16;
    float x[256];
    for (size_t i = 0, n; i < e->n_element; i += n) {
        n = qvl_min_size((size_t)e->n_element - i, sizeof x / sizeof *x);
        qvl_ggml_widen(type, (const char *)bytes_of(part) + i * qvl_dtype_bytes(e->dtype), n, x);
        for (size_t k = 0; k < n; k++)
            if (!isfinite(x[k]))
                return qvl_fail(err, QVL_ERR_MODEL, "%s: %.100s: scale %zu is infinite or not a number",
                                part->file->path, e->name, i + k);
    }
    return QVL_OK;
}

static int64_t integer_at(const struct qvl_foreign_part *part, size_t i)
{
    const char *at = (const char *)bytes_of(part) + i * qvl_dtype_bytes(part->entry->dtype);
    int32_t narrow;
    int64_t wide;
    memcpy(&narrow, at, sizeof narrow);
    if (part->entry->dtype == QVL_I32)
        return narrow;
    memcpy(&wide, at, sizeof wide);
    return wide;
}

static enum qvl_status check_shape(const struct qvl_tensor *t, const struct qvl_foreign_part *part,
                                   struct qvl_error *err)
{
    int64_t n_out = integer_at(part, 0), n_in = integer_at(part, 1);
    if (n_out == (int64_t)t->dim[0] && n_in == (int64_t)t->dim[1])
        return QVL_OK;
    return qvl_fail(err, QVL_ERR_MODEL,
                    "%s: %.100s says [%" PRId64 ", %" PRId64 "], expected [%" PRIu64 ", %" PRIu64 "]",
                    part->file->path, part->entry->name, n_out, n_in, t->dim[0], t->dim[1]);
}

/* -1 in every column: nothing is listed (compressed-tensors). */
static bool is_no_order(const int32_t *order, size_t n)
{
    size_t i = 0;
    while (i < n && order[i] == -1)
        i++;
    return i == n;
}

/* *is_needed: the columns do not lie in the order of their groups. */
static enum qvl_status check_order(const struct qvl_foreign_part *part, const int32_t *order, size_t n_column,
                                   size_t n_group, bool *is_needed, struct qvl_error *err)
{
    const size_t n = (size_t)part->entry->n_element;
    *is_needed = false;
    if (is_no_order(order, n))
        return QVL_OK;
    for (size_t i = 0; i < n; i++) {
        if (order[i] < 0 || (size_t)order[i] >= n_group)
            return qvl_fail(err, QVL_ERR_MODEL, "%s: %.100s: column %zu is of group %" PRId64 ", of %zu groups",
                            part->file->path, part->entry->name, i, (int64_t)order[i], n_group);
        *is_needed = *is_needed || (size_t)order[i] != i / n_column;
    }
    return QVL_OK;
}

/* Groups of columns are places in memory: a copy, which whoever writes into the mapped file does not reach. */
static enum qvl_status map_order(const struct qvl_tensor *t, const struct qvl_foreign_part *part,
                                 struct qvl_arena *arena, struct qvl_stored *out, struct qvl_error *err)
{
    const size_t n = (size_t)part->entry->n_element, n_in = (size_t)t->dim[1];
    const size_t n_column = out->group_columns ? out->group_columns : n_in;
    bool is_needed;
    int32_t *order = qvl_arena_alloc(arena, n, sizeof *order, "tensor table", err);
    if (!order)
        return err->status;
    memcpy(order, bytes_of(part), n * sizeof *order);
    enum qvl_status status = check_order(part, order, n_column, n_in / n_column, &is_needed, err);
    if (!status && is_needed)
        out->order = (struct qvl_stored_part){order, QVL_I32};
    return status;
}

enum qvl_status qvl_foreign_map(const struct qvl_tensor *t, const struct qvl_foreign_parts *parts,
                                struct qvl_arena *arena, struct qvl_stored *out, struct qvl_error *err)
{
    const struct qvl_foreign_part *const order = &parts->of[QVL_PART_ORDER];
    struct qvl_stored_part *const to[] = {
        [QVL_PART_WEIGHT] = &out->weight, [QVL_PART_SCALE] = &out->scale, [QVL_PART_ZERO] = &out->zero};
    enum qvl_status status = check_scales(&parts->of[QVL_PART_SCALE], err);
    if (!status && parts->of[QVL_PART_SHAPE].entry)
        status = check_shape(t, &parts->of[QVL_PART_SHAPE], err);
    if (!status && order->entry)
        status = map_order(t, order, arena, out, err);
    for (size_t i = 0; i < QVL_PART_ORDER; i++)
        if (parts->of[i].entry)
            *to[i] = (struct qvl_stored_part){bytes_of(&parts->of[i]), parts->of[i].entry->dtype};
    return status;
}

uint64_t qvl_foreign_bytes(const struct qvl_foreign_parts *parts)
{
    uint64_t n = 0;
    for (size_t i = 0; i < QVL_PART_N; i++)
        n += parts->of[i].entry ? parts->of[i].entry->end - parts->of[i].entry->begin : 0;
    return n;
}

void qvl_foreign_let_go(const struct qvl_foreign_parts *parts)
{
    for (size_t i = 0; i < QVL_PART_N; i++)
        if (parts->of[i].entry)
            qvl_safetensors_let_go(parts->of[i].file, parts->of[i].entry->begin, parts->of[i].entry->end);
}

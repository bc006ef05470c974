/* quantization_config of folders that other programs have quantised: AWQ, GPTQ, compressed-tensors, FP8. What
 * enters: that object. What leaves: its schemes, one for each way in which matrices of the folder may be stored.
 *
 * Which matrices are quantised is not read here: modules_to_not_convert, ignore, targets and dynamic hold names and
 * regular expressions for the modules of the original runtime, and the files say it without doubt (foreign.h).
 * How activations, keys and values were quantised there is not imitated, so what says that is passed over. All that
 * changes what the stored numbers mean, and is not known here, is refused by name. Source of truth: AwqConfig,
 * GPTQConfig and FineGrainedFP8Config of transformers, QuantizeConfig of gptqmodel, QuantizationConfig of
 * compressed-tensors; MODEL.md, "Folders quantised by other programs". */
#include "load/config_read.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/language.h"

enum { MAX_GROUP = 1 << 20 };

/* ---- members --------------------------------------------------------------------------------------- */

enum { PREFIX_BYTES = 96 };

/* The object under key, in a place of its own whose prefix stands in `prefix`. */
static enum qvl_status enter(const struct qvl_config_place *place, const char *key, const char *shown,
                             char prefix[PREFIX_BYTES], struct qvl_config_place *out, struct qvl_error *err)
{
    snprintf(prefix, PREFIX_BYTES, "%s%s.", place->prefix, shown);
    *out = (struct qvl_config_place){place->file, prefix, NULL, place->section};
    return qvl_config_read_object(place, key, &out->object, err);
}

/* From min to max, or -1 where that is allowed; *out stays as it is where there is none. */
static enum qvl_status read_integer(const struct qvl_config_place *place, const char *key, bool may_be_all, int min,
                                    int max, int *out, struct qvl_error *err)
{
    char shown[QVL_JSON_SHOWN_BYTES];
    const json_t *value = qvl_json_get(place->object, key);
    json_int_t x = json_integer_value(value);
    if (!value)
        return QVL_OK;
    if (!json_is_integer(value) || ((x < min || x > max) && !(may_be_all && x == -1)))
        return qvl_fail(err, QVL_ERR_MODEL, "%s: %s%s is %s, expected an integer from %d to %d%s", place->file,
                        place->prefix, key, qvl_json_show(value, shown), min, max,
                        may_be_all ? qvl_text(", or -1") : "");
    *out = (int)x;
    return QVL_OK;
}

/* The member, in any case of letters, must be one of the n names, which stand in one text with blanks between. */
static enum qvl_status check_word(const struct qvl_config_place *place, const char *key, const char *known,
                                  struct qvl_error *err)
{
    char shown[QVL_JSON_SHOWN_BYTES];
    const json_t *value = qvl_json_get(place->object, key);
    const char *word = json_string_value(value);
    size_t n = word ? strlen(word) : 0;
    for (const char *p = known; word && *p; p += strcspn(p, " "), p += *p == ' ')
        if (strcspn(p, " ") == n && strncasecmp(p, word, n) == 0)
            return QVL_OK;
    if (!value)
        return QVL_OK;
    return qvl_fail(err, QVL_ERR_MODEL,
                    "%s: %s%s is %s: of this format qvl reads %s; take another quantisation of the "
                    "model, a GGUF file, or the unquantised model",
                    place->file, place->prefix, key, qvl_json_show(value, shown), known);
}

static bool is_word(const struct qvl_config_place *place, const char *key, const char *word)
{
    const char *value = json_string_value(qvl_json_get(place->object, key));
    return value && strcasecmp(value, word) == 0;
}

/* Something that changes the numbers and is not implemented: must be absent, null, false or empty. */
static enum qvl_status check_absent(const struct qvl_config_place *place, const char *key, struct qvl_error *err)
{
    char shown[QVL_JSON_SHOWN_BYTES];
    const json_t *value = qvl_json_get(place->object, key);
    if (!value || json_is_false(value) || (json_is_object(value) && json_object_size(value) == 0))
        return QVL_OK;
    return qvl_fail(err, QVL_ERR_MODEL,
                    "%s: %s%s is %s: qvl does not read such weights; take another quantisation of "
                    "the model, a GGUF file, or the unquantised model",
                    place->file, place->prefix, key, qvl_json_show(value, shown));
}

static bool is_same(const struct qvl_foreign_scheme *a, const struct qvl_foreign_scheme *b)
{
    return a->kind == b->kind && a->n_bit == b->n_bit && a->group_rows == b->group_rows &&
           a->group_columns == b->group_columns && a->is_symmetric == b->is_symmetric &&
           a->is_ordered == b->is_ordered;
}

static enum qvl_status add_scheme(const struct qvl_config_place *place, const struct qvl_foreign_scheme *scheme,
                                  struct qvl_foreign_config *out, struct qvl_error *err)
{
    for (uint32_t i = 0; i < out->n_scheme; i++)
        if (is_same(&out->scheme[i], scheme))
            return QVL_OK;
    if (out->n_scheme == QVL_MAX_SCHEMES)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: %shas more than %d ways of quantising", place->file, place->prefix,
                        QVL_MAX_SCHEMES);
    out->scheme[out->n_scheme++] = *scheme;
    return QVL_OK;
}

/* ---- AWQ, GPTQ --------------------------------------------------------------------------------------- */

static enum qvl_status read_awq(const struct qvl_config_place *place, struct qvl_foreign_config *out,
                                struct qvl_error *err)
{
    struct qvl_foreign_scheme scheme = {.kind = QVL_FOREIGN_AWQ, .n_bit = 4, .group_rows = 1};
    int n_bit = 4, group = 128;
    bool has_zeros = true;
    enum qvl_status status;
    if ((status = check_word(place, "version", "gemm", err)) ||
        (status = check_word(place, "format", "gemm", err)) ||
        (status = read_integer(place, "bits", false, 4, 4, &n_bit, err)) ||
        (status = read_integer(place, "group_size", true, 1, MAX_GROUP, &group, err)) ||
        (status = qvl_config_read_bool(place, "zero_point", &has_zeros, err)))
        return status;
    scheme.group_columns = group > 0 ? (uint32_t)group : 0;
    scheme.is_symmetric = !has_zeros;
    return add_scheme(place, &scheme, out, err);
}

/* The members of the config itself, or those of an entry of "dynamic" over them. */
static enum qvl_status read_gptq_scheme(const struct qvl_config_place *place, struct qvl_foreign_scheme *scheme,
                                        struct qvl_error *err)
{
    int n_bit = (int)scheme->n_bit, group = scheme->group_columns ? (int)scheme->group_columns : -1;
    enum qvl_status status = read_integer(place, "bits", false, 2, 8, &n_bit, err);
    if (status || (status = read_integer(place, "group_size", true, 1, MAX_GROUP, &group, err)) ||
        (status = qvl_config_read_bool(place, "desc_act", &scheme->is_ordered, err)))
        return status;
    if (n_bit != 2 && n_bit != 3 && n_bit != 4 && n_bit != 8)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: %sbits is %d, expected 2, 3, 4 or 8", place->file, place->prefix,
                        n_bit);
    scheme->n_bit = (uint32_t)n_bit;
    scheme->group_columns = group > 0 ? (uint32_t)group : 0;
    return QVL_OK;
}

static enum qvl_status read_gptq(const struct qvl_config_place *place, struct qvl_foreign_config *out,
                                 struct qvl_error *err)
{
    static const char formats[] = "gptq gptq_v2";
    struct qvl_foreign_scheme base = {.kind = QVL_FOREIGN_GPTQ, .n_bit = 4, .group_rows = 1, .group_columns = 128};
    struct qvl_config_place dynamic;
    char prefix[PREFIX_BYTES];
    const char *key;
    json_t *value;
    enum qvl_status status;
    if (!qvl_json_get(place->object, "bits"))
        return qvl_fail(err, QVL_ERR_MODEL, "%s: %sbits is missing", place->file, place->prefix);
    if ((status = check_word(place, "checkpoint_format", formats, err)) ||
        (status = check_word(place, "format", formats, err)) ||
        (status = check_word(place, "pack_dtype", "int32", err)) ||
        (status = check_absent(place, "is_marlin_format", err)) || (status = read_gptq_scheme(place, &base, err)) ||
        (status = enter(place, "dynamic", "dynamic", prefix, &dynamic, err)))
        return status;
    if (is_word(place, "checkpoint_format", "gptq_v2") ||
        (!qvl_json_get(place->object, "checkpoint_format") && is_word(place, "format", "gptq_v2")))
        base.kind = QVL_FOREIGN_GPTQ_V2;
    status = add_scheme(place, &base, out, err);
    json_object_foreach((json_t *)dynamic.object, key, value)
    {
        struct qvl_foreign_scheme scheme = base;
        const struct qvl_config_place entry = {place->file, dynamic.prefix, value, place->section};
        if (!status && key[0] != '-' && !(status = read_gptq_scheme(&entry, &scheme, err)))
            status = add_scheme(place, &scheme, out, err);
    }
    return status;
}

/* ---- compressed-tensors ------------------------------------------------------------------------------ */

/* What shares a scale: strategy, with group_size or block_structure. */
static enum qvl_status read_strategy(const struct qvl_config_place *weights, struct qvl_foreign_scheme *scheme,
                                     struct qvl_error *err)
{
    static const struct qvl_config_list blocks = {"block_structure", true, 1, MAX_GROUP, 2, 2};
    double block[2];
    size_t n = 0;
    int group = 0;
    enum qvl_status status = check_word(weights, "strategy", "tensor channel group block", err);
    if (status || (status = read_integer(weights, "group_size", true, 0, MAX_GROUP, &group, err)) ||
        (status = qvl_config_read_list(weights, &blocks, block, &n, err)))
        return status;
    bool is_told = qvl_json_get(weights->object, "strategy") != NULL,
         is_block = is_word(weights, "strategy", "block");
    bool is_group = is_told ? is_word(weights, "strategy", "group") : group > 0;
    if ((is_group && group <= 0) || (is_block && n == 0))
        return qvl_fail(err, QVL_ERR_MODEL, "%s: %s%s is missing", weights->file, weights->prefix,
                        is_group ? "group_size" : blocks.key);
    if (is_block) {
        scheme->group_rows = (uint32_t)block[0];
        scheme->group_columns = (uint32_t)block[1];
    } else if (is_group || (is_told ? is_word(weights, "strategy", "channel") : group == -1)) {
        scheme->group_rows = 1;
        scheme->group_columns = is_group ? (uint32_t)group : 0;
    }
    return QVL_OK;
}

/* One group of config_groups; format: of the whole, where the group has none. */
static enum qvl_status read_group(const struct qvl_config_place *group, const struct qvl_config_place *whole,
                                  struct qvl_foreign_config *out, struct qvl_error *err)
{
    static const char formats[] = "pack-quantized int-quantized float-quantized naive-quantized";
    struct qvl_foreign_scheme scheme = {.is_symmetric = true};
    const struct qvl_config_place *holder = qvl_json_get(group->object, "format") ? group : whole;
    struct qvl_config_place weights;
    char prefix[PREFIX_BYTES];
    int n_bit = 8;
    enum qvl_status status = enter(group, "weights", "weights", prefix, &weights, err);
    if (status || !weights.object)
        return status;
    if ((status = check_word(holder, "format", formats, err)) ||
        (status = check_word(&weights, "type", "int float", err)) ||
        (status = read_integer(&weights, "num_bits", false, 1, 16, &n_bit, err)) ||
        (status = qvl_config_read_bool(&weights, "symmetric", &scheme.is_symmetric, err)) ||
        (status = read_strategy(&weights, &scheme, err)))
        return status;
    bool is_float = is_word(&weights, "type", "float"), is_packed = is_word(holder, "format", "pack-quantized");
    bool is_known = is_packed ? !is_float && (n_bit == 2 || n_bit == 4 || n_bit == 8) : n_bit == 8;
    if (!is_known || (is_float && !scheme.is_symmetric))
        return qvl_fail(
            err, QVL_ERR_MODEL,
            "%s: %shas %s of %d bits%s: qvl reads packed integers of 2, 4 or 8 bits, and integers and e4m3 of 8; "
            "take another quantisation of the model, a GGUF file, or the unquantised model",
            group->file, weights.prefix, is_float ? qvl_text("floating-point numbers") : qvl_text("integers"),
            n_bit, scheme.is_symmetric ? "" : qvl_text(", with zero points"));
    scheme.kind = is_packed ? QVL_FOREIGN_CT_PACKED : is_float ? QVL_FOREIGN_CT_FLOAT : QVL_FOREIGN_CT_INT;
    scheme.n_bit = (uint32_t)n_bit;
    scheme.is_ordered = is_word(&weights, "actorder", "group") || is_word(&weights, "actorder", "dynamic");
    return add_scheme(group, &scheme, out, err);
}

static enum qvl_status read_compressed(const struct qvl_config_place *place, struct qvl_foreign_config *out,
                                       struct qvl_error *err)
{
    static const char formats[] =
        "pack-quantized int-quantized float-quantized naive-quantized mixed-precision dense";
    struct qvl_config_place groups, sparsity, group;
    char prefix[3][PREFIX_BYTES];
    const char *key;
    json_t *value;
    enum qvl_status status;
    if ((status = check_word(place, "format", formats, err)) ||
        (status = check_absent(place, "transform_config", err)) ||
        (status = enter(place, "sparsity_config", "sparsity_config", prefix[0], &sparsity, err)) ||
        (status = check_word(&sparsity, "format", "dense", err)) ||
        (status = enter(place, "config_groups", "config_groups", prefix[1], &groups, err)))
        return status;
    if (!groups.object)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: %sconfig_groups is missing", place->file, place->prefix);
    json_object_foreach((json_t *)groups.object, key, value)
    {
        if (!status && !(status = enter(&groups, key, "*", prefix[2], &group, err)) && group.object)
            status = read_group(&group, place, out, err);
    }
    return status;
}

/* ---- FP8 ------------------------------------------------------------------------------------------------ */

/* Without weight_block_size readers differ: one scale for each matrix, or blocks of 128. The files tell. */
static enum qvl_status read_fp8(const struct qvl_config_place *place, struct qvl_foreign_config *out,
                                struct qvl_error *err)
{
    static const struct qvl_config_list blocks = {"weight_block_size", true, 1, MAX_GROUP, 2, 2};
    struct qvl_foreign_scheme scheme = {.kind = QVL_FOREIGN_FP8, .n_bit = 8, .is_symmetric = true};
    double block[2] = {128, 128};
    size_t n = 0;
    enum qvl_status status = check_word(place, "fmt", "e4m3 float8_e4m3fn", err);
    if (status || (status = qvl_config_read_list(place, &blocks, block, &n, err)))
        return status;
    if (!n && (status = add_scheme(place, &scheme, out, err)))
        return status;
    scheme.group_rows = (uint32_t)block[0];
    scheme.group_columns = (uint32_t)block[1];
    return json_object_get(place->object, blocks.key) && !n ? QVL_OK : add_scheme(place, &scheme, out, err);
}

/* ---- which ------------------------------------------------------------------------------------------------ */

enum qvl_status qvl_config_parse_foreign(const struct qvl_config_place *place, struct qvl_foreign_config *out,
                                         struct qvl_error *err)
{
    static const struct {
        const char *method;
        enum qvl_status (*read)(const struct qvl_config_place *place, struct qvl_foreign_config *out,
                                struct qvl_error *err);
    } readers[] = {
        {"awq", read_awq}, {"gptq", read_gptq}, {"compressed-tensors", read_compressed}, {"fp8", read_fp8}};
    char shown[QVL_JSON_SHOWN_BYTES];
    *out = (struct qvl_foreign_config){0};
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++)
        if (is_word(place, "quant_method", readers[i].method))
            return readers[i].read(place, out, err);
    return qvl_fail(
        err, QVL_ERR_MODEL,
        "%s: %squant_method is %s: qvl reads folders of AWQ, GPTQ, compressed-tensors and FP8, and not of this "
        "format; take one of those, a GGUF file, or the unquantised model",
        place->file, place->prefix, qvl_json_show(qvl_json_get(place->object, "quant_method"), shown));
}

/* Folders quantised by other programs: what of their config.json is read and what is refused by name, and every way
 * in which the tensors that stand for a matrix can be wrong. That good ones are read right is shown by
 * tests/golden/test_foreign.c. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/language.h"
#include "folder.h"
#include "load/config.h"
#include "load/stored.h"
#include "load/weights.h"

/* ---- config.json ------------------------------------------------------------------------------------------- */

static const char place[] = "\"tie_word_embeddings\": false,\n";

static enum qvl_status parse(const char *quantization, struct qvl_config *out, struct qvl_error *err)
{
    char with[4096];
    snprintf(with, sizeof with, "%s  \"quantization_config\": %s,\n", place, quantization);
    char *text = replace(reference_tiny_config, place, with);
    enum qvl_status status = qvl_config_parse(text, strlen(text), "config.json", out, err);
    free(text);
    return status;
}

#define CT(more) "{\"quant_method\":\"compressed-tensors\"," more "}"
#define GROUP(more) "\"config_groups\":{\"group_0\":{\"targets\":[\"Linear\"],\"weights\":{" more "}}}"

static void reads_every_scheme(void **state)
{
    static const struct {
        const char *quantization;
        uint32_t n_scheme;
        struct qvl_foreign_scheme last;
    } good[] = {
        {"{\"quant_method\":\"awq\"}", 1, {QVL_FOREIGN_AWQ, 4, 1, 128, false, false}},
        {"{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":-1,\"zero_point\":false,\"version\":\"GEMM\","
         "\"modules_to_not_convert\":[\"visual\"]}",
         1,
         {QVL_FOREIGN_AWQ, 4, 1, 0, true, false}},
        {"{\"quant_method\":\"gptq\",\"bits\":8,\"group_size\":32,\"desc_act\":true}",
         1,
         {QVL_FOREIGN_GPTQ, 8, 1, 32, false, true}},
        {"{\"quant_method\":\"gptq\",\"bits\":4,\"checkpoint_format\":\"gptq_v2\",\"format\":\"gptq\"}",
         1,
         {QVL_FOREIGN_GPTQ_V2, 4, 1, 128, false, false}},
        {"{\"quant_method\":\"gptq\",\"bits\":4,\"format\":\"gptq_v2\",\"dynamic\":{\"-:visual\":{},\"+:down\":{"
         "\"bits\":3}}}",
         2,
         {QVL_FOREIGN_GPTQ_V2, 3, 1, 128, false, false}},
        {CT("\"format\":\"pack-quantized\",\"ignore\":[\"lm_head\",\"re:.*visual.*\"]," GROUP(
             "\"num_bits\":4,\"type\":\"int\",\"symmetric\":true,\"strategy\":\"group\",\"group_size\":32")),
         1,
         {QVL_FOREIGN_CT_PACKED, 4, 1, 32, true, false}},
        {CT("\"format\":\"pack-quantized\"," GROUP(
             "\"num_bits\":8,\"symmetric\":false,\"group_size\":-1,\"actorder\":\"group\"")),
         1,
         {QVL_FOREIGN_CT_PACKED, 8, 1, 0, false, true}},
        {CT("\"format\":\"int-quantized\",\"sparsity_config\":{\"format\":\"dense\"}," GROUP(
             "\"num_bits\":8,\"strategy\":\"channel\",\"group_size\":null")),
         1,
         {QVL_FOREIGN_CT_INT, 8, 1, 0, true, false}},
        {CT("\"format\":\"float-quantized\",\"transform_config\":{}," GROUP(
             "\"num_bits\":8,\"type\":\"float\",\"strategy\":\"tensor\"")),
         1,
         {QVL_FOREIGN_CT_FLOAT, 8, 0, 0, true, false}},
        {CT("\"format\":\"naive-quantized\"," GROUP(
             "\"num_bits\":8,\"type\":\"float\",\"strategy\":\"block\",\"block_structure\":[128,64]")),
         1,
         {QVL_FOREIGN_CT_FLOAT, 8, 128, 64, true, false}},
        {"{\"quant_method\":\"fp8\",\"fmt\":\"e4m3\",\"weight_block_size\":[128,128],\"activation_scheme\":"
         "\"dynamic\"}",
         1,
         {QVL_FOREIGN_FP8, 8, 128, 128, true, false}},
        {"{\"quant_method\":\"fp8\",\"weight_block_size\":null}", 1, {QVL_FOREIGN_FP8, 8, 0, 0, true, false}},
        {"{\"quant_method\":\"fp8\"}", 2, {QVL_FOREIGN_FP8, 8, 128, 128, true, false}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct qvl_config c;
        struct qvl_error err = {0};
        if (parse(good[i].quantization, &c, &err))
            fail_msg("%s: %s", good[i].quantization, err.text);
        assert_int_equal(c.foreign.n_scheme, good[i].n_scheme);
        const struct qvl_foreign_scheme *found = &c.foreign.scheme[c.foreign.n_scheme - 1], *last = &good[i].last;
        if (found->kind != last->kind || found->n_bit != last->n_bit || found->group_rows != last->group_rows ||
            found->group_columns != last->group_columns || found->is_symmetric != last->is_symmetric ||
            found->is_ordered != last->is_ordered)
            fail_msg("%s: read as kind %d, %u bits, groups %u x %u", good[i].quantization, found->kind,
                     found->n_bit, found->group_rows, found->group_columns);
    }
}

static void refuses_other_formats_by_name(void **state)
{
    static const char *const methods[] = {"bitsandbytes", "mxfp4", "nvfp4",  "hqq",        "torchao", "quanto",
                                          "aqlm",         "vptq",  "eetq",   "fbgemm_fp8", "quark",   "auto-round",
                                          "modelopt",     "higgs", "bitnet", "spqr",       "exl3",    "\\u00e4"};
    static const struct {
        const char *quantization, *sentence;
    } bad[] = {
        {"{}", "quantization_config.quant_method is missing"},
        {"{\"quant_method\":3}", "quant_method is 3"},
        {"{\"quant_method\":\"awq\",\"version\":\"gemv\"}", "version is \"gemv\": of this format qvl reads gemm"},
        {"{\"quant_method\":\"awq\",\"format\":\"llm-awq\"}", "format is \"llm-awq\""},
        {"{\"quant_method\":\"awq\",\"bits\":8}", "bits is 8, expected an integer from 4 to 4"},
        {"{\"quant_method\":\"awq\",\"group_size\":0}", "group_size is 0"},
        {"{\"quant_method\":\"awq\",\"group_size\":\"128\"}", "group_size is \"128\""},
        {"{\"quant_method\":\"awq\",\"zero_point\":1}", "zero_point is 1, expected true or false"},
        {"{\"quant_method\":\"gptq\"}", "quantization_config.bits is missing"},
        {"{\"quant_method\":\"gptq\",\"bits\":5}", "bits is 5, expected 2, 3, 4 or 8"},
        {"{\"quant_method\":\"gptq\",\"bits\":4,\"checkpoint_format\":\"marlin\"}",
         "checkpoint_format is \"marlin\""},
        {"{\"quant_method\":\"gptq\",\"bits\":4,\"format\":\"gptq_p\"}", "format is \"gptq_p\""},
        {"{\"quant_method\":\"gptq\",\"bits\":4,\"is_marlin_format\":true}", "is_marlin_format is true"},
        {"{\"quant_method\":\"gptq\",\"bits\":4,\"pack_dtype\":\"int16\"}", "pack_dtype is \"int16\""},
        {"{\"quant_method\":\"gptq\",\"bits\":4,\"dynamic\":[]}", "dynamic is []"},
        {"{\"quant_method\":\"gptq\",\"bits\":4,\"dynamic\":{\"x\":{\"bits\":7}}}", "dynamic.bits is 7"},
        {CT("\"format\":\"nvfp4-pack-quantized\"," GROUP("\"num_bits\":4")), "format is \"nvfp4-pack-quantized\""},
        {CT("\"format\":\"mxfp4-pack-quantized\"," GROUP("\"num_bits\":4")), "format is \"mxfp4-pack-quantized\""},
        {CT("\"format\":\"marlin-24\"," GROUP("\"num_bits\":4")), "format is \"marlin-24\""},
        {CT("\"format\":\"pack-quantized\""), "config_groups is missing"},
        {CT("\"format\":\"pack-quantized\",\"config_groups\":{\"W4A16\":[\"Linear\"]}"),
         "W4A16 is [\"Linear\"], expected an object"},
        {CT("\"format\":\"pack-quantized\"," GROUP("\"num_bits\":3")), "integers of 3 bits"},
        {CT("\"format\":\"pack-quantized\"," GROUP("\"num_bits\":4,\"type\":\"float\"")),
         "floating-point numbers of 4 bits"},
        {CT("\"format\":\"int-quantized\"," GROUP("\"num_bits\":4")), "integers of 4 bits"},
        {CT("\"format\":\"float-quantized\"," GROUP("\"num_bits\":8,\"type\":\"float\",\"symmetric\":false")),
         "with zero points"},
        {CT("\"format\":\"pack-quantized\"," GROUP("\"num_bits\":4,\"strategy\":\"tensor_group\"")),
         "strategy is \"tensor_group\""},
        {CT("\"format\":\"pack-quantized\"," GROUP("\"num_bits\":4,\"strategy\":\"group\"")),
         "group_size is missing"},
        {CT("\"format\":\"float-quantized\"," GROUP("\"num_bits\":8,\"type\":\"float\",\"strategy\":\"block\"")),
         "block_structure is missing"},
        {CT("\"format\":\"pack-quantized\",\"transform_config\":{\"a\":1}," GROUP("\"num_bits\":4")),
         "transform_config is {\"a\":1}"},
        {CT("\"format\":\"pack-quantized\",\"sparsity_config\":{\"format\":\"sparse-bitmask\"}," GROUP(
             "\"num_bits\":4")),
         "sparsity_config.format is \"sparse-bitmask\""},
        {"{\"quant_method\":\"fp8\",\"fmt\":\"e5m2\"}", "fmt is \"e5m2\""},
        {"{\"quant_method\":\"fp8\",\"weight_block_size\":[128]}", "expected a list of 2 to 2 numbers"},
        {"{\"quant_method\":\"fp8\",\"weight_block_size\":[0,128]}", "weight_block_size[0] is 0"},
        {"{\"quant_method\":\"awq\"}, \"compression_config\": {\"quant_method\":\"gptq\"}",
         "quantization_config and compression_config differ"},
    };
    struct qvl_config c;
    struct qvl_error err = {0};
    char text[200], expected[100];
    (void)state;
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        snprintf(text, sizeof text, "{\"quant_method\":\"%s\",\"bits\":4}", methods[i]);
        snprintf(expected, sizeof expected, "quant_method is \"%s", methods[i][0] == '\\' ? "\\u00E4" : methods[i]);
        assert_int_equal(parse(text, &c, &err), QVL_ERR_MODEL);
        if (!strstr(err.text, expected) || !strstr(err.text, "a GGUF file, or the unquantised model"))
            fail_msg("%s: \"%s\"", methods[i], err.text);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (!parse(bad[i].quantization, &c, &err))
            fail_msg("accepted: %s", bad[i].quantization);
        if (err.status != QVL_ERR_MODEL || !strstr(err.text, bad[i].sentence) || !strstr(err.text, "config.json"))
            fail_msg("%s: \"%s\" does not say \"%s\"", bad[i].quantization, err.text, bad[i].sentence);
    }
}

static void takes_no_more_schemes_than_it_has_room_for(void **state)
{
    char text[2048] = "{\"quant_method\":\"gptq\",\"bits\":4,\"dynamic\":{";
    struct qvl_config c;
    struct qvl_error err = {0};
    (void)state;
    for (int i = 0; i < QVL_MAX_SCHEMES; i++) {
        size_t n = strlen(text);
        snprintf(text + n, sizeof text - n, "%s\"%d\":{\"group_size\":%d}", i ? "," : "", i, i + 1);
        char whole[2200];
        snprintf(whole, sizeof whole, "%s}}", text);
        assert_int_equal(parse(whole, &c, &err), i < QVL_MAX_SCHEMES - 1 ? QVL_OK : QVL_ERR_MODEL);
    }
    assert_non_null(strstr(err.text, "more than 16 ways"));
}

/* ---- tensors --------------------------------------------------------------------------------------------------
 */

struct entry {
    char name[160], dtype[8];
    size_t n_dim, n_bytes;
    uint64_t dim[5];
    uint8_t *data;
};

struct entries {
    struct entry entry[512];
    size_t n;
};

static size_t bytes_of(const char *dtype)
{
    return strcmp(dtype, "I64") == 0 ? 8 : strstr(dtype, "32") ? 4 : strstr(dtype, "16") ? 2 : 1;
}

/* Filled with 0x3c in every byte: small numbers of any floating type. */
static void set_entry(struct entry *e, const char *dtype, size_t n_dim, const uint64_t *dim)
{
    snprintf(e->dtype, sizeof e->dtype, "%s", dtype);
    e->n_dim = n_dim;
    e->n_bytes = bytes_of(dtype);
    for (size_t i = 0; i < n_dim; i++)
        e->n_bytes *= e->dim[i] = dim[i];
    free(e->data);
    e->data = malloc(e->n_bytes + 1);
    assert_non_null(e->data);
    memset(e->data, 0x3c, e->n_bytes);
}

static void add(struct entries *entries, const char *stem, const char *ending, const char *dtype, size_t n_dim,
                uint64_t dim0, uint64_t dim1)
{
    struct entry *e = &entries->entry[entries->n++];
    snprintf(e->name, sizeof e->name, "%s%s", stem, ending);
    set_entry(e, dtype, n_dim, (const uint64_t[]){dim0, dim1});
}

enum method { AWQ, GPTQ, PACKED, BLOCKS, INT, FLOAT, FP8, MIXED };

static const char *const configs[] = {
    [AWQ] = "{\"quant_method\":\"awq\",\"group_size\":32}",
    [GPTQ] = "{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":32,\"desc_act\":true}",
    [PACKED] = CT("\"format\":\"pack-quantized\"," GROUP(
        "\"num_bits\":4,\"symmetric\":false,\"strategy\":\"group\",\"group_size\":32")),
    [BLOCKS] = CT("\"format\":\"pack-quantized\"," GROUP(
        "\"num_bits\":4,\"symmetric\":false,\"strategy\":\"block\",\"block_structure\":[48,32]")),
    [INT] = CT("\"format\":\"int-quantized\"," GROUP("\"num_bits\":8,\"strategy\":\"channel\"")),
    [FLOAT] =
        CT("\"format\":\"float-quantized\"," GROUP("\"num_bits\":8,\"type\":\"float\",\"strategy\":\"tensor\"")),
    [FP8] = "{\"quant_method\":\"fp8\",\"weight_block_size\":[64,48]}",
    [MIXED] = CT(
        "\"format\":\"pack-quantized\",\"config_groups\":{\"a\":{\"weights\":{\"num_bits\":8,\"group_size\":16}},"
        "\"b\":{\"weights\":{\"num_bits\":4,\"symmetric\":false,\"group_size\":32}}}"),
};

static void add_matrix(struct entries *e, enum method method, const char *stem, uint64_t n_out, uint64_t n_in)
{
    uint64_t n_group = n_in / 32;
    if (method == AWQ || method == GPTQ) {
        add(e, stem, "qweight", "I32", 2, method == AWQ ? n_in : n_in / 8, method == AWQ ? n_out / 8 : n_out);
        add(e, stem, "qzeros", "I32", 2, n_group, n_out / 8);
        add(e, stem, "scales", "F16", 2, n_group, n_out);
    }
    if (method == GPTQ) {
        add(e, stem, "g_idx", "I32", 1, n_in, 0);
        for (uint32_t i = 0; i < n_in; i++)
            memcpy(e->entry[e->n - 1].data + 4 * i, &(uint32_t){(uint32_t)(i % n_group)}, 4);
    }
    if (method == PACKED || method == MIXED) {
        add(e, stem, "weight_packed", "I32", 2, n_out, n_in / 8);
        add(e, stem, "weight_scale", "BF16", 2, n_out, n_group);
        add(e, stem, "weight_zero_point", "I32", 2, n_out / 8, n_group);
        add(e, stem, "weight_shape", "I64", 1, 2, 0);
        memcpy(e->entry[e->n - 1].data, (const uint64_t[]){n_out, n_in}, 16);
    }
    if (method == BLOCKS) {
        add(e, stem, "weight_packed", "I32", 2, n_out, n_in / 8);
        add(e, stem, "weight_scale", "BF16", 2, (n_out + 47) / 48, n_group);
        add(e, stem, "weight_zero_point", "I8", 2, (n_out + 47) / 48, n_group);
        add(e, stem, "weight_shape", "I64", 1, 2, 0);
        memcpy(e->entry[e->n - 1].data, (const uint64_t[]){n_out, n_in}, 16);
    }
    if (method == INT) {
        add(e, stem, "weight", "I8", 2, n_out, n_in);
        add(e, stem, "weight_scale", "F32", 2, n_out, 1);
    }
    if (method == FLOAT) {
        add(e, stem, "weight", "F8_E4M3", 2, n_out, n_in);
        add(e, stem, "weight_scale", "F32", 1, 1, 0);
        add(e, stem, "input_scale", "F32", 0, 0, 0);
    }
    if (method == FP8) {
        add(e, stem, "weight", "F8_E4M3", 2, n_out, n_in);
        add(e, stem, "weight_scale_inv", "BF16", 2, (n_out + 63) / 64, (n_in + 47) / 48);
    }
}

static struct entries *make_entries(enum method method)
{
    struct entries *e = calloc(1, sizeof *e);
    assert_non_null(e);
    for (size_t i = 0; i < n_reference_tiny_tensor; i++) {
        const struct reference_tensor *t = &reference_tiny_tensors[i];
        char stem[96];
        snprintf(stem, sizeof stem, "%.*s", (int)(strlen(t->name) - strlen("weight")), t->name);
        if (strstr(t->name, "_proj.weight"))
            add_matrix(e, method, stem, t->dim[0], t->dim[1]);
        else {
            add(e, t->name, "", "BF16", 0, 0, 0);
            set_entry(&e->entry[e->n - 1], "BF16", t->n_dim, t->dim);
        }
    }
    return e;
}

static void write_entries(const char *dir, struct entries *e)
{
    char *header = NULL;
    size_t n_header = 0, n = 0, at = 0;
    FILE *text = open_memstream(&header, &n_header);
    fputc('{', text);
    for (size_t i = 0; i < e->n; n += e->entry[i++].n_bytes) {
        fprintf(text, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", i ? "," : "", e->entry[i].name, e->entry[i].dtype);
        for (size_t k = 0; k < e->entry[i].n_dim; k++)
            fprintf(text, "%s%" PRIu64, k ? "," : "", e->entry[i].dim[k]);
        fprintf(text, "],\"data_offsets\":[%zu,%zu]}", n, n + e->entry[i].n_bytes);
    }
    fputc('}', text);
    fclose(text);
    uint8_t *data = malloc(n + 1);
    assert_non_null(data);
    for (size_t i = 0; i < e->n; at += e->entry[i++].n_bytes) {
        memcpy(data + at, e->entry[i].data, e->entry[i].n_bytes);
        free(e->entry[i].data);
    }
    folder_write_safetensors(dir, "model.safetensors", header, data, n);
    free(data);
    free(header);
    free(e);
}

static enum qvl_status load(const char *dir, enum method method, struct qvl_weights **out, struct qvl_error *err)
{
    struct qvl_config c;
    enum qvl_status status = parse(configs[method], &c, err);
    if (!status && !(status = qvl_weights_open(dir, &c, out, err)))
        status = qvl_weights_map(*out, err);
    return status;
}

#define Q "model.language_model.layers.0.self_attn.q_proj." /* [128, 64] */

static void binds_and_reads_every_row(void **state)
{
    for (enum method method = AWQ; method <= MIXED; method++) {
        struct qvl_weights *weights = NULL;
        struct qvl_error err = {0};
        float row[17 * 64];
        write_entries(*state, make_entries(method));
        if (load(*state, method, &weights, &err))
            fail_msg("method %d: %s", method, err.text);
        const struct qvl_tensor *t = qvl_weights_find(weights, Q "weight");
        assert_int_equal(t->dtype, QVL_STORED);
        assert_null(t->data);
        for (size_t first = 0; first < 128; first++) { /* to the last row, with the address sanitizer watching */
            size_t n = 128 - first < 17 ? 128 - first : 17;
            qvl_stored_rows(t, first, n, row);
            for (size_t i = 0; i < n * 64; i++)
                assert_true(row[i] > -1e9f && row[i] < 1e9f);
        }
        qvl_weights_let_go(weights, t);
        qvl_weights_close(weights);
    }
}

static struct entry *find_entry(struct entries *e, const char *name)
{
    size_t i = 0;
    while (i < e->n && strcmp(e->entry[i].name, name) != 0)
        i++;
    assert_true(i < e->n);
    return &e->entry[i];
}

/* Values as torch.float8_e4m3fn has them. */
static void widens_e4m3(void **state)
{
    static const struct {
        uint8_t code;
        float value;
    } known[] = {{0x00, 0},   {0x01, 0x1p-9f},  {0x07, 7 * 0x1p-9f}, {0x08, 0x1p-6f}, {0x0f, 15 * 0x1p-9f},
                 {0x38, 1},   {0x3c, 1.5f},     {0x40, 2},           {0x77, 240},     {0x78, 256},
                 {0x7e, 448}, {0x81, -0x1p-9f}, {0xb8, -1},          {0xfe, -448}};
    enum { N = sizeof known / sizeof *known };
    struct qvl_weights *weights = NULL;
    struct qvl_error err = {0};
    struct entries *e = make_entries(FLOAT);
    float row[64];
    for (size_t i = 0; i < N; i++)
        find_entry(e, Q "weight")->data[i] = known[i].code;
    find_entry(e, Q "weight")->data[N] = 0x7f;
    find_entry(e, Q "weight")->data[N + 1] = 0xff;
    memcpy(find_entry(e, Q "weight_scale")->data, &(float){0.25f}, sizeof(float));
    write_entries(*state, e);
    if (load(*state, FLOAT, &weights, &err))
        fail_msg("%s", err.text);
    qvl_stored_rows(qvl_weights_find(weights, Q "weight"), 0, 1, row);
    for (size_t i = 0; i < N; i++)
        if (row[i] != 0.25f * known[i].value)
            fail_msg("%02x is %g, expected %g", known[i].code, (double)row[i], 0.25 * (double)known[i].value);
    assert_true(row[N] != row[N] && row[N + 1] != row[N + 1]);
    qvl_weights_close(weights);
}

/* pack_to_int32 and dequantize of compressed-tensors: codes from the middle of the range on, low ones first; zeros
 * of blocks as they are; (code - zero) * scale. */
static void reads_the_zero_of_each_block(void **state)
{
    struct qvl_weights *weights = NULL;
    struct qvl_error err = {0};
    struct entries *e = make_entries(BLOCKS);
    const int8_t zero[3][2] = {{0, 1}, {-8, 7}, {3, -2}};
    float row[64];
    memcpy(find_entry(e, Q "weight_zero_point")->data, zero, sizeof zero);
    for (size_t i = 0; i < 6; i++)
        memcpy(find_entry(e, Q "weight_scale")->data + 2 * i, &(uint16_t){0x3f80}, 2); /* 1 */
    write_entries(*state, e);
    if (load(*state, BLOCKS, &weights, &err))
        fail_msg("%s", err.text);
    for (size_t i = 0; i < 128; i++) {
        qvl_stored_rows(qvl_weights_find(weights, Q "weight"), i, 1, row);
        for (size_t k = 0; k < 64; k++) /* codes are 0xc and 0x3, in turn */
            assert_int_equal((int)row[k], (k % 2 ? 3 - 8 : 12 - 8) - zero[i / 48][k / 32]);
    }
    qvl_weights_close(weights);
}

/* Whoever writes into the file after it was checked changes numbers, but no place in memory. */
static void keeps_the_order_that_it_checked(void **state)
{
    struct qvl_weights *weights = NULL;
    struct qvl_error err = {0};
    float before[2 * 64], after[2 * 64];
    write_entries(*state, make_entries(GPTQ));
    if (load(*state, GPTQ, &weights, &err))
        fail_msg("%s", err.text);
    const struct qvl_tensor *t = qvl_weights_find(weights, Q "weight");
    qvl_stored_rows(t, 0, 2, before);
    char path[512];
    snprintf(path, sizeof path, "%s/model.safetensors", (const char *)*state);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    struct qvl_weights_file file = qvl_weights_file(weights, 0);
    const uint32_t order[4] = {0, 1, 0, 1}, wrong[4] = {9, 9, 0x7fffffff, 0x80000000};
    size_t n_order = 0;
    for (size_t at = 0; at + sizeof order <= file.n_bytes; at++)
        if (memcmp(file.map + at, order, sizeof order) == 0) {
            n_order++;
            fseek(f, (long)at, SEEK_SET);
            fwrite(wrong, sizeof wrong, 1, f);
            fflush(f);
        }
    fclose(f);
    assert_true(n_order > 0);
    qvl_stored_rows(t, 0, 2, after);
    assert_memory_equal(before, after, sizeof before);
    qvl_weights_close(weights);
}

enum change { GONE, RENAMED, SHAPED, TYPED, VALUE, ADDED };

static const struct {
    enum method method;
    const char *name; /* of the entry, below Q */
    enum change change;
    const char *to;  /* name or type */
    uint64_t dim[2]; /* SHAPED (0 as the last: one dimension); VALUE: which, and its bits */
    const char *sentence;
} wrong[] = {
    {AWQ, "qweight", GONE, NULL, {0}, "q_proj.qweight is missing"},
    {AWQ, "qzeros", GONE, NULL, {0}, "q_proj.weight: is quantised (AWQ, 4 bits, groups of 32), but "},
    {AWQ, "scales", GONE, NULL, {0}, "q_proj.scales is missing"},
    {AWQ,
     "qweight",
     SHAPED,
     NULL,
     {64, 8},
     "q_proj.qweight is I32 [64, 8], expected I32 [64, 16] (AWQ, 4 bits, groups of 32)"},
    {AWQ, "qweight", SHAPED, NULL, {8, 128}, "is I32 [8, 128], expected I32 [64, 16]"}, /* GPTQ's */
    {AWQ, "qzeros", SHAPED, NULL, {1, 16}, "q_proj.qzeros is I32 [1, 16], expected I32 [2, 16]"},
    {AWQ, "scales", SHAPED, NULL, {1, 128}, "is F16 [1, 128], expected BF16, F16, F32 [2, 128]"},
    {AWQ, "scales", SHAPED, NULL, {256, 0}, "is F16 [256], expected"},
    {AWQ, "scales", TYPED, "I32", {0}, "is I32 [2, 128], expected BF16, F16, F32 [2, 128]"},
    {AWQ, "qweight", TYPED, "F32", {0}, "is F32 [64, 16], expected I32 [64, 16]"},
    {AWQ, "scales", VALUE, NULL, {7, 0x7c00}, "q_proj.scales: scale 7 is infinite or not a number"},
    {AWQ, "scales", VALUE, NULL, {255, 0x7e01}, "scale 255 is infinite"},
    {AWQ,
     "qweight",
     RENAMED,
     "weight_packed",
     {0},
     "1 not asked for: model.language_model.layers.0.self_attn.q_proj.weight_packed"},
    {AWQ, "qweight", RENAMED, "r_proj.qweight", {0}, "r_proj.qweight"},
    {AWQ, "g_idx", ADDED, "I32", {64, 0}, "q_proj.g_idx has no place beside weights of AWQ, 4 bits, groups of 32"},
    {AWQ, "weight", ADDED, "BF16", {128, 64}, "is there twice"},
    {AWQ, "weight", ADDED, "I8", {128, 64}, "is there twice"},
    {GPTQ,
     "qweight",
     SHAPED,
     NULL,
     {64, 16},
     "is I32 [64, 16], expected I32 [8, 128] (GPTQ, 4 bits, groups of 32)"},
    {GPTQ, "qzeros", GONE, NULL, {0}, "q_proj.qzeros is missing"},
    {GPTQ, "g_idx", GONE, NULL, {0}, "q_proj.g_idx is missing"},
    {GPTQ, "g_idx", SHAPED, NULL, {63, 0}, "is I32 [63], expected I32 [64]"},
    {GPTQ, "g_idx", TYPED, "I64", {0}, "is I64 [64], expected I32 [64]"},
    {GPTQ, "g_idx", VALUE, NULL, {63, 2}, "q_proj.g_idx: column 63 is of group 2, of 2 groups"},
    {GPTQ, "g_idx", VALUE, NULL, {0, UINT32_MAX}, "column 0 is of group -1, of 2 groups"},
    {GPTQ, "g_idx", VALUE, NULL, {5, 0x80000000}, "column 5 is of group -2147483648, of 2 groups"},
    {PACKED, "weight_packed", GONE, NULL, {0}, "q_proj.weight_packed is missing"},
    {PACKED, "weight_scale", GONE, NULL, {0}, "q_proj.weight_scale is missing"},
    {PACKED, "weight_zero_point", GONE, NULL, {0}, "q_proj.weight_zero_point is missing"},
    {PACKED, "weight_shape", GONE, NULL, {0}, "q_proj.weight_shape is missing"},
    {PACKED,
     "weight_packed",
     SHAPED,
     NULL,
     {128, 16},
     "expected I32 [128, 8] (compressed-tensors pack-quantized, 4 bits"},
    {PACKED, "weight_zero_point", SHAPED, NULL, {128, 2}, "is I32 [128, 2], expected I32 [16, 2]"},
    {PACKED, "weight_zero_point", TYPED, "I8", {0}, "is I8 [16, 2], expected I32 [16, 2]"},
    {PACKED, "weight_scale", SHAPED, NULL, {128, 3}, "is BF16 [128, 3], expected BF16, F16, F32 [128, 2]"},
    {PACKED, "weight_scale", VALUE, NULL, {3, 0x7f80}, "scale 3 is infinite"},
    {PACKED, "weight_shape", VALUE, NULL, {1, 65}, "weight_shape says [128, 65], expected [128, 64]"},
    {PACKED, "weight_shape", VALUE, NULL, {0, UINT32_MAX}, "says [4294967295, 64], expected [128, 64]"},
    {PACKED, "weight_shape", SHAPED, NULL, {3, 0}, "is I64 [3], expected I64, I32 [2]"},
    {PACKED, "weight_global_scale", ADDED, "F32", {1, 0}, "weight_global_scale"},
    {INT, "weight_scale", GONE, NULL, {0}, "q_proj.weight_scale is missing"},
    {INT, "weight", GONE, NULL, {0}, "q_proj.weight is missing"},
    {INT, "weight", SHAPED, NULL, {64, 128}, "is I8 [64, 128], expected I8 [128, 64]"},
    {INT, "weight", TYPED, "F8_E4M3", {0}, "is F8_E4M3 [128, 64], expected I8 [128, 64]"},
    {INT, "weight", TYPED, "I32", {0}, "is of type I32, expected BF16, F16 or F32"},
    {INT, "weight", TYPED, "BF16", {0}, "q_proj.weight: is there both quantised and not"},
    {INT, "weight_scale", SHAPED, NULL, {128, 0}, "is F32 [128], expected BF16, F16, F32 [128, 1]"},
    {INT, "weight_zero_point", ADDED, "I8", {128, 1}, "weight_zero_point has no place beside"},
    {INT, "input_scale", ADDED, "F32", {2, 0}, "1 not asked for"},
    {FLOAT, "weight_scale", SHAPED, NULL, {2, 0}, "is F32 [2], expected BF16, F16, F32 [1]"},
    {FLOAT, "weight_scale", VALUE, NULL, {0, 0xff800000}, "scale 0 is infinite"},
    {FLOAT, "weight", TYPED, "I8", {0}, "is I8 [128, 64], expected F8_E4M3 [128, 64]"},
    {FP8, "weight_scale_inv", GONE, NULL, {0}, "q_proj.weight_scale_inv is missing"},
    {FP8,
     "weight_scale_inv",
     SHAPED,
     NULL,
     {2, 1},
     "is BF16 [2, 1], expected BF16, F16, F32 [2, 2] (FP8, 8 bits, blocks of 64x48)"},
    {FP8, "weight", GONE, NULL, {0}, "q_proj.weight is missing"},
    {MIXED,
     "weight_packed",
     SHAPED,
     NULL,
     {128, 4},
     "expected I32 [128, 16] (compressed-tensors pack-quantized, 8 bits, groups of 16)"},
};

static void change_entry(struct entries *e, size_t i_wrong)
{
    const uint64_t *dim = wrong[i_wrong].dim;
    char name[160];
    snprintf(name, sizeof name, Q "%s", wrong[i_wrong].name);
    if (wrong[i_wrong].change == ADDED) {
        add(e, name, "", wrong[i_wrong].to, dim[1] ? 2 : 1, dim[0], dim[1]);
        return;
    }
    struct entry *entry = find_entry(e, name);
    switch (wrong[i_wrong].change) {
    case GONE:
        free(entry->data);
        *entry = e->entry[--e->n];
        break;
    case RENAMED: snprintf(entry->name, sizeof entry->name, Q "%s", wrong[i_wrong].to); break;
    case SHAPED:
        set_entry(entry, (const char[8]){entry->dtype[0], entry->dtype[1], entry->dtype[2], entry->dtype[3], 0},
                  dim[1] ? 2 : 1, dim);
        break;
    case TYPED:
        set_entry(entry, wrong[i_wrong].to, entry->n_dim, (const uint64_t[]){entry->dim[0], entry->dim[1]});
        break;
    default: memcpy(entry->data + dim[0] * bytes_of(entry->dtype), &dim[1], bytes_of(entry->dtype));
    }
}

static void refuses_each_wrong_part_by_name(void **state)
{
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct qvl_weights *weights = NULL;
        struct qvl_error err = {0};
        struct entries *e = make_entries(wrong[i].method);
        change_entry(e, i);
        write_entries(*state, e);
        enum qvl_status status = load(*state, wrong[i].method, &weights, &err);
        qvl_weights_close(weights);
        if (status != QVL_ERR_MODEL || !strstr(err.text, wrong[i].sentence))
            fail_msg("%zu, %s: \"%s\" does not say \"%s\"", i, wrong[i].name, status ? err.text : "accepted",
                     wrong[i].sentence);
    }
}

/* The same part under two of the prefixes that are met. */
static void refuses_a_part_that_is_there_twice(void **state)
{
    struct qvl_weights *weights = NULL;
    struct qvl_error err = {0};
    struct entries *e = make_entries(AWQ);
    add(e, "language_model.model.layers.0.self_attn.q_proj.", "scales", "F16", 2, 2, 128);
    write_entries(*state, e);
    assert_int_equal(load(*state, AWQ, &weights, &err), QVL_ERR_MODEL);
    assert_non_null(strstr(err.text, "q_proj.scales is there twice"));
}

static void refuses_groups_and_words_that_do_not_divide(void **state)
{
    static const struct {
        enum method method;
        const char *quantization, *sentence;
    } bad[] = {
        {AWQ, "{\"quant_method\":\"awq\",\"group_size\":40}",
         "which are no whole groups (AWQ, 4 bits, groups of 40)"},
        {AWQ, "{\"quant_method\":\"awq\",\"group_size\":16}", "expected BF16, F16, F32 ["},
        {GPTQ, "{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":40}", "which are no whole groups"},
        {GPTQ, "{\"quant_method\":\"gptq\",\"bits\":8,\"group_size\":32}", "expected I32 ["},
        {PACKED, CT("\"format\":\"pack-quantized\"," GROUP("\"num_bits\":4,\"group_size\":40")),
         "which are no whole groups"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct qvl_weights *weights = NULL;
        struct qvl_error err = {0};
        struct qvl_config c;
        write_entries(*state, make_entries(bad[i].method));
        assert_int_equal(parse(bad[i].quantization, &c, &err), QVL_OK);
        assert_int_equal(qvl_weights_open(*state, &c, &weights, &err), QVL_ERR_MODEL);
        if (!strstr(err.text, bad[i].sentence))
            fail_msg("\"%s\" does not say \"%s\"", err.text, bad[i].sentence);
    }
}

/* Nothing in config.json, and everything in it with plain weights. */
static void holds_config_and_files_together(void **state)
{
    struct qvl_config c;
    struct qvl_weights *weights = NULL;
    struct qvl_error err = {0};
    write_entries(*state, make_entries(PACKED));
    assert_int_equal(qvl_config_parse(reference_tiny_config, strlen(reference_tiny_config), "c", &c, &err), QVL_OK);
    assert_int_equal(qvl_weights_open(*state, &c, &weights, &err), QVL_ERR_MODEL);
    assert_non_null(strstr(err.text, "not asked for: model.language_model.layers.0."));
    folder_write_model(*state);
    if (load(*state, AWQ, &weights, &err)) /* modules_to_not_convert may name all of them */
        fail_msg("%s", err.text);
    assert_int_equal(qvl_weights_find(weights, Q "weight")->dtype, QVL_BF16);
    qvl_weights_close(weights);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_scheme),
        cmocka_unit_test(refuses_other_formats_by_name),
        cmocka_unit_test(takes_no_more_schemes_than_it_has_room_for),
        cmocka_unit_test_setup_teardown(binds_and_reads_every_row, folder_open, folder_close),
        cmocka_unit_test_setup_teardown(reads_the_zero_of_each_block, folder_open, folder_close),
        cmocka_unit_test_setup_teardown(keeps_the_order_that_it_checked, folder_open, folder_close),
        cmocka_unit_test_setup_teardown(widens_e4m3, folder_open, folder_close),
        cmocka_unit_test_setup_teardown(refuses_each_wrong_part_by_name, folder_open, folder_close),
        cmocka_unit_test_setup_teardown(refuses_a_part_that_is_there_twice, folder_open, folder_close),
        cmocka_unit_test_setup_teardown(refuses_groups_and_words_that_do_not_divide, folder_open, folder_close),
        cmocka_unit_test_setup_teardown(holds_config_and_files_together, folder_open, folder_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

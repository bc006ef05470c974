/* A checkpoint against its config: the tensor table equals the reference's, every deviation is named. */
#include "load/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "folder.h"

static struct qvl_config tiny_config(void)
{
    struct qvl_config config;
    struct qvl_error err = {0};
    if (qvl_config_parse(reference_tiny_config, strlen(reference_tiny_config), "config.json", &config, &err))
        fail_msg("%s", err.text);
    return config;
}

/* ---- the table ----------------------------------------------------------------------------------- */

static void table_equals_the_reference(void **state)
{
    struct qvl_config config = tiny_config();
    struct qvl_arena arena = {0};
    struct qvl_tensor *tensor = NULL;
    struct qvl_error err = {0};
    size_t n = 0;
    (void)state;
    assert_int_equal(qvl_weights_expect(&config, &arena, &tensor, &n, &err), QVL_OK);
    assert_int_equal(n, n_reference_tiny_tensor);
    for (size_t i = 0; i < n; i++) {
        const struct reference_tensor *want = &reference_tiny_tensors[i];
        assert_string_equal(tensor[i].name, want->name);
        assert_int_equal(tensor[i].n_dim, want->n_dim);
        for (uint32_t k = 0; k < want->n_dim; k++)
            assert_int_equal(tensor[i].dim[k], want->dim[k]);
    }
    uint64_t n_parameter = 0;
    qvl_weights_count(&config, &n, &n_parameter);
    assert_int_equal(n, 82);
    assert_int_equal(n_parameter, 427856); /* as the library counts the same model */
    qvl_arena_free(&arena);
}

/* Tensors and parameters of the published sizes: MODEL.md, "Sizes". */
static void counts_equal_the_published_models(void **state)
{
    static const struct {
        struct qvl_text_config text;
        struct qvl_vision_config vision;
        size_t n_tensor;
        uint64_t n_parameter;
    } model[] = {
        {{.hidden = 2048,
          .n_layer = 28,
          .n_head = 16,
          .n_kv_head = 8,
          .head_dim = 128,
          .intermediate = 6144,
          .is_tied = true},
         {.hidden = 1024, .n_layer = 24, .intermediate = 4096},
         625,
         2127532032},
        {{.hidden = 2560,
          .n_layer = 36,
          .n_head = 32,
          .n_kv_head = 8,
          .head_dim = 128,
          .intermediate = 9728,
          .is_tied = true},
         {.hidden = 1024, .n_layer = 24, .intermediate = 4096},
         713,
         4437815808},
        {{.hidden = 4096, .n_layer = 36, .n_head = 32, .n_kv_head = 8, .head_dim = 128, .intermediate = 12288},
         {.hidden = 1152, .n_layer = 27, .intermediate = 4304},
         750,
         8767123696},
        {{.hidden = 5120, .n_layer = 64, .n_head = 64, .n_kv_head = 8, .head_dim = 128, .intermediate = 25600},
         {.hidden = 1152, .n_layer = 27, .intermediate = 4304},
         1058,
         33357390064},
    };
    (void)state;
    for (size_t i = 0; i < sizeof model / sizeof *model; i++) {
        struct qvl_config config = {.text = model[i].text, .vision = model[i].vision};
        size_t n_tensor = 0;
        uint64_t n_parameter = 0;
        config.text.vocab = 151936;
        config.vision.in_channels = 3;
        config.vision.patch = 16;
        config.vision.temporal_patch = config.vision.merge = 2;
        config.vision.n_position = 2304;
        config.vision.n_tap = 3;
        qvl_weights_count(&config, &n_tensor, &n_parameter);
        assert_int_equal(n_tensor, model[i].n_tensor);
        assert_int_equal(n_parameter, model[i].n_parameter);
    }
}

/* ---- folders ------------------------------------------------------------------------------------- */

static void refuse(const char *dir, const struct qvl_config *config, enum qvl_status status, const char *sentence)
{
    struct qvl_weights *weights = NULL;
    struct qvl_error err = {0};
    if (!qvl_weights_open(dir, config, &weights, &err))
        fail_msg("accepted; expected: %s", sentence);
    if (err.status != status || !strstr(err.text, sentence) || !strstr(err.text, dir))
        fail_msg("\"%s\" does not say \"%s\"", err.text, sentence);
    assert_null(weights);
}

static struct qvl_weights *open_and_map(const char *dir, const struct qvl_config *config)
{
    struct qvl_weights *weights = NULL;
    struct qvl_error err = {0};
    if (qvl_weights_open(dir, config, &weights, &err) || qvl_weights_map(weights, &err))
        fail_msg("%s", err.text);
    return weights;
}

/* Every tensor's bytes are those of the file that the reference's list puts there. */
static void check_bytes(const struct qvl_weights *weights, const uint8_t *data)
{
    size_t at = 0;
    assert_int_equal(qvl_weights_n_tensor(weights), n_reference_tiny_tensor);
    for (size_t i = 0; i < n_reference_tiny_tensor; i++) {
        const struct qvl_tensor *t = qvl_weights_find(weights, reference_tiny_tensors[i].name);
        assert_ptr_equal(t, qvl_weights_at(weights, i));
        assert_int_equal(t->dtype, QVL_BF16);
        assert_int_equal((uintptr_t)t->data % 2, 0);
        assert_memory_equal(t->data, data + at, 2 * t->n_element);
        at += 2 * t->n_element;
    }
    assert_int_equal(qvl_weights_bytes(weights), at);
}

static void opens_one_file(void **state)
{
    const char *dir = *state;
    struct qvl_config config = tiny_config();
    uint8_t *data = bf16_data(2 * 427856);
    folder_write_model(dir);
    struct qvl_weights *weights = open_and_map(dir, &config);
    check_bytes(weights, data);
    assert_null(qvl_weights_find(weights, "model.language_model.layers.2.input_layernorm.weight"));
    qvl_weights_close(weights);
    free(data);
}

/* A header of odd length puts every tensor on odd bytes. */
static void copies_misaligned_tensors(void **state)
{
    const char *dir = *state;
    struct qvl_config config = tiny_config();
    size_t n_data = 0;
    char *header = reference_header(0, n_reference_tiny_tensor, &n_data);
    char *odd = replace(header, "\"format\":\"pt\"", "\"format\":\"pt\" ");
    uint8_t *data = bf16_data(n_data);
    folder_write_safetensors(dir, "model.safetensors", odd, data, n_data);
    struct qvl_weights *weights = open_and_map(dir, &config);
    check_bytes(weights, data);
    qvl_weights_close(weights);
    free(header);
    free(odd);
    free(data);
}

static void normalises_prefixes(void **state)
{
    const char *dir = *state;
    struct qvl_config config = tiny_config();
    static const struct {
        const char *from, *to;
    } rename[] = {{"\"model.visual.", "\"visual."},
                  {"\"model.visual.", "\"vision_tower."},
                  {"\"model.language_model.", "\"language_model.model."},
                  {"\"model.language_model.", "\"language_model."}};
    for (size_t i = 0; i < sizeof rename / sizeof *rename; i++) {
        size_t n_data = 0;
        char *header = reference_header(0, n_reference_tiny_tensor, &n_data);
        uint8_t *data = bf16_data(n_data);
        while (strstr(header, rename[i].from)) {
            char *renamed = replace(header, rename[i].from, rename[i].to);
            free(header);
            header = renamed;
        }
        folder_write_safetensors(dir, "model.safetensors", header, data, n_data);
        struct qvl_weights *weights = open_and_map(dir, &config);
        check_bytes(weights, data);
        qvl_weights_close(weights);
        free(header);
        free(data);
    }
}

/* One change of the header each; the sizes are chosen so that the file itself stays well-formed. */
static void names_every_deviation(void **state)
{
    const char *dir = *state;
    struct qvl_config config = tiny_config();
    static const struct {
        const char *from, *to, *sentence;
    } change[] = {
        {"\"model.language_model.norm.weight\"", "\"model.language_model.extra.weight\"",
         "1 missing: model.language_model.norm.weight; 1 not asked for: model.language_model.extra.weight"},
        {"\"model.language_model.norm.weight\"", "\"model.norm.weight\"", "1 not asked for: model.norm.weight"},
        {"\"model.language_model.layers.1.mlp.up_proj.weight\"",
         "\"model.language_model.layers.2.mlp.up_proj.weight\"",
         "1 missing: model.language_model.layers.1.mlp.up_proj.weight"},
        {"\"model.language_model.norm.weight\"", "\"language_model.norm.weight\"", NULL},
        {"\"model.language_model.norm.weight\"", "\"language_model.layers.0.input_layernorm.weight\"",
         "is there twice"},
        {"\"shape\":[96,64]", "\"shape\":[64,96]",
         "1 different: model.language_model.layers.0.mlp.gate_proj.weight is [64, 96], expected [96, 64]"},
        {"\"shape\":[96,64]", "\"shape\":[6144]", "is [6144], expected [96, 64]"},
        {"\"shape\":[48,3,2,16,16]", "\"shape\":[48,1536]", "is [48, 1536], expected [48, 3, 2, 16, 16]"},
        {"\"dtype\":\"BF16\",\"shape\":[512,64]", "\"dtype\":\"F32\",\"shape\":[256,64]",
         "lm_head.weight is [256, 64], expected [512, 64]"},
        {"\"dtype\":\"BF16\"", "\"dtype\":\"I16\"", "tensor lm_head.weight has dtype \"I16\""},
        {"\"dtype\":\"BF16\"", "\"dtype\":\"F32\"", "its offsets for"},
        {"\"dtype\":\"BF16\"", "\"dtype\":\"F16\"", NULL},
    };
    for (size_t i = 0; i < sizeof change / sizeof *change; i++) {
        size_t n_data = 0;
        char *header = reference_header(0, n_reference_tiny_tensor, &n_data);
        char *changed = replace(header, change[i].from, change[i].to);
        uint8_t *data = bf16_data(n_data);
        folder_write_safetensors(dir, "model.safetensors", changed, data, n_data);
        if (change[i].sentence)
            refuse(dir, &config, QVL_ERR_MODEL, change[i].sentence);
        else
            qvl_weights_close(open_and_map(dir, &config));
        free(header);
        free(changed);
        free(data);
    }
}

static void names_the_first_of_many(void **state)
{
    const char *dir = *state;
    struct qvl_config config = tiny_config();
    folder_write_safetensors(dir, "model.safetensors", "{}", NULL, 0);
    refuse(dir, &config, QVL_ERR_MODEL,
           "not the 82 tensors that config.json asks for: 82 missing: lm_head.weight, "
           "model.language_model.embed_tokens.weight, ...");
}

/* Tied: a stored head is allowed where it has the embedding's shape, type and bytes. */
static void checks_a_tied_head(void **state)
{
    const char *dir = *state;
    struct qvl_config config = tiny_config();
    struct qvl_weights *weights = NULL;
    struct qvl_error err = {0};
    const size_t n_head = 2 * 512 * 64;
    size_t n_data = 0;
    char *header = reference_header(0, n_reference_tiny_tensor, &n_data);
    uint8_t *data = bf16_data(n_data);
    config.text.is_tied = true;
    assert_string_equal(reference_tiny_tensors[0].name, "lm_head.weight");
    assert_string_equal(reference_tiny_tensors[1].name, "model.language_model.embed_tokens.weight");

    memcpy(data + n_head, data, n_head);
    folder_write_safetensors(dir, "model.safetensors", header, data, n_data);
    weights = open_and_map(dir, &config);
    assert_int_equal(qvl_weights_n_tensor(weights), n_reference_tiny_tensor - 1);
    assert_null(qvl_weights_find(weights, "lm_head.weight"));
    qvl_weights_close(weights);

    data[0] ^= 1;
    folder_write_safetensors(dir, "model.safetensors", header, data, n_data);
    assert_int_equal(qvl_weights_open(dir, &config, &weights, &err), QVL_OK);
    assert_int_equal(qvl_weights_map(weights, &err), QVL_ERR_MODEL);
    assert_non_null(strstr(err.text, "lm_head.weight differs from the embedding"));
    qvl_weights_close(weights);

    char *wrong = replace(header, "[512,64]", "[64,512]");
    folder_write_safetensors(dir, "model.safetensors", wrong, data, n_data);
    refuse(dir, &config, QVL_ERR_MODEL, "1 different: lm_head.weight is [64, 512], expected [512, 64]");
    free(wrong);
    free(header);
    free(data);
}

static void refuses_folders_without_weights(void **state)
{
    const char *dir = *state;
    struct qvl_config config = tiny_config();
    refuse(dir, &config, QVL_ERR_FILE, "holds neither model.safetensors nor model.safetensors.index.json");
    assert_int_equal(symlink("nowhere", folder_path(dir, "model.safetensors")), 0);
    refuse(dir, &config, QVL_ERR_FILE, "cannot open");
}

/* The data of the last tensor is cut away: found at once, before anything is mapped. */
static void refuses_missing_data(void **state)
{
    const char *dir = *state;
    struct qvl_config config = tiny_config();
    size_t n_data = 0;
    char *header = reference_header(0, n_reference_tiny_tensor, &n_data);
    uint8_t *data = bf16_data(n_data);
    for (size_t n = 0; n < n_data; n += 4096) {
        folder_write_safetensors(dir, "model.safetensors", header, data, n);
        refuse(dir, &config, QVL_ERR_MODEL, "the file is cut short");
    }
    folder_write_safetensors(dir, "model.safetensors", header, data, n_data);
    struct qvl_weights *weights = NULL;
    struct qvl_error err = {0};
    assert_int_equal(qvl_weights_open(dir, &config, &weights, &err), QVL_OK);
    folder_write_safetensors(dir, "model.safetensors", header, data, n_data - 2); /* replaced after opening */
    assert_int_equal(qvl_weights_map(weights, &err), QVL_ERR_FILE);
    assert_non_null(strstr(err.text, "changed since it was opened"));
    qvl_weights_close(weights);
    free(header);
    free(data);
}

static void finds_values_that_are_not_finite(void **state)
{
    const char *dir = *state;
    struct qvl_config config = tiny_config();
    struct qvl_error err = {0};
    struct qvl_pool *pool = NULL;
    size_t n_data = 0;
    char *header = reference_header(0, n_reference_tiny_tensor, &n_data);
    uint8_t *data = bf16_data(n_data);
    static const struct {
        uint8_t low, high;
        bool is_finite;
    } value[] = {
        {0x80, 0x7f, false}, {0x80, 0xff, false}, {0xc0, 0x7f, false}, {0x7f, 0x7f, true}, {0, 0x80, true}};
    const size_t lm_head = 512 * 64, index[] = {0, 3, lm_head - 1};
    assert_int_equal(qvl_pool_open(2, &pool, &err), QVL_OK);
    for (size_t i = 0; i < sizeof value / sizeof *value; i++) {
        for (size_t k = 0; k < sizeof index / sizeof *index; k++) {
            char sentence[64];
            uint8_t keep = data[2 * index[k]];
            data[2 * index[k]] = value[i].low;
            data[2 * index[k] + 1] = value[i].high;
            folder_write_safetensors(dir, "model.safetensors", header, data, n_data);
            struct qvl_weights *weights = open_and_map(dir, &config);
            assert_int_equal(qvl_weights_check_finite(weights, pool, NULL, &err),
                             value[i].is_finite ? QVL_OK : QVL_ERR_MODEL);
            snprintf(sentence, sizeof sentence, "lm_head.weight: value %zu of 32768 is infinite", index[k]);
            assert_true(value[i].is_finite || strstr(err.text, sentence));
            qvl_weights_close(weights);
            data[2 * index[k]] = keep;
            data[2 * index[k] + 1] = 0x3f;
        }
    }
    qvl_pool_close(pool);
    free(header);
    free(data);
}

/* Exponents of f16 and f32, for a tensor of each type at its edge. */
static void finds_them_in_every_dtype(void **state)
{
    const char *dir = *state;
    struct qvl_config config = tiny_config();
    struct qvl_error err = {0};
    struct qvl_pool *pool = NULL;
    static const struct {
        const char *dtype, *shape;
        uint32_t bits;
        bool is_finite;
    } value[] = {{"F16", "[512,64]", 0x7c00, false},     {"F16", "[512,64]", 0xfe00, false},
                 {"F16", "[512,64]", 0x7bff, true},      {"F32", "[512,64]", 0x7f800000, false},
                 {"F32", "[512,64]", 0xffc00000, false}, {"F32", "[512,64]", 0x7f7fffff, true},
                 {"F32", "[512,64]", 0x007fffff, true}};
    assert_int_equal(qvl_pool_open(1, &pool, &err), QVL_OK);
    for (size_t i = 0; i < sizeof value / sizeof *value; i++) {
        size_t n_rest = 0, size = value[i].dtype[1] == '3' ? 4 : 2, n_head = 512 * 64 * size;
        char *rest = reference_header(1, n_reference_tiny_tensor, &n_rest);
        uint8_t *data = calloc(1, n_head + n_rest);
        char entry[160];
        assert_non_null(data);
        snprintf(entry, sizeof entry,
                 "\"lm_head.weight\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}", value[i].dtype,
                 value[i].shape, n_rest, n_rest + n_head);
        char *header = replace(rest, "\"__metadata__\":{\"format\":\"pt\"}", entry);
        memcpy(data + n_rest + 5 * size, &value[i].bits, size);
        folder_write_safetensors(dir, "model.safetensors", header, data, n_head + n_rest);
        struct qvl_weights *weights = open_and_map(dir, &config);
        assert_int_equal(qvl_weights_check_finite(weights, pool, NULL, &err),
                         value[i].is_finite ? QVL_OK : QVL_ERR_MODEL);
        assert_true(value[i].is_finite || strstr(err.text, "lm_head.weight: value 5 of 32768"));
        qvl_weights_close(weights);
        free(rest);
        free(header);
        free(data);
    }
    qvl_pool_close(pool);
}

/* ---- shards -------------------------------------------------------------------------------------- */

/* Three files, cut at these tensors, with the index of them; `index` is the caller's to free. */
static const size_t cuts[] = {0, 30, 31, 82};

static char *index_text(void)
{
    size_t size = 160 * n_reference_tiny_tensor + 64, n = 0;
    char *text = malloc(size);
    assert_non_null(text);
    n += (size_t)snprintf(text, size, "{\"metadata\":{\"total_size\":855712},\"weight_map\":{");
    for (size_t i = 0, shard = 1; i < n_reference_tiny_tensor; i++) {
        shard += i == cuts[shard];
        n += (size_t)snprintf(text + n, size - n, "%s\"%s\":\"model-%05zu-of-00003.safetensors\"", i ? "," : "",
                              reference_tiny_tensors[i].name, shard);
    }
    snprintf(text + n, size - n, "}}");
    return text;
}

static void write_shards(const char *dir)
{
    uint8_t *data = bf16_data(2 * 427856);
    size_t at = 0;
    char *index = index_text();
    folder_write_text(dir, "model.safetensors.index.json", index);
    for (size_t i = 0; i < 3; i++) {
        char name[64];
        size_t n_data = 0;
        char *header = reference_header(cuts[i], cuts[i + 1], &n_data);
        snprintf(name, sizeof name, "model-%05zu-of-00003.safetensors", i + 1);
        folder_write_safetensors(dir, name, header, data + at, n_data);
        at += n_data;
        free(header);
    }
    free(index);
    free(data);
}

static void opens_shards(void **state)
{
    const char *dir = *state;
    struct qvl_config config = tiny_config();
    uint8_t *data = bf16_data(2 * 427856);
    write_shards(dir);
    struct qvl_weights *weights = open_and_map(dir, &config);
    check_bytes(weights, data);
    qvl_weights_close(weights);
    free(data);
}

static void refuses_a_wrong_index(void **state)
{
    const char *dir = *state;
    struct qvl_config config = tiny_config();
    static const char first[] = "\"lm_head.weight\":\"model-00001-of-00003.safetensors\"";
    static const struct {
        const char *from, *to, *sentence;
    } change[] = {
        {"model-00001-of-00003.safetensors", "../../etc/passwd", "file name \"../../etc/passwd\""},
        {"model-00001-of-00003.safetensors", "/etc/passwd", "file name \"/etc/passwd\""},
        {"model-00001-of-00003.safetensors", "model-00001-of-00003.safetensorsX", "file name"},
        {"model-00001-of-00003.safetensors", "model-0001-of-000003.safetensors", "file name"},
        {"model-00001-of-00003.safetensors", "model-+0001-of-00003.safetensors", "file name"},
        {"model-00001-of-00003.safetensors", "model-00001-of-00003.safetensor/", "file name"},
        {"model-00001-of-00003.safetensors", "m/../00001-of-00003.safetensors", "file name"},
        {"model-00001-of-00003.safetensors", "model-00000-of-00003.safetensors", "file name"},
        {"model-00001-of-00003.safetensors", "model-00004-of-00003.safetensors", "file name"},
        {"model-00001-of-00003.safetensors", "model-00001-of-00257.safetensors", "at most 256 files"},
        {"model-00001-of-00003.safetensors", "model-00001-of-00004.safetensors", "beside files of"},
        {first, "\"lm_head.weight\":7", "file name 7"},
        {first, "\"lm_head.weight\":\"model-00002-of-00003.safetensors\"",
         "whose place in the index is \"model-00002-of-00003.safetensors\""},
        {first, "\"other\":\"model-00001-of-00003.safetensors\"", "whose place in the index is missing"},
        {first,
         "\"lm_head.weight\":\"model-00001-of-00003.safetensors\",\"other\":\"model-00001-of-00003.safetensors\"",
         "lists 1 tensors that are not in their files, the first: \"other\""},
        {first,
         "\"lm_head.weight\":\"model-00001-of-00003.safetensors\","
         "\"lm_head.weight\":\"model-00002-of-00003.safetensors\"",
         "a key appears twice"},
        {"weight_map", "weights", "weight_map is missing or empty"},
        {"}}", "", "not valid JSON"},
    };
    write_shards(dir);
    for (size_t i = 0; i < sizeof change / sizeof *change; i++) {
        char *text = index_text();
        char *changed = replace(text, change[i].from, change[i].to);
        folder_write_text(dir, "model.safetensors.index.json", changed);
        refuse(dir, &config, QVL_ERR_MODEL, change[i].sentence);
        free(text);
        free(changed);
    }
    folder_write_text(dir, "model.safetensors.index.json",
                      "{\"weight_map\":{\"a\":\"model-00001-of-00002.safetensors\"}}");
    refuse(dir, &config, QVL_ERR_MODEL, "no tensor is listed for file 2 of 2");
}

static void refuses_missing_and_double_shards(void **state)
{
    const char *dir = *state;
    struct qvl_config config = tiny_config();
    size_t n_data = 0;
    write_shards(dir);
    /* the second file holds, beside its own, a tensor of the first */
    char *header = reference_header(29, 31, &n_data);
    uint8_t *data = bf16_data(n_data);
    folder_write_safetensors(dir, "model-00002-of-00003.safetensors", header, data, n_data);
    refuse(dir, &config, QVL_ERR_MODEL, "model-00002-of-00003.safetensors holds tensor");
    folder_remove(dir, "model-00002-of-00003.safetensors");
    refuse(dir, &config, QVL_ERR_FILE, "model-00002-of-00003.safetensors: cannot open");
    free(header);
    free(data);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_open, folder_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_equals_the_reference),
        cmocka_unit_test(counts_equal_the_published_models),
        IN_FOLDER(opens_one_file),
        IN_FOLDER(copies_misaligned_tensors),
        IN_FOLDER(normalises_prefixes),
        IN_FOLDER(names_every_deviation),
        IN_FOLDER(names_the_first_of_many),
        IN_FOLDER(checks_a_tied_head),
        IN_FOLDER(refuses_folders_without_weights),
        IN_FOLDER(refuses_missing_data),
        IN_FOLDER(finds_values_that_are_not_finite),
        IN_FOLDER(finds_them_in_every_dtype),
        IN_FOLDER(opens_shards),
        IN_FOLDER(refuses_a_wrong_index),
        IN_FOLDER(refuses_missing_and_double_shards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* config.json and its siblings: both spellings give the same numbers, every value has a range, and what cannot
 * be honoured is refused by name. */
#include "load/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/limits.h"
#include "folder.h"
#include "load/config_read.h"

/* The 2B as the hub has it (MODEL.md, "A model folder"). */
static const char hub_2b[] =
    "{\"architectures\":[\"Qwen3VLForConditionalGeneration\"],\"model_type\":\"qwen3_vl\","
    "\"tie_word_embeddings\":true,\"image_token_id\":151655,\"video_token_id\":151656,"
    "\"vision_start_token_id\":151652,\"vision_end_token_id\":151653,\"transformers_version\":\"4.57.0.dev0\","
    "\"text_config\":{\"model_type\":\"qwen3_vl_text\",\"hidden_size\":2048,\"num_hidden_layers\":28,"
    "\"num_attention_heads\":16,\"num_key_value_heads\":8,\"head_dim\":128,\"intermediate_size\":6144,"
    "\"hidden_act\":\"silu\",\"rms_norm_eps\":1e-06,\"attention_bias\":false,\"attention_dropout\":0.0,"
    "\"vocab_size\":151936,\"max_position_embeddings\":262144,\"rope_theta\":5000000,"
    "\"rope_scaling\":{\"rope_type\":\"default\",\"mrope_interleaved\":true,\"mrope_section\":[24,20,20]},"
    "\"bos_token_id\":151643,\"eos_token_id\":151645,\"tie_word_embeddings\":true,\"dtype\":\"bfloat16\","
    "\"use_cache\":true,\"initializer_range\":0.02},"
    "\"vision_config\":{\"model_type\":\"qwen3_vl\",\"depth\":24,\"hidden_size\":1024,\"intermediate_size\":4096,"
    "\"num_heads\":16,\"in_channels\":3,\"patch_size\":16,\"temporal_patch_size\":2,\"spatial_merge_size\":2,"
    "\"out_hidden_size\":2048,\"num_position_embeddings\":2304,\"deepstack_visual_indexes\":[5,11,17],"
    "\"hidden_act\":\"gelu_pytorch_tanh\",\"initializer_range\":0.02}}";

static enum qvl_status parse(const char *json, struct qvl_config *out, struct qvl_error *err)
{
    return qvl_config_parse(json, strlen(json), "config.json", out, err);
}

static struct qvl_config parse_good(const char *json)
{
    struct qvl_config config;
    struct qvl_error err = {0};
    if (parse(json, &config, &err))
        fail_msg("%s", err.text);
    return config;
}

static void assert_same_double(double a, double b)
{
    if (a != b)
        fail_msg("%.17g is not %.17g", a, b);
}

/* ---- values -------------------------------------------------------------------------------------- */

static void reads_every_value(void **state)
{
    struct qvl_config c = parse_good(hub_2b);
    (void)state;
    assert_int_equal(c.text.hidden, 2048);
    assert_int_equal(c.text.n_layer, 28);
    assert_int_equal(c.text.n_head, 16);
    assert_int_equal(c.text.n_kv_head, 8);
    assert_int_equal(c.text.head_dim, 128);
    assert_int_equal(c.text.intermediate, 6144);
    assert_int_equal(c.text.vocab, 151936);
    assert_int_equal(c.text.max_position, 262144);
    assert_same_double(c.text.rms_norm_eps, 1e-6f);
    assert_true(c.text.is_tied);
    assert_int_equal(c.text.rope.type, QVL_ROPE_DEFAULT);
    assert_same_double(c.text.rope.theta, 5e6);
    assert_int_equal(c.text.rope.section[0], 24);
    assert_int_equal(c.text.rope.section[1], 20);
    assert_int_equal(c.text.rope.section[2], 20);
    assert_int_equal(c.vision.n_layer, 24);
    assert_int_equal(c.vision.hidden, 1024);
    assert_int_equal(c.vision.n_head, 16);
    assert_int_equal(c.vision.head_dim, 64);
    assert_int_equal(c.vision.intermediate, 4096);
    assert_int_equal(c.vision.out_hidden, 2048);
    assert_int_equal(c.vision.in_channels, 3);
    assert_int_equal(c.vision.patch, 16);
    assert_int_equal(c.vision.temporal_patch, 2);
    assert_int_equal(c.vision.merge, 2);
    assert_int_equal(c.vision.n_position, 2304);
    assert_int_equal(c.vision.position_side, 48);
    assert_int_equal(c.vision.n_tap, 3);
    assert_int_equal(c.vision.tap_layer[0], 5);
    assert_int_equal(c.vision.tap_layer[1], 11);
    assert_int_equal(c.vision.tap_layer[2], 17);
    assert_int_equal(c.image_token, 151655);
    assert_int_equal(c.video_token, 151656);
    assert_int_equal(c.vision_start_token, 151652);
    assert_int_equal(c.vision_end_token, 151653);
    assert_false(c.is_golden || c.is_demo || c.is_thinking);
}

static void reads_the_marks(void **state)
{
    char *golden = replace(hub_2b, "{", "{\"qvl_golden\":true,");
    char *demo = replace(hub_2b, "{", "{\"qvl_demo\":true,");
    (void)state;
    assert_true(parse_good(golden).is_golden);
    assert_true(parse_good(demo).is_demo);
    free(golden);
    free(demo);
}

static void reads_what_transformers_5_writes(void **state)
{
    struct qvl_config c = parse_good(reference_tiny_config);
    (void)state;
    assert_int_equal(c.text.hidden, 64);
    assert_int_equal(c.text.head_dim, 32);
    assert_int_equal(c.vision.head_dim, 12);
    assert_int_equal(c.vision.n_tap, 2);
    assert_int_equal(c.image_token, 500);
    assert_same_double(c.text.rope.theta, 5e6);
    assert_false(c.text.is_tied);
}

/* The hub's text with each spelling of transformers 5, one after the other and all together: the same struct.
 * Both are copies of one initialised struct, so their padding is equal too. */
static void both_spellings_are_equal(void **state)
{
    static const char old_rope[] = "\"rope_theta\":5000000,\"rope_scaling\":{\"rope_type\":\"default\","
                                   "\"mrope_interleaved\":true,\"mrope_section\":[24,20,20]}";
    static const struct {
        const char *from, *to;
    } change[] = {
        {old_rope, "\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":5000000.0,"
                   "\"mrope_interleaved\":true,\"mrope_section\":[24,20,20]}"},
        {",\"tie_word_embeddings\":true,\"dtype\":\"bfloat16\"", ",\"torch_dtype\":\"bfloat16\""},
        {"\"model_type\":\"qwen3_vl\",\"depth\"", "\"model_type\":\"qwen3_vl_vision\",\"rope_parameters\":"
                                                  "{\"rope_theta\":10000.0,\"rope_type\":\"axial\"},\"depth\""},
        {"\"rope_type\":\"default\"", "\"type\":\"default\""},
        {"\"bos_token_id\":151643", "\"pad_token_id\":null,\"sliding_window\":null,\"partial_rotary_factor\":1.0"},
    };
    struct qvl_config want = parse_good(hub_2b), found;
    char *all = strdup(hub_2b);
    (void)state;
    for (size_t i = 0; i < sizeof change / sizeof *change; i++) {
        char *one = replace(hub_2b, change[i].from, change[i].to),
             *next = replace(all, change[i].from, change[i].to);
        found = parse_good(one);
        assert_memory_equal(&found, &want, sizeof want);
        found = parse_good(next);
        assert_memory_equal(&found, &want, sizeof want);
        free(one);
        free(all);
        all = next;
    }
    free(all);
    char *no_top_flag = replace(hub_2b, "\"tie_word_embeddings\":true,\"image", "\"image");
    found = parse_good(no_top_flag);
    assert_memory_equal(&found, &want, sizeof want);
    free(no_top_flag);
}

static void reads_yarn(void **state)
{
    static const char from[] = "\"rope_scaling\":{\"rope_type\":\"default\"";
    static const char *const spelling[] = {"rope_type", "type"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        char to[256];
        snprintf(to, sizeof to,
                 "\"rope_scaling\":{\"%s\":\"yarn\",\"factor\":3.0,"
                 "\"original_max_position_embeddings\":131072",
                 spelling[i]);
        char *text = replace(hub_2b, from, to);
        struct qvl_config c = parse_good(text);
        assert_int_equal(c.text.rope.type, QVL_ROPE_YARN);
        assert_same_double(c.text.rope.factor, 3);
        assert_int_equal(c.text.rope.original_max_position, 131072);
        assert_same_double(c.text.rope.beta_fast, 32);
        assert_same_double(c.text.rope.beta_slow, 1);
        assert_same_double(c.text.rope.attention_factor, 0);
        assert_true(c.text.rope.truncate);
        free(text);
    }
    char *text = replace(hub_2b, from,
                         "\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":2,\"beta_fast\":16,"
                         "\"beta_slow\":2,\"attention_factor\":1.25,\"truncate\":false");
    struct qvl_config c = parse_good(text);
    assert_int_equal(c.text.rope.original_max_position, 262144); /* the reference's default: max_position */
    assert_same_double(c.text.rope.beta_fast, 16);
    assert_same_double(c.text.rope.beta_slow, 2);
    assert_same_double(c.text.rope.attention_factor, 1.25);
    assert_false(c.text.rope.truncate);
    free(text);
}

/* ---- refusals ------------------------------------------------------------------------------------ */

static void refuses_each_value_out_of_range(void **state)
{
    static const struct {
        const char *from, *to, *sentence;
    } bad[] = {
        /* which model */
        {"\"model_type\":\"qwen3_vl\",\"tie", "\"model_type\":\"qwen3_vl_moe\",\"tie", "mixture-of-experts"},
        {"\"model_type\":\"qwen3_vl\",\"tie", "\"model_type\":\"llama\",\"tie", "model_type is \"llama\""},
        {"\"model_type\":\"qwen3_vl\",\"tie", "\"tie", "model_type is missing"},
        {"\"model_type\":\"qwen3_vl\",\"tie", "\"model_type\":3,\"tie", "model_type is 3"},
        {"\"model_type\":\"qwen3_vl_text\"", "\"model_type\":\"qwen3\"", "text_config.model_type is \"qwen3\""},
        {"\"head_dim\":128", "\"head_dim\":128,\"num_experts\":128", "num_experts is 128"},
        {"\"model_type\":\"qwen3_vl\",\"depth", "\"model_type\":\"siglip\",\"depth", "vision_config.model_type is"},
        {"\"tie_word_embeddings\":true,\"image", "\"quantization_config\":{\"quant_method\":\"hqq\"},\"image",
         "quantization_config.quant_method is \"hqq\""},
        {"\"head_dim\":128", "\"head_dim\":128,\"quantization_config\":{\"quant_method\":\"bitsandbytes\"}",
         "text_config.quantization_config.quant_method is \"bitsandbytes\""},
        {"\"dtype\":\"bfloat16\"", "\"dtype\":\"float8_e4m3fn\"", "text_config.dtype is \"float8_e4m3fn\""},
        {"\"text_config\":{", "\"text_config\":7,\"x\":{", "text_config is 7, expected an object"},
        {"\"text_config\":{", "\"x\":{", "text_config is missing"},
        {"\"vision_config\":{", "\"x\":{", "vision_config is missing"},
        {"\"vision_config\":{", "\"vision_config\":[],\"x\":{", "vision_config is []"},
        /* sizes of the decoder */
        {"\"hidden_size\":2048", "\"hidden_size\":0",
         "text_config.hidden_size is 0, expected an integer from 16 to 16384"},
        {"\"hidden_size\":2048", "\"hidden_size\":-2048", "text_config.hidden_size is -2048"},
        {"\"hidden_size\":2048", "\"hidden_size\":2048.0", "text_config.hidden_size is 2048.0"},
        {"\"hidden_size\":2048", "\"hidden_size\":\"2048\"", "text_config.hidden_size is \"2048\""},
        {"\"hidden_size\":2048", "\"hidden_size\":9223372036854775807",
         "text_config.hidden_size is 9223372036854775807"},
        {"\"hidden_size\":2048", "\"hidden_size\":99999999999999999999", "a number is too large"},
        {"\"hidden_size\":2048,", "", "text_config.hidden_size is missing"},
        {"\"hidden_size\":2048", "\"hidden_size\":null", "text_config.hidden_size is missing"},
        {"\"num_hidden_layers\":28", "\"num_hidden_layers\":0", "num_hidden_layers is 0"},
        {"\"num_hidden_layers\":28", "\"num_hidden_layers\":201", "num_hidden_layers is 201"},
        {"\"num_attention_heads\":16", "\"num_attention_heads\":0", "num_attention_heads is 0"},
        {"\"num_attention_heads\":16", "\"num_attention_heads\":12",
         "12 is not a multiple of num_key_value_heads 8"},
        {"\"num_key_value_heads\":8", "\"num_key_value_heads\":0", "num_key_value_heads is 0"},
        {"\"num_key_value_heads\":8", "\"num_key_value_heads\":32",
         "16 is not a multiple of num_key_value_heads 32"},
        {"\"head_dim\":128", "\"head_dim\":0", "head_dim is 0"},
        {"\"head_dim\":128", "\"head_dim\":127", "head_dim is 127, expected an even"},
        {"\"head_dim\":128", "\"head_dim\":258", "head_dim is 258, expected an integer from 8 to 256"},
        {"\"head_dim\":128", "\"head_dim\":64", "is 64 pairs, expected half of head_dim, 32"},
        {"\"intermediate_size\":6144", "\"intermediate_size\":1e4", "intermediate_size is 10000.0"},
        {"\"vocab_size\":151936", "\"vocab_size\":1048577", "vocab_size is 1048577"},
        {"\"vocab_size\":151936", "\"vocab_size\":151655",
         "image_token_id is 151655, expected less than vocab_size"},
        {"\"max_position_embeddings\":262144", "\"max_position_embeddings\":0", "max_position_embeddings is 0"},
        {"\"rms_norm_eps\":1e-06", "\"rms_norm_eps\":0", "rms_norm_eps is 0"},
        {"\"rms_norm_eps\":1e-06", "\"rms_norm_eps\":NaN", "not valid JSON"},
        {"\"hidden_act\":\"silu\"", "\"hidden_act\":\"gelu\"", "text_config.hidden_act is \"gelu\""},
        {"\"attention_bias\":false", "\"attention_bias\":true", "attention_bias is true"},
        {"\"attention_bias\":false", "\"use_sliding_window\":true", "use_sliding_window is true"},
        {"\"tie_word_embeddings\":true,\"dtype", "\"tie_word_embeddings\":false,\"dtype",
         "tie_word_embeddings is true at the top and false in text_config"},
        {"\"tie_word_embeddings\":true,\"dtype", "\"tie_word_embeddings\":1,\"dtype", "tie_word_embeddings is 1"},
        /* rotary positions */
        {"\"rope_theta\":5000000", "\"rope_theta\":0", "rope_theta is 0"},
        {"\"rope_theta\":5000000", "\"rope_theta\":1e400", "a number is too large"},
        {"\"rope_theta\":5000000,", "", "rope_theta is missing"},
        {"\"rope_type\":\"default\"", "\"rope_type\":\"dynamic\"", "rope_type is \"dynamic\", qvl knows"},
        {"\"rope_type\":\"default\"", "\"type\":\"linear\"", "rope_type is \"linear\", qvl knows"},
        {"\"rope_type\":\"default\"", "\"rope_type\":7", "rope_type is 7"},
        {"\"rope_type\":\"default\"", "\"rope_type\":\"default\",\"type\":\"yarn\"", "but type is \"yarn\""},
        {"\"rope_type\":\"default\"", "\"rope_type\":\"yarn\"", "factor is missing"},
        {"\"rope_type\":\"default\"", "\"rope_type\":\"yarn\",\"factor\":0.5", "factor is 0.5"},
        {"\"rope_type\":\"default\"", "\"rope_type\":\"yarn\",\"factor\":2,\"beta_fast\":1", "beta_fast is 1"},
        {"\"rope_type\":\"default\"", "\"rope_type\":\"yarn\",\"factor\":2,\"truncate\":0", "truncate is 0"},
        {"\"rope_type\":\"default\"", "\"rope_type\":\"yarn\",\"factor\":2,\"mscale\":1", "\"mscale\" (1)"},
        {"\"rope_type\":\"default\"", "\"rope_type\":\"default\",\"factor\":2.0", "\"factor\" (2.0), which has no"},
        {"\"rope_type\":\"default\"", "\"rope_type\":\"default\",\"rope_theta\":10000",
         "rope_theta is 5e+06 in text"},
        {"\"rope_scaling\":{", "\"rope_parameters\":{\"rope_type\":\"yarn\"},\"rope_scaling\":{", "differ"},
        {"\"mrope_interleaved\":true", "\"mrope_interleaved\":false", "mrope_interleaved is false"},
        {"[24,20,20]", "[24,20]", "mrope_section is [24,20], expected a list of 3 to 3"},
        {"[24,20,20]", "[24,20,21]", "24 + 20 + 21 is 65 pairs"},
        {"[24,20,20]", "[24,-20,60]", "mrope_section[1] is -20"},
        {"[24,20,20]", "[20,20,24]", "cannot be interleaved"},
        {"[24,20,20]", "[20,24,20]", "cannot be interleaved"},
        /* vision */
        {"\"depth\":24", "\"depth\":101", "vision_config.depth is 101"},
        {"\"hidden_size\":1024", "\"hidden_size\":1000", "1000 over num_heads 16"},
        {"\"hidden_size\":1024", "\"hidden_size\":1056", "1056 over num_heads 16"},
        {"\"num_heads\":16", "\"num_heads\":2", "a head size of 512, expected at most 256"},
        {"\"num_heads\":16", "\"num_heads\":0", "vision_config.num_heads is 0"},
        {"\"in_channels\":3", "\"in_channels\":4", "in_channels is 4"},
        {"\"patch_size\":16", "\"patch_size\":0", "patch_size is 0"},
        {"\"temporal_patch_size\":2", "\"temporal_patch_size\":1", "temporal_patch_size is 1"},
        {"\"spatial_merge_size\":2", "\"spatial_merge_size\":0", "spatial_merge_size is 0"},
        {"\"out_hidden_size\":2048", "\"out_hidden_size\":2560", "out_hidden_size is 2560, expected"},
        {"\"num_position_embeddings\":2304", "\"num_position_embeddings\":2305", "expected a square number"},
        {"[5,11,17]", "[5,11,24]", "deepstack_visual_indexes[2] is 24, expected an integer from 0 to 23"},
        {"[5,11,17]", "[5,5,17]", "5 after 5"},
        {"[5,11,17]", "[11,5,17]", "5 after 11"},
        {"[5,11,17]", "[0,1,2,3,4,5,6,7,8]", "expected a list of 0 to 8"},
        {"[5,11,17]", "\"5\"", "deepstack_visual_indexes is \"5\""},
        {",\"deepstack_visual_indexes\":[5,11,17]", "", "deepstack_visual_indexes is missing"},
        {"\"gelu_pytorch_tanh\"", "\"gelu\"", "vision_config.hidden_act is \"gelu\""},
        {"\"in_channels\":3", "\"rope_parameters\":{\"rope_theta\":5.0}", "rope_parameters.rope_theta is 5.0"},
        /* tokens */
        {"\"image_token_id\":151655", "\"image_token_id\":151656",
         "image_token_id and video_token_id are both 151656"},
        {"\"image_token_id\":151655", "\"image_token_id\":-1", "image_token_id is -1"},
        {"{\"arch", "{\"qvl_demo\":\"yes\",\"arch", "qvl_demo is \"yes\""},
        /* the text itself */
        {"{\"arch", "[{\"arch", "not valid JSON"},
        {"\"depth\":24", "\"depth\":24,\"depth\":24", "a key appears twice"},
        {"\"depth\":24", "\"depth\":24,\"d\":\"\xc3\"", "the text is not UTF-8"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *text = replace(hub_2b, bad[i].from, bad[i].to);
        struct qvl_config c;
        struct qvl_error err = {0};
        memset(&c, 0x5a, sizeof c);
        if (!parse(text, &c, &err))
            fail_msg("accepted: %s", bad[i].to);
        if (err.status != QVL_ERR_MODEL || !strstr(err.text, bad[i].sentence) || !strstr(err.text, "config.json"))
            fail_msg("%s: \"%s\" does not say \"%s\"", bad[i].to, err.text, bad[i].sentence);
        assert_int_equal(c.text.hidden, 0x5a5a5a5a);
        free(text);
    }
}

/* Both edges of a range are inside it. */
static void accepts_the_edges(void **state)
{
    static const struct {
        const char *from, *to;
    } good[] = {
        {"\"vocab_size\":151936", "\"vocab_size\":1048576"},
        {"\"vocab_size\":151936", "\"vocab_size\":151657"},
        {"\"num_hidden_layers\":28", "\"num_hidden_layers\":200"},
        {"\"num_hidden_layers\":28", "\"num_hidden_layers\":3"},
        {"\"max_position_embeddings\":262144", "\"max_position_embeddings\":16777216"},
        {"\"num_key_value_heads\":8", "\"num_key_value_heads\":16"},
        {"\"rms_norm_eps\":1e-06", "\"rms_norm_eps\":0.01"},
        {"[5,11,17]", "[0,1,2,3,4,5,6,23]"},
        {"[5,11,17]", "[]"},
        {"[24,20,20]", "[22,21,21]"},
        {"\"num_heads\":16", "\"num_heads\":4"}, /* a head size of 256 */
        {"\"num_position_embeddings\":2304", "\"num_position_embeddings\":1"},
        {"\"num_position_embeddings\":2304", "\"num_position_embeddings\":65536"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        char *text = replace(hub_2b, good[i].from, good[i].to);
        parse_good(text);
        free(text);
    }
}

static void refuses_every_truncation(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof hub_2b - 1; n++) {
        struct qvl_config c;
        struct qvl_error err = {0};
        char *cut = malloc(n + 1); /* exactly as long, so that a sanitizer sees a byte too far */
        assert_non_null(cut);
        memcpy(cut, hub_2b, n);
        assert_int_equal(qvl_config_parse(cut, n, "config.json", &c, &err), QVL_ERR_MODEL);
        free(cut);
    }
}

static void refuses_depth(void **state)
{
    const size_t n = 1000000;
    struct qvl_config c;
    struct qvl_error err = {0};
    char *text = malloc(n + 1);
    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < n; i++)
        text[i] = i % 2 ? '[' : '{';
    text[n] = 0;
    assert_int_equal(parse(text, &c, &err), QVL_ERR_MODEL);
    assert_non_null(strstr(err.text, "nested deeper than 64 levels"));
    free(text);
}

/* Each allocation of the JSON reader fails in turn: the config is refused with a sentence or right, and nothing
 * leaks. (jansson's scanner reports a failure inside a string as a syntax error, and lives through some.) */
static size_t n_left;
static bool has_failed;

static void *allocate(size_t n)
{
    if (n_left-- > 0)
        return malloc(n);
    has_failed = true;
    return NULL;
}

static void survives_failing_allocations(void **state)
{
    const struct qvl_config want = parse_good(hub_2b);
    json_malloc_t old_malloc;
    json_free_t old_free;
    size_t n = 0;
    (void)state;
    json_get_alloc_funcs(&old_malloc, &old_free);
    do {
        struct qvl_config c;
        struct qvl_error err = {0};
        n_left = n;
        has_failed = false;
        json_set_alloc_funcs(allocate, free);
        enum qvl_status status = parse(hub_2b, &c, &err);
        json_set_alloc_funcs(old_malloc, old_free);
        if (!status)
            assert_memory_equal(&c, &want, sizeof c);
        else if (status != QVL_ERR_MEMORY && !strstr(err.text, "syntax error"))
            fail_msg("allocation %zu: %s", n, err.text);
        n++;
    } while (has_failed);
    assert_true(n > 100);
}

/* ---- the folder ---------------------------------------------------------------------------------- */

static struct qvl_config load_good(const char *dir)
{
    struct qvl_config config;
    struct qvl_error err = {0};
    if (qvl_config_load(dir, &config, &err))
        fail_msg("%s", err.text);
    return config;
}

static void takes_family_defaults(void **state)
{
    const char *dir = *state;
    folder_write_text(dir, "config.json", hub_2b);
    struct qvl_config c = load_good(dir);
    assert_int_equal(c.image.min_pixels, 65536);
    assert_int_equal(c.image.max_pixels, 16777216);
    assert_int_equal(c.video.min_pixels, 4096);
    assert_int_equal(c.video.max_pixels, 25165824);
    assert_same_double(c.video.fps, 2);
    assert_int_equal(c.video.min_frames, 4);
    assert_int_equal(c.video.max_frames, 768);
    for (size_t i = 0; i < 3; i++) {
        assert_same_double(c.image.mean[i], 0.5);
        assert_same_double(c.image.std[i], 0.5);
    }
    assert_same_double(c.image.rescale, (float)(1.0 / 255.0));
    assert_false(c.generation.has_file);
    assert_int_equal(c.generation.n_eos, 0);
    assert_same_double(c.generation.sampling.temperature, 0.7f);
    assert_same_double(c.generation.sampling.top_p, 0.8f);
    assert_int_equal(c.generation.sampling.top_k, 20);
    assert_same_double(c.generation.sampling.min_p, 0);
    assert_same_double(c.generation.sampling.repetition_penalty, 1);
    assert_same_double(c.generation.sampling.presence_penalty, 1.5);
    assert_same_double(c.generation.sampling.frequency_penalty, 0);
    assert_false(c.is_thinking);
}

/* image_processor and video_processor as transformers 5.23.0 writes them, but for sizes of our own. */
static const char image_5[] =
    "{\"do_convert_rgb\":true,\"do_normalize\":true,\"do_rescale\":true,\"do_resize\":true,"
    "\"image_mean\":[0.5,0.5,0.5],\"image_processor_type\":\"Qwen2VLImageProcessor\",\"image_std\":[0.25,0.5,0.5],"
    "\"merge_size\":2,\"patch_size\":16,\"resample\":3,\"rescale_factor\":0.00392156862745098,"
    "\"size\":{\"longest_edge\":2000000,\"shortest_edge\":1024},\"temporal_patch_size\":2}";
static const char video_5[] =
    "{\"do_convert_rgb\":true,\"do_normalize\":true,\"do_rescale\":true,\"do_resize\":true,\"do_sample_frames\":"
    "true,"
    "\"fps\":1.5,\"image_mean\":[0.5,0.5,0.5],\"image_std\":[0.25,0.5,0.5],\"max_frames\":99,\"max_video_tokens\":"
    "768,"
    "\"merge_size\":2,\"min_frames\":5,\"patch_size\":16,\"resample\":3,\"rescale_factor\":0.00392156862745098,"
    "\"return_metadata\":false,\"size\":{\"longest_edge\":3000000,\"shortest_edge\":2048},\"temporal_patch_size\":"
    "2,"
    "\"video_processor_type\":\"Qwen3VLVideoProcessor\"}";

static void both_processor_layouts_are_equal(void **state)
{
    const char *dir = *state;
    char text[4096];
    folder_write_text(dir, "config.json", hub_2b);
    folder_write_text(dir, "preprocessor_config.json", image_5);
    folder_write_text(dir, "video_preprocessor_config.json", video_5);
    struct qvl_config old = load_good(dir);
    assert_int_equal(old.image.min_pixels, 1024);
    assert_int_equal(old.image.max_pixels, 2000000);
    assert_same_double(old.image.std[0], 0.25);
    assert_int_equal(old.video.min_pixels, 2048);
    assert_int_equal(old.video.max_pixels, 3000000);
    assert_same_double(old.video.fps, 1.5);
    assert_int_equal(old.video.min_frames, 5);
    assert_int_equal(old.video.max_frames, 99);

    folder_remove(dir, "preprocessor_config.json");
    folder_remove(dir, "video_preprocessor_config.json");
    snprintf(text, sizeof text,
             "{\"image_processor\":%s,\"processor_class\":\"Qwen3VLProcessor\",\"video_processor\":%s}", image_5,
             video_5);
    folder_write_text(dir, "processor_config.json", text);
    struct qvl_config new = load_good(dir);
    assert_memory_equal(&new, &old, sizeof old);
}

static void reads_min_and_max_pixels(void **state)
{
    const char *dir = *state;
    folder_write_text(dir, "config.json", hub_2b);
    folder_write_text(dir, "preprocessor_config.json", "{\"min_pixels\":3136,\"max_pixels\":12845056}");
    struct qvl_config c = load_good(dir);
    assert_int_equal(c.image.min_pixels, 3136);
    assert_int_equal(c.image.max_pixels, 12845056);
}

struct bad_sibling {
    const char *file, *text, *sentence;
};

static void refuses_bad_siblings(void **state)
{
    const char *dir = *state;
    static const char image[] = "preprocessor_config.json", video[] = "video_preprocessor_config.json",
                      both[] = "processor_config.json", generation[] = "generation_config.json";
    static const struct bad_sibling bad[] = {
        {image, "{\"size\":{\"longest_edge\":9223372036854775807}}", "longest_edge is 9223372036854775807"},
        {image, "{\"size\":{\"longest_edge\":0}}", "longest_edge is 0"},
        {image, "{\"size\":{\"longest_edge\":1000,\"shortest_edge\":2000}}",
         "of pixels, 2000, is above the greatest, 1000"},
        {image, "{\"size\":[1,2]}", "size is [1,2], expected an object"},
        {image, "{\"min_pixels\":-1}", "min_pixels is -1"},
        {image, "{\"patch_size\":0}", "patch_size is 0, expected 16"},
        {image, "{\"patch_size\":14}", "patch_size is 14, expected 16"},
        {image, "{\"merge_size\":1}", "merge_size is 1, expected 2"},
        {image, "{\"temporal_patch_size\":\"2\"}", "temporal_patch_size is \"2\""},
        {image, "{\"image_mean\":[0.5,0.5]}", "image_mean is [0.5,0.5], expected a list of 3"},
        {image, "{\"image_std\":[0.5,0,0.5]}", "image_std[1] is 0"},
        {image, "{\"image_std\":0.5}", "image_std is 0.5"},
        {image, "{\"rescale_factor\":0}", "rescale_factor is 0"},
        {image, "{\"resample\":2}", "resample is 2"},
        {image, "{\"do_resize\":false}", "do_resize is false"},
        {image, "{\"do_center_crop\":true}", "do_center_crop is true"},
        {image, "{", "not valid JSON"},
        {image, "", "not valid JSON"},
        {video, "{\"fps\":-1}", "fps is -1"},
        {video, "{\"fps\":0}", "fps is 0"},
        {video, "{\"min_frames\":10,\"max_frames\":5}", "of frames, 10, is above the greatest, 5"},
        {video, "{\"fps\":241}", "fps is 241, expected a number from 0.01 to 240"},
        {video, "{\"min_frames\":0}", "min_frames is 0, expected an integer from 1 to 16384"},
        {video, "{\"max_frames\":16385}", "max_frames is 16385, expected an integer from 1 to 16384"},
        {video, "{\"max_frames\":768.0}", "max_frames is 768.0"},
        {video, "{\"max_frames\":3}", "of frames, 4, is above the greatest, 3"},
        {video, "{\"num_frames\":32}", "num_frames is 32"},
        {video, "{\"cap_pixels_per_frame\":true}", "cap_pixels_per_frame is true"},
        {video, "{\"image_mean\":[0.4,0.4,0.4]}", "differ from those for pictures"},
        {video, "{\"rescale_factor\":0.5}", "differ from those for pictures"},
        {video, "{\"size\":{\"shortest_edge\":true}}", "shortest_edge is true"},
        {both, "{\"image_processor\":{\"patch_size\":14}}", "image_processor.patch_size is 14"},
        {both, "{\"video_processor\":{\"fps\":1e9}}", "video_processor.fps is 1000000000.0"},
        {both, "{\"image_processor\":3}", "image_processor is 3"},
        {generation, "{\"temperature\":-1}", "temperature is -1"},
        {generation, "{\"top_p\":0}", "top_p is 0"},
        {generation, "{\"top_p\":1.5}", "top_p is 1.5"},
        {generation, "{\"top_k\":-1}", "top_k is -1"},
        {generation, "{\"repetition_penalty\":0}", "repetition_penalty is 0"},
        {generation, "{\"do_sample\":1}", "do_sample is 1"},
        {generation, "{\"num_beams\":4}", "num_beams is 4"},
        {generation, "{\"bad_words_ids\":[[1]]}", "bad_words_ids is [[1]]"},
        {generation, "{\"eos_token_id\":151936}", "eos_token_id[0] is 151936"},
        {generation, "{\"eos_token_id\":[]}", "eos_token_id is []"},
        {generation, "{\"eos_token_id\":[1,2,3,4,5,6,7,8,9]}", "expected a list of 1 to 8"},
        {generation, "{\"eos_token_id\":\"x\"}", "eos_token_id is \"x\""},
        {"chat_template.json", "[]", "not an object"},
        {"tokenizer_config.json", "nonsense", "not valid JSON"},
    };
    folder_write_text(dir, "config.json", hub_2b);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct qvl_config c;
        struct qvl_error err = {0};
        folder_write_text(dir, bad[i].file, bad[i].text);
        if (!qvl_config_load(dir, &c, &err))
            fail_msg("accepted: %s", bad[i].text);
        if (err.status != QVL_ERR_MODEL || !strstr(err.text, bad[i].sentence) || !strstr(err.text, bad[i].file))
            fail_msg("%s: \"%s\" does not say \"%s\"", bad[i].text, err.text, bad[i].sentence);
        folder_remove(dir, bad[i].file);
    }
}

static void refuses_unreadable_files(void **state)
{
    const char *dir = *state;
    struct qvl_config c;
    struct qvl_error err = {0};
    assert_int_equal(qvl_config_load(dir, &c, &err), QVL_ERR_FILE);
    assert_non_null(strstr(err.text, "config.json: cannot open"));
    folder_write_text(dir, "config.json", hub_2b);
    assert_int_equal(mkfifo(folder_path(dir, "generation_config.json"), 0600), 0);
    assert_int_equal(qvl_config_load(dir, &c, &err), QVL_ERR_FILE);
    assert_non_null(strstr(err.text, "generation_config.json: not a regular file"));
    folder_remove(dir, "generation_config.json");
    char *large = calloc(1, QVL_MAX_CONFIG_BYTES + 1);
    assert_non_null(large);
    memset(large, ' ', QVL_MAX_CONFIG_BYTES + 1);
    folder_write(dir, "config.json", large, QVL_MAX_CONFIG_BYTES + 1);
    assert_int_equal(qvl_config_load(dir, &c, &err), QVL_ERR_FILE);
    assert_non_null(strstr(err.text, "1048577 bytes, more than"));
    free(large);
}

static void reads_generation(void **state)
{
    const char *dir = *state;
    folder_write_text(dir, "config.json", hub_2b);
    folder_write_text(
        dir, "generation_config.json",
        "{\"do_sample\":true,\"temperature\":0.9,\"top_p\":0.5,\"top_k\":7,\"repetition_penalty\":1.05,"
        "\"eos_token_id\":[151645,151643],\"pad_token_id\":151643}");
    struct qvl_config c = load_good(dir);
    assert_true(c.generation.has_file);
    assert_same_double(c.generation.sampling.temperature, 0.9f);
    assert_same_double(c.generation.sampling.top_p, 0.5f);
    assert_int_equal(c.generation.sampling.top_k, 7);
    assert_same_double(c.generation.sampling.repetition_penalty, 1.05f);
    assert_same_double(c.generation.sampling.presence_penalty, 1.5);
    assert_int_equal(c.generation.n_eos, 2);
    assert_int_equal(c.generation.eos[0], 151645);
    assert_int_equal(c.generation.eos[1], 151643);

    folder_write_text(dir, "generation_config.json",
                      "{\"do_sample\":false,\"temperature\":0.7,\"eos_token_id\":3}");
    c = load_good(dir);
    assert_same_double(c.generation.sampling.temperature, 0);
    assert_same_double(c.generation.sampling.presence_penalty, 0);
    assert_int_equal(c.generation.n_eos, 1);
    assert_int_equal(c.generation.eos[0], 3);
}

/* The ends of the two published templates, of a template that thinks only on request, and of none. */
#define PROMPT "{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\\n"
static const char instruct_template[] =
    "{%- for m in messages %}'<think>'{%- endfor %}\n" PROMPT "' }}\n{%- endif %}\n";
static const char thinking_template[] =
    "{%- for m in messages %}'</think>'{%- endfor %}\n" PROMPT "<think>\\n' }}\n{%- endif %}\n";

static void decides_thinking_from_the_template(void **state)
{
    const char *dir = *state;
    (void)state;
    assert_false(qvl_config_template_thinks(instruct_template));
    assert_true(qvl_config_template_thinks(thinking_template));
    assert_false(qvl_config_template_thinks(PROMPT "<think>\\n\\n</think>' }}{% endif %}"));
    assert_false(qvl_config_template_thinks("<think>"));
    assert_false(qvl_config_template_thinks(""));

    json_t *json = json_pack("{s:s}", "chat_template", thinking_template);
    json_t *named = json_pack("{s:[{s:s,s:s},{s:s,s:s}]}", "chat_template", "name", "other", "template",
                              instruct_template, "name", "default", "template", thinking_template);
    char *text = json_dumps(json, 0), *text_named = json_dumps(named, 0);
    const struct {
        const char *file, *text;
    } place[] = {{"chat_template.jinja", thinking_template},
                 {"chat_template.json", text},
                 {"tokenizer_config.json", text},
                 {"tokenizer_config.json", text_named}};
    folder_write_text(dir, "config.json", hub_2b);
    for (size_t i = 0; i < sizeof place / sizeof *place; i++) {
        folder_write_text(dir, place[i].file, place[i].text);
        struct qvl_config c = load_good(dir);
        assert_true(c.is_thinking);
        assert_same_double(c.generation.sampling.temperature, 0.6f);
        assert_same_double(c.generation.sampling.top_p, 0.95f);
        assert_int_equal(c.generation.sampling.top_k, 20);
        assert_same_double(c.generation.sampling.presence_penalty, 0);
        folder_remove(dir, place[i].file);
    }
    folder_write_text(dir, "chat_template.jinja", instruct_template); /* before all others */
    folder_write_text(dir, "chat_template.json", text);
    assert_false(load_good(dir).is_thinking);
    free(text);
    free(text_named);
    json_decref(json);
    json_decref(named);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_open, folder_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_value),
        cmocka_unit_test(reads_the_marks),
        cmocka_unit_test(reads_what_transformers_5_writes),
        cmocka_unit_test(both_spellings_are_equal),
        cmocka_unit_test(reads_yarn),
        cmocka_unit_test(refuses_each_value_out_of_range),
        cmocka_unit_test(accepts_the_edges),
        cmocka_unit_test(refuses_every_truncation),
        cmocka_unit_test(refuses_depth),
        cmocka_unit_test(survives_failing_allocations),
        IN_FOLDER(takes_family_defaults),
        IN_FOLDER(both_processor_layouts_are_equal),
        IN_FOLDER(reads_min_and_max_pixels),
        IN_FOLDER(refuses_bad_siblings),
        IN_FOLDER(refuses_unreadable_files),
        IN_FOLDER(reads_generation),
        IN_FOLDER(decides_thinking_from_the_template),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <stdio.h>
#include <unistd.h>

#include "base/bytes.h"
#include "helper.h"

static const struct qvl_config tiny = {
    .text = {.hidden = 48,
             .n_layer = 4,
             .n_head = 4,
             .n_kv_head = 2,
             .head_dim = 16,
             .intermediate = 88,
             .vocab = 150,
             .max_position = 4096,
             .rms_norm_eps = 1e-6f,
             .rope = {.type = QVL_ROPE_DEFAULT, .theta = 5e6, .section = {4, 2, 2}},
             .is_tied = true},
    .vision = {.hidden = 40,
               .n_layer = 4,
               .n_head = 2,
               .head_dim = 20,
               .intermediate = 72,
               .out_hidden = 48,
               .in_channels = 3,
               .patch = 16,
               .temporal_patch = 2,
               .merge = 2,
               .n_position = 49,
               .position_side = 7,
               .n_tap = 2,
               .tap_layer = {1, 2}},
};

struct writer {
    struct qvl_bytes header, data;
    struct qvl_error err;
    enum qvl_dtype dtype;
    uint32_t n_tensor;
};

/* One number in the checkpoint's type. Whatever that is, the file holds the same numbers: 8 bits of mantissa, which
 * each type has, and nothing below the smallest normal half. */
static void add_value(struct writer *w, float value)
{
    uint32_t bits, magnitude;
    memcpy(&bits, &value, sizeof bits);
    magnitude = bits & 0x7fff0000;
    if (magnitude < 0x38800000) /* 2^-14 */
        magnitude = 0;
    bits = (bits & 0x80000000) | magnitude;
    uint16_t half = (uint16_t)(bits >> 16);
    if (w->dtype == QVL_F16)
        half = (uint16_t)(bits >> 16 & 0x8000) | (uint16_t)(magnitude ? (magnitude - 0x38000000) >> 13 : 0);
    const void *from = w->dtype == QVL_F32 ? (const void *)&bits : (const void *)&half;
    assert_int_equal(qvl_bytes_add(&w->data, from, qvl_dtype_bytes(w->dtype), &w->err), QVL_OK);
}

/* A matrix [rows, columns] with values of the size that keeps activations near one; a vector where columns is 0:
 * `mean` plus a little. */
static void add_tensor(struct writer *w, const char *name, uint32_t rows, uint32_t columns, float mean)
{
    size_t n = (size_t)rows * (columns ? columns : 1), begin = w->data.n;
    float scale = columns ? 2.5f / (float)(columns > 100 ? 40 : 12) : 0.2f;
    for (size_t i = 0; i < n; i++) {
        float unit = (float)(test_hash((uint32_t)i + 7919u * w->n_tensor) >> 8) / 16777216.0f - 0.5f;
        add_value(w, mean + scale * unit);
    }
    static const char *const type_name[] = {[QVL_F32] = "F32", [QVL_BF16] = "BF16", [QVL_F16] = "F16"};
    char shape[64];
    if (strstr(name, "patch_embed.proj.weight"))
        snprintf(shape, sizeof shape, "%u,3,2,16,16", rows);
    else if (columns)
        snprintf(shape, sizeof shape, "%u,%u", rows, columns);
    else
        snprintf(shape, sizeof shape, "%u", rows);
    assert_int_equal(qvl_bytes_add_format(&w->header, &w->err,
                                          "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                                          w->n_tensor++ ? "," : "{", name, type_name[w->dtype], shape,
                                          begin, w->data.n),
                     QVL_OK);
}

static void add_linear(struct writer *w, const char *prefix, const char *name, uint32_t n_out, uint32_t n_in,
                       bool has_bias)
{
    char full[128];
    snprintf(full, sizeof full, "%s%s.weight", prefix, name);
    add_tensor(w, full, n_out, n_in, 0.0f);
    snprintf(full, sizeof full, "%s%s.bias", prefix, name);
    if (has_bias)
        add_tensor(w, full, n_out, 0, 0.0f);
}

static void add_norm(struct writer *w, const char *prefix, const char *name, uint32_t n, bool has_bias)
{
    char full[128];
    snprintf(full, sizeof full, "%s%s.weight", prefix, name);
    add_tensor(w, full, n, 0, 1.0f);
    snprintf(full, sizeof full, "%s%s.bias", prefix, name);
    if (has_bias)
        add_tensor(w, full, n, 0, 0.0f);
}

static void add_vision(struct writer *w)
{
    const struct qvl_vision_config *v = &tiny.vision;
    uint32_t merged = 4 * v->hidden;
    char p[64];
    add_linear(w, "model.visual.", "patch_embed.proj", v->hidden, 1536, true);
    add_tensor(w, "model.visual.pos_embed.weight", v->n_position, v->hidden, 0.0f);
    for (uint32_t i = 0; i < v->n_layer; i++) {
        snprintf(p, sizeof p, "model.visual.blocks.%u.", i);
        add_norm(w, p, "norm1", v->hidden, true);
        add_norm(w, p, "norm2", v->hidden, true);
        add_linear(w, p, "attn.qkv", 3 * v->hidden, v->hidden, true);
        add_linear(w, p, "attn.proj", v->hidden, v->hidden, true);
        add_linear(w, p, "mlp.linear_fc1", v->intermediate, v->hidden, true);
        add_linear(w, p, "mlp.linear_fc2", v->hidden, v->intermediate, true);
    }
    for (uint32_t i = 0; i <= v->n_tap; i++) {
        snprintf(p, sizeof p, "model.visual.deepstack_merger_list.%u.", i);
        const char *prefix = i == v->n_tap ? "model.visual.merger." : p;
        add_norm(w, prefix, "norm", i == v->n_tap ? v->hidden : merged, true);
        add_linear(w, prefix, "linear_fc1", merged, merged, true);
        add_linear(w, prefix, "linear_fc2", v->out_hidden, merged, true);
    }
}

static void add_text(struct writer *w)
{
    const struct qvl_text_config *t = &tiny.text;
    uint32_t n_q = t->n_head * t->head_dim, n_kv = t->n_kv_head * t->head_dim;
    char p[64];
    add_tensor(w, "model.language_model.embed_tokens.weight", t->vocab, t->hidden, 0.0f);
    add_norm(w, "model.language_model.", "norm", t->hidden, false);
    for (uint32_t i = 0; i < t->n_layer; i++) {
        snprintf(p, sizeof p, "model.language_model.layers.%u.", i);
        add_norm(w, p, "input_layernorm", t->hidden, false);
        add_norm(w, p, "post_attention_layernorm", t->hidden, false);
        add_norm(w, p, "self_attn.q_norm", t->head_dim, false);
        add_norm(w, p, "self_attn.k_norm", t->head_dim, false);
        add_linear(w, p, "self_attn.q_proj", n_q, t->hidden, false);
        add_linear(w, p, "self_attn.k_proj", n_kv, t->hidden, false);
        add_linear(w, p, "self_attn.v_proj", n_kv, t->hidden, false);
        add_linear(w, p, "self_attn.o_proj", t->hidden, n_q, false);
        add_linear(w, p, "mlp.gate_proj", t->intermediate, t->hidden, false);
        add_linear(w, p, "mlp.up_proj", t->intermediate, t->hidden, false);
        add_linear(w, p, "mlp.down_proj", t->hidden, t->intermediate, false);
    }
}

static void write_file(struct writer *w, const char *path)
{
    add_vision(w);
    add_text(w);
    assert_int_equal(qvl_bytes_add_text(&w->header, "}", &w->err), QVL_OK);
    while (w->header.n % 8)
        assert_int_equal(qvl_bytes_add_text(&w->header, " ", &w->err), QVL_OK);
    uint64_t n = w->header.n;
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(&n, sizeof n, 1, file), 1);
    assert_int_equal(fwrite(w->header.data, 1, w->header.n, file), w->header.n);
    assert_int_equal(fwrite(w->data.data, 1, w->data.n, file), w->data.n);
    assert_int_equal(fclose(file), 0);
}

void test_model_open(enum qvl_isa isa, enum qvl_dtype weights, enum qvl_compute compute, enum qvl_kv_type kv,
                     uint32_t n_thread, struct test_model *out)
{
    struct writer w = {.dtype = weights};
    struct qvl_error err = {0};
    const char *tmp = getenv("TMPDIR");
    char dir[512], path[600];
    snprintf(dir, sizeof dir, "%s/qvl-tiny-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    write_file(&w, path);
    enum qvl_status status = qvl_pool_open(n_thread, &out->pool, &err);
    if (!status)
        status = qvl_weights_open(dir, &tiny, &out->weights, &err);
    if (!status)
        status = qvl_weights_map(out->weights, &err);
    if (!status)
        status = qvl_model_bind(&tiny, out->weights, qvl_kernels_of(isa), out->pool, compute, kv, &out->model,
                                &err);
    unlink(path);
    rmdir(dir);
    qvl_bytes_free(&w.header);
    qvl_bytes_free(&w.data);
    if (status)
        fail_msg("%s", err.text);
}

void test_model_close(struct test_model *t)
{
    qvl_model_free(&t->model);
    qvl_weights_close(t->weights);
    qvl_pool_close(t->pool);
}

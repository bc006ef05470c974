/* A tiny model in two GGUF files, written here tensor by tensor: in every form in which its numbers may stand there
 * they come back exactly, and files that are not what they say are refused with a sentence. Names and shapes of the
 * table are those of the reference (reference_tiny.c); those in the files, llama.cpp's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "folder.h"
#include "load/config.h"
#include "load/convert_keys.h"
#include "load/quantize.h"
#include "load/stored.h"

/* ---- numbers ------------------------------------------------------------------------------------- */

static const float values[8] = {0, 0.5f, 1, 1.5f, -0.5f, -1, -1.5f, 2};
static const uint16_t values_f16[8] = {0, 0x3800, 0x3c00, 0x3e00, 0xb800, 0xbc00, 0xbe00, 0x4000};

/* Which of them is element i, row-major, of the table's tensor. */
static unsigned which(const struct qvl_tensor *t, size_t i)
{
    uint32_t h =
        (uint32_t)(i * 2654435761u) ^ (uint32_t)(strlen(t->name) * 40503u) ^ (uint32_t)t->name[strlen(t->name) / 2];
    return (h ^ h >> 15) * 2246822519u >> 29;
}

static void put_values(struct qvl_bytes *out, uint32_t type, const unsigned *v, size_t n)
{
    struct qvl_error err;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &values[v[i]], sizeof bits);
        uint16_t half = type == QVL_GGML_F16 ? values_f16[v[i]] : (uint16_t)(bits >> 16);
        int8_t q = (int8_t)(values[v[i]] * 2);
        if (type == QVL_GGML_Q8_0 && i % 32 == 0)
            assert_int_equal(qvl_bytes_add(out, &values_f16[1], 2, &err), QVL_OK); /* the scale, 0.5 */
        const void *from = type == QVL_GGML_F32    ? (void *)&bits
                           : type == QVL_GGML_Q8_0 ? (void *)&q
                                                   : (void *)&half;
        assert_int_equal(qvl_bytes_add(out, from,
                                       type == QVL_GGML_F32    ? 4
                                       : type == QVL_GGML_Q8_0 ? 1
                                                               : 2,
                                       &err),
                         QVL_OK);
    }
    while (out->n % QVL_GGUF_ALIGNMENT)
        assert_int_equal(qvl_bytes_add(out, "", 1, &err), QVL_OK);
}

/* ---- files --------------------------------------------------------------------------------------- */

struct pair {
    uint32_t type, vector_type; /* F16 where rows are no whole blocks */
    bool is_apart;              /* q, k and v of the tower */
    bool is_both;               /* the whole of them behind k and v */
    struct qvl_config config;
    struct qvl_gguf_out head[2];
    struct qvl_bytes data[2];
};

static void add_one(struct pair *p, enum qvl_gguf_file file, const char *name, uint32_t n_dim, const uint64_t *dim,
                    const unsigned *v)
{
    struct qvl_error err = {0};
    uint32_t n_block = 1, n_bytes, type = n_dim == 1 ? p->vector_type : p->type;
    size_t n = 1;
    for (uint32_t i = 0; i < n_dim; i++)
        n *= (size_t)dim[i];
    qvl_ggml_type_block(type, &n_block, &n_bytes);
    if (dim[n_dim - 1] % n_block || (n_dim == 4 && n_block > 1))
        type = QVL_GGML_F16;
    uint64_t begin = 0;
    if (qvl_gguf_add_tensor(&p->head[file], name, type, n_dim, dim, &begin, &err))
        fail_msg("%s", err.text);
    assert_int_equal(begin, p->data[file].n);
    put_values(&p->data[file], type, v, n);
}

static void add_frames(struct pair *p, const struct qvl_tensor *t, const char *name, const unsigned *v)
{
    char second[160];
    const uint64_t dim[] = {t->dim[0], t->dim[1], t->dim[3], t->dim[4]};
    size_t n_pixel = (size_t)(dim[2] * dim[3]), n_kernel = (size_t)(dim[0] * dim[1]);
    unsigned *frame = malloc(n_kernel * n_pixel * sizeof *frame);
    snprintf(second, sizeof second, "%s.1", name);
    for (size_t i_frame = 0; i_frame < 2; i_frame++) {
        for (size_t k = 0; k < n_kernel; k++)
            memcpy(frame + k * n_pixel, v + (2 * k + i_frame) * n_pixel, n_pixel * sizeof *frame);
        add_one(p, QVL_GGUF_MMPROJ, i_frame ? second : name, 4, dim, frame);
    }
    free(frame);
}

static void add_tensor(struct pair *p, const struct qvl_tensor *t)
{
    char name[128];
    enum qvl_gguf_file file;
    unsigned *v = malloc((size_t)t->n_element * sizeof *v);
    for (size_t i = 0; i < t->n_element; i++)
        v[i] = which(t, i);
    assert_true(qvl_gguf_name_of(&p->config, t->name, &file, name, sizeof name));
    char *qkv = strstr(name, "attn_qkv.");
    if (t->n_dim == 5) {
        add_frames(p, t, name, v);
    } else if (qkv && p->is_apart) {
        for (size_t k = p->is_both; k < 3; k++) {
            char part[128];
            const uint64_t dim[] = {t->dim[0] / 3, t->dim[1]};
            snprintf(part, sizeof part, "%.*sattn_%c.%s", (int)(qkv - name), name, "qkv"[k],
                     qkv + strlen("attn_qkv."));
            add_one(p, file, part, t->n_dim, dim, v + k * (size_t)t->n_element / 3);
        }
    }
    if (t->n_dim < 5 && !(qkv && p->is_apart && !p->is_both))
        add_one(p, file, name, t->n_dim, t->dim, v);
    free(v);
}

static void add_tokens(struct pair *p)
{
    struct qvl_error err = {0};
    const struct qvl_config *c = &p->config;
    const char *const name[] = {"<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"};
    const uint32_t id[] = {c->image_token, c->video_token, c->vision_start_token, c->vision_end_token};
    qvl_gguf_add_array(&p->head[QVL_GGUF_TEXT], "tokenizer.ggml.tokens", QVL_GGUF_STRING, c->text.vocab, &err);
    for (uint32_t i = 0; i < c->text.vocab; i++) {
        char text[32];
        snprintf(text, sizeof text, "t%u", i);
        for (size_t k = 0; k < 4; k++)
            if (id[k] == i)
                snprintf(text, sizeof text, "%s", name[k]);
        qvl_gguf_put_string(&p->head[QVL_GGUF_TEXT], text, strlen(text), &err);
    }
    assert_int_equal(err.status, QVL_OK);
}

/* Types and forms are set, the rest is zero. */
static void make_pair(struct pair *p)
{
    struct qvl_arena arena = {0};
    struct qvl_error err = {0};
    struct qvl_tensor *table;
    size_t n = 0;
    const struct qvl_convert_label label = {.name = "tiny", .n_name = 4, .n_parameter = 1000};
    if (qvl_config_parse(reference_tiny_config, strlen(reference_tiny_config), "tiny", &p->config, &err) ||
        qvl_weights_expect(&p->config, &arena, &table, &n, &err) ||
        qvl_convert_add_keys(&p->config, &label, QVL_GGUF_TEXT, &p->head[0], &err) ||
        qvl_convert_add_keys(&p->config, &label, QVL_GGUF_MMPROJ, &p->head[1], &err))
        fail_msg("%s", err.text);
    add_tokens(p);
    for (size_t i = 0; i < n; i++)
        add_tensor(p, &table[i]);
    qvl_arena_free(&arena);
}

/* The first place in the header of `from` becomes `to`, as long. */
struct change {
    enum qvl_gguf_file file;
    const char *from, *to;
    size_t n;
};

static void write_pair(const char *dir, struct pair *p, const struct change *change)
{
    static const char *const name[] = {"tiny.gguf", "mmproj-tiny.gguf"};
    for (int i = 0; i < 2; i++) {
        struct qvl_bytes file = {0};
        struct qvl_error err = {0};
        if (qvl_gguf_header(&p->head[i], &file, &err))
            fail_msg("%s", err.text);
        size_t n_header = file.n;
        assert_int_equal(qvl_bytes_add(&file, p->data[i].data, p->data[i].n, &err), QVL_OK);
        if (change && (int)change->file == i) {
            char *at = memmem(file.data, n_header, change->from, change->n);
            if (!at)
                fail_msg("no \"%s\" to change", change->from);
            memcpy(at, change->to, change->n);
        }
        folder_write(dir, name[i], file.data, file.n);
        qvl_bytes_free(&file);
    }
}

static void free_pair(struct pair *p)
{
    for (int i = 0; i < 2; i++) {
        qvl_gguf_out_free(&p->head[i]);
        qvl_bytes_free(&p->data[i]);
    }
}

/* ---- tests --------------------------------------------------------------------------------------- */

static void check_numbers(const struct qvl_weights *w)
{
    for (size_t i = 0; i < qvl_weights_n_tensor(w); i++) {
        const struct qvl_tensor *t = qvl_weights_at(w, i);
        float *row = malloc((size_t)t->n_element * sizeof *row);
        assert_non_null(row);
        qvl_stored_rows(t, 0, (size_t)t->dim[0], row);
        for (size_t k = 0; k < t->n_element; k++)
            if (row[k] != values[which(t, k)])
                fail_msg("%s[%zu] is %g, expected %g", t->name, k, (double)row[k], (double)values[which(t, k)]);
        free(row);
    }
}

static void check_form(const char *dir, uint32_t type, bool is_apart)
{
    struct pair p = {.type = type, .is_apart = is_apart};
    struct qvl_config c;
    struct qvl_weights *w = NULL;
    struct qvl_error err = {0};
    make_pair(&p);
    write_pair(dir, &p, NULL);
    if (qvl_config_load(dir, &c, &err) || qvl_weights_open(dir, &c, &w, &err) || qvl_weights_map(w, &err))
        fail_msg("type %s: %s", qvl_ggml_type_name(type), err.text);
    assert_int_equal(qvl_weights_n_tensor(w), n_reference_tiny_tensor);
    check_numbers(w);
    const struct qvl_tensor *q = qvl_weights_find(w, "model.language_model.layers.1.self_attn.q_proj.weight");
    const struct qvl_tensor *qkv = qvl_weights_find(w, "model.visual.blocks.2.attn.qkv.weight");
    const struct qvl_tensor *patch = qvl_weights_find(w, "model.visual.patch_embed.proj.weight");
    bool is_plain = type == QVL_GGML_F32 || type == QVL_GGML_F16 || type == QVL_GGML_BF16;
    assert_int_equal(q->dtype == QVL_STORED, !is_plain);
    assert_int_equal(qkv->dtype == QVL_STORED, is_apart); /* rows of 48 have no whole blocks */
    assert_int_equal(patch->stored->format, QVL_STORED_PATCH_KERNELS);
    qvl_weights_let_go(w, q);
    qvl_weights_let_go(w, qkv);
    qvl_weights_let_go(w, patch);
    check_numbers(w); /* and they are read again */
    qvl_weights_close(w);
    free_pair(&p);
}

static void reads_every_form(void **state)
{
    static const uint32_t types[] = {QVL_GGML_F32, QVL_GGML_F16, QVL_GGML_BF16, QVL_GGML_Q8_0};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        for (int is_apart = 0; is_apart < 2; is_apart++)
            check_form(*state, types[i], is_apart);
}

/* What the keys say is what config.json says; what they cannot is the family's. */
static void reads_the_config(void **state)
{
    struct pair p = {.type = QVL_GGML_F16};
    struct qvl_config c;
    struct qvl_error err = {0};
    make_pair(&p);
    write_pair(*state, &p, NULL);
    if (qvl_config_load(*state, &c, &err))
        fail_msg("%s", err.text);
    assert_int_equal(c.text.hidden, 64);
    assert_int_equal(c.text.head_dim, 32);
    assert_int_equal(c.text.n_layer, 2);
    assert_int_equal(c.text.vocab, p.config.text.vocab);
    assert_int_equal(c.text.is_tied, p.config.text.is_tied);
    assert_true(c.text.rope.theta == 5e6);
    assert_memory_equal(c.text.rope.section, p.config.text.rope.section, sizeof c.text.rope.section);
    assert_memory_equal(&c.vision, &p.config.vision, sizeof c.vision);
    assert_int_equal(c.image_token, p.config.image_token);
    assert_int_equal(c.vision_end_token, p.config.vision_end_token);
    assert_int_equal(c.image.max_pixels, 16777216);
    assert_int_equal(c.video.max_frames, 768);
    assert_false(c.is_thinking);
    free_pair(&p);
}

#define U32(name) name "\4\0\0\0"
#define CHANGE(file, from, to)                                                                                     \
    {                                                                                                              \
        file, from, to, sizeof from - 1                                                                            \
    }

static void refuses(void **state)
{
    static const struct {
        struct change change;
        const char *sentence;
    } bad[] = {
        /* what they are */
        {CHANGE(QVL_GGUF_TEXT, "\7\0\0\0\0\0\0\0qwen3vl", "\7\0\0\0\0\0\0\0qwen2vl"),
         "general.architecture is qwen2vl, qvl runs qwen3vl only"},
        {CHANGE(QVL_GGUF_TEXT, "general.architecture", "general.architektur."), "has no key general.architecture"},
        {CHANGE(QVL_GGUF_MMPROJ, "\4\0\0\0\0\0\0\0clip", "\4\0\0\0\0\0\0\0clap"), "not a vision tower"},
        {CHANGE(QVL_GGUF_MMPROJ, "qwen3vl_merger", "qwen2vl_merger"), "a vision tower of another family"},
        {CHANGE(QVL_GGUF_MMPROJ, "clip.use_gelu", "clip.use_silu"), "has no key clip.use_gelu"},
        /* sizes: config.json's ranges and relations */
        {CHANGE(QVL_GGUF_TEXT, "qwen3vl.block_count", "qwen3vl.bloc__count"),
         "text_config.num_hidden_layers is missing"},
        {CHANGE(QVL_GGUF_TEXT, U32("qwen3vl.block_count") "\2\0\0\0", U32("qwen3vl.block_count") "\0\0\0\0"),
         "text_config.num_hidden_layers is 0, expected an integer from 1 to 200"},
        {CHANGE(QVL_GGUF_TEXT, U32("qwen3vl.attention.head_count") "\4\0\0\0",
                U32("qwen3vl.attention.head_count") "\3\0\0\0"),
         "num_attention_heads 3 is not a multiple of num_key_value_heads 2"},
        {CHANGE(QVL_GGUF_TEXT, "qwen3vl.attention.value_length\4\0\0\0\x20",
                "qwen3vl.attention.value_length\4\0\0\0\x10"),
         "qwen3vl.attention.value_length is 16, expected 32 to 32"},
        {CHANGE(QVL_GGUF_TEXT, "qwen3vl.rope.freq_base\6\0\0\0", "qwen3vl.rope.freq_base\5\0\0\0"),
         "text_config.rope_theta is 125"},
        {CHANGE(QVL_GGUF_TEXT, "qwen3vl.rope.dimension_sections", "qwen3vl.rope.dimension_sektions"),
         "qwen3vl.rope.dimension_sections is not a list of 3 numbers"},
        {CHANGE(QVL_GGUF_TEXT, "<|video_pad|>", "<|audio_pad|>"), "has no token <|video_pad|>"},
        {CHANGE(QVL_GGUF_TEXT, "tokenizer.ggml.tokens", "tokenizer.ggml.tokenz"),
         "tokenizer.ggml.tokens is not a list of texts"},
        {CHANGE(QVL_GGUF_MMPROJ, "clip.vision.projection_dim\4\0\0\0\x40",
                "clip.vision.projection_dim\4\0\0\0\x20"),
         "vision_config.out_hidden_size is 32, expected text_config.hidden_size, 64"},
        {CHANGE(QVL_GGUF_MMPROJ, "clip.vision.is_deepstack_layers", "clip.vision.is_deepstack_layer_"),
         "clip.vision.is_deepstack_layers is not a list of booleans"},
        {CHANGE(QVL_GGUF_TEXT, "qwen3vl.n_deepstack_layers\4\0\0\0", "qwen3vl.n_deepstack_layers\0\0\0\0"), NULL},
        /* tensors */
        {CHANGE(QVL_GGUF_TEXT, "blk.1.ffn_up.weight", "blk.1.ffn_xx.weight"),
         "1 missing: model.language_model.layers.1.mlp.up_proj.weight; 1 not asked for: blk.1.ffn_xx.weight"},
        {CHANGE(QVL_GGUF_MMPROJ, "v.blk.1.ln1.bias", "v.blk.9.ln1.bias"), "1 not asked for: v.blk.9.ln1.bias"},
        {CHANGE(QVL_GGUF_MMPROJ, "v.patch_embd.weight.1", "v.patch_embd.weight.2"), "1 not asked for"},
        {CHANGE(QVL_GGUF_MMPROJ, "v.blk.0.attn_out.weight\2\0\0\0\x30", "v.blk.0.attn_out.weight\2\0\0\0\x31"),
         NULL},
    };
    struct pair p = {.type = QVL_GGML_F16};
    make_pair(&p);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct qvl_config c;
        struct qvl_weights *w = NULL;
        struct qvl_error err = {0};
        write_pair(*state, &p, &bad[i].change);
        if (!qvl_config_load(*state, &c, &err) && !qvl_weights_open(*state, &c, &w, &err))
            fail_msg("\"%s\" for \"%s\" is accepted", bad[i].change.to, bad[i].change.from);
        if (bad[i].sentence && !strstr(err.text, bad[i].sentence))
            fail_msg("\"%s\" does not say \"%s\"", err.text, bad[i].sentence);
    }
    free_pair(&p);
}

static void refuses_half_a_model(void **state)
{
    struct pair p = {.type = QVL_GGML_F16};
    struct qvl_config c;
    struct qvl_error err = {0};
    make_pair(&p);
    write_pair(*state, &p, NULL);
    char swapped[512];
    snprintf(swapped, sizeof swapped, "%s/mmproj-tiny.gguf", (const char *)*state);
    assert_int_equal(qvl_config_load(swapped, &c, &err), QVL_ERR_MODEL);
    assert_non_null(strstr(err.text, "name the text model's file instead"));
    folder_remove(*state, "mmproj-tiny.gguf");
    assert_int_equal(qvl_config_load(*state, &c, &err), QVL_ERR_FILE);
    assert_non_null(strstr(err.text, "is not beside it"));
    free_pair(&p);
}

static void refuses_a_part_of_a_file_in_parts(void **state)
{
    struct pair p = {.type = QVL_GGML_F16};
    struct qvl_config c;
    struct qvl_error err = {0};
    make_pair(&p);
    assert_int_equal(qvl_gguf_add_number(&p.head[0], "split.count", QVL_GGUF_U16, 2, &err), QVL_OK);
    write_pair(*state, &p, NULL);
    assert_int_equal(qvl_config_load(*state, &c, &err), QVL_ERR_MODEL);
    assert_non_null(strstr(err.text, "the first of 2 parts"));
    free_pair(&p);
}

static void check_refused(const char *dir, struct pair *p, const char *sentence)
{
    struct qvl_config c;
    struct qvl_weights *w = NULL;
    struct qvl_error err = {0};
    make_pair(p);
    write_pair(dir, p, NULL);
    assert_int_equal(qvl_config_load(dir, &c, &err), QVL_OK);
    assert_int_equal(qvl_weights_open(dir, &c, &w, &err), QVL_ERR_MODEL);
    if (!strstr(err.text, sentence))
        fail_msg("\"%s\" does not say \"%s\"", err.text, sentence);
    free_pair(p);
}

/* Nobody writes that, and a vector has no rows by which they could be read. */
static void refuses_vectors_in_blocks(void **state)
{
    struct pair p = {.type = QVL_GGML_F16, .vector_type = QVL_GGML_Q8_0};
    check_refused(*state, &p, "blk.0.attn_norm.weight is in blocks, expected F32, F16 or BF16");
}

static void refuses_parts_beside_the_whole(void **state)
{
    struct pair p = {.type = QVL_GGML_F16, .is_apart = true, .is_both = true};
    check_refused(*state, &p, "v.blk.0.attn_qkv.weight is there twice");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_every_form, folder_open, folder_close),
        cmocka_unit_test_setup_teardown(reads_the_config, folder_open, folder_close),
        cmocka_unit_test_setup_teardown(refuses, folder_open, folder_close),
        cmocka_unit_test_setup_teardown(refuses_vectors_in_blocks, folder_open, folder_close),
        cmocka_unit_test_setup_teardown(refuses_parts_beside_the_whole, folder_open, folder_close),
        cmocka_unit_test_setup_teardown(refuses_half_a_model, folder_open, folder_close),
        cmocka_unit_test_setup_teardown(refuses_a_part_of_a_file_in_parts, folder_open, folder_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

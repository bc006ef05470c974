/* `qvl convert` without the program and without a tokenizer: numbers narrow to the bytes of the Python package
 * gguf; the header reads back as it was written; the two files of a tiny model hold its tensors, its vectors in f32
 * and its patch kernel apart; what goes wrong leaves nothing. */
#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "folder.h"
#include "load/convert.h"
#include "load/ggml_narrow.h"
#include "load/gguf_names.h"
#include "load/quantize.h"
#include "load/safetensors.h"
#include "load/stored.h"
#include "../../lib/sha256.h"

/* ---- numbers ----------------------------------------------------------------------------------------- */

struct narrow_vector {
    enum qvl_ggml_type type;
    size_t n_bytes;
    const char *sha256;
};

#include "ggml_narrow_vectors.h"

enum { N_NUMBER = 65536, BLOCK = 32, N_VECTOR = sizeof narrow_vectors / sizeof *narrow_vectors };

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* What reference/ggml_narrow_vectors.py makes. */
static float number(uint32_t i)
{
    uint32_t v = i, block = i / BLOCK;
    v ^= v >> 16;
    v *= 0x7FEB352Du;
    v ^= v >> 15;
    v *= 0x846CA68Bu;
    v ^= v >> 16;
    if (i >= N_NUMBER - BLOCK)
        return 0;
    switch (block % 8) {
    case 0: return i % BLOCK == 0 ? 127.0f : ((float)(v % 255) - 127.0f) / 2; /* ties of Q8_0 */
    case 1: return (float)(v % 4096) * 0x1p-25f;                              /* of F16, subnormal */
    case 2: return float_of(v & 0xBFFF8000u);                                 /* of BF16 */
    case 3: return float_of(0x3F800000u | (v & 0x807FF000u));                 /* of F16 */
    default: return ldexpf((float)(int32_t)v, -(int)(block % 56));
    }
}

static void numbers_narrow_as_llama_cpp_narrows_them(void **state)
{
    float *x = malloc(N_NUMBER * sizeof *x);
    uint8_t *out = malloc(N_NUMBER * sizeof *x);
    (void)state;
    for (uint32_t i = 0; i < N_NUMBER; i++)
        x[i] = number(i);
    for (size_t i = 0; i < N_VECTOR; i++) {
        const struct narrow_vector *v = &narrow_vectors[i];
        char hex[65];
        qvl_ggml_narrow(v->type, x, N_NUMBER, out);
        assert_int_equal(qvl_gguf_row_bytes(v->type, N_NUMBER), v->n_bytes);
        sha256_hex(out, v->n_bytes, hex);
        assert_string_equal(hex, v->sha256);
    }
    free(x);
    free(out);
}

/* The largest that is said to have room has it, and the next one has not. */
static void the_largest_of_a_type(void **state)
{
    static const enum qvl_ggml_type types[] = {QVL_GGML_F16, QVL_GGML_BF16};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        float largest = qvl_ggml_largest(types[i]), x[2] = {largest, nextafterf(largest, INFINITY)}, back[2];
        uint16_t out[2];
        qvl_ggml_narrow(types[i], x, 2, out);
        qvl_ggml_widen(types[i], out, 2, back);
        assert_true(isfinite(back[0]));
        assert_false(isfinite(back[1]));
    }
}

/* A scale by which nothing can be divided is 0 as F16, and so are the numbers, whatever casts a processor has. */
static void tiny_numbers_become_zeros(void **state)
{
    static const uint8_t zeros[2 + BLOCK] = {0};
    float x[BLOCK];
    uint8_t out[2 + BLOCK];
    (void)state;
    for (int exponent = -149; exponent <= -122; exponent++) {
        for (int i = 0; i < BLOCK; i++)
            x[i] = i % 3 ? ldexpf(i % 2 ? 1 : -1, exponent) : 0;
        memset(out, 0x55, sizeof out);
        qvl_ggml_narrow(QVL_GGML_Q8_0, x, BLOCK, out);
        assert_memory_equal(out, zeros, sizeof zeros);
    }
}

/* ---- the header -------------------------------------------------------------------------------------- */

static void a_header_reads_back(void **state)
{
    static const uint64_t vector[] = {5}, matrix[] = {3, 64}, kernel[] = {7, 3, 2, 2};
    static const enum qvl_gguf_kind kinds[] = {QVL_GGUF_U8,  QVL_GGUF_I8,  QVL_GGUF_U16, QVL_GGUF_I16,
                                               QVL_GGUF_U32, QVL_GGUF_I32, QVL_GGUF_U64, QVL_GGUF_I64,
                                               QVL_GGUF_F32, QVL_GGUF_F64};
    struct qvl_gguf_out out = {0};
    struct qvl_bytes header = {0};
    struct qvl_error err = {0};
    struct qvl_arena arena = {0};
    struct qvl_gguf file;
    uint64_t begin[3], at;
    size_t n;
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char name[] = "number.0";
        name[7] = (char)('0' + i);
        assert_int_equal(qvl_gguf_add_number(&out, name, kinds[i], 100.0 + (double)i, &err), QVL_OK);
    }
    assert_int_equal(qvl_gguf_add_number(&out, "yes", QVL_GGUF_BOOL, true, &err), QVL_OK);
    assert_int_equal(qvl_gguf_add_number(&out, "x", QVL_GGUF_STRING, 1, &err), QVL_ERR_INTERNAL);
    out.n_key = sizeof kinds / sizeof *kinds + 1; /* takes the one that failed away again */
    out.keys.n -= 8 + 1 + 4;
    assert_int_equal(qvl_gguf_add_string(&out, "empty", NULL, 0, &err), QVL_OK);
    assert_int_equal(qvl_gguf_add_array(&out, "texts", QVL_GGUF_STRING, 2, &err), QVL_OK);
    assert_int_equal(qvl_gguf_put_string(&out, "one", 3, &err), QVL_OK);
    assert_int_equal(qvl_gguf_put_string(&out, "2", 1, &err), QVL_OK);
    assert_int_equal(qvl_gguf_add_tensor(&out, "vector", QVL_GGML_F32, 1, vector, &begin[0], &err), QVL_OK);
    assert_int_equal(qvl_gguf_add_tensor(&out, "matrix", QVL_GGML_Q8_0, 2, matrix, &begin[1], &err), QVL_OK);
    assert_int_equal(qvl_gguf_add_tensor(&out, "kernel", QVL_GGML_F16, 4, kernel, &begin[2], &err), QVL_OK);
    assert_int_equal(begin[1], 32);                   /* 20 bytes, padded */
    assert_int_equal(begin[2], 32 + 3 * 2 * 34 + 20); /* 204, padded */
    assert_int_equal(qvl_gguf_header(&out, &header, &err), QVL_OK);
    assert_int_equal(header.n % QVL_GGUF_ALIGNMENT, 0);
    if (qvl_gguf_parse((const uint8_t *)header.data, header.n, header.n + out.n_data, "x", &arena, &file, &err))
        fail_msg("%s", err.text);
    assert_int_equal(file.data_at, header.n);
    assert_int_equal(file.n_key, 13);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char name[] = "number.0";
        name[7] = (char)('0' + i);
        const struct qvl_gguf_key *key = qvl_gguf_find(&file, name);
        assert_int_equal(key->kind, kinds[i]);
        assert_true(qvl_gguf_number_at(&file, key, 0) == 100.0 + (double)i);
    }
    assert_int_equal(qvl_gguf_find(&file, "empty")->n, 0);
    at = qvl_gguf_find(&file, "texts")->at;
    assert_memory_equal(qvl_gguf_next_string(&file, &at, &n), "one", 3);
    assert_memory_equal(qvl_gguf_next_string(&file, &at, &n), "2", 1);
    assert_int_equal(file.n_tensor, 3);
    assert_int_equal(file.tensor[2].n_dim, 4);
    assert_memory_equal(file.tensor[2].dim, kernel, sizeof kernel);
    assert_int_equal(file.tensor[1].begin, header.n + begin[1]);
    qvl_gguf_out_free(&out);
    qvl_bytes_free(&header);
    qvl_arena_free(&arena);
}

/* ---- a model ----------------------------------------------------------------------------------------- */

struct place {
    char source[64], out[64], mmproj[80];
};

static struct place make_source(const char *dir)
{
    struct place place;
    snprintf(place.source, sizeof place.source, "%s/source", dir);
    snprintf(place.out, sizeof place.out, "%s/out.gguf", dir);
    snprintf(place.mmproj, sizeof place.mmproj, "%s/mmproj-out.gguf", dir);
    assert_int_equal(mkdir(place.source, 0777), 0);
    folder_write_model(place.source);
    return place;
}

static void remove_folder(const char *path)
{
    void *state = strdup(path);
    assert_int_equal(folder_close(&state), 0);
}

static void remove_files(const struct place *place)
{
    assert_int_equal(remove(place->out), 0);
    assert_int_equal(remove(place->mmproj), 0);
}

static size_t count_files(const char *path)
{
    size_t n = 0;
    DIR *dir = opendir(path);
    assert_non_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n - 2;
}

static enum qvl_status begin(const struct place *place, const struct qvl_converter_options *options,
                             struct qvl_converter **out, struct qvl_error *err)
{
    struct qvl_gguf_out tokenizer = {0};
    struct qvl_config config;
    enum qvl_status status = qvl_config_load(place->source, &config, err);
    if (!status && !(status = qvl_gguf_add_string(&tokenizer, "tokenizer.ggml.model", "gpt2", 4, err)))
        status = qvl_converter_begin(options, &config, &tokenizer, out, err);
    qvl_gguf_out_free(&tokenizer);
    return status;
}

static enum qvl_status convert(const struct place *place, enum qvl_convert_type type, uint32_t n_thread,
                               struct qvl_error *err)
{
    struct qvl_converter *c = NULL;
    bool is_done = false;
    const struct qvl_converter_options options = {
        .model_dir = place->source, .out = place->out, .type = type, .n_thread = n_thread};
    enum qvl_status status = begin(place, &options, &c, err);
    while (!status && !is_done)
        status = qvl_converter_next(c, &is_done, err);
    qvl_converter_close(c);
    return status;
}

/* Refused with a sentence that holds `sentence`, and nothing is there that was not. */
static void refuse(const struct place *place, enum qvl_convert_type type, enum qvl_status status,
                   const char *sentence)
{
    struct qvl_error err = {0};
    char *parent = strndup(place->out, (size_t)(strrchr(place->out, '/') - place->out));
    size_t n = count_files(parent);
    if (convert(place, type, 2, &err) != status || !strstr(err.text, sentence))
        fail_msg("%d \"%s\" does not say %d \"%s\"", (int)err.status, err.text, (int)status, sentence);
    assert_int_equal(count_files(parent), n);
    free(parent);
}

struct written {
    struct qvl_arena arena;
    struct qvl_config config;
    struct qvl_weights *source;
    struct qvl_gguf file[2]; /* by enum qvl_gguf_file */
};

static void open_written(const struct place *place, struct written *w)
{
    struct qvl_error err = {0};
    memset(w, 0, sizeof *w);
    if (qvl_config_load(place->source, &w->config, &err) ||
        qvl_weights_open(place->source, &w->config, &w->source, &err) || qvl_weights_map(w->source, &err) ||
        qvl_gguf_open(place->out, &w->arena, &w->file[QVL_GGUF_TEXT], &err) ||
        qvl_gguf_open(place->mmproj, &w->arena, &w->file[QVL_GGUF_MMPROJ], &err) ||
        qvl_gguf_map(&w->file[QVL_GGUF_TEXT], &err) || qvl_gguf_map(&w->file[QVL_GGUF_MMPROJ], &err))
        fail_msg("%s", err.text);
}

static void close_written(struct written *w)
{
    qvl_gguf_close(&w->file[0]);
    qvl_gguf_close(&w->file[1]);
    qvl_weights_close(w->source);
    qvl_arena_free(&w->arena);
}

static const struct qvl_gguf_tensor *find(const struct qvl_gguf *file, const char *name)
{
    for (size_t i = 0; i < file->n_tensor; i++)
        if (strcmp(file->tensor[i].name, name) == 0)
            return &file->tensor[i];
    fail_msg("%s has no tensor %s", file->path, name);
    return NULL;
}

static void assert_type(const struct qvl_tensor *t, enum qvl_convert_type type, uint32_t got)
{
    bool is_whole = qvl_tensor_n_in(t) % 32 == 0;
    if (t->n_dim == 1 || strcmp(t->name, "model.visual.pos_embed.weight") == 0)
        assert_int_equal(got, QVL_GGML_F32);
    else if (t->n_dim > 2)
        assert_int_equal(got, type == QVL_CONVERT_F16 ? QVL_GGML_F16 : QVL_GGML_F32);
    else if (type == QVL_CONVERT_Q8_0)
        assert_int_equal(got, is_whole ? QVL_GGML_Q8_0 : QVL_GGML_F16);
    else
        assert_int_equal(got, type == QVL_CONVERT_F16 ? QVL_GGML_F16 : QVL_GGML_BF16);
}

/* Both numbers of a bf16 source near 1 are exact in F16, BF16 and F32; in Q8_0 within half a step of the block. */
static void assert_same_numbers(const float *got, const float *want, size_t n, uint32_t type)
{
    for (size_t i = 0; i < n; i++)
        if (fabsf(got[i] - want[i]) > (type == QVL_GGML_Q8_0 ? 2.0f / 127 * 0.51f : 0.0f))
            fail_msg("number %zu is %g, expected %g", i, (double)got[i], (double)want[i]);
}

/* Of [out, 3, 2, p, p] one frame. */
static void take_frame(const struct qvl_tensor *t, const float *from, size_t i_frame, float *to)
{
    size_t n = (size_t)(t->dim[3] * t->dim[4]);
    for (size_t i = 0; i < t->dim[0] * t->dim[1]; i++)
        memcpy(to + i * n, from + (i * t->dim[2] + i_frame) * n, n * sizeof *to);
}

static void check_tensor(const struct written *w, const struct qvl_tensor *t, enum qvl_convert_type type)
{
    size_t n_frame = t->n_dim > 2 ? 2 : 1, n = (size_t)t->n_element / n_frame;
    float *all = malloc(t->n_element * sizeof *all), *want = malloc(n * sizeof *want),
          *got = malloc(n * sizeof *got);
    qvl_stored_rows(t, 0, (size_t)t->dim[0], all);
    for (size_t i = 0; i < n_frame; i++) {
        char name[128];
        enum qvl_gguf_file which = QVL_GGUF_TEXT;
        assert_true(qvl_gguf_name_of(&w->config, t->name, &which, name, sizeof name - 2));
        strcat(name, i ? ".1" : "");
        const struct qvl_gguf_tensor *g = find(&w->file[which], name);
        assert_type(t, type, g->type);
        assert_int_equal(g->n_element, n);
        assert_int_equal(g->dim[0], t->dim[0]);
        assert_int_equal(g->n_dim, t->n_dim > 2 ? 4 : t->n_dim);
        memcpy(want, all, n * sizeof *want);
        if (n_frame > 1)
            take_frame(t, all, i, want);
        qvl_ggml_widen(g->type, w->file[which].map + g->begin, n, got);
        assert_same_numbers(got, want, n, g->type);
    }
    free(all);
    free(want);
    free(got);
}

static void the_files_hold_the_model(void **state)
{
    struct place place = make_source(*state);
    for (enum qvl_convert_type type = QVL_CONVERT_F16; type <= QVL_CONVERT_BF16; type++) {
        struct qvl_error err = {0};
        struct written w;
        if (convert(&place, type, 3, &err))
            fail_msg("%s", err.text);
        assert_int_equal(count_files(*state), 3);
        open_written(&place, &w);
        for (size_t i = 0; i < qvl_weights_n_tensor(w.source); i++)
            check_tensor(&w, qvl_weights_at(w.source, i), type);
        assert_int_equal(w.file[0].n_tensor + w.file[1].n_tensor, qvl_weights_n_tensor(w.source) + 1);
        assert_non_null(qvl_gguf_find(&w.file[QVL_GGUF_TEXT], "tokenizer.ggml.model"));
        assert_null(qvl_gguf_find(&w.file[QVL_GGUF_MMPROJ], "tokenizer.ggml.model"));
        close_written(&w);
        remove_files(&place);
    }
    remove_folder(place.source);
}

/* Numbers of keys that nothing else reads back here. */
static void the_keys_say_the_config(void **state)
{
    struct place place = make_source(*state);
    struct qvl_error err = {0};
    struct written w;
    if (convert(&place, QVL_CONVERT_Q8_0, 1, &err))
        fail_msg("%s", err.text);
    open_written(&place, &w);
    const struct {
        enum qvl_gguf_file file;
        const char *key;
        double value;
    } row[] = {
        {QVL_GGUF_TEXT, "general.file_type", 7},
        {QVL_GGUF_TEXT, "qwen3vl.block_count", w.config.text.n_layer},
        {QVL_GGUF_TEXT, "qwen3vl.embedding_length", w.config.text.hidden},
        {QVL_GGUF_TEXT, "qwen3vl.rope.freq_base", w.config.text.rope.theta},
        {QVL_GGUF_TEXT, "qwen3vl.n_deepstack_layers", w.config.vision.n_tap},
        {QVL_GGUF_MMPROJ, "clip.has_vision_encoder", 1},
        {QVL_GGUF_MMPROJ, "clip.vision.projection_dim", w.config.text.hidden},
        {QVL_GGUF_MMPROJ, "clip.vision.image_size", w.config.vision.position_side * w.config.vision.patch},
        {QVL_GGUF_MMPROJ, "clip.vision.image_max_pixels", (double)w.config.image.max_pixels},
        {QVL_GGUF_MMPROJ, "qvl.video.fps", w.config.video.fps},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        const struct qvl_gguf_key *key = qvl_gguf_find(&w.file[row[i].file], row[i].key);
        if (!key || qvl_gguf_number_at(&w.file[row[i].file], key, 0) != row[i].value)
            fail_msg("%s is not %g", row[i].key, row[i].value);
    }
    const struct qvl_gguf_key *taps = qvl_gguf_find(&w.file[QVL_GGUF_MMPROJ], "clip.vision.is_deepstack_layers");
    assert_int_equal(taps->n, w.config.vision.n_layer);
    for (uint32_t i = 0, tap = 0; i < taps->n; i++) {
        bool is_tap = tap < w.config.vision.n_tap && w.config.vision.tap_layer[tap] == i;
        assert_true(qvl_gguf_number_at(&w.file[QVL_GGUF_MMPROJ], taps, i) == (is_tap ? 1 : 0));
        tap += is_tap;
    }
    close_written(&w);
    remove_files(&place);
    remove_folder(place.source);
}

/* ---- what is refused --------------------------------------------------------------------------------- */

static void bad_wishes(void **state)
{
    struct place place = make_source(*state), gone = place;
    struct qvl_converter *c = NULL;
    struct qvl_error err = {0};
    const struct qvl_converter_options same = {.model_dir = place.source, .out = place.out, .mmproj = place.out};
    assert_int_equal(begin(&place, &same, &c, &err), QVL_ERR_ARGUMENT);
    assert_non_null(strstr(err.text, "two files"));
    folder_write_text(*state, "out.gguf", "x");
    refuse(&place, QVL_CONVERT_F16, QVL_ERR_ARGUMENT, "out.gguf is there already: name a new file");
    folder_remove(*state, "out.gguf");
    folder_write_text(*state, "mmproj-out.gguf", "x");
    refuse(&place, QVL_CONVERT_F16, QVL_ERR_ARGUMENT, "mmproj-out.gguf is there already");
    folder_remove(*state, "mmproj-out.gguf");
    snprintf(gone.out, sizeof gone.out, "%s/no/out.gguf", (const char *)*state);
    assert_int_equal(convert(&gone, QVL_CONVERT_F16, 1, &err), QVL_ERR_FILE);
    assert_non_null(strstr(err.text, "No such file or directory"));
    remove_folder(place.source);
}

/* bf16 bits in the place of one number of a tensor: infinite; and one that only bf16 has room for. */
static void a_bad_weight(void **state)
{
    static const struct {
        const char *name, *bytes;
        enum qvl_convert_type type;
        const char *sentence;
    } row[] = {
        {"model.language_model.layers.1.mlp.up_proj.weight", "\x80\x7f", QVL_CONVERT_BF16,
         "infinite or not a number"},
        {"model.language_model.norm.weight", "\xc0\x7f", QVL_CONVERT_F16, "infinite or not a number"},
        {"model.visual.patch_embed.proj.weight", "\x80\x47", QVL_CONVERT_F16, "too large for F16"},
        {"model.language_model.layers.0.self_attn.o_proj.weight", "\x80\x4b", QVL_CONVERT_Q8_0,
         "too large for Q8_0"},
    };
    struct place place = make_source(*state);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct qvl_error err = {0};
        struct qvl_config config;
        struct qvl_weights *w;
        uint8_t saved[2];
        assert_int_equal(qvl_config_load(place.source, &config, &err), QVL_OK);
        assert_int_equal(qvl_weights_open(place.source, &config, &w, &err), QVL_OK);
        assert_int_equal(qvl_weights_map(w, &err), QVL_OK);
        const uint8_t *data = qvl_weights_find(w, row[i].name)->data;
        long at = (long)(data - qvl_weights_file(w, 0).map) + 14;
        memcpy(saved, data + 14, 2);
        qvl_weights_close(w);
        for (int turn = 0; turn < 2; turn++) {
            FILE *f = fopen(folder_path(place.source, "model.safetensors"), "r+b");
            assert_non_null(f);
            assert_int_equal(fseek(f, at, SEEK_SET), 0);
            assert_int_equal(fwrite(turn ? (const char *)saved : row[i].bytes, 1, 2, f), 2);
            assert_int_equal(fclose(f), 0);
            if (turn)
                break;
            refuse(&place, row[i].type, QVL_ERR_MODEL, row[i].sentence);
            assert_int_equal(convert(&place, row[i].type, 1, &err), QVL_ERR_MODEL);
            assert_non_null(strstr(err.text, row[i].name));
        }
    }
    remove_folder(place.source);
}

/* A file may not grow any more: as on a full disk. */
static void a_full_disk(void **state)
{
    struct place place = make_source(*state);
    struct rlimit old;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    for (rlim_t n_bytes = 0; n_bytes <= 40000; n_bytes += 20000) {
        const struct rlimit small = {n_bytes, old.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        refuse(&place, QVL_CONVERT_F16, QVL_ERR_FILE, "out.gguf: cannot be written: File too large");
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    }
    signal(SIGXFSZ, handler);
    remove_folder(place.source);
}

static void cancelled_anywhere(void **state)
{
    struct place place = make_source(*state);
    const struct qvl_converter_options options = {.model_dir = place.source, .out = place.out, .n_thread = 1};
    for (int n_piece = 0;; n_piece++) {
        struct qvl_converter *c = NULL;
        struct qvl_error err = {0};
        bool is_done = false;
        assert_int_equal(begin(&place, &options, &c, &err), QVL_OK);
        for (int i = 0; i < n_piece && !is_done; i++)
            assert_int_equal(qvl_converter_next(c, &is_done, &err), QVL_OK);
        qvl_converter_cancel(c);
        if (!is_done)
            assert_int_equal(qvl_converter_next(c, &is_done, &err), QVL_ERR_CANCELLED);
        qvl_converter_close(c);
        assert_int_equal(count_files(*state), is_done ? 3 : 1);
        if (is_done)
            break;
    }
    remove_files(&place);
    remove_folder(place.source);
}

/* Another program has put a file there meanwhile: it stays, and the tower's file goes. */
static void a_file_that_comes_meanwhile(void **state)
{
    struct place place = make_source(*state);
    const struct qvl_converter_options options = {.model_dir = place.source, .out = place.out, .n_thread = 1};
    struct qvl_converter *c = NULL;
    struct qvl_error err = {0};
    bool is_done = false;
    assert_int_equal(begin(&place, &options, &c, &err), QVL_OK);
    folder_write_text(*state, "out.gguf", "mine");
    enum qvl_status status = QVL_OK;
    while (!status && !is_done)
        status = qvl_converter_next(c, &is_done, &err);
    assert_int_equal(status, QVL_ERR_FILE);
    assert_non_null(strstr(err.text, "File exists"));
    qvl_converter_close(c);
    assert_int_equal(count_files(*state), 2);
    struct stat st;
    assert_int_equal(stat(place.out, &st), 0);
    assert_int_equal(st.st_size, 4);
    folder_remove(*state, "out.gguf");
    remove_folder(place.source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_narrow_as_llama_cpp_narrows_them),
        cmocka_unit_test(the_largest_of_a_type),
        cmocka_unit_test(tiny_numbers_become_zeros),
        cmocka_unit_test(a_header_reads_back),
        cmocka_unit_test_setup_teardown(the_files_hold_the_model, folder_open, folder_close),
        cmocka_unit_test_setup_teardown(the_keys_say_the_config, folder_open, folder_close),
        cmocka_unit_test_setup_teardown(bad_wishes, folder_open, folder_close),
        cmocka_unit_test_setup_teardown(a_bad_weight, folder_open, folder_close),
        cmocka_unit_test_setup_teardown(a_full_disk, folder_open, folder_close),
        cmocka_unit_test_setup_teardown(cancelled_anywhere, folder_open, folder_close),
        cmocka_unit_test_setup_teardown(a_file_that_comes_meanwhile, folder_open, folder_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

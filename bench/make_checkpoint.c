/* make_checkpoint: writes a checkpoint of published size with random weights, for measuring where the published
 * weights are not at hand:
 *
 *     make_checkpoint --preset 2b|4b|8b|test [--tokenizer DIR] OUT_DIR
 *
 * Layout, names, shapes and JSON spellings are those of the hub (transformers 4.57): the 2B is one file of 625
 * bf16 tensors, 4,255,140,312 bytes; larger ones are shards of at most 5 GB with an index. "test" is nobody's:
 * 260 MB, for tests of what lies on a disk. --tokenizer copies tokenizer.json, vocab.json, merges.txt and
 * tokenizer_config.json from DIR. config.json says "qvl_golden" so that nobody takes the result for a trained
 * model.
 *
 * A value is a function of its tensor's name and its own index only (an integer hash), so any part can be
 * made by itself, and by any number of threads. Matrices and biases are uniform with standard deviation 0.02,
 * the models' own initial one; norm weights lie within 0.05 of 1. Activations and logits stay near 1. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/os.h"
#include "load/weights.h"

#define MAX_SHARD_BYTES 5000000000ull
enum { BLOCK_VALUES = 1 << 18, N_BLOCK = 64 }; /* 512 KiB a job, 32 MiB a write */

/* ---- presets ------------------------------------------------------------------------------------- */

struct preset {
    const char *name;
    unsigned hidden, n_layer, n_head, intermediate;
    bool is_tied;
    unsigned depth, v_hidden, v_intermediate;
    const char *taps;
};

static const struct preset presets[] = {
    {"2b", 2048, 28, 16, 6144, true, 24, 1024, 4096, "5, 11, 17"},
    {"4b", 2560, 36, 32, 9728, true, 24, 1024, 4096, "5, 11, 17"},
    {"test", 256, 4, 16, 24576, true, 4, 256, 1024, "0, 1, 2"},
    {"8b", 4096, 36, 32, 12288, false, 27, 1152, 4304, "8, 16, 24"},
};

static enum qvl_status write_config_text(const struct preset *p, struct qvl_bytes *out, struct qvl_error *err)
{
    const char *tied = p->is_tied ? "true" : "false";
    return qvl_bytes_add_format(
        out, err,
        "{\n"
        "  \"architectures\": [\"Qwen3VLForConditionalGeneration\"],\n"
        "  \"image_token_id\": 151655,\n"
        "  \"model_type\": \"qwen3_vl\",\n"
        "  \"qvl_golden\": true,\n"
        "  \"text_config\": {\n"
        "    \"attention_bias\": false, \"attention_dropout\": 0.0, \"bos_token_id\": 151643,\n"
        "    \"dtype\": \"bfloat16\", \"eos_token_id\": 151645, \"head_dim\": 128, \"hidden_act\": \"silu\",\n"
        "    \"hidden_size\": %u, \"initializer_range\": 0.02, \"intermediate_size\": %u,\n"
        "    \"max_position_embeddings\": 262144, \"model_type\": \"qwen3_vl_text\",\n"
        "    \"num_attention_heads\": %u, \"num_hidden_layers\": %u, \"num_key_value_heads\": 8,\n"
        "    \"rms_norm_eps\": 1e-06,\n"
        "    \"rope_scaling\": {\"mrope_interleaved\": true, \"mrope_section\": [24, 20, 20],\n"
        "                     \"rope_type\": \"default\"},\n"
        "    \"rope_theta\": 5000000, \"tie_word_embeddings\": %s, \"use_cache\": true,\n"
        "    \"vocab_size\": 151936\n"
        "  },\n"
        "  \"tie_word_embeddings\": %s,\n"
        "  \"transformers_version\": \"4.57.0.dev0\",\n"
        "  \"video_token_id\": 151656,\n"
        "  \"vision_config\": {\n"
        "    \"deepstack_visual_indexes\": [%s], \"depth\": %u, \"hidden_act\": \"gelu_pytorch_tanh\",\n"
        "    \"hidden_size\": %u, \"in_channels\": 3, \"initializer_range\": 0.02, \"intermediate_size\": %u,\n"
        "    \"model_type\": \"qwen3_vl\", \"num_heads\": 16, \"num_position_embeddings\": 2304,\n"
        "    \"out_hidden_size\": %u, \"patch_size\": 16, \"spatial_merge_size\": 2, \"temporal_patch_size\": 2\n"
        "  },\n"
        "  \"vision_end_token_id\": 151653,\n"
        "  \"vision_start_token_id\": 151652\n"
        "}\n",
        p->hidden, p->intermediate, p->n_head, p->n_layer, tied, tied, p->taps, p->depth, p->v_hidden,
        p->v_intermediate, p->hidden);
}

static const struct {
    const char *file, *text;
} siblings[] = {
    {"generation_config.json",
     "{\n  \"bos_token_id\": 151643,\n  \"do_sample\": true,\n  \"eos_token_id\": [151645, 151643],\n"
     "  \"pad_token_id\": 151643,\n  \"repetition_penalty\": 1.0,\n  \"temperature\": 0.7,\n  \"top_k\": 20,\n"
     "  \"top_p\": 0.8,\n  \"transformers_version\": \"4.57.0.dev0\"\n}\n"},
    {"preprocessor_config.json",
     "{\n  \"size\": {\"longest_edge\": 16777216, \"shortest_edge\": 65536},\n  \"patch_size\": 16,\n"
     "  \"temporal_patch_size\": 2,\n  \"merge_size\": 2,\n  \"image_mean\": [0.5, 0.5, 0.5],\n"
     "  \"image_std\": [0.5, 0.5, 0.5],\n  \"processor_class\": \"Qwen3VLProcessor\",\n"
     "  \"image_processor_type\": \"Qwen2VLImageProcessorFast\"\n}\n"},
    {"video_preprocessor_config.json",
     "{\n  \"size\": {\"longest_edge\": 25165824, \"shortest_edge\": 4096},\n  \"patch_size\": 16,\n"
     "  \"temporal_patch_size\": 2,\n  \"merge_size\": 2,\n  \"image_mean\": [0.5, 0.5, 0.5],\n"
     "  \"image_std\": [0.5, 0.5, 0.5],\n  \"processor_class\": \"Qwen3VLProcessor\",\n"
     "  \"video_processor_type\": \"Qwen3VLVideoProcessor\"\n}\n"},
};

/* ---- files --------------------------------------------------------------------------------------- */

struct output {
    char path[4096];
    int fd;
};

static enum qvl_status open_output(const char *dir, const char *name, struct output *out, struct qvl_error *err)
{
    int n = snprintf(out->path, sizeof out->path, "%s/%s", dir, name);
    if (n < 0 || (size_t)n >= sizeof out->path)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "the path of the folder is too long");
    out->fd = open(out->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (out->fd < 0)
        return qvl_fail(err, QVL_ERR_FILE, "%s: cannot write: %s", out->path, strerror(errno));
    return QVL_OK;
}

static enum qvl_status write_all(struct output *out, const void *data, size_t n, struct qvl_error *err)
{
    const char *bytes = data;
    while (n > 0) {
        ssize_t done = write(out->fd, bytes, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return qvl_fail(err, QVL_ERR_FILE, "%s: cannot write: %s", out->path, strerror(errno));
        bytes += done;
        n -= (size_t)done;
    }
    return QVL_OK;
}

/* A file that failed is removed: half a checkpoint must not look like one. */
static enum qvl_status close_output(struct output *out, enum qvl_status status, struct qvl_error *err)
{
    if (close(out->fd) != 0 && !status)
        status = qvl_fail(err, QVL_ERR_FILE, "%s: cannot write: %s", out->path, strerror(errno));
    if (status)
        unlink(out->path);
    return status;
}

static enum qvl_status write_file(const char *dir, const char *name, const void *data, size_t n,
                                  struct qvl_error *err)
{
    struct output out = {.fd = -1};
    enum qvl_status status = open_output(dir, name, &out, err);
    return status ? status : close_output(&out, write_all(&out, data, n, err), err);
}

static enum qvl_status copy_tokenizer(const char *from, const char *to, struct qvl_error *err)
{
    static const char *const names[] = {"tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json"};
    enum qvl_status status = QVL_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names && !status; i++) {
        struct qvl_bytes path = {0}, text = {0};
        if (!(status = qvl_bytes_add_format(&path, err, "%s/%s", from, names[i])) &&
            !(status = qvl_os_read_file(path.data, QVL_MAX_TOKENIZER_BYTES, &text, err)))
            status = write_file(to, names[i], text.data, text.n, err);
        qvl_bytes_free(&path);
        qvl_bytes_free(&text);
    }
    return status;
}

static enum qvl_status check_free_space(const char *dir, uint64_t n_bytes, struct qvl_error *err)
{
    struct statvfs fs;
    if (mkdir(dir, 0755) != 0 && errno != EEXIST)
        return qvl_fail(err, QVL_ERR_FILE, "%s: cannot make the folder: %s", dir, strerror(errno));
    if (statvfs(dir, &fs) != 0)
        return qvl_fail(err, QVL_ERR_FILE, "%s: %s", dir, strerror(errno));
    uint64_t n_free = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (n_free < n_bytes)
        return qvl_fail(err, QVL_ERR_FILE, "%s: %.1f GB free, %.1f GB needed", dir, (double)n_free / 1e9,
                        (double)n_bytes / 1e9);
    return QVL_OK;
}

/* ---- values -------------------------------------------------------------------------------------- */

struct fill {
    uint16_t *out; /* [n] bf16 */
    size_t n;
    uint64_t first; /* index of out[0] in the tensor */
    uint32_t seed;
    float center, scale; /* value = center + scale * uniform integer in [-2^31, 2^31) */
};

static uint32_t hash_name(const char *name) /* FNV-1a */
{
    uint32_t h = 2166136261u;
    for (; *name; name++)
        h = (h ^ (uint8_t)*name) * 16777619u;
    return h;
}

static uint32_t mix(uint32_t x) /* finaliser of MurmurHash3 */
{
    x = (x ^ x >> 16) * 0x85ebca6bu;
    x = (x ^ x >> 13) * 0xc2b2ae35u;
    return x ^ x >> 16;
}

static void fill_block(void *arg, size_t i_job, size_t i_thread)
{
    const struct fill *fill = arg;
    size_t begin = i_job * BLOCK_VALUES, end = qvl_min_size(begin + BLOCK_VALUES, fill->n);
    (void)i_thread;
    for (size_t i = begin; i < end; i++) {
        uint32_t index = (uint32_t)(fill->first + i), bits;
        float x = fill->center + fill->scale * (float)(int32_t)mix(index ^ fill->seed);
        memcpy(&bits, &x, sizeof bits);
        fill->out[i] = (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16); /* to nearest even */
    }
}

static enum qvl_status write_tensor(struct output *out, const struct qvl_tensor *t, struct qvl_pool *pool,
                                    uint16_t *buffer, struct qvl_error *err)
{
    const float sqrt_3 = 1.7320508f, unit = 1.0f / 2147483648.0f; /* uniform in [-a, a] has deviation a / sqrt 3 */
    size_t n_name = strlen(t->name);
    bool is_norm_weight = strstr(t->name, "norm") && n_name > 7 && strcmp(t->name + n_name - 7, ".weight") == 0;
    struct fill fill = {.out = buffer,
                        .seed = mix(hash_name(t->name)),
                        .center = is_norm_weight ? 1.0f : 0.0f,
                        .scale = (is_norm_weight ? 0.05f : 0.02f * sqrt_3) * unit};
    enum qvl_status status = QVL_OK;
    for (uint64_t at = 0; at < t->n_element && !status; at += fill.n) {
        fill.first = at;
        fill.n = qvl_min_size((size_t)(t->n_element - at), (size_t)BLOCK_VALUES * N_BLOCK);
        qvl_pool_run(pool, (fill.n + BLOCK_VALUES - 1) / BLOCK_VALUES, fill_block, &fill, NULL);
        status = write_all(out, buffer, fill.n * sizeof *buffer, err);
    }
    return status;
}

/* ---- safetensors --------------------------------------------------------------------------------- */

/* Compact JSON in order of name, padded with spaces to a multiple of 8: the bytes that the library writes. */
static enum qvl_status write_header(struct output *out, const struct qvl_tensor *tensor, size_t n,
                                    struct qvl_error *err)
{
    struct qvl_bytes text = {0};
    uint8_t length[8];
    uint64_t at = 0;
    enum qvl_status status = qvl_bytes_add_text(&text, "{\"__metadata__\":{\"format\":\"pt\"}", err);
    for (size_t i = 0; i < n && !status; i++) {
        const struct qvl_tensor *t = &tensor[i];
        status = qvl_bytes_add_format(&text, err, ",\"%s\":{\"dtype\":\"BF16\",\"shape\":[", t->name);
        for (uint32_t k = 0; k < t->n_dim && !status; k++)
            status = qvl_bytes_add_format(&text, err, "%s%" PRIu64, k ? "," : "", t->dim[k]);
        if (!status)
            status = qvl_bytes_add_format(&text, err, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", at,
                                          at + 2 * t->n_element);
        at += 2 * t->n_element;
    }
    if (!status)
        status = qvl_bytes_add_text(&text, "}", err);
    while (!status && text.n % 8)
        status = qvl_bytes_add_text(&text, " ", err);
    for (size_t i = 0; i < 8; i++)
        length[i] = (uint8_t)((uint64_t)text.n >> 8 * i);
    if (!status && !(status = write_all(out, length, sizeof length, err)))
        status = write_all(out, text.data, text.n, err);
    qvl_bytes_free(&text);
    return status;
}

struct progress {
    uint64_t done, total; /* bytes */
    double start_ms, shown_ms;
};

static enum qvl_status write_shard(const char *dir, const char *name, const struct qvl_tensor *tensor, size_t n,
                                   struct qvl_pool *pool, uint16_t *buffer, struct progress *progress,
                                   struct qvl_error *err)
{
    struct output out = {.fd = -1};
    enum qvl_status status = open_output(dir, name, &out, err);
    if (status)
        return status;
    status = write_header(&out, tensor, n, err);
    for (size_t i = 0; i < n && !status; i++) {
        status = write_tensor(&out, &tensor[i], pool, buffer, err);
        progress->done += 2 * tensor[i].n_element;
        double now_ms = qvl_now_ms();
        if (i + 1 < n && now_ms - progress->shown_ms < 1000)
            continue;
        progress->shown_ms = now_ms;
        fprintf(stderr, "\r%s: %.2f of %.2f GB, %.0f s ", name, (double)progress->done / 1e9,
                (double)progress->total / 1e9, (now_ms - progress->start_ms) / 1e3);
    }
    fprintf(stderr, "\n");
    return close_output(&out, status, err);
}

/* first[i]..first[i + 1] are the tensors of shard i. */
static size_t cut_shards(const struct qvl_tensor *tensor, size_t n, size_t *first)
{
    size_t n_shard = 0;
    uint64_t n_bytes = 0;
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || n_bytes + 2 * tensor[i].n_element > MAX_SHARD_BYTES) {
            first[n_shard++] = i;
            n_bytes = 0;
        }
        n_bytes += 2 * tensor[i].n_element;
    }
    first[n_shard] = n;
    return n_shard;
}

static void name_shard(size_t i, size_t n_shard, char out[64])
{
    if (n_shard == 1)
        snprintf(out, 64, "model.safetensors");
    else
        snprintf(out, 64, "model-%05zu-of-%05zu.safetensors", i + 1, n_shard);
}

static enum qvl_status write_index(const char *dir, const struct qvl_tensor *tensor, const size_t *first,
                                   size_t n_shard, uint64_t n_bytes, struct qvl_error *err)
{
    struct qvl_bytes text = {0};
    char name[64];
    enum qvl_status status = qvl_bytes_add_format(
        &text, err, "{\n  \"metadata\": {\n    \"total_size\": %" PRIu64 "\n  },\n  \"weight_map\": {", n_bytes);
    for (size_t i = 0; i < n_shard && !status; i++) {
        name_shard(i, n_shard, name);
        for (size_t k = first[i]; k < first[i + 1] && !status; k++)
            status = qvl_bytes_add_format(&text, err, "%s\n    \"%s\": \"%s\"", k ? "," : "", tensor[k].name, name);
    }
    if (!status && !(status = qvl_bytes_add_text(&text, "\n  }\n}\n", err)))
        status = write_file(dir, "model.safetensors.index.json", text.data, text.n, err);
    qvl_bytes_free(&text);
    return status;
}

static enum qvl_status write_weights(const char *dir, const struct qvl_config *config, struct qvl_error *err)
{
    struct qvl_arena arena = {0};
    struct qvl_tensor *tensor = NULL;
    struct qvl_pool *pool = NULL;
    size_t n = 0, n_shard = 0, first[QVL_MAX_SHARDS + 1];
    uint64_t n_value = 0;
    char name[64];
    qvl_weights_count(config, &n, &n_value);
    struct progress progress = {.total = 2 * n_value, .start_ms = qvl_now_ms()};
    enum qvl_status status = check_free_space(dir, progress.total + (64 << 20), err);
    if (status || (status = qvl_weights_expect(config, &arena, &tensor, &n, err)) ||
        (status = qvl_pool_open(qvl_os_n_cpu(), &pool, err)))
        goto fail;
    uint16_t *buffer = qvl_arena_alloc(&arena, (size_t)BLOCK_VALUES * N_BLOCK, sizeof *buffer, "values", err);
    if (!buffer) {
        status = err->status;
        goto fail;
    }
    n_shard = cut_shards(tensor, n, first);
    for (size_t i = 0; i < n_shard && !status; i++) {
        name_shard(i, n_shard, name);
        status = write_shard(dir, name, tensor + first[i], first[i + 1] - first[i], pool, buffer, &progress, err);
    }
    if (!status && n_shard > 1)
        status = write_index(dir, tensor, first, n_shard, progress.total, err);
    if (!status)
        fprintf(stderr, "%zu tensors, %" PRIu64 " parameters\n", n, n_value);
fail:
    qvl_pool_close(pool);
    qvl_arena_free(&arena);
    return status;
}

/* ---- program ------------------------------------------------------------------------------------- */

static enum qvl_status make(const struct preset *preset, const char *dir, const char *tokenizer,
                            struct qvl_error *err)
{
    struct qvl_bytes text = {0};
    struct qvl_config config;
    enum qvl_status status = write_config_text(preset, &text, err);
    if (status || (status = qvl_config_parse(text.data, text.n, "config.json", &config, err)) ||
        (status = write_weights(dir, &config, err)) ||
        (tokenizer && (status = copy_tokenizer(tokenizer, dir, err))) ||
        (status = write_file(dir, "config.json", text.data, text.n, err)))
        goto fail;
    for (size_t i = 0; i < sizeof siblings / sizeof *siblings && !status; i++)
        status = write_file(dir, siblings[i].file, siblings[i].text, strlen(siblings[i].text), err);
fail:
    qvl_bytes_free(&text);
    return status;
}

int main(int argc, char **argv)
{
    const char *preset_name = NULL, *tokenizer = NULL, *dir = NULL;
    const struct preset *preset = NULL;
    struct qvl_error err = {0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--preset") == 0 && i + 1 < argc)
            preset_name = argv[++i];
        else if (strcmp(argv[i], "--tokenizer") == 0 && i + 1 < argc)
            tokenizer = argv[++i];
        else if (!dir && argv[i][0] != '-')
            dir = argv[i];
        else
            preset_name = "", dir = "";
    }
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++)
        if (preset_name && strcmp(preset_name, presets[i].name) == 0)
            preset = &presets[i];
    if (!preset || !dir) {
        fprintf(stderr, "usage: %s --preset 2b|4b|8b|test [--tokenizer DIR] OUT_DIR\n", argv[0]);
        return 2;
    }
    if (make(preset, dir, tokenizer, &err)) {
        fprintf(stderr, "make_checkpoint: %s\n", err.text);
        return 1;
    }
    return 0;
}

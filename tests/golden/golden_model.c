/* golden_model.c: in: a letter and the JSON files in tests/golden; out: a checkpoint folder. The scales, and why
 * they are what they are, are told in reference/golden_model.py, `tensors`; every double operation here has its
 * equal there, in the same order, so that the rounded values agree. */
#include "golden_model.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define N_BASE 556   /* ids of the small BPE below the added tokens */
#define UNIT 37837.0 /* standard deviation of the sum of four uniform 16-bit numbers: 65536 / sqrt(3) */
#define MAX_TENSOR 512
#define PATH_BYTES 512

struct tensor {
    char name[96];
    uint64_t dim[5];
    size_t n_dim;
    double std, mean;
    bool is_vocab; /* rows from N_BASE on have a quarter of the deviation: they are not to win */
};

struct plan {
    struct tensor tensor[MAX_TENSOR];
    size_t n;
};

/* ---- hashed values --------------------------------------------------------------------------------- */

static uint64_t splitmix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static uint64_t fnv1a(uint64_t h, const char *text)
{
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 0x100000001B3u;
    return h;
}

static uint16_t to_bf16(double x)
{
    float f = (float)x;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return (uint16_t)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

static uint16_t hashed_value(uint64_t seed, uint64_t i, double scale, double mean)
{
    uint64_t h = splitmix(seed + (i + 1) * 0x9E3779B97F4A7C15u);
    int64_t sum = (int64_t)((h & 0xFFFF) + (h >> 16 & 0xFFFF) + (h >> 32 & 0xFFFF) + (h >> 48)) - 131070;
    return to_bf16(mean + scale * (double)sum);
}

void golden_picture(uint32_t seed, uint32_t h, uint32_t w, uint8_t *rgb)
{
    for (uint64_t y = 0; y < h; y++) {
        for (uint64_t x = 0; x < w; x++) {
            for (uint64_t c = 0; c < 3; c++) {
                uint64_t block = ((y >> 3) * 4096 + (x >> 3)) * 3 + c;
                uint64_t shade = splitmix(seed * 0x9E3779B97F4A7C15u + block) >> 57;
                *rgb++ = (uint8_t)(((x * (c + 2) + y * (3 - c)) & 127) + shade);
            }
        }
    }
}

/* ---- the tensors of a config ----------------------------------------------------------------------- */

static uint64_t n_element(const struct tensor *t)
{
    uint64_t n = 1;
    for (size_t i = 0; i < t->n_dim; i++)
        n *= t->dim[i];
    return n;
}

/* dim1 0: a vector. */
__attribute__((format(printf, 6, 7))) static struct tensor *add(struct plan *plan, uint64_t dim0, uint64_t dim1,
                                                                double std, double mean, const char *format, ...)
{
    struct tensor *t = &plan->tensor[plan->n++];
    va_list args;
    va_start(args, format);
    vsnprintf(t->name, sizeof t->name, format, args);
    va_end(args);
    t->dim[0] = dim0;
    t->dim[1] = dim1;
    t->n_dim = dim1 ? 2 : 1;
    t->std = std;
    t->mean = mean;
    return t;
}

static double over_sqrt(double gain, uint64_t n)
{
    return gain / sqrt((double)n);
}

static void add_text_layer(struct plan *plan, unsigned i, uint64_t d, uint64_t head, uint64_t n_head, uint64_t n_kv,
                           uint64_t inner)
{
    const char *p = "model.language_model.layers";
    add(plan, d, 0, 0.2, 1.0, "%s.%u.input_layernorm.weight", p, i);
    add(plan, n_head * head, d, over_sqrt(1.0, d), 0, "%s.%u.self_attn.q_proj.weight", p, i);
    add(plan, n_kv * head, d, over_sqrt(1.0, d), 0, "%s.%u.self_attn.k_proj.weight", p, i);
    add(plan, n_kv * head, d, over_sqrt(1.0, d), 0, "%s.%u.self_attn.v_proj.weight", p, i);
    add(plan, d, n_head * head, over_sqrt(0.5, n_head * head), 0, "%s.%u.self_attn.o_proj.weight", p, i);
    add(plan, head, 0, 0.2, 1.3, "%s.%u.self_attn.q_norm.weight", p, i);
    add(plan, head, 0, 0.2, 1.3, "%s.%u.self_attn.k_norm.weight", p, i);
    add(plan, d, 0, 0.2, 1.0, "%s.%u.post_attention_layernorm.weight", p, i);
    add(plan, inner, d, over_sqrt(1.5, d), 0, "%s.%u.mlp.gate_proj.weight", p, i);
    add(plan, inner, d, over_sqrt(1.0, d), 0, "%s.%u.mlp.up_proj.weight", p, i);
    add(plan, d, inner, over_sqrt(0.5, inner), 0, "%s.%u.mlp.down_proj.weight", p, i);
}

static void add_layer_norm(struct plan *plan, const char *name, uint64_t n)
{
    add(plan, n, 0, 0.2, 1.0, "%s.weight", name);
    add(plan, n, 0, 0.1, 0, "%s.bias", name);
}

static void add_linear(struct plan *plan, const char *name, uint64_t n_out, uint64_t n_in, double gain,
                       double bias_std, double bias_mean)
{
    add(plan, n_out, n_in, over_sqrt(gain, n_in), 0, "%s.weight", name);
    add(plan, n_out, 0, bias_std, bias_mean, "%s.bias", name);
}

static void add_vision_block(struct plan *plan, unsigned i, uint64_t e, uint64_t inner)
{
    static const char *const part[] = {"norm1",     "norm2",          "attn.qkv",
                                       "attn.proj", "mlp.linear_fc1", "mlp.linear_fc2"};
    char name[6][64];
    for (size_t k = 0; k < 6; k++)
        snprintf(name[k], sizeof name[k], "model.visual.blocks.%u.%s", i, part[k]);
    add_layer_norm(plan, name[0], e);
    add_layer_norm(plan, name[1], e);
    add_linear(plan, name[2], 3 * e, e, 1.3, 0.2, 0);
    add_linear(plan, name[3], e, e, 0.5, 0.05, 0);
    add_linear(plan, name[4], inner, e, 1.0, 0.3, -2.4);
    add_linear(plan, name[5], e, inner, 3.0, 0.05, 0);
}

static void add_merger(struct plan *plan, const char *prefix, uint64_t n_norm, uint64_t merged, uint64_t n_out)
{
    static const char *const part[] = {"norm", "linear_fc1", "linear_fc2"};
    char name[3][64];
    for (size_t k = 0; k < 3; k++)
        snprintf(name[k], sizeof name[k], "model.visual.%s.%s", prefix, part[k]);
    add_layer_norm(plan, name[0], n_norm);
    add_linear(plan, name[1], merged, merged, 1.0, 0.3, -2.4);
    add_linear(plan, name[2], n_out, merged, 3.0, 0.05, 0);
}

static uint64_t number(const json_t *object, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(object, key));
}

static void plan_text(struct plan *plan, const json_t *config)
{
    const json_t *text = json_object_get(config, "text_config");
    uint64_t d = number(text, "hidden_size"), vocab = number(text, "vocab_size");
    add(plan, vocab, d, 0.05, 0, "model.language_model.embed_tokens.weight")->is_vocab = true;
    for (unsigned i = 0; i < number(text, "num_hidden_layers"); i++)
        add_text_layer(plan, i, d, number(text, "head_dim"), number(text, "num_attention_heads"),
                       number(text, "num_key_value_heads"), number(text, "intermediate_size"));
    add(plan, d, 0, 0.5, over_sqrt(80.0, d), "model.language_model.norm.weight");
    if (!json_is_true(json_object_get(config, "tie_word_embeddings")))
        add(plan, vocab, d, 0.05, 0, "lm_head.weight")->is_vocab = true;
}

static void plan_vision(struct plan *plan, const json_t *config)
{
    const json_t *vision = json_object_get(config, "vision_config");
    uint64_t e = number(vision, "hidden_size"), merge = number(vision, "spatial_merge_size");
    uint64_t patch = number(vision, "patch_size"), n_out = number(vision, "out_hidden_size");
    uint64_t kernel[] = {e, number(vision, "in_channels"), number(vision, "temporal_patch_size"), patch, patch};
    uint64_t patch_len = kernel[1] * kernel[2] * patch * patch, merged = e * merge * merge;

    struct tensor *proj =
        add(plan, e, patch_len, over_sqrt(0.05, patch_len), 0, "model.visual.patch_embed.proj.weight");
    memcpy(proj->dim, kernel, sizeof kernel);
    proj->n_dim = 5;
    add(plan, e, 0, 0.03, 0, "model.visual.patch_embed.proj.bias");
    add(plan, number(vision, "num_position_embeddings"), e, 0.03, 0, "model.visual.pos_embed.weight");
    for (unsigned i = 0; i < number(vision, "depth"); i++)
        add_vision_block(plan, i, e, number(vision, "intermediate_size"));
    add_merger(plan, "merger", e, merged, n_out);
    for (size_t i = 0; i < json_array_size(json_object_get(vision, "deepstack_visual_indexes")); i++) {
        char prefix[64];
        snprintf(prefix, sizeof prefix, "deepstack_merger_list.%u", (unsigned)i);
        add_merger(plan, prefix, merged, merged, n_out);
    }
}

/* ---- files ------------------------------------------------------------------------------------------ */

static bool complain(const char *path)
{
    fprintf(stderr, "golden model: %s: %s\n", path, strerror(errno));
    return false;
}

static FILE *open_in(const char *dir, const char *name, const char *mode)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, mode);
    if (!f)
        complain(path);
    return f;
}

static bool close_written(FILE *f, const char *name)
{
    bool is_good = !ferror(f);
    if (fclose(f) != 0 || !is_good)
        return complain(name);
    return true;
}

static bool copy_file(const char *from_dir, const char *to_dir, const char *name)
{
    char buffer[65536];
    FILE *from = open_in(from_dir, name, "rb");
    FILE *to = from ? open_in(to_dir, name, "wb") : NULL;
    bool is_good = to != NULL;
    for (size_t n; is_good && (n = fread(buffer, 1, sizeof buffer, from)) > 0;)
        is_good = fwrite(buffer, 1, n, to) == n;
    if (to)
        is_good = close_written(to, name) && is_good;
    if (from)
        fclose(from);
    return is_good;
}

static bool copy_all(const char *from_dir, const char *to_dir)
{
    DIR *dir = opendir(from_dir);
    if (!dir)
        return complain(from_dir);
    bool is_good = true;
    for (struct dirent *entry; is_good && (entry = readdir(dir)) != NULL;)
        if (entry->d_name[0] != '.')
            is_good = copy_file(from_dir, to_dir, entry->d_name);
    closedir(dir);
    return is_good;
}

static void write_values(FILE *f, char letter, const struct tensor *t)
{
    char prefix[] = {letter, '/', 0};
    uint64_t seed = fnv1a(fnv1a(0xCBF29CE484222325u, prefix), t->name), n = n_element(t);
    uint64_t i_small = t->is_vocab ? N_BASE * t->dim[1] : n;
    double scale = t->std / UNIT;
    uint16_t chunk[4096];
    for (uint64_t i = 0; i < n;) {
        size_t n_chunk = 0;
        for (; i < n && n_chunk < 4096; i++, n_chunk++)
            chunk[n_chunk] = hashed_value(seed, i, i < i_small ? scale : scale * 0.25, t->mean);
        fwrite(chunk, sizeof *chunk, n_chunk, f);
    }
}

/* One safetensors file: 8 bytes of header length, JSON padded with blanks to a multiple of 8, data. */
static bool write_shard(const char *dir, const char *name, char letter, const struct tensor *t, size_t n,
                        uint64_t *total)
{
    char *header = NULL;
    size_t n_header = 0;
    uint64_t offset = 0;
    FILE *text = open_memstream(&header, &n_header);
    fprintf(text, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = 0; i < n; i++) {
        uint64_t end = offset + 2 * n_element(&t[i]);
        fprintf(text, ",\"%s\":{\"dtype\":\"BF16\",\"shape\":[", t[i].name);
        for (size_t k = 0; k < t[i].n_dim; k++)
            fprintf(text, "%s%llu", k ? "," : "", (unsigned long long)t[i].dim[k]);
        fprintf(text, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)offset, (unsigned long long)end);
        offset = end;
    }
    fputc('}', text);
    fflush(text);
    fprintf(text, "%*s", (int)((8 - n_header % 8) % 8), "");
    fclose(text);

    FILE *f = open_in(dir, name, "wb");
    if (f) {
        uint64_t length = n_header;
        fwrite(&length, sizeof length, 1, f);
        fwrite(header, 1, n_header, f);
        for (size_t i = 0; i < n; i++)
            write_values(f, letter, &t[i]);
    }
    free(header);
    *total += offset;
    return f && close_written(f, name);
}

static bool write_weights(const char *dir, char letter, const struct plan *plan)
{
    uint64_t total = 0;
    size_t n_shard = letter == 'c' ? 3 : 1;
    if (n_shard == 1)
        return write_shard(dir, "model.safetensors", letter, plan->tensor, plan->n, &total);

    char *map = NULL, name[64];
    size_t n_map = 0;
    FILE *text = open_memstream(&map, &n_map);
    bool is_good = true;
    for (size_t i = 0; i < n_shard && is_good; i++) {
        size_t begin = plan->n * i / n_shard, end = plan->n * (i + 1) / n_shard;
        snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", i + 1, n_shard);
        is_good = write_shard(dir, name, letter, plan->tensor + begin, end - begin, &total);
        for (size_t k = begin; k < end; k++)
            fprintf(text, "%s    \"%s\": \"%s\"", k ? ",\n" : "", plan->tensor[k].name, name);
    }
    fclose(text);
    FILE *f = is_good ? open_in(dir, "model.safetensors.index.json", "wb") : NULL;
    if (f)
        fprintf(f, "{\n  \"metadata\": {\n    \"total_size\": %llu\n  },\n  \"weight_map\": {\n%s\n  }\n}\n",
                (unsigned long long)total, map);
    free(map);
    return f && close_written(f, "model.safetensors.index.json");
}

bool golden_model_write(const char *golden_dir, char letter, const char *out_dir)
{
    char source[PATH_BYTES];
    snprintf(source, sizeof source, "%s/models/%c", golden_dir, letter);
    if (mkdir(out_dir, 0777) != 0 && errno != EEXIST)
        return complain(out_dir);
    if (!copy_all(source, out_dir) || !copy_file(golden_dir, out_dir, "tokenizer.json"))
        return false;

    char path[PATH_BYTES + 16];
    snprintf(path, sizeof path, "%s/config.json", source);
    json_error_t fault;
    json_t *config = json_load_file(path, 0, &fault);
    if (!config) {
        fprintf(stderr, "golden model: %s: %s\n", path, fault.text);
        return false;
    }
    struct plan *plan = calloc(1, sizeof *plan);
    bool is_good = plan != NULL;
    if (is_good) {
        plan_text(plan, config);
        plan_vision(plan, config);
        is_good = write_weights(out_dir, letter, plan);
    }
    free(plan);
    json_decref(config);
    return is_good;
}

/* foreign_model.c: in: a golden model's folder and a case of foreign.safetensors; out: a folder whose quantised
 * matrices are drawn, part by part, by the hash of reference/foreign_vectors.py. */
#include "foreign_model.h"

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden_run.h"

#define FNV_BEGIN 0xCBF29CE484222325u

/* ---- the vectors ----------------------------------------------------------------------------------- */

void foreign_vectors_open(struct foreign_vectors *out)
{
    char path[512];
    size_t n;
    uint64_t n_header;
    json_error_t fault;
    snprintf(path, sizeof path, "%s/foreign.safetensors", golden_dir());
    out->bytes = golden_read_file(path, &n);
    memcpy(&n_header, out->bytes, sizeof n_header);
    out->header = json_loadb(out->bytes + 8, (size_t)n_header, 0, &fault);
    assert_non_null(out->header);
    out->data = out->bytes + 8 + n_header;
    const json_t *text = json_object_get(json_object_get(out->header, "__metadata__"), "cases");
    out->cases = json_loads(json_string_value(text), 0, &fault);
    assert_non_null(out->cases);
}

void foreign_vectors_close(struct foreign_vectors *vectors)
{
    json_decref(vectors->cases);
    json_decref(vectors->header);
    free(vectors->bytes);
}

const float *foreign_vectors_logits(const struct foreign_vectors *vectors, const char *test_case)
{
    char name[80];
    snprintf(name, sizeof name, "%s.logits", test_case);
    const json_t *offsets = json_object_get(json_object_get(vectors->header, name), "data_offsets");
    assert_non_null(offsets);
    return (const void *)(vectors->data + json_integer_value(json_array_get(offsets, 0)));
}

/* ---- hashed values --------------------------------------------------------------------------------- */

static uint64_t splitmix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static uint64_t seed_of(const char *test_case, const char *name)
{
    uint64_t h = FNV_BEGIN;
    const char *const text[] = {test_case, "/", name};
    for (size_t i = 0; i < 3; i++)
        for (const char *p = text[i]; *p; p++)
            h = (h ^ (unsigned char)*p) * 0x100000001B3u;
    return h;
}

static uint64_t hashed(uint64_t seed, uint64_t i)
{
    return splitmix(seed + (i + 1) * 0x9E3779B97F4A7C15u);
}

/* ---- a file as a list of tensors ------------------------------------------------------------------------- */

struct part {
    char name[128];
    const char *dtype;
    uint64_t dim[5];
    size_t n_dim, n_element, n_bytes;
    uint8_t *data;
};

struct parts {
    struct part part[2048];
    size_t n;
};

static struct part *add(struct parts *parts, const char *stem, const char *ending, const char *dtype, size_t n_dim,
                        uint64_t dim0, uint64_t dim1)
{
    assert_true(parts->n < sizeof parts->part / sizeof *parts->part);
    struct part *part = &parts->part[parts->n++];
    size_t n_byte = strcmp(dtype, "I64") == 0                                ? 8
                    : strcmp(dtype, "I32") == 0 || strcmp(dtype, "F32") == 0 ? 4
                    : strstr(dtype, "16")                                    ? 2
                                                                             : 1;
    *part = (struct part){.dtype = dtype, .n_dim = n_dim, .dim = {dim0, dim1}};
    snprintf(part->name, sizeof part->name, "%s%s", stem, ending);
    part->n_element = n_dim == 0 ? 1 : n_dim == 1 ? dim0 : dim0 * dim1;
    part->n_bytes = part->n_element * n_byte;
    part->data = malloc(part->n_bytes);
    assert_non_null(part->data);
    return part;
}

static void put(struct part *part, size_t i, uint64_t value)
{
    size_t n_byte = part->n_bytes / part->n_element;
    memcpy(part->data + i * n_byte, &value, n_byte);
}

static void draw(const char *test_case, struct part *part, uint64_t mask)
{
    uint64_t seed = seed_of(test_case, part->name);
    for (size_t i = 0; i < part->n_element; i++)
        put(part, i, hashed(seed, i) & mask);
}

/* ---- the parts of a matrix --------------------------------------------------------------------------------- */

struct how {
    const char *kind, *zero, *scale, *extra;
    uint64_t bits, rows, group;
    bool has_order;
};

static struct how how_of(const json_t *json)
{
    return (struct how){.kind = json_string_value(json_object_get(json, "kind")),
                        .zero = json_string_value(json_object_get(json, "zero")),
                        .scale = json_string_value(json_object_get(json, "scale")),
                        .extra = json_string_value(json_object_get(json, "extra")),
                        .bits = (uint64_t)json_integer_value(json_object_get(json, "bits")),
                        .rows = (uint64_t)json_integer_value(json_object_get(json, "rows")),
                        .group = (uint64_t)json_integer_value(json_object_get(json, "group")),
                        .has_order = json_is_true(json_object_get(json, "order"))};
}

static bool is_kind(const struct how *how, const char *kind)
{
    return strcmp(how->kind, kind) == 0;
}

static bool is_by_column(const struct how *how)
{
    return is_kind(how, "awq") || strncmp(how->kind, "gptq", 4) == 0;
}

static uint64_t div_up(uint64_t n, uint64_t n_part)
{
    return (n + n_part - 1) / n_part;
}

static uint64_t words(const struct how *how, uint64_t n)
{
    return div_up(n * how->bits, 32);
}

static void add_weight(struct parts *parts, const char *test_case, const struct how *how, const char *stem,
                       uint64_t n_out, uint64_t n_in)
{
    if (is_kind(how, "awq"))
        draw(test_case, add(parts, stem, "qweight", "I32", 2, n_in, words(how, n_out)), UINT32_MAX);
    else if (is_by_column(how))
        draw(test_case, add(parts, stem, "qweight", "I32", 2, words(how, n_in), n_out), UINT32_MAX);
    else if (is_kind(how, "packed"))
        draw(test_case, add(parts, stem, "weight_packed", "I32", 2, n_out, words(how, n_in)), UINT32_MAX);
    else if (is_kind(how, "int"))
        draw(test_case, add(parts, stem, "weight", "I8", 2, n_out, n_in), 0xFF);
    else
        draw(test_case, add(parts, stem, "weight", "F8_E4M3", 2, n_out, n_in), 0xBF);
}

static void add_zero(struct parts *parts, const char *test_case, const struct how *how, const char *stem,
                     uint64_t n_out, uint64_t n_line, uint64_t n_group)
{
    if (is_kind(how, "int")) {
        draw(test_case, add(parts, stem, "weight_zero_point", "I8", how->rows ? 2 : 1, n_line, n_group), 0x1F);
        return;
    }
    struct part *zero = is_by_column(how)
                            ? add(parts, stem, "qzeros", "I32", 2, n_group, words(how, n_out))
                            : add(parts, stem, "weight_zero_point", "I32", 2, words(how, n_out), n_group);
    draw(test_case, zero, UINT32_MAX);
    for (size_t i = 0; strcmp(how->zero, "middle") == 0 && i < zero->n_element; i++)
        put(zero, i, 0x77777777);
}

static void add_scale(struct parts *parts, const char *test_case, const struct how *how, const char *stem,
                      uint64_t n_out, uint64_t n_line, uint64_t n_group)
{
    unsigned n_bit = strcmp(how->scale, "F32") == 0 ? 23 : strcmp(how->scale, "F16") == 0 ? 10 : 7;
    uint64_t bias = n_bit == 10 ? 15 : 127;
    uint64_t exponent = is_kind(how, "float") || is_kind(how, "fp8") ? 4 : how->bits + 3;
    const char *ending = is_by_column(how) ? "scales" : is_kind(how, "fp8") ? "weight_scale_inv" : "weight_scale";
    struct part *scale = is_by_column(how) ? add(parts, stem, ending, how->scale, 2, n_group, n_out)
                         : how->rows       ? add(parts, stem, ending, how->scale, 2, n_line, n_group)
                         : n_bit == 23     ? add(parts, stem, ending, how->scale, 1, 1, 0)
                                           : add(parts, stem, ending, how->scale, 0, 0, 0);
    uint64_t seed = seed_of(test_case, scale->name);
    for (size_t i = 0; i < scale->n_element; i++)
        put(scale, i, (hashed(seed, i) >> 32 & ((1u << n_bit) - 1)) + ((bias - exponent) << n_bit));
}

static void add_matrix(struct parts *parts, const char *test_case, const struct how *how, const char *stem,
                       uint64_t n_out, uint64_t n_in)
{
    uint64_t n_group = how->group ? div_up(n_in, how->group) : 1, n_line = how->rows ? div_up(n_out, how->rows) : 1;
    add_weight(parts, test_case, how, stem, n_out, n_in);
    if (how->zero)
        add_zero(parts, test_case, how, stem, n_out, n_line, n_group);
    add_scale(parts, test_case, how, stem, n_out, n_line, n_group);
    if (how->has_order || is_kind(how, "gptq")) {
        struct part *order = add(parts, stem, is_by_column(how) ? "g_idx" : "weight_g_idx", "I32", 1, n_in, 0);
        for (uint64_t i = 0; i < n_in; i++)
            put(order, i, (how->has_order ? (i * 5 + 3) % n_in : i) / (how->group ? how->group : n_in));
    }
    if (is_kind(how, "packed")) {
        struct part *shape = add(parts, stem, "weight_shape", "I64", 1, 2, 0);
        put(shape, 0, n_out);
        put(shape, 1, n_in);
    }
    if (how->extra)
        put(add(parts, stem, how->extra, "F32", 0, 0, 0), 0, 0x3F800000);
}

/* ---- the folder ------------------------------------------------------------------------------------------------
 */

bool foreign_model_has(const struct foreign_vectors *vectors, const char *test_case, const char *name, size_t n_dim)
{
    size_t n = strlen(name);
    const char *ending = n > 12 ? name + n - 12 : name;
    if (strstr(name, ".layers.") && strcmp(ending, "_proj.weight") == 0)
        return true;
    return json_is_true(json_object_get(json_object_get(vectors->cases, test_case), "has_vision")) &&
           strstr(name, ".visual.") && strcmp(name + n - 7, ".weight") == 0 && n_dim == 2 &&
           !strstr(name, "pos_embed");
}

static void copy_part(struct parts *parts, const char *name, const json_t *entry, const char *data)
{
    const json_t *shape = json_object_get(entry, "shape"), *offsets = json_object_get(entry, "data_offsets");
    size_t begin = (size_t)json_integer_value(json_array_get(offsets, 0));
    size_t end = (size_t)json_integer_value(json_array_get(offsets, 1));
    struct part *part = add(parts, name, "", "BF16", 1, (end - begin) / 2, 0);
    part->n_dim = json_array_size(shape);
    for (size_t i = 0; i < part->n_dim; i++)
        part->dim[i] = (uint64_t)json_integer_value(json_array_get(shape, i));
    memcpy(part->data, data + begin, end - begin);
}

static FILE *create(const char *dir, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    return f;
}

static void write_parts(const char *dir, const struct parts *parts)
{
    char *header = NULL;
    size_t n_header = 0, offset = 0;
    FILE *text = open_memstream(&header, &n_header);
    fprintf(text, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = 0; i < parts->n; i++) {
        const struct part *part = &parts->part[i];
        fprintf(text, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", part->name, part->dtype);
        for (size_t k = 0; k < part->n_dim; k++)
            fprintf(text, "%s%llu", k ? "," : "", (unsigned long long)part->dim[k]);
        fprintf(text, "],\"data_offsets\":[%zu,%zu]}", offset, offset + part->n_bytes);
        offset += part->n_bytes;
    }
    fputc('}', text);
    fflush(text);
    fprintf(text, "%*s", (int)((8 - n_header % 8) % 8), "");
    fclose(text);
    FILE *f = create(dir, "model.safetensors");
    uint64_t length = n_header;
    fwrite(&length, sizeof length, 1, f);
    fwrite(header, 1, n_header, f);
    for (size_t i = 0; i < parts->n; i++)
        fwrite(parts->part[i].data, 1, parts->part[i].n_bytes, f);
    assert_int_equal(fclose(f), 0);
    free(header);
}

/* config.json gets the case's quantization_config as its first member. */
static void copy_small_files(const char *from_dir, const char *to_dir, const json_t *config)
{
    DIR *dir = opendir(from_dir);
    assert_non_null(dir);
    for (struct dirent *d; (d = readdir(dir)) != NULL;) {
        char path[512];
        size_t n;
        if (d->d_name[0] == '.' || strcmp(d->d_name, "model.safetensors") == 0)
            continue;
        snprintf(path, sizeof path, "%.200s/%.255s", from_dir, d->d_name);
        char *text = golden_read_file(path, &n), *dump = json_dumps(config, 0);
        FILE *f = create(to_dir, d->d_name);
        bool is_config = strcmp(d->d_name, "config.json") == 0;
        if (is_config)
            fprintf(f, "{\"quantization_config\":%s,", dump);
        fwrite(text + is_config, 1, n - is_config, f);
        assert_int_equal(fclose(f), 0);
        free(dump);
        free(text);
    }
    closedir(dir);
}

void foreign_model_write(const struct foreign_vectors *vectors, const char *test_case, const char *out_dir)
{
    const json_t *of_case = json_object_get(vectors->cases, test_case), *hows = json_object_get(of_case, "how");
    const char *from = golden_folder(json_string_value(json_object_get(of_case, "letter"))[0]), *name;
    char path[512], stem[128];
    size_t n;
    uint64_t n_header;
    json_error_t fault;
    json_t *entry;
    copy_small_files(from, out_dir, json_object_get(of_case, "config"));
    snprintf(path, sizeof path, "%s/model.safetensors", from);
    char *bytes = golden_read_file(path, &n);
    memcpy(&n_header, bytes, sizeof n_header);
    json_t *header = json_loadb(bytes + 8, (size_t)n_header, 0, &fault);
    struct parts *parts = calloc(1, sizeof *parts);
    assert_non_null(parts);
    json_object_foreach(header, name, entry)
    {
        const json_t *shape = json_object_get(entry, "shape");
        if (strcmp(name, "__metadata__") == 0)
            continue;
        if (!foreign_model_has(vectors, test_case, name, json_array_size(shape))) {
            copy_part(parts, name, entry, bytes + 8 + n_header);
            continue;
        }
        struct how how = how_of(json_array_get(hows, strstr(name, ".self_attn.") ? 0 : json_array_size(hows) - 1));
        snprintf(stem, sizeof stem, "%.*s", (int)(strlen(name) - strlen("weight")), name);
        add_matrix(parts, test_case, &how, stem, (uint64_t)json_integer_value(json_array_get(shape, 0)),
                   (uint64_t)json_integer_value(json_array_get(shape, 1)));
    }
    write_parts(out_dir, parts);
    for (size_t i = 0; i < parts->n; i++)
        free(parts->part[i].data);
    free(parts);
    json_decref(header);
    free(bytes);
}

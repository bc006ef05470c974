#include "vectors.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

const char *golden_dir(void)
{
    const char *dir = getenv("QVL_GOLDEN");
    return dir ? dir : "tests/golden";
}

char *golden_read_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("%s cannot be opened (run from the project's root, or set QVL_GOLDEN)", path);
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    char *bytes = malloc(*n + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *n, f), *n);
    bytes[*n] = 0;
    fclose(f);
    return bytes;
}

static void read_vector(struct golden_vector *v, const char *name, const json_t *entry, const json_t *meta,
                        const char *data)
{
    const json_t *shape = json_object_get(entry, "shape");
    snprintf(v->name, sizeof v->name, "%s", name);
    v->data = data + json_integer_value(json_array_get(json_object_get(entry, "data_offsets"), 0));
    v->dim[0] = (size_t)json_integer_value(json_array_get(shape, 0));
    v->dim[1] = json_array_size(shape) > 1 ? (size_t)json_integer_value(json_array_get(shape, 1)) : 1;
    const json_t *sizes = json_object_get(meta, name);
    v->is_intermediate = sizes != NULL;
    if (v->is_intermediate) {
        v->n_row = (size_t)json_integer_value(json_object_get(sizes, "rows"));
        v->stride = (size_t)json_integer_value(json_object_get(sizes, "stride"));
        v->max_abs = json_real_value(json_object_get(sizes, "max_abs"));
        assert_int_equal(v->dim[0], (v->n_row + v->stride - 1) / v->stride);
        assert_true(v->max_abs > 0);
    }
}

void golden_vectors_open(char letter, struct golden_vectors *out)
{
    char path[512];
    size_t n;
    snprintf(path, sizeof path, "%s/vectors/%c.safetensors", golden_dir(), letter);
    memset(out, 0, sizeof *out);
    out->bytes = golden_read_file(path, &n);
    uint64_t n_header;
    assert_true(n > sizeof n_header);
    memcpy(&n_header, out->bytes, sizeof n_header);
    assert_true(n_header < n - 8);

    json_error_t fault;
    json_t *header = json_loadb(out->bytes + 8, n_header, 0, &fault);
    json_t *about = json_object_get(json_object_get(header, "__metadata__"), "tensors");
    json_t *meta = json_loads(json_string_value(about), 0, &fault);
    if (!meta)
        fail_msg("%s: %s", path, fault.text);
    out->vector = calloc(json_object_size(header), sizeof *out->vector);
    assert_non_null(out->vector);
    const char *name;
    json_t *entry;
    /* clang-format off */
    json_object_foreach(header, name, entry)
        if (strcmp(name, "__metadata__") != 0)
            read_vector(&out->vector[out->n++], name, entry, meta, out->bytes + 8 + n_header);
    /* clang-format on */
    json_decref(meta);
    json_decref(header);
}

void golden_vectors_close(struct golden_vectors *vectors)
{
    free(vectors->vector);
    free(vectors->bytes);
    memset(vectors, 0, sizeof *vectors);
}

const struct golden_vector *golden_vectors_find(const struct golden_vectors *vectors, const char *test_case,
                                                const char *what)
{
    char name[64];
    snprintf(name, sizeof name, "%s.%s", test_case, what);
    for (size_t i = 0; i < vectors->n; i++)
        if (strcmp(vectors->vector[i].name, name) == 0)
            return &vectors->vector[i];
    return NULL;
}

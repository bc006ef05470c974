/* {"metadata": {…}, "weight_map": {tensor name: file name}}. File names come from outside: they are read as two
 * numbers of a fixed form and written anew, never used as a path. */
#include "load/shard_index.h"

#include <stdio.h>
#include <string.h>

#include "base/limits.h"

void qvl_shard_name(uint32_t i_shard, uint32_t n_shard, char out[QVL_SHARD_NAME_BYTES])
{
    snprintf(out, QVL_SHARD_NAME_BYTES, "model-%05u-of-%05u.safetensors", i_shard % 100000, n_shard % 100000);
}

/* Five digits, or -1. */
static int read_number(const char *digits)
{
    int x = 0;
    for (size_t i = 0; i < 5; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return -1;
        x = x * 10 + (digits[i] - '0');
    }
    return x;
}

static bool read_shard_name(const char *name, uint32_t *i_shard, uint32_t *n_shard)
{
    char again[QVL_SHARD_NAME_BYTES];
    if (!name || strlen(name) != QVL_SHARD_NAME_BYTES - 1)
        return false;
    int i = read_number(name + strlen("model-")), n = read_number(name + strlen("model-00001-of-"));
    if (i < 1 || n < 1 || i > n || (uint32_t)n > QVL_MAX_SHARDS)
        return false;
    *i_shard = (uint32_t)i;
    *n_shard = (uint32_t)n;
    qvl_shard_name(*i_shard, *n_shard, again);
    return strcmp(name, again) == 0;
}

static enum qvl_status check_files(struct qvl_shard_index *index, struct qvl_error *err)
{
    char shown[QVL_JSON_SHOWN_BYTES];
    bool is_seen[QVL_MAX_SHARDS + 1] = {0};
    const char *tensor;
    json_t *file;
    json_object_foreach(index->map, tensor, file)
    {
        uint32_t i = 0, n = 0;
        if (!read_shard_name(json_string_value(file), &i, &n))
            return qvl_fail(err, QVL_ERR_MODEL,
                            "%s: file name %s, expected model-NNNNN-of-NNNNN.safetensors with at most %u files",
                            index->path, qvl_json_show(file, shown), QVL_MAX_SHARDS);
        if (index->n_shard && index->n_shard != n)
            return qvl_fail(err, QVL_ERR_MODEL, "%s: file %u of %u beside files of %u", index->path, i, n,
                            index->n_shard);
        index->n_shard = n;
        is_seen[i] = true;
    }
    for (uint32_t i = 1; i <= index->n_shard; i++)
        if (!is_seen[i])
            return qvl_fail(err, QVL_ERR_MODEL, "%s: no tensor is listed for file %u of %u", index->path, i,
                            index->n_shard);
    return QVL_OK;
}

enum qvl_status qvl_shard_index_parse(json_t *root, const char *path, struct qvl_shard_index *out,
                                      struct qvl_error *err)
{
    struct qvl_shard_index index = {.path = path, .map = json_incref(json_object_get(root, "weight_map"))};
    enum qvl_status status;
    json_decref(root);
    if (json_object_size(index.map) == 0)
        status = qvl_fail(err, QVL_ERR_MODEL, "%s: weight_map is missing or empty", path);
    else
        status = check_files(&index, err);
    if (status)
        json_decref(index.map);
    else
        *out = index;
    return status;
}

enum qvl_status qvl_shard_index_check(struct qvl_shard_index *index, uint32_t i_shard,
                                      const struct qvl_safetensors *file, struct qvl_error *err)
{
    char name[QVL_SHARD_NAME_BYTES], shown[QVL_JSON_SHOWN_BYTES];
    qvl_shard_name(i_shard, index->n_shard, name);
    for (size_t i = 0; i < file->n; i++) {
        const json_t *listed = json_object_get(index->map, file->entry[i].name);
        const char *where = json_string_value(listed);
        if (!where || strcmp(where, name) != 0)
            return qvl_fail(err, QVL_ERR_MODEL, "%s holds tensor %.100s, whose place in the index is %s",
                            file->path, file->entry[i].name, qvl_json_show(listed, shown));
        json_object_del(index->map, file->entry[i].name);
    }
    return QVL_OK;
}

enum qvl_status qvl_shard_index_check_end(const struct qvl_shard_index *index, struct qvl_error *err)
{
    char shown[QVL_JSON_SHOWN_BYTES], shown_file[QVL_JSON_SHOWN_BYTES];
    void *first = json_object_iter(index->map);
    if (!first)
        return QVL_OK;
    json_t *name = json_string(json_object_iter_key(first));
    qvl_json_show(name, shown);
    json_decref(name);
    return qvl_fail(err, QVL_ERR_MODEL, "%s lists %zu tensors that are not in their files, the first: %s in %s",
                    index->path, json_object_size(index->map), shown,
                    qvl_json_show(json_object_iter_value(first), shown_file));
}

void qvl_shard_index_free(struct qvl_shard_index *index)
{
    json_decref(index->map);
    *index = (struct qvl_shard_index){0};
}

#include "hub/look.h"

#include <string.h>
#include <unistd.h>

#include "base/json_tree.h"
#include "base/os.h"
#include "hub/cache.h"
#include "hub/walk.h"

bool qvl_hub_is_family_name(const char *name)
{
    return strcasestr(name, "qwen3-vl") || strcasestr(name, "qwen3vl") || strcasestr(name, "qwen3_vl");
}

static bool has_file(const char *folder, const char *name)
{
    char path[QVL_HUB_PATH_BYTES];
    struct stat st;
    return qvl_hub_path_add(path, folder, name) && stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0;
}

/* ---- a folder as published ------------------------------------------------------------------------ */

struct document {
    struct qvl_bytes text;
    struct qvl_arena arena;
    struct qvl_json_tree tree;
};

static bool read_document(const char *folder, const char *name, size_t max_bytes, struct document *out)
{
    char path[QVL_HUB_PATH_BYTES];
    struct qvl_error why = {0};
    *out = (struct document){0};
    return qvl_hub_path_add(path, folder, name) && qvl_os_read_file(path, max_bytes, &out->text, &why) == QVL_OK &&
           out->text.n > 0 &&
           qvl_json_tree_read(out->text.data, out->text.n, name, QVL_MAX_JSON_VALUES, &out->arena, &out->tree,
                              &why) == QVL_OK;
}

static void free_document(struct document *document)
{
    qvl_json_tree_free(&document->tree);
    qvl_arena_free(&document->arena);
    qvl_bytes_free(&document->text);
}

static bool is_config_of_family(const char *folder)
{
    struct document config;
    bool is_read = read_document(folder, "config.json", QVL_MAX_CONFIG_BYTES, &config);
    const struct qvl_json_node *type = is_read ? qvl_json_member(config.tree.node, "model_type") : NULL;
    bool is_family = type && qvl_json_equals(type, "qwen3_vl");
    free_document(&config);
    return is_family;
}

/* Every file that the index names is there. */
static bool has_shards(const char *folder)
{
    struct document index;
    const struct qvl_json_node *map =
        read_document(folder, "model.safetensors.index.json", QVL_MAX_INDEX_BYTES, &index)
            ? qvl_json_member(index.tree.node, "weight_map")
            : NULL;
    bool has_all = map && map->kind == QVL_JSON_OBJECT && map->n_child > 0;
    const struct qvl_json_node *entry = map ? map + 1 : NULL;
    char last[NAME_MAX + 1] = ""; /* neighbours are mostly in one file */
    for (uint32_t i = 0; has_all && i < map->n_child; i++, entry = qvl_json_next(entry)) {
        if (entry->kind != QVL_JSON_STRING || entry->n >= sizeof last || memchr(entry->utf8, 0, entry->n) ||
            memchr(entry->utf8, '/', entry->n)) {
            has_all = false;
            break;
        }
        if (strlen(last) == entry->n && memcmp(last, entry->utf8, entry->n) == 0)
            continue;
        memcpy(last, entry->utf8, entry->n);
        last[entry->n] = 0;
        has_all = qvl_hub_path_is_inside(last) && has_file(folder, last);
    }
    free_document(&index);
    return has_all;
}

static bool has_tokenizer(const char *folder)
{
    return has_file(folder, "tokenizer.json") ||
           (has_file(folder, "vocab.json") && has_file(folder, "merges.txt") &&
            has_file(folder, "tokenizer_config.json"));
}

/* ---- GGUF ----------------------------------------------------------------------------------------- */

static bool is_gguf(const char *name)
{
    size_t n = strlen(name);
    return n > 5 && strcasecmp(name + n - 5, ".gguf") == 0;
}

/* Of several: Q8_0, since nobody asked for less; else the first by name. */
static bool is_better(const char *name, const char *than)
{
    bool is_q8 = strcasestr(name, "q8_0"), was_q8 = strcasestr(than, "q8_0");
    return !than[0] || (is_q8 != was_q8 ? is_q8 : strcmp(name, than) < 0);
}

/* ---- the folder ----------------------------------------------------------------------------------- */

struct gguf_pair {
    char text[NAME_MAX + 1];
    bool has_mmproj;
};

static bool is_partial(const char *name)
{
    size_t n = strlen(name), n_end = strlen(QVL_HUB_PARTIAL);
    return n > n_end && strcmp(name + n - n_end, QVL_HUB_PARTIAL) == 0;
}

/* A file of the walk counts; links are followed only where they are all that is there of a file. */
static bool count(const struct qvl_hub_walk *walk, bool want_links, uint64_t *n_bytes, int64_t *changed)
{
    struct stat st = walk->st;
    if (want_links && S_ISLNK(st.st_mode) && fstatat(walk->fd, walk->name, &st, 0) != 0)
        return false;
    if (!S_ISREG(st.st_mode) || st.st_size == 0)
        return false;
    uint64_t n_blocks = (uint64_t)st.st_blocks * 512, n_size = (uint64_t)st.st_size;
    bool has_holes = is_partial(walk->name) && n_blocks < n_size; /* others may be compressed */
    *n_bytes += has_holes ? n_blocks : n_size;
    if (*changed < (int64_t)st.st_mtim.tv_sec)
        *changed = (int64_t)st.st_mtim.tv_sec;
    return true;
}

void qvl_hub_measure(const char *folder, uint64_t *n_bytes, int64_t *changed)
{
    struct qvl_hub_walk walk;
    struct qvl_error why = {0};
    *n_bytes = 0;
    *changed = 0;
    if (qvl_hub_walk_open(folder, &walk, &why))
        return;
    while (qvl_hub_walk_next(&walk))
        count(&walk, false, n_bytes, changed);
    qvl_hub_walk_close(&walk);
}

/* All files in it, and the GGUF files directly in it. */
static void look_at_files(const char *folder, struct qvl_hub_look *out, struct gguf_pair *gguf)
{
    struct qvl_hub_walk walk;
    struct qvl_error why = {0};
    if (qvl_hub_walk_open(folder, &walk, &why))
        return;
    while (qvl_hub_walk_next(&walk)) {
        if (!count(&walk, true, &out->n_bytes, &out->changed) || walk.depth > 0 || !is_gguf(walk.name) ||
            !qvl_hub_path_is_inside(walk.name))
            continue;
        if (strcasestr(walk.name, "mmproj"))
            gguf->has_mmproj = true;
        else if (is_better(walk.name, gguf->text))
            memcpy(gguf->text, walk.name, strlen(walk.name) + 1);
    }
    qvl_hub_walk_close(&walk);
}

void qvl_hub_look(const char *folder, const char *name, struct qvl_hub_look *out)
{
    struct gguf_pair gguf = {0};
    *out = (struct qvl_hub_look){0};
    look_at_files(folder, out, &gguf);
    memcpy(out->path, folder, strlen(folder) + 1);
    if (is_config_of_family(folder)) {
        bool has_index = has_file(folder, "model.safetensors.index.json");
        out->is_family = true;
        out->is_whole =
            has_tokenizer(folder) && (has_index ? has_shards(folder) : has_file(folder, "model.safetensors"));
    }
    if (!out->is_whole && gguf.text[0] && (out->is_family || qvl_hub_is_family_name(name))) {
        out->is_family = true;
        out->is_whole = gguf.has_mmproj && qvl_hub_path_add(out->path, folder, gguf.text);
    }
}

/* In: JSON of a hub's API. Out: struct qvl_hub_file, each name checked.
 *
 * Hugging Face (/tree): [{"type": "file", "path", "size", "oid": SHA-1 of the git blob, "lfs": {"oid": SHA-256,
 * "size"}}]; with "lfs" the blob is a pointer, so its oid says nothing of the bytes, and the size is lfs.size.
 * ModelScope (/repo/files): {"Code": 200, "Data": {"Files": [{"Type": "blob", "Path", "Size", "Sha256"}]}}.
 *
 * Both are read the same way: an object's members go into a struct entry by their names, whatever their order; what
 * is not known is skipped. Every name of the list is checked, needed or not: a hub that lists "../x" is not to be
 * trusted with the rest either. */
#include "hub/listing.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/json_reader.h"
#include "hub/path.h"

struct entry { /* one object of a list */
    bool is_file, has_path, has_size;
    struct qvl_hub_file file; /* but for its path */
    uint64_t lfs_bytes;
    bool has_lfs, has_lfs_size;
    struct qvl_bytes path;
};

/* ModelScope ends a list there, files and folders counted, and says nothing of it. */
enum { MODELSCOPE_CUT = 3000 };

static const char *const file_word[] = {"file", "blob"};

void qvl_hub_listing_free(struct qvl_hub_listing *listing)
{
    qvl_arena_free(&listing->arena);
    free(listing->file);
    *listing = (struct qvl_hub_listing){0};
}

static enum qvl_status fail_shape(const char *host, struct qvl_error *err)
{
    return qvl_fail(err, QVL_ERR_FILE, "%.200s answers with something else than a list of files", host);
}

/* ---- members ------------------------------------------------------------------------------------- */

static bool is_key(const struct qvl_json_reader *json, const char *name)
{
    size_t n = strlen(name);
    return n > 0 && json->string.n == n && memcmp(json->string.data, name, n) == 0;
}

/* A size as the hubs write it: digits. */
static bool read_size(const struct qvl_json_reader *json, uint64_t *out)
{
    uint64_t v = 0;
    if (json->event != QVL_JSON_INTEGER || json->string.n > 16)
        return false;
    for (size_t i = 0; i < json->string.n; i++) {
        if (json->string.data[i] < '0' || json->string.data[i] > '9')
            return false;
        v = v * 10 + (uint64_t)(json->string.data[i] - '0');
    }
    *out = v;
    return true;
}

static int hex_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static bool read_hex(const struct qvl_json_reader *json, uint8_t *out, size_t n)
{
    if (json->event != QVL_JSON_STRING || json->string.n != 2 * n)
        return false;
    for (size_t i = 0; i < n; i++) {
        int high = hex_value(json->string.data[2 * i]), low = hex_value(json->string.data[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

/* Members of "lfs", whose beginning was just read. */
static enum qvl_status read_lfs(struct qvl_json_reader *json, struct entry *e, struct qvl_error *err)
{
    if (json->event != QVL_JSON_OBJECT)
        return qvl_json_reader_skip(json, err);
    e->has_lfs = true;
    for (;;) {
        if (qvl_json_reader_next(json, err))
            return err->status;
        if (json->event == QVL_JSON_OBJECT_END)
            return QVL_OK;
        bool is_oid = is_key(json, "oid") || is_key(json, "sha256"), is_size = is_key(json, "size");
        if (qvl_json_reader_next(json, err))
            return err->status;
        if (is_oid)
            e->file.has_sha256 = read_hex(json, e->file.sha256, sizeof e->file.sha256);
        if (is_size)
            e->has_lfs_size = read_size(json, &e->lfs_bytes);
        if (qvl_json_reader_skip(json, err))
            return err->status;
    }
}

enum member { OTHER, TYPE, PATH, SIZE, OID, SHA256, LFS };

static enum member which_member(const struct qvl_json_reader *json, bool is_hf)
{
    static const struct {
        const char *hf, *ms;
        enum member member;
    } table[] = {{"type", "Type", TYPE}, {"path", "Path", PATH}, {"size", "Size", SIZE},
                 {"oid", "", OID},       {"lfs", "", LFS},       {"", "Sha256", SHA256}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (is_key(json, is_hf ? table[i].hf : table[i].ms))
            return table[i].member;
    return OTHER;
}

static enum qvl_status read_member(struct qvl_json_reader *json, enum member member, struct entry *e,
                                   struct qvl_error *err)
{
    switch (member) {
    case TYPE:
        e->is_file = json->event == QVL_JSON_STRING && (is_key(json, file_word[0]) || is_key(json, file_word[1]));
        break;
    case PATH:
        e->has_path =
            json->event == QVL_JSON_STRING && json->string.n > 0 && !memchr(json->string.data, 0, json->string.n);
        e->path.n = 0;
        if (e->has_path && qvl_bytes_add(&e->path, json->string.data, json->string.n, err))
            return err->status;
        break;
    case SIZE: e->has_size = read_size(json, &e->file.n_bytes); break;
    case OID: e->file.has_git_sha1 = read_hex(json, e->file.git_sha1, sizeof e->file.git_sha1); break;
    case SHA256: e->file.has_sha256 = read_hex(json, e->file.sha256, sizeof e->file.sha256); break;
    case LFS: return read_lfs(json, e, err);
    case OTHER: break;
    }
    return qvl_json_reader_skip(json, err);
}

/* ---- entries ------------------------------------------------------------------------------------- */

static enum qvl_status keep_entry(struct qvl_hub_listing *l, struct entry *e, const char *host,
                                  struct qvl_error *err)
{
    if (!e->is_file)
        return QVL_OK;
    if (!e->has_path || !qvl_hub_path_is_inside(e->path.data ? e->path.data : ""))
        return qvl_fail(err, QVL_ERR_FILE,
                        "%.200s lists a file called \"%.200s\", which is no name inside a model's folder", host,
                        e->has_path && e->path.data ? e->path.data : "");
    if (e->has_lfs) {
        e->file.has_git_sha1 = false;
        e->file.n_bytes = e->has_lfs_size ? e->lfs_bytes : e->file.n_bytes;
    }
    if (!e->has_size || (e->has_lfs && !e->file.has_sha256))
        return qvl_fail(err, QVL_ERR_FILE, "%.200s lists %.200s without its size or sum", host, e->path.data);
    if (l->n == QVL_MAX_HUB_LISTED)
        return qvl_fail(err, QVL_ERR_LIMIT, "%.200s lists more than %u files", host, QVL_MAX_HUB_LISTED);
    struct qvl_hub_file *file = qvl_grow(l->file, &l->n_alloc, l->n + 1, sizeof *file, "the list of files", err);
    if (!file)
        return err->status;
    l->file = file;
    e->file.path = qvl_arena_copy_text(&l->arena, e->path.data, e->path.n, err);
    if (!e->file.path)
        return err->status;
    l->file[l->n++] = e->file;
    return QVL_OK;
}

/* One object of the list, whose beginning was just read. */
static enum qvl_status read_entry(struct qvl_hub_listing *l, struct qvl_json_reader *json, bool is_hf,
                                  const char *host, struct qvl_error *err)
{
    struct entry e = {0};
    enum qvl_status status;
    for (;;) {
        if ((status = qvl_json_reader_next(json, err)) || json->event == QVL_JSON_OBJECT_END)
            break;
        enum member member = which_member(json, is_hf);
        if ((status = qvl_json_reader_next(json, err)) || (status = read_member(json, member, &e, err)))
            break;
    }
    if (!status)
        status = keep_entry(l, &e, host, err);
    qvl_bytes_free(&e.path);
    return status;
}

/* The array of entries, whose beginning was just read. *n: how many, files or not. */
static enum qvl_status read_entries(struct qvl_hub_listing *l, struct qvl_json_reader *json, bool is_hf,
                                    const char *host, size_t *n, struct qvl_error *err)
{
    *n = 0;
    if (json->event != QVL_JSON_ARRAY)
        return fail_shape(host, err);
    for (;;) {
        if (qvl_json_reader_next(json, err))
            return err->status;
        if (json->event == QVL_JSON_ARRAY_END)
            return QVL_OK;
        if (json->event != QVL_JSON_OBJECT)
            return fail_shape(host, err);
        if (read_entry(l, json, is_hf, host, err))
            return err->status;
        ++*n;
    }
}

/* ---- answers ------------------------------------------------------------------------------------- */

/* Goes to the value of `name` in the object whose beginning was just read, if it is there: *is_there. */
static enum qvl_status find_member(struct qvl_json_reader *json, const char *name, bool *is_there,
                                   struct qvl_error *err)
{
    *is_there = false;
    if (json->event != QVL_JSON_OBJECT)
        return QVL_OK;
    for (;;) {
        if (qvl_json_reader_next(json, err))
            return err->status;
        if (json->event == QVL_JSON_OBJECT_END)
            return QVL_OK;
        *is_there = is_key(json, name);
        if (qvl_json_reader_next(json, err))
            return err->status;
        if (*is_there)
            return QVL_OK;
        if (qvl_json_reader_skip(json, err))
            return err->status;
    }
}

static struct qvl_json_reader open_answer(const char *text, size_t n, const char *host)
{
    return (struct qvl_json_reader){
        .text = text, .n = n, .name = host, .status = QVL_ERR_FILE, .want_unique_keys = true};
}

enum qvl_status qvl_hub_read_commit(const char *text, size_t n, const char *host, char out[65],
                                    struct qvl_error *err)
{
    struct qvl_json_reader json = open_answer(text, n, host);
    bool is_there = false;
    uint8_t commit[20];
    enum qvl_status status;
    (void)((status = qvl_json_reader_next(&json, err)) || (status = find_member(&json, "sha", &is_there, err)));
    if (!status && is_there && read_hex(&json, commit, sizeof commit)) {
        memcpy(out, json.string.data, json.string.n);
        out[json.string.n] = 0;
    } else if (!status) {
        status = fail_shape(host, err);
    }
    qvl_json_reader_free(&json);
    return status;
}

enum qvl_status qvl_hub_listing_add_hf(struct qvl_hub_listing *l, const char *text, size_t n, const char *host,
                                       struct qvl_error *err)
{
    struct qvl_json_reader json = open_answer(text, n, host);
    size_t n_entry = 0;
    enum qvl_status status;
    if (!(status = qvl_json_reader_next(&json, err)))
        status = read_entries(l, &json, true, host, &n_entry, err);
    if (!status)
        status = qvl_json_reader_next(&json, err); /* nothing behind it */
    qvl_json_reader_free(&json);
    return status;
}

enum qvl_status qvl_hub_listing_add_modelscope(struct qvl_hub_listing *l, const char *text, size_t n,
                                               const char *host, struct qvl_error *err)
{
    struct qvl_json_reader json = open_answer(text, n, host);
    bool is_there = false;
    size_t n_entry = 0;
    enum qvl_status status;
    (void)((status = qvl_json_reader_next(&json, err)) || (status = find_member(&json, "Data", &is_there, err)) ||
           (is_there && (status = find_member(&json, "Files", &is_there, err))));
    if (!status)
        status = is_there ? read_entries(l, &json, false, host, &n_entry, err) : fail_shape(host, err);
    if (!status && n_entry == MODELSCOPE_CUT)
        status = qvl_fail(err, QVL_ERR_LIMIT,
                          "%.200s lists %zu entries, which is where it ends each list: files of the model may be "
                          "missing in it; try Hugging Face (hf:)",
                          host, n_entry);
    qvl_json_reader_free(&json);
    return status;
}

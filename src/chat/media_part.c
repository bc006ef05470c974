/* A picture or clip of a conversation: where it is, and its own options.
 *
 * In: the part's JSON object and the member that names the source. Out: the part's source and options; a part's own
 * values come before those of the settings, and take those out of their way that contradict them. */
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/array.h"
#include "base/limits.h"
#include "base/os.h"
#include "base/utf8.h"
#include "chat/chat_reader.h"
#include "chat/media_options.h"
#include "chat/media_uri.h"
#include "chat/picture_folder.h"

/* A part while it is read. */
struct item {
    struct qvl_chat_reader *r;
    const struct qvl_json_node *object, *inner; /* the part; the object inside it that holds the URL, or NULL */
    struct qvl_media_wishes own;
    struct qvl_part *part;
};

/* ---- memory -------------------------------------------------------------------------------------- */

static enum qvl_status count_bytes(struct qvl_chat_reader *r, uint64_t n_bytes, struct qvl_error *err)
{
    uint64_t most = r->settings->max_media_bytes ? r->settings->max_media_bytes : QVL_MAX_CHAT_MEDIA_BYTES;
    if (n_bytes > most || r->n_media_bytes > most - n_bytes)
        return qvl_fail(err, QVL_ERR_LIMIT, "%s: the pictures and clips have more than %llu bytes together",
                        r->where, (unsigned long long)most);
    r->n_media_bytes += n_bytes;
    return QVL_OK;
}

/* A whole open file into the arena. */
static enum qvl_status read_descriptor(struct qvl_chat_reader *r, int fd, struct qvl_picture_file *out,
                                       struct qvl_error *err)
{
    struct stat st;
    enum qvl_status status;
    if (fstat(fd, &st) != 0 || st.st_size < 0)
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: cannot be read: %s", r->where, qvl_errno_text(errno));
    size_t n = (size_t)st.st_size, n_read = 0;
    if ((status = count_bytes(r, n, err)))
        return status;
    uint8_t *bytes = qvl_arena_alloc(&r->out->arena, n, 1, "a picture of a clip", err);
    if (!bytes)
        return err->status;
    while (n_read < n) {
        ssize_t got = pread(fd, bytes + n_read, n - n_read, (off_t)n_read);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return qvl_fail(err, QVL_ERR_MEDIA, "%s: it changed while it was read", r->where);
        n_read += (size_t)got;
    }
    if (n == 0)
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: the file is empty", r->where);
    *out = (struct qvl_picture_file){.bytes = bytes, .n_bytes = n};
    return QVL_OK;
}

/* ---- pictures as a clip -------------------------------------------------------------------------- */

/* "times", of each picture, or their rate, or the rate of the settings. */
static enum qvl_status read_times(const struct item *it, struct qvl_picture_file *picture, size_t n,
                                  struct qvl_error *err)
{
    const char *where = it->r->where;
    const struct qvl_json_node *times = qvl_json_member(it->object, "times");
    const struct qvl_json_node *rate = qvl_json_member(it->object, "sample_fps");
    double fps = it->r->settings->sample_fps, own_fps = it->own.of[QVL_WISH_FPS];
    enum qvl_status status = QVL_OK;
    if (rate && own_fps != 0)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: \"%s\" and \"%s\" are the same option", where, "sample_fps",
                        "fps");
    if (times && (rate || own_fps != 0))
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: only one of \"times\" and \"%s\" is possible", where,
                        rate ? "sample_fps" : "fps");
    if (rate &&
        (status = qvl_media_number_read(where, "sample_fps", rate, QVL_LEAST_RATE, QVL_MAX_CLIP_FPS, &fps, err)))
        return status;
    if (!times)
        return qvl_picture_times_set(where, picture, n, own_fps != 0 ? own_fps : fps, err);
    if (times->kind != QVL_JSON_ARRAY || times->n_child != n)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: \"times\" must be a list of %zu numbers, one for each picture",
                        where, n);
    const struct qvl_json_node *time = times + 1;
    for (size_t i = 0; i < n; i++, time = qvl_json_next(time)) {
        if ((status =
                 qvl_media_number_read(where, "times", time, 0, QVL_MAX_CLIP_SECONDS, &picture[i].time_s, err)))
            return status;
        if (i > 0 && picture[i].time_s < picture[i - 1].time_s)
            return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: \"times\" go back at picture %zu, from %g to %g seconds",
                            where, i + 1, picture[i - 1].time_s, picture[i].time_s);
    }
    return QVL_OK;
}

/* Room for n pictures of a clip. */
static enum qvl_status new_list(struct qvl_chat_reader *r, size_t n, struct qvl_picture_file **out,
                                struct qvl_error *err)
{
    if (n == 0)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: the list of pictures is empty", r->where);
    if (n > QVL_MAX_CLIP_FRAMES)
        return qvl_fail(err, QVL_ERR_LIMIT, "%s: a list of %zu pictures; at most %u are allowed", r->where, n,
                        QVL_MAX_CLIP_FRAMES);
    r->n_listed += n;
    if (r->settings->max_listed && r->n_listed > r->settings->max_listed)
        return qvl_fail(err, QVL_ERR_LIMIT, "%s: more than %u pictures in lists", r->where,
                        r->settings->max_listed);
    *out = qvl_arena_alloc(&r->out->arena, n, sizeof **out, "pictures", err);
    return *out ? QVL_OK : err->status;
}

/* One picture of a list: a path stays one, to be opened when its turn comes; what an opener gives is read now. */
static enum qvl_status read_entry(struct qvl_chat_reader *r, const struct qvl_json_node *entry, bool is_base64,
                                  struct qvl_picture_file *out, struct qvl_error *err)
{
    const struct qvl_media_opener *opener = r->settings->opener;
    struct qvl_media_source source = {.fd = -1};
    size_t n_type;
    enum qvl_status status;
    if (entry->kind != QVL_JSON_STRING)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: must be a string: a path or a data: URI", r->where);
    bool is_data = qvl_media_data_type(entry->utf8, entry->n, &n_type);
    if (is_base64 && !is_data) {
        status = qvl_media_base64_read(r->where, entry->utf8, entry->n, &r->out->arena, out, err);
        return status ? status : count_bytes(r, out->n_bytes, err);
    }
    if (!opener || is_data) {
        status =
            qvl_media_uri_read(r->where, entry->utf8, entry->n, r->settings->base_dir, &r->out->arena, out, err);
        return status || out->path ? status : count_bytes(r, out->n_bytes, err);
    }
    if ((status = opener->open(opener->user, r->where, entry->utf8, entry->n, &r->out->arena, &source, err)))
        return status;
    if (source.from == QVL_FROM_FD) {
        status = read_descriptor(r, source.fd, out, err);
        close(source.fd);
        return status;
    }
    *out = (struct qvl_picture_file){.bytes = source.bytes, .n_bytes = source.n_bytes};
    return count_bytes(r, out->n_bytes, err);
}

static enum qvl_status read_list(struct qvl_chat_reader *r, const struct qvl_json_node *list, bool is_base64,
                                 struct qvl_picture_file **out, struct qvl_error *err)
{
    struct qvl_picture_file *picture = NULL;
    enum qvl_status status = new_list(r, list->n_child, &picture, err);
    if (status)
        return status;
    const struct qvl_json_node *entry = list + 1;
    for (uint32_t i = 0; i < list->n_child; i++, entry = qvl_json_next(entry)) {
        size_t n_before = qvl_chat_enter(r, "[%u]", i);
        if ((status = read_entry(r, entry, is_base64, &picture[i], err)))
            return status;
        qvl_chat_leave(r, n_before);
    }
    *out = picture;
    return QVL_OK;
}

/* vLLM's "data:video/jpeg;base64,F1,F2,...". */
static enum qvl_status read_data_frames(struct qvl_chat_reader *r, const struct qvl_json_node *uri, size_t n_frame,
                                        struct qvl_picture_file **out, struct qvl_error *err)
{
    struct qvl_picture_file *picture = NULL;
    enum qvl_status status = new_list(r, n_frame, &picture, err);
    if (!status)
        status = qvl_media_data_frames_read(r->where, uri->utf8, uri->n, &r->out->arena, picture, err);
    for (size_t i = 0; i < n_frame && !status; i++)
        status = count_bytes(r, picture[i].n_bytes, err);
    *out = picture;
    return status;
}

/* Of pictures every one is seen: what chooses frames of a file has no meaning, and fps says how far apart they are.
 */
static enum qvl_status finish_list(const struct item *it, struct qvl_picture_file *picture, size_t n,
                                   struct qvl_error *err)
{
    struct qvl_part *part = it->part;
    struct qvl_media_options *m = &part->media;
    for (int i = QVL_WISH_NUM_FRAMES; i < QVL_N_WISH; i++)
        if (it->own.of[i] != 0)
            return qvl_fail(err, QVL_ERR_ARGUMENT,
                            "%s: \"%s\" chooses frames of a video file; of pictures all are used, "
                            "\"sample_fps\" or \"times\" say when",
                            it->r->where, qvl_media_wish_name((enum qvl_media_wish)i));
    enum qvl_status status = read_times(it, picture, n, err);
    if (status)
        return status;
    *m = (struct qvl_media_options){.min_pixels = m->min_pixels,
                                    .max_pixels = m->max_pixels,
                                    .total_pixels = m->total_pixels,
                                    .resize = m->resize};
    part->source.from = QVL_FROM_PICTURES;
    part->source.pictures = picture;
    part->source.n_frame = n;
    return QVL_OK;
}

/* ---- one file ------------------------------------------------------------------------------------ */

/* Room for one more open file of the conversation. */
static int *next_fd(struct qvl_chat_json *out, struct qvl_error *err)
{
    int *fd = qvl_grow(out->fd, &out->n_fd_alloc, out->n_fd + 1, sizeof *fd, "open files", err);
    if (!fd)
        return NULL;
    out->fd = fd;
    return &fd[out->n_fd];
}

static enum qvl_status open_path(struct item *it, const char *path, struct qvl_error *err)
{
    struct qvl_chat_json *out = it->r->out;
    uint64_t n_bytes = 0;
    int *fd = next_fd(out, err);
    if (!fd)
        return err->status;
    if (qvl_os_open_file(path, fd, &n_bytes, err)) {
        err->status = QVL_ERR_MEDIA; /* the sentence stays: here a missing file is a missing picture */
        return err->status;
    }
    out->n_fd++;
    it->part->source.from = QVL_FROM_FD;
    it->part->source.fd = *fd;
    return QVL_OK;
}

static enum qvl_status open_by_opener(struct item *it, const struct qvl_json_node *uri, struct qvl_error *err)
{
    struct qvl_chat_reader *r = it->r;
    const struct qvl_media_opener *opener = r->settings->opener;
    struct qvl_media_source opened = {.fd = -1}, *source = &it->part->source;
    int *fd = next_fd(r->out, err);
    if (!fd)
        return err->status;
    enum qvl_status status = opener->open(opener->user, r->where, uri->utf8, uri->n, &r->out->arena, &opened, err);
    if (status)
        return status;
    source->from = opened.from;
    if (opened.from == QVL_FROM_FD) {
        *fd = source->fd = opened.fd;
        r->out->n_fd++;
        return QVL_OK;
    }
    source->bytes = opened.bytes;
    source->n_bytes = opened.n_bytes;
    return count_bytes(r, source->n_bytes, err);
}

static enum qvl_status use_bytes(struct item *it, const struct qvl_picture_file *file, struct qvl_error *err)
{
    it->part->source.from = QVL_FROM_BYTES;
    it->part->source.bytes = file->bytes;
    it->part->source.n_bytes = file->n_bytes;
    return count_bytes(it->r, file->n_bytes, err);
}

/* A picture, or a clip in a file or in a folder. */
static enum qvl_status read_single(struct item *it, const struct qvl_json_node *uri, bool is_base64,
                                   struct qvl_error *err)
{
    struct qvl_chat_reader *r = it->r;
    struct qvl_part *part = it->part;
    struct qvl_picture_file file = {0}, *picture = NULL;
    size_t n = 0, n_type;
    bool is_clip = part->kind == QVL_PART_VIDEO, is_data = qvl_media_data_type(uri->utf8, uri->n, &n_type);
    enum qvl_status status;
    if (is_clip && (n = qvl_media_data_n_frame(uri->utf8, uri->n)) > 0) {
        status = read_data_frames(r, uri, n, &picture, err);
        return status ? status : finish_list(it, picture, n, err);
    }
    bool is_opened = !is_data && !is_base64 && r->settings->opener;
    if (is_base64 && !is_data)
        status = qvl_media_base64_read(r->where, uri->utf8, uri->n, &r->out->arena, &file, err);
    else
        status = is_opened ? QVL_OK
                           : qvl_media_uri_read(r->where, uri->utf8, uri->n, r->settings->base_dir, &r->out->arena,
                                                &file, err);
    if (status)
        return status;
    if (file.path && !qvl_json_member(it->object, "uuid"))
        part->source.name = file.path;
    if (file.path && is_clip && qvl_os_is_folder(file.path)) {
        status = qvl_picture_folder_list(file.path, 0, &r->out->arena, &picture, &n, err);
        return status ? status : finish_list(it, picture, n, err);
    }
    if (is_clip && (qvl_json_member(it->object, "sample_fps") || qvl_json_member(it->object, "times")))
        return qvl_fail(err, QVL_ERR_ARGUMENT,
                        "%s: \"sample_fps\" and \"times\" are for a list or folder of pictures; the rate at which "
                        "a video file is sampled is \"fps\"",
                        r->where);
    if (is_opened)
        return open_by_opener(it, uri, err);
    return file.path ? open_path(it, file.path, err) : use_bytes(it, &file, err);
}

/* ---- the door ------------------------------------------------------------------------------------ */

/* Goes into objects until there is a string or a list. The names are those in use: OpenAI's, Hugging Face's,
 * llama.cpp's
 * ("data"), Anthropic's ("source"). */
static enum qvl_status find_source(struct item *it, const struct qvl_media_place *place,
                                   const struct qvl_json_node **out, bool *out_is_base64, struct qvl_error *err)
{
    static const struct {
        const char *key;
        bool is_base64;
    } names[] = {{"url", false},    {"path", false}, {"image_url", false}, {"video_url", false},
                 {"source", false}, {"data", true},  {"base64", true},     {"file_data", true}};
    const struct qvl_json_node *source = place->source, *found, *node;
    *out_is_base64 = place->is_base64;
    while (source && source->kind == QVL_JSON_OBJECT) {
        const char *key = "url";
        it->inner = source;
        found = NULL;
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            if (!(node = qvl_json_member(source, names[i].key)))
                continue;
            if (found)
                return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: more than one text, picture or clip is in it",
                                it->r->where);
            found = node;
            key = names[i].key;
            *out_is_base64 = names[i].is_base64;
        }
        if (!found && (qvl_json_member(source, "file_id") || qvl_json_member(source, "file_url")))
            break;
        qvl_chat_enter(it->r, ".%s", key);
        source = found;
    }
    if (source && (source->kind == QVL_JSON_OBJECT || (place->key && strcmp(place->key, "file_id") == 0)))
        return qvl_fail(err, QVL_ERR_ARGUMENT,
                        "%s: no files are kept here: send a data: URI with base64 (\"file_data\")", it->r->where);
    *out = source;
    return QVL_OK;
}

/* A file is a picture or a clip where its data: URI says so. */
static enum qvl_status find_kind(struct item *it, const struct qvl_json_node *source, struct qvl_error *err)
{
    size_t n = 0;
    const char *type =
        source && source->kind == QVL_JSON_STRING ? qvl_media_data_type(source->utf8, source->n, &n) : NULL;
    bool is_image = type && n > 6 && strncasecmp(type, "image/", 6) == 0;
    if (!is_image && !(type && n > 6 && strncasecmp(type, "video/", 6) == 0))
        return qvl_fail(err, QVL_ERR_ARGUMENT,
                        "%s: of files only pictures and clips are read, in data: URIs that say so "
                        "(\"data:image/png;base64,...\")",
                        it->r->where);
    it->part->kind = is_image ? QVL_PART_IMAGE : QVL_PART_VIDEO;
    return QVL_OK;
}

/* The name that a client gives it, or its place in the conversation. */
static enum qvl_status set_name(struct item *it, struct qvl_error *err)
{
    struct qvl_chat_reader *r = it->r;
    const struct qvl_json_node *uuid = qvl_json_member(it->object, "uuid");
    if (uuid && (uuid->kind != QVL_JSON_STRING || uuid->n == 0 || uuid->n > QVL_MAX_MEDIA_NAME_BYTES))
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: \"uuid\" must be a string of 1 to %u bytes", r->where,
                        QVL_MAX_MEDIA_NAME_BYTES);
    char *name =
        qvl_arena_copy_text(&r->out->arena, uuid ? uuid->utf8 : r->where, uuid ? uuid->n : strlen(r->where), err);
    if (!name)
        return err->status;
    if (uuid)
        qvl_utf8_make_printable(name, uuid->n);
    it->part->source.name = name;
    return QVL_OK;
}

static enum qvl_status count_media(struct qvl_chat_reader *r, struct qvl_error *err)
{
    uint32_t most = r->settings->max_media ? r->settings->max_media : QVL_MAX_MEDIA_PER_REQUEST;
    if (++r->n_media > most)
        return qvl_fail(err, QVL_ERR_LIMIT, "%s: more than %u pictures and clips", r->where, most);
    return QVL_OK;
}

static enum qvl_status read_options(struct item *it, const char *where, struct qvl_error *err)
{
    bool is_clip = it->part->kind == QVL_PART_VIDEO;
    enum qvl_status status = qvl_media_wishes_read(where, it->object, it->inner, &it->own, err);
    if (!status && !is_clip && !(status = qvl_media_detail_read(where, it->object, &it->own, err)))
        status = qvl_media_detail_read(where, it->inner, &it->own, err);
    if (status)
        return status;
    it->part->media = is_clip ? it->r->settings->video : it->r->settings->image;
    qvl_media_wishes_apply(&it->own, &it->part->media);
    return QVL_OK;
}

enum qvl_status qvl_chat_read_media(struct qvl_chat_reader *r, const struct qvl_media_place *place,
                                    struct qvl_part *part, struct qvl_error *err)
{
    struct item it = {.r = r, .object = place->object, .part = part};
    const struct qvl_json_node *source = NULL;
    char part_where[sizeof r->where];
    bool is_base64 = false;
    enum qvl_status status = count_media(r, err);
    memcpy(part_where, r->where, sizeof part_where);
    if (place->key)
        qvl_chat_enter(r, ".%s", place->key);
    if (status || (status = find_source(&it, place, &source, &is_base64, err)) ||
        (place->is_file && (status = find_kind(&it, source, err))) || (status = read_options(&it, part_where, err)))
        return status;
    bool is_list = part->kind == QVL_PART_VIDEO && source && source->kind == QVL_JSON_ARRAY;
    if (!is_list && (!source || source->kind != QVL_JSON_STRING))
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: must be a string: a path or a data: URI", r->where);
    part->source.fd = -1;
    if ((status = set_name(&it, err)))
        return status;
    if (!is_list)
        return read_single(&it, source, is_base64, err);
    struct qvl_picture_file *picture = NULL;
    status = read_list(r, source, is_base64, &picture, err);
    return status ? status : finish_list(&it, picture, source->n_child, err);
}

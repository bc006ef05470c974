#include "cli/input.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/array.h"
#include "base/limits.h"
#include "base/os.h"
#include "base/utf8.h"
#include "chat/media_uri.h"
#include "chat/picture_folder.h"

/* ---- what a word is ------------------------------------------------------------------------------ */

enum word {
    WORD_TEXT,
    WORD_PICTURE,
    WORD_CLIP,
    WORD_FOLDER,
    WORD_OTHER /* something else that is there, or a path that leads nowhere */
};

static bool is_clip_name(const char *word)
{
    static const char *const list[] = {"mp4", "m4v", "mov", "mkv", "webm", "avi",  "mpg", "mpeg",
                                       "flv", "wmv", "3gp", "ts",  "mts",  "m2ts", "ogv"};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (strcasecmp(qvl_path_ending(word), list[i]) == 0)
            return true;
    return false;
}

/* A path of some other file: a slash, no space, and an extension that begins with a letter. */
static bool is_path_name(const char *word)
{
    const char *extension = qvl_path_ending(word);
    size_t n = strlen(extension);
    if (!strchr(word, '/') || strpbrk(word, " \t\n") || n < 1 || n > 5)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)extension[i]))
            return false;
    return isalpha((unsigned char)extension[0]);
}

static enum qvl_media_guess guess_file(const char *path)
{
    uint8_t head[QVL_MEDIA_HEAD_BYTES];
    struct qvl_error ignored; /* not a file: not a picture */
    uint64_t n_bytes = 0;
    int fd = -1;
    if (qvl_os_open_file(path, &fd, &n_bytes, &ignored))
        return QVL_GUESS_OTHER;
    ssize_t n = read(fd, head, sizeof head);
    close(fd);
    return n > 0 ? qvl_media_sniff(head, (size_t)n) : QVL_GUESS_OTHER;
}

/* Content counts more than the name. */
static enum word classify(const char *word)
{
    if (strchr(word, '\n') || strlen(word) > QVL_MAX_PATH_BYTES)
        return WORD_TEXT;
    enum qvl_media_guess guess = guess_file(word);
    if (guess != QVL_GUESS_OTHER)
        return guess == QVL_GUESS_VIDEO ? WORD_CLIP : WORD_PICTURE;
    if (is_clip_name(word))
        return WORD_CLIP;
    if (qvl_is_picture_name(word))
        return WORD_PICTURE;
    if (qvl_os_is_folder(word))
        return WORD_FOLDER;
    return is_path_name(word) || qvl_os_is_there(word) ? WORD_OTHER : WORD_TEXT;
}

bool qvl_input_find_kind(const char *word, enum qvl_part_kind *out)
{
    enum word kind = classify(word);
    *out = kind == WORD_CLIP ? QVL_PART_VIDEO : QVL_PART_IMAGE;
    return kind == WORD_CLIP || kind == WORD_PICTURE;
}

static bool is_missing(const char *path)
{
    return access(path, F_OK) != 0 && errno == ENOENT;
}

/* ---- parts --------------------------------------------------------------------------------------- */

static struct qvl_media_options media_options(const struct qvl_options *o)
{
    enum { TOKEN_PIXELS = 32 * 32 };
    return (struct qvl_media_options){
        .min_pixels = o->min_pixels ? o->min_pixels : o->min_image_tokens * TOKEN_PIXELS,
        .max_pixels = o->max_pixels ? o->max_pixels : o->max_image_tokens * TOKEN_PIXELS,
        .total_pixels = o->total_pixels,
        .resize = o->resize,
        .fps = o->fps,
        .num_frames = (uint32_t)o->num_frames,
        .min_frames = (uint32_t)o->min_frames,
        .max_frames = (uint32_t)o->max_frames,
        .start_s = o->start_s,
        .end_s = o->end_s};
}

/* Room for one more part, not yet counted; or NULL. */
static struct qvl_part *next_part(struct qvl_input *in, struct qvl_error *err)
{
    struct qvl_part *part = qvl_grow(in->part, &in->n_part_alloc, in->n_part + 1, sizeof *part, "a message", err);
    if (!part)
        return NULL;
    in->part = part;
    return part + in->n_part;
}

enum qvl_status qvl_input_add_text(struct qvl_input *in, const char *utf8, size_t n, struct qvl_error *err)
{
    if (!qvl_utf8_is_valid(utf8, n))
        return qvl_fail(err, QVL_ERR_ARGUMENT, "the prompt is not UTF-8");
    struct qvl_part *part = next_part(in, err);
    if (!part)
        return QVL_ERR_MEMORY;
    *part = (struct qvl_part){.kind = QVL_PART_TEXT, .utf8 = utf8, .n = n};
    in->n_part++;
    return QVL_OK;
}

static enum qvl_status add_source(struct qvl_input *in, const struct qvl_options *o, enum qvl_part_kind kind,
                                  struct qvl_media_source source, struct qvl_error *err)
{
    struct qvl_part *part = next_part(in, err);
    if (!part)
        return QVL_ERR_MEMORY;
    *part = (struct qvl_part){.kind = kind, .source = source, .media = media_options(o)};
    in->n_part++;
    in->n_media++;
    in->n_clip += kind == QVL_PART_VIDEO;
    return QVL_OK;
}

/* path must live as long as the message. */
static enum qvl_status add_file(struct qvl_input *in, const struct qvl_options *o, enum qvl_part_kind kind,
                                const char *path, struct qvl_error *err)
{
    uint64_t n_bytes = 0;
    int *fd = qvl_grow(in->fd, &in->n_fd_alloc, in->n_fd + 1, sizeof *fd, "a message", err);
    if (!fd)
        return QVL_ERR_MEMORY;
    in->fd = fd;
    fd += in->n_fd;
    enum qvl_status status = qvl_os_open_file(path, fd, &n_bytes, err);
    if (status)
        return err->status = QVL_ERR_MEDIA; /* the sentence stays: here a missing file is a missing picture */
    status = n_bytes ? add_source(in, o, kind,
                                  (struct qvl_media_source){.from = QVL_FROM_FD, .name = path, .fd = *fd}, err)
                     : qvl_fail(err, QVL_ERR_MEDIA, "%s: the file is empty", path);
    if (status)
        close(*fd);
    else
        in->n_fd++;
    return status;
}

/* "0,0.5,2" as the times of n pictures. */
static enum qvl_status read_times(const char *list, struct qvl_picture_file *picture, size_t n, struct qvl_error *err)
{
    size_t n_time = 0;
    double last_s = 0;
    for (const char *c = list;; c++, n_time++) {
        char *end = NULL;
        double time_s = strtod(c, &end);
        if (!isdigit((unsigned char)*c) || (*end && *end != ',') || time_s < last_s)
            return qvl_fail(err, QVL_ERR_ARGUMENT,
                            "--frame-times %.60s: it must be seconds with commas between them that never go back",
                            list);
        if (n_time < n)
            picture[n_time].time_s = time_s;
        last_s = time_s;
        c = end;
        if (!*c)
            break;
    }
    if (++n_time != n)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "--frame-times has %zu times, but there are %zu pictures", n_time, n);
    return QVL_OK;
}

static enum qvl_status add_pictures(struct qvl_input *in, const struct qvl_options *o, const char *name,
                                    struct qvl_picture_file *picture, size_t n, struct qvl_error *err)
{
    enum qvl_status status = o->frame_times ? read_times(o->frame_times, picture, n, err)
                                            : qvl_picture_times_set(name, picture, n, o->sample_fps, err);
    if (status)
        return status;
    struct qvl_media_source source = {
        .from = QVL_FROM_PICTURES, .name = name, .fd = -1, .pictures = picture, .n_frame = n};
    return add_source(in, o, QVL_PART_VIDEO, source, err);
}

static enum qvl_status add_folder(struct qvl_input *in, const struct qvl_options *o, const char *path,
                                  struct qvl_error *err)
{
    struct qvl_picture_file *picture = NULL;
    size_t n = 0;
    enum qvl_status status = qvl_picture_folder_list(path, o->sample_fps, &in->arena, &picture, &n, err);
    return status ? status : add_pictures(in, o, path, picture, n, err);
}

/* Whether pictures without --image are frames. */
static bool has_rate(const struct qvl_options *o)
{
    return o->sample_fps > 0 || o->frame_times;
}

/* How many items from `item` on are pictures that make one clip. */
static size_t count_row(const struct qvl_item *item, size_t n_item)
{
    size_t n = 0;
    while (n < n_item && (item[n].kind == QVL_ITEM_WORD || item[n].kind == QVL_ITEM_VIDEO) &&
           strcmp(item[n].value, "-") != 0 && classify(item[n].value) == WORD_PICTURE)
        n++;
    return n;
}

static enum qvl_status add_row(struct qvl_input *in, const struct qvl_options *o, const struct qvl_item *item,
                               size_t n, struct qvl_error *err)
{
    if (n > QVL_MAX_CLIP_FRAMES)
        return qvl_fail(err, QVL_ERR_LIMIT, "%s: a clip of %zu pictures, more than %u", item[0].value, n,
                        QVL_MAX_CLIP_FRAMES);
    struct qvl_picture_file *picture = qvl_arena_alloc(&in->arena, n, sizeof *picture, "pictures in a row", err);
    const char *name = item[0].value;
    if (picture && n > 1)
        name = qvl_arena_format(&in->arena, err, "%s … %s", item[0].value, item[n - 1].value);
    if (!picture || !name)
        return QVL_ERR_MEMORY;
    for (size_t i = 0; i < n; i++) {
        if (is_missing(item[i].value))
            return qvl_fail(err, QVL_ERR_MEDIA, "%s: no such file", item[i].value);
        picture[i].path = item[i].value;
    }
    return add_pictures(in, o, name, picture, n, err);
}

/* ---- stdin --------------------------------------------------------------------------------------- */

enum qvl_status qvl_input_read_stdin(struct qvl_bytes *out, struct qvl_error *err)
{
    char buffer[65536];
    for (;;) {
        ssize_t n = read(STDIN_FILENO, buffer, sizeof buffer);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return qvl_fail(err, QVL_ERR_FILE, "stdin: cannot read: %s", qvl_errno_text(errno));
        if (n == 0)
            break;
        if (out->n + (size_t)n > QVL_MAX_INPUT_BYTES)
            return qvl_fail(err, QVL_ERR_LIMIT, "stdin: more than %llu bytes", QVL_MAX_INPUT_BYTES);
        enum qvl_status status = qvl_bytes_add(out, buffer, (size_t)n, err);
        if (status)
            return status;
    }
    return out->n ? QVL_OK : qvl_fail(err, QVL_ERR_ARGUMENT, "stdin is empty");
}

/* What was read: what its content says, else text, unless an option says otherwise. */
static enum qvl_status use_stdin(struct qvl_input *in, const struct qvl_options *o, enum qvl_item_kind kind,
                                 struct qvl_error *err)
{
    const struct qvl_bytes *b = &in->from_stdin;
    enum qvl_media_guess guess = qvl_media_sniff((const uint8_t *)b->data, b->n);
    if (kind == QVL_ITEM_WORD && guess == QVL_GUESS_OTHER)
        return qvl_input_add_text(in, b->data, b->n - (b->data[b->n - 1] == '\n'), err); /* as $(…) does */
    bool is_clip = kind == QVL_ITEM_VIDEO || (kind == QVL_ITEM_WORD && guess == QVL_GUESS_VIDEO);
    struct qvl_media_source source = {
        .from = QVL_FROM_BYTES, .name = "stdin", .fd = -1, .bytes = (const uint8_t *)b->data, .n_bytes = b->n};
    return add_source(in, o, is_clip ? QVL_PART_VIDEO : QVL_PART_IMAGE, source, err);
}

/* The argument "-". */
static enum qvl_status add_stdin(struct qvl_input *in, const struct qvl_options *o, enum qvl_item_kind kind,
                                 struct qvl_error *err)
{
    if (in->from_stdin.n)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "stdin (-) can be used once only");
    enum qvl_status status = qvl_input_read_stdin(&in->from_stdin, err);
    return status ? status : use_stdin(in, o, kind, err);
}

/* ---- the command line ---------------------------------------------------------------------------- */

static enum qvl_status add_word(struct qvl_input *in, const struct qvl_options *o, const char *word,
                                struct qvl_error *err)
{
    enum word kind = classify(word);
    if (kind == WORD_FOLDER && has_rate(o))
        return add_folder(in, o, word, err);
    if (kind == WORD_FOLDER)
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: a folder (--video makes a clip of its pictures, --prompt a text)",
                        word);
    if (kind == WORD_TEXT)
        return qvl_input_add_text(in, word, strlen(word), err);
    if (is_missing(word))
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: no such file (use --prompt to send it as text)", word);
    if (kind == WORD_OTHER)
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: not a picture or clip (use --prompt to send it as text)", word);
    return add_file(in, o, kind == WORD_CLIP ? QVL_PART_VIDEO : QVL_PART_IMAGE, word, err);
}

/* The path of a file: URI, or the word itself; in the arena where it is not. */
static enum qvl_status resolve(struct qvl_input *in, const char **word, struct qvl_error *err)
{
    struct qvl_picture_file file = {0};
    if (strncmp(*word, "file:/", 6) != 0)
        return QVL_OK;
    enum qvl_status status = qvl_media_uri_read(*word, *word, strlen(*word), "", &in->arena, &file, err);
    if (!status && is_missing(file.path))
        status = qvl_fail(err, QVL_ERR_MEDIA, "%s: no such file (use --prompt to send it as text)", file.path);
    if (!status)
        *word = file.path;
    return status;
}

static enum qvl_status resolve_item(struct qvl_input *in, struct qvl_item *item, struct qvl_error *err)
{
    const char *word = item->value;
    if (item->kind == QVL_ITEM_TEXT || strpbrk(word, " \n"))
        return QVL_OK;
    enum qvl_status status = resolve(in, &item->value, err);
    if (!status && item->value != word && item->kind == QVL_ITEM_WORD) { /* meant as a file, whatever its name */
        enum word kind = classify(item->value);
        item->kind = kind == WORD_CLIP || kind == WORD_FOLDER ? QVL_ITEM_VIDEO : QVL_ITEM_IMAGE;
    }
    return status;
}

static enum qvl_status add_path(struct qvl_input *in, const struct qvl_options *o, enum qvl_part_kind kind,
                                const char *path, struct qvl_error *err)
{
    if (kind == QVL_PART_VIDEO && qvl_os_is_folder(path))
        return add_folder(in, o, path, err);
    return add_file(in, o, kind, path, err);
}

enum qvl_status qvl_input_add_media(const struct qvl_options *options, enum qvl_part_kind kind, const char *path,
                                    struct qvl_input *input, struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    if (!(path = qvl_arena_copy_text(&input->arena, path, strlen(path), err)))
        return QVL_ERR_MEMORY;
    status = resolve(input, &path, err);
    return status ? status : add_path(input, options, kind, path, err);
}

/* The first of n items, or several that make a clip: *n_used. */
static enum qvl_status add_item(struct qvl_input *in, const struct qvl_options *o, const struct qvl_item *item,
                                size_t n, size_t *n_used, struct qvl_error *err)
{
    const char *value = item->value;
    *n_used = 1;
    if (item->kind == QVL_ITEM_TEXT)
        return qvl_input_add_text(in, value, strlen(value), err);
    if (strcmp(value, "-") == 0)
        return add_stdin(in, o, item->kind, err);
    if (item->kind == QVL_ITEM_IMAGE)
        return add_file(in, o, QVL_PART_IMAGE, value, err);
    size_t n_row = item->kind == QVL_ITEM_VIDEO || has_rate(o) ? count_row(item, n) : 0;
    if (n_row) {
        *n_used = n_row;
        return add_row(in, o, item, n_row, err);
    }
    if (item->kind == QVL_ITEM_WORD)
        return add_word(in, o, value, err);
    return add_path(in, o, QVL_PART_VIDEO, value, err);
}

static void move_single_text_last(struct qvl_input *in)
{
    if (in->n_part - in->n_media != 1)
        return;
    for (size_t i = 0; i + 1 < in->n_part; i++)
        if (in->part[i].kind == QVL_PART_TEXT) {
            struct qvl_part text = in->part[i];
            in->part[i] = in->part[i + 1];
            in->part[i + 1] = text;
        }
}

struct qvl_chat_json_settings qvl_input_chat_settings(const struct qvl_options *o)
{
    return (struct qvl_chat_json_settings){
        .base_dir = "", .image = media_options(o), .video = media_options(o), .sample_fps = o->sample_fps};
}

enum qvl_status qvl_input_read_chat(const char *path, const struct qvl_chat_json_settings *settings,
                                    struct qvl_chat_json *out, struct qvl_error *err)
{
    struct qvl_chat_json_settings here = *settings;
    struct qvl_bytes json = {0}, folder = {0};
    const char *slash = strrchr(path, '/');
    enum qvl_status status = qvl_os_read_file(path, QVL_MAX_CHAT_JSON_BYTES, &json, err);
    if (!status)
        status = qvl_bytes_add(&folder, path, slash ? (size_t)(slash - path) + 1 : 0, err);
    if (!status) {
        here.name = path;
        here.base_dir = folder.data;
        status = qvl_chat_json_open(json.n ? json.data : "", json.n, &here, out, err);
    }
    qvl_bytes_free(&json);
    qvl_bytes_free(&folder);
    return status;
}

/* Without a text so far: what is on stdin, if anything is. */
static enum qvl_status read_prompt(struct qvl_input *in, const struct qvl_options *o, struct qvl_error *err)
{
    struct qvl_error empty = {0};
    enum qvl_status status = QVL_OK;
    if (in->n_part == in->n_media && !in->from_stdin.n && !isatty(STDIN_FILENO)) {
        if (!(status = qvl_input_read_stdin(&in->from_stdin, &empty)))
            return use_stdin(in, o, QVL_ITEM_WORD, err);
        if (status != QVL_ERR_ARGUMENT) {
            *err = empty;
            return status;
        }
    }
    return QVL_OK;
}

enum qvl_status qvl_input_open(const struct qvl_options *options, struct qvl_input *out, struct qvl_error *err)
{
    size_t n_item = options->n_item, n_used = 0;
    enum qvl_status status = QVL_OK;
    *out = (struct qvl_input){0};
    struct qvl_item *item = calloc(n_item + 1, sizeof *item);
    if (!item)
        status = qvl_fail_memory(err, (n_item + 1) * sizeof *item, "the command line");
    for (size_t i = 0; i < n_item && !status; i++) {
        item[i] = options->item[i];
        status = resolve_item(out, &item[i], err);
    }
    for (size_t i = 0; i < n_item && !status; i += n_used)
        status = add_item(out, options, &item[i], n_item - i, &n_used, err);
    if (!status && !options->is_interactive)
        status = read_prompt(out, options, err);
    if (!status && !options->is_interactive && out->n_part == out->n_media)
        status = qvl_fail(err, QVL_ERR_ARGUMENT,
                          "there is no prompt: say what to do, as in: qvl photo.jpg \"What is this?\"");
    free(item);
    if (status)
        qvl_input_close(out);
    else
        move_single_text_last(out);
    return status;
}

void qvl_input_drop_last(struct qvl_input *input)
{
    const struct qvl_part *part = &input->part[--input->n_part];
    if (part->kind == QVL_PART_TEXT)
        return;
    input->n_media--;
    input->n_clip -= part->kind == QVL_PART_VIDEO;
    if (part->source.from == QVL_FROM_FD)
        close(input->fd[--input->n_fd]);
}

void qvl_input_close(struct qvl_input *input)
{
    for (size_t i = 0; i < input->n_fd; i++)
        close(input->fd[i]);
    qvl_arena_free(&input->arena);
    free(input->fd);
    free(input->part);
    qvl_bytes_free(&input->from_stdin);
    *input = (struct qvl_input){0};
}

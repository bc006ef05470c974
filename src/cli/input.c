#include "cli/input.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/os.h"
#include "base/utf8.h"

/* ---- what a word is ------------------------------------------------------------------------------ */

static bool is_one_of(const char *extension, const char *const *list)
{
    for (; *list; list++)
        if (strcasecmp(extension, *list) == 0)
            return true;
    return false;
}

/* What follows the last dot of the last path component; "" when there is none. */
static const char *extension_of(const char *word)
{
    const char *slash = strrchr(word, '/');
    const char *dot = strrchr(slash ? slash : word, '.');
    return dot ? dot + 1 : "";
}

static bool is_picture_name(const char *word)
{
    static const char *const list[] = {"jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp", "tif", "tiff",
                                       NULL};
    return is_one_of(extension_of(word), list);
}

static bool is_clip_name(const char *word)
{
    static const char *const list[] = {"mp4", "m4v", "mov", "mkv", "webm", "avi", "mpg", "mpeg", "flv", "wmv",
                                       "3gp", NULL};
    return is_one_of(extension_of(word), list);
}

/* A path of some other file: a slash, no space, and an extension that begins with a letter. */
static bool is_path_name(const char *word)
{
    const char *extension = extension_of(word);
    size_t n = strlen(extension);
    if (!strchr(word, '/') || strpbrk(word, " \t\n") || n < 1 || n > 5)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)extension[i]))
            return false;
    return isalpha((unsigned char)extension[0]);
}

/* The beginning of a JPEG, PNG, GIF, WebP, BMP or TIFF. */
static bool is_picture_content(const unsigned char *b, size_t n)
{
    return (n >= 3 && memcmp(b, "\xFF\xD8\xFF", 3) == 0) || (n >= 8 && memcmp(b, "\x89PNG\r\n\x1a\n", 8) == 0) ||
           (n >= 6 && (memcmp(b, "GIF87a", 6) == 0 || memcmp(b, "GIF89a", 6) == 0)) ||
           (n >= 12 && memcmp(b, "RIFF", 4) == 0 && memcmp(b + 8, "WEBP", 4) == 0) ||
           (n >= 14 && memcmp(b, "BM", 2) == 0 && memcmp(b + 6, "\0\0\0\0", 4) == 0) ||
           (n >= 4 && (memcmp(b, "II*\0", 4) == 0 || memcmp(b, "MM\0*", 4) == 0));
}

static bool has_picture_content(const char *path)
{
    unsigned char head[16];
    struct qvl_error ignored; /* not a file: not a picture */
    uint64_t n_bytes = 0;
    int fd = -1;
    if (qvl_os_open_file(path, &fd, &n_bytes, &ignored))
        return false;
    ssize_t n = read(fd, head, sizeof head);
    close(fd);
    return n > 0 && is_picture_content(head, (size_t)n);
}

static bool is_missing(const char *path)
{
    return access(path, F_OK) != 0 && errno == ENOENT;
}

/* ---- parts --------------------------------------------------------------------------------------- */

static enum qvl_status add_text(struct qvl_input *in, const char *text, size_t n, struct qvl_error *err)
{
    if (!qvl_utf8_is_valid(text, n))
        return qvl_fail(err, QVL_ERR_ARGUMENT, "the prompt is not UTF-8");
    in->part[in->n_part++] = (struct qvl_part){.kind = QVL_PART_TEXT, .utf8 = text, .n = n};
    return QVL_OK;
}

static struct qvl_part *add_media(struct qvl_input *in, enum qvl_part_kind kind, const char *name)
{
    struct qvl_part *part = &in->part[in->n_part++];
    *part = (struct qvl_part){.kind = kind, .source = {.name = name, .fd = -1}};
    in->n_picture++;
    return part;
}

static enum qvl_status add_file(struct qvl_input *in, const char *path, struct qvl_error *err)
{
    uint64_t n_bytes = 0;
    int fd = -1;
    enum qvl_status status = qvl_os_open_file(path, &fd, &n_bytes, err);
    if (status) {
        err->status = QVL_ERR_MEDIA; /* the sentence stays: here a missing file is a missing picture */
        return err->status;
    }
    in->fd[in->n_fd++] = fd;
    struct qvl_part *part = add_media(in, is_clip_name(path) ? QVL_PART_VIDEO : QVL_PART_IMAGE, path);
    part->source.from = QVL_FROM_FD;
    part->source.fd = fd;
    return QVL_OK;
}

static enum qvl_status read_stdin(struct qvl_input *in, struct qvl_error *err)
{
    char buffer[65536];
    for (;;) {
        ssize_t n = read(STDIN_FILENO, buffer, sizeof buffer);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return qvl_fail(err, QVL_ERR_FILE, "stdin: cannot read: %s", strerror(errno));
        if (n == 0)
            break;
        if (in->from_stdin.n + (size_t)n > QVL_MAX_IMAGE_FILE_BYTES)
            return qvl_fail(err, QVL_ERR_LIMIT, "stdin: more than %llu bytes", QVL_MAX_IMAGE_FILE_BYTES);
        enum qvl_status status = qvl_bytes_add(&in->from_stdin, buffer, (size_t)n, err);
        if (status)
            return status;
    }
    return QVL_OK;
}

/* What was read: a picture by its content, else text. */
static enum qvl_status use_stdin(struct qvl_input *in, bool is_image, struct qvl_error *err)
{
    const struct qvl_bytes *b = &in->from_stdin;
    if (!is_image && !is_picture_content((const unsigned char *)b->data, b->n))
        return add_text(in, b->data, b->n - (b->data[b->n - 1] == '\n'), err); /* as $(…) does */
    struct qvl_part *part = add_media(in, QVL_PART_IMAGE, "stdin");
    part->source.from = QVL_FROM_BYTES;
    part->source.bytes = (const uint8_t *)b->data;
    part->source.n_bytes = b->n;
    return QVL_OK;
}

/* The argument "-". */
static enum qvl_status add_stdin(struct qvl_input *in, bool is_image, struct qvl_error *err)
{
    if (in->from_stdin.n)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "stdin (-) can be used once only");
    enum qvl_status status = read_stdin(in, err);
    if (!status && !in->from_stdin.n)
        status = qvl_fail(err, QVL_ERR_ARGUMENT, "stdin is empty");
    return status ? status : use_stdin(in, is_image, err);
}

static enum qvl_status add_word(struct qvl_input *in, const char *word, struct qvl_error *err)
{
    bool is_media_name = is_picture_name(word) || is_clip_name(word);
    if (strcmp(word, "-") == 0)
        return add_stdin(in, false, err);
    if (strchr(word, '\n') || strlen(word) > 4096)
        return add_text(in, word, strlen(word), err);
    if (!is_media_name && !is_path_name(word) && !has_picture_content(word))
        return add_text(in, word, strlen(word), err);
    if (is_missing(word))
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: no such file (use --prompt to send it as text)", word);
    if (!is_media_name && !has_picture_content(word))
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: not a picture (use --prompt to send it as text)", word);
    return add_file(in, word, err);
}

static void move_single_text_last(struct qvl_input *in)
{
    if (in->n_part - in->n_picture != 1)
        return;
    for (size_t i = 0; i + 1 < in->n_part; i++)
        if (in->part[i].kind == QVL_PART_TEXT) {
            struct qvl_part text = in->part[i];
            in->part[i] = in->part[i + 1];
            in->part[i + 1] = text;
        }
}

static void apply_media_options(const struct qvl_options *o, struct qvl_input *in)
{
    enum { TOKEN_PIXELS = 32 * 32 };
    for (size_t i = 0; i < in->n_part; i++)
        in->part[i].media = (struct qvl_media_options){
            .min_pixels = o->min_pixels ? o->min_pixels : o->min_image_tokens * TOKEN_PIXELS,
            .max_pixels = o->max_pixels ? o->max_pixels : o->max_image_tokens * TOKEN_PIXELS,
            .resize = o->resize};
}

enum qvl_status qvl_input_open(const struct qvl_options *options, struct qvl_input *out, struct qvl_error *err)
{
    size_t n_max = options->n_item + 1;
    enum qvl_status status = QVL_OK;
    *out = (struct qvl_input){0};
    out->part = calloc(n_max, sizeof *out->part);
    out->fd = calloc(n_max, sizeof *out->fd);
    if (!out->part || !out->fd)
        status = qvl_fail_memory(err, n_max * sizeof *out->part, "the command line");
    for (size_t i = 0; i < options->n_item && !status; i++) {
        const struct qvl_item *item = &options->item[i];
        if (item->kind == QVL_ITEM_TEXT)
            status = add_text(out, item->value, strlen(item->value), err);
        else if (item->kind == QVL_ITEM_WORD)
            status = add_word(out, item->value, err);
        else
            status = strcmp(item->value, "-") == 0 ? add_stdin(out, true, err) : add_file(out, item->value, err);
    }
    bool has_text = out->n_part > out->n_picture;
    if (!status && !has_text && !out->from_stdin.n && !isatty(STDIN_FILENO) && !(status = read_stdin(out, err)) &&
        out->from_stdin.n)
        status = use_stdin(out, false, err);
    if (!status && out->n_part == out->n_picture)
        status = qvl_fail(err, QVL_ERR_ARGUMENT,
                          "there is no prompt: say what to do, as in: qvl photo.jpg \"What is this?\"");
    if (status) {
        qvl_input_close(out);
        return status;
    }
    move_single_text_last(out);
    apply_media_options(options, out);
    return QVL_OK;
}

void qvl_input_close(struct qvl_input *input)
{
    for (size_t i = 0; i < input->n_fd; i++)
        close(input->fd[i]);
    free(input->fd);
    free(input->part);
    qvl_bytes_free(&input->from_stdin);
    *input = (struct qvl_input){0};
}

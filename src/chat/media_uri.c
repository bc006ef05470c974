#include "chat/media_uri.h"

#include <nettle/base64.h>
#include <string.h>
#include <strings.h>

#include "base/limits.h"

/* A string with the place it came from. */
struct uri {
    const char *where, *s;
    size_t n;
};

static bool begins_with(const struct uri *u, const char *prefix)
{
    size_t n = strlen(prefix);
    return u->n >= n && strncasecmp(u->s, prefix, n) == 0;
}

/* ---- data: --------------------------------------------------------------------------------------- */

static const char base64_marker[] = ";base64";

enum qvl_status qvl_media_base64_read(const char *where, const char *text, size_t n, struct qvl_arena *arena,
                                      struct qvl_picture_file *out, struct qvl_error *err)
{
    struct base64_decode_ctx decoder;
    size_t n_bytes = 0;
    uint8_t *bytes = qvl_arena_alloc(arena, BASE64_DECODE_LENGTH(n), 1, "a picture or clip in a data: URI", err);
    if (!bytes)
        return err->status;
    base64_decode_init(&decoder);
    if (!base64_decode_update(&decoder, &n_bytes, bytes, n, text) || !base64_decode_final(&decoder))
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: what should be base64 is not, or was cut", where);
    if (n_bytes == 0)
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: there is no data", where);
    *out = (struct qvl_picture_file){.bytes = bytes, .n_bytes = n_bytes};
    return QVL_OK;
}

/* What follows the first comma, where ";base64" stands before it; else NULL. */
static const char *find_base64(const struct uri *u, size_t *out_n)
{
    const size_t n_marker = sizeof base64_marker - 1;
    const char *comma = memchr(u->s, ',', u->n);
    if (!comma || (size_t)(comma - u->s) < n_marker || strncasecmp(comma - n_marker, base64_marker, n_marker) != 0)
        return NULL;
    *out_n = u->n - (size_t)(comma + 1 - u->s);
    return comma + 1;
}

static enum qvl_status read_data(const struct uri *u, struct qvl_arena *arena, struct qvl_picture_file *out,
                                 struct qvl_error *err)
{
    size_t n = 0;
    const char *text = find_base64(u, &n);
    if (!text)
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: a data: URI must have \";base64,\" before its data", u->where);
    return qvl_media_base64_read(u->where, text, n, arena, out, err);
}

const char *qvl_media_data_type(const char *uri, size_t n, size_t *out_n)
{
    const struct uri u = {"", uri, n};
    if (!begins_with(&u, "data:"))
        return NULL;
    const char *type = uri + strlen("data:");
    size_t n_left = n - strlen("data:"), n_type = 0;
    while (n_type < n_left && type[n_type] != ';' && type[n_type] != ',')
        n_type++;
    *out_n = n_type;
    return type;
}

size_t qvl_media_data_n_frame(const char *uri, size_t n)
{
    static const char frames_type[] = "video/jpeg";
    const struct uri u = {"", uri, n};
    size_t n_type = 0, n_text = 0, n_frame = 1;
    const char *type = qvl_media_data_type(uri, n, &n_type), *text = type ? find_base64(&u, &n_text) : NULL;
    if (!text)
        return 0;
    const char *end = text + n_text;
    for (const char *comma = memchr(text, ',', n_text); comma;
         comma = memchr(comma + 1, ',', (size_t)(end - comma - 1)))
        n_frame++;
    bool is_frames = n_type == sizeof frames_type - 1 && strncasecmp(type, frames_type, n_type) == 0;
    return is_frames || n_frame > 1 ? n_frame : 0;
}

enum qvl_status qvl_media_data_frames_read(const char *where, const char *uri, size_t n, struct qvl_arena *arena,
                                           struct qvl_picture_file *out, struct qvl_error *err)
{
    const struct uri u = {where, uri, n};
    size_t n_left = 0;
    enum qvl_status status = QVL_OK;
    for (const char *text = find_base64(&u, &n_left); text && !status; out++) {
        const char *comma = memchr(text, ',', n_left);
        size_t n_frame = comma ? (size_t)(comma - text) : n_left;
        status = qvl_media_base64_read(where, text, n_frame, arena, out, err);
        text = comma ? comma + 1 : NULL;
        n_left -= comma ? n_frame + 1 : n_frame;
    }
    return status;
}

/* ---- files --------------------------------------------------------------------------------------- */

static int hex_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Into out, which has room for u->n bytes. */
static enum qvl_status decode_percent(const struct uri *u, char *out, size_t *out_n, struct qvl_error *err)
{
    size_t n = 0;
    for (size_t i = 0; i < u->n; i++) {
        char c = u->s[i];
        if (c == '%') {
            int high = u->n - i > 2 ? hex_value(u->s[i + 1]) : -1, low = u->n - i > 2 ? hex_value(u->s[i + 2]) : -1;
            if (high < 0 || low < 0)
                return qvl_fail(err, QVL_ERR_ARGUMENT,
                                "%s: \"%%\" in a file URI must be followed by two hexadecimal digits", u->where);
            c = (char)(high * 16 + low);
            i += 2;
        }
        out[n++] = c;
    }
    *out_n = n;
    return QVL_OK;
}

static enum qvl_status read_path(const struct uri *u, const char *base_dir, struct qvl_arena *arena,
                                 struct qvl_picture_file *out, struct qvl_error *err)
{
    if (u->n == 0)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: the path is empty", u->where);
    if (memchr(u->s, 0, u->n))
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: the path holds a NUL character", u->where);
    if (u->n > QVL_MAX_PATH_BYTES)
        return qvl_fail(err, QVL_ERR_ARGUMENT,
                        "%s: a path of %zu bytes; base64 needs \"data:image/jpeg;base64,\" before it", u->where,
                        u->n);
    bool is_whole = u->s[0] == '/' || base_dir[0] == 0;
    size_t n_dir = is_whole ? 0 : strlen(base_dir);
    const char *slash = is_whole || base_dir[n_dir - 1] == '/' ? "" : "/";
    const char *path = qvl_arena_format(arena, err, "%s%s%.*s", is_whole ? "" : base_dir, slash, (int)u->n, u->s);
    *out = (struct qvl_picture_file){.path = path};
    return path ? QVL_OK : err->status;
}

static enum qvl_status read_file_uri(const struct uri *u, const char *base_dir, struct qvl_arena *arena,
                                     struct qvl_picture_file *out, struct qvl_error *err)
{
    struct uri rest = {u->where, u->s + strlen("file:"), u->n - strlen("file:")};
    if (begins_with(&rest, "//")) {
        const char *host = rest.s + 2, *slash = memchr(host, '/', rest.n - 2);
        size_t n_host = slash ? (size_t)(slash - host) : rest.n - 2;
        bool is_here = n_host == 0 || (n_host == 9 && strncasecmp(host, "localhost", 9) == 0);
        if (!slash || !is_here)
            return qvl_fail(err, QVL_ERR_ARGUMENT,
                            "%s: \"%.*s\" stands where a file URI names the computer: a path needs three slashes, "
                            "file:///",
                            u->where, n_host < 80 ? (int)n_host : 80, host);
        rest.n -= (size_t)(slash - rest.s);
        rest.s = slash;
    }
    char *decoded = qvl_arena_alloc(arena, rest.n, 1, "a path", err);
    if (!decoded)
        return err->status;
    struct uri path = {.where = u->where, .s = decoded};
    enum qvl_status status = decode_percent(&rest, decoded, &path.n, err);
    return status ? status : read_path(&path, base_dir, arena, out, err);
}

/* Length of "http" in "http://…", or 0. */
static size_t scheme_length(const struct uri *u)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-";
    size_t n = 0;
    while (n < u->n && u->s[n] && strchr(letters, u->s[n]))
        n++;
    return u->n - n >= 3 && memcmp(u->s + n, "://", 3) == 0 ? n : 0;
}

/* ---- the door ------------------------------------------------------------------------------------ */

enum qvl_status qvl_media_uri_read(const char *where, const char *uri, size_t n, const char *base_dir,
                                   struct qvl_arena *arena, struct qvl_picture_file *out, struct qvl_error *err)
{
    const struct uri u = {where, uri, n};
    if (begins_with(&u, "data:"))
        return read_data(&u, arena, out, err);
    bool is_file_uri = begins_with(&u, "file:");
    size_t n_scheme = is_file_uri ? 0 : scheme_length(&u);
    if (n_scheme > 0)
        return qvl_fail(err, QVL_ERR_ARGUMENT,
                        "%s: nothing is fetched by %.*s: download the file first, and give its path", where,
                        n_scheme < 40 ? (int)n_scheme : 40, uri);
    if (!base_dir)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: files are not read here: send a data: URI with base64", where);
    return is_file_uri ? read_file_uri(&u, base_dir, arena, out, err) : read_path(&u, base_dir, arena, out, err);
}

/* A folder's names are gathered as one string with a NUL after each, then become paths in the arena, sorted. */
#include "chat/picture_folder.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "base/limits.h"

static const double DEFAULT_FPS = 2; /* qwen-vl-utils, sample_fps of a list of pictures */

const char *qvl_path_ending(const char *path)
{
    const char *slash = strrchr(path, '/'), *dot = strrchr(slash ? slash : path, '.');
    return dot ? dot + 1 : "";
}

bool qvl_is_picture_name(const char *path)
{
    static const char *const endings[] = {"jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif",
                                          "bmp", "tif", "tiff", "heic", "heif", "avif"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (strcasecmp(qvl_path_ending(path), endings[i]) == 0)
            return true;
    return false;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Numbers of any length by their value, all else byte by byte; 0 for a7 and a07. */
static int compare_naturally(const char *a, const char *b)
{
    while (*a && *b) {
        if (is_digit(*a) && is_digit(*b)) {
            a += strspn(a, "0");
            b += strspn(b, "0");
            size_t n_a = strspn(a, "0123456789"), n_b = strspn(b, "0123456789");
            int order = n_a != n_b ? (n_a < n_b ? -1 : 1) : memcmp(a, b, n_a);
            if (order)
                return order;
            a += n_a;
            b += n_b;
        } else if (*a != *b) {
            break;
        } else {
            a++;
            b++;
        }
    }
    return (unsigned char)*a - (unsigned char)*b;
}

static int compare_pictures(const void *a, const void *b)
{
    const struct qvl_picture_file *x = a, *y = b;
    int order = compare_naturally(x->path, y->path);
    return order ? order : strcmp(x->path, y->path);
}

/* Appends the name and a NUL of each picture; *out_n: how many. */
static enum qvl_status read_names(const char *path, struct qvl_bytes *names, size_t *out_n, struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    size_t n = 0;
    DIR *dir = opendir(path);
    if (!dir)
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: cannot open the folder: %s", path, qvl_errno_text(errno));
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (!entry) {
            if (errno)
                status =
                    qvl_fail(err, QVL_ERR_MEDIA, "%s: cannot read the folder: %s", path, qvl_errno_text(errno));
            break;
        }
        if (entry->d_name[0] == '.' || !qvl_is_picture_name(entry->d_name))
            continue;
        if (n == QVL_MAX_CLIP_FRAMES) {
            status = qvl_fail(err, QVL_ERR_LIMIT, "%s: the folder has more than %u pictures", path,
                              QVL_MAX_CLIP_FRAMES);
            break;
        }
        if ((status = qvl_bytes_add(names, entry->d_name, strlen(entry->d_name) + 1, err)))
            break;
        n++;
    }
    closedir(dir);
    *out_n = n;
    return status;
}

enum qvl_status qvl_picture_folder_list(const char *dir, double fps, struct qvl_arena *arena,
                                        struct qvl_picture_file **out, size_t *out_n, struct qvl_error *err)
{
    struct qvl_bytes names = {0};
    struct qvl_picture_file *picture = NULL;
    size_t n = 0, n_dir = strlen(dir);
    const char *between = n_dir > 0 && dir[n_dir - 1] == '/' ? "" : "/";
    enum qvl_status status = read_names(dir, &names, &n, err);
    if (!status && n == 0)
        status = qvl_fail(err, QVL_ERR_MEDIA, "%s: the folder has no picture (.jpg, .png, .webp, ...)", dir);
    if (status)
        goto fail;
    if (!(picture = qvl_arena_alloc(arena, n, sizeof *picture, "the pictures of a folder", err))) {
        status = err->status;
        goto fail;
    }
    const char *name = names.data;
    for (size_t i = 0; i < n; i++, name += strlen(name) + 1)
        if (!(picture[i].path = qvl_arena_format(arena, err, "%s%s%s", dir, between, name))) {
            status = err->status;
            goto fail;
        }
    qsort(picture, n, sizeof *picture, compare_pictures);
    if ((status = qvl_picture_times_set(dir, picture, n, fps, err)))
        goto fail;
    *out = picture;
    *out_n = n;
fail:
    qvl_bytes_free(&names);
    return status;
}

enum qvl_status qvl_picture_times_set(const char *name, struct qvl_picture_file *picture, size_t n, double fps,
                                      struct qvl_error *err)
{
    if (fps == 0)
        fps = DEFAULT_FPS;
    if (!(fps > 0 && fps <= QVL_MAX_CLIP_FPS))
        return qvl_fail(err, QVL_ERR_ARGUMENT,
                        "%s: %g pictures a second: the rate must be above 0 and at most %.0f", name, fps,
                        QVL_MAX_CLIP_FPS);
    if (n > 0 && (double)(n - 1) / fps > QVL_MAX_CLIP_SECONDS)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: %zu pictures, %g a second: a clip of more than %u seconds",
                        name, n, fps, QVL_MAX_CLIP_SECONDS);
    for (size_t i = 0; i < n; i++)
        picture[i].time_s = (double)i / fps;
    return QVL_OK;
}

/* Names in, paths out. Everything that a server or a cache names goes through qvl_hub_path_is_inside: the holes
 * that programs like this one have had ("../" in a digest, an absolute name in a listing) are all one hole.
 */
#include "hub/path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "hub/walk.h"

_Static_assert(QVL_HUB_PATH_BYTES == PATH_MAX, "as long as the system allows");

/* U+0080 ... U+009F in UTF-8: to some terminals what ESC begins. */
static bool is_c1(const char *text, size_t n)
{
    return n > 1 && (unsigned char)text[0] == 0xc2 && (unsigned char)text[1] < 0xa0;
}

/* A part of a name: n bytes that end before '/' or NUL. */
static bool is_good_part(const char *part, size_t n)
{
    if (n == 0 || n > NAME_MAX || part[0] == '~' || part[0] == '-')
        return false;
    if ((n == 1 && part[0] == '.') || (n == 2 && part[0] == '.' && part[1] == '.'))
        return false;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)part[i] < 0x20 || part[i] == 0x7f || part[i] == '\\' || is_c1(part + i, n - i))
            return false;
    return true;
}

static bool is_kept_by_caches(const char *part, size_t n)
{
    static const char *const kept[] = {".cache", ".git", ".qvl-part", "._____temp"};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (strlen(kept[i]) == n && memcmp(kept[i], part, n) == 0)
            return true;
    return false;
}

bool qvl_hub_path_is_inside(const char *inside)
{
    if (strlen(inside) > QVL_MAX_HUB_NAME_BYTES || is_kept_by_caches(inside, strcspn(inside, "/")))
        return false;
    for (const char *part = inside;; part++) {
        size_t n = strcspn(part, "/");
        if (!is_good_part(part, n))
            return false;
        part += n;
        if (*part == 0)
            return true;
    }
}

enum qvl_status qvl_hub_path_too_long(const char *path, struct qvl_error *err)
{
    return qvl_fail(err, QVL_ERR_FILE, "%.200s…: the path is too long", path);
}

bool qvl_hub_path_add(char out[QVL_HUB_PATH_BYTES], const char *folder, const char *name)
{
    size_t n_folder = strlen(folder), n_name = strlen(name);
    if (n_folder + 1 + n_name >= QVL_HUB_PATH_BYTES)
        return false;
    if (out != folder)
        memcpy(out, folder, n_folder + 1);
    out[n_folder] = '/';
    memcpy(out + n_folder + 1, name, n_name + 1);
    return true;
}

enum qvl_status qvl_hub_path_join(char out[QVL_HUB_PATH_BYTES], const char *folder, const char *inside,
                                  struct qvl_error *err)
{
    if (!qvl_hub_path_is_inside(inside))
        return qvl_fail(err, QVL_ERR_FILE, "\"%.200s\" is no name of a file inside a model: refused", inside);
    if (!qvl_hub_path_add(out, folder, inside))
        return qvl_hub_path_too_long(folder, err);
    return QVL_OK;
}

enum qvl_status qvl_hub_path_make_parents(const char *path, struct qvl_error *err)
{
    char folder[QVL_HUB_PATH_BYTES];
    if (strlen(path) >= sizeof folder)
        return qvl_hub_path_too_long(path, err);
    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        memcpy(folder, path, (size_t)(slash - path));
        folder[slash - path] = 0;
        if (mkdir(folder, 0777) != 0 && errno != EEXIST && errno != EROFS && errno != EACCES)
            return qvl_fail(err, QVL_ERR_FILE, "%s: cannot make the folder: %s", folder, qvl_errno_text(errno));
        struct stat st;
        int why = errno;
        if (stat(folder, &st) != 0)
            return qvl_fail(err, QVL_ERR_FILE, "%s: cannot make the folder: %s", folder, qvl_errno_text(why));
        if (!S_ISDIR(st.st_mode))
            return qvl_fail(err, QVL_ERR_FILE, "%s: not a folder", folder);
    }
    return QVL_OK;
}

enum qvl_status qvl_hub_path_remove(const char *path, struct qvl_error *err)
{
    struct qvl_hub_walk walk;
    if (unlink(path) == 0 || errno == ENOENT)
        return QVL_OK;
    /* Not through a link that somebody has put in its place meanwhile. */
    enum qvl_status status = qvl_hub_walk_open_folder(path, &walk, err);
    if (status)
        return status;
    while (qvl_hub_walk_next(&walk)) {
        bool is_folder = S_ISDIR(walk.st.st_mode);
        if ((is_folder && !walk.is_leaving) || unlinkat(walk.fd, walk.name, is_folder ? AT_REMOVEDIR : 0) == 0 ||
            errno == ENOENT)
            continue;
        status =
            qvl_fail(err, QVL_ERR_FILE, "%s: cannot remove %s in it: %s", path, walk.name, qvl_errno_text(errno));
        goto fail;
    }
    if (rmdir(path) != 0 && errno != ENOENT)
        status = qvl_fail(err, QVL_ERR_FILE, "%s: cannot remove: %s", path, qvl_errno_text(errno));
fail:
    qvl_hub_walk_close(&walk);
    return status;
}

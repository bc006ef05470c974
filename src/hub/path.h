/* path.h: the one place where a name that somebody else has chosen (a listing's, a server's, a folder's in a cache)
 * becomes part of a path. */
#ifndef QVL_HUB_PATH_H
#define QVL_HUB_PATH_H

#include "base/error.h"

#define QVL_HUB_PATH_BYTES 4096 /* PATH_MAX: the size of every path in this room */

/* Whether it names a file or folder below the one it is joined to, and nothing else: parts with '/' between, of
 * which none is empty, "." or "..", begins with '~' or '-', has more than 255 bytes, or holds a control character
 * or '\'. In all at most QVL_MAX_HUB_NAME_BYTES. A listing's files: the first part is also none of those that
 * caches keep for themselves (.cache, .git, .qvl-part, ._____temp). */
bool qvl_hub_path_is_inside(const char *inside);
/* FOLDER/INSIDE. QVL_ERR_FILE: it is not inside, or too long. out may be `folder`. */
enum qvl_status qvl_hub_path_join(char out[QVL_HUB_PATH_BYTES], const char *folder, const char *inside,
                                  struct qvl_error *err);
/* FOLDER/NAME for a name of this room's own making (a constant, a hash): false where it is too long. */
bool qvl_hub_path_add(char out[QVL_HUB_PATH_BYTES], const char *folder, const char *name);
/* The sentence for that. */
enum qvl_status qvl_hub_path_too_long(const char *path, struct qvl_error *err);

/* Every folder above the path's last part, made where it is not there. */
enum qvl_status qvl_hub_path_make_parents(const char *path, struct qvl_error *err);
/* The folder or file and all in it, links not followed; what is not there is no error. */
enum qvl_status qvl_hub_path_remove(const char *path, struct qvl_error *err);

#endif

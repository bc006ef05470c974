/* media_path.h: files below one folder (--media-path), and nothing else of the disk. */
#ifndef QVL_SERVER_MEDIA_PATH_H
#define QVL_SERVER_MEDIA_PATH_H

#include "base/error.h"

struct qvl_media_path;

/* QVL_ERR_FILE: not a folder that can be opened, or the kernel lacks openat2 (Linux 5.6). */
enum qvl_status qvl_media_path_open(const char *folder, struct qvl_media_path **out, struct qvl_error *err);
void qvl_media_path_close(struct qvl_media_path *path);

/* Opens a regular file below the folder for reading. n bytes at uri: file:///PATH, file://localhost/PATH, file:PATH
 * (percent-decoded), file://PATH as llama.cpp has it, or a path. PATH is absolute with the folder's own name in
 * front, or seen from the folder, with or without a slash before it. No symbolic link is followed, wherever it
 * points to, and ".." leads nowhere above the folder.
 *
 * QVL_ERR_MEDIA, one sentence for all that cannot be had, so that nobody learns what exists elsewhere;
 * QVL_ERR_ARGUMENT: no path at all. Sentences begin with `where`. Any thread. */
enum qvl_status qvl_media_path_open_file(const struct qvl_media_path *path, const char *where, const char *uri,
                                         size_t n, int *out_fd, struct qvl_error *err);

#endif

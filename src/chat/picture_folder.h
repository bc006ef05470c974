/* picture_folder.h: a folder, or any other list, of pictures as a clip. */
#ifndef QVL_CHAT_PICTURE_FOLDER_H
#define QVL_CHAT_PICTURE_FOLDER_H

#include "base/arena.h"

/* What follows the last dot of a path's last name; "" where there is none. */
const char *qvl_path_ending(const char *path);
/* By the ending, in any case: ".jpg", ".png", ".heic" and their like. The path may have folders before the name. */
bool qvl_is_picture_name(const char *path);

/* The folder's pictures in natural order (frame2 before frame10), those with known endings that are not hidden, as
 * source.pictures of QVL_FROM_PICTURES; picture i stands at i / fps seconds (fps 0: 2, as in qwen-vl-utils). Paths
 * are dir's and "/" and the name. All in `arena`. QVL_ERR_MEDIA: a folder that cannot be read or has no picture;
 * QVL_ERR_LIMIT: more than QVL_MAX_CLIP_FRAMES of them; QVL_ERR_ARGUMENT: the rate. */
enum qvl_status qvl_picture_folder_list(const char *dir, double fps, struct qvl_arena *arena,
                                        struct qvl_picture_file **out, size_t *out_n, struct qvl_error *err);

/* Sets the times of n pictures: i / fps seconds; fps 0: 2. `name` begins the sentences. QVL_ERR_ARGUMENT: a rate
 * that is not above 0 and at most QVL_MAX_CLIP_FPS, or one that makes the clip longer than QVL_MAX_CLIP_SECONDS. */
enum qvl_status qvl_picture_times_set(const char *name, struct qvl_picture_file *picture, size_t n, double fps,
                                      struct qvl_error *err);

#endif

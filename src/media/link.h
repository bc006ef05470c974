/* link.h: a helper process and what can be said about it: where it is, asking it, the sentence when it does not
 * answer, the memory for its pixels. Shared by pictures (media.c) and clips (clip.c). */
#ifndef QVL_MEDIA_LINK_H
#define QVL_MEDIA_LINK_H

#include "media/media.h"
#include "media/process.h"

struct qvl_media_link {
    char helper_path[4096]; /* "": not found */
    struct qvl_media_process process;
};

/* path: of qvl-media; NULL: where it belongs (media.h). Starts nothing. */
enum qvl_status qvl_media_link_init(struct qvl_media_link *link, const char *path, struct qvl_error *err);

/* A running helper of this mode that has said it is locked in. *out_is_new: it has just been started. What it said
 * against that is reply->fault; whether it is there at all, the outcome. */
enum qvl_media_outcome qvl_media_link_ensure(struct qvl_media_link *link, enum qvl_media_mode mode,
                                             const struct qvl_media_wait *wait, struct qvl_media_reply *reply,
                                             bool *out_is_new);
/* The helper's end has another cause than the file: it is worth asking a new one, once. */
bool qvl_media_link_was_killed(const struct qvl_media_link *link, enum qvl_media_outcome outcome);

/* The sentence about a helper that did not start, and about one that did not answer within waited_ms. */
enum qvl_status qvl_media_link_fail_start(const struct qvl_media_link *link, enum qvl_media_outcome outcome,
                                          struct qvl_error *err);
enum qvl_status qvl_media_link_fail(const struct qvl_media_link *link, const char *name, uint32_t waited_ms,
                                    enum qvl_media_outcome outcome, struct qvl_error *err);

/* The sentence that refuses a size; QVL_OK for an allowed one. */
enum qvl_status qvl_media_check_size(const char *name, uint32_t w, uint32_t h, struct qvl_error *err);

/* Memory of exactly w x h pixels that can neither shrink nor grow. */
enum qvl_status qvl_pixels_create(uint32_t w, uint32_t h, int *out_fd, struct qvl_error *err);
/* Forbids writing, which fails while the helper still holds them writable, and maps them. */
enum qvl_status qvl_pixels_map(const char *name, int fd, uint32_t w, uint32_t h, struct qvl_picture *out,
                               struct qvl_error *err);

#endif

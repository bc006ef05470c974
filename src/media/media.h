/* media.h: ask for pictures, get pixels: the client of qvl-media.
 *
 * qvl-media is a separate process that turns hostile bytes into RGB and may do nothing else (media/helper/).
 * It is itself treated as hostile: whatever it answers is checked against what was asked for.
 *
 * A struct qvl_media may be used by several threads, which then take turns. A helper that one picture has taken
 * over sees the next ones: give each user (each request) a struct of its own where that matters; starting one
 * costs about 2 ms. Errors: QVL_ERR_MEDIA (cannot be read, or is no usable picture), QVL_ERR_FILE (qvl-media or its
 * module is missing, or does not start here: no picture's fault), QVL_ERR_MEMORY, QVL_ERR_ARGUMENT,
 * QVL_ERR_CANCELLED; a sentence about a picture starts with source->name. */
#ifndef QVL_MEDIA_MEDIA_H
#define QVL_MEDIA_MEDIA_H

#include <stdatomic.h>

#include "base/error.h"

struct qvl_media; /* one helper process, started on demand, replaced when it dies or hangs */

struct qvl_media_settings {
    const char *helper_path; /* qvl-media; NULL: beside the running program, else in ../libexec/qvl */
    uint32_t deadline_ms;    /* for one picture or frame, or reading through a clip; 0 = 30,000, and 300,000 */
    uint32_t n_thread;       /* clips: threads to decode on; 0 = 1; at most QVL_MAX_CLIP_THREADS are used */
    bool no_seek;            /* clips: decode every frame from the first one on (for tests: the same bytes) */
};

enum qvl_status qvl_media_open(const struct qvl_media_settings *settings, struct qvl_media **out,
                               struct qvl_error *err); /* starts nothing yet */
void qvl_media_close(struct qvl_media *media);

/* Size after orientation, from the header alone. Nothing is decoded. */
enum qvl_status qvl_media_probe_image(struct qvl_media *media, const struct qvl_media_source *source,
                                      uint32_t *out_w, uint32_t *out_h, const atomic_bool *stop,
                                      struct qvl_error *err);

/* A decoded picture in memory shared with the helper (sealed before it is handed out), or the caller's frame. */
struct qvl_picture {
    struct qvl_frame frame; /* EXIF-oriented, alpha over white, 8-bit RGB; valid until qvl_picture_free */
    void *map;              /* NULL: the caller's frame */
    size_t map_bytes;
};
/* `stop` (may be NULL) true ends the wait with QVL_ERR_CANCELLED. */
enum qvl_status qvl_media_decode_image(struct qvl_media *media, const struct qvl_media_source *source,
                                       struct qvl_picture *out, const atomic_bool *stop, struct qvl_error *err);
void qvl_picture_free(struct qvl_picture *picture);

#endif

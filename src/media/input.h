/* input.h: a source as the helper gets it: a descriptor that can only read, its length and its format. */
#ifndef QVL_MEDIA_INPUT_H
#define QVL_MEDIA_INPUT_H

#include "base/error.h"
#include "media/sniff.h"

struct qvl_media_input {
    const char *name; /* for sentences; as long as the source's */
    int fd;
    bool is_own; /* fd is to be closed */
    uint64_t n_bytes;
    enum qvl_format format;
};

/* source: QVL_FROM_BYTES or QVL_FROM_FD. Refuses what is empty, too large, or no picture (no clip, for
 * want_clip). On failure, too, the caller closes the input. */
enum qvl_status qvl_media_input_open(const struct qvl_media_source *source, bool want_clip,
                                     struct qvl_media_input *input, struct qvl_error *err);
void qvl_media_input_close(struct qvl_media_input *input);

#endif

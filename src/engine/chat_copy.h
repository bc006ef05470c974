/* chat_copy.h: a request's own copy of what its caller passed in, checked against the limits. */
#ifndef QVL_ENGINE_CHAT_COPY_H
#define QVL_ENGINE_CHAT_COPY_H

#include "base/arena.h"

/* Everything but the media's bytes, descriptors and frames. *out_n_media counts the media parts. */
enum qvl_status qvl_chat_copy(const struct qvl_chat *chat, struct qvl_arena *arena, struct qvl_chat *out,
                              size_t *out_n_media, struct qvl_error *err);
/* Stop strings and biases copied, numbers checked; n_id: ids that the tokenizer has. */
enum qvl_status qvl_request_options_copy(const struct qvl_request_options *options, uint32_t n_id,
                                         struct qvl_arena *arena, struct qvl_request_options *out,
                                         struct qvl_error *err);

#endif

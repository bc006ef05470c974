/* serve.h: qvl-media's side of one request. */
#ifndef QVL_MEDIA_HELPER_SERVE_H
#define QVL_MEDIA_HELPER_SERVE_H

#include "media/helper/image.h"
#include "media/protocol.h"

/* The reply to a message of n_bytes that came with n_fd descriptors; closes those. False where the message is
 * not a request: the caller hangs up. av: see image.h. */
bool qvl_serve_request(const struct qvl_media_request *request, size_t n_bytes, const int *fds, size_t n_fd,
                       qvl_av_decode_fn *av, struct qvl_media_reply *reply);

#endif

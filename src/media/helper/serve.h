/* serve.h: qvl-media's side of one request. */
#ifndef QVL_MEDIA_HELPER_SERVE_H
#define QVL_MEDIA_HELPER_SERVE_H

#include "media/helper/clip_reader.h"
#include "media/helper/image.h"
#include "media/protocol.h"

/* What this process can do, and the clip that it has open. */
struct qvl_media_server {
    const struct qvl_av_door *av;     /* NULL: see image.h */
    const struct qvl_clip_door *door; /* NULL: no clips */
    struct qvl_clip_reader *reader;   /* NULL: no clip is open */
    int clip_fd;                      /* of the clip that is open; else unused */
    uint32_t clip_w, clip_h;
    uint64_t n_frame;
};

/* The reply to a message of n_bytes that came with n_fd descriptors; closes those, but for an open clip's. False
 * where the message is not a request, or not one that this process can be asked: the caller hangs up. */
bool qvl_serve_request(struct qvl_media_server *server, const struct qvl_media_request *request, size_t n_bytes,
                       const int *fds, size_t n_fd, struct qvl_media_reply *reply);
void qvl_media_server_close(struct qvl_media_server *server); /* the open clip, if there is one */

#endif

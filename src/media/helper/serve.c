/* One request: descriptors in, a reply and perhaps pixels out.
 *
 * Pictures are mapped, not read: no copy, and PROBE touches only the pages of the header. A file that shrinks
 * meanwhile ends this process, which is what it is there for. A clip can be larger than what may be mapped: it is
 * read where it lies, and its descriptor stays open. */
#include "media/helper/serve.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* All n bytes of a file that has exactly n. NULL where that is not so. */
static void *map_whole(int fd, size_t n, int protection, int sharing)
{
    struct stat st; /* fstat itself: the C library's goes through newfstatat, which takes paths */
    if (syscall(SYS_fstat, fd, &st) != 0 || st.st_size < 0 || (uint64_t)st.st_size != n)
        return NULL;
    void *map = mmap(NULL, n, protection, sharing, fd, 0);
    return map == MAP_FAILED ? NULL : map;
}

static enum qvl_fault probe(const struct qvl_media_request *request, const uint8_t *bytes,
                            const struct qvl_av_door *av, struct qvl_media_reply *reply)
{
    struct qvl_image_info info;
    enum qvl_fault fault = qvl_image_probe(request->format, bytes, request->n_bytes, av, &info);
    if (fault)
        return fault;
    bool is_swapped = qvl_orientation_swaps(info.orientation);
    reply->w = is_swapped ? info.h : info.w;
    reply->h = is_swapped ? info.w : info.h;
    return QVL_FAULT_NONE;
}

/* Pixels of a picture (its bytes), or of a frame of the open clip (bytes NULL). Their memory is let go before the
 * reply: the parent then forbids writing. */
static enum qvl_fault decode(const struct qvl_media_server *server, const struct qvl_media_request *request,
                             const uint8_t *bytes, int fd, struct qvl_media_reply *reply)
{
    uint32_t w = request->w, h = request->h;
    size_t rgb_bytes = qvl_media_rgb_bytes(w, h);
    uint8_t *rgb = map_whole(fd, rgb_bytes, PROT_READ | PROT_WRITE, MAP_SHARED);
    if (!rgb)
        return QVL_FAULT_MEMORY;
    enum qvl_fault fault =
        bytes ? qvl_image_decode(request->format, bytes, request->n_bytes, server->av, rgb, w, h)
              : server->door->read(server->reader, request->i_frame, rgb, w, h);
    munmap(rgb, rgb_bytes);
    if (fault)
        return fault;
    reply->w = w;
    reply->h = h;
    return QVL_FAULT_NONE;
}

static enum qvl_fault serve_picture(const struct qvl_media_server *server, const struct qvl_media_request *request,
                                    const int *fds, struct qvl_media_reply *reply)
{
    uint8_t *bytes = map_whole(fds[0], request->n_bytes, PROT_READ, MAP_PRIVATE);
    if (!bytes)
        return QVL_FAULT_READ;
    enum qvl_fault fault = request->verb == QVL_MEDIA_PROBE
                               ? probe(request, bytes, server->av, reply)
                               : decode(server, request, bytes, fds[1], reply);
    munmap(bytes, request->n_bytes);
    return fault;
}

static ptrdiff_t read_clip(void *owner, uint64_t at, uint8_t *out, size_t n)
{
    ssize_t n_read;
    do
        n_read = pread(*(const int *)owner, out, n, (off_t)at);
    while (n_read < 0 && errno == EINTR);
    return n_read;
}

static enum qvl_fault open_clip(struct qvl_media_server *server, const struct qvl_media_request *request,
                                struct qvl_media_reply *reply)
{
    const struct qvl_clip_bytes bytes = {
        .read = read_clip, .owner = &server->clip_fd, .n_bytes = request->n_bytes};
    struct qvl_clip_facts facts = {0};
    enum qvl_fault fault = server->door->open(request->format, &bytes, request->no_seek, request->n_thread,
                                              &server->reader, &facts);
    if (fault)
        return fault;
    server->clip_w = reply->w = facts.w;
    server->clip_h = reply->h = facts.h;
    server->n_frame = reply->n_frame = facts.n_frame;
    reply->fps = facts.fps;
    reply->duration_s = facts.duration_s;
    reply->codec = facts.codec;
    reply->is_cut = facts.is_cut;
    return QVL_FAULT_NONE;
}

/* One clip in the life of this process, opened before it is read, and only frames that it has. */
static bool can_serve(const struct qvl_media_server *server, const struct qvl_media_request *request)
{
    if (request->verb == QVL_MEDIA_CLIP)
        return server->door && !server->reader;
    if (request->verb == QVL_MEDIA_FRAME)
        return server->reader && request->w == server->clip_w && request->h == server->clip_h &&
               request->i_frame < server->n_frame;
    return true;
}

bool qvl_serve_request(struct qvl_media_server *server, const struct qvl_media_request *request, size_t n_bytes,
                       const int *fds, size_t n_fd, struct qvl_media_reply *reply)
{
    size_t n_kept = 0;
    bool is_valid = qvl_media_request_is_valid(request, n_bytes, n_fd) && can_serve(server, request);
    if (is_valid) {
        *reply = (struct qvl_media_reply){
            .magic = QVL_MEDIA_MAGIC, .verb = request->verb, .serial = request->serial};
        if (request->verb == QVL_MEDIA_CLIP) {
            server->clip_fd = fds[0];
            reply->fault = open_clip(server, request, reply);
            n_kept = server->reader ? 1 : 0;
        } else if (request->verb == QVL_MEDIA_FRAME) {
            reply->fault = decode(server, request, NULL, fds[0], reply);
        } else {
            reply->fault = serve_picture(server, request, fds, reply);
        }
    }
    for (size_t i = n_kept; i < n_fd; i++)
        close(fds[i]);
    return is_valid;
}

void qvl_media_server_close(struct qvl_media_server *server)
{
    if (!server->reader)
        return;
    server->door->close(server->reader);
    server->reader = NULL;
    close(server->clip_fd);
}

/* One request: descriptors in, a reply and perhaps pixels out.
 *
 * Files are mapped, not read: no copy, and PROBE touches only the pages of the header. A file that shrinks
 * meanwhile ends this process, which is what it is there for. */
#include "media/helper/serve.h"

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
                            struct qvl_media_reply *reply)
{
    struct qvl_image_info info;
    enum qvl_fault fault = qvl_image_probe(request->format, bytes, request->n_bytes, &info);
    if (fault)
        return fault;
    bool is_swapped = qvl_orientation_swaps(info.orientation);
    reply->w = is_swapped ? info.h : info.w;
    reply->h = is_swapped ? info.w : info.h;
    return QVL_FAULT_NONE;
}

static enum qvl_fault decode(const struct qvl_media_request *request, const uint8_t *bytes, int fd,
                             qvl_av_decode_fn *av, struct qvl_media_reply *reply)
{
    size_t rgb_bytes = qvl_media_rgb_bytes(request->w, request->h);
    uint8_t *rgb = map_whole(fd, rgb_bytes, PROT_READ | PROT_WRITE, MAP_SHARED);
    if (!rgb)
        return QVL_FAULT_MEMORY;
    enum qvl_fault fault =
        qvl_image_decode(request->format, bytes, request->n_bytes, av, rgb, request->w, request->h);
    munmap(rgb, rgb_bytes); /* before the reply: the parent then forbids writing */
    if (fault)
        return fault;
    reply->w = request->w;
    reply->h = request->h;
    return QVL_FAULT_NONE;
}

bool qvl_serve_request(const struct qvl_media_request *request, size_t n_bytes, const int *fds, size_t n_fd,
                       qvl_av_decode_fn *av, struct qvl_media_reply *reply)
{
    bool is_valid = qvl_media_request_is_valid(request, n_bytes, n_fd);
    if (is_valid) {
        *reply = (struct qvl_media_reply){
            .magic = QVL_MEDIA_MAGIC, .verb = request->verb, .serial = request->serial};
        uint8_t *bytes = map_whole(fds[0], request->n_bytes, PROT_READ, MAP_PRIVATE);
        if (!bytes)
            reply->fault = QVL_FAULT_READ;
        else if (request->verb == QVL_MEDIA_PROBE)
            reply->fault = probe(request, bytes, reply);
        else
            reply->fault = decode(request, bytes, fds[1], av, reply);
        if (bytes)
            munmap(bytes, request->n_bytes);
    }
    for (size_t i = 0; i < n_fd; i++)
        close(fds[i]);
    return is_valid;
}

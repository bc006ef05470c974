/* Both ends of the protocol. The first byte chooses: 0, a request as qvl-media receives it, with the rest of the
 * bytes as the input file; 1, a reply as libqvl receives it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "media/helper/serve.h"
#include "media/protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A memory file of n bytes; -1 where there is none. */
static int memory_file(const uint8_t *bytes, size_t n_bytes, size_t n)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd >= 0 && (ftruncate(fd, (off_t)n) != 0 || pwrite(fd, bytes, n_bytes, 0) != (ssize_t)n_bytes)) {
        close(fd);
        return -1;
    }
    return fd;
}

static void serve(const uint8_t *data, size_t n)
{
    struct qvl_media_request request = {0};
    struct qvl_media_reply reply = {0};
    size_t n_head = n < sizeof request ? n : sizeof request, n_fd = 0, n_rgb = 0;
    int fds[QVL_MEDIA_MAX_FD];
    memcpy(&request, data, n_head);
    if (qvl_media_size_is_allowed(request.w, request.h))
        n_rgb = qvl_media_rgb_bytes(request.w, request.h);
    fds[0] = memory_file(data + n_head, n - n_head, n - n_head);
    fds[1] = memory_file(data, 0, n_rgb);
    if (fds[0] >= 0 && fds[1] >= 0) {
        n_fd = request.verb == QVL_MEDIA_DECODE ? 2 : 1;
        if (n_fd == 1)
            close(fds[1]);
        struct qvl_server server = {0};
        if (qvl_serve_request(&server, &request, n_head, fds, n_fd, &reply) &&
            !qvl_media_reply_is_valid(&reply, sizeof reply, &request))
            abort(); /* what one end says the other must accept */
    }
}

static void receive(const uint8_t *data, size_t n)
{
    struct qvl_media_request asked = {0};
    struct qvl_media_reply reply = {0};
    if (n < sizeof asked)
        return;
    memcpy(&asked, data, sizeof asked);
    size_t n_reply = n - sizeof asked;
    memcpy(&reply, data + sizeof asked, n_reply < sizeof reply ? n_reply : sizeof reply);
    if (qvl_media_reply_is_valid(&reply, n_reply, &asked) && reply.verb == QVL_MEDIA_DECODE &&
        reply.fault == QVL_FAULT_NONE && (reply.w != asked.w || reply.h != asked.h))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 1)
        return 0;
    if (data[0] == 0)
        serve(data + 1, n - 1);
    else
        receive(data + 1, n - 1);
    return 0;
}

/* Both ends of the protocol. The first byte chooses: 0, a request as qvl-media receives it, with the rest of the
 * bytes as the input file; 1, a reply as libqvl receives it. */
#include <stdbool.h>
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

/* Asks and hands over the descriptors; false where the request is none. */
static bool ask(struct qvl_media_server *server, const struct qvl_media_request *request, size_t n_request,
                const int *fds, size_t n_fd, struct qvl_media_reply *reply)
{
    if (!qvl_serve_request(server, request, n_request, fds, n_fd, reply))
        return false;
    if (!qvl_media_reply_is_valid(reply, sizeof *reply, request))
        abort(); /* what one end says the other must accept */
    return true;
}

/* The last frame of the clip that is open. */
static void ask_frame(struct qvl_media_server *server, const struct qvl_media_request *opened,
                      const struct qvl_media_reply *facts)
{
    struct qvl_media_request request = *opened;
    struct qvl_media_reply reply = {0};
    if (!qvl_media_size_is_allowed(facts->w, facts->h))
        return;
    request.verb = QVL_MEDIA_FRAME;
    request.no_seek = request.n_thread = 0;
    request.w = facts->w;
    request.h = facts->h;
    request.i_frame = facts->n_frame - 1;
    int fd = memory_file(NULL, 0, qvl_media_rgb_bytes(facts->w, facts->h));
    if (fd >= 0 && !ask(server, &request, sizeof request, &fd, 1, &reply))
        abort();
}

static void serve(const uint8_t *data, size_t n)
{
    struct qvl_media_request request = {0};
    struct qvl_media_reply reply = {0};
    struct qvl_media_server server = {.door = &qvl_clip_door};
    size_t n_head = n < sizeof request ? n : sizeof request, n_fd = 1, n_rgb = 0;
    int fds[QVL_MEDIA_MAX_FD];
    memcpy(&request, data, n_head);
    if (qvl_media_size_is_allowed(request.w, request.h))
        n_rgb = qvl_media_rgb_bytes(request.w, request.h);
    fds[0] = memory_file(data + n_head, n - n_head, n - n_head);
    if (fds[0] < 0)
        return;
    if (request.verb == QVL_MEDIA_DECODE && (fds[1] = memory_file(data, 0, n_rgb)) >= 0)
        n_fd = 2;
    if (ask(&server, &request, n_head, fds, n_fd, &reply) && request.verb == QVL_MEDIA_CLIP && !reply.fault)
        ask_frame(&server, &request, &reply);
    qvl_media_server_close(&server);
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
    if (qvl_media_reply_is_valid(&reply, n_reply, &asked) &&
        (reply.verb == QVL_MEDIA_DECODE || reply.verb == QVL_MEDIA_FRAME) && reply.fault == QVL_FAULT_NONE &&
        (reply.w != asked.w || reply.h != asked.h))
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

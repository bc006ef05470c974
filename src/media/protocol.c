/* The messages between libqvl and qvl-media: checking, sending, receiving. Linked into both. */
#include "media/protocol.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/language.h"
#include "base/limits.h"
#include "media/sniff.h"

size_t qvl_media_rgb_bytes(uint32_t w, uint32_t h)
{
    return (size_t)w * h * 3;
}

bool qvl_media_request_is_valid(const struct qvl_media_request *r, size_t n_bytes, size_t n_fd)
{
    if (n_bytes != sizeof *r || r->magic != QVL_MEDIA_MAGIC || r->serial == 0)
        return false;
    bool is_of_clip = r->verb == QVL_MEDIA_CLIP || r->verb == QVL_MEDIA_FRAME;
    if (is_of_clip != qvl_format_is_clip(r->format) || (!is_of_clip && !qvl_format_is_picture(r->format)))
        return false;
    if (r->n_bytes == 0 || r->n_bytes > (is_of_clip ? QVL_MAX_CLIP_FILE_BYTES : QVL_MAX_IMAGE_FILE_BYTES))
        return false;
    if ((r->i_frame != 0 && r->verb != QVL_MEDIA_FRAME) || r->no_seek > (r->verb == QVL_MEDIA_CLIP))
        return false;
    if (r->verb == QVL_MEDIA_CLIP ? r->n_thread == 0 || r->n_thread > QVL_MAX_CLIP_THREADS : r->n_thread != 0)
        return false;
    switch (r->verb) {
    case QVL_MEDIA_PROBE:
    case QVL_MEDIA_CLIP: return n_fd == 1 && r->w == 0 && r->h == 0;
    case QVL_MEDIA_DECODE: return n_fd == 2 && qvl_media_size_is_allowed(r->w, r->h);
    case QVL_MEDIA_FRAME: return n_fd == 1 && qvl_media_size_is_allowed(r->w, r->h);
    default: return false;
    }
}

static bool has_clip_facts(const struct qvl_media_reply *r)
{
    return r->codec > QVL_CODEC_NONE && r->codec <= QVL_CODEC_LAST && r->is_cut <= 1 && r->n_frame >= 1 &&
           r->n_frame <= QVL_MAX_CLIP_FILE_FRAMES && isfinite(r->fps) && r->fps > 0 && isfinite(r->duration_s) &&
           r->duration_s >= 0;
}

static bool has_no_clip_facts(const struct qvl_media_reply *r)
{
    return r->codec == 0 && r->is_cut == 0 && r->n_frame == 0 && r->fps == 0 && r->duration_s == 0;
}

bool qvl_media_reply_is_valid(const struct qvl_media_reply *reply, size_t n_bytes,
                              const struct qvl_media_request *asked)
{
    if (n_bytes != sizeof *reply || reply->magic != QVL_MEDIA_MAGIC || reply->verb != asked->verb ||
        reply->serial != asked->serial || reply->fault > QVL_FAULT_LAST)
        return false;
    bool is_hello_fault = reply->fault == QVL_FAULT_NO_SANDBOX || reply->fault == QVL_FAULT_NO_MODULE;
    if (is_hello_fault && reply->verb != QVL_MEDIA_HELLO)
        return false;
    if (reply->verb == QVL_MEDIA_CLIP && reply->fault == QVL_FAULT_NONE)
        return has_clip_facts(reply);
    if (!has_no_clip_facts(reply))
        return false;
    if (reply->verb == QVL_MEDIA_PROBE && reply->fault == QVL_FAULT_NONE)
        return true;
    if ((reply->verb == QVL_MEDIA_DECODE || reply->verb == QVL_MEDIA_FRAME) && reply->fault == QVL_FAULT_NONE)
        return reply->w == asked->w && reply->h == asked->h;
    return reply->w == 0 && reply->h == 0;
}

const char *qvl_codec_name(enum qvl_codec codec)
{
    static const char *const names[QVL_CODEC_LAST + 1] = {
        [QVL_CODEC_NONE] = "none",           [QVL_CODEC_H264] = "h264",
        [QVL_CODEC_HEVC] = "hevc",           [QVL_CODEC_VP8] = "vp8",
        [QVL_CODEC_VP9] = "vp9",             [QVL_CODEC_AV1] = "av1",
        [QVL_CODEC_MPEG4] = "mpeg4",         [QVL_CODEC_MJPEG] = "mjpeg",
        [QVL_CODEC_MPEG1] = "mpeg1video",    [QVL_CODEC_MPEG2] = "mpeg2video",
        [QVL_CODEC_H263] = "h263",           [QVL_CODEC_MSMPEG4V2] = "msmpeg4v2",
        [QVL_CODEC_MSMPEG4V3] = "msmpeg4v3", [QVL_CODEC_PRORES] = "prores",
    };
    return names[codec <= QVL_CODEC_LAST ? codec : QVL_CODEC_NONE];
}

const char *qvl_fault_text(enum qvl_fault fault)
{
    switch (fault) {
    case QVL_FAULT_NONE: break;
    case QVL_FAULT_CUT: return qvl_text("ends too early: the file is cut off");
    case QVL_FAULT_BROKEN: return qvl_text("is damaged or cut off and cannot be decoded");
    case QVL_FAULT_VARIANT:
        return qvl_text("is of a variant (bits per sample, colours or compression) that qvl does not decode; "
                        "saved as PNG it will work");
    case QVL_FAULT_SCANS: return qvl_text("has more scans than the 100 that qvl accepts");
    case QVL_FAULT_CHANGED: return qvl_text("changed while it was read");
    case QVL_FAULT_MEMORY: return qvl_text("needs more memory to decode than qvl-media may use");
    case QVL_FAULT_READ: return qvl_text("cannot be read by qvl-media");
    case QVL_FAULT_NO_VIDEO:
    case QVL_FAULT_NO_FRAME:
    case QVL_FAULT_NO_INDEX:
    case QVL_FAULT_NO_TIMES:
    case QVL_FAULT_CODEC:
    case QVL_FAULT_LONG:
    case QVL_FAULT_LARGE:
    case QVL_FAULT_RESIZED:
    case QVL_FAULT_FRAME: break; /* of clips, which have sentences of their own */
    case QVL_FAULT_NO_SANDBOX:
        return qvl_text("is not decoded: this system does not let qvl-media lock itself in (seccomp is missing)");
    case QVL_FAULT_NO_MODULE:
        return qvl_text("needs qvl-media-av.so beside qvl-media, and the FFmpeg libraries that it uses");
    }
    return qvl_text("has no fault");
}

union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(QVL_MEDIA_MAX_FD * sizeof(int))];
};

bool qvl_media_send(int sock, const void *message, size_t n_bytes, const int *fds, size_t n_fd)
{
    union control control = {0};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)message, .iov_len = n_bytes};
    struct msghdr head = {.msg_iov = &iov, .msg_iovlen = 1};
    if (n_fd > QVL_MEDIA_MAX_FD)
        return false;
    if (n_fd > 0) {
        head.msg_control = control.bytes;
        head.msg_controllen = CMSG_SPACE(n_fd * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&head);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(n_fd * sizeof(int));
        memcpy(CMSG_DATA(c), fds, n_fd * sizeof(int));
    }
    ssize_t n;
    do
        n = sendmsg(sock, &head, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)n_bytes;
}

ptrdiff_t qvl_media_receive(int sock, void *message, size_t n_bytes, int *fds, size_t max_fd, size_t *n_fd)
{
    union control control = {0};
    struct iovec iov = {.iov_base = message, .iov_len = n_bytes};
    struct msghdr head = {.msg_iov = &iov, .msg_iovlen = 1};
    *n_fd = 0;
    if (max_fd > QVL_MEDIA_MAX_FD)
        max_fd = QVL_MEDIA_MAX_FD;
    if (max_fd > 0) { /* without room the kernel drops descriptors that nobody asked for */
        head.msg_control = control.bytes;
        head.msg_controllen = CMSG_LEN(max_fd * sizeof(int));
    }
    ssize_t n;
    do
        n = recvmsg(sock, &head, MSG_CMSG_CLOEXEC | MSG_TRUNC);
    while (n < 0 && errno == EINTR);
    for (struct cmsghdr *c = n < 0 ? NULL : CMSG_FIRSTHDR(&head); c; c = CMSG_NXTHDR(&head, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n_here = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n_here && *n_fd < max_fd; i++)
            memcpy(&fds[(*n_fd)++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
    }
    return n;
}

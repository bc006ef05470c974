/* From bytes or a descriptor to a descriptor that can only read.
 *
 * Bytes go through sealed memory; a descriptor that could write is opened again. What the file is, its first bytes
 * say (sniff.h), before any process is asked. */
#include "media/input.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/language.h"
#include "base/limits.h"

static enum qvl_status write_all(int fd, const uint8_t *bytes, size_t n, struct qvl_error *err)
{
    while (n > 0) {
        ssize_t n_done = write(fd, bytes, n);
        if (n_done < 0 && errno == EINTR)
            continue;
        if (n_done <= 0)
            return qvl_fail_memory(err, n, "a copy of the file");
        bytes += n_done;
        n -= (size_t)n_done;
    }
    return QVL_OK;
}

static enum qvl_status input_from_bytes(const struct qvl_media_source *source, struct qvl_media_input *input,
                                        struct qvl_error *err)
{
    input->fd = memfd_create("qvl-input", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (input->fd < 0)
        return qvl_fail_memory(err, source->n_bytes, "a copy of the file");
    input->is_own = true;
    enum qvl_status status = write_all(input->fd, source->bytes, source->n_bytes, err);
    if (!status && fcntl(input->fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0)
        status =
            qvl_fail(err, QVL_ERR_INTERNAL, "%s: cannot seal its memory: %s", input->name, qvl_errno_text(errno));
    return status;
}

static enum qvl_status input_from_fd(const struct qvl_media_source *source, struct qvl_media_input *input,
                                     struct qvl_error *err)
{
    struct stat st;
    char path[64];
    int flags = fcntl(source->fd, F_GETFL);
    if (flags < 0 || fstat(source->fd, &st) != 0)
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: cannot be read: %s", input->name, qvl_errno_text(errno));
    if (!S_ISREG(st.st_mode))
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: not a regular file", input->name);
    input->n_bytes = (uint64_t)st.st_size;
    input->fd = source->fd;
    if ((flags & O_ACCMODE) == O_RDONLY)
        return QVL_OK;
    snprintf(path, sizeof path, "/proc/self/fd/%d", source->fd); /* ours may write, the helper's must not */
    input->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (input->fd < 0)
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: cannot be opened again for reading only: %s", input->name,
                        qvl_errno_text(errno));
    input->is_own = true;
    return QVL_OK;
}

static enum qvl_status check_length(const struct qvl_media_input *input, bool want_clip, struct qvl_error *err)
{
    if (input->n_bytes == 0 && want_clip)
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: the file is empty; a clip was expected", input->name);
    if (input->n_bytes == 0)
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: the file is empty; a picture was expected", input->name);
    if (want_clip && input->n_bytes > QVL_MAX_CLIP_FILE_BYTES)
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: %" PRIu64 " bytes, more than the %llu that a clip may have",
                        input->name, input->n_bytes, QVL_MAX_CLIP_FILE_BYTES);
    if (!want_clip && input->n_bytes > QVL_MAX_IMAGE_FILE_BYTES)
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: %" PRIu64 " bytes, more than the %llu that a picture may have",
                        input->name, input->n_bytes, QVL_MAX_IMAGE_FILE_BYTES);
    return QVL_OK;
}

static enum qvl_status sniff_input(struct qvl_media_input *input, bool want_clip, struct qvl_error *err)
{
    uint8_t head[QVL_SNIFF_BYTES];
    ssize_t n;
    do
        n = pread(input->fd, head, sizeof head, 0);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: cannot be read: %s", input->name,
                        n == 0 ? qvl_text("it became shorter") : qvl_errno_text(errno));
    input->format = qvl_sniff(head, (size_t)n);
    if (want_clip && qvl_format_is_picture(input->format))
        return qvl_fail(err, QVL_ERR_MEDIA,
                        "%s: this is a picture (%s): give it as a picture, or several as a clip",
                        input->name, qvl_format_name(input->format));
    if (!want_clip && qvl_format_is_clip(input->format))
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: this is %s: give it as a video", input->name,
                        qvl_format_name(input->format));
    if (want_clip && !qvl_format_is_clip(input->format))
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: this is %s; a clip was expected (MP4, MOV, Matroska, WebM or AVI)",
                        input->name, qvl_format_name(input->format));
    if (!want_clip && !qvl_format_is_picture(input->format))
        return qvl_fail(err, QVL_ERR_MEDIA,
                        "%s: this is %s; a picture was expected (JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC or AVIF)",
                        input->name, qvl_format_name(input->format));
    return QVL_OK;
}

enum qvl_status qvl_media_input_open(const struct qvl_media_source *source, bool want_clip,
                                     struct qvl_media_input *input, struct qvl_error *err)
{
    bool is_fd = source->from == QVL_FROM_FD;
    const char *name = source->name ? source->name : want_clip ? qvl_text("clip") : qvl_text("picture");
    *input = (struct qvl_media_input){.name = name, .fd = -1, .n_bytes = is_fd ? 0 : source->n_bytes};
    enum qvl_status status = is_fd ? input_from_fd(source, input, err) : QVL_OK;
    if (!status)
        status = check_length(input, want_clip, err);
    if (!status && !is_fd)
        status = input_from_bytes(source, input, err);
    return status ? status : sniff_input(input, want_clip, err);
}

void qvl_media_input_close(struct qvl_media_input *input)
{
    if (input->is_own)
        close(input->fd);
    *input = (struct qvl_media_input){.fd = -1};
}

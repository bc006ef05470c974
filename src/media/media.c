/* Asking qvl-media for pictures.
 *
 * In: a source (bytes, descriptor or finished frames). Out: tight RGB in sealed, read-only memory; a finished frame
 * is handed through as it is. The way of a file: what is it (input.h) -> PROBE -> limits -> memory of exactly the
 * right size that can neither shrink nor grow -> DECODE -> writing forbidden, which fails while the helper still
 * holds it writable -> mapped (link.h).
 *
 * One helper serves one call at a time; other threads wait for their turn and keep looking at their own flag.
 * A helper that is killed from outside (the thread that started it has ended, memory ran out) or has used up its
 * processor time says nothing about the picture: it is started again, once. */
#include "media/media.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/language.h"
#include "base/limits.h"
#include "media/input.h"
#include "media/link.h"
#include "media/sniff.h"

enum { TURN_MS = 50 };

struct qvl_media {
    struct qvl_media_link link;
    uint32_t deadline_ms;
    pthread_mutex_t turn;
};

/* ---- open and close ------------------------------------------------------------------------------ */

enum qvl_status qvl_media_open(const struct qvl_media_settings *settings, struct qvl_media **out,
                               struct qvl_error *err)
{
    struct qvl_media *media = calloc(1, sizeof *media);
    if (!media)
        return qvl_fail_memory(err, sizeof *media, "the picture reader");
    enum qvl_status status = qvl_media_link_init(&media->link, settings->helper_path, err);
    if (status) {
        free(media);
        return status;
    }
    media->deadline_ms = settings->deadline_ms ? settings->deadline_ms : QVL_MAX_MEDIA_MS;
    pthread_mutex_init(&media->turn, NULL);
    *out = media;
    return QVL_OK;
}

void qvl_media_close(struct qvl_media *media)
{
    if (!media)
        return;
    qvl_media_process_stop(&media->link.process);
    pthread_mutex_destroy(&media->turn);
    free(media);
}

/* ---- asking --------------------------------------------------------------------------------------- */

static enum qvl_status fail_fault(const struct qvl_media_input *input, enum qvl_fault fault, struct qvl_error *err)
{
    enum qvl_status status = fault == QVL_FAULT_NO_SANDBOX ? QVL_ERR_FILE
                             : fault == QVL_FAULT_MEMORY   ? QVL_ERR_MEMORY
                                                           : QVL_ERR_MEDIA; /* a format not installed, too */
    return qvl_fail(err, status, "%s: this %s picture %s", input->name, qvl_format_name(input->format),
                    qvl_fault_text(fault));
}

/* One question about an input, asked of a live helper. output_fd: -1, or the memory for the pixels. */
static enum qvl_status ask(struct qvl_media *media, const struct qvl_media_input *input,
                           struct qvl_media_request request, int output_fd, const struct qvl_media_wait *wait,
                           struct qvl_media_reply *reply, struct qvl_error *err)
{
    struct qvl_media_link *link = &media->link;
    int fds[QVL_MEDIA_MAX_FD] = {input->fd, output_fd};
    enum qvl_media_mode mode = input->format >= QVL_FORMAT_GIF ? QVL_MODE_AV : QVL_MODE_PLAIN;
    enum qvl_media_outcome outcome = QVL_OUTCOME_ANSWER;
    bool is_started = false, is_new = false;
    request.format = input->format;
    request.n_bytes = input->n_bytes;
    for (int attempt = 0; attempt < 2; attempt++) {
        outcome = qvl_media_link_ensure(link, mode, wait, reply, &is_new);
        is_started = !outcome;
        if (is_started && !reply->fault)
            outcome = qvl_media_process_ask(&link->process, &request, fds, output_fd < 0 ? 1 : 2, wait, reply);
        if (!qvl_media_link_was_killed(link, outcome))
            break;
    }
    if (outcome && is_started)
        return qvl_media_link_fail(link, input->name, media->deadline_ms, outcome, err);
    if (outcome)
        return qvl_media_link_fail_start(link, outcome, err);
    return reply->fault ? fail_fault(input, reply->fault, err) : QVL_OK;
}

static enum qvl_status probe(struct qvl_media *media, const struct qvl_media_input *input,
                             const struct qvl_media_wait *wait, uint32_t *out_w, uint32_t *out_h,
                             struct qvl_error *err)
{
    struct qvl_media_reply reply;
    enum qvl_status status =
        ask(media, input, (struct qvl_media_request){.verb = QVL_MEDIA_PROBE}, -1, wait, &reply, err);
    if (!status)
        status = qvl_media_check_size(input->name, reply.w, reply.h, err);
    if (status)
        return status;
    *out_w = reply.w;
    *out_h = reply.h;
    return QVL_OK;
}

/* Waits until no other thread uses the helper. */
static enum qvl_status take_turn(struct qvl_media *media, const char *name, const atomic_bool *stop,
                                 struct qvl_error *err)
{
    for (;;) {
        struct timespec until;
        if (stop && atomic_load_explicit(stop, memory_order_relaxed))
            return qvl_fail(err, QVL_ERR_CANCELLED, "%s: decoding was cancelled", name);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += TURN_MS * 1000000l;
        until.tv_sec += until.tv_nsec / 1000000000l;
        until.tv_nsec %= 1000000000l;
        if (pthread_mutex_timedlock(&media->turn, &until) == 0)
            return QVL_OK;
    }
}

static enum qvl_status decode(struct qvl_media *media, const struct qvl_media_input *input,
                              const struct qvl_media_wait *wait, struct qvl_picture *out, struct qvl_error *err)
{
    struct qvl_media_request request = {.verb = QVL_MEDIA_DECODE};
    struct qvl_media_reply reply;
    int fd = -1;
    enum qvl_status status = probe(media, input, wait, &request.w, &request.h, err);
    if (status)
        return status;
    if ((status = qvl_pixels_create(request.w, request.h, &fd, err)))
        return status;
    status = ask(media, input, request, fd, wait, &reply, err);
    if (!status && (status = qvl_pixels_map(input->name, fd, request.w, request.h, out, err)))
        qvl_media_process_stop(&media->link.process);
    close(fd);
    return status;
}

static const char *name_of(const struct qvl_media_source *source)
{
    return source->name ? source->name : qvl_text("picture");
}

static enum qvl_status check_frame(const struct qvl_media_source *source, struct qvl_error *err)
{
    const struct qvl_frame *frame = source->frames;
    const char *name = name_of(source);
    if (source->n_frame != 1)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: %zu frames given; a picture is one", name, source->n_frame);
    if (!frame->rgb8)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: a frame without pixels", name);
    if (frame->stride_bytes < (size_t)frame->w * 3)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: rows of %zu bytes, but %" PRIu32 " RGB pixels need %zu", name,
                        frame->stride_bytes, frame->w, (size_t)frame->w * 3);
    return qvl_media_check_size(name, frame->w, frame->h, err);
}

/* ---- the door ------------------------------------------------------------------------------------- */

enum qvl_status qvl_media_probe_image(struct qvl_media *media, const struct qvl_media_source *source,
                                      uint32_t *out_w, uint32_t *out_h, const atomic_bool *stop,
                                      struct qvl_error *err)
{
    struct qvl_media_input input;
    enum qvl_status status;
    if (source->from == QVL_FROM_FRAMES) {
        if ((status = check_frame(source, err)))
            return status;
        *out_w = source->frames->w;
        *out_h = source->frames->h;
        return QVL_OK;
    }
    if (!(status = qvl_media_input_open(source, false, &input, err)) &&
        !(status = take_turn(media, input.name, stop, err))) {
        struct qvl_media_wait wait = {.deadline_ms = qvl_now_ms() + media->deadline_ms, .stop = stop};
        status = probe(media, &input, &wait, out_w, out_h, err);
        pthread_mutex_unlock(&media->turn);
    }
    qvl_media_input_close(&input);
    return status;
}

enum qvl_status qvl_media_decode_image(struct qvl_media *media, const struct qvl_media_source *source,
                                       struct qvl_picture *out, const atomic_bool *stop, struct qvl_error *err)
{
    struct qvl_media_input input;
    enum qvl_status status;
    if (source->from == QVL_FROM_FRAMES) {
        if (!(status = check_frame(source, err)))
            *out = (struct qvl_picture){.frame = *source->frames};
        return status;
    }
    if (!(status = qvl_media_input_open(source, false, &input, err)) &&
        !(status = take_turn(media, input.name, stop, err))) {
        struct qvl_media_wait wait = {.deadline_ms = qvl_now_ms() + media->deadline_ms, .stop = stop};
        status = decode(media, &input, &wait, out, err);
        pthread_mutex_unlock(&media->turn);
    }
    qvl_media_input_close(&input);
    return status;
}

void qvl_picture_free(struct qvl_picture *picture)
{
    if (picture->map)
        munmap(picture->map, picture->map_bytes);
    *picture = (struct qvl_picture){0};
}

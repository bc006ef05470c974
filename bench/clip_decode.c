/* The time that the frames of a clip take: n of them at equal distances, as a long clip is sampled, in order.
 *
 *     clip_decode build/qvl-media CLIP N_FRAME N_THREAD
 *
 * Says how long opening (reading through) and the frames took, the processor time and the largest memory of the
 * helper, and a sum over the pixels, which must be the same for any number of threads. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "media/clip.h"

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static uint64_t sum_of(const struct qvl_frame *frame, uint64_t sum)
{
    for (size_t i = 0; i < (size_t)frame->w * frame->h * 3; i += 61) /* each colour, and no row twice alike */
        sum = sum * 31 + frame->rgb8[i];
    return sum;
}

/* False: err says why. */
static bool read_frames(struct qvl_clip *clip, uint64_t n_of_clip, uint64_t n, uint64_t *sum, struct qvl_error *err)
{
    for (uint64_t i = 0; i < n; i++) {
        struct qvl_picture picture = {0};
        uint64_t i_frame = n > 1 ? i * (n_of_clip - 1) / (n - 1) : 0;
        if (qvl_clip_read(clip, i_frame, &picture, NULL, err))
            return false;
        *sum = sum_of(&picture.frame, *sum);
        qvl_picture_free(&picture);
    }
    return true;
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: clip_decode QVL-MEDIA CLIP N_FRAME N_THREAD\n");
        return 2;
    }
    const struct qvl_media_settings settings = {.helper_path = argv[1],
                                                .n_thread = (uint32_t)strtoul(argv[4], NULL, 10)};
    const struct qvl_media_source source = {
        .from = QVL_FROM_FD, .name = argv[2], .fd = open(argv[2], O_RDONLY | O_CLOEXEC)};
    if (source.fd < 0) {
        fprintf(stderr, "%s: %s\n", argv[2], strerror(errno));
        return 1;
    }
    const uint64_t n = strtoull(argv[3], NULL, 10);
    struct qvl_error err = {0};
    struct qvl_clip *clip = NULL;
    struct qvl_clip_info info = {0};
    uint64_t sum = 0;
    const double start_ms = qvl_now_ms();
    bool is_ok = qvl_clip_open(&settings, &source, &clip, &info, NULL, &err) == QVL_OK;
    const double opened_ms = qvl_now_ms();
    is_ok = is_ok && read_frames(clip, info.n_frame, n, &sum, &err);
    const double end_ms = qvl_now_ms();
    qvl_clip_close(clip);
    close(source.fd);
    if (!is_ok) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    struct rusage used;
    getrusage(RUSAGE_CHILDREN, &used);
    printf("%" PRIu64 " of %" PRIu64 " frames, %u x %u, %s threads: opened in %.2f s, frames in %.2f s, "
           "processor %.2f s, memory %ld MiB, sum %016" PRIx64 "\n",
           n, info.n_frame, info.w, info.h, argv[4], (opened_ms - start_ms) / 1e3,
           (end_ms - opened_ms) / 1e3, seconds(used.ru_utime) + seconds(used.ru_stime),
           used.ru_maxrss >> 10, sum);
    return 0;
}

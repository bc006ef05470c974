/* The bytes of a clip, its container told apart as in production: read through, then a few frames in and out of
 * order. The last byte says which, whether to seek, and whether on one thread or two. */
#include <stdlib.h>
#include <string.h>

#include "media/helper/clip_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { N_READ = 5 };

struct file {
    const uint8_t *data;
    size_t n;
};

static ptrdiff_t read_file(void *owner, uint64_t at, uint8_t *out, size_t n)
{
    const struct file *file = owner;
    if (at >= file->n)
        return 0;
    size_t n_left = file->n - (size_t)at;
    n = n < n_left ? n : n_left;
    memcpy(out, file->data + at, n);
    return (ptrdiff_t)n;
}

static void read_frames(struct qvl_clip_reader *reader, const struct qvl_clip_facts *facts, uint8_t choice)
{
    const size_t n_rgb = qvl_media_rgb_bytes(facts->w, facts->h);
    const uint64_t n = facts->n_frame, order[N_READ] = {0, n / 2, choice % n, n - 1, 0};
    uint8_t *rgb = malloc(n_rgb);
    for (size_t i = 0; rgb && i < N_READ; i++)
        qvl_clip_door.read(reader, order[i], rgb, facts->w, facts->h);
    free(rgb);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct file file = {data, n};
    const struct qvl_clip_bytes bytes = {.read = read_file, .owner = &file, .n_bytes = n};
    struct qvl_clip_reader *reader = NULL;
    struct qvl_clip_facts facts = {0};
    enum qvl_format format = qvl_sniff(data, n < QVL_SNIFF_BYTES ? n : QVL_SNIFF_BYTES);
    if (n == 0 || !qvl_format_is_clip(format))
        return 0;
    const uint8_t choice = data[n - 1];
    if (qvl_clip_door.open(format, &bytes, choice & 1, 1 + (choice >> 1 & 1), &reader, &facts) != QVL_FAULT_NONE) {
        if (reader)
            abort();
        return 0;
    }
    if (facts.n_frame == 0 || facts.codec == QVL_CODEC_NONE)
        abort();
    if (qvl_media_size_is_allowed(facts.w, facts.h))
        read_frames(reader, &facts, choice);
    qvl_clip_door.close(reader);
    return 0;
}

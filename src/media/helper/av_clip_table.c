/* The table of a clip's frames, from its packets; what a header says about their number is not asked.
 *
 * One entry for each packet of the video stream that is to be shown, as torchcodec's exact mode counts
 * (SingleStreamDecoder::scan_file_and_update_metadata_and_index). */
#include "media/helper/av_clip.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"

/* The bit of VP8's frame header that says "show" (RFC 6386, section 9.1). */
static bool is_hidden(enum qvl_codec codec, const AVPacket *packet)
{
    return codec == QVL_CODEC_VP8 && packet->size > 0 && !(packet->data[0] & 0x10);
}

static enum qvl_fault add(struct qvl_clip_table *table, const AVPacket *packet, enum qvl_codec codec)
{
    if (table->n == QVL_MAX_CLIP_FILE_FRAMES)
        return QVL_FAULT_LONG;
    if (table->n == table->n_allocated) {
        size_t n = table->n_allocated ? 2 * table->n_allocated : 1024;
        struct qvl_clip_entry *grown = realloc(table->entry, n * sizeof *grown);
        if (!grown)
            return QVL_FAULT_MEMORY;
        table->entry = grown;
        table->n_allocated = n;
    }
    int64_t pts = packet->pts != AV_NOPTS_VALUE ? packet->pts : packet->dts, end = pts;
    if (__builtin_add_overflow(pts, packet->duration, &end))
        return QVL_FAULT_NO_TIMES;
    if (table->n == 0) {
        table->begin = pts;
        table->end = end;
        table->has_all_pts = true;
    }
    table->begin = pts < table->begin ? pts : table->begin;
    table->end = end > table->end ? end : table->end;
    table->has_all_pts &= packet->pts != AV_NOPTS_VALUE;
    table->entry[table->n++] = (struct qvl_clip_entry){
        .pts = pts, .is_key = packet->flags & AV_PKT_FLAG_KEY, .is_hidden = is_hidden(codec, packet)};
    return QVL_FAULT_NONE;
}

/* Merges runs of n_run entries from `from` into `to`. */
static void merge(const struct qvl_clip_entry *from, struct qvl_clip_entry *to, size_t n, size_t n_run)
{
    for (size_t start = 0; start < n; start += 2 * n_run) {
        size_t mid = n - start < n_run ? n : start + n_run, end = n - start < 2 * n_run ? n : start + 2 * n_run;
        size_t a = start, b = mid;
        for (size_t i = start; i < end; i++)
            to[i] = b == end || (a < mid && from[a].pts <= from[b].pts) ? from[a++] : from[b++];
    }
}

/* By pts, equal ones as they came. The C library's qsort may ask the system how much memory there is, which this
 * process must not. */
static enum qvl_fault sort(struct qvl_clip_table *table)
{
    struct qvl_clip_entry *other = malloc(table->n * sizeof *other);
    if (!other)
        return QVL_FAULT_MEMORY;
    for (size_t n_run = 1; n_run < table->n; n_run *= 2) {
        merge(table->entry, other, table->n, n_run);
        struct qvl_clip_entry *sorted = other;
        other = table->entry;
        table->entry = sorted;
    }
    table->n_allocated = table->n;
    free(other);
    return QVL_FAULT_NONE;
}

static void number_keys(struct qvl_clip_table *table)
{
    uint32_t i_key = QVL_NO_KEY;
    for (size_t i = 0; i < table->n; i++) {
        if (table->entry[i].is_key)
            i_key = (uint32_t)i;
        table->entry[i].i_key = i_key;
    }
}

enum qvl_fault qvl_clip_table_read(struct qvl_clip_table *table, struct qvl_clip_file *file, bool *is_cut)
{
    enum qvl_fault fault = QVL_FAULT_NONE;
    int error = 0;
    AVPacket *packet = av_packet_alloc();
    if (!packet)
        return QVL_FAULT_MEMORY;
    while (!fault && (error = qvl_clip_file_read(file, packet, is_cut)) >= 0)
        if (!(packet->flags & AV_PKT_FLAG_DISCARD)) /* outside of the edit list: decoded, not shown */
            fault = add(table, packet, file->codec);
    av_packet_free(&packet);
    if (!fault && (file->has_failed || error == AVERROR(ENOMEM)))
        fault = qvl_clip_fault(file, error);
    if (fault)
        return fault;
    if (error != AVERROR_EOF)
        *is_cut = true;
    if (table->n == 0)
        return QVL_FAULT_NO_FRAME;
    if ((fault = sort(table)))
        return fault;
    number_keys(table);
    return QVL_FAULT_NONE;
}

void qvl_clip_table_free(struct qvl_clip_table *table)
{
    free(table->entry);
    *table = (struct qvl_clip_table){0};
}

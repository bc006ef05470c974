/* Frames of a clip, by their number: the clip part of the module qvl-media-av.so.
 *
 * In: bytes through a callback. Out: what the clip holds, then any frame as RGB. Opening reads all packets once and
 * makes the table of frames; then frame i is, as in torchcodec 0.17, the first decoded one whose time is not before
 * that of entry i.
 *
 * Three ways lead to it, the cheapest that will do: decoding on from the last frame; seeking to the last key frame
 * before it and decoding from there (frames on the way that nothing refers to are left out); and, where a frame
 * found like that is not exactly the one of the table, or damaged, opening the file again and decoding everything
 * from its first frame on. A clip that has needed the last way once is not trusted again, as far as
 * QVL_MAX_CLIP_REWIND_FRAMES; further behind, what seeking finds must do. Where packets carry no presentation time
 * (AVI), only the last way is left, and frames are counted as they come out. */
#include "media/helper/av_clip.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "media/helper/canvas.h"

__attribute__((visibility("default"))) extern const struct qvl_clip_door qvl_clip_door;

struct qvl_clip_reader {
    struct qvl_clip_file file;
    struct qvl_clip_table table;
    struct qvl_clip_rgb rgb;
    int w, h; /* as coded, before rotation */
    bool may_seek;
    bool is_trusted; /* what seeking finds has been the right frame so far */
    bool may_skip;   /* what the decoder takes for a frame that nothing refers to is one */
    AVPacket *packet;
    AVFrame *frame, *next; /* the last one that came out of the decoder; room for another */
    bool has_frame;        /* one has come out since the start or the last seek */
    bool is_started, is_draining, is_at_end;
    bool is_damaged;  /* a frame has come out that the decoder calls so */
    bool is_found;    /* frame is the answer for entry i_last */
    size_t i_last;    /* the entry that was last asked for */
    uint64_t n_out;   /* frames that came out since the first one of the file */
    uint64_t n_error; /* packets that could not be decoded since then */
    unsigned n_drained; /* errors since the decoder got its last packet */
};

/* The decoder ends after 20 and one for each thread itself; one that does not is ended here. */
enum { MAX_DRAIN_ERRORS = 64 };

/* ---- what the clip holds ----------------------------------------------------------------------------- */

static double seconds(int64_t pts, AVRational unit)
{
    return (double)pts * unit.num / unit.den; /* in this order, as the reference */
}

/* The header says that there is clearly more. Sound may go on when the pictures have ended, and in Matroska only
 * the file as a whole has a length. */
static bool lacks_time(const struct qvl_clip_file *file, double found_s)
{
    if (file->stream->duration == AV_NOPTS_VALUE || file->format == QVL_FORMAT_AVI ||
        (file->format == QVL_FORMAT_MATROSKA && file->demuxer->nb_streams > 1))
        return false;
    double said_s = seconds(file->stream->duration, file->stream->time_base);
    return said_s > found_s + 1 && said_s > found_s * 1.05;
}

static enum qvl_fault measure(const struct qvl_clip_reader *r, struct qvl_clip_facts *facts)
{
    const struct qvl_clip_table *table = &r->table;
    const AVStream *stream = r->file.stream;
    bool is_turned = qvl_orientation_swaps(r->file.orientation);
    double duration_s = seconds(table->end, stream->time_base) - seconds(table->begin, stream->time_base);
    double fps = duration_s != 0 ? (double)table->n / duration_s : av_q2d(stream->r_frame_rate);
    if (!isfinite(duration_s) || duration_s < 0 || !isfinite(fps) || fps <= 0)
        return QVL_FAULT_NO_TIMES;
    facts->w = (uint32_t)(is_turned ? r->h : r->w);
    facts->h = (uint32_t)(is_turned ? r->w : r->h);
    facts->n_frame = table->n;
    facts->fps = fps;
    facts->duration_s = duration_s;
    facts->codec = r->file.codec;
    facts->is_cut = facts->is_cut || qvl_clip_file_is_cut(&r->file) || lacks_time(&r->file, duration_s);
    return QVL_FAULT_NONE;
}

/* In HEVC a picture may be called unreferenced and still be needed by pictures of higher temporal layers. hvcC
 * (ISO 14496-15, 8.3.3.1) says how many there are, 0 where it does not know. */
static bool may_skip(const struct qvl_clip_file *file)
{
    const AVCodecParameters *p = file->stream->codecpar;
    if (file->codec != QVL_CODEC_HEVC)
        return true;
    return p->extradata_size > 21 && p->extradata[0] == 1 && (p->extradata[21] >> 3 & 7) == 1;
}

static enum qvl_fault begin(struct qvl_clip_reader *r, struct qvl_clip_facts *facts)
{
    r->packet = av_packet_alloc();
    r->frame = av_frame_alloc();
    r->next = av_frame_alloc();
    if (!r->packet || !r->frame || !r->next)
        return QVL_FAULT_MEMORY;
    enum qvl_fault fault = qvl_clip_file_open(&r->file);
    if (!fault)
        fault = qvl_clip_table_read(&r->table, &r->file, &facts->is_cut);
    if (fault)
        return fault;
    r->w = r->file.stream->codecpar->width;
    r->h = r->file.stream->codecpar->height;
    if (r->w <= 0 || r->h <= 0)
        return QVL_FAULT_BROKEN;
    r->may_seek = r->may_seek && r->table.has_all_pts;
    r->is_trusted = true;
    r->may_skip = may_skip(&r->file);
    return measure(r, facts);
}

static void close_reader(struct qvl_clip_reader *r)
{
    if (!r)
        return;
    av_packet_free(&r->packet);
    av_frame_free(&r->frame);
    av_frame_free(&r->next);
    qvl_clip_rgb_free(&r->rgb);
    qvl_clip_table_free(&r->table);
    qvl_clip_file_close(&r->file);
    free(r);
}

static enum qvl_fault open_reader(enum qvl_format format, const struct qvl_clip_bytes *bytes, bool no_seek,
                                  uint32_t n_thread, struct qvl_clip_reader **out, struct qvl_clip_facts *out_facts)
{
    *out = NULL;
    *out_facts = (struct qvl_clip_facts){0};
    struct qvl_clip_reader *r = calloc(1, sizeof *r);
    if (!r)
        return QVL_FAULT_MEMORY;
    r->file = (struct qvl_clip_file){.format = format, .bytes = *bytes, .n_thread = n_thread};
    r->may_seek = !no_seek;
    enum qvl_fault fault = begin(r, out_facts);
    if (fault) {
        close_reader(r);
        return fault;
    }
    *out = r;
    return QVL_FAULT_NONE;
}

/* ---- decoding ---------------------------------------------------------------------------------------- */

static int64_t time_of(const AVFrame *frame)
{
    return frame->pts != AV_NOPTS_VALUE ? frame->pts : frame->pkt_dts;
}

static bool is_flawed(const AVFrame *frame)
{
    return frame->flags & AV_FRAME_FLAG_CORRUPT || frame->decode_error_flags != 0;
}

/* Gives the decoder its next packet. One that it cannot decode is counted; the frame will be missing. */
static enum qvl_fault feed(struct qvl_clip_reader *r, int64_t want)
{
    bool is_cut;
    int error = qvl_clip_file_read(&r->file, r->packet, &is_cut);
    if (r->file.has_failed || error == AVERROR(ENOMEM))
        return qvl_clip_fault(&r->file, error);
    bool is_unwanted = error >= 0 && r->packet->pts < want;
    r->file.decoder->skip_frame = is_unwanted ? AVDISCARD_NONREF : AVDISCARD_DEFAULT;
    r->is_draining = error < 0;
    r->n_drained = 0;
    error = avcodec_send_packet(r->file.decoder, error < 0 ? NULL : r->packet);
    av_packet_unref(r->packet);
    if (error == AVERROR(ENOMEM))
        return QVL_FAULT_MEMORY;
    r->n_error += error < 0;
    return QVL_FAULT_NONE;
}

/* The next frame into r->frame; where there is none the last one stays there. `want`: earlier ones are not needed.
 */
static enum qvl_fault next_frame(struct qvl_clip_reader *r, int64_t want)
{
    while (!r->is_at_end) {
        int error = avcodec_receive_frame(r->file.decoder, r->next);
        if (error == 0) {
            AVFrame *last = r->frame;
            r->frame = r->next;
            r->next = last;
            r->has_frame = true;
            r->is_damaged |= is_flawed(r->frame);
            r->n_out++;
            return QVL_FAULT_NONE;
        }
        if (error == AVERROR(ENOMEM))
            return QVL_FAULT_MEMORY;
        r->n_error += error != AVERROR(EAGAIN) && error != AVERROR_EOF;
        /* Threads bring the errors of the last packets now, and frames behind them. */
        r->is_at_end = error == AVERROR_EOF || (r->is_draining && ++r->n_drained > MAX_DRAIN_ERRORS);
        if (r->is_draining)
            continue;
        enum qvl_fault fault = r->is_at_end ? QVL_FAULT_NONE : feed(r, want);
        if (fault)
            return fault;
    }
    return QVL_FAULT_NONE;
}

/* Everything anew, as if nothing had been read yet. */
static enum qvl_fault rewind_clip(struct qvl_clip_reader *r)
{
    qvl_clip_file_close(&r->file);
    enum qvl_fault fault = qvl_clip_file_open(&r->file);
    r->has_frame = r->is_draining = false;
    r->is_at_end = fault != QVL_FAULT_NONE;
    r->is_started = !fault;
    if (fault)
        return fault == QVL_FAULT_MEMORY || fault == QVL_FAULT_READ ? fault : QVL_FAULT_CHANGED;
    r->n_out = r->n_error = 0;
    return QVL_FAULT_NONE;
}

/* To the key frame that entry i needs. */
static enum qvl_fault seek(struct qvl_clip_reader *r, size_t i)
{
    uint32_t i_key = r->table.entry[i].i_key;
    if (i_key == QVL_NO_KEY || avformat_seek_file(r->file.demuxer, r->file.stream->index, INT64_MIN,
                                                  r->table.entry[i_key].pts, r->table.entry[i_key].pts, 0) < 0)
        return r->file.has_failed ? QVL_FAULT_READ : rewind_clip(r);
    avcodec_flush_buffers(r->file.decoder);
    r->is_at_end = r->is_draining = r->has_frame = false;
    r->is_started = true;
    return QVL_FAULT_NONE;
}

/* Packets that the decoder has taken beyond the frame that it gives: to put frames in order, and one for every
 * further thread that works on a frame. */
static size_t n_ahead(const AVCodecContext *decoder)
{
    bool is_by_frame = decoder->active_thread_type & FF_THREAD_FRAME;
    return (size_t)decoder->has_b_frames + (is_by_frame ? (size_t)decoder->thread_count - 1 : 0);
}

/* Is the way on from the last frame longer than from a key frame? Seeking loses what the decoder holds back. */
static bool is_worth_seeking(const struct qvl_clip_reader *r, size_t i)
{
    uint32_t i_key = r->table.entry[i].i_key;
    return i_key != QVL_NO_KEY && i_key > r->i_last + n_ahead(r->file.decoder) + 1;
}

static bool is_answer(const struct qvl_clip_reader *r, size_t i)
{
    if (!r->has_frame)
        return false;
    return r->table.has_all_pts ? time_of(r->frame) >= r->table.entry[i].pts : r->n_out > i;
}

static bool is_exact(const struct qvl_clip_reader *r, size_t i)
{
    return r->has_frame && time_of(r->frame) == r->table.entry[i].pts && !is_flawed(r->frame);
}

/* can_skip: frames before entry i that nothing refers to need not be decoded. */
static enum qvl_fault decode_to(struct qvl_clip_reader *r, size_t i, bool can_skip)
{
    enum qvl_fault fault = QVL_FAULT_NONE;
    while (!fault && !r->is_at_end && !is_answer(r, i))
        fault = next_frame(r, can_skip ? r->table.entry[i].pts : INT64_MIN);
    return fault;
}

static enum qvl_fault find_by_seeking(struct qvl_clip_reader *r, size_t i)
{
    enum qvl_fault fault = QVL_FAULT_NONE;
    if (!r->is_started || r->is_at_end || i < r->i_last || is_worth_seeking(r, i))
        fault = seek(r, i);
    return fault ? fault : decode_to(r, i, r->may_skip);
}

static enum qvl_fault find_from_the_front(struct qvl_clip_reader *r, size_t i)
{
    enum qvl_fault fault = QVL_FAULT_NONE;
    if (!r->is_started || i < r->i_last)
        fault = rewind_clip(r);
    if (!fault)
        fault = decode_to(r, i, false);
    if (fault)
        return fault;
    /* Where frames are counted a coder may have left the last ones out, because nothing moves in them. */
    bool is_there = r->table.has_all_pts ? is_answer(r, i) && (r->n_error == 0 || is_exact(r, i)) : r->has_frame;
    return is_there ? QVL_FAULT_NONE : QVL_FAULT_FRAME;
}

static enum qvl_fault find_once(struct qvl_clip_reader *r, size_t i)
{
    bool is_far = i > QVL_MAX_CLIP_REWIND_FRAMES;
    if (!r->may_seek || (!r->is_trusted && !is_far))
        return find_from_the_front(r, i);
    enum qvl_fault fault = find_by_seeking(r, i);
    if (fault || is_exact(r, i))
        return fault;
    r->is_trusted = false;
    if (is_far)
        return is_answer(r, i) ? QVL_FAULT_NONE : QVL_FAULT_FRAME;
    r->is_started = false; /* what was decoded so far does not count */
    return find_from_the_front(r, i);
}

/* What is made of a damaged frame may depend on how many threads work. So where damage shows on several, everything
 * is done again on one, now and from now on: frames are the same for any number. */
static enum qvl_fault find(struct qvl_clip_reader *r, size_t i)
{
    const bool was_trusted = r->is_trusted;
    enum qvl_fault fault = find_once(r, i);
    bool is_damaged = r->is_damaged || r->file.has_complained || r->n_error > 0 || fault == QVL_FAULT_FRAME;
    if (r->file.n_thread == 1 || !is_damaged || fault == QVL_FAULT_MEMORY || fault == QVL_FAULT_READ)
        return fault;
    r->file.n_thread = 1;
    r->is_trusted = was_trusted;
    fault = rewind_clip(r);
    r->is_started = false;
    return fault ? fault : find_once(r, i);
}

/* Entry i in r->frame. */
static enum qvl_fault show(struct qvl_clip_reader *r, size_t i)
{
    if (r->is_found && i == r->i_last)
        return QVL_FAULT_NONE;
    enum qvl_fault fault = find(r, i);
    r->i_last = i;
    r->is_found = !fault;
    return fault;
}

/* What is shown at entry i: itself; for a hidden one its successor, at the very end its predecessor. */
static size_t shown_at(const struct qvl_clip_table *table, size_t i)
{
    for (size_t j = i; j < table->n; j++)
        if (!table->entry[j].is_hidden)
            return j;
    size_t j = i;
    while (j > 0 && table->entry[j].is_hidden)
        j--;
    return j;
}

static enum qvl_fault read_frame(struct qvl_clip_reader *r, uint64_t i_frame, uint8_t *rgb, uint32_t w, uint32_t h)
{
    bool is_turned = qvl_orientation_swaps(r->file.orientation);
    if (i_frame >= r->table.n || (int64_t)w != (is_turned ? r->h : r->w) || (int64_t)h != (is_turned ? r->w : r->h))
        return QVL_FAULT_CHANGED;
    enum qvl_fault fault = show(r, shown_at(&r->table, (size_t)i_frame));
    if (fault)
        return fault;
    if (r->frame->width != r->w || r->frame->height != r->h)
        return QVL_FAULT_RESIZED;
    return qvl_clip_rgb_put(&r->rgb, r->frame, r->file.orientation, rgb);
}

const struct qvl_clip_door qvl_clip_door = {.open = open_reader, .read = read_frame, .close = close_reader};

/* A clip's file, opened: FFmpeg's demuxer over a callback, the best video stream, its decoder.
 *
 * What can be reached is written down here: three demuxers, chosen by the file's first bytes and not by FFmpeg's
 * guess, and the decoders of the table below. Nothing in a file can open another one:
 * there is no protocol, references are off, and the one function that could open something refuses.
 *
 * Which stream, its size and turn are found as torchcodec 0.17 finds them (SingleStreamDecoder.cpp): after
 * avformat_find_stream_info, whose guesses packets' durations depend on. Calls used exist unchanged in FFmpeg 5 to
 * 8, but for the display matrix. */
#include "media/helper/av_clip.h"

#include <math.h>
#include <string.h>

#include <libavutil/display.h>
#include <libavutil/pixdesc.h>
#include <libavutil/version.h>

#include "base/limits.h"

enum { IO_BYTES = 1 << 16, MAX_STREAMS = 64, MAX_THREAD_BYTES = 512 << 20 };

static const struct {
    enum AVCodecID id;
    enum qvl_codec codec;
    const char *decoder;
} decoders[] = {
    {AV_CODEC_ID_H264, QVL_CODEC_H264, "h264"},
    {AV_CODEC_ID_HEVC, QVL_CODEC_HEVC, "hevc"},
    {AV_CODEC_ID_VP8, QVL_CODEC_VP8, "vp8"},
    {AV_CODEC_ID_VP9, QVL_CODEC_VP9, "vp9"},
    {AV_CODEC_ID_AV1, QVL_CODEC_AV1, "libdav1d"},
    {AV_CODEC_ID_AV1, QVL_CODEC_AV1, "libaom-av1"},
    {AV_CODEC_ID_MPEG4, QVL_CODEC_MPEG4, "mpeg4"},
    {AV_CODEC_ID_MJPEG, QVL_CODEC_MJPEG, "mjpeg"},
    {AV_CODEC_ID_MPEG1VIDEO, QVL_CODEC_MPEG1, "mpeg1video"},
    {AV_CODEC_ID_MPEG2VIDEO, QVL_CODEC_MPEG2, "mpeg2video"},
    {AV_CODEC_ID_H263, QVL_CODEC_H263, "h263"},
    {AV_CODEC_ID_MSMPEG4V2, QVL_CODEC_MSMPEG4V2, "msmpeg4v2"},
    {AV_CODEC_ID_MSMPEG4V3, QVL_CODEC_MSMPEG4V3, "msmpeg4"},
    {AV_CODEC_ID_PRORES, QVL_CODEC_PRORES, "prores"},
};
/* The same for what FFmpeg opens itself while it looks for the streams' properties. */
static const char whitelist[] = "h264,hevc,vp8,vp9,libdav1d,libaom-av1,mpeg4,mjpeg,mpeg1video,mpeg2video,h263,"
                                "msmpeg4v2,msmpeg4,prores";

/* Standard error is closed to this process, but that a decoder complains is worth knowing. Any of its threads
 * may. */
static void on_message(void *object, int level, const char *format, va_list args)
{
    (void)format;
    (void)args;
    if (level > AV_LOG_ERROR || !object || *(const AVClass **)object != avcodec_get_class())
        return;
    atomic_bool *has_complained = ((AVCodecContext *)object)->opaque;
    if (has_complained)
        atomic_store_explicit(has_complained, true, memory_order_relaxed);
}

/* ---- bytes ------------------------------------------------------------------------------------------ */

static int read_bytes(void *opaque, uint8_t *out, int n)
{
    struct qvl_clip_file *file = opaque;
    if (n <= 0 || file->at >= file->bytes.n_bytes)
        return AVERROR_EOF;
    uint64_t n_left = file->bytes.n_bytes - file->at;
    size_t n_wanted = (uint64_t)n < n_left ? (size_t)n : (size_t)n_left;
    ptrdiff_t n_read = file->bytes.read(file->bytes.owner, file->at, out, n_wanted);
    if (n_read <= 0) {
        file->has_failed = true; /* it is shorter than it was, or cannot be read */
        return AVERROR(EIO);
    }
    file->at += (uint64_t)n_read;
    return (int)n_read;
}

static int64_t seek_bytes(void *opaque, int64_t offset, int whence)
{
    struct qvl_clip_file *file = opaque;
    int64_t n_bytes = (int64_t)file->bytes.n_bytes;
    if (whence & AVSEEK_SIZE)
        return n_bytes;
    int64_t base = 0;
    switch (whence & ~AVSEEK_FORCE) {
    case SEEK_SET: break;
    case SEEK_CUR: base = (int64_t)file->at; break;
    case SEEK_END: base = n_bytes; break;
    default: return AVERROR(EINVAL);
    }
    if (offset < -base || offset > INT64_MAX - base)
        return AVERROR(EINVAL);
    file->at = (uint64_t)(base + offset);
    return base + offset;
}

static int refuse_to_open(AVFormatContext *demuxer, AVIOContext **io, const char *url, int flags,
                          AVDictionary **options)
{
    (void)demuxer;
    (void)url;
    (void)flags;
    (void)options;
    *io = NULL;
    return AVERROR(EACCES);
}

enum qvl_fault qvl_clip_fault(const struct qvl_clip_file *file, int error)
{
    if (file->has_failed)
        return QVL_FAULT_READ;
    switch (error) {
    case AVERROR(ENOMEM): return QVL_FAULT_MEMORY;
    case AVERROR_PATCHWELCOME:
    case AVERROR(ENOSYS): return QVL_FAULT_VARIANT;
    default: return QVL_FAULT_BROKEN;
    }
}

/* ---- the outermost structure ------------------------------------------------------------------------ */

struct part {
    uint8_t name[4];
    uint64_t start, end; /* in the file; end may lie beyond it */
};

static uint64_t number(const uint8_t *p, size_t n, bool is_big)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v = v << 8 | p[is_big ? i : n - 1 - i];
    return v;
}

/* A number of EBML as long as its first byte says, marker included or not; 0 bytes long where it is not one. */
static size_t ebml_number(const uint8_t *p, bool keep_marker, uint64_t *out)
{
    size_t n = 1;
    while (n <= 8 && !(p[0] >> (8 - n) & 1))
        n++;
    if (n > 8)
        return 0;
    *out = number(p, n, true);
    uint64_t marker = 1ull << (7 * n);
    if (!keep_marker)
        *out = *out == 2 * marker - 1 ? UINT64_MAX : *out - marker; /* all ones: of unknown length */
    return n;
}

/* The part that starts here: a box of MP4, a chunk of AVI, an element of Matroska. False: none is whole enough. */
static bool read_part(const struct qvl_clip_file *file, uint64_t at, struct part *out)
{
    uint8_t head[16] = {0};
    uint64_t n_bytes = file->bytes.n_bytes, length = 0;
    size_t n_head = 8;
    if (at >= n_bytes || n_bytes - at < 8)
        return false;
    size_t n_wanted = n_bytes - at < sizeof head ? (size_t)(n_bytes - at) : sizeof head;
    if (file->bytes.read(file->bytes.owner, at, head, n_wanted) != (ptrdiff_t)n_wanted)
        return false;
    if (file->format == QVL_FORMAT_MP4) {
        length = number(head, 4, true);
        memcpy(out->name, head + 4, 4);
        if (length == 1)
            length = number(head + 8, 8, true);
        else if (length == 0)
            length = n_bytes - at;
        n_head = 0; /* counted in the length */
    } else if (file->format == QVL_FORMAT_AVI) {
        if (memcmp(head, "RIFF", 4) != 0) /* behind the last part anything may lie */
            return false;
        length = number(head + 4, 4, false);
        memcpy(out->name, head, 4);
        length += length & 1;
    } else {
        uint64_t id = 0;
        size_t n_id = ebml_number(head, true, &id), n_length = n_id ? ebml_number(head + n_id, false, &length) : 0;
        if (n_length == 0)
            return false;
        memcpy(out->name, head, 4);
        n_head = n_id + n_length;
        if (length == UINT64_MAX)
            length = n_bytes - at - (n_bytes - at < n_head ? n_bytes - at : n_head);
    }
    out->start = at;
    out->end = length > UINT64_MAX - at - n_head ? UINT64_MAX : at + n_head + length;
    return out->end >= at + 8;
}

bool qvl_clip_file_is_cut(const struct qvl_clip_file *file)
{
    struct part part;
    for (uint64_t at = 0; read_part(file, at, &part); at = part.end)
        if (part.end > file->bytes.n_bytes)
            return true;
    return false;
}

/* Of MP4: without the index, which stands at the end unless somebody moved it, nothing can be found. */
static bool has_index(const struct qvl_clip_file *file)
{
    struct part part;
    for (uint64_t at = 0; read_part(file, at, &part); at = part.end)
        if (memcmp(part.name, "moov", 4) == 0)
            return true;
    return false;
}

/* ---- opening ---------------------------------------------------------------------------------------- */

static enum qvl_fault open_demuxer(struct qvl_clip_file *file)
{
    const char *name = file->format == QVL_FORMAT_MP4 ? "mov" : file->format == QVL_FORMAT_AVI ? "avi" : "matroska";
    const AVInputFormat *format = av_find_input_format(name);
    AVDictionary *options = NULL;
    if (!format)
        return QVL_FAULT_VARIANT;
    uint8_t *buffer = av_malloc(IO_BYTES);
    if (!buffer)
        return QVL_FAULT_MEMORY;
    file->io = avio_alloc_context(buffer, IO_BYTES, 0, file, read_bytes, NULL, seek_bytes);
    if (!file->io) {
        av_free(buffer);
        return QVL_FAULT_MEMORY;
    }
    file->demuxer = avformat_alloc_context();
    if (!file->demuxer || av_dict_set(&options, "codec_whitelist", whitelist, 0) < 0)
        return QVL_FAULT_MEMORY;
    file->demuxer->pb = file->io;
    file->demuxer->io_open = refuse_to_open;
    file->demuxer->max_streams = MAX_STREAMS;
    int error = avformat_open_input(&file->demuxer, "", format, &options); /* frees the demuxer where it fails */
    av_dict_free(&options);
    if (error < 0 && !file->has_failed && file->format == QVL_FORMAT_MP4 && !has_index(file))
        return QVL_FAULT_NO_INDEX;
    if (error == AVERROR_EOF && !file->has_failed)
        return QVL_FAULT_CUT;
    if (error < 0)
        return qvl_clip_fault(file, error);
    error = avformat_find_stream_info(file->demuxer, NULL);
    return error < 0 ? qvl_clip_fault(file, error) : QVL_FAULT_NONE;
}

static const int32_t *display_matrix(const AVStream *stream)
{
#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(60, 31, 100)
    const AVPacketSideData *data = av_packet_side_data_get(
        stream->codecpar->coded_side_data, stream->codecpar->nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
    return data && data->size >= 9 * sizeof(int32_t) ? (const int32_t *)(const void *)data->data : NULL;
#else
    size_t n = 0;
    const uint8_t *data = av_stream_get_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, &n);
    return data && n >= 9 * sizeof(int32_t) ? (const int32_t *)(const void *)data : NULL;
#endif
}

/* Its angle to the nearest quarter; a mirror is not looked for, as in the reference. */
static uint32_t orientation_of(const AVStream *stream)
{
    const int32_t *matrix = display_matrix(stream);
    double degrees = matrix ? av_display_rotation_get(matrix) : 0; /* to be turned against the clock */
    if (isnan(degrees))
        return 1;
    switch ((int)round(degrees / 90)) {
    case 1: return 8;
    case -1: return 6;
    case 2:
    case -2: return 3;
    default: return 1;
    }
}

static enum qvl_fault choose_stream(struct qvl_clip_file *file)
{
    AVFormatContext *demuxer = file->demuxer;
    int i_best = av_find_best_stream(demuxer, AVMEDIA_TYPE_VIDEO, -1, -1, NULL, 0);
    if (i_best < 0 || demuxer->streams[i_best]->disposition & AV_DISPOSITION_ATTACHED_PIC)
        return QVL_FAULT_NO_VIDEO; /* a cover picture is none */
    file->stream = demuxer->streams[i_best];
    for (unsigned i = 0; i < demuxer->nb_streams; i++)
        demuxer->streams[i]->discard = (int)i == i_best ? AVDISCARD_DEFAULT : AVDISCARD_ALL;
    file->orientation = orientation_of(file->stream);
    return QVL_FAULT_NONE;
}

/* As many as are allowed, unless their frames are large. A thread that decodes frames holds up to two that one
 * thread alone would not: the one that it works on, and one that it lets go only when it is given the next. All of
 * those together may have MAX_THREAD_BYTES of the process's memory (QVL_MAX_MEDIA_HELPER_BYTES); what the decoder
 * needs in any case, references and frames held back for their order, has the rest. */
static int n_thread_for(const struct qvl_clip_file *file)
{
#if defined(__SANITIZE_THREAD__) /* which cannot see how libavcodec's threads wait for each other */
    return 1;
#endif
    const AVCodecParameters *p = file->stream->codecpar;
    const AVPixFmtDescriptor *layout = av_pix_fmt_desc_get((enum AVPixelFormat)p->format);
    if (p->codec_id == AV_CODEC_ID_VP8) /* tells of damage in no way that would show here (av_clip.c, find) */
        return 1;
    if (p->width <= 0 || p->height <= 0 || !layout)
        return 1;
    uint64_t frame_bytes =
        (uint64_t)p->width * (uint64_t)p->height * (uint64_t)av_get_padded_bits_per_pixel(layout) / 8;
    uint64_t n_fit = MAX_THREAD_BYTES / (2 * frame_bytes + 1);
    return n_fit < 1 ? 1 : n_fit < file->n_thread ? (int)n_fit : (int)file->n_thread;
}

/* Where every frame stands alone, one is wanted here and one there, and threads that run ahead would decode what
 * nobody asks for: there they share a frame, if the codec can. */
static int thread_type_for(enum AVCodecID id)
{
    const AVCodecDescriptor *codec = avcodec_descriptor_get(id);
    bool is_intra = codec && codec->props & AV_CODEC_PROP_INTRA_ONLY;
    return is_intra ? FF_THREAD_SLICE : FF_THREAD_FRAME | FF_THREAD_SLICE;
}

static enum qvl_fault start_decoder(struct qvl_clip_file *file, const AVCodec *codec, int n_thread)
{
    avcodec_free_context(&file->decoder);
    file->decoder = avcodec_alloc_context3(codec);
    if (!file->decoder)
        return QVL_FAULT_MEMORY;
    int error = avcodec_parameters_to_context(file->decoder, file->stream->codecpar);
    if (error < 0)
        return qvl_clip_fault(file, error);
    file->decoder->opaque = &file->has_complained;
    file->decoder->thread_count = n_thread;
    file->decoder->thread_type = thread_type_for(codec->id);
    file->decoder->max_pixels = (int64_t)QVL_MAX_MEDIA_PIXELS;
    file->decoder->pkt_timebase = file->stream->time_base;
    error = avcodec_open2(file->decoder, codec, NULL);
    return error < 0 ? qvl_clip_fault(file, error) : QVL_FAULT_NONE;
}

static enum qvl_fault open_decoder(struct qvl_clip_file *file)
{
    const AVCodecParameters *parameters = file->stream->codecpar;
    const AVCodec *codec = NULL;
    if (parameters->width > 0 && parameters->height > 0 &&
        !qvl_media_size_is_allowed((uint32_t)parameters->width, (uint32_t)parameters->height))
        return QVL_FAULT_LARGE;
    for (size_t i = 0; !codec && i < sizeof decoders / sizeof *decoders; i++)
        if (decoders[i].id == parameters->codec_id && (codec = avcodec_find_decoder_by_name(decoders[i].decoder)))
            file->codec = decoders[i].codec;
    if (!codec)
        return QVL_FAULT_CODEC;
    int n_thread = n_thread_for(file);
    enum qvl_fault fault = start_decoder(file, codec, n_thread);
    return fault && n_thread > 1 ? start_decoder(file, codec, 1) : fault; /* there may be no more threads to have */
}

enum qvl_fault qvl_clip_file_open(struct qvl_clip_file *file)
{
    av_log_set_callback(on_message);
    av_max_alloc(QVL_MAX_MEDIA_ALLOC_BYTES); /* tables and packets are as large as a file says that they are */
    enum qvl_fault fault = open_demuxer(file);
    if (!fault)
        fault = choose_stream(file);
    return fault ? fault : open_decoder(file);
}

void qvl_clip_file_close(struct qvl_clip_file *file)
{
    avcodec_free_context(&file->decoder);
    avformat_close_input(&file->demuxer);
    if (file->io)
        av_freep(&file->io->buffer);
    avio_context_free(&file->io);
    *file = (struct qvl_clip_file){.format = file->format, .bytes = file->bytes, .n_thread = file->n_thread};
}

int qvl_clip_file_read(struct qvl_clip_file *file, AVPacket *packet, bool *is_cut)
{
    for (;;) {
        av_packet_unref(packet);
        int error = av_read_frame(file->demuxer, packet);
        if (error < 0)
            return error;
        if (packet->stream_index != file->stream->index)
            continue;
        if (packet->flags & AV_PKT_FLAG_CORRUPT)
            *is_cut = true;
        else
            return 0;
    }
}

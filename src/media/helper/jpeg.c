/* JPEG through libjpeg-turbo.
 *
 * Pillow's bytes: libjpeg's defaults (accurate integer DCT, fancy upsampling), colour conversion by libjpeg, CMYK
 * and YCCK as Pillow converts them (inverted as Adobe writes them, no profile). As there, damage inside the
 * entropy-coded data that libjpeg only warns about is not an error; data that end early are. libjpeg's own error
 * handler ends the process, so ours jumps back; everything it allocates belongs to the decompressor and goes
 * with it. */
#include "media/helper/image.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>
#include <jerror.h>

#include "base/limits.h"
#include "media/helper/tags.h"

struct reader {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr error;
    struct jpeg_source_mgr source;
    struct jpeg_progress_mgr progress;
    jmp_buf escape;
    enum qvl_fault fault;
    uint8_t *row; /* [w][4] */
};

static struct reader *reader_of(j_common_ptr jpeg)
{
    return jpeg->client_data;
}

static _Noreturn void give_up(struct reader *r, enum qvl_fault fault)
{
    r->fault = fault;
    longjmp(r->escape, 1);
}

static void on_error(j_common_ptr jpeg)
{
    switch (jpeg->err->msg_code) {
    case JERR_OUT_OF_MEMORY: give_up(reader_of(jpeg), QVL_FAULT_MEMORY);
    case JERR_ARITH_NOTIMPL:
    case JERR_BAD_PRECISION:
    case JERR_COMPONENT_COUNT:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_CCIR601_NOTIMPL:
    case JERR_FRACT_SAMPLE_NOTIMPL:
    case JERR_NOTIMPL:
    case JERR_SOF_UNSUPPORTED: give_up(reader_of(jpeg), QVL_FAULT_VARIANT);
    default: give_up(reader_of(jpeg), QVL_FAULT_BROKEN);
    }
}

static void on_message(j_common_ptr jpeg, int level)
{
    (void)jpeg;
    (void)level;
}

static void on_text(j_common_ptr jpeg)
{
    (void)jpeg;
}

static void on_progress(j_common_ptr jpeg)
{
    if (((j_decompress_ptr)jpeg)->input_scan_number > (int)QVL_MAX_JPEG_SCANS)
        give_up(reader_of(jpeg), QVL_FAULT_SCANS);
}

/* All bytes are there from the start: asking for more means that the file is cut. */
static boolean more_bytes(j_decompress_ptr jpeg)
{
    give_up(reader_of((j_common_ptr)jpeg), QVL_FAULT_CUT);
}

static void skip_bytes(j_decompress_ptr jpeg, long n)
{
    if (n <= 0)
        return;
    if ((size_t)n > jpeg->src->bytes_in_buffer)
        give_up(reader_of((j_common_ptr)jpeg), QVL_FAULT_CUT);
    jpeg->src->next_input_byte += n;
    jpeg->src->bytes_in_buffer -= (size_t)n;
}

static void nothing(j_decompress_ptr jpeg)
{
    (void)jpeg;
}

/* The caller has set r->escape. */
static void open_reader(struct reader *r, const uint8_t *bytes, size_t n)
{
    r->jpeg.err = jpeg_std_error(&r->error);
    r->error.error_exit = on_error;
    r->error.emit_message = on_message;
    r->error.output_message = on_text;
    r->jpeg.client_data = r;
    jpeg_create_decompress(&r->jpeg);
    r->source = (struct jpeg_source_mgr){.next_input_byte = bytes,
                                         .bytes_in_buffer = n,
                                         .init_source = nothing,
                                         .fill_input_buffer = more_bytes,
                                         .skip_input_data = skip_bytes,
                                         .resync_to_restart = jpeg_resync_to_restart,
                                         .term_source = nothing};
    r->jpeg.src = &r->source;
    r->progress.progress_monitor = on_progress;
    r->jpeg.progress = &r->progress;
    jpeg_read_header(&r->jpeg, TRUE);
}

static void close_reader(struct reader *r)
{
    jpeg_destroy_decompress(&r->jpeg);
    free(r->row);
    free(r);
}

/* Orientation from the first EXIF segment before the first scan. Segments are FF, marker, length (which counts
 * itself), data; libjpeg has already found the header sound. */
static uint32_t orientation_of(const uint8_t *bytes, size_t n)
{
    for (size_t at = 2; at + 4 <= n;) {
        uint8_t marker = bytes[at + 1];
        if (bytes[at] != 0xff || marker == 0xff) { /* fill bytes, or stray ones as libjpeg skips them */
            at++;
            continue;
        }
        if (marker == 0x01 || (marker >= 0xd0 && marker <= 0xd8)) { /* no length */
            at += 2;
            continue;
        }
        size_t length = (size_t)bytes[at + 2] << 8 | bytes[at + 3];
        if (marker == 0xda || length < 2 || length > n - at - 2)
            break;
        if (marker == 0xe1 && length >= 8 && memcmp(bytes + at + 4, "Exif\0\0", 6) == 0)
            return qvl_exif_orientation(bytes + at + 4, length - 2);
        at += 2 + length;
    }
    return 1;
}

enum qvl_fault qvl_jpeg_probe(const uint8_t *bytes, size_t n, struct qvl_image_info *out)
{
    struct reader *r = calloc(1, sizeof *r);
    if (!r)
        return QVL_FAULT_MEMORY;
    if (setjmp(r->escape) == 0) {
        open_reader(r, bytes, n);
        *out = (struct qvl_image_info){.w = r->jpeg.image_width,
                                       .h = r->jpeg.image_height,
                                       .orientation = orientation_of(bytes, n)};
    }
    enum qvl_fault fault = r->fault;
    close_reader(r);
    return fault;
}

/* Pillow's CMYK;I and its conversion without profile: c' = (255-k) - c * (255-k) / 255, rounded. */
static void cmyk_to_rgb(uint8_t *row, uint32_t w)
{
    for (uint32_t x = 0; x < w; x++) {
        const uint8_t *in = row + 4 * (size_t)x;
        uint32_t white = in[3];
        uint8_t rgb[3];
        for (size_t i = 0; i < 3; i++) {
            uint32_t product = (255u - in[i]) * white + 128;
            rgb[i] = (uint8_t)(white - (((product >> 8) + product) >> 8));
        }
        memcpy(row + 3 * (size_t)x, rgb, 3);
    }
}

static void decode_rows(struct reader *r, const struct qvl_canvas *canvas)
{
    struct jpeg_decompress_struct *jpeg = &r->jpeg;
    bool is_cmyk = jpeg->num_components == 4;
    if (jpeg->image_width != canvas->w || jpeg->image_height != canvas->h)
        give_up(r, QVL_FAULT_CHANGED);
    if (jpeg->num_components == 2) /* libjpeg would hand these on as they are */
        give_up(r, QVL_FAULT_VARIANT);
    jpeg->out_color_space = is_cmyk ? JCS_CMYK : JCS_RGB;
    r->row = malloc((size_t)canvas->w * 4);
    if (!r->row)
        give_up(r, QVL_FAULT_MEMORY);
    jpeg_start_decompress(jpeg);
    while (jpeg->output_scanline < canvas->h) {
        uint32_t y = jpeg->output_scanline;
        if (jpeg_read_scanlines(jpeg, &r->row, 1) != 1)
            give_up(r, QVL_FAULT_CUT);
        if (is_cmyk)
            cmyk_to_rgb(r->row, canvas->w);
        qvl_canvas_put_rgb(canvas, y, r->row);
    }
    jpeg_finish_decompress(jpeg);
}

enum qvl_fault qvl_jpeg_decode(const uint8_t *bytes, size_t n, const struct qvl_canvas *canvas)
{
    struct reader *r = calloc(1, sizeof *r);
    if (!r)
        return QVL_FAULT_MEMORY;
    if (setjmp(r->escape) == 0) {
        open_reader(r, bytes, n);
        decode_rows(r, canvas);
    }
    enum qvl_fault fault = r->fault;
    close_reader(r);
    return fault;
}

/* PNG through libpng.
 *
 * Every depth and colour type ends as 8-bit RGB or RGBA: palettes looked up, 1, 2 and 4 bits stretched, 16 bits
 * rounded (40000 -> 156), a key colour (tRNS) made transparent, grey tripled; gamma and profiles are not applied.
 * Other ancillary chunks are skipped unread, eXIf is found by a walk of our own, since it may stand behind the
 * pixels. libpng reports by longjmp; what it allocates goes with the read struct. */
#include "media/helper/image.h"

#include <setjmp.h>
#include <stdlib.h>

#include <png.h>

#include "base/limits.h"
#include "media/helper/tags.h"

enum { SIGNATURE_BYTES = 8, CHUNK_BYTES = 12, IHDR_BYTES = 13 }; /* a chunk: length, type, data, CRC */

struct reader {
    png_structp png;
    png_infop info;
    const uint8_t *bytes; /* what is left */
    size_t n;
    enum qvl_fault fault;
    uint8_t *rows; /* [1 or h][w][3 or 4] */
};

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t orientation_of(const uint8_t *bytes, size_t n)
{
    for (size_t at = SIGNATURE_BYTES; n - at >= CHUNK_BYTES;) {
        size_t length = be32(bytes + at);
        if (length > n - at - CHUNK_BYTES || memcmp(bytes + at + 4, "IEND", 4) == 0)
            break;
        if (memcmp(bytes + at + 4, "eXIf", 4) == 0)
            return qvl_exif_orientation(bytes + at + 8, length);
        at += CHUNK_BYTES + length;
    }
    return 1;
}

enum qvl_fault qvl_png_probe(const uint8_t *bytes, size_t n, struct qvl_image_info *out)
{
    if (n < SIGNATURE_BYTES + CHUNK_BYTES + IHDR_BYTES)
        return QVL_FAULT_CUT;
    if (be32(bytes + 8) != IHDR_BYTES || memcmp(bytes + 12, "IHDR", 4) != 0)
        return QVL_FAULT_BROKEN;
    *out = (struct qvl_image_info){
        .w = be32(bytes + 16), .h = be32(bytes + 20), .orientation = orientation_of(bytes, n)};
    return QVL_FAULT_NONE;
}

static _Noreturn void give_up(png_structp png, enum qvl_fault fault)
{
    struct reader *r = png_get_error_ptr(png);
    r->fault = fault;
    png_longjmp(png, 1);
}

static _Noreturn void on_error(png_structp png, png_const_charp text)
{
    (void)text;
    give_up(png, QVL_FAULT_BROKEN);
}

static void on_warning(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

static void on_read(png_structp png, png_bytep out, size_t n)
{
    struct reader *r = png_get_io_ptr(png);
    if (n > r->n)
        give_up(png, QVL_FAULT_CUT);
    memcpy(out, r->bytes, n);
    r->bytes += n;
    r->n -= n;
}

static void set_limits(png_structp png)
{
    static const png_byte unused[] = "bKGD\0cHRM\0eXIf\0gAMA\0hIST\0iCCP\0iTXt\0oFFs\0pCAL\0pHYs\0sBIT\0"
                                     "sCAL\0sPLT\0sRGB\0tEXt\0tIME\0zTXt";
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, 0);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, unused, (int)(sizeof unused / 5));
    png_set_user_limits(png, QVL_MAX_MEDIA_SIDE_PX, QVL_MAX_MEDIA_SIDE_PX);
    png_set_chunk_malloc_max(png, QVL_MAX_PNG_CHUNK_BYTES);
    png_set_benign_errors(png, 1);
}

static void decode_rows(struct reader *r, const struct qvl_canvas *canvas)
{
    png_structp png = r->png;
    set_limits(png);
    png_set_read_fn(png, r, on_read);
    png_read_info(png, r->info);
    if (png_get_image_width(png, r->info) != canvas->w || png_get_image_height(png, r->info) != canvas->h)
        give_up(png, QVL_FAULT_CHANGED);
    png_set_expand(png);
    png_set_scale_16(png);
    png_set_gray_to_rgb(png);
    int n_pass = png_set_interlace_handling(png);
    png_read_update_info(png, r->info);

    size_t row_bytes = png_get_rowbytes(png, r->info);
    bool has_alpha = row_bytes == (size_t)canvas->w * 4;
    if (!has_alpha && row_bytes != (size_t)canvas->w * 3)
        give_up(png, QVL_FAULT_VARIANT);
    size_t next = n_pass > 1 ? row_bytes : 0; /* interlaced pictures are whole only after the last pass */
    r->rows = malloc(n_pass > 1 ? row_bytes * canvas->h : row_bytes);
    if (!r->rows)
        give_up(png, QVL_FAULT_MEMORY);
    for (int pass = 0; pass < n_pass; pass++)
        for (uint32_t y = 0; y < canvas->h; y++) {
            uint8_t *row = r->rows + y * next;
            png_read_row(png, row, NULL);
            if (pass + 1 < n_pass)
                continue;
            if (has_alpha)
                qvl_canvas_put_rgba(canvas, y, row);
            else
                qvl_canvas_put_rgb(canvas, y, row);
        }
    png_read_end(png, NULL);
}

enum qvl_fault qvl_png_decode(const uint8_t *bytes, size_t n, const struct qvl_canvas *canvas)
{
    struct reader *r = calloc(1, sizeof *r); /* not a local: it is read after the jump */
    if (!r)
        return QVL_FAULT_MEMORY;
    *r = (struct reader){.bytes = bytes, .n = n, .fault = QVL_FAULT_MEMORY};
    r->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, r, on_error, on_warning);
    r->info = r->png ? png_create_info_struct(r->png) : NULL;
    if (r->info && setjmp(png_jmpbuf(r->png)) == 0) {
        decode_rows(r, canvas);
        r->fault = QVL_FAULT_NONE;
    }
    enum qvl_fault fault = r->fault;
    png_destroy_read_struct(&r->png, &r->info, NULL);
    free(r->rows);
    free(r);
    return fault;
}

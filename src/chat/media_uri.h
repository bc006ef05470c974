/* media_uri.h: what a string says where a picture or clip is: a data: URI, a file: URI or a path. */
#ifndef QVL_CHAT_MEDIA_URI_H
#define QVL_CHAT_MEDIA_URI_H

#include "base/arena.h"

/* n bytes at uri to *out: its bytes, or its path; both in `arena`, the time 0. Nothing is opened.
 *
 * data:[TYPE][;...];base64,DATA (RFC 2397; the type is not asked): base64 of RFC 4648, "+/" and full padding, white
 * space allowed anywhere, since long data is often folded.
 * file:///PATH, file://localhost/PATH, file:/PATH: percent-decoded. "?" and "#" are part of the name.
 * Else a path, as it is; a relative one is one of base_dir ("": of the working folder).
 *
 * QVL_ERR_ARGUMENT, each sentence beginning with `where`: another scheme (nothing is fetched from a network), and
 * with base_dir NULL every file; an empty or too long path. QVL_ERR_MEDIA: data that is none. */
enum qvl_status qvl_media_uri_read(const char *where, const char *uri, size_t n, const char *base_dir,
                                   struct qvl_arena *arena, struct qvl_picture_file *out, struct qvl_error *err);

/* n bytes of base64, as after ";base64,", without anything before them. */
enum qvl_status qvl_media_base64_read(const char *where, const char *text, size_t n, struct qvl_arena *arena,
                                      struct qvl_picture_file *out, struct qvl_error *err);

/* vLLM's frames of a clip, "data:video/jpeg;base64,F1,F2,...": how many pictures, each base64, stand in it. 0:
 * another URI; of any other type than video/jpeg one with a single comma is. */
size_t qvl_media_data_n_frame(const char *uri, size_t n);
/* Those pictures into out [qvl_media_data_n_frame]. */
enum qvl_status qvl_media_data_frames_read(const char *where, const char *uri, size_t n, struct qvl_arena *arena,
                                           struct qvl_picture_file *out, struct qvl_error *err);
/* "image/png" of a data: URI: *out_n bytes, maybe none, or NULL where it is no data: URI. */
const char *qvl_media_data_type(const char *uri, size_t n, size_t *out_n);

#endif

/* openai_chat_form.h: multipart/form-data as the JSON body of a Chat Completions request.
 *
 *     curl -F image=@a.jpg -F image=@b.jpg -F prompt="Which is older?" -F max_tokens=50 .../v1/chat/completions
 *
 * becomes {"messages": [{"role": "user", "content": [{"type": "image", "image": "upload:#0"}, …]}], "max_tokens": 50}.
 *
 * Files are parts with a file name: "image", "image[]", "images" and "video", "video[]", "videos"; "file" is what it looks
 * like. They stand before the prompt, in their order. Besides prompt and system (a system message) any field of the JSON body
 * may be a part: JSON where it is JSON, else a string. min_pixels, max_pixels, total_pixels, fps, num_frames, min_frames,
 * max_frames, start, end and detail count for each picture and clip. Instead of prompt there may be messages, whose
 * parts say "upload:NAME". */
#ifndef QVL_SERVER_OPENAI_CHAT_FORM_H
#define QVL_SERVER_OPENAI_CHAT_FORM_H

#include "base/bytes.h"
#include "server/http.h"

/* Appends the JSON. QVL_ERR_ARGUMENT: *param is the part's name; or NULL. */
enum qvl_status qvl_chat_form_read(const struct qvl_form_part *part, size_t n_part, struct qvl_bytes *out,
                                   const char **param, struct qvl_error *err);

#endif

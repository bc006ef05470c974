/* chat_json.h: a conversation as JSON, in the forms that OpenAI's API and Hugging Face's chat templates use, to
 * struct qvl_chat. Used by programs (qvl run --messages; the server).
 *
 * Enters: {"messages": [...], "tools": [...]} or the bare list of messages. Content is a string or a list of
 * parts:
 *     {"type": "text", "text": T}, {"text": T}
 *     {"type": "image_url", "image_url": {"url": U} or U}, {"type": "image", "image": U}, {"image": U}
 *     {"type": "video_url", "video_url": {"url": U}}, {"type": "video", "video": U or [U, ...]}, {"video": ...}
 * and, where the type is said, "url": U or "path": U. U is a data: URI (base64), a file: URI or a path
 * (media_uri.h); a clip may also be a folder of pictures. Picture and clip parts take min_pixels, max_pixels, total_pixels, fps,
 * num_frames (nframes), min_frames, max_frames, start (video_start), end (video_end); a list or folder of pictures
 * takes sample_fps or "times", seconds, instead of what chooses frames; pictures take OpenAI's "detail" ("low": at
 * most 512 * 512 pixels; "high" and "auto" say nothing).
 *
 * Roles are system, developer (the same), user, assistant and tool. Assistant messages may have reasoning_content
 * (or reasoning) and tool_calls, {"function": {"name", "arguments"}} or {"name", "arguments"}, arguments an object or a
 * string that holds one; they may lack content. Parts of any kind may stand in messages of any role: what a model
 * does not take there is the engine's affair. Other members are ignored; part types not named here, and values of a
 * wrong type, are refused. */
#ifndef QVL_CHAT_CHAT_JSON_H
#define QVL_CHAT_CHAT_JSON_H

#include "base/arena.h"

struct qvl_chat_json {
    struct qvl_chat chat;   /* everything it points to lives until qvl_chat_json_close */
    struct qvl_arena arena;
    int *fd;                /* [n_fd] open files of its pictures and clips */
    size_t n_fd, n_fd_alloc;
};

struct qvl_chat_json_settings {
    const char *name;                      /* of the text, for sentences on JSON as such (a file); may be NULL */
    const char *base_dir;                  /* of relative paths, "": as they are; NULL: files are refused (a
                                              server's default) */
    struct qvl_media_options image, video; /* for fields that a part leaves open */
    double sample_fps;                     /* of lists of pictures without rate and times; 0 = 2 */
};

/* QVL_ERR_ARGUMENT: not JSON, or not a conversation (the sentence says where: "messages[2].content[0]: ...").
 * QVL_ERR_MEDIA: a file that cannot be opened (pictures of a list are opened when their turn comes), base64 that is
 * none. QVL_ERR_LIMIT: base/limits.h. Options that a part leaves open are those of the settings, less what
 * contradicts its own. */
enum qvl_status qvl_chat_json_open(const char *json, size_t n, const struct qvl_chat_json_settings *settings,
                                   struct qvl_chat_json *out, struct qvl_error *err);
void qvl_chat_json_close(struct qvl_chat_json *chat);

#endif

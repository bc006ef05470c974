/* chat_json.h: a conversation as JSON, in the forms that OpenAI's APIs, vLLM, Ollama and Hugging Face's chat
 * templates use, to struct qvl_chat. Used by programs (qvl run --messages; the server).
 *
 * Enters: {"messages": [...], "tools": [...]} or the bare list of messages. Content is a string or a list of
 * parts; U is where a picture or clip is (media_uri.h): a data: URI (base64), a file: URI, a path, or what an
 * opener knows; B is base64 alone, or a data: URI.
 *
 *     texts     {"type": "text", "text": T}, {"text": T}; input_text and output_text are the same; {"refusal": T}
 *     pictures  image_url, image, input_image      clips  video_url, video, input_video
 *               is the part's type (which may be absent) and the member that holds U, {"url": U}, {"data": B}, or
 *               one of these under "source"; a part with a type may also have U as "url" or "path" and B as "data"
 * or "base64", and {"type": "input_image"} U as "image_url" either    {"type": "file", "file": {"file_data":
 * "data:image/...;base64,..."}}, {"type": "input_file", "file_data": ...}: by the type that the data: URI says
 *     frames    of a clip: a list [U, ...] in the place of U; a folder of pictures;
 * "data:video/jpeg;base64,F1,F2,...", each F the base64 of one picture
 *
 * Messages may have Ollama's "images": [B, ...], which stand before their content. A picture or clip takes "uuid"
 * as its name in sentences and replies.
 *
 * Options of a picture or clip, in the part or in the object that holds its URL: min_pixels, max_pixels,
 * total_pixels, fps, num_frames (nframes), min_frames, max_frames, start (video_start), end (video_end); a list or
 * folder of pictures takes "times", seconds, or sample_fps (or fps) instead of what chooses frames; pictures take
 * OpenAI's "detail" ("low": at most 512 * 512 pixels; "high", "auto" and "original" say nothing).
 *
 * Roles are system, developer (the same), user, assistant and tool. Assistant messages may have reasoning_content
 * (or reasoning, or thinking) and tool_calls, {"function": {"name", "arguments"}} or {"name", "arguments"},
 * arguments an object or a string that holds one; they may lack content. Parts of any kind may stand in messages of
 * any role: what a model does not take there is the engine's affair. Other members are ignored; part types not
 * named here, and values of a wrong type, are refused. */
#ifndef QVL_CHAT_CHAT_JSON_H
#define QVL_CHAT_CHAT_JSON_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/json_tree.h"

struct qvl_chat_json {
    struct qvl_chat chat; /* everything it points to lives until qvl_chat_json_close */
    struct qvl_arena arena;
    int *fd; /* [n_fd] open files of its pictures and clips */
    size_t n_fd, n_fd_alloc;
};

/* Opens what is no data: URI, as a program's rules allow: n bytes at uri to *out, either QVL_FROM_FD with a
 * descriptor that is the conversation's from then on, or QVL_FROM_BYTES with bytes that live as long as it does (in
 * `arena`, or elsewhere). Sentences begin with `where`. */
struct qvl_media_opener {
    void *user;
    enum qvl_status (*open)(void *user, const char *where, const char *uri, size_t n, struct qvl_arena *arena,
                            struct qvl_media_source *out, struct qvl_error *err);
};

struct qvl_chat_json_settings {
    const char *name;                      /* of the text, for sentences on JSON as such (a file); may be NULL */
    const char *const *message_name;       /* [messages] what sentences call them; NULL: "messages[0]", … */
    const char *base_dir;                  /* of relative paths, "": as they are; NULL: files are refused */
    const struct qvl_media_opener *opener; /* asked instead, where there is one; base_dir is not used then */
    struct qvl_media_options image, video; /* for fields that a part leaves open */
    double sample_fps;                     /* of lists of pictures without rate and times; 0 = 2 */
    uint32_t max_media;                    /* pictures and clips; 0 = QVL_MAX_MEDIA_PER_REQUEST, the most */
    uint32_t max_listed;                   /* pictures in the lists of all clips; 0: QVL_MAX_CLIP_FRAMES in each */
    uint64_t max_media_bytes;              /* of them that are kept in memory; 0 = QVL_MAX_CHAT_MEDIA_BYTES */
};

/* What a request says of all its pictures and clips, as vLLM's API has it, into settings; parts come before it.
 * Either node may be NULL.
 *
 * mm_processor_kwargs {"min_pixels", "max_pixels", "total_pixels", "fps", "num_frames", "min_frames", "max_frames",
 * "do_sample_frames", "size": {"shortest_edge", "longest_edge"}}: as in a part; size is Hugging Face's, pixels in
 * spite of its words: bounds of a picture, and longest_edge of all frames of a clip together. media_io_kwargs
 * {"video": {"fps", "num_frames"}}: which frames are read, num_frames at most if both are there; -1 says nothing.
 * What mm_processor_kwargs chooses comes before it, unless do_sample_frames is false.
 *
 * Names of other members are added to *unknown (with ", " between; "mm_processor_kwargs.x"). On QVL_ERR_ARGUMENT
 * *param is the field's name, and the sentence begins with it. */
enum qvl_status qvl_chat_read_media_kwargs(const struct qvl_json_node *mm_processor_kwargs,
                                           const struct qvl_json_node *media_io_kwargs,
                                           struct qvl_chat_json_settings *settings, struct qvl_bytes *unknown,
                                           const char **param, struct qvl_error *err);

/* QVL_ERR_ARGUMENT: not JSON, or not a conversation (the sentence says where: "messages[2].content[0]: ...").
 * QVL_ERR_MEDIA: a file that cannot be opened (pictures of a list are opened when their turn comes), base64 that is
 * none. QVL_ERR_LIMIT: base/limits.h. Options that a part leaves open are those of the settings, less what
 * contradicts its own. */
enum qvl_status qvl_chat_json_open(const char *json, size_t n, const struct qvl_chat_json_settings *settings,
                                   struct qvl_chat_json *out, struct qvl_error *err);
/* The same from a tree that is there already and may go afterwards: the list of messages, and that of tools or
 * NULL. */
enum qvl_status qvl_chat_json_read(const struct qvl_json_node *messages, const struct qvl_json_node *tools,
                                   const struct qvl_chat_json_settings *settings, struct qvl_chat_json *out,
                                   struct qvl_error *err);
void qvl_chat_json_close(struct qvl_chat_json *chat);

#endif

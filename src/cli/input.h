/* input.h: pictures, clips and texts of one user message: files opened, stdin read, words told apart. */
#ifndef QVL_CLI_INPUT_H
#define QVL_CLI_INPUT_H

#include "base/bytes.h"
#include "chat/chat_json.h"
#include "cli/options.h"

/* A zeroed struct is an empty message. */
struct qvl_input {
    struct qvl_part *part; /* [n_part]; what they point to lives until qvl_input_close, or is the caller's */
    size_t n_part, n_part_alloc;
    size_t n_media, n_clip; /* of the parts: pictures and clips; clips */
    int *fd;                /* [n_fd] open files */
    size_t n_fd, n_fd_alloc;
    struct qvl_bytes from_stdin;
    struct qvl_arena arena; /* names, and clips that are pictures */
};

/* The words of the command line. Parts keep their order, except that a single text goes last, where the model was
 * trained to find the question. A word that is a picture or clip by its content, or by its name, is one; a folder
 * is a clip when --sample-fps or --frame-times say so. Any other file or folder, and what looks like the path of a
 * file that is not there, is QVL_ERR_MEDIA: who names a file means the file, and a model that answers its name
 * would hide the mistake (--prompt sends such a word). Every other word is text. Pictures in a row are one clip
 * after --video, or with --sample-fps or --frame-times. Without any text, stdin is read unless it is a terminal; a chat needs no text. */
enum qvl_status qvl_input_open(const struct qvl_options *options, struct qvl_input *out, struct qvl_error *err);

/* One more part, with the media settings of the options. QVL_PART_IMAGE: the picture at path; QVL_PART_VIDEO: the
 * clip there, or the folder of pictures. A file: URI is a path, too. On failure the message is as before. */
enum qvl_status qvl_input_add_media(const struct qvl_options *options, enum qvl_part_kind kind, const char *path,
                                    struct qvl_input *input, struct qvl_error *err);
/* Takes it back. */
void qvl_input_drop_last(struct qvl_input *input);
/* n bytes, the caller's. QVL_ERR_ARGUMENT: they are not UTF-8. */
enum qvl_status qvl_input_add_text(struct qvl_input *input, const char *utf8, size_t n, struct qvl_error *err);
void qvl_input_close(struct qvl_input *input);

/* Whether a word is a picture or clip: a file by its content, else by its name. A folder is neither. */
bool qvl_input_find_kind(const char *word, enum qvl_part_kind *out);
/* What the options say about pictures and clips of --messages; paths are relative to the working folder. */
struct qvl_chat_json_settings qvl_input_chat_settings(const struct qvl_options *options);
/* The conversation in a file; relative paths in it are relative to its folder (name and base_dir of the settings are
 * not used). Errors: see qvl_chat_json_open; QVL_ERR_FILE: the file itself. */
enum qvl_status qvl_input_read_chat(const char *path, const struct qvl_chat_json_settings *settings,
                                    struct qvl_chat_json *out, struct qvl_error *err);
/* Appends everything on stdin; none is QVL_ERR_ARGUMENT, more than QVL_MAX_INPUT_BYTES QVL_ERR_LIMIT. */
enum qvl_status qvl_input_read_stdin(struct qvl_bytes *out, struct qvl_error *err);

#endif

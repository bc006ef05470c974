#include "server/openai_chat_form.h"

#include <string.h>

#include "base/json_reader.h"

enum { MAX_OPTION_BYTES = 64 << 10 }; /* an option is repeated for every picture and clip: the longest has times */

static bool is_one_of(const char *name, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(name, list[i]) == 0)
            return true;
    return false;
}
#define IS_ONE_OF(name, list) is_one_of(name, list, sizeof(list) / sizeof *(list))

/* Of all pictures and clips. */
static bool is_media_option(const char *name)
{
    static const char *const names[] = {"min_pixels",  "max_pixels", "total_pixels", "fps",   "num_frames",
                                        "nframes",     "min_frames", "max_frames",   "start", "end",
                                        "video_start", "video_end",  "detail",       "times", "sample_fps"};
    return IS_ONE_OF(name, names);
}

/* Text even where it looks like JSON: a model may be called 7. */
static bool is_text(const struct qvl_form_part *p)
{
    static const char *const names[] = {"model", "user", "safety_identifier", "prompt_cache_key", "detail"};
    return IS_ONE_OF(p->name, names) || (strcmp(p->name, "stop") == 0 && p->n > 0 && p->bytes[0] != '[');
}

static bool is_json(const struct qvl_form_part *p)
{
    struct qvl_error ignored = {0};
    struct qvl_json_reader json = {
        .text = (const char *)p->bytes, .n = p->n, .name = p->name, .status = QVL_ERR_ARGUMENT};
    bool is = !qvl_json_reader_next(&json, &ignored) && !qvl_json_reader_skip(&json, &ignored) &&
              !qvl_json_reader_next(&json, &ignored) && json.event == QVL_JSON_END;
    qvl_json_reader_free(&json);
    return is;
}

static enum qvl_status add_value(const struct qvl_form_part *p, struct qvl_bytes *out, struct qvl_error *err)
{
    const char *text = (const char *)p->bytes;
    return !is_text(p) && is_json(p) ? qvl_bytes_add(out, text, p->n, err)
                                     : qvl_bytes_add_json_string(out, text, p->n, err);
}

/* , "name": value */
static enum qvl_status add_member(const struct qvl_form_part *p, struct qvl_bytes *out, struct qvl_error *err)
{
    enum qvl_status status = qvl_bytes_add_text(out, ", ", err);
    if (!status)
        status = qvl_bytes_add_json_string(out, p->name, strlen(p->name), err);
    if (!status)
        status = qvl_bytes_add_text(out, ": ", err);
    return status ? status : add_value(p, out, err);
}

/* "image" or "video"; NULL: neither. */
static const char *find_kind(const struct qvl_form_part *p)
{
    static const char *const images[] = {"image", "image[]", "images", "images[]"};
    static const char *const videos[] = {"video", "video[]", "videos", "videos[]"};
    static const char *const files[] = {"file", "file[]", "files", "files[]"};
    if (IS_ONE_OF(p->name, images))
        return "image";
    if (IS_ONE_OF(p->name, videos))
        return "video";
    if (!IS_ONE_OF(p->name, files))
        return NULL;
    return qvl_media_sniff(p->bytes, p->n < QVL_MEDIA_HEAD_BYTES ? p->n : QVL_MEDIA_HEAD_BYTES) == QVL_GUESS_VIDEO
               ? "video"
               : "image";
}

static enum qvl_status add_file(const struct qvl_form_part *part, size_t n_part, size_t i_file,
                                struct qvl_bytes *out, struct qvl_error *err)
{
    const char *kind = find_kind(&part[i_file]);
    enum qvl_status status =
        qvl_bytes_add_format(out, err, "{\"type\": \"%s\", \"%s\": \"upload:#%zu\"", kind, kind, i_file);
    for (size_t i = 0; i < n_part && !status; i++)
        if (!part[i].filename && is_media_option(part[i].name))
            status = add_member(&part[i], out, err);
    return status ? status : qvl_bytes_add_text(out, "}, ", err);
}

static const struct qvl_form_part *find_part(const struct qvl_form_part *part, size_t n_part, const char *name)
{
    for (size_t i = 0; i < n_part; i++)
        if (!part[i].filename && strcmp(part[i].name, name) == 0)
            return &part[i];
    return NULL;
}

static enum qvl_status add_messages(const struct qvl_form_part *part, size_t n_part, struct qvl_bytes *out,
                                    struct qvl_error *err)
{
    const struct qvl_form_part *prompt = find_part(part, n_part, "prompt"),
                               *system = find_part(part, n_part, "system");
    enum qvl_status status = QVL_OK;
    if (system) {
        status = qvl_bytes_add_text(out, "{\"role\": \"system\", \"content\": ", err);
        if (!status)
            status = qvl_bytes_add_json_string(out, (const char *)system->bytes, system->n, err);
        if (!status)
            status = qvl_bytes_add_text(out, "}, ", err);
    }
    if (!status)
        status = qvl_bytes_add_text(out, "{\"role\": \"user\", \"content\": [", err);
    for (size_t i = 0; i < n_part && !status; i++)
        if (part[i].filename)
            status = add_file(part, n_part, i, out, err);
    if (!status)
        status = qvl_bytes_add_text(out, "{\"type\": \"text\", \"text\": ", err);
    if (!status)
        status = qvl_bytes_add_json_string(out, (const char *)prompt->bytes, prompt->n, err);
    return status ? status : qvl_bytes_add_text(out, "}]}", err);
}

static enum qvl_status check_parts(const struct qvl_form_part *part, size_t n_part, bool has_messages,
                                   const char **param, struct qvl_error *err)
{
    for (size_t i = 0; i < n_part; i++) {
        const struct qvl_form_part *p = &part[i];
        *param = p->name;
        bool is_prompt = strcmp(p->name, "prompt") == 0 || strcmp(p->name, "system") == 0;
        if (p->filename && !has_messages && !find_kind(p))
            return qvl_fail(err, QVL_ERR_ARGUMENT, "%.100s: a file must be called image, video or file", p->name);
        if (!p->filename && find_kind(p))
            return qvl_fail(err, QVL_ERR_ARGUMENT, "%.100s must be a file: with curl, image=@photo.jpg", p->name);
        if (!p->filename && has_messages && (is_prompt || is_media_option(p->name)))
            return qvl_fail(err, QVL_ERR_ARGUMENT, "%.100s is not possible beside messages", p->name);
        if (!p->filename && is_media_option(p->name) && p->n > MAX_OPTION_BYTES)
            return qvl_fail(err, QVL_ERR_ARGUMENT, "%.100s has %zu bytes; at most %u are possible", p->name, p->n,
                            MAX_OPTION_BYTES);
        if (is_prompt && find_part(part, n_part, p->name) != p)
            return qvl_fail(err, QVL_ERR_ARGUMENT, "%.100s comes twice", p->name);
    }
    *param = NULL;
    return QVL_OK;
}

enum qvl_status qvl_chat_form_read(const struct qvl_form_part *part, size_t n_part, struct qvl_bytes *out,
                                   const char **param, struct qvl_error *err)
{
    const struct qvl_form_part *messages = find_part(part, n_part, "messages");
    enum qvl_status status = check_parts(part, n_part, messages != NULL, param, err);
    if (status || (status = qvl_bytes_add_text(out, "{\"messages\": ", err)))
        return status;
    if (!messages && !find_part(part, n_part, "prompt")) {
        *param = "prompt";
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s is missing", "prompt");
    }
    if (messages)
        status = add_value(messages, out, err);
    else if (!(status = qvl_bytes_add_text(out, "[", err)) && !(status = add_messages(part, n_part, out, err)))
        status = qvl_bytes_add_text(out, "]", err);
    for (size_t i = 0; i < n_part && !status; i++) {
        const struct qvl_form_part *p = &part[i];
        bool is_used = p->filename || is_media_option(p->name) || strcmp(p->name, "messages") == 0 ||
                       strcmp(p->name, "prompt") == 0 || strcmp(p->name, "system") == 0;
        if (!is_used)
            status = add_member(p, out, err);
    }
    return status ? status : qvl_bytes_add_text(out, "}", err);
}

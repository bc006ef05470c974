/* chat_template.h: a conversation to a list of parts: control tokens, text, places of pictures and clips.
 * Instruct and Thinking templates of the family, written in C (MODEL.md, "Prompt"). Structure comes from ids only:
 * text is never scanned for special tokens. */
#ifndef QVL_TEXT_CHAT_TEMPLATE_H
#define QVL_TEXT_CHAT_TEMPLATE_H

#include "text/tokenizer.h"

enum qvl_prompt_part_kind { QVL_PROMPT_TOKEN, QVL_PROMPT_TEXT, QVL_PROMPT_IMAGE, QVL_PROMPT_VIDEO };

struct qvl_prompt_part {
    enum qvl_prompt_part_kind kind;
    enum qvl_added_token token; /* QVL_PROMPT_TOKEN */
    size_t text_begin, text_n;  /* QVL_PROMPT_TEXT: of qvl_prompt_parts.text; neighbouring texts are joined */
    size_t i_media;             /* QVL_PROMPT_IMAGE, _VIDEO: i-th media part of the conversation, in order of
                                   message and part, counting those that the template leaves out, too (a Thinking
                                   model's earlier reasoning) */
};

/* A zeroed struct is empty. A picture's part stands for its pads only: the template's vision_start and
 * vision_end are token parts of their own. A clip's part stands for everything between the text before and
 * after it (its wrapper depends on the form chosen: engine/prompt.c). */
struct qvl_prompt_parts {
    struct qvl_prompt_part *part;
    size_t n, n_alloc;
    struct qvl_bytes text;
};

/* Ends with the generation prompt, or, of an open conversation, with the text of its last message. tools_json and arguments_json are written as Python's json.dumps writes
 * them. Refuses with QVL_ERR_ARGUMENT: no message, text that is not UTF-8, tools or arguments that are not strict
 * JSON (an array of objects; an object), an unknown role, pictures or clips in an Instruct model's system and
 * assistant messages (its template would drop them), and to leave a message open that is not the assistant's, does not
 * end with text (it may be empty) or has tool calls. QVL_ERR_LIMIT: base/limits.h, "conversation". *out is
 * replaced on success. */
enum qvl_status qvl_chat_render(const struct qvl_chat *chat, bool is_thinking, struct qvl_prompt_parts *out,
                                struct qvl_error *err);
void qvl_prompt_parts_free(struct qvl_prompt_parts *parts);

/* The prompt as one string, as the Jinja template writes it: <|image_pad|> once for each picture,
 * <|vision_start|><|video_pad|><|vision_end|> for each clip. */
enum qvl_status qvl_prompt_parts_to_text(const struct qvl_prompt_parts *parts, struct qvl_bytes *out,
                                         struct qvl_error *err);

#endif

/* tool_reader.h: an answer's text in, piece by piece; out come its text and its tool calls, each as soon as it is
 * certain what it is.
 *
 *     I look.\n<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>
 *     text "I look."        call "f"            arguments {"a": 1}
 *
 * A call is said where its arguments begin, and they go on as they come, byte for byte. Name and arguments may
 * stand in either order; no arguments are {}; a missing end tag at the end is forgiven. White space before a call
 * and between calls is no text. What only looks like a call (JSON that is none, other members, an unknown name) is
 * text; where that shows after the arguments began, the call keeps what it has and the rest is text. How the text
 * is cut into pieces changes nothing but where arguments and text are cut. */
#ifndef QVL_SERVER_TOOL_READER_H
#define QVL_SERVER_TOOL_READER_H

#include "base/json_scan.h"
#include "server/ask.h"

enum { QVL_CALL_ID_BYTES = 5 + 24 }; /* "call_" and 24 letters and digits by chance */

struct qvl_tool_reader {
    const struct qvl_ask_sink *sink; /* gets text, call and arguments */
    uint32_t i_answer;
    const char *const *name; /* [n_name] of the tools there are */
    size_t n_name;

    /* Its own; zero at the beginning. */
    bool is_gone; /* the sink said so: nothing more is called */
    uint32_t n_call;
    struct qvl_bytes text;      /* certain to be text, not yet passed on */
    struct qvl_bytes held;      /* text, if no call */
    struct qvl_bytes arguments; /* the same of arguments */
    struct qvl_bytes word, call_name;
    const char *tag;               /* that held may end with the beginning of, */
    size_t n_tag;                  /* and how much of it */
    bool is_after_call, wants_end; /* only white space since a call; and not even its end tag */
    bool is_in_call;               /* behind <tool_call> */
    struct qvl_json_scan scan;     /* of the call's object */
    uint32_t part, key;
    bool has_name, has_arguments, is_said;
};

/* A piece of the answer behind its reasoning. Fails only for want of memory or of random numbers. */
enum qvl_status qvl_tool_reader_push(struct qvl_tool_reader *reader, const char *utf8, size_t n,
                                     struct qvl_error *err);
/* The answer is over: what was held back is text now. */
enum qvl_status qvl_tool_reader_end(struct qvl_tool_reader *reader, struct qvl_error *err);
void qvl_tool_reader_free(struct qvl_tool_reader *reader);

/* The names in a JSON array of tool definitions ({"type": "function", "function": {"name": …}}, or without the
 * wrapper), in the arena. QVL_ERR_ARGUMENT: they are not that. */
enum qvl_status qvl_tool_names(const char *tools_json, struct qvl_arena *arena, const char *const **out,
                               size_t *out_n, struct qvl_error *err);

#endif

/* chat_line.h: a conversation of the reference's vectors (reference/chat_vectors.py) as qvl.h takes it. */
#ifndef QVL_TESTS_CHAT_LINE_H
#define QVL_TESTS_CHAT_LINE_H

#include <jansson.h>

#include "qvl.h"

#define CHAT_LINE_MAX 16 /* messages, and parts or calls of one */

struct chat_line {
    struct qvl_chat chat; /* its strings live as long as the JSON */
    struct qvl_message message[CHAT_LINE_MAX];
    struct qvl_part part[CHAT_LINE_MAX][CHAT_LINE_MAX]; /* pictures and clips without content */
    struct qvl_tool_call call[CHAT_LINE_MAX][CHAT_LINE_MAX];
};

/* The caller frees it. Fails the running test where the line is not as told there. */
struct chat_line *chat_line_read(const json_t *line);

#endif

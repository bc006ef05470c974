#include "chat_line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct qvl_part text_part(const json_t *text)
{
    return (struct qvl_part){.kind = QVL_PART_TEXT, .utf8 = json_string_value(text),
                             .n = json_string_length(text)};
}

static enum qvl_role role_of(const json_t *name)
{
    static const char *const names[] = {"system", "user", "assistant", "tool"};
    for (int i = 0; i < 4; i++)
        if (strcmp(json_string_value(name), names[i]) == 0)
            return (enum qvl_role)i;
    fail_msg("a role of the vectors");
    return QVL_ROLE_USER;
}

static void read_message(struct chat_line *c, size_t i, const json_t *m)
{
    const json_t *content = json_object_get(m, "content"), *calls = json_object_get(m, "tool_calls"), *value;
    size_t k;
    assert_in_range(i, 0, CHAT_LINE_MAX - 1);
    assert_in_range(json_array_size(content), 0, CHAT_LINE_MAX);
    c->message[i] = (struct qvl_message){
        .role = role_of(json_object_get(m, "role")), .parts = c->part[i],
        .n_part = json_is_string(content) ? 1 : json_array_size(content),
        .reasoning = json_string_value(json_object_get(m, "reasoning")),
        .tool_calls = c->call[i], .n_tool_call = json_array_size(calls)};
    if (json_is_string(content))
        c->part[i][0] = text_part(content);
    json_array_foreach(content, k, value) {
        if (json_object_get(value, "text"))
            c->part[i][k] = text_part(json_object_get(value, "text"));
        else
            c->part[i][k] = (struct qvl_part){
                .kind = json_object_get(value, "image") ? QVL_PART_IMAGE : QVL_PART_VIDEO};
    }
    json_array_foreach(calls, k, value)
        c->call[i][k] = (struct qvl_tool_call){json_string_value(json_object_get(value, "name")),
                                               json_string_value(json_object_get(value, "arguments_json"))};
}

struct chat_line *chat_line_read(const json_t *line)
{
    struct chat_line *c = calloc(1, sizeof *c);
    const json_t *messages = json_object_get(line, "messages"), *m;
    size_t i;
    assert_non_null(c);
    json_array_foreach(messages, i, m)
        read_message(c, i, m);
    c->chat = (struct qvl_chat){.messages = c->message, .n_message = json_array_size(messages),
                                .tools_json = json_string_value(json_object_get(line, "tools_json")),
                                .is_open = json_is_true(json_object_get(line, "open")),
                                .want_vision_ids = json_is_true(json_object_get(line, "vision_ids"))};
    return c;
}

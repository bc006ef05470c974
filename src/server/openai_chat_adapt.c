#include "server/openai_chat_adapt.h"

#include <stdio.h>
#include <string.h>

/* Sentences begin with the field's name. */
static void rename_failure(const struct qvl_renamed_field *renamed, struct qvl_chat_body *out,
                           struct qvl_error *err)
{
    char text[sizeof err->text];
    size_t n = strlen(renamed->chat), n_ours = strlen(renamed->ours);
    if (out->param && strcmp(out->param, renamed->chat) == 0)
        out->param = renamed->ours;
    if (strncmp(err->text, renamed->chat, n) != 0)
        return;
    memcpy(text, err->text, sizeof text);
    snprintf(err->text, sizeof err->text, "%s%.*s", renamed->ours, (int)(sizeof text - 1 - n_ours), text + n);
}

enum qvl_status qvl_chat_body_adapt(const struct qvl_json_nodes *chat, const struct qvl_renamed_field *renamed,
                                    size_t n_renamed, const struct qvl_chat_read_settings *settings,
                                    struct qvl_ask *ask, struct qvl_chat_body *out, struct qvl_error *err)
{
    struct qvl_bytes unknown = out->unknown, more;
    if (chat->is_failed)
        return qvl_fail_memory(err, 0, "JSON");
    enum qvl_status status = qvl_chat_body_read_tree(chat->node, settings, ask, out, err);
    for (size_t i = 0; status && i < n_renamed; i++)
        rename_failure(&renamed[i], out, err);
    for (size_t i = 0; out->form && i < n_renamed; i++)
        if (strcmp(out->form, renamed[i].chat) == 0) {
            out->form = renamed[i].ours;
            break;
        }
    more = out->unknown;
    out->unknown = unknown;
    if (!status && more.n > 0 && !(status = qvl_bytes_add_text(&out->unknown, unknown.n > 0 ? ", " : "", err)))
        status = qvl_bytes_add(&out->unknown, more.data, more.n, err);
    qvl_bytes_free(&more);
    return status;
}

#include "cli/conversation.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/limits.h"
#include "base/utf8.h"

static void free_entry(struct qvl_entry *e)
{
    qvl_input_close(&e->input);
    free(e->text);
    free(e->reasoning);
    *e = (struct qvl_entry){0};
}

static void cut(struct qvl_conversation *c, size_t n_entry)
{
    while (c->n_entry > n_entry)
        free_entry(&c->entry[--c->n_entry]);
}

void qvl_conversation_free(struct qvl_conversation *c)
{
    cut(c, 0);
    free_entry(&c->withdrawn);
    free(c->entry);
    free(c->message);
    qvl_chat_json_close(&c->loaded);
    *c = (struct qvl_conversation){0};
}

/* n bytes, NUL among them perhaps (a model may say it), and a NUL. */
static char *copy_text(const char *text, size_t n, struct qvl_error *err)
{
    char *copy = NULL;
    if (!qvl_utf8_is_valid(text, n))
        qvl_fail(err, QVL_ERR_ARGUMENT, "the text is not UTF-8");
    else if (!(copy = calloc(n + 1, 1)))
        qvl_fail_memory(err, n, "a message");
    else
        memcpy(copy, text, n);
    return copy;
}

/* A message of `input` (or NULL), which it takes over when nothing fails, and n bytes of text (or NULL). */
static enum qvl_status make_entry(enum qvl_role role, struct qvl_input *input, const char *text, size_t n,
                                  struct qvl_entry *out, struct qvl_error *err)
{
    struct qvl_input none = {0};
    struct qvl_entry e = {.message = {.role = role}};
    if (!input)
        input = &none;
    if (text && !(e.text = copy_text(text, n, err)))
        return err->status;
    if (text && qvl_input_add_text(input, e.text, n, err)) {
        free_entry(&e);
        return err->status;
    }
    e.input = *input;
    e.message.parts = e.input.part;
    e.message.n_part = e.input.n_part;
    *input = (struct qvl_input){0};
    *out = e;
    return QVL_OK;
}

/* Room for one more. */
static enum qvl_status reserve(struct qvl_conversation *c, struct qvl_error *err)
{
    if (c->n_entry == QVL_MAX_MESSAGES)
        return qvl_fail(err, QVL_ERR_LIMIT, "the conversation has %u messages, the most there may be",
                        QVL_MAX_MESSAGES);
    struct qvl_entry *entry =
        qvl_grow(c->entry, &c->n_alloc, c->n_entry + 1, sizeof *entry, "the conversation", err);
    if (!entry)
        return err->status;
    c->entry = entry;
    return QVL_OK;
}

static bool has_system(const struct qvl_conversation *c)
{
    return c->n_entry > 0 && c->entry[0].message.role == QVL_ROLE_SYSTEM;
}

static void remove_system(struct qvl_conversation *c)
{
    if (!has_system(c))
        return;
    free_entry(&c->entry[0]);
    memmove(c->entry, c->entry + 1, --c->n_entry * sizeof *c->entry);
}

void qvl_conversation_clear(struct qvl_conversation *c)
{
    cut(c, has_system(c) ? 1 : 0);
    c->loaded.chat.tools_json = NULL;
}

enum qvl_status qvl_conversation_set_system(struct qvl_conversation *c, const char *text, struct qvl_error *err)
{
    struct qvl_entry e;
    enum qvl_status status = QVL_OK;
    if (!text[0]) {
        remove_system(c);
        return QVL_OK;
    }
    if ((status = reserve(c, err)) || (status = make_entry(QVL_ROLE_SYSTEM, NULL, text, strlen(text), &e, err)))
        return status;
    remove_system(c);
    memmove(c->entry + 1, c->entry, c->n_entry++ * sizeof *c->entry);
    c->entry[0] = e;
    return QVL_OK;
}

const char *qvl_conversation_system(const struct qvl_conversation *c)
{
    for (size_t i = 0; has_system(c) && i < c->entry[0].message.n_part; i++)
        if (c->entry[0].message.parts[i].kind == QVL_PART_TEXT)
            return c->entry[0].message.parts[i].utf8;
    return NULL;
}

enum qvl_status qvl_conversation_add_question(struct qvl_conversation *c, struct qvl_input *input, const char *text,
                                              struct qvl_error *err)
{
    enum qvl_status status = reserve(c, err);
    size_t n = text ? strlen(text) : 0;
    if (status || (status = make_entry(QVL_ROLE_USER, input, text, n, &c->entry[c->n_entry], err)))
        return status;
    c->n_entry++;
    free_entry(&c->withdrawn);
    return QVL_OK;
}

enum qvl_status qvl_conversation_add_answer(struct qvl_conversation *c, const char *text, size_t n,
                                            const char *reasoning, struct qvl_error *err)
{
    struct qvl_entry e;
    enum qvl_status status = reserve(c, err);
    if (status || (status = make_entry(QVL_ROLE_ASSISTANT, NULL, text, n, &e, err)))
        return status;
    if (reasoning[0] && !(e.reasoning = copy_text(reasoning, strlen(reasoning), err))) {
        free_entry(&e);
        return err->status;
    }
    e.message.reasoning = e.reasoning;
    c->entry[c->n_entry++] = e;
    return QVL_OK;
}

size_t qvl_conversation_n_turn(const struct qvl_conversation *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n_entry; i++)
        n += c->entry[i].message.role == QVL_ROLE_USER;
    return n;
}

/* The place of the last question, or n_entry. */
static size_t find_question(const struct qvl_conversation *c)
{
    for (size_t i = c->n_entry; i > 0; i--)
        if (c->entry[i - 1].message.role == QVL_ROLE_USER)
            return i - 1;
    return c->n_entry;
}

bool qvl_conversation_undo(struct qvl_conversation *c)
{
    size_t i = find_question(c), n = c->n_entry;
    cut(c, i);
    return i < n;
}

void qvl_conversation_withdraw(struct qvl_conversation *c)
{
    if (c->n_entry == 0 || c->entry[c->n_entry - 1].message.role != QVL_ROLE_USER)
        return;
    free_entry(&c->withdrawn);
    c->withdrawn = c->entry[--c->n_entry];
}

enum qvl_status qvl_conversation_retry(struct qvl_conversation *c, bool *is_there, struct qvl_error *err)
{
    *is_there = true;
    if (c->withdrawn.message.n_part) {
        enum qvl_status status = reserve(c, err);
        if (!status) {
            c->entry[c->n_entry++] = c->withdrawn;
            c->withdrawn = (struct qvl_entry){0};
        }
        return status;
    }
    size_t i = find_question(c);
    *is_there = i < c->n_entry;
    cut(c, *is_there ? i + 1 : i);
    return QVL_OK;
}

enum qvl_status qvl_conversation_chat(struct qvl_conversation *c, struct qvl_chat *out, struct qvl_error *err)
{
    struct qvl_message *message =
        qvl_grow(c->message, &c->n_message_alloc, c->n_entry + 1, sizeof *message, "the conversation", err);
    if (!message)
        return err->status;
    c->message = message;
    for (size_t i = 0; i < c->n_entry; i++)
        message[i] = c->entry[i].message;
    *out = c->loaded.chat;
    out->messages = message;
    out->n_message = c->n_entry;
    return QVL_OK;
}

/* Two states: text, which looks for <tool_call>, and a call, whose object json_scan.h follows. All bytes go through
 * them one by one, so that no cut can matter; what they let out is gathered and passed on at the end of each piece.
 *
 * held is what would be text if this is no call: white space, the beginning of a tag, then the tag and the object,
 * less the arguments that were passed on. */
#include "server/tool_reader.h"

#include <string.h>

#include "base/json_tree.h"
#include "base/limits.h"
#include "base/os.h"

static const char open_tag[] = "<tool_call>", close_tag[] = "</tool_call>";

enum { NOWHERE, IN_KEY, IN_NAME, IN_ARGUMENTS }; /* part: of the object, one level deep */
enum { KEY_NONE, KEY_NAME, KEY_ARGUMENTS };      /* key: the last one there */

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* ---- passing on ----------------------------------------------------------------------------------- */

static void flush_text(struct qvl_tool_reader *r)
{
    const struct qvl_ask_text text = {.utf8 = r->text.data, .n = r->text.n};
    if (text.n > 0 && !r->is_gone && r->sink->text)
        r->is_gone = !r->sink->text(r->sink->user, r->i_answer, &text);
    r->text.n = 0;
}

static void flush_arguments(struct qvl_tool_reader *r)
{
    if (r->arguments.n > 0 && !r->is_gone && r->sink->arguments)
        r->is_gone =
            !r->sink->arguments(r->sink->user, r->i_answer, r->n_call - 1, r->arguments.data, r->arguments.n);
    r->arguments.n = 0;
}

/* Unique wherever it goes, so not from the request's seed, which may come again in the same conversation. */
static enum qvl_status make_id(char out[QVL_CALL_ID_BYTES + 1], struct qvl_error *err)
{
    static const char sign[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    unsigned char by_chance[QVL_CALL_ID_BYTES];
    enum qvl_status status = qvl_os_random(by_chance, sizeof by_chance, err);
    if (status)
        return status;
    for (size_t i = 0; i < QVL_CALL_ID_BYTES; i++)
        out[i] = sign[by_chance[i] % (sizeof sign - 1)];
    memcpy(out, "call_", 5);
    out[QVL_CALL_ID_BYTES] = 0;
    return QVL_OK;
}

/* From here on it is a call, whatever follows. */
static enum qvl_status say_call(struct qvl_tool_reader *r, struct qvl_error *err)
{
    char id[QVL_CALL_ID_BYTES + 1];
    enum qvl_status status = make_id(id, err);
    if (status)
        return status;
    if (!r->is_gone && r->sink->call)
        r->is_gone = !r->sink->call(r->sink->user, r->i_answer, r->n_call, id, r->call_name.data);
    r->n_call++;
    r->is_said = true;
    r->held.n = 0;
    return QVL_OK;
}

/* ---- text ----------------------------------------------------------------------------------------- */

static void begin_text(struct qvl_tool_reader *r, bool is_after_call)
{
    r->is_in_call = false;
    r->is_after_call = r->wants_end = is_after_call;
    r->n_tag = 0;
}

static enum qvl_status release(struct qvl_tool_reader *r, struct qvl_error *err)
{
    enum qvl_status status = qvl_bytes_add(&r->text, r->held.data, r->held.n, err);
    if (r->held.n > 0)
        begin_text(r, false);
    r->held.n = 0;
    return status;
}

static void begin_call(struct qvl_tool_reader *r)
{
    flush_text(r);
    r->is_in_call = true;
    r->is_after_call = false;
    r->scan = (struct qvl_json_scan){0};
    r->part = NOWHERE;
    r->key = KEY_NONE;
    r->has_name = r->has_arguments = r->is_said = false;
}

/* The tag is whole. */
static void take_tag(struct qvl_tool_reader *r)
{
    if (r->tag == open_tag) {
        begin_call(r);
        return;
    }
    r->wants_end = false;
    r->held.n = r->n_tag = 0;
}

static enum qvl_status take_text(struct qvl_tool_reader *r, char c, struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    if (r->n_tag <= 1) /* the two differ in their second byte */
        r->tag = r->n_tag == 1 && c == '/' && r->wants_end ? close_tag : open_tag;
    if (c != r->tag[r->n_tag] && r->n_tag > 0) {
        if ((status = release(r, err)))
            return status;
        r->tag = open_tag;
    }
    if (c == r->tag[r->n_tag]) {
        status = qvl_bytes_add(&r->held, &c, 1, err);
        if (!r->tag[++r->n_tag])
            take_tag(r);
        return status;
    }
    if (is_space(c))
        return qvl_bytes_add(&r->held, &c, 1, err);
    if (!(status = release(r, err)))
        status = qvl_bytes_add(&r->text, &c, 1, err);
    r->is_after_call = r->wants_end = false;
    return status;
}

/* ---- calls ---------------------------------------------------------------------------------------- */

/* The string at hand, as written, becomes what it says. */
static enum qvl_status decode_word(struct qvl_tool_reader *r, struct qvl_bytes *out, struct qvl_error *err)
{
    struct qvl_json_reader json = {
        .text = r->word.data, .n = r->word.n, .name = "tool call", .status = QVL_ERR_ARGUMENT};
    enum qvl_status status = qvl_json_reader_next(&json, err);
    out->n = 0;
    if (!status)
        status = qvl_bytes_add(out, json.string.data, json.string.n, err);
    qvl_json_reader_free(&json);
    return status;
}

static bool says(const struct qvl_bytes *word, const char *text)
{
    return word->n == strlen(text) && memcmp(word->data, text, word->n) == 0;
}

static bool is_known(const struct qvl_tool_reader *r)
{
    for (size_t i = 0; i < r->n_name; i++)
        if (says(&r->call_name, r->name[i]))
            return true;
    return false;
}

/* A key or the name is whole; *is_call false: this is none. */
static enum qvl_status take_word(struct qvl_tool_reader *r, bool *is_call, struct qvl_error *err)
{
    bool is_key = r->part == IN_KEY;
    struct qvl_bytes *out = is_key ? &r->word : &r->call_name;
    enum qvl_status status = decode_word(r, out, err);
    r->part = NOWHERE;
    if (status)
        return status;
    if (is_key) {
        r->key = says(&r->word, "name") ? KEY_NAME : says(&r->word, "arguments") ? KEY_ARGUMENTS : KEY_NONE;
        *is_call = (r->key == KEY_NAME && !r->has_name) || (r->key == KEY_ARGUMENTS && !r->has_arguments);
        return QVL_OK;
    }
    r->has_name = true;
    *is_call = is_known(r);
    return *is_call && r->has_arguments ? say_call(r, err) : QVL_OK;
}

/* What begins with this byte of the object, where no part did before. */
static enum qvl_status begin_part(struct qvl_tool_reader *r, char c, bool *is_call, struct qvl_error *err)
{
    enum qvl_json_place place = r->scan.place;
    if (place == QVL_JSON_IN_STRING) {
        r->part = r->scan.is_key ? IN_KEY : IN_NAME;
        *is_call = r->scan.is_key || r->key == KEY_NAME;
        r->word.n = 0;
        return qvl_bytes_add(&r->word, &c, 1, err);
    }
    if (r->scan.depth == 2) {
        r->part = IN_ARGUMENTS;
        r->has_arguments = true;
        *is_call = c == '{' && r->key == KEY_ARGUMENTS;
        return *is_call && r->has_name ? say_call(r, err) : QVL_OK;
    }
    if (place == QVL_JSON_AT_END) {
        *is_call = r->has_name;
        if (!r->has_name || r->has_arguments)
            return QVL_OK;
        enum qvl_status status = say_call(r, err);
        return status ? status : qvl_bytes_add(&r->arguments, "{}", 2, err);
    }
    *is_call = place != QVL_JSON_IN_NUMBER && place != QVL_JSON_IN_WORD && place != QVL_JSON_AT_FIRST_ITEM;
    return QVL_OK;
}

/* One byte of the object; *is_call false: it cannot stand here, and nothing of it was kept. */
static enum qvl_status take_object(struct qvl_tool_reader *r, char c, bool *is_call, struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    bool was_said = r->is_said, was_in_arguments = r->part == IN_ARGUMENTS;
    *is_call = qvl_json_scan_take(&r->scan, c);
    if (!*is_call)
        return QVL_OK;
    if (r->part == NOWHERE)
        status = begin_part(r, c, is_call, err);
    else if (r->part != IN_ARGUMENTS && !(status = qvl_bytes_add(&r->word, &c, 1, err)) &&
             r->scan.place != QVL_JSON_IN_STRING)
        status = take_word(r, is_call, err);
    if (status || !*is_call)
        return status;
    bool is_argument = was_in_arguments || r->part == IN_ARGUMENTS;
    if (is_argument && (status = qvl_bytes_add(&r->arguments, &c, 1, err)))
        return status;
    if (is_argument && r->scan.depth == 1)
        r->part = NOWHERE;
    return !r->is_said || (was_said && !is_argument) ? qvl_bytes_add(&r->held, &c, 1, err) : QVL_OK;
}

static enum qvl_status take_call(struct qvl_tool_reader *r, char c, struct qvl_error *err)
{
    bool is_call = false;
    enum qvl_status status = take_object(r, c, &is_call, err);
    if (status || (is_call && r->scan.place != QVL_JSON_AT_END))
        return status;
    if (r->is_said)
        flush_arguments(r);
    r->arguments.n = 0;
    if (is_call) {
        r->held.n = 0;
        begin_text(r, true);
        return QVL_OK;
    }
    status = release(r, err);
    begin_text(r, false);
    return status ? status : take_text(r, c, err);
}

/* ---- an answer ------------------------------------------------------------------------------------ */

enum qvl_status qvl_tool_reader_push(struct qvl_tool_reader *r, const char *utf8, size_t n, struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    for (size_t i = 0; i < n && !status && !r->is_gone; i++)
        status = r->is_in_call ? take_call(r, utf8[i], err) : take_text(r, utf8[i], err);
    if (status)
        return status;
    flush_text(r);
    if (r->is_in_call && r->is_said)
        flush_arguments(r);
    return QVL_OK;
}

enum qvl_status qvl_tool_reader_end(struct qvl_tool_reader *r, struct qvl_error *err)
{
    bool is_end =
        r->is_after_call && (r->n_tag == 0 || r->tag == close_tag); /* white space, perhaps half an end tag */
    bool is_cut = r->is_in_call && r->is_said;
    enum qvl_status status = is_end || is_cut ? QVL_OK : release(r, err);
    flush_text(r);
    return status;
}

void qvl_tool_reader_free(struct qvl_tool_reader *r)
{
    qvl_bytes_free(&r->text);
    qvl_bytes_free(&r->held);
    qvl_bytes_free(&r->arguments);
    qvl_bytes_free(&r->word);
    qvl_bytes_free(&r->call_name);
    *r = (struct qvl_tool_reader){0};
}

/* ---- names ---------------------------------------------------------------------------------------- */

static enum qvl_status read_names(const struct qvl_json_node *tools, struct qvl_arena *arena, const char **name,
                                  struct qvl_error *err)
{
    const struct qvl_json_node *tool = tools + 1;
    for (uint32_t i = 0; i < tools->n_child; i++, tool = qvl_json_next(tool)) {
        const struct qvl_json_node *function = qvl_json_member(tool, "function");
        const struct qvl_json_node *its_name = qvl_json_member(function ? function : tool, "name");
        if (!its_name || its_name->kind != QVL_JSON_STRING || its_name->n == 0 ||
            memchr(its_name->utf8, 0, its_name->n))
            return qvl_fail(err, QVL_ERR_ARGUMENT, "tools: entry %u has no name", i + 1);
        if (!(name[i] = qvl_arena_copy_text(arena, its_name->utf8, its_name->n, err)))
            return QVL_ERR_MEMORY;
    }
    return QVL_OK;
}

enum qvl_status qvl_tool_names(const char *tools_json, struct qvl_arena *arena, const char *const **out,
                               size_t *out_n, struct qvl_error *err)
{
    struct qvl_json_tree tree = {0};
    enum qvl_status status =
        qvl_json_tree_read(tools_json, strlen(tools_json), "tools", QVL_MAX_TOOLS_VALUES, arena, &tree, err);
    if (!status && tree.node[0].kind != QVL_JSON_ARRAY)
        status = qvl_fail(err, QVL_ERR_ARGUMENT, "tools are not a JSON array");
    if (!status) {
        size_t n = tree.node[0].n_child;
        const char **name = qvl_arena_alloc(arena, n, sizeof *name, "the names of tools", err);
        status = name ? read_names(&tree.node[0], arena, name, err) : QVL_ERR_MEMORY;
        if (!status) {
            *out = name;
            *out_n = n;
        }
    }
    qvl_json_tree_free(&tree);
    return status;
}

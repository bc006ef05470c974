/* qvl tokenize: the token ids of texts. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/language.h"
#include "base/limits.h"
#include "cli/verbs.h"

/* "[1, 2, 3]" for JSON lines, "1 2 3" for people. */
static enum qvl_status print_ids(const struct qvl_engine *engine, const char *text, size_t n,
                                 const struct qvl_options *options, struct qvl_error *err)
{
    uint32_t *id = NULL;
    size_t n_id = 0;
    struct qvl_bytes out = {0};
    const char *separator = options->want_jsonl ? ", " : " ";
    enum qvl_status status = qvl_tokenize(engine, text, n, options->want_special, &id, &n_id, err);
    if (!status && options->want_jsonl)
        status = qvl_bytes_add_text(&out, "[", err);
    for (size_t i = 0; i < n_id && !status; i++)
        status = qvl_bytes_add_format(&out, err, "%s%u", i ? separator : "", id[i]);
    if (!status)
        status = qvl_bytes_add_text(&out, options->want_jsonl ? "]\n" : "\n", err);
    if (!status && fwrite(out.data, 1, out.n, stdout) != out.n)
        status = qvl_fail(err, QVL_ERR_FILE, "stdout: cannot write: %s", qvl_errno_text(errno));
    qvl_bytes_free(&out);
    qvl_free(id);
    return status;
}

/* One line of stdin: a JSON string, which may hold \u0000. */
static enum qvl_status print_line(const struct qvl_engine *engine, const char *line, size_t n, size_t i_line,
                                  const struct qvl_options *options, struct qvl_error *err)
{
    json_error_t why;
    json_t *value = json_loadb(line, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
    enum qvl_status status;
    if (!value)
        status = qvl_fail(err, QVL_ERR_ARGUMENT, "stdin, line %zu: not valid JSON: %s", i_line, why.text);
    else if (!json_is_string(value))
        status = qvl_fail(err, QVL_ERR_ARGUMENT, "stdin, line %zu: not a JSON string", i_line);
    else
        status = print_ids(engine, json_string_value(value), json_string_length(value), options, err);
    json_decref(value);
    return status;
}

static enum qvl_status print_lines(const struct qvl_engine *engine, const struct qvl_options *options,
                                   struct qvl_error *err)
{
    char *line = NULL;
    size_t n_alloc = 0, i_line = 0;
    enum qvl_status status = QVL_OK;
    for (ssize_t n; !status && (n = getline(&line, &n_alloc, stdin)) >= 0;) {
        i_line++;
        if ((uint64_t)n > QVL_MAX_TEXT_BYTES)
            status = qvl_fail(err, QVL_ERR_LIMIT, "stdin, line %zu: longer than %llu bytes", i_line,
                              (unsigned long long)QVL_MAX_TEXT_BYTES);
        else
            status = print_line(engine, line, (size_t)n, i_line, options, err);
    }
    if (!status && ferror(stdin))
        status = qvl_fail(err, QVL_ERR_FILE, "stdin: cannot read: %s", qvl_errno_text(errno));
    free(line);
    return status;
}

enum qvl_exit qvl_tokenize_texts(const struct qvl_options *options)
{
    struct qvl_error err = {0};
    enum qvl_exit code = QVL_EXIT_OK;
    if (options->want_jsonl == (options->n_item > 0)) {
        fputs(qvl_text("qvl: tokenize takes texts, or --jsonl and stdin\n"), stderr);
        return QVL_EXIT_USAGE;
    }
    struct qvl_engine *engine = qvl_open_engine(options, &code);
    if (!engine)
        return code;
    enum qvl_status status = options->want_jsonl ? print_lines(engine, options, &err) : QVL_OK;
    for (size_t i = 0; i < options->n_item && !status; i++) {
        const char *text = options->item[i].value;
        status = print_ids(engine, text, strlen(text), options, &err);
    }
    if (!status)
        status = qvl_write_stdout("", 0, &err);
    if (status)
        qvl_say_error(&err);
    qvl_engine_close(engine);
    return qvl_exit_of(status, QVL_EXIT_FAILURE);
}

/* qvl inspect: what a model folder holds. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/language.h"
#include "cli/verbs.h"

/* "key: value" lines; objects indent, arrays stay on one line. The library's object is two levels deep. */
static enum qvl_status add_lines(const json_t *object, const char *indent, struct qvl_bytes *out,
                                 struct qvl_error *err)
{
    const char *key;
    json_t *value;
    enum qvl_status status = QVL_OK;
    json_object_foreach((json_t *)object, key, value) {
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(10));
        if (!text)
            return qvl_fail_memory(err, 0, "the model's description");
        size_t n = strlen(text);
        bool is_string = json_is_string(value);
        status = qvl_bytes_add_format(out, err, "%s%-20s %.*s\n", indent, key, (int)(is_string ? n - 2 : n),
                                      is_string ? text + 1 : text);
        free(text);
        if (status)
            return status;
    }
    return status;
}

static enum qvl_status describe(const json_t *root, struct qvl_bytes *out, struct qvl_error *err)
{
    const char *key;
    json_t *value;
    enum qvl_status status = QVL_OK;
    json_object_foreach((json_t *)root, key, value) {
        if (json_is_object(value)) {
            status = qvl_bytes_add_format(out, err, "%s\n", key);
            if (!status)
                status = add_lines(value, "  ", out, err);
        } else {
            status = qvl_bytes_add_format(out, err, "%-22s %s\n", key, json_string_value(value));
        }
        if (status)
            return status;
    }
    return status;
}

/* The library's object; --check adds its result as a last key. */
static enum qvl_status add_json(const struct qvl_engine_info *info, bool is_checked, struct qvl_bytes *out,
                                struct qvl_error *err)
{
    enum qvl_status status = qvl_bytes_add(out, info->inspect_json, strlen(info->inspect_json) - 1, err);
    return status ? status : qvl_bytes_add_text(out, is_checked ? ",\"all_finite\":true}\n" : "}\n", err);
}

static enum qvl_status add_text(const struct qvl_engine_info *info, bool is_checked, struct qvl_bytes *out,
                                struct qvl_error *err)
{
    json_t *root = json_loads(info->inspect_json, 0, NULL);
    enum qvl_status status =
        root ? describe(root, out, err) : qvl_fail(err, QVL_ERR_INTERNAL, "the description is no JSON");
    json_decref(root);
    if (!status && is_checked)
        status = qvl_bytes_add_format(out, err, qvl_text("all %llu weights are finite numbers\n"),
                                      (unsigned long long)info->n_parameter);
    return status;
}

static enum qvl_status print_info(const struct qvl_engine *engine, const struct qvl_options *options,
                                  struct qvl_error *err)
{
    struct qvl_engine_info info;
    struct qvl_bytes out = {0};
    qvl_engine_get_info(engine, &info);
    enum qvl_status status = (options->want_json ? add_json : add_text)(&info, options->want_check, &out, err);
    if (!status)
        status = qvl_write_stdout(out.data, out.n, err);
    qvl_bytes_free(&out);
    return status;
}

enum qvl_exit qvl_inspect_model(const struct qvl_options *options)
{
    struct qvl_options with_model = *options;
    struct qvl_error err = {0};
    if (options->n_item == 1) {
        with_model.model = options->item[0].value;
        with_model.is_demo_model = false;
    }
    if (options->n_item > 1) {
        fputs(qvl_text("qvl: inspect takes one model folder\n"), stderr);
        return QVL_EXIT_USAGE;
    }
    enum qvl_exit code = QVL_EXIT_OK;
    struct qvl_engine *engine = qvl_open_engine(&with_model, &code);
    if (!engine)
        return code;
    enum qvl_status status = options->want_check ? qvl_engine_check_weights(engine, &err) : QVL_OK;
    code = qvl_exit_of(status, QVL_EXIT_MODEL);
    if (!status)
        code = qvl_exit_of(status = print_info(engine, options, &err), QVL_EXIT_FAILURE);
    if (status)
        qvl_say_error(&err);
    qvl_engine_close(engine);
    return code;
}

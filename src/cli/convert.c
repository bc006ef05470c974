/* qvl convert: a model in, the two files of llama.cpp out. */
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/language.h"
#include "cli/progress.h"
#include "cli/signals.h"
#include "cli/verbs.h"

static enum qvl_status write_files(struct qvl_converter *converter, struct qvl_progress *progress,
                                   struct qvl_error *err)
{
    struct qvl_converter_info info;
    bool is_done = false;
    enum qvl_status status = QVL_OK;
    while (!is_done && !(status = qvl_converter_next(converter, &is_done, err))) {
        qvl_converter_get_info(converter, &info);
        qvl_progress_show_share(progress, qvl_text("converting"), (double)info.done / (double)info.total);
    }
    qvl_progress_clear(progress);
    return status;
}

static enum qvl_status add_path(struct qvl_bytes *out, const char *key, const char *path, struct qvl_error *err)
{
    enum qvl_status status = qvl_bytes_add_format(out, err, "%s\"%s\":", out->n ? "," : "{", key);
    return status ? status : qvl_bytes_add_json_string(out, path, strlen(path), err);
}

static enum qvl_status print_json(const struct qvl_options *o, const struct qvl_converter_info *info, double ms,
                                  struct qvl_error *err)
{
    static const char *const types[] = {
        [QVL_CONVERT_F16] = "f16", [QVL_CONVERT_Q8_0] = "q8_0", [QVL_CONVERT_BF16] = "bf16"};
    struct qvl_bytes out = {0};
    enum qvl_status status;
    if ((status = add_path(&out, "model", o->item[0].value, err)) ||
        (status = add_path(&out, "output", o->item[1].value, err)) ||
        (status = add_path(&out, "mmproj", info->mmproj, err)) ||
        (status = qvl_bytes_add_format(&out, err,
                                       ",\"type\":\"%s\",\"parameters\":%llu,\"input_bytes\":%llu,\"bytes\":%llu,"
                                       "\"source_quantized\":%s,\"ms\":%.1f}\n",
                                       types[o->convert_type], (unsigned long long)info->n_parameter,
                                       (unsigned long long)info->in_bytes, (unsigned long long)info->out_bytes,
                                       info->is_source_quantized ? "true" : "false", ms)))
        goto fail;
    status = qvl_write_stdout(out.data, out.n, err);
fail:
    qvl_bytes_free(&out);
    return status;
}

static enum qvl_status report(const struct qvl_options *o, const struct qvl_converter *converter,
                              struct qvl_progress *progress, double ms, struct qvl_error *err)
{
    struct qvl_converter_info info;
    qvl_converter_get_info(converter, &info);
    if (info.is_source_quantized)
        qvl_progress_say(progress, "qvl: %s is quantised: the files hold its rounded weights", o->item[0].value);
    if (o->want_json)
        return print_json(o, &info, ms, err);
    qvl_progress_say(progress, "qvl: %s and %s are written: %.0f MB became %.0f MB, in %.1f s", o->item[1].value,
                     info.mmproj, (double)info.in_bytes / 1e6, (double)info.out_bytes / 1e6, ms / 1e3);
    return QVL_OK;
}

static void cancel(void *converter)
{
    qvl_converter_cancel(converter);
}

enum qvl_exit qvl_convert_model(const struct qvl_options *options)
{
    struct qvl_error err = {0};
    struct qvl_converter *converter = NULL;
    struct qvl_progress progress;
    double start_ms = qvl_now_ms();
    if (options->n_item != 2) {
        fputs(qvl_text("qvl: convert takes a model and the GGUF file to write\n"), stderr);
        return QVL_EXIT_USAGE;
    }
    struct qvl_converter_options wish = {.model_dir = options->item[0].value,
                                         .out = options->item[1].value,
                                         .mmproj = options->mmproj,
                                         .type = options->convert_type,
                                         .n_thread = (uint32_t)options->n_thread};
    qvl_progress_open(&progress, options->progress, options->is_quiet);
    qvl_signals_set_work(cancel, NULL);
    enum qvl_status status = qvl_converter_open(&wish, &converter, &err);
    qvl_signals_set_work(cancel, converter);
    if (!status)
        status = write_files(converter, &progress, &err);
    qvl_signals_set_work(NULL, NULL);
    if (!status)
        status = report(options, converter, &progress, qvl_now_ms() - start_ms, &err);
    qvl_converter_close(converter);
    if (status == QVL_ERR_CANCELLED)
        return (enum qvl_exit)qvl_signals_exit_code();
    if (status)
        qvl_say_error(&err);
    return qvl_exit_of(status, QVL_EXIT_FAILURE);
}

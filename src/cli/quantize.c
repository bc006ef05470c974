/* qvl quantize: a model folder in, a smaller and faster one out. */
#include "cli/quantize.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/language.h"
#include "cli/signals.h"
#include "cli/verbs.h"

#include <string.h>

static enum qvl_quantization quantization_of(enum qvl_packed_type type)
{
    return type == QVL_TYPE_Q8 ? QVL_QUANTIZE_Q8 : type == QVL_TYPE_Q4 ? QVL_QUANTIZE_Q4 : QVL_QUANTIZE_BALANCED;
}

static enum qvl_status write_folder(struct qvl_quantizer *quantizer, struct qvl_progress *progress,
                                    struct qvl_error *err)
{
    struct qvl_quantizer_info info;
    bool is_done = false;
    enum qvl_status status = QVL_OK;
    while (!is_done && !(status = qvl_quantizer_next(quantizer, &is_done, err))) {
        qvl_quantizer_get_info(quantizer, &info);
        qvl_progress_show_share(progress, qvl_text("quantising"), (double)info.done / (double)info.total);
    }
    qvl_progress_clear(progress);
    return status;
}

static enum qvl_status print_json(const struct qvl_options *o, const struct qvl_quantizer_info *info, double ms,
                                  struct qvl_error *err)
{
    static const char *const types[] = {
        [QVL_TYPE_Q4] = "q4", [QVL_TYPE_Q8] = "q8", [QVL_TYPE_BALANCED] = "balanced"};
    struct qvl_bytes out = {0};
    const char *in_dir = o->item[0].value, *out_dir = o->item[1].value;
    enum qvl_status status;
    if ((status = qvl_bytes_add_text(&out, "{\"model\":", err)) ||
        (status = qvl_bytes_add_json_string(&out, in_dir, strlen(in_dir), err)) ||
        (status = qvl_bytes_add_text(&out, ",\"output\":", err)) ||
        (status = qvl_bytes_add_json_string(&out, out_dir, strlen(out_dir), err)) ||
        (status = qvl_bytes_add_format(&out, err,
                                       ",\"type\":\"%s\",\"parameters\":%llu,\"input_bytes\":%llu,\"bytes\":%llu,"
                                       "\"bits_per_weight\":%.3f,\"ms\":%.1f}\n",
                                       types[o->packed_type], (unsigned long long)info->n_parameter,
                                       (unsigned long long)info->in_bytes, (unsigned long long)info->out_bytes,
                                       8 * (double)info->out_bytes / (double)info->n_parameter, ms)))
        goto fail;
    status = qvl_write_stdout(out.data, out.n, err);
fail:
    qvl_bytes_free(&out);
    return status;
}

static enum qvl_status report(const struct qvl_options *o, const struct qvl_quantizer_info *info,
                              struct qvl_progress *progress, double ms, struct qvl_error *err)
{
    if (o->want_json)
        return print_json(o, info, ms, err);
    qvl_progress_say(progress, "qvl: %s is written: %.0f MB became %.0f MB, %.2f bits per weight, in %.1f s",
                     o->item[1].value, (double)info->in_bytes / 1e6, (double)info->out_bytes / 1e6,
                     8 * (double)info->out_bytes / (double)info->n_parameter, ms / 1e3);
    return QVL_OK;
}

static void cancel(void *quantizer)
{
    qvl_quantizer_cancel(quantizer);
}

enum qvl_status qvl_quantize_folder(const struct qvl_quantizer_options *wish, struct qvl_progress *progress,
                                    struct qvl_quantizer_info *out, struct qvl_error *err)
{
    struct qvl_quantizer *quantizer = NULL;
    qvl_signals_set_work(cancel, NULL);
    enum qvl_status status = qvl_quantizer_open(wish, &quantizer, err);
    qvl_signals_set_work(cancel, quantizer);
    if (!status)
        status = write_folder(quantizer, progress, err);
    qvl_signals_set_work(NULL, NULL);
    if (!status)
        qvl_quantizer_get_info(quantizer, out);
    qvl_quantizer_close(quantizer);
    return status;
}

enum qvl_exit qvl_quantize_model(const struct qvl_options *options)
{
    struct qvl_error err = {0};
    struct qvl_quantizer_info info;
    struct qvl_progress progress;
    double start_ms = qvl_now_ms();
    if (options->n_item != 2) {
        fputs(qvl_text("qvl: quantize takes two folders: the model, and the new one to write\n"), stderr);
        return QVL_EXIT_USAGE;
    }
    struct qvl_quantizer_options wish = {.model_dir = options->item[0].value,
                                         .out_dir = options->item[1].value,
                                         .type = quantization_of(options->packed_type),
                                         .n_thread = (uint32_t)options->n_thread};
    qvl_progress_open(&progress, options->progress, options->is_quiet);
    enum qvl_status status = qvl_quantize_folder(&wish, &progress, &info, &err);
    if (!status)
        status = report(options, &info, &progress, qvl_now_ms() - start_ms, &err);
    if (status == QVL_ERR_CANCELLED)
        return (enum qvl_exit)qvl_signals_exit_code();
    if (status)
        qvl_say_error(&err);
    return qvl_exit_of(status, QVL_EXIT_FAILURE);
}

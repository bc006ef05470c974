/* qvl doctor: one screen that says what works here, what does not, and what to do; to be read, or pasted into a
 * report of a fault. Looks only: writes nothing, asks nobody on a network, and shows no secret. */
#include "cli/doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/bytes.h"
#include "base/language.h"
#include "base/utf8.h"
#include "cli/terminal.h"
#include "cli/verbs.h"

void qvl_doctor_add(struct qvl_doctor *doctor, enum qvl_verdict verdict, const char *topic, const char *text,
                    const char *advice)
{
    struct qvl_finding *grown = text ? qvl_grow(doctor->finding, &doctor->n_alloc, doctor->n + 1, sizeof *grown,
                                                "the findings", &doctor->err)
                                     : NULL;
    if (!grown)
        return; /* err says why */
    doctor->finding = grown;
    doctor->finding[doctor->n++] = (struct qvl_finding){verdict, qvl_text(topic), text, advice};
}

const char *qvl_doctor_text(struct qvl_doctor *doctor, const char *format, ...)
{
    char text[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    qvl_utf8_make_printable(text, strlen(text));
    return qvl_arena_copy_text(&doctor->arena, text, strlen(text), &doctor->err);
}

/* ---- what is printed ------------------------------------------------------------------------------------- */

static size_t count(const struct qvl_doctor *d, enum qvl_verdict verdict)
{
    size_t n = 0;
    for (size_t i = 0; i < d->n; i++)
        n += d->finding[i].verdict == verdict;
    return n;
}

static enum qvl_status add_text(struct qvl_doctor *d, struct qvl_bytes *out)
{
    enum { VERDICT_WIDTH = 7, TOPIC_WIDTH = 11 };
    const char *const verdict[] = {qvl_text("ok"), qvl_text("note"), qvl_text("PROBLEM")};
    size_t n_problem = count(d, QVL_VERDICT_PROBLEM), n_note = count(d, QVL_VERDICT_NOTE);
    enum qvl_status status = QVL_OK;
    for (size_t i = 0; i < d->n && !status; i++) {
        const struct qvl_finding *f = &d->finding[i];
        if (!(status = qvl_terminal_add_column(out, verdict[f->verdict], VERDICT_WIDTH, &d->err)) &&
            !(status = qvl_terminal_add_column(out, f->topic, TOPIC_WIDTH, &d->err)))
            status = qvl_bytes_add_format(out, &d->err, "%s\n", f->text);
        if (!status && f->advice)
            status =
                qvl_bytes_add_format(out, &d->err, "%*s-> %s\n", VERDICT_WIDTH + TOPIC_WIDTH + 2, "", f->advice);
    }
    if (status)
        return status;
    if (n_problem)
        return qvl_bytes_add_format(out, &d->err, qvl_text("problems: %zu, notes: %zu\n"), n_problem, n_note);
    return qvl_bytes_add_format(out, &d->err, qvl_text("problems: none, notes: %zu\n"), n_note);
}

static enum qvl_status add_member(struct qvl_bytes *out, const char *key, const char *text, struct qvl_error *err)
{
    enum qvl_status status = qvl_bytes_add_format(out, err, ",\"%s\":", key);
    return status ? status : qvl_bytes_add_json_string(out, text, strlen(text), err);
}

static enum qvl_status add_json(struct qvl_doctor *d, struct qvl_bytes *out)
{
    static const char *const verdict[] = {"ok", "note", "problem"};
    enum qvl_status status =
        qvl_bytes_add_format(out, &d->err, "{\"qvl\":\"%s\",\"problems\":%zu,\"notes\":%zu,\"findings\":[",
                             QVL_VERSION, count(d, QVL_VERDICT_PROBLEM), count(d, QVL_VERDICT_NOTE));
    for (size_t i = 0; i < d->n && !status; i++) {
        const struct qvl_finding *f = &d->finding[i];
        if (!(status =
                  qvl_bytes_add_format(out, &d->err, "%s{\"verdict\":\"%s\"", i ? "," : "", verdict[f->verdict])) &&
            !(status = add_member(out, "topic", f->topic, &d->err)))
            status = add_member(out, "text", f->text, &d->err);
        if (!status && f->advice)
            status = add_member(out, "advice", f->advice, &d->err);
        if (!status)
            status = qvl_bytes_add_text(out, "}", &d->err);
    }
    return status ? status : qvl_bytes_add_text(out, "]}\n", &d->err);
}

/* ---- the verb -------------------------------------------------------------------------------------------- */

enum qvl_exit qvl_doctor(const struct qvl_options *options)
{
    struct qvl_doctor d = {.options = options, .model = options->model};
    struct qvl_bytes out = {0};
    if (options->n_item > 1) {
        fputs(qvl_text("qvl: doctor takes one model at most\n"), stderr);
        return QVL_EXIT_USAGE;
    }
    if (options->n_item == 1)
        d.model = options->item[0].value;
    qvl_doctor_see_machine(&d);
    qvl_doctor_see_model(&d);
    qvl_doctor_see_media(&d);
    qvl_doctor_see_surroundings(&d);
    enum qvl_status status = d.err.status ? d.err.status : (options->want_json ? add_json : add_text)(&d, &out);
    if (!status)
        status = qvl_write_stdout(out.data, out.n, &d.err);
    enum qvl_exit code = count(&d, QVL_VERDICT_PROBLEM) ? QVL_EXIT_FAILURE : QVL_EXIT_OK;
    if (status) {
        qvl_say_error(&d.err);
        code = qvl_exit_of(status, QVL_EXIT_FAILURE);
    }
    qvl_engine_close(d.engine);
    qvl_arena_free(&d.arena);
    qvl_bytes_free(&out);
    free(d.finding);
    return code;
}

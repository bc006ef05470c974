#include "cli/answer_form.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/os.h"
#include "cli/input.h"

static enum qvl_status read_schema(const char *value, struct qvl_bytes *out, struct qvl_error *err)
{
    if (strcmp(value, "-") == 0)
        return qvl_input_read_stdin(out, err);
    if (value[strspn(value, " \t\r\n")] == '{')
        return qvl_bytes_add_text(out, value, err);
    return qvl_os_read_file(value, QVL_MAX_CONSTRAINT_BYTES, out, err);
}

/* "A,B" as two texts, each with its NUL; a backslash takes the comma or backslash behind it as it is. */
static enum qvl_status split_choices(const char *value, struct qvl_answer_form *form, struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    for (const char *c = value; *c && !status; c++) {
        bool is_escaped = *c == '\\' && (c[1] == ',' || c[1] == '\\');
        c += is_escaped;
        status = qvl_bytes_add(&form->text, *c == ',' && !is_escaped ? "" : c, 1, err);
    }
    if (status || (status = qvl_bytes_add(&form->text, "", 1, err)))
        return status;
    for (size_t i = 0; i < form->text.n; i++)
        form->n_choice += form->text.data[i] == 0;
    form->choice = calloc(form->n_choice, sizeof *form->choice);
    if (!form->choice)
        return qvl_fail_memory(err, form->n_choice * sizeof *form->choice, "the command line");
    const char *text = form->text.data;
    for (size_t i = 0; i < form->n_choice; i++, text += strlen(text) + 1)
        form->choice[i] = text;
    return QVL_OK;
}

enum qvl_status qvl_answer_form_open(const struct qvl_options *options, struct qvl_answer_form *out,
                                     struct qvl_error *err)
{
    *out = (struct qvl_answer_form){0};
    if (options->json_schema)
        return read_schema(options->json_schema, &out->schema, err);
    return options->choice ? split_choices(options->choice, out, err) : QVL_OK;
}

struct qvl_constraint qvl_answer_form_of(const struct qvl_answer_form *form, const struct qvl_options *o)
{
    if (o->json_schema)
        return (struct qvl_constraint){.kind = QVL_CONSTRAINT_JSON_SCHEMA,
                                       .text = form->schema.n ? form->schema.data : "",
                                       .n = form->schema.n};
    if (o->regex)
        return (struct qvl_constraint){.kind = QVL_CONSTRAINT_REGEX, .text = o->regex, .n = strlen(o->regex)};
    if (o->choice)
        return (struct qvl_constraint){
            .kind = QVL_CONSTRAINT_CHOICE, .choice = form->choice, .n_choice = form->n_choice};
    return (struct qvl_constraint){.kind =
                                       o->format == QVL_ANSWER_JSON ? QVL_CONSTRAINT_JSON : QVL_CONSTRAINT_NONE};
}

void qvl_answer_form_close(struct qvl_answer_form *form)
{
    qvl_bytes_free(&form->schema);
    qvl_bytes_free(&form->text);
    free(form->choice);
    *form = (struct qvl_answer_form){0};
}

/* qvl list: the models that are here. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "base/language.h"
#include "cli/default_model.h"
#include "cli/pull.h"
#include "cli/verbs.h"

/* "Qwen/Qwen3-VL-2B-Instruct", with "@REVISION" where it is not the main one. */
static void name_model(const struct qvl_hub_ref *ref, char out[256])
{
    const char *revision = ref->revision;
    bool is_commit = strlen(revision) == 40 && strspn(revision, "0123456789abcdef") == 40;
    snprintf(out, 256, "%s/%s%s%.*s", ref->owner, ref->name, *revision ? "@" : "", is_commit ? 12 : 128, revision);
}

static enum qvl_status print_json(const struct qvl_hub_model *model, size_t n, size_t i_default,
                                  struct qvl_error *err)
{
    struct qvl_bytes out = {0};
    enum qvl_status status = qvl_bytes_add_text(&out, "[", err);
    for (size_t i = 0; i < n && !status; i++) {
        const struct qvl_hub_model *m = &model[i];
        if ((status = qvl_bytes_add_format(
                 &out, err,
                 "%s{\"model\":\"%s/%s\",\"source\":\"%s\",\"bytes\":%llu,\"freed_bytes\":%llu,"
                 "\"changed\":%lld,\"whole\":%s,\"default\":%s,\"revision\":",
                 i ? ",\n " : "", m->ref.owner, m->ref.name, qvl_source_word(m->ref.source),
                 (unsigned long long)m->n_bytes, (unsigned long long)m->n_freed, (long long)m->changed,
                 m->is_whole ? "true" : "false", i == i_default ? "true" : "false")) ||
            (status = qvl_bytes_add_json_string(&out, m->ref.revision, strlen(m->ref.revision), err)) ||
            (status = qvl_bytes_add_text(&out, ",\"path\":", err)) ||
            (status = qvl_bytes_add_json_string(&out, m->path, strlen(m->path), err)) ||
            (status = qvl_bytes_add_text(&out, "}", err)))
            goto fail;
    }
    if (!status && !(status = qvl_bytes_add_text(&out, "]\n", err)))
        status = qvl_write_stdout(out.data, out.n, err);
fail:
    qvl_bytes_free(&out);
    return status;
}

static enum qvl_status print_lines(const struct qvl_hub_model *model, size_t n, size_t i_default,
                                   struct qvl_error *err)
{
    char name[256], size[QVL_SIZE_BYTES], when[32];
    int width = 0;
    for (size_t i = 0; i < n; i++) {
        name_model(&model[i].ref, name);
        width = (int)strlen(name) > width ? (int)strlen(name) : width;
    }
    for (size_t i = 0; i < n; i++) {
        const struct qvl_hub_model *m = &model[i];
        time_t changed = (time_t)m->changed;
        struct tm tm;
        name_model(&m->ref, name);
        if (!localtime_r(&changed, &tm) || strftime(when, sizeof when, "%Y-%m-%d %H:%M", &tm) == 0)
            when[0] = 0;
        printf("%c %-*s  %9s  %-12s  %s  %s%s\n", i == i_default ? '*' : ' ', width, name,
               qvl_size_text(m->n_bytes, size), qvl_source_name(m->ref.source), when, m->path,
               m->is_whole ? "" : qvl_text("  (not whole: qvl pull goes on with it)"));
    }
    return qvl_write_stdout("", 0, err);
}

enum qvl_exit qvl_list_models(const struct qvl_options *options)
{
    struct qvl_hub_model *model = NULL;
    struct qvl_error err = {0};
    size_t n = 0;
    if (options->n_item > 0) {
        fputs(qvl_text("qvl: list takes no model\n"), stderr);
        return QVL_EXIT_USAGE;
    }
    enum qvl_status status = qvl_hub_list(&model, &n, &err);
    size_t i_default = status ? 0 : qvl_default_model_choose(model, n);
    if (!status && options->want_json)
        status = print_json(model, n, i_default, &err);
    else if (!status && n == 0)
        fprintf(stderr, qvl_text("qvl: no model is here; `qvl pull` fetches %s\n"), QVL_HUB_DEFAULT_MODEL);
    else if (!status)
        status = print_lines(model, n, i_default, &err);
    free(model);
    if (status)
        qvl_say_error(&err);
    return qvl_exit_of(status, QVL_EXIT_FAILURE);
}

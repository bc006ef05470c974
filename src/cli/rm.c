/* qvl rm: models that are here, removed from the cache they lie in. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/language.h"
#include "cli/pull.h"
#include "cli/question.h"
#include "cli/verbs.h"

/* A branch or tag by its whole name, of which the main one is listed without it; a commit also by its beginning. */
static bool is_revision(const char *wish, const struct qvl_hub_model *model)
{
    enum { N_ABBREVIATED = 7 }; /* git's */
    const char *commit = strrchr(model->folder, '/'), *usual = model->ref.source == QVL_HUB_HF ? "main" : "master";
    size_t n = strlen(wish);
    if (strcmp(wish, model->ref.revision[0] ? model->ref.revision : usual) == 0)
        return true;
    return commit && n >= N_ABBREVIATED && strspn(wish, "0123456789abcdef") == n &&
           strncmp(wish, commit + 1, n) == 0;
}

/* What was named is this one: whatever was not said may be anything. */
static bool is_meant(const struct qvl_hub_ref *wish, const struct qvl_hub_model *model)
{
    const struct qvl_hub_ref *ref = &model->ref;
    return strcmp(wish->owner, ref->owner) == 0 && strcmp(wish->name, ref->name) == 0 &&
           (wish->source == QVL_HUB_AUTO || wish->source == ref->source) &&
           (!wish->revision[0] || is_revision(wish->revision, model));
}

static enum qvl_status remove_one(const struct qvl_options *options, const struct qvl_hub_model *model,
                                  struct qvl_progress *progress, struct qvl_error *err)
{
    char freed[QVL_SIZE_BYTES];
    qvl_size_text(model->n_freed, freed);
    if (!options->want_yes) {
        fprintf(stderr, qvl_text("Remove %s/%s (%s, %s)? [y/N] "), model->ref.owner, model->ref.name, model->folder,
                freed);
        if (!qvl_question_is_yes())
            return QVL_OK;
    }
    enum qvl_status status = qvl_hub_remove(model, err);
    if (!status)
        qvl_progress_say(progress, "qvl: %s is removed: %s", model->folder, freed);
    return status;
}

static enum qvl_status remove_named(const struct qvl_options *options, const char *name,
                                    const struct qvl_hub_model *model, size_t n, struct qvl_error *err)
{
    struct qvl_hub_ref wish;
    struct qvl_progress progress;
    size_t n_found = 0;
    enum qvl_status status = qvl_hub_ref_parse(name, &wish, err);
    if (wish.source == QVL_HUB_MIRROR)
        wish.source = QVL_HUB_HF; /* one cache */
    qvl_progress_open(&progress, QVL_PROGRESS_AUTO, options->is_quiet);
    for (size_t i = 0; i < n && !status; i++)
        if (is_meant(&wish, &model[i])) {
            n_found++;
            status = remove_one(options, &model[i], &progress, err);
        }
    if (!status && n_found == 0)
        status = qvl_fail(err, QVL_ERR_FILE, "%s is not here: qvl list says which models are", name);
    return status;
}

enum qvl_exit qvl_remove_models(const struct qvl_options *options)
{
    struct qvl_hub_model *model = NULL;
    struct qvl_error err = {0};
    size_t n = 0;
    if (options->n_item == 0) {
        fputs(qvl_text("qvl: rm takes the names of models: OWNER/NAME\n"), stderr);
        return QVL_EXIT_USAGE;
    }
    if (!options->want_yes && (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))) {
        fputs(qvl_text("qvl: rm asks first, and nobody is here to answer: --yes removes without asking\n"), stderr);
        return QVL_EXIT_USAGE;
    }
    enum qvl_status status = qvl_hub_list(&model, &n, &err);
    for (size_t i = 0; i < options->n_item && !status; i++)
        status = remove_named(options, options->item[i].value, model, n, &err);
    free(model);
    if (status)
        qvl_say_error(&err);
    return qvl_exit_of(status, QVL_EXIT_FAILURE);
}

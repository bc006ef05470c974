#include "cli/default_model.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/language.h"
#include "base/os.h"
#include "cli/pull.h"
#include "cli/question.h"
#include "cli/verbs.h"

/* ---- the demo model -------------------------------------------------------------------------------- */

/* Seen from the program's folder: where `make install` puts it; the source tree, of a build folder and of one below
 * that (BUILD=build/x). */
static const char *const demo_places[] = {"../share/qvl/demo-model", "../demo/model", "../../demo/model"};

bool qvl_default_model_find(char out[PATH_MAX])
{
    char program[2048], path[4096];
    qvl_os_program_dir(program, sizeof program);
    for (size_t i = 0; program[0] && i < sizeof demo_places / sizeof *demo_places; i++) {
        snprintf(path, sizeof path, "%s/%s/config.json", program, demo_places[i]);
        if (access(path, R_OK) != 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", program, demo_places[i]);
        if (realpath(path, out))
            return true;
    }
    return false;
}

/* ---- models of hubs -------------------------------------------------------------------------------- */

/* OWNER/NAME-TYPE, what `pull --quantize TYPE` has made. */
static bool find_packed(const struct qvl_hub_ref *ref, enum qvl_quantization type, char out[PATH_MAX])
{
    static const char *const name[] = {
        [QVL_QUANTIZE_Q8] = "q8", [QVL_QUANTIZE_Q4] = "q4", [QVL_QUANTIZE_BALANCED] = "balanced"};
    struct qvl_hub_ref packed = {0};
    int n = snprintf(packed.name, sizeof packed.name, "%s-%s", ref->name, name[type]);
    memcpy(packed.owner, ref->owner, sizeof packed.owner);
    return n > 0 && (size_t)n < sizeof packed.name && qvl_hub_find(&packed, out);
}

/* False: it is no name of a hub's, or nothing is here under it. */
static bool find_named(const char *text, char out[PATH_MAX])
{
    struct qvl_hub_ref ref;
    struct qvl_error why = {0};
    return qvl_hub_ref_looks_like(text) && qvl_hub_ref_parse(text, &ref, &why) == QVL_OK && qvl_hub_find(&ref, out);
}

/* The same for -m: packed as --quantize says, if it was before. */
static bool find_wanted(struct qvl_options *options, char out[PATH_MAX])
{
    struct qvl_hub_ref ref;
    struct qvl_error why = {0};
    if (!options->quantize || !qvl_hub_ref_looks_like(options->model) ||
        qvl_hub_ref_parse(options->model, &ref, &why) || !find_packed(&ref, options->quantize, out))
        return find_named(options->model, out);
    options->quantize = QVL_QUANTIZE_NONE; /* it is what was asked for */
    qvl_options_forget(options, "quantize");
    return true;
}

size_t qvl_default_model_choose(const struct qvl_hub_model *model, size_t n)
{
    for (int want_packed = 1; want_packed >= 0; want_packed--)
        for (size_t i = 0; i < n; i++)
            if (model[i].is_whole && (model[i].is_qvl || !want_packed))
                return i;
    return n;
}

static bool find_pulled(char out[PATH_MAX])
{
    struct qvl_hub_model *model = NULL;
    struct qvl_error why = {0};
    size_t n = 0, i = 0;
    if (qvl_hub_list(&model, &n, &why))
        return false;
    i = qvl_default_model_choose(model, n);
    if (i < n)
        memcpy(out, model[i].path, sizeof model[i].path);
    free(model);
    return i < n;
}

/* ---- what is meant --------------------------------------------------------------------------------- */

/* How many of its words may name a model. */
static size_t count_model_words(enum qvl_verb verb)
{
    switch (verb) {
    case QVL_VERB_INSPECT:
    case QVL_VERB_QUANTIZE:
    case QVL_VERB_CONVERT:
    case QVL_VERB_DOCTOR:
    case QVL_VERB_VERIFY: return 1;
    case QVL_VERB_COMPARE: return 2;
    default: return 0;
    }
}

static bool takes_model(enum qvl_verb verb)
{
    return verb & (QVL_VERB_RUN | QVL_VERB_SERVE | QVL_VERB_BENCH | QVL_VERB_INSPECT | QVL_VERB_TOKENIZE |
                   QVL_VERB_VERIFY | QVL_VERB_DOCTOR);
}

void qvl_choose_model(struct qvl_options *options, enum qvl_verb verb, struct qvl_chosen_model *memory)
{
    for (size_t i = 0; i < count_model_words(verb) && i < options->n_item; i++)
        if (options->item[i].kind == QVL_ITEM_WORD && find_named(options->item[i].value, memory->word[i]))
            options->item[i].value = memory->word[i];
    if (!takes_model(verb))
        return;
    if (options->model) {
        if (find_wanted(options, memory->path))
            options->model = memory->path;
    } else if (find_pulled(memory->path)) {
        options->model = memory->path;
    } else if (qvl_default_model_find(memory->path)) {
        options->model = memory->path;
        options->is_demo_model = true;
    }
}

bool qvl_model_is_elsewhere(const struct qvl_options *options)
{
    return options->model && qvl_hub_ref_looks_like(options->model);
}

/* ---- the offer ------------------------------------------------------------------------------------- */

/* A file that is there when somebody has said no. */
static bool name_refusal(char out[PATH_MAX])
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int n = 0;
    if (state && state[0] == '/')
        n = snprintf(out, PATH_MAX, "%s/qvl/no-pull", state);
    else if (home && home[0] == '/')
        n = snprintf(out, PATH_MAX, "%s/.local/state/qvl/no-pull", home);
    return n > 0 && n < PATH_MAX;
}

static void keep_refusal(void)
{
    char path[PATH_MAX];
    if (!name_refusal(path))
        return;
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(path, 0700);
        *slash = '/';
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
}

static bool was_refused(void)
{
    char path[PATH_MAX];
    return name_refusal(path) && qvl_os_is_there(path);
}

static bool fetch(const char *name, struct qvl_options *options, char out[PATH_MAX])
{
    struct qvl_hub_options wish = {0};
    struct qvl_hub_pull *pull = NULL;
    struct qvl_progress progress;
    struct qvl_error err = {0};
    qvl_progress_open(&progress, options->progress, options->is_quiet);
    enum qvl_status status = qvl_hub_ref_parse(name, &wish.ref, &err);
    if (!status && !(status = qvl_hub_pull_open(&wish, &pull, &err)))
        status = qvl_pull_run(pull, &wish.ref, NULL, &progress, &err);
    qvl_hub_pull_close(pull);
    if (!status && !find_named(name, out))
        status = qvl_fail(&err, QVL_ERR_FILE, "%s was fetched, and is no model that qvl runs", name);
    if (status && status != QVL_ERR_CANCELLED)
        qvl_say_error(&err);
    return !status;
}

void qvl_offer_model(struct qvl_options *options, enum qvl_verb verb, struct qvl_chosen_model *memory)
{
    bool is_named = qvl_model_is_elsewhere(options), is_missing = !options->model || options->is_demo_model;
    if (!(verb & (QVL_VERB_RUN | QVL_VERB_SERVE)) || options->is_quiet || !qvl_question_has_person() ||
        (!is_named && (!is_missing || was_refused())))
        return;
    const char *name = is_named ? options->model : QVL_HUB_DEFAULT_MODEL;
    if (is_named)
        fprintf(stderr, qvl_text("qvl: %s is not here. Fetch it now? [y/N] "), name);
    else
        fprintf(
            stderr,
            qvl_text("qvl: no model is here yet. Fetch %s (4.3 GB) from Hugging Face or ModelScope now? [y/N] "),
            name);
    if (!qvl_question_is_yes()) {
        if (!is_named)
            keep_refusal();
        return;
    }
    if (!fetch(name, options, memory->path))
        return;
    options->model = memory->path;
    options->is_demo_model = false;
}

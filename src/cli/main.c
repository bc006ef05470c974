/* qvl: the command line. Chooses the verb; each verb is a file of its own. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/language.h"
#include "cli/completion.h"
#include "cli/default_model.h"
#include "cli/question.h"
#include "cli/signals.h"
#include "cli/verbs.h"

void qvl_say_error(const struct qvl_error *err)
{
    fprintf(stderr, "qvl: %s\n", err->text);
}

enum qvl_status qvl_write_stdout(const void *data, size_t n, struct qvl_error *err)
{
    if ((n == 0 || fwrite(data, 1, n, stdout) == n) && fflush(stdout) == 0 && !ferror(stdout))
        return QVL_OK;
    return qvl_fail(err, QVL_ERR_FILE, "stdout: cannot write: %s", qvl_errno_text(errno));
}

static void say_how_to_get_a_model(void)
{
    fputs(qvl_text("     `qvl pull` fetches Qwen/Qwen3-VL-2B-Instruct (4.3 GB), from Hugging Face or ModelScope; -m, or QVL_MODEL\n"
                   "     in the environment, names another one: OWNER/NAME, or a folder that holds Qwen3-VL as published.\n"),
          stderr);
}

/* Whoever has given no model may take its answers for Qwen3-VL's. */
static void say_it_is_the_demo_model(const struct qvl_options *options)
{
    if (options->is_quiet || options->progress == QVL_PROGRESS_NONE)
        return;
    fputs(qvl_text("qvl: no model was given, so this is the built-in demo model: it knows coloured shapes, short\n"
                   "     printed text, small forms and clips of shapes, and nothing else.\n"),
          stderr);
    say_how_to_get_a_model();
}

const char *qvl_model_path(const struct qvl_options *options, const char *model, char pair[2 * PATH_MAX])
{
    if (!options->mmproj)
        return model;
    snprintf(pair, 2 * PATH_MAX, "%s,%s", model, options->mmproj);
    return pair;
}

static void say_warning(void *arg, const char *sentence)
{
    (void)arg;
    fprintf(stderr, "qvl: %s\n", sentence);
}

struct qvl_engine *qvl_open_engine(const struct qvl_options *options, enum qvl_exit *exit_code)
{
    char pair[2 * PATH_MAX];
    struct qvl_error err = {0};
    struct qvl_engine *engine = NULL;
    if (!options->model) {
        fputs(qvl_text("qvl: no model was given.\n"), stderr);
        say_how_to_get_a_model();
        *exit_code = QVL_EXIT_MODEL;
        return NULL;
    }
    if (qvl_model_is_elsewhere(options)) {
        fprintf(stderr, qvl_text("qvl: %s is neither a folder nor a model that is here: qvl pull %s fetches it\n"),
                options->model, options->model);
        *exit_code = QVL_EXIT_MODEL;
        return NULL;
    }
    struct qvl_engine_options settings = {.model_dir = qvl_model_path(options, options->model, pair),
                                          .media_helper = options->media_helper,
                                          .media_deadline_ms = (uint32_t)(options->media_timeout_s * 1e3),
                                          .compute = options->dtype,
                                          .kv = options->kv,
                                          .quantize = !options->quantize && qvl_options_has(options, "quantize")
                                                          ? QVL_QUANTIZE_FLOATS
                                                          : options->quantize,
                                          .quantize_vision = options->want_vision_q8,
                                          .n_thread = (uint32_t)options->n_thread,
                                          .n_ctx = (uint32_t)options->n_ctx,
                                          .n_prefill_chunk = (uint32_t)options->n_chunk,
                                          .kv_bytes = (size_t)options->kv_cache_mb << 20,
                                          .prefix_cache_bytes = (size_t)options->prefix_cache_mb << 20,
                                          .vision_cache_bytes = (size_t)options->vision_cache_mb << 20,
                                          .no_vision_cache = qvl_options_has(options, "vision-cache") &&
                                                             !options->vision_cache_mb,
                                          .vision_cache_dir = options->vision_cache_dir,
                                          .vision_disk_bytes = options->vision_disk_mb << 20,
                                          .isa = options->isa};
    enum qvl_status status = qvl_engine_open(&settings, &engine, &err);
    if (status) {
        qvl_say_error(&err);
        *exit_code = qvl_exit_of(status, QVL_EXIT_MODEL);
        return NULL;
    }
    if (!options->is_quiet)
        qvl_engine_watch_warnings(engine, say_warning, NULL);
    if (options->is_demo_model)
        say_it_is_the_demo_model(options);
    return engine;
}

static enum qvl_exit chat(const struct qvl_options *options)
{
    struct qvl_options interactive = *options;
    struct qvl_error err = {0};
    if (qvl_options_set(&interactive, "interactive", "on", &err)) {
        qvl_say_error(&err);
        return qvl_exit_of(err.status, QVL_EXIT_FAILURE);
    }
    return qvl_chat_in_terminal(&interactive);
}

struct verb {
    const char *name;
    enum qvl_verb verb;
    enum qvl_exit (*run)(const struct qvl_options *);
};

static const struct verb verbs[] = {
    {"run", QVL_VERB_RUN, qvl_run},
    {"chat", QVL_VERB_RUN, chat},
    {"serve", QVL_VERB_SERVE, qvl_serve_model},
    {"inspect", QVL_VERB_INSPECT, qvl_inspect_model},
    {"show", QVL_VERB_INSPECT, qvl_inspect_model},
    {"bench", QVL_VERB_BENCH, qvl_bench_model},
    {"quantize", QVL_VERB_QUANTIZE, qvl_quantize_model},
    {"convert", QVL_VERB_CONVERT, qvl_convert_model},
    {"compare", QVL_VERB_COMPARE, qvl_compare_models},
    {"pull", QVL_VERB_PULL, qvl_pull_model},
    {"list", QVL_VERB_LIST, qvl_list_models},
    {"ls", QVL_VERB_LIST, qvl_list_models},
    {"rm", QVL_VERB_RM, qvl_remove_models},
    {"tokenize", QVL_VERB_TOKENIZE, qvl_tokenize_texts},
    {"verify", QVL_VERB_VERIFY, qvl_verify_model},
    {"doctor", QVL_VERB_DOCTOR, qvl_doctor},
};

const char *qvl_verb_name(size_t i, enum qvl_verb *verb)
{
    if (i >= sizeof verbs / sizeof verbs[0])
        return NULL;
    if (verb)
        *verb = verbs[i].verb;
    return verbs[i].name;
}

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

/* A lone word in small letters, as in `qvl server`: more likely a command than a question. */
static bool is_lone_word(int argc, char **argv)
{
    return argc == 2 && strspn(argv[1], "abcdefghijklmnopqrstuvwxyz-") == strlen(argv[1]) && argv[1][0] != '-';
}

static enum qvl_exit flush_stdout(void)
{
    struct qvl_error err = {0};
    enum qvl_status status = qvl_write_stdout("", 0, &err);
    if (status)
        qvl_say_error(&err);
    return qvl_exit_of(status, QVL_EXIT_FAILURE);
}

/* topic: NULL, "all", or a command; "bash", "zsh", "fish": completion for these; "man", for the build of the manual page. */
static enum qvl_exit show_help(const char *topic)
{
    const struct verb *verb = topic ? find_verb(topic) : NULL;
    if (topic && strcmp(topic, "man") == 0)
        qvl_options_man(stdout);
    else if (verb)
        qvl_options_help(stdout, (int)verb->verb, true);
    else if (!topic || !qvl_completion_write(stdout, topic))
        qvl_options_help(stdout, QVL_EVERY_VERB, topic && strcmp(topic, "all") == 0);
    return flush_stdout();
}

static enum qvl_exit show_version(void)
{
    printf("qvl %s\n", QVL_VERSION);
    return flush_stdout();
}

/* Nothing was asked: such a person wants to chat. */
static bool is_chat_wanted(const struct verb *verb, const struct qvl_options *o)
{
    return verb->verb == QVL_VERB_RUN && o->n_item == 0 && !o->messages && !o->want_json && !o->is_dry_run &&
           qvl_question_has_person();
}

static enum qvl_exit run_with_model(const struct verb *verb, struct qvl_options *options)
{
    struct qvl_chosen_model memory;
    qvl_choose_model(options, verb->verb, &memory);
    qvl_offer_model(options, verb->verb, &memory);
    int cancelled = qvl_signals_exit_code(); /* while it was fetched */
    return cancelled ? (enum qvl_exit)cancelled : verb->run(options);
}

/* is_named: the command line says which; what it says of help is then about this one. */
static enum qvl_exit run_verb(const struct verb *verb, bool is_named, int n_arg, char **arg)
{
    struct qvl_options options;
    struct qvl_error err = {0};
    if (qvl_options_parse(verb->verb, n_arg, arg, &options, &err)) {
        qvl_say_error(&err);
        return qvl_exit_of(err.status, QVL_EXIT_FAILURE);
    }
    options.is_interactive |= is_chat_wanted(verb, &options);
    enum qvl_exit code;
    if (options.want_help)
        code = show_help(options.n_item == 1 ? options.item[0].value : is_named ? verb->name : NULL);
    else if (options.want_version)
        code = show_version();
    else
        code = run_with_model(verb, &options);
    qvl_options_free(&options);
    return code;
}

/* A stream that the caller has closed must not become a file that is opened later: reading and writing it fail. */
static void fill_closed_streams(void)
{
    static const int mode[] = {O_WRONLY, O_RDONLY, O_WRONLY}; /* of stderr nobody need know */
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", mode[fd]) != fd)
            _exit(QVL_EXIT_FAILURE);
}

int main(int argc, char **argv)
{
    fill_closed_streams();
    qvl_signals_open();
    qvl_set_language(qvl_options_language(argc, argv));
    if (argc < 2 && !qvl_question_has_person()) {
        qvl_options_help(stderr, QVL_EVERY_VERB, false);
        return QVL_EXIT_USAGE;
    }
    if (argc < 2)
        return (int)run_verb(&verbs[0], false, 0, NULL);
    if (strcmp(argv[1], "help") == 0)
        return (int)show_help(argc == 3 ? argv[2] : NULL);
    const struct verb *verb = find_verb(argv[1]);
    if (verb)
        return (int)run_verb(verb, true, argc - 2, argv + 2);
    if (is_lone_word(argc, argv)) {
        fprintf(stderr, qvl_text("qvl: %s: no such command (to ask the model: qvl run %s)\n"), argv[1], argv[1]);
        return QVL_EXIT_USAGE;
    }
    return (int)run_verb(&verbs[0], false, argc - 1, argv + 1);
}

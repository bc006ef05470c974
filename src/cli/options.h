/* options.h: the command line as one table: names, aliases, environment twins, ranges, help in two languages. */
#ifndef QVL_CLI_OPTIONS_H
#define QVL_CLI_OPTIONS_H

#include <stdio.h>

#include "base/error.h"
#include "hub/hub.h"

enum qvl_item_kind {
    QVL_ITEM_WORD,  /* bare: a file or a text, by what it looks like */
    QVL_ITEM_TEXT,  /* --prompt */
    QVL_ITEM_IMAGE, /* --image */
    QVL_ITEM_VIDEO  /* --video */
};

struct qvl_item {
    enum qvl_item_kind kind;
    const char *value; /* argv's */
};

enum qvl_progress_mode { QVL_PROGRESS_AUTO, QVL_PROGRESS_BAR, QVL_PROGRESS_PLAIN, QVL_PROGRESS_NONE };
enum qvl_switch { QVL_SWITCH_ON, QVL_SWITCH_OFF };

#define QVL_MAX_OPTIONS 128

/* What was given; zero or NULL where nothing was. */
struct qvl_options {
    const char *model, *mmproj, *system, *messages, *json_schema, *regex, *choice, *frame_times, *dump, *isa, *media_helper, *vision_cache_dir, *tests;
    const char **stop;        /* [n_stop] */
    size_t n_stop;
    struct qvl_item *item;    /* [n_item] in order */
    size_t n_item;
    uint64_t max_tokens, n_ctx, n_thread, n_chunk, vision_cache_mb, vision_disk_mb, n_logits, n_run, top_k, seed;
    uint64_t min_pixels, max_pixels, min_image_tokens, max_image_tokens;
    uint64_t num_frames, min_frames, max_frames, total_pixels;
    double fps, sample_fps, start_s, end_s, media_timeout_s;
    double temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty;
    enum qvl_switch loop_guard, lookup;
    enum qvl_answer_format { QVL_ANSWER_TEXT, QVL_ANSWER_JSON } format;
    enum qvl_resize_rule resize;
    enum qvl_compute dtype;
    enum qvl_kv_type kv;
    bool want_vision_q8;
    enum qvl_quantization quantize;
    enum qvl_packed_type { QVL_TYPE_Q4, QVL_TYPE_Q8, QVL_TYPE_BALANCED } packed_type;
    enum qvl_convert_type convert_type;
    enum qvl_progress_mode progress;
    enum qvl_language language; /* asked for with qvl_options_language before the rest is read */
    bool want_video_wrapper, no_think_text, is_interactive;
    bool is_quiet, want_json, want_ids, is_dry_run, ignore_eos, want_jsonl, want_special, want_check, want_csv,
        is_full, want_help, want_version;
    /* of qvl serve; lists with commas between */
    const char *host, *api_key, *api_key_file, *media_path, *cors_origins, *allowed_hosts, *served_model_name;
    const char *ssl_cert_file, *ssl_key_file, *log_file;
    const char *url_fetch;    /* hosts, "" any; NULL: nothing is fetched */
    uint64_t port, n_parallel, n_queue, max_body_mb, kv_cache_mb, prefix_cache_mb;
    double timeout_s, drain_s;
    bool is_public, is_strict, is_model_strict, want_prompt_log, want_http_fetch;
    /* of qvl pull, list and rm */
    enum qvl_hub_source source;
    const char *local_dir, *gguf;
    uint64_t n_connection;
    bool want_source_deleted, want_yes;
    bool is_demo_model; /* model is the built-in one, as none was given; set by main.c, not by an option */
    bool is_given[QVL_MAX_OPTIONS]; /* by place in the table: ask qvl_options_has */
    void *memory;                   /* of item and stop */
};

enum qvl_verb { QVL_VERB_RUN = 1, QVL_VERB_INSPECT = 2, QVL_VERB_TOKENIZE = 4, QVL_VERB_BENCH = 8, QVL_VERB_QUANTIZE = 16, QVL_VERB_COMPARE = 32, QVL_VERB_SERVE = 64, QVL_VERB_PULL = 128, QVL_VERB_LIST = 256, QVL_VERB_RM = 512, QVL_VERB_CONVERT = 1024, QVL_VERB_DOCTOR = 2048, QVL_VERB_VERIFY = 4096 };

/* argv[0..n_arg) without program and verb. The environment fills what the command line leaves open: --max-pixels
 * is QVL_MAX_PIXELS. QVL_ERR_ARGUMENT names the option, or those that contradict each other. */
enum qvl_status qvl_options_parse(enum qvl_verb verb, int n_arg, char **arg, struct qvl_options *out,
                                  struct qvl_error *err);
void qvl_options_free(struct qvl_options *options);
/* Sets a number, choice or flag by its long name, as the chat does; what it excludes is forgotten. On failure the
 * options are as before. */
enum qvl_status qvl_options_set(struct qvl_options *options, const char *name, const char *value,
                                struct qvl_error *err);
/* Whether the option of this long name was given, on the command line or in the environment. */
bool qvl_options_has(const struct qvl_options *options, const char *name);

/* As if the option of this long name had not been given; its value is the caller's to take back. */
void qvl_options_forget(struct qvl_options *options, const char *name);

/* Of all messages: by the last --lang, else QVL_LANG, else the locale. */
enum qvl_language qvl_options_language(int n_arg, char **arg);

/* Usage and options of some verbs (enum qvl_verb, or-ed); `want_all` also lists the rare ones. */
#define QVL_EVERY_VERB (-1)
void qvl_options_help(FILE *out, int verbs, bool want_all);
/* What the table says of option i, for the completion of shells; false: there are not as many. */
struct qvl_option_form {
    const char *name, *aliases; /* aliases: separated by blanks, or NULL */
    char letter;                /* 0: none */
    int verbs;                  /* enum qvl_verb, or-ed */
    enum qvl_value_form { QVL_VALUE_NONE, QVL_VALUE_OTHER, QVL_VALUE_FILE, QVL_VALUE_CHOICE } value;
    const char *words; /* QVL_VALUE_CHOICE: "a|b" */
    const char *help;  /* English */
};
bool qvl_options_at(size_t i, struct qvl_option_form *out);
/* All options as a list in mdoc, for the manual page (docs/qvl.1.in). English. */
void qvl_options_man(FILE *out);

#endif

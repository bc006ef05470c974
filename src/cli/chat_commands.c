/* What begins with a slash. A command's function gets the rest of the line; its words are read as a shell would. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/language.h"
#include "base/os.h"
#include "cli/chat.h"
#include "cli/terminal.h"
#include "cli/words.h"

typedef enum qvl_status command_function(struct qvl_chat_room *room, const char *rest);

/* ---- words --------------------------------------------------------------------------------------- */

/* The one word that a command needs. */
static enum qvl_status read_only_word(const char *rest, const char *command, struct qvl_bytes *out,
                                      struct qvl_error *err)
{
    bool is_there = false;
    enum qvl_status status = qvl_words_next(&rest, out, &is_there, err);
    if (!status && (!is_there || qvl_words_skip_blanks(rest)[0]))
        status = qvl_fail(err, QVL_ERR_ARGUMENT, "%s takes one file name (a name with blanks stands in quotes)",
                          command);
    return status;
}

/* ---- pictures and clips -------------------------------------------------------------------------- */

/* The option that NAME=VALUE of /video sets, or NULL. *value: what follows the sign. */
static const char *find_clip_setting(const char *word, const char **value)
{
    static const char *const name[][2] = {
        {"fps", "fps"},         {"frames", "num-frames"},         {"num_frames", "num-frames"},
        {"start", "start"},     {"min_frames", "min-frames"},     {"max_frames", "max-frames"},
        {"end", "end"},         {"max_pixels", "max-pixels"},     {"total_pixels", "total-pixels"},
        {"min_pixels", "min-pixels"}};
    const char *sign = strchr(word, '=');
    for (size_t i = 0; sign && i < sizeof name / sizeof name[0]; i++)
        if (strlen(name[i][0]) == (size_t)(sign - word) && strncmp(word, name[i][0], (size_t)(sign - word)) == 0) {
            *value = sign + 1;
            return name[i][1];
        }
    return NULL;
}

/* Settings first, wherever they stand; then the files. */
static enum qvl_status read_settings(struct qvl_chat_room *room, const char *rest, struct qvl_options *options,
                                     size_t *n_file)
{
    struct qvl_bytes word = {0};
    bool is_there = true;
    enum qvl_status status = QVL_OK;
    *n_file = 0;
    while (!status && !(status = qvl_words_next(&rest, &word, &is_there, &room->err)) && is_there) {
        const char *value = NULL, *name = find_clip_setting(word.data, &value);
        *n_file += !name;
        if (name)
            status = qvl_options_set(options, name, value, &room->err);
        if (name && !status && strcmp(name, "fps") == 0) /* of a folder the same word is the rate of its pictures */
            status = qvl_options_set(options, "sample-fps", value, &room->err);
    }
    qvl_bytes_free(&word);
    return status;
}

static enum qvl_status add_files(struct qvl_chat_room *room, const char *rest, enum qvl_part_kind kind)
{
    struct qvl_options options = room->options;
    struct qvl_bytes word = {0};
    size_t n_file = 1;
    bool is_there = true;
    enum qvl_status status = QVL_OK;
    if (kind == QVL_PART_VIDEO)
        status = read_settings(room, rest, &options, &n_file);
    if (!status && (n_file == 0 || qvl_words_skip_blanks(rest)[0] == 0))
        status = kind == QVL_PART_VIDEO
                     ? qvl_fail(&room->err, QVL_ERR_ARGUMENT,
                                "/video takes a file or a folder of pictures, and fps=, start=, end=, frames=")
                     : qvl_fail(&room->err, QVL_ERR_ARGUMENT, "/image takes one or more files");
    while (!status && !(status = qvl_words_next(&rest, &word, &is_there, &room->err)) && is_there) {
        const char *value = NULL;
        if (kind == QVL_PART_IMAGE || !find_clip_setting(word.data, &value))
            status = qvl_chat_add_media(room, &options, kind, word.data);
    }
    qvl_bytes_free(&word);
    return status;
}

static enum qvl_status add_images(struct qvl_chat_room *room, const char *rest)
{
    return add_files(room, rest, QVL_PART_IMAGE);
}

static enum qvl_status add_clips(struct qvl_chat_room *room, const char *rest)
{
    return add_files(room, rest, QVL_PART_VIDEO);
}

/* ---- the conversation ---------------------------------------------------------------------------- */

/* The computed keys and values go, too; the system message stays. */
static enum qvl_status clear(struct qvl_chat_room *room, const char *rest)
{
    struct qvl_session *session = NULL;
    (void)rest;
    enum qvl_status status = qvl_session_open(room->asker.engine, &session, &room->err);
    if (status)
        return status;
    qvl_session_close(room->asker.session);
    room->asker.session = session;
    qvl_conversation_clear(&room->conversation);
    qvl_input_close(&room->waiting);
    qvl_progress_say_dim(&room->asker.progress, "the conversation is forgotten");
    return QVL_OK;
}

static void say_n_turn(struct qvl_chat_room *room)
{
    size_t n = qvl_conversation_n_turn(&room->conversation);
    qvl_progress_say_dim(&room->asker.progress,
                         n == 1 ? "the conversation has %zu turn" : "the conversation has %zu turns", n);
}

/* What waits for the next question goes first. */
static enum qvl_status undo(struct qvl_chat_room *room, const char *rest)
{
    (void)rest;
    if (room->waiting.n_part) {
        qvl_input_drop_last(&room->waiting);
        qvl_progress_say_dim(&room->asker.progress, "the last picture or clip does not wait any more");
        return QVL_OK;
    }
    if (!qvl_conversation_undo(&room->conversation))
        return qvl_fail(&room->err, QVL_ERR_ARGUMENT, "there is no turn to take back");
    say_n_turn(room);
    return QVL_OK;
}

static enum qvl_status retry(struct qvl_chat_room *room, const char *rest)
{
    bool is_there = false;
    (void)rest;
    enum qvl_status status = qvl_conversation_retry(&room->conversation, &is_there, &room->err);
    if (!status && !is_there)
        status = qvl_fail(&room->err, QVL_ERR_ARGUMENT, "there is no question to ask again");
    if (!status)
        qvl_chat_ask(room);
    return status;
}

static enum qvl_status set_system(struct qvl_chat_room *room, const char *rest)
{
    enum qvl_status status = qvl_conversation_set_system(&room->conversation, rest, &room->err);
    if (!status)
        qvl_progress_say_dim(&room->asker.progress,
                             rest[0] ? "the system message is set" : "there is no system message any more");
    return status;
}

static enum qvl_status save(struct qvl_chat_room *room, const char *rest)
{
    struct qvl_bytes path = {0};
    enum qvl_status status = read_only_word(rest, "/save", &path, &room->err);
    if (!status)
        status = qvl_conversation_save(&room->conversation, path.data, &room->err);
    if (!status)
        qvl_progress_say_dim(&room->asker.progress, "saved: %s; /load and `qvl run --messages` read it", path.data);
    qvl_bytes_free(&path);
    return status;
}

static enum qvl_status load(struct qvl_chat_room *room, const char *rest)
{
    struct qvl_bytes path = {0};
    struct qvl_chat_json_settings settings = qvl_input_chat_settings(&room->options);
    enum qvl_status status = read_only_word(rest, "/load", &path, &room->err);
    if (!status)
        status = qvl_conversation_load(&room->conversation, path.data, &settings, &room->err);
    qvl_bytes_free(&path);
    if (!status)
        say_n_turn(room);
    return status;
}

/* ---- settings ------------------------------------------------------------------------------------ */

/* What /set knows, by the names of the command line. */
static const char *const settings[] = {
    "temp",       "top-k",      "top-p",      "min-p",        "repetition-penalty", "presence-penalty",
    "frequency-penalty", "seed", "max-tokens", "loop-guard",  "lookup",             "max-pixels",
    "min-pixels", "total-pixels", "fps",      "num-frames",   "min-frames",         "max-frames",
    "sample-fps", "format"};

static bool is_setting(const char *name)
{
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        if (strcmp(settings[i], name) == 0)
            return true;
    return false;
}

/* --max_pixels, max_pixels and max-pixels are one. */
static const char *plain_name(struct qvl_bytes *name)
{
    for (size_t i = 0; i < name->n; i++)
        if (name->data[i] == '_')
            name->data[i] = '-';
    const char *plain = name->data + strspn(name->data, "-");
    return strcmp(plain, "temperature") == 0 ? "temp" : plain;
}

static enum qvl_status set(struct qvl_chat_room *room, const char *rest)
{
    struct qvl_bytes name = {0}, value = {0};
    bool has_name = false, has_value = false;
    enum qvl_status status = qvl_words_next(&rest, &name, &has_name, &room->err);
    if (!status)
        status = qvl_words_next(&rest, &value, &has_value, &room->err);
    const char *plain = status ? "" : plain_name(&name);
    bool is_think = strcmp(plain, "think") == 0, is_on = !status && strcmp(value.data, "on") == 0;
    if (!status && (!has_value || qvl_words_skip_blanks(rest)[0]))
        status = qvl_fail(&room->err, QVL_ERR_ARGUMENT, "/set takes a name and a value, as in: /set temp 0");
    else if (!status && is_think && !is_on && strcmp(value.data, "off") != 0)
        status = qvl_fail(&room->err, QVL_ERR_ARGUMENT, "/set think is on or off");
    else if (!status && is_think)
        room->options.no_think_text = !is_on;
    else if (!status && !is_setting(plain))
        status = qvl_fail(&room->err, QVL_ERR_ARGUMENT, "/set %.40s: no such setting (/show lists them)", plain);
    else if (!status)
        status = qvl_options_set(&room->options, plain, value.data, &room->err);
    if (!status)
        qvl_progress_say_dim(&room->asker.progress, "%s is %s from now on", plain, value.data);
    qvl_bytes_free(&name);
    qvl_bytes_free(&value);
    return status;
}

/* A file's name, or the system message, may hold anything. */
static void show_safely(const char *format, const char *text)
    __attribute__((format(printf, 1, 0)));
static void show_safely(const char *format, const char *text)
{
    struct qvl_bytes safe = {0};
    struct qvl_error ignored; /* out of memory: then it is not shown */
    if (!qvl_terminal_escape(text, strlen(text), &safe, &ignored))
        fprintf(stderr, format, safe.data);
    qvl_bytes_free(&safe);
}

static void show_media_of(const struct qvl_part *part, size_t n_part)
{
    for (size_t i = 0; i < n_part; i++)
        if (part[i].kind != QVL_PART_TEXT)
            show_safely("  %s\n", part[i].source.name ? part[i].source.name : "?");
}

static void show_media(const struct qvl_chat_room *room)
{
    const struct qvl_conversation *c = &room->conversation;
    size_t n_media = 0;
    for (size_t i = 0; i < c->n_entry; i++)
        for (size_t j = 0; j < c->entry[i].message.n_part; j++)
            n_media += c->entry[i].message.parts[j].kind != QVL_PART_TEXT;
    fprintf(stderr, qvl_text("turns %zu, pictures and clips %zu\n"), qvl_conversation_n_turn(c), n_media);
    for (size_t i = 0; i < c->n_entry; i++)
        show_media_of(c->entry[i].message.parts, c->entry[i].message.n_part);
    if (room->waiting.n_part)
        fputs(qvl_text("waiting for the next question\n"), stderr);
    show_media_of(room->waiting.part, room->waiting.n_part);
}

static void show_sampling(const struct qvl_chat_room *room)
{
    const struct qvl_sampling *s = &room->asker.sampling;
    const struct qvl_options *o = &room->options;
    fprintf(stderr, "temp %.4g, top-k %u, top-p %.4g, min-p %.4g\n", (double)s->temperature, s->top_k,
            (double)s->top_p, (double)s->min_p);
    fprintf(stderr, "repetition-penalty %.4g, presence-penalty %.4g, frequency-penalty %.4g\n",
            (double)s->repetition_penalty, (double)s->presence_penalty, (double)s->frequency_penalty);
    if (qvl_options_has(o, "seed"))
        fprintf(stderr, "seed %" PRIu64 "\n", s->seed);
    else if (room->last.n_prompt_tok)
        fprintf(stderr, qvl_text("seed random, %" PRIu64 " for the last question\n"), s->seed);
    else
        fputs(qvl_text("seed random\n"), stderr);
    fprintf(stderr, "max-tokens %" PRIu64 ", loop-guard %s, lookup %s", o->max_tokens ? o->max_tokens : 4096,
            o->loop_guard == QVL_SWITCH_ON ? "on" : "off", o->lookup == QVL_SWITCH_ON ? "on" : "off");
    if (o->format == QVL_ANSWER_JSON)
        fputs(", format json", stderr);
    fprintf(stderr, room->asker.info.is_thinking ? ", think %s\n" : "\n", o->no_think_text ? "off" : "on");
}

/* Of pictures and clips only what was chosen: all else the model's files say. */
static void show_media_settings(const struct qvl_options *o)
{
    const struct {
        const char *name;
        double value;
    } setting[] = {{"min-pixels", (double)o->min_pixels}, {"max-pixels", (double)o->max_pixels},
                   {"total-pixels", (double)o->total_pixels}, {"fps", o->fps},
                   {"num-frames", (double)o->num_frames}, {"min-frames", (double)o->min_frames},
                   {"max-frames", (double)o->max_frames}, {"sample-fps", o->sample_fps}};
    for (size_t i = 0; i < sizeof setting / sizeof setting[0]; i++)
        if (setting[i].value > 0)
            fprintf(stderr, "%s %.15g\n", setting[i].name, setting[i].value);
}

static enum qvl_status show(struct qvl_chat_room *room, const char *rest)
{
    const char *system = qvl_conversation_system(&room->conversation);
    (void)rest;
    fprintf(stderr, qvl_text("model %s, context of %u tokens\n"), room->options.model, room->asker.info.n_ctx);
    show_sampling(room);
    show_media_settings(&room->options);
    if (system)
        show_safely(qvl_text("system message: %s\n"), system);
    show_media(room);
    return QVL_OK;
}

/* ---- numbers ------------------------------------------------------------------------------------- */

/* A line of /proc/self/status in GB; 0 where it is not there. */
static double memory_gb(const char *key)
{
    char line[256];
    double kib = 0;
    FILE *f = fopen("/proc/self/status", "re");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, key, strlen(key)) == 0)
            kib = strtod(line + strlen(key), NULL);
    if (f)
        fclose(f);
    return kib * 1024 / 1e9;
}

static enum qvl_status show_stats(struct qvl_chat_room *room, const char *rest)
{
    const struct qvl_turn_stats *s = &room->last;
    (void)rest;
    if (s->n_prompt_tok == 0)
        return qvl_fail(&room->err, QVL_ERR_ARGUMENT, "nothing was answered yet");
    fprintf(stderr, qvl_text("prompt %zu tokens, %zu of them known from the turns before; answer %zu tokens\n"),
            s->n_prompt_tok, s->n_cached_tok, s->n_output_tok);
    fprintf(stderr, qvl_text("context %zu of %u tokens\n"), s->n_prompt_tok + s->n_output_tok,
            room->asker.info.n_ctx);
    if (s->line.n)
        fprintf(stderr, "%s\n", s->line.data);
    if (s->n_drafted_tok > 0)
        fprintf(stderr, qvl_text("%zu tokens were guessed and computed along, %zu of them came\n"),
                s->n_drafted_tok, s->n_accepted_tok);
    fprintf(stderr, qvl_text("memory %.2f GB (at most %.2f)\n"), memory_gb("VmRSS:"), memory_gb("VmHWM:"));
    return QVL_OK;
}

/* ---- help and end -------------------------------------------------------------------------------- */

static enum qvl_status help(struct qvl_chat_room *room, const char *rest)
{
    (void)room, (void)rest;
    fputs(qvl_text("/image FILE...      pictures for the next question\n"
                   "/video FILE|FOLDER  a clip, or a folder of pictures as one; with fps=1, frames=16,\n"
                   "                    start=1:05, end=80, max_pixels=200000 where wanted\n"
                   "/clear              forget the conversation\n"
                   "/undo               take the last turn back, or the picture that waits\n"
                   "/retry              ask the last question again\n"
                   "/system TEXT        the system message; without a text: none\n"
                   "/set NAME VALUE     temp, top-p, seed, max-tokens, max-pixels, fps, think on|off\n"
                   "/show               settings, pictures and clips\n"
                   "/save FILE          the conversation as JSON, for /load and `qvl run --messages`\n"
                   "/load FILE          go on with a saved conversation\n"
                   "/stats              numbers of the last turn\n"
                   "/bye                leave, like Ctrl-D\n"
                   "\n"
                   "A picture or clip that is dropped here, or named at the beginning of a line,\n"
                   "goes with the question. A line that ends in \\ goes on; so does what begins\n"
                   "with \"\"\", up to the next \"\"\". Pasted lines stay one question. Ctrl-C stops an\n"
                   "answer. Up, down and Ctrl-R look into the history; Tab completes commands and\n"
                   "file names.\n"),
          stderr);
    return QVL_OK;
}

static enum qvl_status leave(struct qvl_chat_room *room, const char *rest)
{
    (void)rest;
    room->is_over = true;
    return QVL_OK;
}

/* ---- the table ----------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    command_function *run;
} commands[] = {
    {"/image", add_images}, {"/video", add_clips}, {"/clear", clear}, {"/undo", undo},
    {"/retry", retry},      {"/system", set_system}, {"/set", set},   {"/show", show},
    {"/save", save},        {"/load", load},       {"/stats", show_stats}, {"/help", help},
    {"/?", help},           {"/bye", leave},       {"/exit", leave},  {"/quit", leave},
};
enum { N_COMMAND = sizeof commands / sizeof commands[0] };

const char *qvl_chat_command_name(size_t i)
{
    return i < N_COMMAND ? commands[i].name : NULL;
}

/* A path has a second slash, or is there. */
static bool is_path(const char *line, size_t n_word)
{
    char path[64];
    if (memchr(line + 1, '/', n_word - 1))
        return true;
    return snprintf(path, sizeof path, "%.*s", (int)n_word, line) < (int)sizeof path && qvl_os_is_there(path);
}

enum qvl_status qvl_chat_command(struct qvl_chat_room *room, const char *line, bool *is_command)
{
    line = qvl_words_skip_blanks(line);
    size_t n = strcspn(line, " \t\n");
    *is_command = line[0] == '/';
    if (!*is_command)
        return QVL_OK;
    for (size_t i = 0; i < N_COMMAND; i++)
        if (strlen(commands[i].name) == n && memcmp(commands[i].name, line, n) == 0)
            return commands[i].run(room, qvl_words_skip_blanks(line + n));
    if (is_path(line, n)) {
        *is_command = false;
        return QVL_OK;
    }
    return qvl_fail(&room->err, QVL_ERR_ARGUMENT, "%.*s: no such command (/help lists them)", n < 40 ? (int)n : 40,
                    line);
}

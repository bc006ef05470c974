/* qvl run: pictures, clips and a prompt in, or a whole conversation; text on stdout while it is made.
 *
 * Everything that can be wrong with the command line, the model's small files, the pictures and the clips is found
 * before the weights are loaded. */
#include <stdlib.h>
#include <string.h>

#include "chat/chat_json.h"
#include "cli/ask.h"
#include "cli/input.h"
#include "cli/signals.h"
#include "cli/verbs.h"

struct run {
    const struct qvl_options *options;
    struct qvl_input input;
    struct qvl_chat_json json; /* of --messages */
    struct qvl_part system;
    struct qvl_message messages[2];
    struct qvl_chat chat;
    struct qvl_asker asker;
    struct qvl_error err;
};

/* ---- the conversation ---------------------------------------------------------------------------- */

static enum qvl_status read_messages(struct run *run)
{
    struct qvl_chat_json_settings settings = qvl_input_chat_settings(run->options);
    const char *path = run->options->messages;
    struct qvl_bytes json = {0};
    enum qvl_status status;
    if (strcmp(path, "-") != 0) {
        status = qvl_input_read_chat(path, &settings, &run->json, &run->err);
    } else if (!(status = qvl_input_read_stdin(&json, &run->err))) {
        settings.name = "stdin";
        status = qvl_chat_json_open(json.data, json.n, &settings, &run->json, &run->err);
    }
    if (!status)
        run->chat = run->json.chat;
    qvl_bytes_free(&json);
    return status;
}

static enum qvl_status read_words(struct run *run)
{
    const struct qvl_options *o = run->options;
    enum qvl_status status = qvl_input_open(o, &run->input, &run->err);
    if (status)
        return status;
    run->system =
        (struct qvl_part){.kind = QVL_PART_TEXT, .utf8 = o->system, .n = o->system ? strlen(o->system) : 0};
    run->messages[0] = (struct qvl_message){.role = QVL_ROLE_SYSTEM, .parts = &run->system, .n_part = 1};
    run->messages[1] =
        (struct qvl_message){.role = QVL_ROLE_USER, .parts = run->input.part, .n_part = run->input.n_part};
    run->chat.messages = o->system ? run->messages : run->messages + 1;
    run->chat.n_message = o->system ? 2 : 1;
    return QVL_OK;
}

/* ---- from the command line to the answer --------------------------------------------------------- */

/* Settings of clips that no clip takes: it was forgotten, or is of the other kind. Said of the first one. */
static void warn_of_unused_setting(struct run *run)
{
    enum of { ANY, FILE_ONLY, PICTURES_ONLY };
    static const struct {
        const char *name;
        enum of of;
    } settings[] = {{"fps", FILE_ONLY},        {"num-frames", FILE_ONLY},     {"min-frames", FILE_ONLY},
                    {"max-frames", FILE_ONLY}, {"start", FILE_ONLY},          {"end", FILE_ONLY},
                    {"total-pixels", ANY},     {"sample-fps", PICTURES_ONLY}, {"frame-times", PICTURES_ONLY}};
    struct qvl_progress *progress = &run->asker.progress;
    size_t n_pictures = 0, n_clip = run->input.n_clip;
    for (size_t i = 0; i < run->input.n_part; i++)
        n_pictures += run->input.part[i].kind == QVL_PART_VIDEO &&
                      run->input.part[i].source.from == QVL_FROM_PICTURES;
    for (size_t i = 0; i < sizeof settings / sizeof *settings && !run->options->messages; i++) {
        const char *name = settings[i].name;
        if (!qvl_options_has(run->options, name))
            continue;
        if (n_clip == 0)
            qvl_progress_say(progress, "qvl: --%s is for clips, and there is none", name);
        else if (settings[i].of == FILE_ONLY && n_pictures == n_clip)
            qvl_progress_say(progress, "qvl: --%s chooses frames of a video file; of pictures all are seen", name);
        else if (settings[i].of == PICTURES_ONLY && n_pictures == 0)
            qvl_progress_say(progress, "qvl: --%s is for pictures that are a clip, and there are none", name);
        else
            continue;
        return;
    }
}

static enum qvl_exit answer(struct run *run)
{
    struct qvl_reply reply = {0};
    enum qvl_status status = run->options->messages ? read_messages(run) : read_words(run);
    if (status)
        return qvl_exit_of(status, QVL_EXIT_MEDIA);
    run->chat.want_video_wrapper = run->options->want_video_wrapper;
    enum qvl_exit code = qvl_asker_open(run->options, false, &run->asker, &run->err);
    if (code != QVL_EXIT_OK)
        return code;
    warn_of_unused_setting(run);
    code = qvl_ask(&run->asker, &run->chat, &reply, &run->err);
    qvl_reply_free(&reply);
    return code;
}

enum qvl_exit qvl_run(const struct qvl_options *options)
{
    struct run run = {.options = options};
    if (options->is_interactive)
        return qvl_chat_in_terminal(options);
    enum qvl_exit code = answer(&run);
    if (code == QVL_EXIT_CANCELLED && qvl_signals_exit_code())
        code = (enum qvl_exit)qvl_signals_exit_code();
    else if (code != QVL_EXIT_OK && run.err.status)
        qvl_say_error(&run.err);
    qvl_asker_close(&run.asker);
    qvl_chat_json_close(&run.json);
    qvl_input_close(&run.input);
    return code;
}

/* ask.h: one question to the model, from a conversation to the answer on stdout and what stderr says about it.
 *
 * `qvl run` asks once; the chat again and again, with one engine and one session:
 *
 *     code = qvl_asker_open(options, true, &asker, &err);
 *     for (;;) {
 *         code = qvl_ask(&asker, &chat, &reply, &err);   // Ctrl-C meanwhile: QVL_EXIT_CANCELLED, and go on
 *         ... reply.text, reply.reasoning: for the next chat's assistant message ...
 *         qvl_reply_free(&reply);
 *     }
 *     qvl_asker_close(&asker);
 *
 * Errors: both functions return what the program would exit with and leave the sentence in *err for the caller to
 * say; *err without status means that it has been said already. */
#ifndef QVL_CLI_ASK_H
#define QVL_CLI_ASK_H

#include "cli/answer_form.h"
#include "cli/exit_code.h"
#include "cli/progress.h"
#include "cli/report.h"

struct qvl_dump;

struct qvl_asker {
    const struct qvl_options *options; /* the caller's, until closed */
    struct qvl_engine *engine;
    struct qvl_engine_info info;  /* of the engine; load_ms is filled by the first question */
    struct qvl_sampling sampling; /* the model's, changed by the options, with the seed in use */
    struct qvl_answer_form form;  /* what the options say the answer must be */
    struct qvl_session *session;  /* or NULL; may be closed and replaced between questions */
    struct qvl_progress progress; /* say things through it, so that no bar is written over */
    struct qvl_dump *dump;        /* of --dump, or NULL */
    double start_ms;              /* clock: when the question began; the first one: when the program did */
};

/* Opens the model of the options without reading weights, and a session if wanted. *out can be closed on failure,
 * too. */
enum qvl_exit qvl_asker_open(const struct qvl_options *options, bool want_session, struct qvl_asker *out,
                             struct qvl_error *err);
/* Reads the weights, unless that is done, and says so; qvl_ask does it, too, when it is its turn. */
enum qvl_status qvl_asker_load(struct qvl_asker *asker, struct qvl_error *err);
/* Reads the pictures and clips of a request, as far as that is done before the model runs, and shows how far it is. */
enum qvl_status qvl_asker_prepare(struct qvl_asker *asker, struct qvl_request *request, struct qvl_error *err);
/* After a change of the options: the sampling anew, with another seed where none is given. */
void qvl_asker_take_options(struct qvl_asker *asker);
void qvl_asker_close(struct qvl_asker *asker);

/* The model's own values, changed by the options. Temperature 0 is plain greedy: then only penalties that were asked for
 * count. Without --seed the seed is 0. */
struct qvl_sampling qvl_choose_sampling(const struct qvl_options *options, struct qvl_sampling of_model);

/* What came of a question. A zeroed struct is empty. */
struct qvl_reply {
    struct qvl_bytes text;      /* the answer, UTF-8; after a cancel or an error: so much of it */
    struct qvl_bytes reasoning; /* Thinking models: what stood before "</think>"; else empty */
    bool is_whole;              /* it came to its end, for this reason: */
    enum qvl_finish finish;
    size_t n_prompt_tok, n_cached_tok, n_output_tok, n_drafted_tok, n_accepted_tok;
    struct qvl_bytes line; /* the closing line of numbers, also where stderr is silent */
};

/* Prepares the request (what is wrong with it is found before weights are read), loads the weights the first time,
 * prints the answer while it is made, and how it ended; with the options' --dry-run the plan, with --json the
 * object. While it runs, SIGINT cancels the request (cli/signals.h). `chat` need only live during the call. *out is
 * the caller's to free, whatever is returned. */
enum qvl_exit qvl_ask(struct qvl_asker *asker, const struct qvl_chat *chat, struct qvl_reply *out,
                      struct qvl_error *err);
void qvl_reply_free(struct qvl_reply *reply);

#endif

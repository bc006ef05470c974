/* answer.h: one request's output: logits in, and out come the token, the text that may be shown, and whether the
 * answer ends. Sampler, constraint, UTF-8 assembly, stop strings and loop guard in one place.
 *
 * The text of a Thinking model begins with its reasoning, because the prompt opened it, and the token "</think>"
 * ends it. Whatever was held back comes out with that token: no text is reasoning and answer at once, and a stop
 * string lies within one of the two. Where a constraint follows the reasoning, the blank line that the model writes
 * between the two is no part of the answer. */
#ifndef QVL_ENGINE_ANSWER_H
#define QVL_ENGINE_ANSWER_H

#include "base/limits.h"
#include "engine/loop_guard.h"
#include "engine/sampler.h"
#include "engine/stop_match.h"
#include "text/matcher.h"
#include "text/tokenizer.h"
#include "text/utf8_stream.h"

struct qvl_answer_settings {
    const struct qvl_tokenizer *tokenizer;
    struct qvl_sampling sampling;
    uint32_t max_tokens; /* >= 1 */
    uint32_t eos[10];
    size_t n_eos;            /* 0 with ignore_eos */
    const char *const *stop; /* request lifetime */
    size_t n_stop;
    bool no_loop_guard;
    uint32_t n_top;
    bool want_log_sum;
    const struct qvl_logit_bias *bias; /* [n_bias] request lifetime */
    size_t n_bias;
    bool is_thinking;            /* the prompt ends inside <think> */
    struct qvl_matcher *matcher; /* of the constraint, at its beginning; or NULL. The caller's */
    bool is_on_call;    /* the constraint is one tool call's, and holds from a token <tool_call> to the end of the
                           call, each time; else from the first token behind the reasoning on */
    bool want_one_call; /* is_on_call: the answer ends with the first one */
};

struct qvl_answer {
    struct qvl_answer_settings set;
    struct qvl_sampler sampler;
    struct qvl_utf8_stream utf8;
    struct qvl_stop_match stop;
    struct qvl_loop_guard loop;
    struct qvl_bytes whole; /* whole characters on their way from utf8 to stop */
    uint32_t *ids;          /* [max_tokens] the output; never moves */
    size_t n;
    bool is_in_reasoning; /* the next token is */
    bool is_in_call;      /* with is_on_call: the constraint holds for the next token */
    bool is_blank_due;    /* the next token may be the blank line behind the reasoning */
    uint32_t blank;       /* that token; QVL_NO_TOKEN: the vocabulary has none */
    uint64_t *allowed;    /* with a constraint: [a bit for each id] what the next token may be */
    float *untouched;     /* with want_log_sum: [a place for each id] the step's logits as they came */
    /* of the last step */
    struct qvl_bytes text; /* may be shown now; at the end all that was held back, too */
    bool is_reasoning;     /* the text is */
    struct qvl_token_logit top[QVL_MAX_TOP_LOGITS];
    size_t n_top;
    float logit, log_sum; /* with want_log_sum: of the token chosen; of all */
    bool is_done;
    enum qvl_finish finish;
    const char *met_stop; /* or NULL */
};

enum qvl_status qvl_answer_init(struct qvl_answer *answer, const struct qvl_answer_settings *settings,
                                const uint32_t *prompt, size_t n_prompt, struct qvl_error *err);
/* One token from logits [tokenizer's n or more], which change. */
enum qvl_status qvl_answer_step(struct qvl_answer *answer, float *logits, struct qvl_error *err);
/* What the constraint leaves no choice about, as the tokens that the tokenizer would make of it: a guess of what
 * comes next. Returns how many (<= n_max). */
size_t qvl_answer_guess(struct qvl_answer *answer, uint32_t *ids, size_t n_max);
void qvl_answer_free(struct qvl_answer *answer);

#endif

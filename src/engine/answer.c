#include "engine/answer.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/utf8.h"

enum { MAX_FORCED_BYTES = 64 }; /* more than the tokens of a guess have */

enum qvl_status qvl_answer_init(struct qvl_answer *answer, const struct qvl_answer_settings *settings,
                                const uint32_t *prompt, size_t n_prompt, struct qvl_error *err)
{
    *answer = (struct qvl_answer){.set = *settings,
                                  .stop = {.stop = settings->stop, .n_stop = settings->n_stop},
                                  .is_in_reasoning = settings->is_thinking};
    answer->ids = calloc(settings->max_tokens, sizeof *answer->ids);
    if (!answer->ids)
        return qvl_fail_memory(err, settings->max_tokens * sizeof *answer->ids, "the answer");
    uint32_t n_id = qvl_tokenizer_n(settings->tokenizer);
    if (settings->matcher && !(answer->allowed = calloc(n_id / 64 + 1, sizeof *answer->allowed))) {
        qvl_answer_free(answer);
        return qvl_fail_memory(err, n_id / 8, "the answer");
    }
    enum qvl_status status = qvl_sampler_init(&answer->sampler, &settings->sampling, n_id, prompt, n_prompt, err);
    if (status)
        qvl_answer_free(answer);
    return status;
}

static void finish(struct qvl_answer *answer, enum qvl_finish why)
{
    answer->is_done = true;
    answer->finish = why;
}

static bool is_eos(const struct qvl_answer *answer, uint32_t id)
{
    for (size_t i = 0; i < answer->set.n_eos; i++)
        if (answer->set.eos[i] == id)
            return true;
    return false;
}

/* Fills answer->allowed for the next token. End tokens come where the text may end; in the reasoning, which the
 * constraint does not know, everything else does. */
static enum qvl_status apply_constraint(struct qvl_answer *answer, struct qvl_error *err)
{
    uint32_t n_id = qvl_tokenizer_n(answer->set.tokenizer);
    enum qvl_status status = QVL_OK;
    if (answer->is_in_reasoning)
        memset(answer->allowed, 0xFF, (n_id / 64 + 1) * sizeof *answer->allowed);
    else
        status = qvl_matcher_mask(answer->set.matcher, answer->allowed, err);
    bool may_end = !answer->is_in_reasoning && qvl_matcher_may_end(answer->set.matcher);
    for (size_t i = 0; i < answer->set.n_eos; i++) {
        uint32_t id = answer->set.eos[i];
        uint64_t *word = &answer->allowed[id / 64], bit = 1ull << id % 64;
        if (id < n_id)
            *word = may_end ? *word | bit : *word & ~bit;
    }
    answer->sampler.allowed = answer->allowed;
    return status;
}

/* The constraint follows what was chosen. */
static enum qvl_status follow_constraint(struct qvl_answer *answer, uint32_t id, struct qvl_error *err)
{
    size_t n = 0;
    const char *bytes = qvl_tokenizer_bytes(answer->set.tokenizer, id, &n);
    if (!answer->set.matcher || answer->is_in_reasoning || is_eos(answer, id))
        return QVL_OK;
    return qvl_matcher_take(answer->set.matcher, bytes, n, err);
}

/* Nothing can follow that the constraint allows. */
static bool is_whole(const struct qvl_answer *answer)
{
    return answer->set.matcher && qvl_matcher_is_over(answer->set.matcher);
}

/* Special tokens have no text. */
static enum qvl_status add_text(struct qvl_answer *answer, uint32_t id, struct qvl_error *err)
{
    if (qvl_tokenizer_is_special(answer->set.tokenizer, id))
        return QVL_OK;
    size_t n = 0;
    const char *bytes = qvl_tokenizer_bytes(answer->set.tokenizer, id, &n);
    struct qvl_bytes *whole = &answer->whole;
    whole->n = 0;
    enum qvl_status status = qvl_utf8_stream_push(&answer->utf8, bytes, n, whole, err);
    if (status)
        return status;
    return qvl_stop_match_push(&answer->stop, whole->data, whole->n, &answer->text, &answer->met_stop, err);
}

/* What is still held back belongs to the answer unless a stop string ended it. */
static enum qvl_status flush(struct qvl_answer *answer, struct qvl_error *err)
{
    struct qvl_bytes *whole = &answer->whole;
    whole->n = 0;
    enum qvl_status status;
    if ((status = qvl_utf8_stream_flush(&answer->utf8, whole, err)) ||
        (status = qvl_stop_match_push(&answer->stop, whole->data, whole->n, &answer->text, &answer->met_stop, err)))
        return status;
    return qvl_stop_match_flush(&answer->stop, &answer->text, err);
}

enum qvl_status qvl_answer_step(struct qvl_answer *answer, float *logits, struct qvl_error *err)
{
    uint32_t id = 0;
    answer->text.n = 0;
    answer->n_top = qvl_top_logits(logits, qvl_tokenizer_n(answer->set.tokenizer), answer->set.n_top, answer->top);
    enum qvl_status status = answer->set.matcher ? apply_constraint(answer, err) : QVL_OK;
    if (status || (status = qvl_sampler_choose(&answer->sampler, logits, &id, err)) ||
        (status = follow_constraint(answer, id, err)) ||
        (!is_eos(answer, id) && (status = add_text(answer, id, err))))
        return status;
    answer->ids[answer->n++] = id;
    answer->is_reasoning = answer->is_in_reasoning;
    bool ends_reasoning =
        answer->is_reasoning && id == qvl_tokenizer_added(answer->set.tokenizer, QVL_TOK_THINK_END);
    if (ends_reasoning)
        answer->is_in_reasoning = false;
    if (is_eos(answer, id) || answer->met_stop || is_whole(answer))
        finish(answer, QVL_FINISH_STOP);
    else if (!answer->set.no_loop_guard && qvl_loop_guard_push(&answer->loop, answer->ids, answer->n))
        finish(answer, QVL_FINISH_LOOP);
    else if (answer->n == answer->set.max_tokens)
        finish(answer, QVL_FINISH_LENGTH);
    return (answer->is_done || ends_reasoning) && !answer->met_stop ? flush(answer, err) : QVL_OK;
}

/* The last token is left out: the model's may go on beyond what is certain. A guess decides nothing, so one that
 * cannot be made (the bytes begin inside a character, no memory) is none. */
size_t qvl_answer_guess(struct qvl_answer *answer, uint32_t *ids, size_t n_max)
{
    char bytes[MAX_FORCED_BYTES];
    struct qvl_ids forced = {0};
    struct qvl_error ignored = {0};
    size_t n = 0, n_guess = 0;
    if (!answer->set.matcher || answer->is_in_reasoning ||
        qvl_matcher_forced(answer->set.matcher, bytes, sizeof bytes, &n, &ignored))
        return 0;
    n -= qvl_utf8_n_incomplete(bytes, n);
    if (!qvl_tokenizer_encode(answer->set.tokenizer, bytes, n, false, &forced, &ignored) && forced.n > 1)
        n_guess = qvl_min_size(forced.n - 1, n_max);
    for (size_t i = 0; i < n_guess; i++)
        ids[i] = forced.id[i];
    qvl_ids_free(&forced);
    return n_guess;
}

void qvl_answer_free(struct qvl_answer *answer)
{
    qvl_sampler_free(&answer->sampler);
    qvl_stop_match_free(&answer->stop);
    qvl_bytes_free(&answer->whole);
    qvl_bytes_free(&answer->text);
    free(answer->ids);
    free(answer->allowed);
    *answer = (struct qvl_answer){0};
}

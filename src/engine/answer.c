#include "engine/answer.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/utf8.h"

enum { MAX_FORCED_BYTES = 64 }; /* more than the tokens of a guess have */

/* The token of the blank line that the chat template puts behind the reasoning. */
static enum qvl_status find_blank(struct qvl_answer *answer, struct qvl_error *err)
{
    struct qvl_ids ids = {0};
    answer->blank = QVL_NO_TOKEN;
    if (!answer->set.matcher || !answer->set.is_thinking)
        return QVL_OK;
    enum qvl_status status = qvl_tokenizer_encode(answer->set.tokenizer, "\n\n", 2, false, &ids, err);
    if (ids.n == 1)
        answer->blank = ids.id[0];
    qvl_ids_free(&ids);
    return status;
}

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
    enum qvl_status status = find_blank(answer, err);
    if (status) {
        qvl_answer_free(answer);
        return status;
    }
    if (settings->matcher && !(answer->allowed = calloc(n_id / 64 + 1, sizeof *answer->allowed))) {
        qvl_answer_free(answer);
        return qvl_fail_memory(err, n_id / 8, "the answer");
    }
    if (settings->want_log_sum && !(answer->untouched = calloc(n_id, sizeof *answer->untouched))) {
        qvl_answer_free(answer);
        return qvl_fail_memory(err, n_id * sizeof *answer->untouched, "the answer");
    }
    status = qvl_sampler_init(&answer->sampler, &settings->sampling, n_id, prompt, n_prompt, err);
    if (status) {
        qvl_answer_free(answer);
        return status;
    }
    answer->sampler.bias = settings->bias;
    answer->sampler.n_bias = settings->n_bias;
    return QVL_OK;
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

/* What the next token may be. End tokens come where the text may end; in the reasoning, which the constraint does
 * not know, everything else does. */
static enum qvl_status apply_constraint(struct qvl_answer *answer, struct qvl_error *err)
{
    uint32_t n_id = qvl_tokenizer_n(answer->set.tokenizer);
    enum qvl_status status = QVL_OK;
    answer->sampler.allowed = NULL;
    if (!answer->set.matcher || (answer->set.is_on_call && !answer->is_in_call))
        return QVL_OK;
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
    if (answer->is_blank_due && answer->blank != QVL_NO_TOKEN)
        answer->allowed[answer->blank / 64] |= 1ull << answer->blank % 64;
    answer->sampler.allowed = answer->allowed;
    return status;
}

/* The constraint follows what was chosen. */
static enum qvl_status follow_constraint(struct qvl_answer *answer, uint32_t id, struct qvl_error *err)
{
    const struct qvl_answer_settings *set = &answer->set;
    size_t n = 0;
    const char *bytes = qvl_token_trie_bytes(set->tokenizer, id, &n);
    if (!set->matcher || answer->is_in_reasoning || is_eos(answer, id))
        return QVL_OK;
    if (set->is_on_call && id == qvl_tokenizer_added(set->tokenizer, QVL_TOK_TOOL_CALL))
        answer->is_in_call = true;
    if (set->is_on_call && !answer->is_in_call)
        return QVL_OK;
    enum qvl_status status = qvl_matcher_take(set->matcher, bytes, n, err);
    if (status || !set->is_on_call || set->want_one_call || !qvl_matcher_is_over(set->matcher))
        return status;
    answer->is_in_call = false;
    return qvl_matcher_restart(set->matcher, err);
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

/* What the caller is told of the logits before the sampler changes them. */
static void keep_logits(struct qvl_answer *answer, const float *logits)
{
    uint32_t n_id = qvl_tokenizer_n(answer->set.tokenizer);
    answer->n_top = qvl_top_logits(logits, n_id, answer->set.n_top, answer->top);
    if (!answer->untouched)
        return;
    memcpy(answer->untouched, logits, n_id * sizeof *logits);
    answer->log_sum = qvl_log_sum(logits, n_id);
}

enum qvl_status qvl_answer_step(struct qvl_answer *answer, float *logits, struct qvl_error *err)
{
    uint32_t id = 0;
    answer->text.n = 0;
    keep_logits(answer, logits);
    enum qvl_status status;
    if ((status = apply_constraint(answer, err)) ||
        (status = qvl_sampler_choose(&answer->sampler, logits, &id, err)))
        return status;
    bool is_blank = answer->is_blank_due && id == answer->blank;
    if (!is_blank && ((status = follow_constraint(answer, id, err)) ||
                      (!is_eos(answer, id) && (status = add_text(answer, id, err)))))
        return status;
    answer->ids[answer->n++] = id;
    if (answer->untouched)
        answer->logit = answer->untouched[id];
    answer->is_reasoning = answer->is_in_reasoning;
    bool ends_reasoning =
        answer->is_reasoning && id == qvl_tokenizer_added(answer->set.tokenizer, QVL_TOK_THINK_END);
    answer->is_blank_due = ends_reasoning && answer->set.matcher && !answer->set.is_on_call;
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

static bool is_tag(char byte)
{
    return (unsigned char)byte == QVL_BYTE_TOOL_CALL || (unsigned char)byte == QVL_BYTE_TOOL_CALL_END;
}

/* The tokens of what is certain up to a tag or the end; at the end the last one is left out, as the model's may go
 * on beyond it. Returns how many. */
static size_t guess_text(const struct qvl_answer *answer, const char *bytes, size_t n, bool is_end, uint32_t *ids,
                         size_t n_max)
{
    struct qvl_ids forced = {0};
    struct qvl_error ignored = {0};
    size_t n_guess = 0;
    n -= is_end ? qvl_utf8_n_incomplete(bytes, n) : 0;
    if (!qvl_tokenizer_encode(answer->set.tokenizer, bytes, n, false, &forced, &ignored) && forced.n > 0)
        n_guess = qvl_min_size(forced.n - is_end, n_max);
    for (size_t i = 0; i < n_guess; i++)
        ids[i] = forced.id[i];
    qvl_ids_free(&forced);
    return n_guess;
}

/* A guess decides nothing, so one that cannot be made (the bytes begin inside a character, no memory) is none. */
size_t qvl_answer_guess(struct qvl_answer *answer, uint32_t *ids, size_t n_max)
{
    const struct qvl_tokenizer *t = answer->set.tokenizer;
    char bytes[MAX_FORCED_BYTES];
    struct qvl_error ignored = {0};
    size_t n = 0, n_guess = 0;
    if (!answer->set.matcher || answer->is_in_reasoning || answer->is_blank_due ||
        (answer->set.is_on_call && !answer->is_in_call) ||
        qvl_matcher_forced(answer->set.matcher, bytes, sizeof bytes, &n, &ignored))
        return 0;
    for (size_t i = 0; i < n && n_guess < n_max;) {
        size_t n_text = 0;
        while (i + n_text < n && !is_tag(bytes[i + n_text]))
            n_text++;
        if (n_text == 0) {
            bool is_begin = (unsigned char)bytes[i++] == QVL_BYTE_TOOL_CALL;
            ids[n_guess++] = qvl_tokenizer_added(t, is_begin ? QVL_TOK_TOOL_CALL : QVL_TOK_TOOL_CALL_END);
            continue;
        }
        n_guess += guess_text(answer, bytes + i, n_text, i + n_text == n, ids + n_guess, n_max - n_guess);
        i += n_text;
    }
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
    free(answer->untouched);
    *answer = (struct qvl_answer){0};
}

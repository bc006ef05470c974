#include "server/logprobs.h"

#include <math.h>

/* As OpenAI writes the logarithm of a probability that is nothing. */
#define LEAST_LOGPROB (-9999.0)

/* All but its closing brace. */
static enum qvl_status add_token(struct qvl_logprobs *l, uint32_t id, float logit, float log_sum,
                                 struct qvl_error *err)
{
    size_t n = 0;
    bool is_special = false;
    const char *bytes = l->token(l->user, id, &n, &is_special);
    double logprob = (double)logit - (double)log_sum;
    enum qvl_status status = qvl_bytes_add_text(&l->pending, "{\"token\":", err);
    if (!status)
        status = qvl_bytes_add_json_string(&l->pending, bytes, n, err);
    if (!status)
        status = qvl_bytes_add_format(&l->pending, err, ",\"logprob\":%.9g,\"bytes\":[",
                                      isfinite(logprob) && logprob > LEAST_LOGPROB ? logprob : LEAST_LOGPROB);
    for (size_t i = 0; i < n && !status; i++)
        status = qvl_bytes_add_format(&l->pending, err, "%s%u", i ? "," : "", (unsigned char)bytes[i]);
    return status ? status : qvl_bytes_add_text(&l->pending, "]", err);
}

/* Tokens that end an answer are none of it. */
static enum qvl_status add_entry(struct qvl_logprobs *l, const struct qvl_event *token, struct qvl_error *err)
{
    size_t n = 0;
    bool is_special = false;
    l->token(l->user, token->text.id, &n, &is_special);
    if (is_special)
        return QVL_OK;
    enum qvl_status status = l->pending.n > 0 ? qvl_bytes_add_text(&l->pending, ",", err) : QVL_OK;
    if (!status)
        status = add_token(l, token->text.id, token->text.logit, token->text.log_sum, err);
    if (!status)
        status = qvl_bytes_add_text(&l->pending, ",\"top_logprobs\":[", err);
    for (size_t i = 0; i < token->text.n_top && !status; i++) {
        const struct qvl_token_logit *top = &token->text.top[i];
        if (i)
            status = qvl_bytes_add_text(&l->pending, ",", err);
        if (!status && !(status = add_token(l, top->id, top->logit, token->text.log_sum, err)))
            status = qvl_bytes_add_text(&l->pending, "}", err);
    }
    return status ? status : qvl_bytes_add_text(&l->pending, "]}", err);
}

enum qvl_status qvl_logprobs_take(struct qvl_logprobs *l, const struct qvl_ask_text *text, struct qvl_error *err)
{
    enum qvl_status status = text->token ? add_entry(l, text->token, err) : QVL_OK;
    if (status || text->n == 0 || l->pending.n == 0)
        return status;
    if (l->entries.n > 0)
        status = qvl_bytes_add_text(&l->entries, ",", err);
    if (!status)
        status = qvl_bytes_add(&l->entries, l->pending.data, l->pending.n, err);
    l->pending.n = 0;
    return status;
}

void qvl_logprobs_drop(struct qvl_logprobs *l)
{
    l->pending.n = 0;
}

void qvl_logprobs_free(struct qvl_logprobs *l)
{
    qvl_bytes_free(&l->entries);
    qvl_bytes_free(&l->pending);
}

/* check_ask.h: what ask.h and qvl.h promise of a question, whatever body it was read from; for the fuzz targets of
 * bodies. */
#ifndef CHECK_ASK_H
#define CHECK_ASK_H

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/utf8.h"
#include "server/ask.h"

static void require(bool holds)
{
    if (!holds)
        abort();
}

static bool is_between(double value, double min, double max)
{
    return value >= min && value <= max;
}

static void check_ask(const struct qvl_ask *ask)
{
    const struct qvl_request_options *o = &ask->options;
    const struct qvl_sampling *s = &o->sampling;
    const struct qvl_constraint *c = &o->constraint;
    require(ask->n >= 1 && ask->n <= QVL_MAX_ANSWERS && ask->chat.chat.n_message > 0);
    require(is_between(s->temperature, 0, 2) && is_between(s->top_p, 0, 1) && is_between(s->min_p, 0, 1));
    require(is_between(s->repetition_penalty, 0.0099, 100) && is_between(s->presence_penalty, -2, 2));
    require(is_between(s->frequency_penalty, -2, 2) && o->max_tokens <= QVL_MAX_TOKENS);
    require(o->n_top_logits <= QVL_MAX_TOP_LOGITS && o->n_logit_bias <= QVL_MAX_LOGIT_BIAS);
    require(o->n_stop <= QVL_MAX_STOP_STRINGS);
    for (size_t i = 0; i < o->n_stop; i++)
        require(is_between((double)strlen(o->stop[i]), 1, QVL_MAX_STOP_BYTES));
    for (size_t i = 0; i < o->n_logit_bias; i++)
        require(is_between(o->logit_bias[i].bias, -100, 100));
    require(c->kind == QVL_CONSTRAINT_NONE || c->kind == QVL_CONSTRAINT_JSON || c->kind == QVL_CONSTRAINT_CHOICE ||
            qvl_utf8_is_valid(c->text, c->n));
    for (size_t i = 0; i < c->n_choice; i++)
        require(c->choice[i][0] != 0);
    require((c->kind == QVL_CONSTRAINT_CHOICE) <= (c->n_choice > 0));
    require((ask->tools != QVL_TOOLS_NONE) == (ask->chat.chat.tools_json != NULL));
    bool may_answer = c->kind == QVL_CONSTRAINT_TOOLS_AUTO || c->n_instead > 0;
    require((ask->tools == QVL_TOOLS_AUTO) == may_answer);
    require((ask->tools == QVL_TOOLS_REQUIRED) == (c->kind == QVL_CONSTRAINT_TOOL_CALLS && !may_answer));
    require(c->n_instead == 0 ||
            (c->kind == QVL_CONSTRAINT_TOOL_CALLS && qvl_utf8_is_valid(c->instead, c->n_instead)));
}

#endif

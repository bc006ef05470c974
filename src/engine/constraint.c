#include "engine/constraint.h"

#include "base/utf8.h"
#include "engine/engine.h"

static enum qvl_status compile(const struct qvl_constraint *c, struct qvl_grammar **out, struct qvl_error *err)
{
    static const char any_object[] = "{\"type\": \"object\"}";
    bool has_text = c->kind == QVL_CONSTRAINT_JSON_SCHEMA || c->kind == QVL_CONSTRAINT_REGEX;
    if (has_text && (!c->text || !qvl_utf8_is_valid(c->text, c->n)))
        return qvl_fail(err, QVL_ERR_ARGUMENT, "the text of a constraint must be UTF-8");
    switch (c->kind) {
    case QVL_CONSTRAINT_JSON: return qvl_grammar_from_schema(any_object, sizeof any_object - 1, out, err);
    case QVL_CONSTRAINT_JSON_SCHEMA: return qvl_grammar_from_schema(c->text, c->n, out, err);
    case QVL_CONSTRAINT_REGEX: return qvl_grammar_from_regex(c->text, c->n, out, err);
    case QVL_CONSTRAINT_CHOICE: return qvl_grammar_from_choices(c->choice, c->n_choice, out, err);
    case QVL_CONSTRAINT_NONE: break;
    }
    return qvl_fail(err, QVL_ERR_ARGUMENT, "%d is no kind of constraint", (int)c->kind);
}

static enum qvl_status get_trie(struct qvl_engine *engine, struct qvl_error *err)
{
    pthread_mutex_lock(&engine->trie_lock);
    enum qvl_status status =
        engine->trie.plain ? QVL_OK : qvl_token_trie_build(engine->tokenizer, &engine->trie, err);
    pthread_mutex_unlock(&engine->trie_lock);
    return status;
}

enum qvl_status qvl_constrained_open(struct qvl_engine *engine, const struct qvl_constraint *constraint,
                                     struct qvl_constrained *out, struct qvl_error *err)
{
    enum qvl_status status;
    *out = (struct qvl_constrained){0};
    if (constraint->kind == QVL_CONSTRAINT_NONE)
        return QVL_OK;
    if ((status = compile(constraint, &out->grammar, err)) || (status = get_trie(engine, err)) ||
        (status = qvl_matcher_open(out->grammar, &engine->trie, &out->matcher, err)))
        return status;
    if (qvl_matcher_is_over(out->matcher))
        return qvl_fail(err, QVL_ERR_ARGUMENT, "the constraint allows only an empty answer");
    return QVL_OK;
}

void qvl_constrained_close(struct qvl_constrained *c)
{
    qvl_matcher_close(c->matcher);
    qvl_grammar_free(c->grammar);
    *c = (struct qvl_constrained){0};
}

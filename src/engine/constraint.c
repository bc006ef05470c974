#include "engine/constraint.h"

#include <nettle/sha2.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/language.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "text/tool_grammar.h"

struct qvl_constraints {
    const struct qvl_tokenizer *tokenizer;
    struct qvl_token_trie trie; /* made under its lock; read by all from then on */
    pthread_mutex_t trie_lock;
    struct qvl_grammar_cache *grammars;
};

enum qvl_status qvl_constraints_open(const struct qvl_tokenizer *tokenizer, struct qvl_constraints **out,
                                     struct qvl_error *err)
{
    struct qvl_constraints *c = calloc(1, sizeof *c);
    if (!c)
        return qvl_fail_memory(err, sizeof *c, "the cache of constraints");
    c->tokenizer = tokenizer;
    pthread_mutex_init(&c->trie_lock, NULL);
    enum qvl_status status = qvl_grammar_cache_open(QVL_MAX_CACHED_GRAMMAR_BYTES, &c->grammars, err);
    if (status)
        qvl_constraints_close(c);
    else
        *out = c;
    return status;
}

void qvl_constraints_close(struct qvl_constraints *c)
{
    if (!c)
        return;
    qvl_grammar_cache_close(c->grammars);
    qvl_token_trie_free(&c->trie);
    pthread_mutex_destroy(&c->trie_lock);
    free(c);
}

void qvl_constraints_get_stats(struct qvl_constraints *c, struct qvl_grammar_cache_stats *out)
{
    qvl_grammar_cache_get_stats(c->grammars, out);
}

static enum qvl_status compile_tools(const struct qvl_constraint *c, struct qvl_grammar **out,
                                     struct qvl_error *err)
{
    bool is_auto = c->kind == QVL_CONSTRAINT_TOOLS_AUTO;
    struct qvl_tool_settings settings = {.name = c->choice,
                                         .n_name = c->n_choice,
                                         .want_one = is_auto || c->want_one_call,
                                         .is_optional = is_auto || c->n_instead > 0,
                                         .instead = c->n_instead > 0 ? c->instead : NULL,
                                         .n_instead = c->n_instead};
    return qvl_grammar_from_tools(c->text, c->n, &settings, out, err);
}

static enum qvl_status compile(const void *constraint, struct qvl_grammar **out, struct qvl_error *err)
{
    static const char any_object[] = "{\"type\": \"object\"}";
    const struct qvl_constraint *c = constraint;
    switch (c->kind) {
    case QVL_CONSTRAINT_JSON: return qvl_grammar_from_schema(any_object, sizeof any_object - 1, out, err);
    case QVL_CONSTRAINT_JSON_SCHEMA: return qvl_grammar_from_schema(c->text, c->n, out, err);
    case QVL_CONSTRAINT_REGEX: return qvl_grammar_from_regex(c->text, c->n, out, err);
    case QVL_CONSTRAINT_CHOICE: return qvl_grammar_from_choices(c->choice, c->n_choice, out, err);
    case QVL_CONSTRAINT_TOOL_CALLS:
    case QVL_CONSTRAINT_TOOLS_AUTO: return compile_tools(c, out, err);
    case QVL_CONSTRAINT_NONE: break;
    }
    return qvl_fail(err, QVL_ERR_ARGUMENT, "%d is no kind of constraint", (int)c->kind);
}

static void add_number(struct sha256_ctx *sha, uint64_t number)
{
    uint8_t bytes[sizeof number];
    memcpy(bytes, &number, sizeof number);
    sha256_update(sha, sizeof bytes, bytes);
}

static void add_text(struct sha256_ctx *sha, const char *text, size_t n)
{
    add_number(sha, n);
    sha256_update(sha, n, (const uint8_t *)text);
}

/* Over all that compile looks at, and the language of what it may say. */
static struct qvl_grammar_key key_of(const struct qvl_constraint *c, bool has_text, bool has_choices)
{
    struct qvl_grammar_key key;
    struct sha256_ctx sha;
    sha256_init(&sha);
    add_number(&sha, (uint64_t)c->kind);
    add_number(&sha, (uint64_t)qvl_language());
    add_number(&sha, c->want_one_call);
    if (has_text)
        add_text(&sha, c->text, c->n);
    if (c->kind == QVL_CONSTRAINT_TOOL_CALLS || c->kind == QVL_CONSTRAINT_TOOLS_AUTO)
        add_text(&sha, c->instead, c->n_instead);
    for (size_t i = 0; has_choices && i < c->n_choice; i++)
        add_text(&sha, c->choice[i], strlen(c->choice[i]));
    sha256_digest(&sha, sizeof key.sha256, key.sha256);
    return key;
}

static enum qvl_status get_trie(struct qvl_constraints *c, struct qvl_error *err)
{
    pthread_mutex_lock(&c->trie_lock);
    enum qvl_status status = c->trie.plain ? QVL_OK : qvl_token_trie_build(c->tokenizer, &c->trie, err);
    pthread_mutex_unlock(&c->trie_lock);
    return status;
}

enum qvl_status qvl_constrained_open(struct qvl_constraints *from, const struct qvl_constraint *c,
                                     struct qvl_constrained *out, struct qvl_error *err)
{
    bool is_auto = c->kind == QVL_CONSTRAINT_TOOLS_AUTO, is_tools = is_auto || c->kind == QVL_CONSTRAINT_TOOL_CALLS;
    bool has_text = is_tools || c->kind == QVL_CONSTRAINT_JSON_SCHEMA || c->kind == QVL_CONSTRAINT_REGEX;
    bool has_choices = is_tools || c->kind == QVL_CONSTRAINT_CHOICE;
    enum qvl_status status;
    *out = (struct qvl_constrained){.from = from, .is_on_call = is_auto, .want_one_call = c->want_one_call};
    if (c->kind == QVL_CONSTRAINT_NONE)
        return QVL_OK;
    if (has_text && (!c->text || !qvl_utf8_is_valid(c->text, c->n)))
        return qvl_fail(err, QVL_ERR_ARGUMENT, "the text of a constraint must be UTF-8");
    struct qvl_grammar_key key = key_of(c, has_text, has_choices);
    if ((status = qvl_grammar_cache_get(from->grammars, &key, compile, c, &out->grammar, err)) ||
        (status = get_trie(from, err)) ||
        (status = qvl_matcher_open(qvl_held_grammar(out->grammar), &from->trie, &out->matcher, err)))
        return status;
    if (qvl_matcher_is_over(out->matcher))
        return qvl_fail(err, QVL_ERR_ARGUMENT, "the constraint allows only an empty answer");
    return QVL_OK;
}

void qvl_constrained_close(struct qvl_constrained *c)
{
    qvl_matcher_close(c->matcher);
    if (c->grammar)
        qvl_grammar_cache_release(c->from->grammars, c->grammar);
    *c = (struct qvl_constrained){0};
}

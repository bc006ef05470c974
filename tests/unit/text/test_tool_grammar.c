/* Tool calls as a grammar. What a call looks like is the chat template's (its tags written here as the bytes by
 * which grammars know the two tokens); whether arguments satisfy the parameters says an independent validator; how
 * definitions are written, and what "strict" means, is OpenAI's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "text/matcher.h"
#include "text/tool_grammar.h"
#include "validator.h"
#include "vectors.h"

#define OPEN "\xF8\n"
#define CLOSE "\n\xF9"
#define CALL(name, arguments) OPEN "{\"name\": \"" name "\", \"arguments\": " arguments "}" CLOSE

enum { N_WALK = 40, N_TOKEN = 200 };

static struct qvl_error err;

struct vocabulary {
    struct qvl_tokenizer *tokenizer;
    struct qvl_token_trie trie;
};

static struct vocabulary small, demo;

static int load_all(void **state)
{
    (void)state;
    size_t n = 0;
    char *json = read_whole(DATA_DIR "small_tokenizer.json", &n);
    int rc = qvl_tokenizer_parse(json, n, "small", 1000, &small.tokenizer, &err) ||
             qvl_token_trie_build(small.tokenizer, &small.trie, &err) ||
             qvl_tokenizer_load("demo/model", 1000000, &demo.tokenizer, &err) ||
             qvl_token_trie_build(demo.tokenizer, &demo.trie, &err);
    free(json);
    return rc ? -1 : 0;
}

static int free_all(void **state)
{
    (void)state;
    qvl_token_trie_free(&small.trie);
    qvl_tokenizer_free(small.tokenizer);
    qvl_token_trie_free(&demo.trie);
    qvl_tokenizer_free(demo.tokenizer);
    return 0;
}

static const char tools[] = "[{\"type\": \"function\", \"function\": {\"name\": \"look\", \"parameters\": "
                            "{\"type\": \"object\", \"properties\": "
                            "{\"x\": {\"type\": \"integer\"}, \"y\": {\"$ref\": \"#/$defs/side\"}}, \"required\": "
                            "[\"x\"], \"$defs\": {\"side\": "
                            "{\"enum\": [\"left\", \"right\"]}}}}},\n"
                            " {\"type\": \"function\", \"name\": \"say \\\"it\\\"\", \"parameters\": "
                            "{\"properties\": {\"text\": {\"type\": "
                            "\"string\"}}, \"required\": [\"text\"]}},\n"
                            " {\"name\": \"free\"},\n"
                            " {\"name\": \"none\", \"parameters\": {\"type\": \"object\", \"properties\": {}}}]";

static struct qvl_grammar *compile(const char *json, const struct qvl_tool_settings *settings)
{
    struct qvl_grammar *g = NULL;
    if (qvl_grammar_from_tools(json, strlen(json), settings, &g, &err))
        fail_msg("%s: %s", json, err.text);
    return g;
}

static bool accepts(const struct qvl_grammar *g, const char *text)
{
    struct qvl_matcher *m = NULL;
    assert_int_equal(qvl_matcher_open(g, &small.trie, &m, &err), QVL_OK);
    bool is = !qvl_matcher_take(m, text, strlen(text), &err) && qvl_matcher_may_end(m);
    qvl_matcher_close(m);
    return is;
}

static void check(const char *json, const struct qvl_tool_settings *settings, const char *const *yes,
                  const char *const *no)
{
    struct qvl_grammar *g = compile(json, settings);
    for (; *yes; yes++)
        if (!accepts(g, *yes))
            fail_msg("refused: %s", *yes);
    for (; *no; no++)
        if (accepts(g, *no))
            fail_msg("accepted: %s", *no);
    qvl_grammar_free(g);
}

static void test_texts(void **state)
{
    (void)state;
    static const char *const yes[] = {CALL("look", "{\"x\": 1}"),
                                      CALL("look", "{\"x\":-12,\"y\":\"left\"}"),
                                      CALL("say \\\"it\\\"", "{\"text\": \"</tool_call> <tool_call>\\n\"}"),
                                      CALL("free", "{}"),
                                      CALL("free", "{\"a\": [{\"b\": null}]}"),
                                      CALL("none", "{}"),
                                      CALL("none", "{}") "\n" CALL("look", "{\"x\": 0}") "\n" CALL("none", "{}"),
                                      NULL};
    static const char *const no[] = {"",
                                     "{}",
                                     CALL("look", "{}"),
                                     CALL("look", "{\"x\": \"1\"}"),
                                     CALL("look", "{\"x\": 1, \"y\": \"up\"}"),
                                     CALL("look", "{\"x\": 1, \"z\": 1}"),
                                     CALL("say \\\"it\\\"", "{\"text\": \"\xF9\"}"),
                                     CALL("say", "{\"text\": \"a\"}"),
                                     CALL("free", "[]"),
                                     CALL("free", "null"),
                                     CALL("none", "{\"a\": 1}"),
                                     CALL("none", "{}") CALL("none", "{}"),
                                     CALL("none", "{}") "\n",
                                     OPEN "{\"name\": \"none\"}" CLOSE,
                                     OPEN "{\"arguments\": {}, \"name\": \"none\"}" CLOSE,
                                     "<tool_call>\n{\"name\": \"none\", \"arguments\": {}}\n</tool_call>",
                                     OPEN "{\"name\": \"none\", \"arguments\": {}}\n",
                                     NULL};
    check(tools, &(struct qvl_tool_settings){.n_name = 0}, yes, no);
}

static void test_one_call_and_names(void **state)
{
    (void)state;
    static const char *const name[] = {"none", "look"};
    static const char *const one[] = {CALL("none", "{}"), CALL("look", "{\"x\": 1}"), NULL};
    static const char *const other[] = {CALL("free", "{}"), CALL("none", "{}") "\n" CALL("none", "{}"), NULL};
    check(tools, &(struct qvl_tool_settings){.name = name, .n_name = 2, .want_one = true}, one, other);
    struct qvl_grammar *g =
        compile(tools, &(struct qvl_tool_settings){.name = name, .n_name = 1, .want_one = true});
    assert_false(accepts(g, one[1]));
    qvl_grammar_free(g);
}

/* Arguments are an object also where the parameters would allow more, at any depth where they refer to themselves.
 */
static void test_only_objects(void **state)
{
    (void)state;
    static const char *const parameters[] = {"{}", "true", "{\"type\": [\"object\", \"string\"]}",
                                             "{\"anyOf\": [{\"type\": \"object\"}, {\"type\": \"array\"}]}"};
    static const char *const yes[] = {CALL("f", "{}"), CALL("f", "{\"a\": \"x\", \"b\": [1, null]}"), NULL};
    static const char *const no[] = {CALL("f", "\"x\""), CALL("f", "[]"), CALL("f", "null"), NULL};
    char json[256];
    for (size_t i = 0; i < sizeof parameters / sizeof *parameters; i++) {
        snprintf(json, sizeof json, "[{\"name\": \"f\", \"parameters\": %s}]", parameters[i]);
        check(json, &(struct qvl_tool_settings){.n_name = 0}, yes, no);
    }
    static const char *const deep[] = {CALL("f", "{\"a\": \"x\"}"), CALL("f", "{\"a\": {\"a\": \"x\"}}"), NULL};
    snprintf(json, sizeof json,
             "[{\"name\": \"f\", \"parameters\": {\"type\": [\"object\", \"string\"], \"properties\": {\"a\": "
             "{\"$ref\": "
             "\"#\"}}}}]");
    check(json, &(struct qvl_tool_settings){.n_name = 0}, deep, no);
}

/* Keywords that cannot be enforced: say nothing, unless the tool is strict. */
static void test_strict(void **state)
{
    (void)state;
    static const struct {
        const char *parameters, *yes, *no; /* arguments, where it is not strict */
    } loose[] = {
        {"{\"properties\": {\"a\": {\"type\": \"string\", \"format\": \"int32\"}}}", "{\"a\": \"x\"}",
         "{\"a\": 1}"},
        {"{\"properties\": {\"a\": {\"type\": \"string\", \"pattern\": \"(?=x)\"}}}", "{\"a\": \"y\"}",
         "{\"a\": 1}"},
        {"{\"properties\": {\"a\": {\"type\": \"string\", \"maxLength\": 100000}}}", "{\"a\": \"y\"}",
         "{\"a\": 1}"},
        {"{\"properties\": {\"a\": {\"type\": \"array\", \"uniqueItems\": true, \"items\": {\"const\": 1}}}}",
         "{\"a\": [1, 1]}", "{\"a\": [2]}"},
        {"{\"properties\": {\"a\": {\"const\": 1}}, \"minProperties\": 1}", "{}", "{\"a\": 2}"},
        {"{\"properties\": {\"a\": {\"type\": \"integer\", \"not\": {\"const\": 1}}}}", "{\"a\": 1}",
         "{\"a\": \"\"}"},
        {"{\"properties\": {\"a\": {\"const\": 1}}, \"patternProperties\": {\"b\": {}}}", "{\"a\": 1}",
         "{\"a\": 2}"},
        {"{\"properties\": {\"a\": {\"type\": \"integer\", \"multipleOf\": 5000}}}", "{\"a\": 1}", "{\"a\": \"\"}"},
        {"{\"properties\": {\"a\": {\"oneOf\": [{\"minimum\": 1}, {\"minimum\": 2}], \"type\": \"integer\"}}}",
         "{\"a\": 3}", "{\"a\": 0}"},
    };
    char json[512], text[128];
    for (size_t i = 0; i < sizeof loose / sizeof *loose; i++) {
        snprintf(json, sizeof json, "[{\"function\": {\"name\": \"f\", \"parameters\": %s, \"strict\": false}}]",
                 loose[i].parameters);
        struct qvl_grammar *g = compile(json, &(struct qvl_tool_settings){.n_name = 0});
        snprintf(text, sizeof text, OPEN "{\"name\": \"f\", \"arguments\": %s}" CLOSE, loose[i].yes);
        if (!accepts(g, text))
            fail_msg("%s: refused %s", json, text);
        snprintf(text, sizeof text, OPEN "{\"name\": \"f\", \"arguments\": %s}" CLOSE, loose[i].no);
        if (accepts(g, text))
            fail_msg("%s: accepted %s", json, text);
        qvl_grammar_free(g);
        for (int is_optional = 0; is_optional < 2; is_optional++) {
            struct qvl_tool_settings settings = {.is_optional = is_optional};
            snprintf(json, sizeof json, "[{\"function\": {\"name\": \"f\", \"parameters\": %s, \"strict\": true}}]",
                     loose[i].parameters);
            g = NULL;
            assert_int_not_equal(qvl_grammar_from_tools(json, strlen(json), &settings, &g, &err), QVL_OK);
            if (!strstr(err.text, "tool f: JSON schema, #/") || g)
                fail_msg("%s: %s", json, err.text);
        }
    }
}

/* Where the model need not call, parameters that make no sense are any object; the tool beside it keeps its own. */
static void test_optional(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{\"type\": \"any\"}",
        "3",
        "{\"properties\": []}",
        "{\"$ref\": \"https://example.org/x\"}",
        "false",
        "{\"type\": \"string\"}",
        "{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"string\"}, \"b\": 1}}"};
    static const char *const yes[] = {CALL("g", "{\"x\": \"s\"}"), NULL};
    static const char *const no[] = {CALL("g", "{\"x\": 1}"), CALL("f", "[]"), NULL};
    char json[512];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct qvl_grammar *g = NULL;
        snprintf(
            json, sizeof json,
            "[{\"name\": \"f\", \"parameters\": %s}, {\"name\": \"g\", \"parameters\": {\"properties\": {\"x\": "
            "{\"type\": \"string\"}}}}]",
            bad[i]);
        check(json, &(struct qvl_tool_settings){.is_optional = true}, yes, no);
        bool is_any = i != 5; /* nothing satisfies that one: it is never called */
        g = compile(json, &(struct qvl_tool_settings){.is_optional = true});
        if (is_any)
            assert_true(accepts(g, CALL("f", "{\"z\": [\"\"]}")));
        qvl_grammar_free(g);
        g = NULL;
        if (is_any)
            assert_int_equal(
                qvl_grammar_from_tools(json, strlen(json), &(struct qvl_tool_settings){.n_name = 0}, &g, &err),
                QVL_ERR_ARGUMENT);
        qvl_grammar_free(g);
    }
}

/* Thousands of places in each of many tools: together too complex, so that all of them are any object. */
static void test_too_complex(void **state)
{
    (void)state;
    struct qvl_bytes json = {0};
    struct qvl_grammar *g = NULL;
    qvl_bytes_add_text(&json, "[", &err);
    for (int i = 0; i < 40; i++)
        qvl_bytes_add_format(
            &json, &err,
            "%s{\"name\": \"f%d\", \"parameters\": {\"properties\": {\"a\": {\"type\": \"string\", "
            "\"maxLength\": %d}}}}",
            i ? ", " : "", i, 9000 + i);
    qvl_bytes_add_text(&json, "]", &err);
    assert_int_equal(qvl_grammar_from_tools(json.data, json.n, &(struct qvl_tool_settings){.n_name = 0}, &g, &err),
                     QVL_ERR_LIMIT);
    g = compile(json.data, &(struct qvl_tool_settings){.is_optional = true});
    assert_true(accepts(g, CALL("f39", "{\"b\": 1}")));
    assert_false(accepts(g, CALL("f40", "{}")));
    qvl_grammar_free(g);
    qvl_bytes_free(&json);
}

/* An answer of a schema in place of calls, never beside them. */
static void test_instead(void **state)
{
    (void)state;
    static const char schema[] = "{\"properties\": {\"a\": {\"type\": \"integer\"}}, \"required\": [\"a\"]}";
    const struct qvl_tool_settings settings = {.instead = schema, .n_instead = sizeof schema - 1};
    static const char *const yes[] = {"{\"a\": 1}", "{\"a\":1}", CALL("f", "{}"),
                                      CALL("f", "{}") "\n" CALL("f", "{}"), NULL};
    static const char *const no[] = {"",
                                     "{}",
                                     "{\"a\": 1}" CALL("f", "{}"),
                                     CALL("f", "{}") "\n{\"a\": 1}",
                                     CALL("f", "{}") "{\"a\": 1}",
                                     "{\"a\": 1}\n" CALL("f", "{}"),
                                     NULL};
    check("[{\"name\": \"f\", \"parameters\": {\"properties\": {}}}]", &settings, yes, no);
    const struct qvl_tool_settings bad = {.instead = "{\"not\": {}}", .n_instead = 11};
    struct qvl_grammar *g = NULL;
    assert_int_equal(qvl_grammar_from_tools("[{\"name\": \"f\"}]", 15, &bad, &g, &err), QVL_ERR_ARGUMENT);
    assert_non_null(strstr(err.text, "JSON schema, #/not"));
}

/* As many tools as OpenAI takes, of a dozen parameters each: every one is enforced. */
static void test_many_tools(void **state)
{
    (void)state;
    static const char *const types[] = {"{\"type\": \"string\"}",
                                        "{\"type\": \"number\"}",
                                        "{\"type\": \"array\", \"items\": {\"type\": \"integer\"}}",
                                        "{\"enum\": [\"alpha\", \"beta\"]}",
                                        "{\"type\": \"object\", \"properties\": {\"x\": {\"type\": \"number\"}}}",
                                        "{\"type\": [\"integer\", \"null\"], \"minimum\": 0}"};
    struct qvl_bytes json = {0};
    qvl_bytes_add_text(&json, "[", &err);
    for (int i = 0; i < 128; i++) {
        qvl_bytes_add_format(&json, &err, "%s{\"name\": \"tool_%d\", \"parameters\": {\"properties\": {",
                             i ? ", " : "", i);
        for (int k = 0; k < 12; k++)
            qvl_bytes_add_format(&json, &err, "%s\"p%d\": %s", k ? ", " : "", k, types[(i + k) % 6]);
        qvl_bytes_add_text(&json, "}, \"required\": [\"p0\"]}}", &err);
    }
    qvl_bytes_add_text(&json, "]", &err);
    static const char *const yes[] = {CALL("tool_127", "{\"p0\": 1.5, \"p2\": \"beta\"}"),
                                      CALL("tool_0", "{\"p0\": \"\", \"p1\": 1e5, \"p2\": [1, -2], \"p5\": null}"),
                                      NULL};
    static const char *const no[] = {CALL("tool_127", "{\"p0\": \"1.5\"}"), CALL("tool_0", "{}"),
                                     CALL("tool_0", "{\"p0\": \"\", \"p2\": [1.5]}"), CALL("tool_128", "{}"), NULL};
    check(json.data, &(struct qvl_tool_settings){.n_name = 0}, yes, no);
    qvl_bytes_free(&json);
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const unknown[] = {"fly"};
    static const struct {
        const char *json, *says;
        size_t n_name;
    } bad[] = {
        {"", "tools: not valid JSON", 0},
        {"{}", "tools are not a JSON array", 0},
        {"[]", "none of the tools may be called", 0},
        {"[1]", "tools: entry 1 has no name", 0},
        {"[{\"name\": \"a\"}, {\"function\": {}}]", "tools: entry 2 has no name", 0},
        {"[{\"name\": 7}]", "tools: entry 1 has no name", 0},
        {"[{\"name\": \"a\"}]", "no tool has the name fly", 1},
        {"[{\"name\": \"a\", \"parameters\": {\"type\": \"array\"}}]", "no arguments satisfy", 0},
        {"[{\"name\": \"a\", \"parameters\": false}]", "tool a: JSON schema, #: no value satisfies it", 0},
        {"[{\"name\": \"a\", \"parameters\": {\"type\": \"any\"}}]", "tool a: JSON schema, #/type: this is no type",
         0},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct qvl_tool_settings settings = {.name = unknown, .n_name = bad[i].n_name};
        struct qvl_grammar *g = NULL;
        assert_int_equal(qvl_grammar_from_tools(bad[i].json, strlen(bad[i].json), &settings, &g, &err),
                         QVL_ERR_ARGUMENT);
        if (!strstr(err.text, bad[i].says) || g)
            fail_msg("%s: %s", bad[i].json, err.text);
    }
}

/* ---- walks ---------------------------------------------------------------------------------------- */

static uint64_t random_state;

static uint32_t draw(uint32_t n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 33) % n);
}

static uint32_t draw_token(const struct vocabulary *v, const uint64_t *mask, bool want_end)
{
    uint32_t n_id = v->trie.n_id, start = draw(n_id), chosen = QVL_NO_TOKEN;
    for (uint32_t i = 0; i < n_id; i++) {
        uint32_t id = (start + i) % n_id;
        size_t n = 0;
        const char *bytes = qvl_token_trie_bytes(v->tokenizer, id, &n);
        if (!(mask[id / 64] >> id % 64 & 1))
            continue;
        if (!want_end || (n == 1 && strchr("\"}]", bytes[0])))
            return id;
        chosen = chosen == QVL_NO_TOKEN ? id : chosen;
    }
    return chosen;
}

/* Ends where it may and nothing else can follow, or, with several calls, sometimes. */
static bool walk(const struct vocabulary *v, const struct qvl_grammar *g, struct qvl_bytes *out)
{
    struct qvl_matcher *m = NULL;
    uint64_t *mask = calloc(v->trie.n_id / 64 + 1, sizeof *mask);
    bool is_whole = false;
    out->n = 0;
    assert_int_equal(qvl_matcher_open(g, &v->trie, &m, &err), QVL_OK);
    for (int i = 0; i < N_TOKEN && !is_whole; i++) {
        size_t n = 0;
        assert_int_equal(qvl_matcher_mask(m, mask, &err), QVL_OK);
        uint32_t id = draw_token(v, mask, i > 60);
        is_whole = qvl_matcher_may_end(m) && (id == QVL_NO_TOKEN || draw(2) == 0 || i > 60);
        if (is_whole)
            break;
        if (id == QVL_NO_TOKEN)
            fail_msg("a dead end behind %.*s", (int)out->n, out->data);
        const char *bytes = qvl_token_trie_bytes(v->tokenizer, id, &n);
        assert_int_equal(qvl_bytes_add(out, bytes, n, &err), QVL_OK);
        assert_int_equal(qvl_matcher_take(m, bytes, n, &err), QVL_OK);
    }
    qvl_matcher_close(m);
    free(mask);
    return is_whole;
}

static const json_t *parameters_of(const json_t *definitions, const char *name)
{
    const json_t *tool;
    size_t i;
    json_array_foreach(definitions, i, tool)
    {
        const json_t *function = json_object_get(tool, "function");
        const json_t *it = function ? function : tool;
        if (strcmp(json_string_value(json_object_get(it, "name")), name) == 0)
            return json_object_get(it, "parameters");
    }
    fail_msg("no tool %s", name);
    return NULL;
}

/* The calls in a text, each checked; returns how many. */
static size_t check_calls(const struct qvl_bytes *text, const json_t *definitions)
{
    size_t n_call = 0;
    json_error_t why;
    for (const char *at = text->data, *end = text->data + text->n; at < end; n_call++) {
        const char *close = memchr(at, QVL_BYTE_TOOL_CALL_END, (size_t)(end - at));
        assert_true((unsigned char)*at == QVL_BYTE_TOOL_CALL && close);
        json_t *call = json_loadb(at + 1, (size_t)(close - at - 1), 0, &why);
        assert_true(json_is_object(call) && json_object_size(call) == 2);
        const json_t *arguments = json_object_get(call, "arguments");
        const json_t *parameters = parameters_of(definitions, json_string_value(json_object_get(call, "name")));
        assert_true(json_is_object(arguments));
        if (parameters && !is_valid(parameters, parameters, arguments))
            fail_msg("%.*s", (int)text->n, text->data);
        json_decref(call);
        at = close + 1 + (close + 1 < end); /* a line break between two */
    }
    return n_call;
}

static void test_walks_are_valid(void **state)
{
    (void)state;
    const struct vocabulary *const all[] = {&small, &demo};
    struct qvl_bytes text = {0};
    json_error_t why;
    json_t *definitions = json_loads(tools, 0, &why);
    for (int want_one = 0; want_one < 2; want_one++) {
        struct qvl_grammar *g = compile(tools, &(struct qvl_tool_settings){.want_one = want_one});
        size_t n_whole = 0, n_call = 0;
        for (int i = 0; i < 2 * N_WALK; i++) {
            random_state = (uint64_t)i * 77 + 5;
            if (!walk(all[i % 2], g, &text))
                continue;
            n_whole++;
            n_call += check_calls(&text, definitions);
        }
        assert_in_range(n_whole, N_WALK / 2, 2 * N_WALK);
        if (want_one)
            assert_int_equal(n_call, n_whole);
        else
            assert_in_range(n_call, n_whole + 1, SIZE_MAX);
        qvl_grammar_free(g);
    }
    json_decref(definitions);
    qvl_bytes_free(&text);
}

/* No other constraint lets a tag through. */
static void test_tags_are_for_calls_only(void **state)
{
    (void)state;
    static const char *const regexes[] = {".*", "[^a]*", "[\\s\\S]+"};
    uint64_t *mask = calloc(demo.trie.n_id / 64 + 1, sizeof *mask);
    for (size_t i = 0; i < sizeof regexes / sizeof *regexes; i++) {
        struct qvl_grammar *g = NULL;
        struct qvl_matcher *m = NULL;
        assert_int_equal(qvl_grammar_from_regex(regexes[i], strlen(regexes[i]), &g, &err), QVL_OK);
        assert_int_equal(qvl_matcher_open(g, &demo.trie, &m, &err), QVL_OK);
        assert_int_equal(qvl_matcher_mask(m, mask, &err), QVL_OK);
        for (int k = 0; k < QVL_N_ADDED_TOKEN; k++) {
            uint32_t id = qvl_tokenizer_added(demo.tokenizer, (enum qvl_added_token)k);
            assert_false(mask[id / 64] >> id % 64 & 1);
        }
        qvl_matcher_close(m);
        qvl_grammar_free(g);
    }
    free(mask);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_one_call_and_names),
        cmocka_unit_test(test_only_objects),
        cmocka_unit_test(test_strict),
        cmocka_unit_test(test_optional),
        cmocka_unit_test(test_too_complex),
        cmocka_unit_test(test_instead),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_many_tools),
        cmocka_unit_test(test_walks_are_valid),
        cmocka_unit_test(test_tags_are_for_calls_only),
    };
    return cmocka_run_group_tests(tests, load_all, free_all);
}

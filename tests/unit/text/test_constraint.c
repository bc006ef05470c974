/* Grammars of schemas, regular expressions and choices, and the masks of tokens: texts that must be allowed and
 * texts that must not (tables written from the JSON Schema specification and ECMA-262); what random walks over the
 * masks write is valid by an independent validator; masks equal what comes of trying every token; what cannot be
 * enforced is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/utf8.h"
#include "text/matcher.h"
#include "validator.h"
#include "vectors.h"

enum { N_WALK = 40, N_TOKEN = 160 };

static struct qvl_error err;

/* ---- vocabularies --------------------------------------------------------------------------------- */

struct vocabulary {
    struct qvl_tokenizer *tokenizer;
    struct qvl_token_trie trie;
};

static struct vocabulary small, demo, published;

static void load(struct vocabulary *v, const char *dir)
{
    if (qvl_tokenizer_load(dir, 1000000, &v->tokenizer, &err) || qvl_token_trie_build(v->tokenizer, &v->trie, &err))
        fail_msg("%s", err.text);
}

static int load_all(void **state)
{
    (void)state;
    size_t n = 0;
    char *json = read_whole(DATA_DIR "small_tokenizer.json", &n);
    if (qvl_tokenizer_parse(json, n, "small", 1000, &small.tokenizer, &err) ||
        qvl_token_trie_build(small.tokenizer, &small.trie, &err))
        fail_msg("%s", err.text);
    free(json);
    load(&demo, "demo/model");
    if (data_tokenizer_dir())
        load(&published, data_tokenizer_dir());
    return 0;
}

static int free_all(void **state)
{
    struct vocabulary *all[] = {&small, &demo, &published};
    (void)state;
    for (int i = 0; i < 3; i++) {
        qvl_token_trie_free(&all[i]->trie);
        qvl_tokenizer_free(all[i]->tokenizer);
    }
    return 0;
}

/* ---- grammars ------------------------------------------------------------------------------------- */

static struct qvl_grammar *from_schema(const char *schema)
{
    struct qvl_grammar *g = NULL;
    if (qvl_grammar_from_schema(schema, strlen(schema), &g, &err))
        fail_msg("%s: %s", schema, err.text);
    return g;
}

static struct qvl_grammar *from_regex(const char *regex)
{
    struct qvl_grammar *g = NULL;
    if (qvl_grammar_from_regex(regex, strlen(regex), &g, &err))
        fail_msg("%s: %s", regex, err.text);
    return g;
}

/* Whether the bytes are a whole text of the grammar. */
static bool accepts(const struct qvl_grammar *g, const char *text, size_t n)
{
    struct qvl_matcher *m = NULL;
    assert_int_equal(qvl_matcher_open(g, &small.trie, &m, &err), QVL_OK);
    bool is = !qvl_matcher_take(m, text, n, &err) && qvl_matcher_may_end(m);
    qvl_matcher_close(m);
    return is;
}

struct sample {
    const char *constraint;
    const char *yes[8], *no[8];
};

static void check_samples(const struct sample *sample, size_t n, struct qvl_grammar *make(const char *))
{
    for (size_t i = 0; i < n; i++) {
        struct qvl_grammar *g = make(sample[i].constraint);
        for (size_t k = 0; k < 8 && sample[i].yes[k]; k++)
            if (!accepts(g, sample[i].yes[k], strlen(sample[i].yes[k])))
                fail_msg("%s refuses %s", sample[i].constraint, sample[i].yes[k]);
        for (size_t k = 0; k < 8 && sample[i].no[k]; k++)
            if (accepts(g, sample[i].no[k], strlen(sample[i].no[k])))
                fail_msg("%s accepts %s", sample[i].constraint, sample[i].no[k]);
        qvl_grammar_free(g);
    }
}

static void test_regex(void **state)
{
    static const struct sample samples[] = {
        {"a*", {"", "a", "aaaa"}, {"b", "ab"}},
        {"a+?b", {"ab", "aab"}, {"b", "a"}},
        {"ab?c", {"ac", "abc"}, {"abbc", "a"}},
        {"(ab|c){2}", {"abab", "cc", "abc"}, {"ab", "ccc", ""}},
        {"a{2,3}", {"aa", "aaa"}, {"a", "aaaa"}},
        {"a{2,}", {"aa", "aaaaaaa"}, {"a"}},
        {"a{0}b", {"b"}, {"ab"}},
        {"(?:a{2}){2,3}", {"aaaa", "aaaaaa"}, {"aa", "aaaaa"}},
        {"a{b", {"a{b"}, {"ab"}},
        {"^(a|b)$", {"a", "b"}, {"", "ab"}},
        {"[a-c0-]+", {"a-0", "cab"}, {"d", ""}},
        {"[^a-c]", {"d", "\xC3\xA9", "\xF0\x9F\x98\x80"}, {"a", "b", "dd"}},
        {"\\d\\D\\w\\W\\s\\S", {"1a_- x"}, {"aa_- x", "1a_-xx"}},
        {"[\\d.]+", {"1.2"}, {"1,2"}},
        {"\\x41\\u00e9\\u{1F600}", {"A\xC3\xA9\xF0\x9F\x98\x80"}, {"A"}},
        {".", {"x", "\xE4\xB8\xAD"}, {"\n", "", "xy"}},
        {"\\p{L}\\P{L}",
         {"\xE4\xB8\xAD"
          "1"},
         {"11"}},
        {"\\.\\*\\/\\{", {".*/{"}, {"x*/{"}},
        {"(?<year>\\d{4})-\\d\\d", {"2026-01"}, {"26-01"}},
        {"a|b|", {"a", "b", ""}, {"ab"}},
        {"(a+)+$", {"a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaa"}, {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"}},
        {"[\xE4\xB8\x80-\xE9\xBF\xBF]{2}", {"\xE4\xB8\xAD\xE6\x96\x87"}, {"\xE4\xB8\xAD", "ab"}},
    };
    (void)state;
    check_samples(samples, sizeof samples / sizeof *samples, from_regex);
}

static void test_schema_texts(void **state)
{
    static const struct sample samples[] = {
        {"{\"type\":\"null\"}", {"null"}, {"", "nul", "null ", "false"}},
        {"{\"type\":[\"boolean\",\"null\"]}", {"true", "false", "null"}, {"0"}},
        {"{\"type\":\"integer\"}", {"0", "-1", "12", "999999999999999999"}, {"01", "-0", "1.0", "1e2", "-", "+1"}},
        {"{\"type\":\"number\"}", {"0", "-1.5", "1e9", "2.5E-3", "0.1"}, {"01", ".5", "1.", "1e", "NaN", "1e100"}},
        {"{\"type\":\"integer\",\"minimum\":-3,\"maximum\":12}",
         {"-3", "-1", "0", "9", "12"},
         {"-4", "13", "100", "-30"}},
        {"{\"type\":\"integer\",\"minimum\":0.5,\"exclusiveMaximum\":3}", {"1", "2"}, {"0", "3", "-1"}},
        {"{\"type\":\"integer\",\"minimum\":8,\"maximum\":120}",
         {"8", "99", "100", "120"},
         {"7", "121", "1", "1200"}},
        {"{\"type\":\"integer\",\"maximum\":-10}", {"-10", "-999"}, {"-9", "0", "10"}},
        {"{\"type\":\"integer\",\"minimum\":1e2,\"maximum\":9223372036854775807}", {"100", "5000"}, {"99"}},
        {"{\"type\":\"number\",\"minimum\":0,\"maximum\":1}",
         {"0", "1", "0.5", "1.0", "0.999"},
         {"1.01", "-0.1", "2", "1e0"}},
        {"{\"type\":\"number\",\"exclusiveMinimum\":0,\"exclusiveMaximum\":1}",
         {"0.01", "0.99"},
         {"0", "1", "0.0", "1.0"}},
        {"{\"type\":\"number\",\"minimum\":-1.25,\"maximum\":-0.5}",
         {"-1.25", "-0.5", "-1", "-0.75"},
         {"-1.26", "-0.4", "0", "-2"}},
        {"{\"type\":\"number\",\"minimum\":0,\"exclusiveMinimum\":true}", {"0.1", "3"}, {"0", "0.0"}},
        {"{\"type\":\"integer\",\"multipleOf\":7}", {"0", "7", "-14", "700"}, {"1", "8"}},
        {"{\"type\":\"number\",\"multipleOf\":0.25,\"maximum\":2}",
         {"0.25", "1.5", "2", "-0.75", "0.50"},
         {"0.2", "2.25", "0.125"}},
        {"{\"type\":\"number\",\"multipleOf\":0.01}", {"1.23", "5", "0.1"}, {"1.234"}},
        {"{\"type\":\"string\"}",
         {"\"\"", "\"a b\"", "\"\\\"\\\\\\n\\t\"", "\"\xE4\xB8\xAD\xF0\x9F\x98\x80\"", "\"/\""},
         {"\"", "a", "\"\n\"", "\"\\x\"", "\"\xFF\"", "\"\xED\xA0\x80\"", "\"\\u0041\""}},
        {"{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}",
         {"\"ab\"", "\"\xE4\xB8\xAD\\n\"", "\"abc\""},
         {"\"a\"", "\"abcd\""}},
        {"{\"type\":\"string\",\"pattern\":\"^[A-Z]\\\\d+$\"}",
         {"\"A1\"", "\"Z999\""},
         {"\"A\"", "\"xA1\"", "\"A1x\""}},
        {"{\"type\":\"string\",\"pattern\":\"\\\\d\"}", {"\"1\"", "\"a1b\"", "\"\\n1\""}, {"\"a\"", "\"\""}},
        {"{\"type\":\"string\",\"pattern\":\"^a|b$\"}", {"\"ax\"", "\"xb\""}, {"\"x\"", "\"bx\""}},
        {"{\"type\":\"string\",\"pattern\":\"^\\\"\\\\\\\\$\"}", {"\"\\\"\\\\\""}, {"\"\"\""}},
        {"{\"type\":\"string\",\"pattern\":\"a\",\"maxLength\":2}",
         {"\"a\"", "\"xa\"", "\"ax\""},
         {"\"xax\"", "\"x\""}},
        {"{\"type\":\"string\",\"format\":\"date\"}",
         {"\"2026-01-31\"", "\"2024-02-29\"", "\"2000-02-29\""},
         {"\"2025-02-29\"", "\"1900-02-29\"", "\"2026-13-01\"", "\"2026-04-31\"", "\"26-01-01\""}},
        {"{\"type\":\"string\",\"format\":\"date-time\"}",
         {"\"2026-01-31T23:59:59Z\"", "\"2026-01-31T00:00:00.123+05:30\""},
         {"\"2026-01-31\"", "\"2026-01-31T24:00:00Z\"", "\"2026-01-31T10:00:00\""}},
        {"{\"type\":\"string\",\"format\":\"time\"}", {"\"10:00:00Z\""}, {"\"10:60:00Z\"", "\"10:00\""}},
        {"{\"type\":\"string\",\"format\":\"duration\"}",
         {"\"P1D\"", "\"PT5M\"", "\"P1Y2M3DT4H5M6S\"", "\"P2W\""},
         {"\"P\"", "\"PT\"", "\"1D\""}},
        {"{\"type\":\"string\",\"format\":\"email\"}",
         {"\"a.b@example.org\""},
         {"\"a@\"", "\"a b@c.d\"", "\"@c.d\""}},
        {"{\"type\":\"string\",\"format\":\"uuid\"}",
         {"\"123e4567-e89b-12d3-a456-426614174000\""},
         {"\"123e4567\""}},
        {"{\"type\":\"string\",\"format\":\"ipv4\"}",
         {"\"192.168.0.255\""},
         {"\"256.1.1.1\"", "\"1.2.3\"", "\"01.2.3.4\""}},
        {"{\"type\":\"string\",\"format\":\"ipv6\"}",
         {"\"::\"", "\"::1\"", "\"2001:db8::8a2e:370:7334\"", "\"1:2:3:4:5:6:7:8\""},
         {"\"1::2::3\"", "\"12345::\"", "\"1:2:3\""}},
        {"{\"type\":\"string\",\"format\":\"hostname\"}",
         {"\"example.org\"", "\"a-b\""},
         {"\"-a\"", "\"a-\"", "\"a..b\""}},
        {"{\"type\":\"string\",\"format\":\"uri\"}",
         {"\"https://example.org/a?b=c#d\"", "\"mailto:a@b.c\"", "\"file:///x\""},
         {"\"example.org\"", "\"http://a b\"", "\"://x\""}},
        {"{\"enum\":[\"a\",2,null,[1,{\"x\":\"\\u00e9\\u0001\"}]]}",
         {"\"a\"", "2", "null", "[1, {\"x\": \"\xC3\xA9\\u0001\"}]"},
         {"\"b\"", "a", "[]", "3"}},
        {"{\"const\":null}", {"null"}, {"0"}},
        {"{\"enum\":[1,5,9,\"x\"],\"minimum\":4,\"type\":[\"integer\",\"string\"]}", {"5", "9", "\"x\""}, {"1"}},
        {"{\"enum\":[\"a\",\"bb\",\"ccc\"],\"maxLength\":2}", {"\"a\"", "\"bb\""}, {"\"ccc\""}},
        {"{\"enum\":[1,2,3],\"allOf\":[{\"enum\":[2,3.0,4]}]}", {"2", "3"}, {"1", "4"}},
    };
    (void)state;
    check_samples(samples, sizeof samples / sizeof *samples, from_schema);
}

static void test_schema_containers(void **state)
{
    static const struct sample samples[] = {
        {"{\"type\":\"array\",\"items\":{\"type\":\"integer\"}}",
         {"[]", "[1]", "[1,2]", "[1, 2, 3]"},
         {"[1,]", "[1,  2]", "[ 1]", "[\"a\"]", "[1 ]"}},
        {"{\"type\":\"array\",\"items\":{\"const\":1},\"minItems\":1,\"maxItems\":2}",
         {"[1]", "[1,1]"},
         {"[]", "[1,1,1]"}},
        {"{\"items\":{\"const\":1},\"minItems\":2}", {"[1,1]", "[1,1,1,1]"}, {"[1]", "[]"}},
        {"{\"prefixItems\":[{\"const\":1},{\"const\":2}],\"items\":false}",
         {"[]", "[1]", "[1,2]"},
         {"[2]", "[1,2,3]"}},
        {"{\"prefixItems\":[{\"const\":1}],\"items\":{\"const\":2},\"minItems\":1}",
         {"[1]", "[1,2,2]"},
         {"[]", "[1,1]"}},
        {"{\"items\":[{\"const\":1}],\"additionalItems\":false}", {"[1]"}, {"[1,2]"}},
        {"{\"type\":\"array\",\"maxItems\":0}", {"[]"}, {"[1]"}},
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"const\":1},\"b\":{\"const\":2}},\"required\":[\"b\"]}",
         {"{\"b\":2}", "{\"a\":1,\"b\":2}", "{\"a\": 1, \"b\": 2}"},
         {"{}", "{\"a\":1}", "{\"b\":2,\"a\":1}", "{\"b\":2,}", "{\"b\":2,\"c\":3}", "{ \"b\":2}"}},
        {"{\"properties\":{\"a\":{\"const\":1}},\"additionalProperties\":{\"const\":2}}",
         {"{}", "{\"a\":1}", "{\"b\":2}", "{\"a\":1,\"b\":2,\"c\":2}", "{\"aa\":2}"},
         {"{\"a\":2}", "{\"b\":1}", "{\"b\":2,\"a\":1}"}},
        {"{\"type\":\"object\",\"required\":[\"x\"]}", {"{\"x\":[]}", "{\"x\":1,\"y\":{}}"}, {"{}", "{\"y\":1}"}},
        {"{\"type\":\"object\",\"additionalProperties\":false}", {"{}"}, {"{\"a\":1}"}},
        {"{\"type\":\"object\",\"properties\":{\"a\":false,\"b\":{\"const\":1}}}",
         {"{}", "{\"b\":1}"},
         {"{\"a\":1}"}},
        {"{\"type\":\"object\",\"properties\":{\"a\\\"\\n\":true},\"minProperties\":1,\"required\":[\"a\\\"\\n\"]}",
         {"{\"a\\\"\\n\": [null]}"},
         {"{}"}},
        {"{\"type\":\"object\"}",
         {"{}", "{\"a\": {\"b\": [1, \"x\", {}]}}"},
         {"[]", "{\"a\"}", "{a:1}", "{\"a\":1,\"b\"}"}},
        {"{}", {"null", "[[[]]]", "\"x\"", "-1.5e3"}, {"", "x", "nulll"}},
        {"true", {"{\"a\":null}"}, {"{"}},
        {"{\"anyOf\":[{\"type\":\"string\",\"maxLength\":1},{\"type\":\"integer\"}]}",
         {"\"a\"", "12"},
         {"\"ab\"", "1.5", "null"}},
        {"{\"anyOf\":[{\"properties\":{\"k\":{\"const\":\"a\"},\"x\":{\"const\":1}},\"required\":[\"k\",\"x\"]},"
         "{\"properties\":{\"k\":{\"const\":\"ab\"},\"y\":{\"const\":2}},\"required\":[\"k\",\"y\"]}]}",
         {"{\"k\":\"a\",\"x\":1}", "{\"k\":\"ab\",\"y\":2}"},
         {"{\"k\":\"a\",\"y\":2}", "{\"k\":\"ab\",\"x\":1}"}},
        {"{\"allOf\":[{\"properties\":{\"a\":{\"type\":\"integer\"}},\"required\":[\"a\"]},{\"properties\":{\"a\":{"
         "\"minimum\":5},"
         "\"b\":{\"const\":0}}}]}",
         {"{\"a\":5}", "{\"a\":6,\"b\":0}"},
         {"{\"a\":4}", "{}", "{\"b\":0}"}},
        {"{\"allOf\":[{\"anyOf\":[{\"minimum\":5},{\"maximum\":-5}]},{\"type\":\"integer\",\"maximum\":7}]}",
         {"5", "7", "-5", "-99"},
         {"0", "8", "-4"}},
        {"{\"$ref\":\"#/$defs/a~1b%20c\",\"$defs\":{\"a/b c\":{\"const\":1}}}", {"1"}, {"2"}},
        {"{\"$ref\":\"#/definitions/"
         "t\",\"maxItems\":1,\"definitions\":{\"t\":{\"type\":\"array\",\"items\":{\"const\":1}}}}",
         {"[]", "[1]"},
         {"[1,1]"}},
        {"{\"properties\":{\"v\":{\"const\":1},\"n\":{\"anyOf\":[{\"$ref\":\"#\"},{\"type\":\"null\"}]}},"
         "\"required\":[\"v\",\"n\"]}",
         {"{\"v\":1,\"n\":null}", "{\"v\":1,\"n\":{\"v\":1,\"n\":{\"v\":1,\"n\":null}}}"},
         {"{\"v\":1}", "{\"v\":1,\"n\":{}}"}},
        {"{\"oneOf\":[{\"type\":\"string\"},{\"type\":\"null\"}]}", {"\"x\"", "null"}, {"1"}},
        {"{\"title\":\"T\",\"description\":\"D\",\"default\":1,\"examples\":[2],\"$schema\":\"x\",\"const\":3,\"x-"
         "y\":1}",
         {"3"},
         {"1", "2"}},
    };
    (void)state;
    check_samples(samples, sizeof samples / sizeof *samples, from_schema);
}

/* ---- what cannot be enforced ---------------------------------------------------------------------- */

static void test_refused_schemas(void **state)
{
    static const struct {
        const char *schema, *says;
    } refused[] = {
        {"", "JSON schema: not valid JSON"},
        {"{", "JSON schema: not valid JSON"},
        {"[]", "must be an object"},
        {"\"x\"", "must be an object"},
        {"false", "no value satisfies it"},
        {"{\"type\":\"text\"}", "#/type: this is no type"},
        {"{\"type\":[]}", "#/type: "},
        {"{\"type\":\"integer\",\"minimum\":\"1\"}", "#/minimum: it must be a number"},
        {"{\"type\":\"integer\",\"minimum\":3,\"maximum\":2}", "no value satisfies it"},
        {"{\"type\":\"string\",\"minLength\":3,\"maxLength\":2}", "no value satisfies it"},
        {"{\"type\":\"string\",\"minLength\":-1}", "#/minLength: it must be a whole number"},
        {"{\"type\":\"string\",\"maxLength\":1e9}", "#/maxLength: it is more than qvl can count"},
        {"{\"type\":\"array\",\"maxItems\":1000000000}", "#/maxItems: it is more"},
        {"{\"type\":\"array\",\"uniqueItems\":true}", "#/uniqueItems: this keyword"},
        {"{\"type\":\"array\",\"contains\":{}}", "#/contains: this keyword"},
        {"{\"type\":\"array\",\"items\":1}", "#/items: it must be a schema"},
        {"{\"properties\":{\"a\":{\"not\":{\"type\":\"null\"}}}}", "#/properties/a/not: this keyword"},
        {"{\"properties\":{\"a/b\":{\"items\":{\"if\":{}}}}}", "#/properties/a~1b/items/if: this keyword"},
        {"{\"properties\":[]}", "#/properties: it must be an object of schemas"},
        {"{\"patternProperties\":{\"^a\":{}}}", "#/patternProperties: this keyword"},
        {"{\"type\":\"object\",\"minProperties\":2}", "#/minProperties: it can be enforced only"},
        {"{\"type\":\"object\",\"maxProperties\":2}", "#/maxProperties: it can be enforced only"},
        {"{\"type\":\"object\",\"required\":\"a\"}", "#/required: it must be a list"},
        {"{\"type\":\"object\",\"required\":[1]}", "#/required: it must be a list of names"},
        {"{\"type\":\"string\",\"format\":\"iri\"}", "#/format: this format"},
        {"{\"type\":\"string\",\"pattern\":\"(?=a)\"}", "#/pattern: .*lookahead"},
        {"{\"type\":\"string\",\"pattern\":\"(a)\\\\1\"}", "#/pattern: .*references to groups"},
        {"{\"type\":\"string\",\"pattern\":\"[\"}", "#/pattern: .*class without"},
        {"{\"type\":\"number\",\"multipleOf\":0}", "#/multipleOf: "},
        {"{\"type\":\"number\",\"multipleOf\":3.14159}", "#/multipleOf: "},
        {"{\"$ref\":\"#\"}", "refers to itself"},
        {"{\"anyOf\":[{\"$ref\":\"#/$defs/a\"}],\"$defs\":{\"a\":{\"allOf\":[{\"$ref\":\"#\"}]}}}",
         "refers to itself"},
        {"{\"$ref\":\"https://example.org/s.json\"}", "#/.ref: only places in the schema itself"},
        {"{\"$ref\":\"#/$defs/none\"}", "#/.ref: no schema stands"},
        {"{\"anyOf\":[]}", "#/anyOf: it must be a list of schemas"},
        {"{\"enum\":[]}", "no value satisfies it"},
        {"{\"enum\":[[1]],\"maxItems\":3}", "#/enum: objects and arrays"},
        {"{\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"number\"}]}", "#/oneOf/1: a value may satisfy"},
        {"{\"oneOf\":[{\"properties\":{\"a\":{}}},{\"properties\":{\"b\":{}}}]}", "oneOf/1: a value may satisfy"},
        {"{\"properties\":{\"n\":{\"$ref\":\"#\"}},\"required\":[\"n\"]}", "no value satisfies it"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct qvl_grammar *g = NULL;
        memset(&err, 0, sizeof err);
        enum qvl_status status = qvl_grammar_from_schema(refused[i].schema, strlen(refused[i].schema), &g, &err);
        if (!status || g)
            fail_msg("accepted: %s", refused[i].schema);
        const char *star = strstr(refused[i].says, ".*"), *ref = strstr(refused[i].says, "/.ref");
        const char *tail = star ? star + 2 : ref ? ref + 5 : refused[i].says;
        if (!strstr(err.text, tail) || (status != QVL_ERR_ARGUMENT && status != QVL_ERR_LIMIT))
            fail_msg("%s: %s", refused[i].schema, err.text);
        if (star && strncmp(strchr(err.text, '#'), refused[i].says, (size_t)(star - refused[i].says)) != 0)
            fail_msg("%s: %s", refused[i].schema, err.text);
    }
}

static void test_refused_regexes(void **state)
{
    static const char *const refused[] = {
        "(",         ")",           "a)",
        "(a",        "*",           "+a",
        "a**",       "a++",         "a{2,1}",
        "a{99999}",  "[",           "[a",
        "[b-a]",     "\\",          "\\1",
        "\\k<a>",    "\\b",         "\\Bx",
        "(?=a)",     "(?!a)",       "(?<=a)",
        "(?<!a)",    "(?i)a",       "(?<a",
        "\\xg1",     "\\u{110000}", "\\ud800",
        "\\p{Lu}",   "\\q",         "a$b",
        "(a$)",      "b^a",         "((a{1000}){1000}){1000}",
        "[^\\s\\S]", "\xFF",        "a{1,9999}{1,9999}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct qvl_grammar *g = NULL;
        memset(&err, 0, sizeof err);
        enum qvl_status status = qvl_grammar_from_regex(refused[i], strlen(refused[i]), &g, &err);
        if (!status || g || !err.text[0])
            fail_msg("accepted: %s", refused[i]);
    }
}

/* Deep, wide and long ones: a sentence or a grammar, never a crash. */
static void test_hostile_sizes(void **state)
{
    enum { N = 60000 };
    char *text = malloc(8 * N + 100);
    struct qvl_grammar *g = NULL;
    (void)state;
    memset(text, '(', N);
    assert_int_not_equal(qvl_grammar_from_regex(text, N, &g, &err), QVL_OK);
    memset(text, '[', N);
    assert_int_not_equal(qvl_grammar_from_schema(text, N, &g, &err), QVL_OK);
    size_t n = 0;
    for (int i = 0; i < 25; i++)
        n += (size_t)sprintf(text + n, "(a|aa)?");
    assert_int_equal(qvl_grammar_from_regex(text, n, &g, &err), QVL_OK);
    qvl_grammar_free(g);
    g = NULL;
    n = (size_t)sprintf(text, "(a|b)*a(a|b){40}"); /* 2^40 sets */
    assert_int_equal(qvl_grammar_from_regex(text, n, &g, &err), QVL_ERR_LIMIT);
    n = (size_t)sprintf(text, "{\"enum\":[0");
    for (int i = 1; i < 20000; i++)
        n += (size_t)sprintf(text + n, ",%d", i);
    n += (size_t)sprintf(text + n, "]}");
    assert_int_equal(qvl_grammar_from_schema(text, n, &g, &err), QVL_OK);
    assert_true(accepts(g, "19999", 5));
    assert_false(accepts(g, "20000", 5));
    qvl_grammar_free(g);
    g = NULL;
    n = (size_t)sprintf(text, "{\"allOf\":[");
    for (int i = 0; i < 30; i++) /* 2^30 cases */
        n += (size_t)sprintf(text + n, "%s{\"anyOf\":[{\"minimum\":%d},{\"maximum\":%d}]}", i ? "," : "", i, -i);
    n += (size_t)sprintf(text + n, "]}");
    assert_int_equal(qvl_grammar_from_schema(text, n, &g, &err), QVL_ERR_LIMIT);
    n = QVL_MAX_CONSTRAINT_BYTES + 1;
    char *large = calloc(1, n + 1);
    memset(large, ' ', n);
    assert_int_equal(qvl_grammar_from_schema(large, n, &g, &err), QVL_ERR_LIMIT);
    assert_int_equal(qvl_grammar_from_regex(large, n, &g, &err), QVL_ERR_LIMIT);
    free(large);
    free(text);
}

static void test_choices(void **state)
{
    const char *const choices[] = {"yes", "no", "not sure", "\xE6\x98\xAF"}, *const none[] = {"a", ""};
    struct qvl_grammar *g = NULL;
    (void)state;
    assert_int_equal(qvl_grammar_from_choices(choices, 4, &g, &err), QVL_OK);
    for (int i = 0; i < 4; i++)
        assert_true(accepts(g, choices[i], strlen(choices[i])));
    assert_false(accepts(g, "not", 3));
    assert_false(accepts(g, "yesno", 5));
    qvl_grammar_free(g);
    g = NULL;
    assert_int_equal(qvl_grammar_from_choices(none, 2, &g, &err), QVL_ERR_ARGUMENT);
    assert_int_equal(qvl_grammar_from_choices(none, 0, &g, &err), QVL_ERR_ARGUMENT);
}

/* ---- masks ---------------------------------------------------------------------------------------- */

static const char *const walked[] = {
    "{\"type\":\"object\"}",
    "{}",
    "{\"type\":\"object\",\"properties\":{\"no\":{\"type\":\"string\",\"pattern\":\"^[A-Z]-[0-9]{3}$\"},\"total\":{"
    "\"type\":"
    "\"number\",\"minimum\":0,\"maximum\":99.5},\"lines\":{\"type\":\"array\",\"items\":{\"type\":\"object\","
    "\"properties\":{"
    "\"name\":{\"type\":\"string\",\"maxLength\":12},\"n\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":40}},"
    "\"required\":["
    "\"name\",\"n\"]},\"maxItems\":3},\"paid\":{\"type\":[\"boolean\",\"null\"]}},\"required\":[\"no\",\"total\","
    "\"lines\"]}",
    "{\"$ref\":\"#/$defs/"
    "tree\",\"$defs\":{\"tree\":{\"type\":\"object\",\"properties\":{\"v\":{\"type\":\"integer\",\"multipleOf\":"
    "3},\"left\":{\"anyOf\":[{\"$ref\":\"#/$defs/tree\"},{\"type\":\"null\"}]},\"right\":{\"$ref\":\"#/$defs/"
    "tree\"}},"
    "\"required\":[\"v\"]}}}",
    "{\"type\":\"array\",\"items\":{\"oneOf\":[{\"type\":\"object\",\"properties\":{\"kind\":{\"const\":\"circle\"}"
    ",\"r\":{\"type\":"
    "\"number\",\"exclusiveMinimum\":0}},\"required\":[\"kind\",\"r\"]},{\"type\":\"object\",\"properties\":{"
    "\"kind\":{\"const\":"
    "\"box\"},\"bbox_2d\":{\"type\":\"array\",\"items\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":1000},"
    "\"minItems\":4,"
    "\"maxItems\":4}},\"required\":[\"kind\",\"bbox_2d\"]}]},\"minItems\":1,\"maxItems\":4}",
    "{\"allOf\":[{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"minLength\":1}},\"required\":["
    "\"a\"],"
    "\"additionalProperties\":{\"type\":\"integer\"}},{\"properties\":{\"a\":{\"maxLength\":4},\"b\":{\"maximum\":"
    "3}}}]}",
    "{\"enum\":[\"\xE7\xBA\xA2\xE8\x89\xB2\",\"\\u84dd\\u8272\",{\"a\":[1,2.5]},-7]}",
    "{\"anyOf\":[{\"type\":\"string\",\"pattern\":\"^a+b$\"},{\"type\":\"array\",\"prefixItems\":[{\"type\":"
    "\"string\"},{\"type\":"
    "\"integer\"}],\"items\":false,\"minItems\":2},{\"type\":\"number\",\"multipleOf\":0.5,\"minimum\":-4.5}]}",
};

static uint64_t random_state;

static uint32_t draw(uint32_t n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 33) % n);
}

static bool is_in(const uint64_t *mask, uint32_t id)
{
    return mask[id / 64] >> id % 64 & 1;
}

/* One of the tokens allowed; late in a walk one with which it comes to an end. */
static uint32_t draw_token(const struct vocabulary *v, const uint64_t *mask, bool want_end)
{
    static const char closing[] = "\"}]";
    uint32_t n_id = v->trie.n_id, start = draw(n_id), chosen = QVL_NO_TOKEN;
    for (uint32_t i = 0; i < n_id; i++) {
        uint32_t id = (start + i) % n_id;
        size_t n = 0;
        const char *bytes = qvl_tokenizer_bytes(v->tokenizer, id, &n);
        if (!is_in(mask, id))
            continue;
        if (!want_end || (n == 1 && strchr(closing, bytes[0])))
            return id;
        chosen = chosen == QVL_NO_TOKEN ? id : chosen;
    }
    return chosen;
}

/* Writes a text by chance into *out; false when it did not come to an end. */
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
        uint32_t id = draw_token(v, mask, i > 40);
        is_whole = qvl_matcher_may_end(m) && (id == QVL_NO_TOKEN || draw(3) == 0 || i > 40);
        assert_int_equal(qvl_matcher_is_over(m), id == QVL_NO_TOKEN);
        if (id == QVL_NO_TOKEN && !is_whole)
            fail_msg("a dead end behind %.*s", (int)out->n, out->data);
        if (is_whole)
            break;
        const char *bytes = qvl_tokenizer_bytes(v->tokenizer, id, &n);
        assert_int_equal(qvl_bytes_add(out, bytes, n, &err), QVL_OK);
        assert_int_equal(qvl_matcher_take(m, bytes, n, &err), QVL_OK);
    }
    qvl_matcher_close(m);
    free(mask);
    return is_whole;
}

static size_t check_walks(const struct vocabulary *v, const char *schema, int n_walk)
{
    struct qvl_grammar *g = from_schema(schema);
    struct qvl_bytes text = {0};
    json_error_t why;
    json_t *root = json_loads(schema, 0, &why);
    size_t n_whole = 0;
    for (int i = 0; i < n_walk; i++) {
        random_state = (uint64_t)i * 77 + 5;
        if (!walk(v, g, &text))
            continue;
        json_t *value = json_loadb(text.data, text.n, JSON_DECODE_ANY, &why);
        if (!value)
            fail_msg("%s gave what is not JSON: %.*s", schema, (int)text.n, text.data);
        if (!is_valid(root, root, value))
            fail_msg("%s gave %.*s", schema, (int)text.n, text.data);
        json_decref(value);
        n_whole++;
    }
    json_decref(root);
    qvl_bytes_free(&text);
    qvl_grammar_free(g);
    return n_whole;
}

static void test_walks_are_valid(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof walked / sizeof *walked; i++) {
        size_t n = check_walks(&small, walked[i], N_WALK) + check_walks(&demo, walked[i], N_WALK);
        if (n < N_WALK / 4) /* of 2 N_WALK: some would go on for long */
            fail_msg("only %zu walks came to an end: %s", n, walked[i]);
    }
    if (!published.tokenizer)
        print_message("SKIP: the published tokenizer is not here\n");
    else
        for (size_t i = 0; i < sizeof walked / sizeof *walked; i++)
            assert_true(check_walks(&published, walked[i], 6) > 0);
}

static bool is_added(const struct qvl_tokenizer *t, uint32_t id)
{
    for (int i = 0; i < QVL_N_ADDED_TOKEN; i++)
        if (qvl_tokenizer_added(t, (enum qvl_added_token)i) == id)
            return true;
    return false;
}

/* Every token tried alone, behind each prefix of a walk; of a large vocabulary one in `step`. */
static void check_masks(const struct vocabulary *v, const struct qvl_grammar *g, uint64_t seed, uint32_t step)
{
    struct qvl_matcher *m = NULL, *probe = NULL;
    uint64_t *mask = calloc(v->trie.n_id / 64 + 1, sizeof *mask);
    struct qvl_bytes text = {0};
    random_state = seed;
    assert_int_equal(qvl_matcher_open(g, &v->trie, &m, &err), QVL_OK);
    for (int i = 0; i < 25 && !qvl_matcher_is_over(m); i++) {
        size_t n = 0;
        assert_int_equal(qvl_matcher_mask(m, mask, &err), QVL_OK);
        for (uint32_t id = (uint32_t)i % step; id < v->trie.n_id; id += step) {
            const char *bytes = qvl_tokenizer_bytes(v->tokenizer, id, &n);
            assert_int_equal(qvl_matcher_open(g, &v->trie, &probe, &err), QVL_OK);
            bool is_right = text.n == 0 || !qvl_matcher_take(probe, text.data, text.n, &err);
            is_right = is_right && n > 0 && !is_added(v->tokenizer, id) && !qvl_matcher_take(probe, bytes, n, &err);
            qvl_matcher_close(probe);
            if (is_right != is_in(mask, id))
                fail_msg("behind %.*s the token %.*s is %s", (int)text.n, text.n ? text.data : "", (int)n, bytes,
                         is_right ? "missing" : "wrong");
        }
        uint32_t id = draw_token(v, mask, false);
        const char *bytes = qvl_tokenizer_bytes(v->tokenizer, id, &n);
        assert_int_equal(qvl_bytes_add(&text, bytes, n, &err), QVL_OK);
        assert_int_equal(qvl_matcher_take(m, bytes, n, &err), QVL_OK);
    }
    qvl_matcher_close(m);
    qvl_bytes_free(&text);
    free(mask);
}

/* Lengths near their ends, characters left out of many, ends in the middle. */
static const char *const walked_regexes[] = {
    ".{3,20}",       "[^\xE4\xB8\xAD]{2,18}x", "([a-z ]{1,12}|\\d{2}){1,2}",
    "(.{0,5}\"){2}", ".{4}|a.{9}|b*",          "[\\x20-\\x7e]{1,40}",
};

static void test_masks_are_complete(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof walked_regexes / sizeof *walked_regexes; i++) {
        struct qvl_grammar *g = from_regex(walked_regexes[i]);
        for (uint64_t seed = 0; seed < 3; seed++)
            check_masks(&small, g, seed, 1);
        check_masks(&demo, g, 10, 11);
        if (published.tokenizer)
            check_masks(&published, g, 3, 8009);
        qvl_grammar_free(g);
    }
    for (size_t i = 0; i < sizeof walked / sizeof *walked; i++) {
        struct qvl_grammar *g = from_schema(walked[i]);
        for (uint64_t seed = 0; seed < 3; seed++)
            check_masks(&small, g, seed, 1);
        check_masks(&demo, g, 10, 11);
        if (published.tokenizer)
            check_masks(&published, g, 3, 4001);
        qvl_grammar_free(g);
    }
}

/* Nesting ends at the limit, and what is open can still be closed there, also where each level wants another one.
 */
static void test_depth(void **state)
{
    static const char *const nested[] = {"{\"type\":\"array\"}",
                                         "{\"properties\":{\"a\":{\"anyOf\":[{\"$ref\":\"#\"},{\"type\":\"array\","
                                         "\"items\":{\"$ref\":\"#\"},\"minItems\":1},"
                                         "{\"const\":1}]}},\"required\":[\"a\"]}"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct qvl_grammar *g = from_schema(nested[i]);
        struct qvl_matcher *m = NULL;
        uint64_t *mask = calloc(small.trie.n_id / 64 + 1, sizeof *mask);
        const char *open = i == 0 ? "[" : "{\"a\":", *close = i == 0 ? "]" : "}";
        size_t n = 0;
        assert_int_equal(qvl_matcher_open(g, &small.trie, &m, &err), QVL_OK);
        while (n < 1000 && !qvl_matcher_take(m, open, strlen(open), &err)) {
            assert_int_equal(qvl_matcher_mask(m, mask, &err), QVL_OK);
            assert_true(draw_token(&small, mask, false) != QVL_NO_TOKEN);
            n++;
        }
        assert_in_range(n, QVL_MAX_GRAMMAR_DEPTH / 2, QVL_MAX_GRAMMAR_DEPTH + 1);
        if (i == 1)
            assert_int_equal(qvl_matcher_take(m, "1", 1, &err), QVL_OK);
        for (size_t k = 0; k < n; k++)
            assert_int_equal(qvl_matcher_take(m, close, 1, &err), QVL_OK);
        assert_true(qvl_matcher_may_end(m) && qvl_matcher_is_over(m));
        qvl_matcher_close(m);
        free(mask);
        qvl_grammar_free(g);
    }
}

/* Behind a key there are more levels than half of the limit, all of them required: on the bottom of the stack they
 * fit. */
static void test_deep_behind_a_key(void **state)
{
    enum { N_LEVEL = QVL_MAX_GRAMMAR_DEPTH / 2 + 20 };
    struct qvl_bytes schema = {0};
    struct qvl_matcher *m = NULL;
    uint64_t *mask = calloc(small.trie.n_id / 64 + 1, sizeof *mask);
    (void)state;
    qvl_bytes_add_text(&schema,
                       "{\"type\":\"object\",\"properties\":{\"deep\":{\"$ref\":\"#/$defs/0\"}},\"$defs\":{", &err);
    for (int i = 0; i < N_LEVEL; i++)
        qvl_bytes_add_format(&schema, &err,
                             "\"%d\":{\"type\":\"object\",\"properties\":{\"x\":{\"$ref\":\"#/$defs/%d\"}},"
                             "\"required\":[\"x\"]},",
                             i, i + 1);
    qvl_bytes_add_format(&schema, &err, "\"%d\":{\"const\":1}}}", N_LEVEL);
    struct qvl_grammar *g = from_schema(schema.data);
    assert_int_equal(qvl_matcher_open(g, &small.trie, &m, &err), QVL_OK);
    assert_int_equal(qvl_matcher_take(m, "{\"", 2, &err), QVL_OK);
    assert_int_equal(qvl_matcher_mask(m, mask, &err), QVL_OK);
    assert_true(draw_token(&small, mask, false) != QVL_NO_TOKEN);
    assert_int_equal(qvl_matcher_take(m, "deep\":", 6, &err), QVL_OK);
    for (int i = 0; i < N_LEVEL; i++)
        assert_int_equal(qvl_matcher_take(m, "{\"x\":", 5, &err), QVL_OK);
    assert_int_equal(qvl_matcher_take(m, "1", 1, &err), QVL_OK);
    for (int i = 0; i <= N_LEVEL; i++)
        assert_int_equal(qvl_matcher_take(m, "}", 1, &err), QVL_OK);
    assert_true(qvl_matcher_is_over(m));
    qvl_matcher_close(m);
    qvl_grammar_free(g);
    qvl_bytes_free(&schema);
    free(mask);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_regex),
        cmocka_unit_test(test_schema_texts),
        cmocka_unit_test(test_schema_containers),
        cmocka_unit_test(test_refused_schemas),
        cmocka_unit_test(test_refused_regexes),
        cmocka_unit_test(test_hostile_sizes),
        cmocka_unit_test(test_choices),
        cmocka_unit_test(test_walks_are_valid),
        cmocka_unit_test(test_masks_are_complete),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_deep_behind_a_key),
    };
    return cmocka_run_group_tests(tests, load_all, free_all);
}

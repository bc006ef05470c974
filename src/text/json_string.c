#include "text/json_string.h"

#include <string.h>

#include "base/limits.h"
#include "text/regex.h"

/* ---- formats ------------------------------------------------------------------------------------- */

/* Dates and times by RFC 3339 (no leap seconds), e-mail by the HTML standard's rule, addresses by RFC 791 and 4291,
 * hosts by RFC 1123, URIs by RFC 3986 with a scheme and without what only the length of names would tell. */
#define DATE                                                                                                       \
    "(?:\\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|02-(?:0[1-9]|"   \
    "1\\d|"                                                                                                        \
    "2[0-8]))|(?:\\d\\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29)"
#define TIME "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,9})?(?:Z|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)"
#define LABEL "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
#define HOST LABEL "(?:\\." LABEL "){0,8}"
#define BYTE "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
#define IPV4 BYTE "(?:\\." BYTE "){3}"
#define H "[0-9A-Fa-f]{1,4}"
#define IPV6                                                                                                       \
    "(?:(?:" H ":){7}" H "|(?:" H ":){1,7}:|(?:" H ":){1,6}:" H "|(?:" H ":){1,5}(?::" H "){1,2}|(?:" H            \
    ":){1,4}(?::" H "){1,3}|(?:" H ":){1,3}(?::" H "){1,4}|(?:" H ":){1,2}(?::" H "){1,5}|" H ":(?::" H            \
    "){1,6}|:(?::" H "){1,7}|::)"
#define UNRESERVED "A-Za-z0-9._~!$&'()*+,;=:-"
#define PCHAR "(?:[" UNRESERVED "@]|%[0-9A-Fa-f]{2})"
#define TAIL "(?:\\?(?:" PCHAR "|[/?])*)?(?:#(?:" PCHAR "|[/?])*)?"
#define AUTHORITY "//(?:" HOST "|\\[" IPV6 "\\])?(?::\\d{1,5})?"

static const struct {
    const char *name, *regex;
} formats[] = {
    {"date", DATE},
    {"date-time", DATE "T" TIME},
    {"time", TIME},
    {"duration",
     "P(?:\\d{1,9}W|(?:\\d{1,9}Y)?(?:\\d{1,9}M)?\\d{1,9}D|(?:\\d{1,9}Y)?\\d{1,9}M|\\d{1,9}Y|(?:\\d{1,9}Y)?"
     "(?:\\d{1,9}M)?(?:\\d{1,9}D)?T(?:(?:\\d{1,9}H)?(?:\\d{1,9}M)?\\d{1,9}S|(?:\\d{1,9}H)?\\d{1,9}M|"
     "\\d{1,9}H))"},
    {"email", "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*@" HOST},
    {"hostname", HOST},
    {"ipv4", IPV4},
    {"ipv6", IPV6},
    {"uri", "[A-Za-z][A-Za-z0-9+.-]*:(?:" AUTHORITY "(?:/" PCHAR "*)*|/(?:" PCHAR "+(?:/" PCHAR "*)*)?|" PCHAR
            "+(?:/" PCHAR "*)*)" TAIL},
    {"uuid", "[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"},
};

/* ---- restrictions -------------------------------------------------------------------------------- */

static struct qvl_nfa begin_drawing(struct qvl_error *err)
{
    return (struct qvl_nfa){.err = err, .n_state = 2};
}

/* min to max characters; max UINT32_MAX: no end. */
static void draw_length(struct qvl_nfa *nfa, uint32_t min, uint32_t max)
{
    uint32_t n = max < UINT32_MAX ? max : min, at = 0;
    for (uint32_t i = 0; i <= n && !nfa->status; i++) {
        uint32_t next = i < n ? qvl_nfa_state(nfa) : 0;
        if (i >= min)
            qvl_nfa_skip(nfa, at, 1);
        if (i < n)
            qvl_nfa_any_char(nfa, at, next, QVL_SPELLING_JSON);
        else if (max == UINT32_MAX)
            qvl_nfa_any_char(nfa, at, at, QVL_SPELLING_JSON);
        at = next;
    }
}

/* What the drawing accepts from state 0 to state 1. Frees the drawing. */
static enum qvl_status build(struct qvl_json_string *s, struct qvl_nfa *nfa, struct qvl_dfa *out,
                             struct qvl_error *err)
{
    uint32_t start = 0, dfa_start;
    qvl_nfa_accept(nfa, 1);
    enum qvl_status status = qvl_dfa_build(nfa, &start, 1, out, &dfa_start, err);
    qvl_nfa_free(nfa);
    s->n_work += (size_t)out->n_state * out->n_class;
    return status;
}

/* Every string, as something to exclude others from. */
static enum qvl_status build_any(struct qvl_json_string *s, struct qvl_error *err)
{
    struct qvl_nfa any = begin_drawing(err);
    draw_length(&any, 0, UINT32_MAX);
    enum qvl_status status = build(s, &any, &s->dfa, err);
    s->is_restricted = !status;
    return status;
}

/* What the drawing accepts must hold, too (want true), or must not. Frees the drawing. */
static enum qvl_status restrict_by(struct qvl_json_string *s, struct qvl_nfa *nfa, bool want, struct qvl_error *err)
{
    struct qvl_dfa one = {0}, both = {0};
    enum qvl_status status = build(s, nfa, &one, err);
    if (!status && !s->is_restricted && want) {
        s->dfa = one;
        s->is_restricted = true;
        return QVL_OK;
    }
    if (!status && (s->is_restricted || !(status = build_any(s, err))))
        status = s->dfa.n_state > 1 && one.n_state > 1 ? qvl_dfa_combine(&s->dfa, &one, want, &both, err) : QVL_OK;
    s->n_work += (size_t)both.n_state * both.n_class;
    qvl_dfa_free(&one);
    if (status) {
        qvl_dfa_free(&both);
        return status;
    }
    if (both.n_state > 0 || want) { /* where nothing is to be excluded, all stays */
        qvl_dfa_free(&s->dfa);
        s->dfa = both;
    }
    return QVL_OK;
}

enum qvl_status qvl_json_string_set_length(struct qvl_json_string *s, uint32_t min, uint32_t max,
                                           struct qvl_error *err)
{
    struct qvl_nfa nfa = begin_drawing(err);
    draw_length(&nfa, min, max);
    return restrict_by(s, &nfa, true, err);
}

enum qvl_status qvl_json_string_set_pattern(struct qvl_json_string *s, const char *regex, size_t n,
                                            struct qvl_error *err)
{
    const struct qvl_regex_settings settings = {.spelling = QVL_SPELLING_JSON, .is_search = true};
    struct qvl_nfa nfa = begin_drawing(err);
    enum qvl_status status = qvl_regex_draw(&nfa, 0, 1, regex, n, &settings, err);
    if (!status)
        return restrict_by(s, &nfa, true, err);
    qvl_nfa_free(&nfa);
    return status;
}

enum qvl_status qvl_json_string_set_format(struct qvl_json_string *s, const char *name, size_t n, bool *is_known,
                                           struct qvl_error *err)
{
    const struct qvl_regex_settings settings = {.spelling = QVL_SPELLING_JSON};
    *is_known = false;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        if (strlen(formats[i].name) != n || memcmp(formats[i].name, name, n) != 0)
            continue;
        struct qvl_nfa nfa = begin_drawing(err);
        *is_known = true;
        enum qvl_status status =
            qvl_regex_draw(&nfa, 0, 1, formats[i].regex, strlen(formats[i].regex), &settings, err);
        if (!status)
            return restrict_by(s, &nfa, true, err);
        qvl_nfa_free(&nfa);
        return status;
    }
    return QVL_OK;
}

enum qvl_status qvl_json_string_exclude(struct qvl_json_string *s, const struct qvl_json_literal *literal, size_t n,
                                        struct qvl_error *err)
{
    struct qvl_nfa nfa = begin_drawing(err);
    for (size_t i = 0; i < n; i++)
        qvl_nfa_skip(&nfa, qvl_nfa_text(&nfa, 0, literal[i].text, literal[i].n), 1);
    return restrict_by(s, &nfa, false, err);
}

enum qvl_status qvl_json_string_draw(struct qvl_nfa *nfa, uint32_t from, uint32_t to,
                                     const struct qvl_json_string *s)
{
    uint32_t inside = qvl_nfa_text(nfa, from, "\"", 1), behind = qvl_nfa_state(nfa);
    if (!s->is_restricted) {
        qvl_nfa_any_char(nfa, inside, inside, QVL_SPELLING_JSON);
        qvl_nfa_skip(nfa, inside, behind);
    } else if (s->dfa.n_state > 1) {
        qvl_nfa_dfa(nfa, inside, behind, &s->dfa);
    }
    qvl_nfa_bytes(nfa, behind, to, '"', '"');
    return nfa->status;
}

void qvl_json_string_free(struct qvl_json_string *s)
{
    qvl_dfa_free(&s->dfa);
    *s = (struct qvl_json_string){0};
}

/* One pass over the expression with a stack of open groups. An atom (a character, class or group) is drawn as a
 * piece of its own, from an entry to an exit, and only then joined to what stands before it: so a counted
 * repetition is that piece copied. */
#include "text/regex.h"

#include <string.h>

#include "base/language.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "text/unicode.h"

struct piece {
    struct qvl_nfa_mark begin, end; /* in the drawing */
    uint32_t entry, exit;
};

struct group {
    struct piece piece;
    uint32_t before; /* the state that it will be joined to */
};

struct regex {
    struct qvl_nfa *nfa;
    const struct qvl_regex_settings *set;
    const char *s;
    size_t n, i;
    struct qvl_error *err;
    struct group group[QVL_MAX_REGEX_DEPTH + 1]; /* [0] is the whole expression */
    size_t depth;
    uint32_t at;   /* behind what is drawn of the alternative at hand */
    bool is_ended; /* by a $ */
};

static enum qvl_status not_a_regex(const struct regex *r, const char *what)
{
    return qvl_fail(r->err, QVL_ERR_ARGUMENT, "regular expression, byte %zu: %s", r->i, qvl_text(what));
}

static int peek(const struct regex *r)
{
    return r->i < r->n ? (unsigned char)r->s[r->i] : -1;
}

static bool starts_with(const struct regex *r, const char *text)
{
    size_t n = strlen(text);
    return r->n - r->i >= n && memcmp(r->s + r->i, text, n) == 0;
}

/* ---- characters and classes ---------------------------------------------------------------------- */

static enum qvl_status take_char(struct regex *r, uint32_t *out)
{
    size_t n = qvl_utf8_decode(r->s + r->i, r->n - r->i, out);
    if (n == 0)
        return not_a_regex(r, "not UTF-8");
    r->i += n;
    return QVL_OK;
}

/* n hexadecimal digits; with n 0 those up to a "}". */
static enum qvl_status take_hex(struct regex *r, size_t n, uint32_t *out)
{
    uint32_t value = 0;
    size_t n_digit = 0;
    for (; n > 0 ? n_digit < n : peek(r) != '}'; n_digit++, r->i++) {
        int c = peek(r), low = c | 0x20;
        int digit = c >= '0' && c <= '9' ? c - '0' : low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
        if (digit < 0 || n_digit == 6)
            return not_a_regex(r, "hexadecimal digits were expected");
        value = value << 4 | (uint32_t)digit;
    }
    if (n == 0)
        r->i++;
    if (n_digit == 0 || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF))
        return not_a_regex(r, "no character has this number");
    *out = value;
    return QVL_OK;
}

static enum qvl_status add_unicode_class(struct qvl_charset *set, enum qvl_unicode_class class,
                                         struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    struct qvl_unicode_run run;
    for (size_t i = 0; !status && qvl_unicode_run(i, &run); i++)
        if (run.class == class)
            status = qvl_charset_add(set, run.first, run.last, err);
    return status;
}

/* The class behind a backslash: d, w, s or p, in capitals its opposite. */
static enum qvl_status add_escaped_class(struct regex *r, int letter, struct qvl_charset *out)
{
    struct qvl_charset set = {0};
    enum qvl_status status = QVL_OK;
    switch (letter | 0x20) {
    case 'd': status = qvl_charset_add(&set, '0', '9', r->err); break;
    case 'w':
        if (!(status = qvl_charset_add(&set, 'A', 'Z', r->err)) &&
            !(status = qvl_charset_add(&set, 'a', 'z', r->err)) &&
            !(status = qvl_charset_add(&set, '0', '9', r->err)))
            status = qvl_charset_add(&set, '_', '_', r->err);
        break;
    case 's':
        if (!(status = add_unicode_class(&set, QVL_UNICODE_SPACE, r->err)))
            status = qvl_charset_add(&set, 0xFEFF, 0xFEFF, r->err); /* ECMA-262 counts it, too */
        break;
    default:
        if (starts_with(r, "{L}"))
            status = add_unicode_class(&set, QVL_UNICODE_LETTER, r->err);
        else if (starts_with(r, "{N}"))
            status = add_unicode_class(&set, QVL_UNICODE_NUMBER, r->err);
        else
            status = not_a_regex(r, "of the Unicode classes only {L} and {N} are known");
        r->i += status ? 0 : 3;
    }
    qvl_charset_settle(&set);
    if (!status && !(letter & 0x20))
        status = qvl_charset_negate(&set, r->err);
    for (size_t i = 0; i < set.n && !status; i++)
        status = qvl_charset_add(out, set.range[i].lo, set.range[i].hi, r->err);
    qvl_charset_free(&set);
    return status;
}

/* After a backslash: adds what it stands for; *is_class where that is no single character. */
static enum qvl_status take_escape(struct regex *r, struct qvl_charset *out, bool *is_class)
{
    static const char letters[] = "tnrfv0", controls[] = "\t\n\r\f\v\0";
    uint32_t cp = 0;
    int c = peek(r);
    enum qvl_status status = QVL_OK;
    if (c <= 0)
        return not_a_regex(r, "a backslash with nothing behind it");
    if (strchr("bB", c))
        return not_a_regex(r, "word boundaries cannot be enforced");
    if ((c >= '1' && c <= '9') || c == 'k')
        return not_a_regex(r, "references to groups cannot be enforced");
    r->i++;
    *is_class = strchr("dDwWsSpP", c) != NULL;
    if (*is_class)
        return add_escaped_class(r, c, out);
    const char *found = strchr(letters, c);
    if (found) {
        cp = (unsigned char)controls[found - letters];
    } else if (c == 'x' || (c == 'u' && peek(r) != '{')) {
        status = take_hex(r, c == 'x' ? 2 : 4, &cp);
    } else if (c == 'u') {
        r->i++;
        status = take_hex(r, 0, &cp);
    } else if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
        r->i--;
        return not_a_regex(r, "unknown letter after a backslash");
    } else {
        r->i--;
        status = take_char(r, &cp);
    }
    return status ? status : qvl_charset_add(out, cp, cp, r->err);
}

/* One entry of a class, its last character in *cp unless it is a class itself. */
static enum qvl_status take_entry(struct regex *r, struct qvl_charset *out, uint32_t *cp, bool *is_class)
{
    *is_class = false;
    if (peek(r) == '\\') {
        r->i++;
        enum qvl_status status = take_escape(r, out, is_class);
        if (!status && !*is_class)
            *cp = out->range[out->n - 1].lo;
        return status;
    }
    enum qvl_status status = take_char(r, cp);
    return status ? status : qvl_charset_add(out, *cp, *cp, r->err);
}

/* After the "[". */
static enum qvl_status take_class(struct regex *r, struct qvl_charset *out)
{
    bool is_negated = peek(r) == '^', is_class = false;
    enum qvl_status status = QVL_OK;
    r->i += is_negated;
    while (!status && peek(r) != ']') {
        uint32_t lo = 0, hi = 0;
        if (r->i == r->n)
            return not_a_regex(r, "a class without its ]");
        if ((status = take_entry(r, out, &lo, &is_class)) || is_class)
            continue;
        if (peek(r) != '-' || r->i + 1 >= r->n || r->s[r->i + 1] == ']')
            continue;
        r->i++;
        if ((status = take_entry(r, out, &hi, &is_class)))
            continue;
        if (is_class || hi < lo)
            return not_a_regex(r, "a range of characters that ends before it begins");
        status = qvl_charset_add(out, lo, hi, r->err);
    }
    r->i++;
    qvl_charset_settle(out);
    return !status && is_negated ? qvl_charset_negate(out, r->err) : status;
}

static enum qvl_status take_dot(struct regex *r, struct qvl_charset *out)
{
    static const uint32_t breaks[] = {'\n', '\r', 0x2028, 0x2029};
    enum qvl_status status = QVL_OK;
    for (size_t i = 0; i < sizeof breaks / sizeof *breaks && !status; i++)
        status = qvl_charset_add(out, breaks[i], breaks[i], r->err);
    qvl_charset_settle(out);
    return status ? status : qvl_charset_negate(out, r->err);
}

/* ---- repetition ---------------------------------------------------------------------------------- */

static bool take_number(struct regex *r, uint32_t *out)
{
    size_t begin = r->i;
    uint32_t value = 0;
    for (int c = peek(r); c >= '0' && c <= '9'; c = peek(r)) {
        value = value > QVL_MAX_GRAMMAR_REPEAT ? value : value * 10 + (uint32_t)(c - '0');
        r->i++;
    }
    *out = value;
    return r->i > begin;
}

/* {m}, {m,}, {m,n}; false, and nothing taken, where it is none of them. */
static bool take_count(struct regex *r, uint32_t *min, uint32_t *max, bool *is_open)
{
    size_t begin = r->i++;
    bool is_count = take_number(r, min);
    *max = *min;
    if (is_count && peek(r) == ',') {
        r->i++;
        *is_open = !take_number(r, max);
    }
    is_count = is_count && peek(r) == '}';
    r->i = is_count ? r->i + 1 : begin;
    if (!is_count)
        *min = *max = 1;
    return is_count;
}

/* Joins the piece to what is drawn of the alternative, as often as what follows it says. */
static enum qvl_status join(struct regex *r, const struct piece *p)
{
    uint32_t min = 1, max = 1, at = r->at, entry = p->entry;
    bool is_open = false, is_repeated = true;
    switch (peek(r)) {
    case '*': min = 0, is_open = true, r->i++; break;
    case '+': is_open = true, r->i++; break;
    case '?': min = 0, r->i++; break;
    case '{': is_repeated = take_count(r, &min, &max, &is_open); break;
    default: is_repeated = false;
    }
    if (is_repeated && peek(r) == '?')
        r->i++;
    if (min > QVL_MAX_GRAMMAR_REPEAT || (!is_open && max > QVL_MAX_GRAMMAR_REPEAT))
        return not_a_regex(r, "more repetitions than qvl can count");
    if (!is_open && max < min)
        return not_a_regex(r, "a count that ends before it begins");
    uint32_t n_copy = !is_open ? max : min > 0 ? min : 1, end = qvl_nfa_state(r->nfa);
    for (uint32_t i = 0; i < n_copy && !r->nfa->status; i++) {
        uint32_t offset = i > 0 ? qvl_nfa_copy(r->nfa, p->begin, p->end) : 0;
        entry = p->entry + offset;
        if (i >= min)
            qvl_nfa_skip(r->nfa, at, end);
        qvl_nfa_skip(r->nfa, at, entry);
        at = p->exit + offset;
    }
    if (is_open)
        qvl_nfa_skip(r->nfa, at, entry);
    qvl_nfa_skip(r->nfa, at, end);
    r->at = end;
    return r->nfa->status;
}

/* ---- groups and alternatives ---------------------------------------------------------------------- */

static void draw_anything(struct regex *r)
{
    uint32_t state = qvl_nfa_state(r->nfa);
    qvl_nfa_skip(r->nfa, r->at, state);
    qvl_nfa_any_char(r->nfa, state, state, r->set->spelling);
    r->at = state;
}

static void begin_alternative(struct regex *r)
{
    r->at = r->group[r->depth].piece.entry;
    r->is_ended = false;
    if (r->depth > 0)
        return;
    if (peek(r) == '^')
        r->i++;
    else if (r->set->is_search)
        draw_anything(r);
}

static void end_alternative(struct regex *r)
{
    if (r->depth == 0 && r->set->is_search && !r->is_ended)
        draw_anything(r);
    qvl_nfa_skip(r->nfa, r->at, r->group[r->depth].piece.exit);
}

/* After the "(". */
static enum qvl_status open_group(struct regex *r)
{
    if (starts_with(r, "?=") || starts_with(r, "?!") || starts_with(r, "?<=") || starts_with(r, "?<!"))
        return not_a_regex(r, "lookahead and lookbehind cannot be enforced");
    if (starts_with(r, "?:")) {
        r->i += 2;
    } else if (starts_with(r, "?<") || starts_with(r, "?P<")) {
        while (r->i < r->n && r->s[r->i] != '>')
            r->i++;
        if (r->i == r->n)
            return not_a_regex(r, "a group's name without its >");
        r->i++;
    } else if (peek(r) == '?') {
        return not_a_regex(r, "flags of groups cannot be enforced");
    }
    if (r->depth == QVL_MAX_REGEX_DEPTH)
        return not_a_regex(r, "groups are nested too deep");
    struct group *g = &r->group[++r->depth];
    *g = (struct group){.before = r->at, .piece = {.begin = qvl_nfa_mark(r->nfa)}};
    g->piece.entry = qvl_nfa_state(r->nfa);
    g->piece.exit = qvl_nfa_state(r->nfa);
    begin_alternative(r);
    return QVL_OK;
}

static enum qvl_status close_group(struct regex *r)
{
    if (r->depth == 0)
        return not_a_regex(r, "a ) without its (");
    end_alternative(r);
    struct group *g = &r->group[r->depth--];
    g->piece.end = qvl_nfa_mark(r->nfa);
    r->at = g->before;
    r->i++;
    return join(r, &g->piece);
}

static enum qvl_status take_atom(struct regex *r)
{
    struct qvl_charset set = {0};
    struct piece p = {.begin = qvl_nfa_mark(r->nfa)};
    enum qvl_status status;
    uint32_t cp = 0;
    bool is_class;
    int c = peek(r);
    if (c == '.' || c == '[' || c == '\\') {
        r->i++;
        status = c == '.' ? take_dot(r, &set) : c == '[' ? take_class(r, &set) : take_escape(r, &set, &is_class);
    } else if (!(status = take_char(r, &cp))) {
        status = qvl_charset_add(&set, cp, cp, r->err);
    }
    qvl_charset_settle(&set);
    if (!status) {
        p.entry = qvl_nfa_state(r->nfa);
        p.exit = qvl_nfa_state(r->nfa);
        qvl_nfa_chars(r->nfa, p.entry, p.exit, &set, r->set->spelling);
        p.end = qvl_nfa_mark(r->nfa);
        status = r->nfa->status ? r->nfa->status : join(r, &p);
    }
    qvl_charset_free(&set);
    return status;
}

static enum qvl_status take_end(struct regex *r)
{
    r->i++;
    if (r->depth > 0 || (r->i < r->n && r->s[r->i] != '|'))
        return not_a_regex(r, "a $ that does not end the expression cannot be enforced");
    r->is_ended = true;
    return QVL_OK;
}

static enum qvl_status take_one(struct regex *r)
{
    uint32_t min, max;
    bool is_open;
    switch (peek(r)) {
    case '(': r->i++; return open_group(r);
    case ')': return close_group(r);
    case '|':
        end_alternative(r);
        r->i++;
        begin_alternative(r);
        return QVL_OK;
    case '^': return not_a_regex(r, "a ^ that does not begin the expression cannot be enforced");
    case '$': return take_end(r);
    case '*':
    case '+':
    case '?': return not_a_regex(r, "nothing stands before the repetition");
    case '{':
        return take_count(r, &min, &max, &is_open) ? not_a_regex(r, "nothing stands before the repetition")
                                                   : take_atom(r);
    default: return take_atom(r);
    }
}

enum qvl_status qvl_regex_draw(struct qvl_nfa *nfa, uint32_t from, uint32_t to, const char *regex, size_t n,
                               const struct qvl_regex_settings *settings, struct qvl_error *err)
{
    struct regex r = {.nfa = nfa,
                      .set = settings,
                      .s = regex,
                      .n = n,
                      .err = err,
                      .group[0] = {.piece = {.entry = from, .exit = to}}};
    enum qvl_status status = QVL_OK;
    begin_alternative(&r);
    while (r.i < n && !status)
        status = take_one(&r);
    if (!status && r.depth > 0)
        status = not_a_regex(&r, "a ( without its )");
    if (status)
        return status;
    end_alternative(&r);
    return nfa->status;
}

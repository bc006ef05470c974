/* One place for each thing that may come next; strings and numbers have parts of their own. Source of truth: RFC
 * 8259, and json_reader.c (UTF-8 only, no lone halves of a surrogate pair). */
#include "base/json_scan.h"

#include <stddef.h>

#include "base/limits.h"

_Static_assert(QVL_MAX_JSON_DEPTH <= 64, "is_object has 64 bits");

enum { TEXT, ESCAPE, ESCAPE_U, WANT_ESCAPE, WANT_U };              /* parts of a string */
enum { MINUS, ZERO, WHOLE, POINT, FRACTION, E, E_SIGN, EXPONENT }; /* what a number's last byte was */

static bool is_space(unsigned c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static bool is_digit(unsigned c)
{
    return c >= '0' && c <= '9';
}

static bool go(struct qvl_json_scan *s, enum qvl_json_place place)
{
    s->place = place;
    return place != QVL_JSON_BROKEN;
}

static bool open_container(struct qvl_json_scan *s, bool is_object)
{
    if (s->depth == QVL_MAX_JSON_DEPTH)
        return go(s, QVL_JSON_BROKEN);
    uint64_t bit = 1ull << s->depth++;
    s->is_object = is_object ? s->is_object | bit : s->is_object & ~bit;
    return go(s, is_object ? QVL_JSON_AT_FIRST_KEY : QVL_JSON_AT_FIRST_ITEM);
}

static bool close_container(struct qvl_json_scan *s)
{
    return go(s, --s->depth > 0 ? QVL_JSON_AT_COMMA : QVL_JSON_AT_END);
}

static bool open_string(struct qvl_json_scan *s, bool is_key)
{
    s->is_key = is_key;
    s->part = TEXT;
    s->n_more = 0;
    s->is_high = false;
    return go(s, QVL_JSON_IN_STRING);
}

static bool begin_value(struct qvl_json_scan *s, unsigned c)
{
    switch (c) {
    case '{': return open_container(s, true);
    case '[': return open_container(s, false);
    case '"': return open_string(s, false);
    case 't': s->rest = "rue"; return go(s, QVL_JSON_IN_WORD);
    case 'f': s->rest = "alse"; return go(s, QVL_JSON_IN_WORD);
    case 'n': s->rest = "ull"; return go(s, QVL_JSON_IN_WORD);
    default: break;
    }
    s->part = c == '-' ? MINUS : c == '0' ? ZERO : WHOLE;
    return go(s, c == '-' || is_digit(c) ? QVL_JSON_IN_NUMBER : QVL_JSON_BROKEN);
}

static bool after_value(struct qvl_json_scan *s, unsigned c)
{
    bool is_object = s->is_object >> (s->depth - 1) & 1;
    if (c == ',')
        return go(s, is_object ? QVL_JSON_AT_KEY : QVL_JSON_AT_VALUE);
    return c == (is_object ? '}' : ']') ? close_container(s) : go(s, QVL_JSON_BROKEN);
}

/* A number ends where something else comes, which then stands behind it. */
static bool take_number(struct qvl_json_scan *s, unsigned c)
{
    uint32_t part = s->part;
    if (is_digit(c) && part != ZERO) {
        s->part = part == MINUS                 ? (c == '0' ? ZERO : WHOLE)
                  : part == POINT               ? FRACTION
                  : part == E || part == E_SIGN ? EXPONENT
                                                : part;
        return true;
    }
    if (c == '.' && (part == ZERO || part == WHOLE)) {
        s->part = POINT;
        return true;
    }
    if ((c == 'e' || c == 'E') && (part == ZERO || part == WHOLE || part == FRACTION)) {
        s->part = E;
        return true;
    }
    if ((c == '+' || c == '-') && part == E) {
        s->part = E_SIGN;
        return true;
    }
    if (part == MINUS || part == POINT || part == E || part == E_SIGN)
        return go(s, QVL_JSON_BROKEN);
    s->place = QVL_JSON_AT_COMMA;
    return is_space(c) || after_value(s, c);
}

/* A byte that belongs to a character of several, as Unicode's table 3-7 has them. */
static bool take_long(struct qvl_json_scan *s, unsigned c)
{
    if (s->n_more > 0) {
        bool is_fit = c >= s->least && c <= s->most;
        s->n_more--;
        s->least = 0x80;
        s->most = 0xBF;
        return is_fit || go(s, QVL_JSON_BROKEN);
    }
    s->n_more = c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
    s->least = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80;
    s->most = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
    return (c >= 0xC2 && c <= 0xF4) || go(s, QVL_JSON_BROKEN);
}

static bool take_hex(struct qvl_json_scan *s, unsigned c)
{
    unsigned letter = c | 0x20;
    if (!is_digit(c) && (letter < 'a' || letter > 'f'))
        return go(s, QVL_JSON_BROKEN);
    s->unit = s->unit << 4 | (is_digit(c) ? c - '0' : letter - 'a' + 10);
    if (++s->n_hex < 4)
        return true;
    bool is_low = s->unit >= 0xDC00 && s->unit <= 0xDFFF;
    if (is_low != s->is_high)
        return go(s, QVL_JSON_BROKEN);
    s->is_high = s->unit >= 0xD800 && s->unit <= 0xDBFF;
    s->part = s->is_high ? WANT_ESCAPE : TEXT;
    return true;
}

static bool take_escape(struct qvl_json_scan *s, unsigned c)
{
    if (c == 'u') {
        s->part = ESCAPE_U;
        s->n_hex = s->unit = 0;
        return true;
    }
    bool is_known = c == '"' || c == '\\' || c == '/' || c == 'b' || c == 'f' || c == 'n' || c == 'r' || c == 't';
    s->part = TEXT;
    return is_known || go(s, QVL_JSON_BROKEN);
}

static bool take_string(struct qvl_json_scan *s, unsigned c)
{
    switch (s->part) {
    case ESCAPE: return take_escape(s, c);
    case ESCAPE_U: return take_hex(s, c);
    case WANT_ESCAPE: s->part = WANT_U; return c == '\\' || go(s, QVL_JSON_BROKEN);
    case WANT_U: return c == 'u' ? take_escape(s, c) : go(s, QVL_JSON_BROKEN);
    default: break;
    }
    if (s->n_more > 0 || c >= 0x80)
        return take_long(s, c);
    if (c == '"')
        return go(s, s->is_key ? QVL_JSON_AT_COLON : QVL_JSON_AT_COMMA);
    if (c == '\\')
        s->part = ESCAPE;
    return c >= 0x20 || go(s, QVL_JSON_BROKEN);
}

static bool take_word(struct qvl_json_scan *s, unsigned c)
{
    if (c != (unsigned char)*s->rest)
        return go(s, QVL_JSON_BROKEN);
    return *++s->rest ? true : go(s, QVL_JSON_AT_COMMA);
}

bool qvl_json_scan_take(struct qvl_json_scan *s, char byte)
{
    unsigned c = (unsigned char)byte;
    switch (s->place) {
    case QVL_JSON_IN_STRING: return take_string(s, c);
    case QVL_JSON_IN_NUMBER: return take_number(s, c);
    case QVL_JSON_IN_WORD: return take_word(s, c);
    case QVL_JSON_BROKEN: return false;
    default: break;
    }
    if (is_space(c))
        return true;
    switch (s->place) {
    case QVL_JSON_AT_BEGIN: return c == '{' || c == '[' ? begin_value(s, c) : go(s, QVL_JSON_BROKEN);
    case QVL_JSON_AT_FIRST_KEY:
        return c == '"' ? open_string(s, true) : c == '}' ? close_container(s) : go(s, QVL_JSON_BROKEN);
    case QVL_JSON_AT_KEY: return c == '"' ? open_string(s, true) : go(s, QVL_JSON_BROKEN);
    case QVL_JSON_AT_COLON: return go(s, c == ':' ? QVL_JSON_AT_VALUE : QVL_JSON_BROKEN);
    case QVL_JSON_AT_VALUE: return begin_value(s, c);
    case QVL_JSON_AT_FIRST_ITEM: return c == ']' ? close_container(s) : begin_value(s, c);
    case QVL_JSON_AT_COMMA: return after_value(s, c);
    default: return go(s, QVL_JSON_BROKEN);
    }
}

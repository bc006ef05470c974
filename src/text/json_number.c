/* Bounds are compared digit by digit from the left: as long as the digits are those of a bound, the number is
 * "tight" to it and the next digit is bounded, too; once it is not, anything goes. Numbers of each length before
 * the point are drawn apart, as only the same length can be compared so; what stands behind the point is drawn
 * once. Multiples are a remainder carried from digit to digit, intersected with that. */
#include "text/json_number.h"

#include <string.h>

#include "base/limits.h"

/* ---- decimals ------------------------------------------------------------------------------------ */

/* The digits of a JSON number, and how many of them stand before the point. */
struct digits {
    uint8_t digit[QVL_MAX_SCHEMA_NUMBER_BYTES];
    size_t n;
    long n_whole;
};

static bool read_digits(const char *text, size_t n, struct digits *out)
{
    long exponent = 0;
    size_t i = 0;
    bool is_behind_point = false;
    *out = (struct digits){0};
    if (n > QVL_MAX_SCHEMA_NUMBER_BYTES)
        return false;
    for (; i < n && (text[i] | 0x20) != 'e'; i++) {
        if (text[i] == '.')
            is_behind_point = true;
        if (text[i] < '0' || text[i] > '9')
            continue;
        out->digit[out->n++] = (uint8_t)(text[i] - '0');
        out->n_whole += !is_behind_point;
    }
    bool is_negative = i + 1 < n && text[i + 1] == '-';
    for (; i < n; i++)
        if (text[i] >= '0' && text[i] <= '9' && exponent < 100000)
            exponent = exponent * 10 + (text[i] - '0');
    out->n_whole += is_negative ? -exponent : exponent;
    return true;
}

/* The digit with the weight 10^(n_whole - 1 - i). */
static uint8_t digit_at(const struct digits *d, long i)
{
    return i >= 0 && i < (long)d->n ? d->digit[i] : 0;
}

bool qvl_decimal_read(const char *text, size_t n, struct qvl_decimal *out)
{
    struct digits d;
    *out = (struct qvl_decimal){.is_negative = n > 0 && text[0] == '-'};
    if (!read_digits(text, n, &d))
        return false;
    long first = 0, last = (long)d.n; /* of the digits that are not zero */
    while (first < last && d.digit[first] == 0)
        first++;
    while (last > first && d.digit[last - 1] == 0)
        last--;
    if (first == last) {
        out->n_whole = 1;
        out->is_negative = false;
        return true;
    }
    if (d.n_whole - first > QVL_NUMBER_WHOLE_DIGITS) {
        out->is_huge = true;
        return true;
    }
    if (last - d.n_whole > QVL_NUMBER_FRACTION_DIGITS)
        return false;
    for (long i = first < d.n_whole ? first : d.n_whole - 1; i < d.n_whole; i++)
        out->whole[out->n_whole++] = digit_at(&d, i);
    for (long i = d.n_whole; i < last; i++)
        out->fraction[out->n_fraction++] = digit_at(&d, i);
    return true;
}

static int compare_magnitudes(const struct qvl_decimal *a, const struct qvl_decimal *b)
{
    if (a->is_huge || b->is_huge)
        return a->is_huge - b->is_huge;
    if (a->n_whole != b->n_whole)
        return a->n_whole < b->n_whole ? -1 : 1;
    int order = memcmp(a->whole, b->whole, a->n_whole);
    return order ? order : memcmp(a->fraction, b->fraction, sizeof a->fraction); /* padded with zeros */
}

int qvl_decimal_compare(const struct qvl_decimal *a, const struct qvl_decimal *b)
{
    if (a->is_negative != b->is_negative)
        return a->is_negative ? -1 : 1;
    return a->is_negative ? compare_magnitudes(b, a) : compare_magnitudes(a, b);
}

/* ---- between bounds ------------------------------------------------------------------------------ */

#define NONE UINT32_MAX

struct range {                        /* of numbers that are not negative */
    struct qvl_number_bound min, max; /* min is set */
    bool is_integer;
};

struct states { /* by whether the digits so far are those of the lower and of the upper bound */
    uint32_t at[2][2];
};

static const struct states no_states = {{{NONE, NONE}, {NONE, NONE}}};

static uint32_t state_of(struct qvl_nfa *nfa, struct states *s, bool is_low, bool is_high)
{
    uint32_t *at = &s->at[is_low][is_high];
    if (*at == NONE)
        *at = qvl_nfa_state(nfa);
    return *at;
}

/* One more digit, at least `least`; low and high are the bounds' own. */
static void draw_digit(struct qvl_nfa *nfa, const struct states *from, struct states *to, uint32_t least,
                       uint32_t low, uint32_t high)
{
    for (int k = 0; k < 4; k++) {
        bool is_low = k & 1, is_high = k & 2;
        uint32_t at = from->at[is_low][is_high];
        uint32_t first = is_low && low > least ? low : least, last = is_high ? high : 9;
        for (uint32_t d = first; at != NONE && d <= last; d++) {
            uint32_t target = state_of(nfa, to, is_low && d == low, is_high && d == high);
            qvl_nfa_bytes(nfa, at, target, '0' + d, '0' + d);
        }
    }
}

static bool is_zero_from(const struct qvl_decimal *d, size_t i)
{
    return i >= d->n_fraction; /* no trailing zeros are kept */
}

/* Numbers may end with i digits behind the point where they lie between the bounds. */
static void draw_ends(struct qvl_nfa *nfa, const struct states *s, uint32_t to, const struct range *r, size_t i)
{
    for (int k = 0; k < 4; k++) {
        bool is_low = k & 1, is_high = k & 2;
        bool is_min = is_zero_from(&r->min.value, i), is_max = is_zero_from(&r->max.value, i);
        if (s->at[is_low][is_high] == NONE || (is_low && (!is_min || r->min.is_exclusive)) ||
            (is_high && is_max && r->max.is_exclusive))
            continue;
        qvl_nfa_skip(nfa, s->at[is_low][is_high], to);
    }
}

static void draw_fraction(struct qvl_nfa *nfa, struct states at, uint32_t to, const struct range *r)
{
    for (size_t i = 0; i < QVL_NUMBER_FRACTION_DIGITS; i++) {
        struct states next = no_states;
        draw_digit(nfa, &at, &next, 0, r->min.value.fraction[i], r->max.value.fraction[i]);
        draw_ends(nfa, &next, to, r, i + 1);
        at = next;
    }
}

static void draw_range(struct qvl_nfa *nfa, uint32_t from, uint32_t to, const struct range *r)
{
    struct states behind_point = no_states;
    size_t n_max = r->max.is_set ? r->max.value.n_whole : QVL_NUMBER_WHOLE_DIGITS;
    for (size_t n = r->min.value.n_whole; n <= n_max; n++) {
        struct states at = no_states;
        at.at[n == r->min.value.n_whole][r->max.is_set && n == n_max] = from;
        for (size_t i = 0; i < n; i++) {
            struct states next = no_states;
            draw_digit(nfa, &at, &next, i == 0 && n > 1, r->min.value.whole[i], r->max.value.whole[i]);
            at = next;
        }
        draw_ends(nfa, &at, to, r, 0);
        for (int k = 0; k < 4 && !r->is_integer; k++)
            if (at.at[k & 1][k >> 1] != NONE)
                qvl_nfa_bytes(nfa, at.at[k & 1][k >> 1], state_of(nfa, &behind_point, k & 1, k >> 1), '.', '.');
    }
    if (!r->is_integer)
        draw_fraction(nfa, behind_point, to, r);
}

/* An upper bound beyond what is written bounds nothing, a lower one leaves nothing. */
static void draw_not_negative(struct qvl_nfa *nfa, uint32_t from, uint32_t to, struct range r)
{
    if (r.max.is_set && r.max.value.is_huge)
        r.max = (struct qvl_number_bound){0};
    if (!r.min.value.is_huge && (!r.max.is_set || compare_magnitudes(&r.min.value, &r.max.value) <= 0))
        draw_range(nfa, from, to, &r);
}

static void draw_bounded(struct qvl_nfa *nfa, uint32_t from, uint32_t to, const struct qvl_number_facts *f)
{
    const struct qvl_number_bound zero = {.is_set = true, .value = {.n_whole = 1}};
    bool is_min_negative = !f->min.is_set || f->min.value.is_negative;
    bool is_max_negative = f->max.is_set && f->max.value.is_negative;
    struct range r = {.is_integer = f->is_integer, .min = is_min_negative ? zero : f->min, .max = f->max};
    if (!is_max_negative)
        draw_not_negative(nfa, from, to, r);
    if (!is_min_negative)
        return;
    /* x = -y: the bounds change places; -0 is left to the other half */
    r.min = is_max_negative ? f->max : zero;
    r.min.is_exclusive = is_max_negative ? f->max.is_exclusive : true;
    r.max = f->min;
    uint32_t behind_sign = qvl_nfa_state(nfa);
    qvl_nfa_bytes(nfa, from, behind_sign, '-', '-');
    draw_not_negative(nfa, behind_sign, to, r);
}

/* An exponent of one or two digits, or none. */
static void draw_exponent(struct qvl_nfa *nfa, uint32_t from, uint32_t to)
{
    uint32_t mark = qvl_nfa_state(nfa), sign = qvl_nfa_state(nfa), digit = qvl_nfa_state(nfa);
    qvl_nfa_skip(nfa, from, to);
    qvl_nfa_bytes(nfa, from, mark, 'e', 'e');
    qvl_nfa_bytes(nfa, from, mark, 'E', 'E');
    qvl_nfa_skip(nfa, mark, sign);
    qvl_nfa_bytes(nfa, mark, sign, '+', '+');
    qvl_nfa_bytes(nfa, mark, sign, '-', '-');
    qvl_nfa_bytes(nfa, sign, digit, '0', '9');
    qvl_nfa_bytes(nfa, digit, to, '0', '9');
    qvl_nfa_skip(nfa, digit, to);
}

/* ---- multiples ----------------------------------------------------------------------------------- */

static uint32_t power_of_ten(uint32_t n)
{
    uint32_t p = 1;
    while (n-- > 0)
        p *= 10;
    return p;
}

/* Numbers with at most m->n_fraction digits behind the point whose digits, read as one number, leave no remainder.
 * A state is a remainder and a number of digits behind the point. */
static void draw_multiples(struct qvl_nfa *nfa, uint32_t from, uint32_t to, const struct qvl_number_multiple *m)
{
    uint32_t begin = nfa->n_state, point = begin + (m->n_fraction + 1) * m->count;
    for (uint32_t i = 0; i < (m->n_fraction + 1) * m->count + m->count; i++)
        qvl_nfa_state(nfa);
    qvl_nfa_skip(nfa, from, begin);
    qvl_nfa_bytes(nfa, from, begin, '-', '-');
    for (uint32_t q = 0; q <= m->n_fraction && !nfa->status; q++)
        for (uint32_t r = 0; r < m->count; r++) {
            uint32_t at = begin + q * m->count + r, next = q > 0 ? q + 1 : 0;
            for (uint32_t d = 0; d < 10 && next <= m->n_fraction; d++)
                qvl_nfa_bytes(nfa, at, begin + next * m->count + (10 * r + d) % m->count, '0' + d, '0' + d);
            if ((uint64_t)r * power_of_ten(m->n_fraction - q) % m->count == 0)
                qvl_nfa_skip(nfa, at, to);
        }
    for (uint32_t r = 0; r < m->count && m->n_fraction > 0; r++) {
        qvl_nfa_bytes(nfa, begin + r, point + r, '.', '.');
        for (uint32_t d = 0; d < 10; d++)
            qvl_nfa_bytes(nfa, point + r, begin + m->count + (10 * r + d) % m->count, '0' + d, '0' + d);
    }
}

static enum qvl_status build_alone(struct qvl_nfa *nfa, struct qvl_dfa *out, struct qvl_error *err)
{
    uint32_t start = 0, dfa_start;
    qvl_nfa_accept(nfa, 1);
    enum qvl_status status = qvl_dfa_build(nfa, &start, 1, out, &dfa_start, err);
    qvl_nfa_free(nfa);
    return status;
}

static enum qvl_status draw_with_multiples(struct qvl_nfa *nfa, uint32_t from, uint32_t to,
                                           const struct qvl_number_facts *f, struct qvl_error *err)
{
    struct qvl_dfa all = {0}, one = {0}, both = {0};
    struct qvl_nfa part = {.err = err, .n_state = 2};
    draw_bounded(&part, 0, 1, f);
    enum qvl_status status = build_alone(&part, &all, err);
    for (size_t i = 0; i < f->n_multiple && !status; i++) {
        part = (struct qvl_nfa){.err = err, .n_state = 2};
        draw_multiples(&part, 0, 1, &f->multiple[i]);
        if (!(status = build_alone(&part, &one, err)))
            status = qvl_dfa_combine(&all, &one, true, &both, err);
        qvl_dfa_free(&one);
        qvl_dfa_free(&all);
        all = both;
        both = (struct qvl_dfa){0};
    }
    if (!status && all.n_state > 1)
        qvl_nfa_dfa(nfa, from, to, &all);
    qvl_dfa_free(&all);
    return status;
}

enum qvl_status qvl_json_number_draw(struct qvl_nfa *nfa, uint32_t from, uint32_t to,
                                     const struct qvl_number_facts *f, struct qvl_error *err)
{
    if (f->n_multiple > 0)
        return draw_with_multiples(nfa, from, to, f, err);
    if (f->min.is_set || f->max.is_set || f->is_integer) {
        draw_bounded(nfa, from, to, f);
    } else {
        uint32_t end = qvl_nfa_state(nfa);
        draw_bounded(nfa, from, end, f);
        draw_exponent(nfa, end, to);
    }
    return nfa->status;
}

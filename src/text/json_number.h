/* json_number.h: the numbers that a schema allows, drawn as an automaton.
 *
 * A number is written with at most 18 digits before the point and 17 behind it, so that it fits 64 bits and no
 * model writes threes without end; without an exponent where it has bounds or is a multiple, else with one of at
 * most two digits. */
#ifndef QVL_TEXT_JSON_NUMBER_H
#define QVL_TEXT_JSON_NUMBER_H

#include "text/automaton.h"

enum { QVL_NUMBER_WHOLE_DIGITS = 18, QVL_NUMBER_FRACTION_DIGITS = 17 };

/* Without leading zeros of the whole part (0 is "0") and without trailing ones of the fraction. */
struct qvl_decimal {
    bool is_negative, is_huge; /* huge: more digits before the point than are written; it has none here */
    uint8_t whole[QVL_NUMBER_WHOLE_DIGITS], fraction[QVL_NUMBER_FRACTION_DIGITS];
    size_t n_whole, n_fraction;
};
/* A JSON number's n bytes. False: more digits behind the point than are written. */
bool qvl_decimal_read(const char *text, size_t n, struct qvl_decimal *out);
int qvl_decimal_compare(const struct qvl_decimal *a, const struct qvl_decimal *b); /* <0, 0, >0 */

struct qvl_number_bound {
    bool is_set, is_exclusive;
    struct qvl_decimal value;
};

#define QVL_MAX_SCHEMA_MULTIPLES 4

struct qvl_number_facts {
    bool is_integer;
    struct qvl_number_bound min, max;
    struct qvl_number_multiple { /* of count * 10^-n_fraction */
        uint32_t count, n_fraction;
    } multiple[QVL_MAX_SCHEMA_MULTIPLES];
    size_t n_multiple;
};

enum qvl_status qvl_json_number_draw(struct qvl_nfa *nfa, uint32_t from, uint32_t to,
                                     const struct qvl_number_facts *facts, struct qvl_error *err);

#endif

/* regex.h: a regular expression, drawn as an automaton.
 *
 * The dialect is what ECMA-262, RE2 and PCRE have in common and an automaton can do: characters, ".", classes with
 * ranges and negation, \d \w \s (ASCII digits and word characters; Unicode white space) and their opposites, \p{L}
 * \p{N}, \t \n \r \f \v \0 \xHH \uHHHH \u{H…}, groups (also (?:…) and named ones), alternatives, ? * + {m} {m,}
 * {m,n}, lazy forms (the same language). "." is any character but a line break. ^ and $ stand only where an
 * alternative of the whole expression begins or ends. Refused: references to groups, lookaround, word boundaries,
 * flags. A "{" that does not begin a count is itself. */
#ifndef QVL_TEXT_REGEX_H
#define QVL_TEXT_REGEX_H

#include "text/automaton.h"

struct qvl_regex_settings {
    enum qvl_spelling spelling;
    bool is_search; /* the text only has to contain a match, unless ^ and $ say otherwise; else it must be one */
};

/* Draws the expression between two states. What is refused (QVL_ERR_ARGUMENT) is named with its place. Linear in
 * the size of the drawing. */
enum qvl_status qvl_regex_draw(struct qvl_nfa *nfa, uint32_t from, uint32_t to, const char *regex, size_t n,
                               const struct qvl_regex_settings *settings, struct qvl_error *err);

#endif

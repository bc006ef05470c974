/* json_string.h: the strings that a schema allows, as an automaton over what stands between the quotes. */
#ifndef QVL_TEXT_JSON_STRING_H
#define QVL_TEXT_JSON_STRING_H

#include "text/automaton.h"

/* A zeroed struct allows every string. Each restriction is one more that must hold. */
struct qvl_json_string {
    bool is_restricted;
    struct qvl_dfa dfa; /* from state 1; with one state only: no string */
    size_t n_work;      /* entries of all tables made on the way */
};

/* Unicode characters; max UINT32_MAX: no bound. */
enum qvl_status qvl_json_string_set_length(struct qvl_json_string *s, uint32_t min, uint32_t max,
                                           struct qvl_error *err);
/* A match somewhere in it (regex.h). */
enum qvl_status qvl_json_string_set_pattern(struct qvl_json_string *s, const char *regex, size_t n,
                                            struct qvl_error *err);
/* A format by its name of n bytes; false in *is_known where it is none of those that can be enforced. */
enum qvl_status qvl_json_string_set_format(struct qvl_json_string *s, const char *name, size_t n, bool *is_known,
                                           struct qvl_error *err);
/* None of these; spelled as in JSON, without quotes. */
struct qvl_json_literal {
    const char *text;
    size_t n;
};
enum qvl_status qvl_json_string_exclude(struct qvl_json_string *s, const struct qvl_json_literal *literal, size_t n,
                                        struct qvl_error *err);
/* The string with its quotes. */
enum qvl_status qvl_json_string_draw(struct qvl_nfa *nfa, uint32_t from, uint32_t to,
                                     const struct qvl_json_string *s);
void qvl_json_string_free(struct qvl_json_string *s);

#endif

/* validator.h: whether a JSON value satisfies a schema, written from the JSON Schema specification (draft 2020-12,
 * core and validation) over jansson's tree, with POSIX expressions for patterns: nothing of it is shared with what
 * makes grammars. */
#ifndef QVL_TESTS_VALIDATOR_H
#define QVL_TESTS_VALIDATOR_H

#include <jansson.h>
#include <stdbool.h>

/* Knows every keyword that qvl enforces but format. Fails the test on a $ref it cannot follow. */
bool is_valid(const json_t *root, const json_t *schema, const json_t *value);

#endif

/* json_reader.h: strict JSON read as a flat series of events, without recursion and without a tree.
 *
 * Used for the tokenizer's files, for tools and arguments of a conversation, and by json_tree.h. */
#ifndef QVL_BASE_JSON_READER_H
#define QVL_BASE_JSON_READER_H

#include "base/bytes.h"
#include "base/limits.h"

enum qvl_json_event {
    QVL_JSON_OBJECT,
    QVL_JSON_OBJECT_END,
    QVL_JSON_ARRAY,
    QVL_JSON_ARRAY_END,
    QVL_JSON_KEY,
    QVL_JSON_STRING,
    QVL_JSON_INTEGER,
    QVL_JSON_REAL,
    QVL_JSON_TRUE,
    QVL_JSON_FALSE,
    QVL_JSON_NULL,
    QVL_JSON_END
};

struct qvl_json_reader_key { /* of qvl_json_reader.keys */
    size_t begin, n;
};

struct qvl_json_reader {
    const char *text; /* n bytes, the caller's */
    size_t n, at;
    const char *name;       /* for sentences: a file, "tools" */
    enum qvl_status status; /* of text that is not JSON: QVL_ERR_MODEL or QVL_ERR_ARGUMENT */
    bool want_unique_keys;  /* the same key twice in one object is refused */

    enum qvl_json_event event; /* the last one */
    size_t begin;              /* of the last value or key: where it stands in the text; it ends before `at` */
    struct qvl_bytes string;   /* KEY, STRING: decoded, may hold NUL; numbers: as written */

    uint32_t depth;     /* containers open */
    uint64_t is_object; /* bit d: container d is an object */
    enum { QVL_JSON_WANT_VALUE, QVL_JSON_WANT_KEY, QVL_JSON_OPENED, QVL_JSON_AFTER_VALUE } state;
    struct qvl_bytes keys; /* with want_unique_keys: the keys of the open objects, outermost first */
    struct qvl_json_reader_key *key;
    size_t n_key, n_key_alloc;
    size_t first_key[QVL_MAX_JSON_DEPTH]; /* container d's keys start at key[first_key[d]] */
};

/* Fill text, n, name, status, want_unique_keys; the rest zero. Each call reads one event; QVL_JSON_END comes once
 * the one value and the white space after it are read. */
enum qvl_status qvl_json_reader_next(struct qvl_json_reader *json, struct qvl_error *err);
/* Reads on to the end of the value whose first event was just read. */
enum qvl_status qvl_json_reader_skip(struct qvl_json_reader *json, struct qvl_error *err);
/* The same, appending the value as Python's json.dumps(ensure_ascii=False) writes it: ", " and ": ", keys in
 * their order, integers unbounded, floats in their shortest form (1.0, 1e-07, 1e+22). A float outside the range
 * of double is refused (Python would write Infinity, which is not JSON). */
enum qvl_status qvl_json_reader_dump(struct qvl_json_reader *json, struct qvl_bytes *out, struct qvl_error *err);
void qvl_json_reader_free(struct qvl_json_reader *json);

#endif

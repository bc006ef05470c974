/* json.h: JSON text from outside to jansson's tree, with its limits checked before jansson sees it, and the few
 * questions that this room asks of a tree. */
#ifndef QVL_LOAD_JSON_H
#define QVL_LOAD_JSON_H

#include <jansson.h>

#include "base/error.h"

/* Depth and number of values are counted first: jansson recurses, and spends up to 300 bytes on a value that is
 * written in two. Duplicate keys are refused. The root must be an object. *out is the caller's to json_decref.
 * Thread-safe. */
enum qvl_status qvl_json_parse(const char *text, size_t n, const char *name, json_t **out, struct qvl_error *err);
/* The same of a whole file of at most max_bytes. */
enum qvl_status qvl_json_read(const char *path, size_t max_bytes, json_t **out, struct qvl_error *err);

#define QVL_JSON_SHOWN_BYTES 64
/* The value as it stands in the file, in ASCII, cut to fit: for error sentences. NULL gives "missing". */
const char *qvl_json_show(const json_t *value, char out[QVL_JSON_SHOWN_BYTES]);

/* The member, or NULL when it is absent or null: the reference treats both alike. */
json_t *qvl_json_get(const json_t *object, const char *key);

#endif

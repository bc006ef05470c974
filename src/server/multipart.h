/* multipart.h: the fields and files of a multipart/form-data body (RFC 7578, RFC 2046 5.1). */
#ifndef QVL_SERVER_MULTIPART_H
#define QVL_SERVER_MULTIPART_H

#include "base/bytes.h"
#include "base/limits.h"
#include "server/http.h"

/* A zeroed struct is an empty form. */
struct qvl_multipart {
    struct qvl_form_part part[QVL_MAX_HTTP_FORM_PARTS]; /* bytes: where they stand in the body */
    size_t n_part;
    char *names; /* of the parts and their files, each ended by a 0 */
};

/* Reads body [n]. boundary: 1 to 70 characters, of the Content-Type. QVL_ERR_ARGUMENT with the place where it is
 * malformed, QVL_ERR_LIMIT for too many parts. */
enum qvl_status qvl_multipart_read(const uint8_t *body, size_t n, const char *boundary, struct qvl_multipart *out,
                                   struct qvl_error *err);
void qvl_multipart_free(struct qvl_multipart *form);

#endif

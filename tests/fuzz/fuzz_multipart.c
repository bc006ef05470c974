/* A boundary in the first line, then a body of multipart/form-data. Whatever was read lies inside the body, in
 * order. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/multipart.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char boundary[128];
    struct qvl_multipart form;
    struct qvl_error err;
    const uint8_t *line_end = n ? memchr(data, '\n', n) : NULL;
    size_t n_boundary = line_end ? (size_t)(line_end - data) : 0;
    if (!line_end || n_boundary >= sizeof boundary || memchr(data, 0, n_boundary))
        return 0;
    memcpy(boundary, data, n_boundary);
    boundary[n_boundary] = '\0';
    const uint8_t *body = line_end + 1, *end = data + n, *at = body;
    if (qvl_multipart_read(body, (size_t)(end - body), boundary, &form, &err) == QVL_OK) {
        for (size_t i = 0; i < form.n_part; i++) {
            const struct qvl_form_part *part = &form.part[i];
            if (part->bytes < at || part->n > (size_t)(end - part->bytes) || strlen(part->name) > n ||
                (part->filename && strlen(part->filename) > n))
                abort();
            at = part->bytes + part->n;
        }
    }
    qvl_multipart_free(&form);
    return 0;
}

/* helper.h: what the tests of this room share. */
#ifndef TEST_MEDIA_HELPER_H
#define TEST_MEDIA_HELPER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "media/media.h"

#define TEST_DATA "tests/unit/media/data" /* tests run in the project's root */

/* The qvl-media of this build. */
const char *test_helper_path(void);
struct qvl_media *test_open(const char *helper_path, uint32_t deadline_ms);

/* A whole file, to be freed; fails the test where it is missing. */
uint8_t *test_read_file(const char *path, size_t *out_n);
/* Bytes as a source, by name. */
struct qvl_media_source test_source(const char *name, const uint8_t *bytes, size_t n);

/* Descriptors of this process, and whether it has any child, dead or alive. */
size_t test_n_fd(void);
int test_has_child(void);

/* Whether a helper was given up before it was ready: with a short deadline that is the machine's fault. */
int test_is_late(const struct qvl_error *err);

/* Decoding must fail with this status and a sentence that starts with the name and contains `part`; once more where
 * the helper was given up before it was ready, and that is not what is expected. */
void test_refused(struct qvl_media *media, const struct qvl_media_source *source, enum qvl_status status,
                  const char *part);

#endif

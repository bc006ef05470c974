/* helper.h: what the tests of this room share: pictures made from an integer hash, SHA-256, a tiny model. */
#ifndef TEST_MODEL_HELPER_H
#define TEST_MODEL_HELPER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/model.h"

enum test_picture_kind { TEST_NOISE, TEST_STRUCTURE };

/* The twin of picture() in reference/resize_vectors.py; the caller frees. [h][w][3] */
uint8_t *test_picture(enum test_picture_kind kind, uint32_t seed, uint32_t w, uint32_t h);
/* 64 hex digits and NUL. */
void test_sha256(const void *data, size_t n, char out[65]);

uint32_t test_hash(uint32_t v);

#endif

/* helper.h: what the tests of this room share: pictures made from an integer hash, a tiny model. */
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
uint32_t test_hash(uint32_t v);

/* A model of the real architecture with hashed weights and every width odd in its own way: two taps, head_dim *
 * n_head != hidden, two query heads per key head. Its file is written and removed under TMPDIR; it holds the
 * same numbers in each type of weights. */
struct test_model {
    struct qvl_pool *pool;
    struct qvl_weights *weights;
    struct qvl_model model;
};
void test_model_open(enum qvl_isa isa, enum qvl_dtype weights, enum qvl_compute compute, enum qvl_kv_type kv,
                     uint32_t n_thread, struct test_model *out);
void test_model_close(struct test_model *t);

#endif

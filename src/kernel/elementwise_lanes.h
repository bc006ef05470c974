/* elementwise_lanes.h: the kernels that work along one row, written once for all vector levels, on top of a
 * vec_isa.h. Sums run in SUM_CHAINS vectors, element i always in the same chain and lane. */
#ifndef QVL_KERNEL_ELEMENTWISE_LANES_H
#define QVL_KERNEL_ELEMENTWISE_LANES_H

#include <math.h>
#include <string.h>

#include "kernel/vec_math.h"

#define SUM_CHAINS ((size_t)4) /* hides the latency of an addition */

/* The body for a whole vector at i, then for the last n - i elements. It uses LOAD(p) and STORE(p, v). */
#define FOR_VECTORS(n, body_macro)                                                                                 \
    do {                                                                                                           \
        size_t i = 0;                                                                                              \
        for (; i + VEC_LANES <= (n); i += VEC_LANES)                                                               \
            body_macro(WHOLE_LOAD, WHOLE_STORE);                                                                   \
        if (i < (n)) {                                                                                             \
            size_t n_left = (n)-i;                                                                                 \
            body_macro(PART_LOAD, PART_STORE);                                                                     \
        }                                                                                                          \
    } while (0)
#define WHOLE_LOAD(p) vec_load(p)
#define WHOLE_STORE(p, v) vec_store(p, v)
#define PART_LOAD(p) vec_load_n(p, n_left)
#define PART_STORE(p, v) vec_store_n(p, v, n_left)

/* The sum of x - shift, or of its squares, over n elements. */
QVL_INLINE float sum_row(const float *x, size_t n, float shift, bool is_squared)
{
    vec chain[SUM_CHAINS] = {vec_zero(), vec_zero(), vec_zero(), vec_zero()}, shifts = vec_set1(shift);
    size_t i = 0;
    for (; i + SUM_CHAINS * VEC_LANES <= n; i += SUM_CHAINS * VEC_LANES)
        for (size_t j = 0; j < SUM_CHAINS; j++) {
            vec d = vec_sub(vec_load(x + i + j * VEC_LANES), shifts);
            chain[j] = is_squared ? vec_fma(d, d, chain[j]) : vec_add(chain[j], d);
        }
    for (size_t j = 0; i < n; i += VEC_LANES, j++) {
        size_t n_left = n - i;
        vec d = vec_sub(n_left < VEC_LANES ? vec_load_n(x + i, n_left) : vec_load(x + i), shifts);
        d = vec_fill_from(d, n_left, 0.0f);
        chain[j] = is_squared ? vec_fma(d, d, chain[j]) : vec_add(chain[j], d);
    }
    return vec_sum(vec_add(vec_add(chain[0], chain[1]), vec_add(chain[2], chain[3])));
}

static void rms_norm(float *y, const float *x, const float *w, size_t n, float eps)
{
    vec scale = vec_set1(1.0f / sqrtf(sum_row(x, n, 0.0f, true) / (float)n + eps));
#define BODY(LOAD, STORE) STORE(y + i, vec_mul(vec_mul(LOAD(x + i), scale), LOAD(w + i)))
    FOR_VECTORS(n, BODY);
#undef BODY
}

static void layer_norm(float *y, const float *x, const float *w, const float *b, size_t n, float eps)
{
    float mean = sum_row(x, n, 0.0f, false) / (float)n;
    vec scale = vec_set1(1.0f / sqrtf(sum_row(x, n, mean, true) / (float)n + eps)), shift = vec_set1(mean);
#define BODY(LOAD, STORE)                                                                                          \
    STORE(y + i, vec_fma(vec_mul(vec_sub(LOAD(x + i), shift), scale), LOAD(w + i), LOAD(b + i)))
    FOR_VECTORS(n, BODY);
#undef BODY
}

static void rotate(float *x, const float *cos, const float *sin, size_t n_pair)
{
    float *z = x + n_pair;
#define BODY(LOAD, STORE)                                                                                          \
    {                                                                                                              \
        vec a = LOAD(x + i), b = LOAD(z + i), c = LOAD(cos + i), s = LOAD(sin + i);                                \
        STORE(x + i, vec_sub(vec_mul(a, c), vec_mul(b, s)));                                                       \
        STORE(z + i, vec_add(vec_mul(b, c), vec_mul(a, s)));                                                       \
    }
    FOR_VECTORS(n_pair, BODY);
#undef BODY
}

static void f32_to_bf16(qvl_bf16 *y, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES)
        vec_store_bf16(y + i, vec_load(x + i));
    if (i < n)
        vec_store_bf16_n(y + i, vec_load_n(x + i, n - i), n - i);
}

static void bf16_to_f32(float *y, const qvl_bf16 *x, size_t n)
{
    size_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES)
        vec_store(y + i, vec_load_bf16(x + i));
    if (i < n)
        vec_store_n(y + i, vec_load_bf16_n(x + i, n - i), n - i);
}

static void f16_to_f32(float *y, const qvl_f16 *x, size_t n)
{
    size_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES)
        vec_store(y + i, vec_load_f16(x + i));
    if (i < n)
        vec_store_n(y + i, vec_load_f16_n(x + i, n - i), n - i);
}

static void add(float *y, const float *x, size_t n)
{
#define BODY(LOAD, STORE) STORE(y + i, vec_add(LOAD(y + i), LOAD(x + i)))
    FOR_VECTORS(n, BODY);
#undef BODY
}

static void add_scaled(float *y, const float *x, float a, size_t n)
{
    vec scale = vec_set1(a);
#define BODY(LOAD, STORE) STORE(y + i, vec_add(LOAD(y + i), vec_mul(scale, LOAD(x + i))))
    FOR_VECTORS(n, BODY);
#undef BODY
}

/* 0.5 y (1 + tanh u) = y / (1 + exp(-2 u)) */
QVL_INLINE vec gelu_tanh_of(vec y)
{
    vec cube = vec_mul(vec_mul(y, y), y);
    vec minus_2u = vec_mul(vec_fma(vec_set1(0.044715f), cube, y), vec_set1(-1.595769122f)); /* -2 sqrt(2/pi) */
    return vec_div(y, vec_add(vec_set1(1.0f), vec_exp(minus_2u)));
}

static void gelu_tanh(float *y, size_t n)
{
#define BODY(LOAD, STORE) STORE(y + i, gelu_tanh_of(LOAD(y + i)))
    FOR_VECTORS(n, BODY);
#undef BODY
}

static void gelu_erf(float *y, size_t n)
{
#define BODY(LOAD, STORE)                                                                                          \
    {                                                                                                              \
        vec v = LOAD(y + i), half = vec_mul(v, vec_set1(0.5f));                                                    \
        STORE(y + i, vec_fma(half, vec_erf(vec_mul(v, vec_set1(0.7071067812f))), half));                           \
    }
    FOR_VECTORS(n, BODY);
#undef BODY
}

static void silu_mul(float *y, const float *gate, const float *up, size_t n)
{
#define BODY(LOAD, STORE)                                                                                          \
    {                                                                                                              \
        vec g = LOAD(gate + i);                                                                                    \
        vec s = vec_div(g, vec_add(vec_set1(1.0f), vec_exp(vec_sub(vec_zero(), g))));                              \
        STORE(y + i, vec_mul(s, LOAD(up + i)));                                                                    \
    }
    FOR_VECTORS(n, BODY);
#undef BODY
}

static void store_k_bf16(qvl_bf16 *k_block, size_t i_pos, const float *k, size_t head_dim)
{
    qvl_bf16 row[QVL_MAX_HEAD_DIM];
    f32_to_bf16(row, k, head_dim);
    qvl_bf16 *pair = k_block + (i_pos / 16 * (head_dim / 2) * 16 + i_pos % 16) * 2;
    for (size_t j = 0; j < head_dim / 2; j++, pair += 32)
        memcpy(pair, row + 2 * j, 2 * sizeof *row);
}

/* Element by element: a wider store would also write the other key of the pair, which another thread may be storing
 * at the same moment. */
static void store_v_bf16(qvl_bf16 *v_block, size_t i_pos, const float *v, size_t head_dim)
{
    qvl_bf16 row[QVL_MAX_HEAD_DIM];
    f32_to_bf16(row, v, head_dim);
    qvl_bf16 *half = v_block + i_pos / 2 * qvl_head_dim_padded(head_dim) * 2 + i_pos % 2;
    for (size_t dim = 0; dim < head_dim; dim++)
        half[2 * dim] = row[dim];
}

static void store_v_f32(float *v_block, size_t i_pos, const float *v, size_t head_dim)
{
    memcpy(v_block + i_pos * qvl_head_dim_padded(head_dim), v, head_dim * sizeof *v);
}

QVL_INLINE void overlay_elementwise(struct qvl_kernels *table)
{
    table->rms_norm = rms_norm;
    table->layer_norm = layer_norm;
    table->rotate = rotate;
    table->f32_to_bf16 = f32_to_bf16;
    table->bf16_to_f32 = bf16_to_f32;
    table->f16_to_f32 = f16_to_f32;
    table->add = add;
    table->add_scaled = add_scaled;
    table->gelu_tanh = gelu_tanh;
    table->gelu_erf = gelu_erf;
    table->silu_mul = silu_mul;
    table->store_k_bf16 = store_k_bf16;
    table->store_v_bf16 = store_v_bf16;
    table->store_v_f32 = store_v_f32;
}

#endif

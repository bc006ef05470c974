/* attention: what tiled ("flash") attention saves in time and in memory, beside plain attention made of the same
 * bf16 products.
 *
 *     attention [PAIRS]        (9; of the two, one after the other each time, on all threads)
 *
 * Plain attention is what the formula says: all scores q k^T of a head, their softmax, the probabilities times v,
 * each matrix whole in memory; a thread has one head at a time, which is the most frugal plain way. Both begin with
 * queries, keys and values in f32 as the model has them after rotation, and what each needs them in belongs to its
 * time. Causal: the tiled one leaves out the keys that a row does not see, the plain one computes all scores and
 * masks. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/os.h"
#include "base/pool.h"
#include "kernel/kernel.h"

enum { MAX_PAIRS = 99, JOB_ROWS = 32, WEIGHT_ROWS = 64 };

struct shape {
    const char *what;
    size_t n_head, n_kv_head, head_dim, n; /* n positions */
    bool is_causal;
};

struct bench {
    struct shape shape;
    struct qvl_pool *pool;
    const struct qvl_kernels *kernels;
    float *q, *k, *v; /* [n_head or n_kv_head, n, head_dim] */
    float *out;       /* [n_head, n, head_dim] */
    char *block;      /* tiled: keys and values of a head, block after block */
    const void **k_block, **v_block;
    uint32_t *n_key;      /* [n] */
    char *scratch, *room; /* [n_thread] tiled; plain */
    size_t room_bytes, block_bytes;
};

static void *allocate(size_t n_bytes)
{
    void *p = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        fprintf(stderr, "attention: %zu MB of memory cannot be had\n", n_bytes >> 20);
        exit(1);
    }
    return p;
}

/* ---- tiled ------------------------------------------------------------------------------------------------ */

static size_t n_block_of(const struct shape *shape)
{
    return (shape->n + QVL_KV_BLOCK - 1) / QVL_KV_BLOCK;
}

static void store_block(void *arg, size_t i_job, size_t i_thread)
{
    const struct bench *b = arg;
    const struct shape *s = &b->shape;
    size_t n_block = n_block_of(s), i_head = i_job / n_block, first = i_job % n_block * QVL_KV_BLOCK;
    (void)i_thread;
    for (size_t i = 0; i < QVL_KV_BLOCK && first + i < s->n; i++) {
        size_t at = (i_head * s->n + first + i) * s->head_dim;
        b->kernels->store_k_bf16((qvl_bf16 *)b->k_block[i_job], i, b->k + at, s->head_dim);
        b->kernels->store_v_bf16((qvl_bf16 *)b->v_block[i_job], i, b->v + at, s->head_dim);
    }
}

static void attend_tiled(void *arg, size_t i_job, size_t i_thread)
{
    const struct bench *b = arg;
    const struct shape *s = &b->shape;
    size_t per_head = (s->n + JOB_ROWS - 1) / JOB_ROWS, i_head = i_job / per_head,
           i_row = i_job % per_head * JOB_ROWS;
    size_t at = (i_head * s->n + i_row) * s->head_dim, i_kv = i_head / (s->n_head / s->n_kv_head);
    b->kernels->attention_bf16(&(struct qvl_attention_job){
        .q = b->q + at,
        .q_stride = s->head_dim,
        .out = b->out + at,
        .out_stride = s->head_dim,
        .n_row = qvl_min_size(JOB_ROWS, s->n - i_row),
        .n_key = b->n_key + i_row,
        .k_block = b->k_block + i_kv * n_block_of(s),
        .v_block = b->v_block + i_kv * n_block_of(s),
        .head_dim = s->head_dim,
        .scale = 1 / sqrtf((float)s->head_dim),
        .scratch = b->scratch + i_thread * qvl_attention_scratch_bytes(s->head_dim),
    });
}

static void run_tiled(struct bench *b)
{
    const struct shape *s = &b->shape;
    qvl_pool_run(b->pool, s->n_kv_head * n_block_of(s), store_block, b, NULL);
    qvl_pool_run(b->pool, s->n_head * ((s->n + JOB_ROWS - 1) / JOB_ROWS), attend_tiled, b, NULL);
}

/* ---- plain ------------------------------------------------------------------------------------------------ */

struct plain {                  /* of a head, in the room of its thread */
    qvl_bf16 *q, *k, *v_turned; /* [n, head_dim] each, v_turned [head_dim, n] */
    float *score;               /* [n, n] */
    qvl_bf16 *probability;      /* [n, n] */
    float *sum;                 /* [n] */
    size_t q_stride, p_stride, n_bytes;
};

static struct plain lay_out(const struct shape *s, char *at)
{
    struct plain p = {.q_stride = qvl_row_stride_bytes(s->head_dim, QVL_BF16),
                      .p_stride = qvl_row_stride_bytes(s->n, QVL_BF16)};
    char *begin = at;
    p.q = (qvl_bf16 *)at, at += s->n * p.q_stride;
    p.k = (qvl_bf16 *)at, at += s->n * p.q_stride;
    p.v_turned = (qvl_bf16 *)at, at += s->head_dim * p.p_stride;
    p.probability = (qvl_bf16 *)at, at += s->n * p.p_stride;
    p.score = (float *)at, at += qvl_round_up(s->n * s->n * sizeof(float), 64);
    p.sum = (float *)at, at += qvl_round_up(s->n * sizeof(float), 64);
    p.n_bytes = (size_t)(at - begin);
    return p;
}

/* e^x for x <= 0 to about 2^-14, finer than the bf16 that becomes of it, in a form that the compiler makes vectors
 * of. */
static inline float exp_of(float x)
{
    float t = x * 1.44269504f < -126 ? -126 : x * 1.44269504f;
    int whole = (int)t; /* towards zero, so that -1 < f <= 0 */
    float f = t - (float)whole;
    float y =
        1 + f * (0.69314718f +
                 f * (0.24022651f + f * (0.05550411f + f * (0.00961813f + f * (0.00133336f + f * 0.00015404f)))));
    union {
        int i;
        float f;
    } power = {.i = (whole + 127) << 23};
    return y * power.f;
}

__attribute__((optimize("O3", "associative-math", "no-signed-zeros", "no-trapping-math"),
               target_clones("avx512f", "avx2", "default"))) static float
soften(float *score, size_t n, float scale)
{
    float max = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++)
        max = score[i] > max ? score[i] : max;
    for (size_t i = 0; i < n; i++) {
        score[i] = exp_of((score[i] - max) * scale);
        sum += score[i];
    }
    return sum;
}

static void multiply(const struct bench *b, float *c, size_t c_stride, const qvl_bf16 *w, size_t w_stride,
                     const qvl_bf16 *x, size_t x_stride, size_t n_row, size_t n_tok, size_t k)
{
    size_t step = b->kernels->n_tok_at_once;
    for (size_t t = 0; t < n_tok; t += step)
        for (size_t r = 0; r < n_row; r += WEIGHT_ROWS)
            b->kernels->gemm_bf16_bf16(c + t * c_stride + r, c_stride,
                                       (const qvl_bf16 *)((const char *)w + r * w_stride), w_stride,
                                       (const qvl_bf16 *)((const char *)x + t * x_stride), x_stride,
                                       qvl_min_size(WEIGHT_ROWS, n_row - r), qvl_min_size(step, n_tok - t), k);
}

static void attend_plain(void *arg, size_t i_head, size_t i_thread)
{
    const struct bench *b = arg;
    const struct shape *s = &b->shape;
    const struct qvl_kernels *kernels = b->kernels;
    struct plain p = lay_out(s, b->room + i_thread * b->room_bytes);
    size_t d = s->head_dim, i_kv = i_head / (s->n_head / s->n_kv_head);
    const float *q = b->q + i_head * s->n * d, *k = b->k + i_kv * s->n * d, *v = b->v + i_kv * s->n * d;
    float *out = b->out + i_head * s->n * d;
    for (size_t i = 0; i < s->n; i++) {
        kernels->f32_to_bf16((qvl_bf16 *)((char *)p.q + i * p.q_stride), q + i * d, d);
        kernels->f32_to_bf16((qvl_bf16 *)((char *)p.k + i * p.q_stride), k + i * d, d);
    }
    for (size_t j = 0; j < d; j++)
        for (size_t i = 0; i < s->n; i++)
            kernels->f32_to_bf16((qvl_bf16 *)((char *)p.v_turned + j * p.p_stride) + i, v + i * d + j, 1);
    multiply(b, p.score, s->n, p.k, p.q_stride, p.q, p.q_stride, s->n, s->n, d);
    for (size_t i = 0; i < s->n; i++) {
        float *row = p.score + i * s->n;
        for (size_t j = b->n_key[i]; j < s->n; j++)
            row[j] = -INFINITY;
        p.sum[i] = soften(row, s->n, 1 / sqrtf((float)d));
        kernels->f32_to_bf16((qvl_bf16 *)((char *)p.probability + i * p.p_stride), row, s->n);
    }
    multiply(b, out, d, p.v_turned, p.p_stride, p.probability, p.p_stride, d, s->n, s->n);
    for (size_t i = 0; i < s->n; i++)
        for (size_t j = 0; j < d; j++)
            out[i * d + j] /= p.sum[i];
}

static void run_plain(struct bench *b)
{
    qvl_pool_run(b->pool, b->shape.n_head, attend_plain, b, NULL);
}

/* ---- both ------------------------------------------------------------------------------------------------- */

static double time_of(struct bench *b, void (*run)(struct bench *))
{
    double begin_ms = qvl_now_ms();
    run(b);
    return qvl_now_ms() - begin_ms;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *value, size_t n)
{
    qsort(value, n, sizeof *value, by_value);
    return value[n / 2];
}

static void fill(float *x, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) / 8388608.0f - 1;
    }
}

/* How far the two are apart, relative to the largest result: the same is computed. */
static double difference(struct bench *b, size_t n)
{
    float *other = allocate(n * sizeof *other), worst = 0, largest = 0;
    run_plain(b);
    memcpy(other, b->out, n * sizeof *other);
    run_tiled(b);
    for (size_t i = 0; i < n; i++) {
        worst = fmaxf(worst, fabsf(b->out[i] - other[i]));
        largest = fmaxf(largest, fabsf(other[i]));
    }
    munmap(other, n * sizeof *other);
    return (double)(worst / largest);
}

static void measure(struct bench *b, size_t n_pair)
{
    const struct shape *s = &b->shape;
    uint32_t n_thread = qvl_pool_n_thread(b->pool);
    size_t n_q = s->n_head * s->n * s->head_dim, n_kv = s->n_kv_head * s->n * s->head_dim;
    size_t n_block = s->n_kv_head * n_block_of(s), k_bytes = qvl_k_block_bytes(s->head_dim, QVL_BF16);
    double ms[2][MAX_PAIRS], ratio[MAX_PAIRS];
    b->block_bytes = n_block * (k_bytes + qvl_v_block_bytes(s->head_dim, QVL_BF16));
    b->room_bytes = qvl_round_up(lay_out(s, NULL).n_bytes, 4096);
    size_t scratch_bytes = n_thread * qvl_attention_scratch_bytes(s->head_dim);
    b->q = allocate(n_q * sizeof *b->q), b->out = allocate(n_q * sizeof *b->out);
    b->k = allocate(n_kv * sizeof *b->k), b->v = allocate(n_kv * sizeof *b->v);
    b->block = allocate(b->block_bytes), b->room = allocate(n_thread * b->room_bytes);
    b->scratch = allocate(scratch_bytes);
    b->k_block = allocate(n_block * sizeof *b->k_block), b->v_block = allocate(n_block * sizeof *b->v_block);
    b->n_key = allocate(s->n * sizeof *b->n_key);
    for (size_t i = 0; i < n_block; i++) {
        b->k_block[i] = b->block + i * (b->block_bytes / n_block);
        b->v_block[i] = b->block + i * (b->block_bytes / n_block) + k_bytes;
    }
    for (size_t i = 0; i < s->n; i++)
        b->n_key[i] = (uint32_t)(s->is_causal ? i + 1 : s->n);
    fill(b->q, n_q, 1), fill(b->k, n_kv, 2), fill(b->v, n_kv, 3);
    double apart = difference(b, n_q);
    for (size_t i = 0; i < n_pair; i++) {
        ms[0][i] = time_of(b, run_tiled);
        ms[1][i] = time_of(b, run_plain);
        ratio[i] = ms[1][i] / ms[0][i];
    }
    double times = median(ratio, n_pair);
    printf("%-28s %6zu %10.1f %10.1f %7.2fx %10.2f %10.2f   %.4f\n", s->what, s->n, median(ms[0], n_pair),
           median(ms[1], n_pair), times, (double)(b->block_bytes + scratch_bytes) / 1e6,
           (double)(n_thread * b->room_bytes) / 1e6, apart);
    fflush(stdout);
    munmap(b->q, n_q * sizeof *b->q), munmap(b->out, n_q * sizeof *b->out);
    munmap(b->k, n_kv * sizeof *b->k), munmap(b->v, n_kv * sizeof *b->v);
    munmap(b->block, b->block_bytes), munmap(b->room, n_thread * b->room_bytes);
    munmap(b->scratch, scratch_bytes);
    munmap(b->k_block, n_block * sizeof *b->k_block), munmap(b->v_block, n_block * sizeof *b->v_block);
    munmap(b->n_key, s->n * sizeof *b->n_key);
}

int main(int argc, char **argv)
{
    static const struct shape shapes[] = {
        {"vision, 16 heads of 64", 16, 16, 64, 1024, false},
        {"vision, 16 heads of 64", 16, 16, 64, 4096, false},
        {"vision, 16 heads of 64", 16, 16, 64, 8160, false},
        {"decoder, 16/8 heads of 128", 16, 8, 128, 512, true},
        {"decoder, 16/8 heads of 128", 16, 8, 128, 2048, true},
        {"decoder, 16/8 heads of 128", 16, 8, 128, 8192, true},
    };
    struct bench b = {.pool = NULL};
    struct qvl_error err = {0};
    size_t n_pair = argc > 1 ? strtoul(argv[1], NULL, 10) : 9;
    if (n_pair < 1 || n_pair > MAX_PAIRS) {
        fprintf(stderr, "usage: attention [PAIRS]\n");
        return 2;
    }
    if (qvl_kernels_select(NULL, &b.kernels, &err) || qvl_pool_open(qvl_os_n_cpu(), &b.pool, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    printf("%s, %u threads, %zu pairs; medians\n", b.kernels->name, qvl_pool_n_thread(b.pool), n_pair);
    printf("%-28s %6s %10s %10s %8s %10s %10s   %s\n", "one layer", "n", "tiled ms", "plain ms", "ratio",
           "tiled MB", "plain MB", "apart");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        b.shape = shapes[i];
        measure(&b, n_pair);
    }
    qvl_pool_close(b.pool);
    return 0;
}

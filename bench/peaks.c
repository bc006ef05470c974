/* peaks: what this machine can do, and how much of it the kernels reach.
 *
 *     peaks [--json] [--threads N] [--repeat N]
 *
 * First the limits (multiply-adds per second of each vector unit, bytes per second from memory), then the kernels
 * of the chosen level (QVL_ISA caps it) on the shapes of the 2B model, all on all threads at once. Each number is
 * the best and the median of N runs: on a shared machine only the best says what the processor can, and only the
 * median what one gets. Weights are walked through a buffer far larger than any cache, as in a real step. */
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

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define MAX_RUNS 100
#define WEIGHT_BYTES ((size_t)1 << 30)
#define PEAK_STEPS 2000000 /* of 12 instructions: about 7 ms */
#define STREAM_JOB_BYTES ((size_t)4 << 20)
#define ROW_BLOCK ((size_t)64) /* weight rows of one job, as in model/linear.c */
#define TOK_BLOCK ((size_t)288) /* tokens of one call */

struct bench {
    struct qvl_pool *pool;
    const struct qvl_kernels *kernels;
    uint32_t n_thread;
    uint32_t n_run;
    bool is_json;
    bool has_printed;
    char *weights;                         /* [WEIGHT_BYTES] finite as bf16 and as f32 */
    size_t i_matrix;                       /* where in the weights the next run begins */
    double peak_f32, peak_bf16, peak_read; /* best; 0 where unknown */
};

/* ---- measuring ------------------------------------------------------------------------------------ */

struct rate {
    double best, median; /* units of work per nanosecond: GMAC/s, GB/s */
};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The same run again and again, after one that only warms up. */
static struct rate measure(struct bench *bench, size_t n_job, qvl_job_fn *job, void *arg, double work,
                           void (*next)(void *arg))
{
    double run_ms[MAX_RUNS];
    qvl_pool_run(bench->pool, n_job, job, arg, NULL);
    for (uint32_t i = 0; i < bench->n_run; i++) {
        if (next)
            next(arg);
        double begin_ms = qvl_now_ms();
        qvl_pool_run(bench->pool, n_job, job, arg, NULL);
        run_ms[i] = qvl_now_ms() - begin_ms;
    }
    qsort(run_ms, bench->n_run, sizeof *run_ms, by_value);
    return (struct rate){work / run_ms[0] / 1e6, work / run_ms[bench->n_run / 2] / 1e6};
}

/* limit == 0: there is nothing to compare with. */
static void report(struct bench *bench, const char *name, const char *unit, struct rate rate, double limit)
{
    if (bench->is_json) {
        printf("%s\n  {\"name\": \"%s\", \"unit\": \"%s\", \"best\": %.2f, \"median\": %.2f",
               bench->has_printed ? "," : "", name, unit, rate.best, rate.median);
        if (limit > 0)
            printf(", \"of_peak\": %.3f", rate.best / limit);
        printf("}");
    } else {
        printf("%-34s %9.1f %9.1f %s", name, rate.best, rate.median, unit);
        if (limit > 0)
            printf("  %4.0f %%", 100 * rate.best / limit);
        printf("\n");
    }
    bench->has_printed = true;
    fflush(stdout);
}

/* ---- the machine's limits ------------------------------------------------------------------------- */

struct peak {
    const char *name;
    bool is_present;
    double mac_per_step;
    qvl_job_fn *job;
};

static volatile float sink; /* keeps the loops from being dropped */

#if defined(__x86_64__)

/* Twelve independent chains cover the latency of any unit so far. */
#define PEAK_LOOP(name, isa, vector, zero, step, first_float)                                                      \
    __attribute__((target(isa))) static void name(void *arg, size_t i_job, size_t i_thread)                        \
    {                                                                                                              \
        (void)arg, (void)i_job, (void)i_thread;                                                                    \
        vector a = zero, b = zero, c = zero, d = zero, e = zero, f = zero;                                         \
        vector g = zero, h = zero, i = zero, j = zero, k = zero, l = zero, x = zero;                               \
        __asm__("" : "+v"(x));                                                                                     \
        for (size_t n = 0; n < PEAK_STEPS; n++) {                                                                  \
            a = step(a, x), b = step(b, x), c = step(c, x), d = step(d, x), e = step(e, x), f = step(f, x);        \
            g = step(g, x), h = step(h, x), i = step(i, x), j = step(j, x), k = step(k, x), l = step(l, x);        \
            __asm__("" : "+v"(a), "+v"(b), "+v"(c), "+v"(d), "+v"(e), "+v"(f));                                    \
            __asm__("" : "+v"(g), "+v"(h), "+v"(i), "+v"(j), "+v"(k), "+v"(l));                                    \
        }                                                                                                          \
        sink = first_float(a) + first_float(l);                                                                    \
    }

#define FMA_YMM(acc, x) _mm256_fmadd_ps(x, x, acc)
#define FMA_ZMM(acc, x) _mm512_fmadd_ps(x, x, acc)
#define DP_BF16(acc, x) _mm512_dpbf16_ps(acc, (__m512bh)_mm512_castps_si512(x), (__m512bh)_mm512_castps_si512(x))
#define DP_INT8(acc, x) _mm512_dpbusd_epi32(acc, x, x)
#define FIRST_INT(v) (float)_mm_cvtsi128_si32(_mm512_castsi512_si128(v))

PEAK_LOOP(peak_f32_avx2, "avx2,fma", __m256, _mm256_setzero_ps(), FMA_YMM, _mm256_cvtss_f32)
PEAK_LOOP(peak_f32_avx512, "avx512f", __m512, _mm512_setzero_ps(), FMA_ZMM, _mm512_cvtss_f32)
PEAK_LOOP(peak_bf16_avx512, "avx512f,avx512bf16", __m512, _mm512_setzero_ps(), DP_BF16, _mm512_cvtss_f32)
PEAK_LOOP(peak_int8_avx512, "avx512f,avx512vnni", __m512i, _mm512_setzero_si512(), DP_INT8, FIRST_INT)

static void measure_units(struct bench *bench)
{
    const struct peak peaks[] = {
        {"f32 vfmadd ymm", qvl_kernels_of(QVL_ISA_AVX2), 12 * 8, peak_f32_avx2},
        {"f32 vfmadd zmm", qvl_kernels_of(QVL_ISA_AVX512), 12 * 16, peak_f32_avx512},
        {"bf16 vdpbf16ps zmm", qvl_kernels_of(QVL_ISA_AVX512_BF16), 12 * 32, peak_bf16_avx512},
        {"int8 vpdpbusd zmm", qvl_kernels_of(QVL_ISA_AVX512) && __builtin_cpu_supports("avx512vnni"), 12 * 64,
         peak_int8_avx512},
    };
    for (size_t i = 0; i < sizeof peaks / sizeof *peaks; i++) {
        const struct peak *peak = &peaks[i];
        if (!peak->is_present)
            continue;
        double work = peak->mac_per_step * PEAK_STEPS * bench->n_thread;
        struct rate rate = measure(bench, bench->n_thread, peak->job, NULL, work, NULL);
        report(bench, peak->name, "GMAC/s", rate, 0);
        if (i < 2)
            bench->peak_f32 = fmax(bench->peak_f32, rate.best);
        else if (i == 2)
            bench->peak_bf16 = rate.best;
    }
}

#else

static void measure_units(struct bench *bench)
{
    (void)bench;
}

#endif

/* One word of each cache line, in four streams; the traffic is the whole line. */
static void read_memory(void *arg, size_t i_job, size_t i_thread)
{
    (void)i_thread;
    const struct bench *bench = arg;
    const char *p = bench->weights + i_job * STREAM_JOB_BYTES;
    size_t quarter = STREAM_JOB_BYTES / 4;
    uint32_t sum = 0;
    for (size_t i = 0; i < quarter; i += 64) {
        uint32_t word[4];
        for (size_t j = 0; j < 4; j++)
            memcpy(&word[j], p + j * quarter + i, sizeof word[j]);
        sum += word[0] ^ word[1] ^ word[2] ^ word[3];
    }
    sink = (float)sum;
}

/* ---- matrix products ------------------------------------------------------------------------------ */

struct product {
    struct bench *bench;
    size_t n_row, k, n_tok, n_matrix;
    enum qvl_dtype x_type;
    size_t x_stride_bytes;
    void *x;
    float *c;
};

static void multiply_rows(void *arg, size_t i_job, size_t i_thread)
{
    (void)i_thread;
    const struct product *product = arg;
    const struct qvl_kernels *kernels = product->bench->kernels;
    size_t first = i_job * ROW_BLOCK;
    size_t i_row = first % product->n_row, n_row = qvl_min_size(ROW_BLOCK, product->n_row - i_row);
    const char *w = product->bench->weights + (product->bench->i_matrix * product->n_row + first) * product->k * 2;
    for (size_t t = 0; t < product->n_tok; t += TOK_BLOCK) {
        size_t n_tok = qvl_min_size(TOK_BLOCK, product->n_tok - t);
        const char *x = (const char *)product->x + t * product->x_stride_bytes;
        float *c = product->c + t * product->n_row + i_row;
        if (product->x_type == QVL_BF16)
            kernels->gemm_bf16_bf16(c, product->n_row, (const qvl_bf16 *)w, product->k * 2, (const qvl_bf16 *)x,
                                    product->x_stride_bytes, n_row, n_tok, product->k);
        else
            kernels->gemm_bf16_f32(c, product->n_row, (const qvl_bf16 *)w, product->k * 2, (const float *)x,
                                   product->x_stride_bytes, n_row, n_tok, product->k);
    }
}

static void next_matrix(void *arg)
{
    struct product *product = arg;
    size_t n_held = WEIGHT_BYTES / (product->n_row * product->k * 2);
    product->bench->i_matrix = (product->bench->i_matrix + 1) % (n_held - product->n_matrix + 1);
}

static void *allocate(size_t n_bytes)
{
    void *p = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        fprintf(stderr, "peaks: no memory for %zu bytes\n", n_bytes);
        exit(1);
    }
    return p;
}

static void measure_product(struct bench *bench, enum qvl_dtype x_type, size_t n_tok)
{
    struct product product = {.bench = bench, .n_row = 6144, .k = 2048, .n_tok = n_tok, .x_type = x_type};
    size_t matrix_bytes = product.n_row * product.k * 2;
    /* one token: as a decode step does, through everything */
    product.n_matrix = n_tok == 1 ? WEIGHT_BYTES / matrix_bytes : 1;
    product.x_stride_bytes = qvl_row_stride_bytes(product.k, x_type);
    size_t x_bytes = n_tok * product.x_stride_bytes, c_bytes = n_tok * product.n_row * sizeof(float);
    product.x = allocate(x_bytes);
    product.c = allocate(c_bytes);
    memcpy(product.x, bench->weights, x_bytes); /* any finite numbers */
    bench->i_matrix = 0;

    double n_mac = (double)(product.n_row * product.k * n_tok * product.n_matrix);
    size_t n_job = (product.n_row + ROW_BLOCK - 1) / ROW_BLOCK;
    struct rate rate = measure(bench, n_job * product.n_matrix, multiply_rows, &product, n_mac, next_matrix);
    bool is_bf16 = x_type == QVL_BF16 && bench->kernels->is_bf16_fast;
    char name[64];
    snprintf(name, sizeof name, "gemm_bf16_%s, %zu token%s", x_type == QVL_BF16 ? "bf16" : "f32", n_tok,
             n_tok == 1 ? "" : "s");
    report(bench, name, "GMAC/s", rate, is_bf16 ? bench->peak_bf16 : bench->peak_f32);
    if (n_tok == 1) {
        struct rate bytes = {rate.best * 2, rate.median * 2};
        report(bench, "    the same, weights read", "GB/s", bytes, bench->peak_read);
    }
    munmap(product.x, x_bytes);
    munmap(product.c, c_bytes);
}

/* ---- attention ------------------------------------------------------------------------------------ */

#define ATTENTION_JOB_ROWS ((size_t)96)

struct heads {
    struct bench *bench;
    size_t head_dim, n_head, n_row, n_key;
    const void **k_block, **v_block; /* [n_head, blocks] */
    uint32_t *n_key_of_row;
    float *q, *out; /* [n_head, n_row, head_dim] */
    char *scratch;  /* [n_thread] */
};

static void attend_rows(void *arg, size_t i_job, size_t i_thread)
{
    const struct heads *heads = arg;
    size_t jobs_per_head = (heads->n_row + ATTENTION_JOB_ROWS - 1) / ATTENTION_JOB_ROWS;
    size_t i_head = i_job / jobs_per_head, i_row = i_job % jobs_per_head * ATTENTION_JOB_ROWS;
    size_t n_block = heads->n_key / QVL_KV_BLOCK, at = (i_head * heads->n_row + i_row) * heads->head_dim;
    struct qvl_attention_job job = {
        .q = heads->q + at,
        .q_stride = heads->head_dim,
        .out = heads->out + at,
        .out_stride = heads->head_dim,
        .n_row = qvl_min_size(ATTENTION_JOB_ROWS, heads->n_row - i_row),
        .n_key = heads->n_key_of_row,
        .k_block = heads->k_block + i_head * n_block,
        .v_block = heads->v_block + i_head * n_block,
        .head_dim = heads->head_dim,
        .scale = 1 / sqrtf((float)heads->head_dim),
        .scratch = heads->scratch + i_thread * qvl_attention_scratch_bytes(heads->head_dim),
    };
    heads->bench->kernels->attention_bf16(&job);
}

static void measure_attention(struct bench *bench, size_t head_dim, size_t n_head, size_t n_row, size_t n_key)
{
    struct heads heads = {.bench = bench, .head_dim = head_dim, .n_head = n_head, .n_row = n_row, .n_key = n_key};
    size_t n_block = n_head * n_key / QVL_KV_BLOCK, n_q = n_head * n_row * head_dim;
    size_t block_bytes =
        qvl_k_block_bytes(head_dim, QVL_BF16); /* head_dim is a multiple of 16: values need the same */
    heads.k_block = calloc(n_block, sizeof *heads.k_block);
    heads.v_block = calloc(n_block, sizeof *heads.v_block);
    heads.n_key_of_row = calloc(n_row, sizeof *heads.n_key_of_row);
    heads.q = allocate(n_q * sizeof *heads.q);
    heads.out = allocate(n_q * sizeof *heads.out);
    heads.scratch = allocate(bench->n_thread * qvl_attention_scratch_bytes(head_dim));
    if (!heads.k_block || !heads.v_block || !heads.n_key_of_row)
        exit(1);
    for (size_t i = 0; i < n_block; i++) {
        heads.k_block[i] = bench->weights + 2 * i * block_bytes;
        heads.v_block[i] = bench->weights + (2 * i + 1) * block_bytes;
    }
    for (size_t i = 0; i < n_row; i++)
        heads.n_key_of_row[i] = (uint32_t)n_key;
    for (size_t i = 0; i < n_q; i++)
        heads.q[i] = (float)(i * 2654435761u % 2048) / 1024 - 1;

    double n_mac = 2.0 * (double)(n_head * n_row) * (double)(n_key * head_dim);
    size_t n_job = n_head * ((n_row + ATTENTION_JOB_ROWS - 1) / ATTENTION_JOB_ROWS);
    struct rate rate = measure(bench, n_job, attend_rows, &heads, n_mac, NULL);
    char name[64];
    snprintf(name, sizeof name, "attention, d %zu, %zu x %zu", head_dim, n_row, n_key);
    report(bench, name, "GMAC/s", rate, bench->kernels->is_bf16_fast ? bench->peak_bf16 : bench->peak_f32);
    if (n_row <= 8) {
        double bytes_per_mac = 2.0 / (double)n_row; /* 4 bytes of key and value for 2 n_row products */
        report(bench, "    the same, keys and values read", "GB/s",
               (struct rate){rate.best * bytes_per_mac, rate.median * bytes_per_mac}, bench->peak_read);
    }
    munmap(heads.q, n_q * sizeof *heads.q);
    munmap(heads.out, n_q * sizeof *heads.out);
    munmap(heads.scratch, bench->n_thread * qvl_attention_scratch_bytes(head_dim));
    free(heads.n_key_of_row);
    free(heads.k_block);
    free(heads.v_block);
}

/* ---- program -------------------------------------------------------------------------------------- */

/* bf16 between 2^-6 and 2^-3 in size, both signs; read as f32 they are as harmless. */
static void fill_weights(char *weights)
{
    uint32_t state = 1;
    for (size_t i = 0; i < WEIGHT_BYTES; i += 2) {
        state = state * 1664525 + 1013904223;
        uint16_t h = (uint16_t)(0x3c80 + (state >> 24) % 0x180) | (uint16_t)(state >> 16 & 0x8000);
        memcpy(weights + i, &h, sizeof h);
    }
}

static bool read_options(int argc, char **argv, struct bench *bench)
{
    for (int i = 1; i < argc; i++) {
        bool has_value = i + 1 < argc;
        if (strcmp(argv[i], "--json") == 0)
            bench->is_json = true;
        else if (strcmp(argv[i], "--threads") == 0 && has_value)
            bench->n_thread = (uint32_t)strtoul(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--repeat") == 0 && has_value)
            bench->n_run = (uint32_t)strtoul(argv[++i], NULL, 10);
        else
            return false;
    }
    return bench->n_run >= 1 && bench->n_run <= MAX_RUNS;
}

int main(int argc, char **argv)
{
    struct bench bench = {.n_thread = qvl_os_n_cpu(), .n_run = 9};
    struct qvl_error err = {0};
    if (!read_options(argc, argv, &bench)) {
        fprintf(stderr, "usage: peaks [--json] [--threads N] [--repeat 1..%d]\n", MAX_RUNS);
        return 2;
    }
    if (qvl_kernels_select(NULL, &bench.kernels, &err) != QVL_OK ||
        qvl_pool_open(bench.n_thread, &bench.pool, &err) != QVL_OK) {
        fprintf(stderr, "peaks: %s\n", err.text);
        return 1;
    }
    bench.weights = allocate(WEIGHT_BYTES);
    fill_weights(bench.weights);

    if (bench.is_json)
        printf("{\"level\": \"%s\", \"threads\": %u, \"runs\": %u, \"rates\": [", bench.kernels->name,
               bench.n_thread, bench.n_run);
    else
        printf("level %s, %u threads, %u runs\n%-34s %9s %9s\n", bench.kernels->name, bench.n_thread, bench.n_run,
               "", "best", "median");
    measure_units(&bench);
    struct rate read = measure(&bench, WEIGHT_BYTES / STREAM_JOB_BYTES, read_memory, &bench, WEIGHT_BYTES, NULL);
    report(&bench, "memory read", "GB/s", read, 0);
    bench.peak_read = read.best;
    for (int is_f32 = 0; is_f32 < 2; is_f32++)
        for (size_t i = 0; i < 5; i++)
            measure_product(&bench, is_f32 ? QVL_F32 : QVL_BF16, (const size_t[]){1, 6, 32, 128, 256}[i]);
    measure_attention(&bench, 64, 2, 4096, 4096);
    measure_attention(&bench, 128, 2, 2048, 2048);
    measure_attention(&bench, 128, 8, 2, 65536);
    if (bench.is_json)
        printf("\n]}\n");

    munmap(bench.weights, WEIGHT_BYTES);
    qvl_pool_close(bench.pool);
    return 0;
}

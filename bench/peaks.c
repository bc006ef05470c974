/* peaks: what this machine can do, and how much of it the kernels reach alone, without a model around them.
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
#include "kernel/peak.h"

#define MAX_RUNS 100
#define WEIGHT_BYTES ((size_t)1 << 30)
#define ROW_BLOCK ((size_t)64)  /* weight rows of one job, as in model/linear.c */
#define TOK_BLOCK ((size_t)288) /* tokens of one call */

struct bench {
    struct qvl_pool *pool;
    const struct qvl_kernels *kernels;
    uint32_t n_thread;
    uint32_t n_run;
    bool is_json;
    bool has_printed;
    char *weights;                          /* [WEIGHT_BYTES] finite as bf16 and as f32 */
    size_t i_matrix;                        /* where in the weights the next run begins */
    double peak[QVL_PEAK_COUNT], peak_read; /* best; 0 where unknown */
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

static struct rate rate_of_runs(double *run_ms, size_t n, double work)
{
    qsort(run_ms, n, sizeof *run_ms, by_value);
    return (struct rate){work / run_ms[0] / 1e6, work / run_ms[n / 2] / 1e6};
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
    return rate_of_runs(run_ms, bench->n_run, work);
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

static struct rate rate_of(struct bench *bench, double (*run)(struct bench *, enum qvl_peak), enum qvl_peak peak)
{
    double run_ms[MAX_RUNS], work = run(bench, peak);
    for (uint32_t i = 0; i < bench->n_run; i++) {
        double begin_ms = qvl_now_ms();
        work = run(bench, peak);
        run_ms[i] = qvl_now_ms() - begin_ms;
    }
    return rate_of_runs(run_ms, bench->n_run, work);
}

static double run_unit(struct bench *bench, enum qvl_peak peak)
{
    return qvl_peak_run(qvl_peak_loop_of(peak), bench->pool, NULL);
}

static double run_read(struct bench *bench, enum qvl_peak peak)
{
    (void)peak;
    qvl_peak_read(bench->weights, WEIGHT_BYTES, bench->pool, NULL);
    return WEIGHT_BYTES;
}

static void measure_limits(struct bench *bench)
{
    static const char *const name[] = {"f32", "bf16", "int8"};
    for (int peak = 0; peak < QVL_PEAK_COUNT; peak++) {
        const struct qvl_peak_loop *loop = qvl_peak_loop_of((enum qvl_peak)peak);
        char text[64];
        if (!loop)
            continue;
        struct rate rate = rate_of(bench, run_unit, (enum qvl_peak)peak);
        snprintf(text, sizeof text, "%s %s", name[peak], loop->instruction);
        report(bench, text, "GMAC/s", rate, 0);
        bench->peak[peak] = rate.best;
    }
    struct rate read = rate_of(bench, run_read, QVL_PEAK_COUNT);
    report(bench, "memory read", "GB/s", read, 0);
    bench->peak_read = read.best;
}

/* ---- matrix products ------------------------------------------------------------------------------ */

/* Packed matrices take the whole buffer as one: any bytes are numbers to them. */
struct product {
    struct bench *bench;
    size_t n_row, k, n_tok, n_matrix, n_held; /* matrices: used in one run; in the buffer */
    enum qvl_dtype w_type, x_type;
    size_t x_stride_bytes;
    void *x;
    float *c;
};

static void multiply_rows(void *arg, size_t i_job, size_t i_thread)
{
    (void)i_thread;
    const struct product *product = arg;
    const struct qvl_kernels *kernels = product->bench->kernels;
    size_t first = i_job * ROW_BLOCK, stride = product->x_stride_bytes, k = product->k, c_stride = product->n_row;
    size_t i_row = first % product->n_row, n_row = qvl_min_size(ROW_BLOCK, product->n_row - i_row);
    size_t row0 = product->bench->i_matrix * product->n_row + first;
    const struct qvl_packed_head *packed = (const void *)product->bench->weights;
    const qvl_bf16 *w = (const qvl_bf16 *)(const void *)product->bench->weights + row0 * k;
    for (size_t t = 0; t < product->n_tok; t += TOK_BLOCK) {
        size_t n_tok = qvl_min_size(TOK_BLOCK, product->n_tok - t);
        const void *x = (const char *)product->x + t * stride;
        float *c = product->c + t * c_stride + i_row;
        if (product->w_type == QVL_Q8)
            kernels->gemm_q8_a8(c, c_stride, packed, row0, x, stride, n_row, n_tok, k);
        else if (product->w_type == QVL_Q4)
            kernels->gemm_q4_a8(c, c_stride, packed, row0, x, stride, n_row, n_tok, k);
        else if (product->x_type == QVL_BF16)
            kernels->gemm_bf16_bf16(c, c_stride, w, k * 2, x, stride, n_row, n_tok, k);
        else
            kernels->gemm_bf16_f32(c, c_stride, w, k * 2, x, stride, n_row, n_tok, k);
    }
}

static void next_matrix(void *arg)
{
    struct product *product = arg;
    product->bench->i_matrix = (product->bench->i_matrix + 1) % (product->n_held - product->n_matrix + 1);
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

/* Bytes of one weight. */
static double weight_bytes(enum qvl_dtype w_type)
{
    return w_type == QVL_BF16 ? 2 : QVL_PANEL_BLOCK_BYTES / (w_type == QVL_Q8 ? 64.0 : 128.0) / QVL_PANEL_ROWS;
}

/* Any finite numbers. */
static void fill_product_rows(const struct product *product)
{
    const float *numbers = (const float *)(const void *)product->bench->weights;
    for (size_t t = 0; t < product->n_tok; t++) {
        char *row = (char *)product->x + t * product->x_stride_bytes;
        if (product->x_type == QVL_A8)
            product->bench->kernels->f32_to_a8((void *)row, 0, numbers + t * product->k, product->k);
        else
            memcpy(row, numbers + t * product->k, product->x_stride_bytes);
    }
}

static void measure_product(struct bench *bench, enum qvl_dtype w_type, enum qvl_dtype x_type, size_t n_tok)
{
    static const char *const weights[] = {[QVL_BF16] = "bf16", [QVL_Q8] = "q8", [QVL_Q4] = "q4"};
    static const char *const rows[] = {[QVL_F32] = "f32", [QVL_BF16] = "bf16", [QVL_A8] = "a8"};
    struct product product = {
        .bench = bench, .n_row = 6144, .k = 2048, .n_tok = n_tok, .w_type = w_type, .x_type = x_type};
    double matrix_bytes = (double)(product.n_row * product.k) * weight_bytes(w_type);
    if (w_type == QVL_BF16) {
        product.n_held = (size_t)(WEIGHT_BYTES / matrix_bytes);
    } else {
        product.n_held = (size_t)((WEIGHT_BYTES - sizeof(struct qvl_packed_head)) /
                                  (matrix_bytes + (double)(product.n_row * sizeof(float)))); /* with factors */
        ((struct qvl_packed_head *)(void *)bench->weights)->n_out = (uint32_t)(product.n_held * product.n_row);
    }
    /* one token: as a decode step does, through everything */
    product.n_matrix = n_tok == 1 ? product.n_held : 1;
    product.x_stride_bytes = qvl_row_stride_bytes(product.k, x_type);
    size_t x_bytes = n_tok * product.x_stride_bytes, c_bytes = n_tok * product.n_row * sizeof(float);
    product.x = allocate(x_bytes);
    product.c = allocate(c_bytes);
    fill_product_rows(&product);
    bench->i_matrix = 0;

    double n_mac = (double)(product.n_row * product.k * n_tok * product.n_matrix);
    size_t n_job = (product.n_row + ROW_BLOCK - 1) / ROW_BLOCK;
    struct rate rate = measure(bench, n_job * product.n_matrix, multiply_rows, &product, n_mac, next_matrix);
    bool is_bf16 = x_type == QVL_BF16 && bench->kernels->is_bf16_fast;
    char name[64];
    snprintf(name, sizeof name, "gemm_%s_%s, %zu token%s", weights[w_type], rows[x_type], n_tok,
             n_tok == 1 ? "" : "s");
    report(bench, name, "GMAC/s", rate,
           bench->peak[x_type == QVL_A8 ? QVL_PEAK_INT8
                       : is_bf16        ? QVL_PEAK_BF16
                                        : QVL_PEAK_F32]);
    if (n_tok == 1) {
        struct rate bytes = {rate.best * weight_bytes(w_type), rate.median * weight_bytes(w_type)};
        report(bench, "    the same, weights read", "GB/s", bytes, bench->peak_read);
    }
    munmap(product.x, x_bytes);
    munmap(product.c, c_bytes);
}

/* ---- attention ------------------------------------------------------------------------------------ */

#define ATTENTION_JOB_ROWS ((size_t)96)

struct heads {
    struct bench *bench;
    enum qvl_dtype dtype; /* of keys and values: QVL_BF16, QVL_I8 */
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
    (heads->dtype == QVL_I8 ? heads->bench->kernels->attention_i8 : heads->bench->kernels->attention_bf16)(&job);
}

/* Blocks as a prompt leaves them, in this type: `from` holds numbers for any block. */
static void fill_blocks(const struct heads *heads, char *block, size_t n_block, size_t k_bytes, size_t block_bytes,
                        const char *from)
{
    const struct qvl_kernels *kernels = heads->bench->kernels;
    float row[QVL_MAX_HEAD_DIM];
    for (size_t i = 0; i < n_block; i++, block += block_bytes) {
        heads->k_block[i] = block;
        heads->v_block[i] = block + k_bytes;
        for (size_t pos = 0; pos < QVL_KV_BLOCK; pos++) {
            kernels->bf16_to_f32(row, (const qvl_bf16 *)from + (i * QVL_KV_BLOCK + pos) * 7 % 4096,
                                 heads->head_dim);
            if (heads->dtype == QVL_I8) {
                kernels->store_k_i8(block, pos, row, heads->head_dim);
                kernels->store_v_i8(block + k_bytes, pos, row, heads->head_dim);
            } else {
                kernels->store_k_bf16((qvl_bf16 *)block, pos, row, heads->head_dim);
                kernels->store_v_bf16((qvl_bf16 *)(block + k_bytes), pos, row, heads->head_dim);
            }
        }
    }
}

static void measure_attention(struct bench *bench, enum qvl_dtype dtype, size_t head_dim, size_t n_head,
                              size_t n_row, size_t n_key)
{
    struct heads heads = {
        .bench = bench, .dtype = dtype, .head_dim = head_dim, .n_head = n_head, .n_row = n_row, .n_key = n_key};
    size_t n_block = n_head * n_key / QVL_KV_BLOCK, n_q = n_head * n_row * head_dim;
    size_t k_bytes = qvl_k_block_bytes(head_dim, dtype), block_bytes = k_bytes + qvl_v_block_bytes(head_dim, dtype);
    char *block = allocate(n_block * block_bytes);
    heads.k_block = calloc(n_block, sizeof *heads.k_block);
    heads.v_block = calloc(n_block, sizeof *heads.v_block);
    heads.n_key_of_row = calloc(n_row, sizeof *heads.n_key_of_row);
    heads.q = allocate(n_q * sizeof *heads.q);
    heads.out = allocate(n_q * sizeof *heads.out);
    heads.scratch = allocate(bench->n_thread * qvl_attention_scratch_bytes(head_dim));
    if (!heads.k_block || !heads.v_block || !heads.n_key_of_row)
        exit(1);
    fill_blocks(&heads, block, n_block, k_bytes, block_bytes, bench->weights);
    for (size_t i = 0; i < n_row; i++)
        heads.n_key_of_row[i] = (uint32_t)n_key;
    for (size_t i = 0; i < n_q; i++)
        heads.q[i] = (float)(i * 2654435761u % 2048) / 1024 - 1;

    double n_mac = 2.0 * (double)(n_head * n_row) * (double)(n_key * head_dim);
    size_t n_job = n_head * ((n_row + ATTENTION_JOB_ROWS - 1) / ATTENTION_JOB_ROWS);
    struct rate rate = measure(bench, n_job, attend_rows, &heads, n_mac, NULL);
    char name[64];
    snprintf(name, sizeof name, "attention_%s, d %zu, %zu x %zu", dtype == QVL_I8 ? "i8" : "bf16", head_dim, n_row,
             n_key);
    report(bench, name, "GMAC/s", rate,
           bench->peak[dtype == QVL_I8                ? QVL_PEAK_INT8
                       : bench->kernels->is_bf16_fast ? QVL_PEAK_BF16
                                                      : QVL_PEAK_F32]);
    if (n_row <= 8) {
        double bytes_per_mac = (double)(n_block * block_bytes) / n_mac;
        report(bench, "    the same, keys and values read", "GB/s",
               (struct rate){rate.best * bytes_per_mac, rate.median * bytes_per_mac}, bench->peak_read);
    }
    munmap(block, n_block * block_bytes);
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
    measure_limits(&bench);
    static const struct {
        enum qvl_dtype w, x;
    } TYPES[] = {{QVL_BF16, QVL_BF16}, {QVL_BF16, QVL_F32}, {QVL_Q8, QVL_A8}, {QVL_Q4, QVL_A8}};
    for (size_t type = 0; type < sizeof TYPES / sizeof *TYPES; type++)
        for (size_t i = 0; i < 5; i++)
            measure_product(&bench, TYPES[type].w, TYPES[type].x, (const size_t[]){1, 6, 32, 128, 256}[i]);
    measure_attention(&bench, QVL_BF16, 64, 2, 4096, 4096);
    for (int is_i8 = 0; is_i8 < 2; is_i8++) {
        measure_attention(&bench, is_i8 ? QVL_I8 : QVL_BF16, 128, 2, 2048, 2048);
        measure_attention(&bench, is_i8 ? QVL_I8 : QVL_BF16, 128, 8, 2, 65536);
    }
    if (bench.is_json)
        printf("\n]}\n");

    munmap(bench.weights, WEIGHT_BYTES);
    qvl_pool_close(bench.pool);
    return 0;
}

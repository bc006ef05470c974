/* step: how long one model step takes on a checkpoint folder, without the engine around it.
 *
 *     step MODEL_DIR [N_THREAD] [ISA] [f32] [vision] [prefill] [decode]      (no stage named: all three)
 *
 * Prints for a picture of 1,024 patches (512 x 512) and of 8,160 patches (1,920 x 1,088), for 576 prompt tokens
 * (two chunks), and for decode at 0 and 2,048 positions of context: milliseconds, GMAC/s (products and attention,
 * counted from the config), and for decode the GB/s of weights and cache read. "cpu" is the processor time of all
 * threads together: on a busy machine, cpu / n_thread is nearer to what a quiet one would take. RssAnon: anonymous
 * memory at its largest in the stage, patches and features included. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/os.h"
#include "model/decoder.h"

enum { CHUNK = 288, N_PREFILL = 576, N_CONTEXT = 2048, N_DECODE = 12 };

struct bench {
    struct qvl_config config;
    struct qvl_weights *weights;
    struct qvl_pool *pool;
    struct qvl_model model;
    struct qvl_decoder *decoder;
    struct qvl_error err;
};

static void check(struct bench *b, enum qvl_status status)
{
    if (status) {
        fprintf(stderr, "step: %s\n", b->err.text);
        exit(1);
    }
}

static double rss_anon_mb(void)
{
    char line[256];
    double kb = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "RssAnon:", 8) == 0)
            kb = strtod(line + 8, NULL);
    if (file)
        fclose(file);
    return kb / 1e3;
}

static double cpu_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

/* Multiply-adds of a tower without attention, per patch; attention per patch and key. */
static double vision_macs(const struct qvl_vision_config *v, double n_patch)
{
    double e = v->hidden, merged = 4 * e, merger = (merged * merged + merged * v->out_hidden) / 4;
    double linear = v->n_layer * (4 * e * e + 2 * e * v->intermediate) + e * 1536 + (1 + v->n_tap) * merger;
    return n_patch * (linear + 2.0 * v->n_layer * e * n_patch);
}

static double text_weights(const struct qvl_text_config *t)
{
    double d = t->hidden, n_q = t->n_head * t->head_dim, n_kv = t->n_kv_head * t->head_dim;
    return t->n_layer * (d * (2 * n_q + 2 * n_kv) + 3 * d * t->intermediate);
}

static void bench_vision(struct bench *b, uint32_t rows, uint32_t columns)
{
    struct qvl_grid grid = {1, rows, columns};
    size_t n_patch = qvl_grid_n_patch(grid), n = n_patch * qvl_patch_len(&b->config.vision);
    float *row = malloc(n * sizeof *row);
    if (!row)
        exit(1);
    for (size_t i = 0; i < n; i++)
        row[i] = (float)(i * 2654435761u >> 8 & 255) / 127.5f - 1.0f;
    double begin_ms = qvl_now_ms(), begin_cpu_ms = cpu_ms(), rss_mb = 0;
    struct qvl_vision *vision = NULL;
    struct qvl_features features;
    uint32_t done = 0, total = 1;
    check(b, qvl_vision_open(&b->model, &grid, 1, row, NULL, &vision, &b->err));
    while (done < total) {
        check(b, qvl_vision_step(vision, NULL, &done, &total, &b->err));
        double now_mb = rss_anon_mb();
        rss_mb = now_mb > rss_mb ? now_mb : rss_mb;
    }
    qvl_vision_take(vision, &features);
    qvl_vision_close(vision);
    double ms = qvl_now_ms() - begin_ms;
    printf("vision  %5zu patches    %9.1f ms  cpu %9.1f ms  %7.1f GMAC/s  RssAnon %.0f MB\n", n_patch, ms,
           cpu_ms() - begin_cpu_ms, vision_macs(&b->config.vision, (double)n_patch) / ms / 1e6, rss_mb);
    qvl_features_free(&features);
    free(row);
}

/* n rows from position kv->n_pos on; logits of the last. */
static void run_rows(struct bench *b, struct qvl_kv *kv, size_t n)
{
    struct qvl_batch_row row[CHUNK];
    struct qvl_batch batch = {.row = row, .n_row = n, .kv = &kv, .n_seq = 1};
    float *logits = NULL;
    for (size_t i = 0; i < n; i++) {
        int32_t at = (int32_t)(kv->n_pos + i);
        row[i] = (struct qvl_batch_row){.id = (uint32_t)(at * 7919 % (int32_t)b->config.text.vocab),
                                        .pos = {at, at, at},
                                        .want_logits = i + 1 == n};
    }
    check(b, qvl_kv_reserve(kv, kv->n_pos + n, &b->err));
    check(b, qvl_decoder_step(b->decoder, &batch, NULL, &logits, &b->err));
}

static double prefill_ms(struct bench *b, struct qvl_kv *kv, size_t n)
{
    double begin_ms = qvl_now_ms();
    for (size_t at = 0; at < n; at += CHUNK)
        run_rows(b, kv, n - at < CHUNK ? n - at : CHUNK);
    return qvl_now_ms() - begin_ms;
}

static void bench_prefill(struct bench *b)
{
    const struct qvl_text_config *t = &b->config.text;
    double attention = (double)t->n_layer * t->n_head * t->head_dim * N_PREFILL * N_PREFILL;
    struct qvl_kv kv;
    qvl_kv_init(&kv, &b->model);
    double begin_cpu_ms = cpu_ms(), ms = prefill_ms(b, &kv, N_PREFILL);
    printf("prefill %5d tokens     %9.1f ms  cpu %9.1f ms  %7.1f GMAC/s  %.1f tok/s  RssAnon %.0f MB\n", N_PREFILL,
           ms, cpu_ms() - begin_cpu_ms, (text_weights(t) * N_PREFILL + attention) / ms / 1e6, N_PREFILL / ms * 1e3,
           rss_anon_mb());
    qvl_kv_free(&kv);
}

static void bench_decode(struct bench *b, size_t n_context)
{
    const struct qvl_text_config *t = &b->config.text;
    struct qvl_kv kv;
    qvl_kv_init(&kv, &b->model);
    prefill_ms(b, &kv, n_context);
    run_rows(b, &kv, 1);
    double begin_ms = qvl_now_ms(), begin_cpu_ms = cpu_ms(), best_ms = 1e9;
    for (int i = 0; i < N_DECODE; i++) {
        double at_ms = qvl_now_ms();
        run_rows(b, &kv, 1);
        at_ms = qvl_now_ms() - at_ms;
        best_ms = at_ms < best_ms ? at_ms : best_ms;
    }
    double ms = (qvl_now_ms() - begin_ms) / N_DECODE, cpu = (cpu_ms() - begin_cpu_ms) / N_DECODE;
    double macs = text_weights(t) + (double)t->vocab * t->hidden;
    double bytes = macs * (double)qvl_dtype_bytes(b->model.head.dtype) +
                   (double)qvl_kv_block_bytes(&b->model) / QVL_KV_BLOCK * (double)kv.n_pos;
    printf("decode  %5zu of context %9.1f ms  cpu %9.1f ms  %7.1f GB/s  %.2f tok/s  best %.1f ms, %.1f GB/s\n",
           n_context, ms, cpu, bytes / ms / 1e6, 1e3 / ms, best_ms, bytes / best_ms / 1e6);
    qvl_kv_free(&kv);
}

struct choice {
    uint32_t n_thread;
    const char *isa;
    enum qvl_compute compute;
    bool want_vision, want_prefill, want_decode;
};

static struct choice choose(int argc, char **argv)
{
    struct choice c = {.n_thread = qvl_os_n_cpu()};
    for (int i = 2; i < argc; i++) {
        uint32_t n = (uint32_t)strtoul(argv[i], NULL, 10);
        if (n > 0)
            c.n_thread = n;
        else if (strcmp(argv[i], "f32") == 0)
            c.compute = QVL_COMPUTE_F32;
        else if (strcmp(argv[i], "vision") == 0)
            c.want_vision = true;
        else if (strcmp(argv[i], "prefill") == 0)
            c.want_prefill = true;
        else if (strcmp(argv[i], "decode") == 0)
            c.want_decode = true;
        else
            c.isa = argv[i];
    }
    if (!c.want_vision && !c.want_prefill && !c.want_decode)
        c.want_vision = c.want_prefill = c.want_decode = true;
    return c;
}

int main(int argc, char **argv)
{
    struct bench b = {0};
    const struct qvl_kernels *kernels = NULL;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 2) {
        fprintf(stderr, "usage: step MODEL_DIR [N_THREAD] [ISA] [f32] [vision] [prefill] [decode]\n");
        return 2;
    }
    struct choice c = choose(argc, argv);
    check(&b, qvl_kernels_select(c.isa, &kernels, &b.err));
    check(&b, qvl_config_load(argv[1], &b.config, &b.err));
    check(&b, qvl_weights_open(argv[1], &b.config, &b.weights, &b.err));
    check(&b, qvl_weights_map(b.weights, &b.err));
    check(&b, qvl_pool_open(c.n_thread, &b.pool, &b.err));
    check(&b, qvl_model_bind(&b.config, b.weights, kernels, b.pool, c.compute, &b.model, &b.err));
    check(&b, qvl_decoder_open(&b.model, CHUNK, &b.decoder, &b.err));
    printf("%s, %u threads, activations %s\n", kernels->name, c.n_thread, b.model.act == QVL_BF16 ? "bf16" : "f32");
    if (c.want_vision) {
        bench_vision(&b, 32, 32); /* the first one also reads the weights from disk */
        bench_vision(&b, 32, 32);
        bench_vision(&b, 68, 120);
    }
    if (c.want_prefill)
        bench_prefill(&b);
    if (c.want_decode) {
        bench_decode(&b, 0);
        bench_decode(&b, N_CONTEXT);
    }
    qvl_decoder_close(b.decoder);
    qvl_model_free(&b.model);
    qvl_pool_close(b.pool);
    qvl_weights_close(b.weights);
    return 0;
}

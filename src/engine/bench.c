/* Measurements: what qvl.h says under "measuring". Each kind of test has two functions: begin prepares it and says
 * how much work a run is, run does the work once and takes the time.
 *
 * The peaks run on the machine alone. Vision, prefill and decode run the model's own steps, without the engine
 * around them, on a pool and a binding of their own, so that they need not wait for the scheduler's thread. The
 * first token is a whole request through the engine, with a picture that no one has seen before: nothing of it is
 * known.
 *
 * Surprise: memory that nobody wrote to is one page of zeros, which lies in the cache; so what is to be read is
 * filled first. */
#include "engine/engine.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/os.h"
#include "kernel/peak.h"
#include "model/work.h"

#define READ_BYTES ((size_t)1 << 30)  /* far more than any cache holds */
#define FILL_POSITIONS ((size_t)4096) /* of the KV cache at a time, between two looks for a cancel */

struct qvl_bench {
    struct qvl_engine *engine;
    struct qvl_pool *pool;
    atomic_bool is_cancelled;
    /* from the first test that needs them on */
    bool is_bound;
    struct qvl_model model;
    struct qvl_decoder *decoder;
    /* the test that was begun */
    const struct test *test; /* or NULL */
    uint32_t n;
    const struct qvl_peak_loop *loop;
    struct qvl_grid grid;
    struct qvl_kv kv;
    void *buffer; /* bytes to read, patches, or a picture */
    size_t buffer_bytes;
    struct qvl_frame frame; /* of the picture; the request reads it until its first token */
    uint32_t n_picture;     /* asked about so far */
    pthread_mutex_t lock;
    struct qvl_request *request; /* under the lock: that a cancel must reach */
};

struct test {
    enum qvl_status (*begin)(struct qvl_bench *bench, struct qvl_bench_work *out, struct qvl_error *err);
    enum qvl_status (*run)(struct qvl_bench *bench, struct qvl_bench_time *out, struct qvl_error *err);
};

static enum qvl_status fail_cancelled(struct qvl_error *err)
{
    return qvl_fail(err, QVL_ERR_CANCELLED, "cancelled");
}

static void start_clock(struct qvl_bench_time *time)
{
    *time = (struct qvl_bench_time){qvl_now_ms(), qvl_cpu_ms()};
}

static void stop_clock(struct qvl_bench_time *time)
{
    *time = (struct qvl_bench_time){qvl_now_ms() - time->ms, qvl_cpu_ms() - time->cpu_ms};
}

/* ---- memory -------------------------------------------------------------------------------------- */

static enum qvl_status check_fits(double n_byte, struct qvl_error *err)
{
    double n_free = (double)qvl_os_available_bytes();
    if (n_byte <= n_free)
        return QVL_OK;
    return qvl_fail(err, QVL_ERR_MEMORY, "about %.1f GB of memory are needed, and %.1f GB are free", n_byte / 1e9,
                    n_free / 1e9);
}

static enum qvl_status allocate(struct qvl_bench *b, size_t n_byte, struct qvl_error *err)
{
    void *p = mmap(NULL, n_byte, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return qvl_fail_memory(err, n_byte, "a measurement");
    b->buffer = p;
    b->buffer_bytes = n_byte;
    return QVL_OK;
}

static void end_test(struct qvl_bench *b)
{
    if (b->buffer)
        munmap(b->buffer, b->buffer_bytes);
    b->buffer = NULL;
    qvl_kv_free(&b->kv);
    b->test = NULL;
}

/* ---- peaks --------------------------------------------------------------------------------------- */

static enum qvl_status begin_peak(struct qvl_bench *b, enum qvl_peak peak, enum qvl_bench_kind kind,
                                  struct qvl_bench_work *out, struct qvl_error *err)
{
    b->loop = qvl_peak_loop_of(peak);
    if (!b->loop)
        return qvl_fail(err, QVL_ERR_LIMIT, "this processor has no such arithmetic unit");
    *out = (struct qvl_bench_work){.n_mac = qvl_peak_run(b->loop, b->pool, &b->is_cancelled), .unit = kind};
    return out->n_mac > 0 ? QVL_OK : fail_cancelled(err);
}

static enum qvl_status begin_f32(struct qvl_bench *b, struct qvl_bench_work *out, struct qvl_error *err)
{
    return begin_peak(b, QVL_PEAK_F32, QVL_BENCH_F32, out, err);
}

static enum qvl_status begin_bf16(struct qvl_bench *b, struct qvl_bench_work *out, struct qvl_error *err)
{
    return begin_peak(b, QVL_PEAK_BF16, QVL_BENCH_BF16, out, err);
}

static enum qvl_status begin_int8(struct qvl_bench *b, struct qvl_bench_work *out, struct qvl_error *err)
{
    return begin_peak(b, QVL_PEAK_INT8, QVL_BENCH_INT8, out, err);
}

static enum qvl_status run_peak(struct qvl_bench *b, struct qvl_bench_time *out, struct qvl_error *err)
{
    start_clock(out);
    double n_mac = qvl_peak_run(b->loop, b->pool, &b->is_cancelled);
    stop_clock(out);
    return n_mac > 0 ? QVL_OK : fail_cancelled(err);
}

static enum qvl_status begin_read(struct qvl_bench *b, struct qvl_bench_work *out, struct qvl_error *err)
{
    enum qvl_status status = check_fits((double)READ_BYTES, err);
    if (!status)
        status = allocate(b, READ_BYTES, err);
    if (status)
        return status;
    memset(b->buffer, 1, b->buffer_bytes);
    *out = (struct qvl_bench_work){.n_byte = (double)READ_BYTES};
    return QVL_OK;
}

static enum qvl_status run_read(struct qvl_bench *b, struct qvl_bench_time *out, struct qvl_error *err)
{
    start_clock(out);
    bool is_whole = qvl_peak_read(b->buffer, b->buffer_bytes, b->pool, &b->is_cancelled);
    stop_clock(out);
    return is_whole ? QVL_OK : fail_cancelled(err);
}

/* ---- loading ------------------------------------------------------------------------------------- */

static enum qvl_status begin_load(struct qvl_bench *b, struct qvl_bench_work *out, struct qvl_error *err)
{
    (void)b, (void)err;
    *out = (struct qvl_bench_work){0};
    return QVL_OK;
}

static enum qvl_status run_load(struct qvl_bench *b, struct qvl_bench_time *out, struct qvl_error *err)
{
    const struct qvl_engine *e = b->engine;
    const struct qvl_engine_options options = {.model_dir = e->model_dir,
                                               .compute = e->compute,
                                               .kv = e->kv,
                                               .quantize = e->quantize,
                                               .quantize_vision = e->quantize_vision,
                                               .n_thread = e->n_thread,
                                               .n_ctx = e->n_ctx,
                                               .n_prefill_chunk = e->n_prefill_chunk,
                                               .isa = e->kernels->name};
    struct qvl_engine *other = NULL;
    start_clock(out);
    enum qvl_status status = qvl_engine_open(&options, &other, err);
    if (!status)
        status = qvl_engine_load(other, err);
    stop_clock(out);
    qvl_engine_close(other);
    return status;
}

/* ---- the model's steps --------------------------------------------------------------------------- */

static enum qvl_status bind_model(struct qvl_bench *b, struct qvl_error *err)
{
    struct qvl_engine *e = b->engine;
    enum qvl_status status;
    if (b->is_bound)
        return QVL_OK;
    if ((status = qvl_engine_map_weights(e, b->pool, err)) ||
        (status = qvl_model_bind(&e->config, e->weights, e->kernels, b->pool, e->compute, e->kv, &b->model, err)))
        return status;
    if ((status = qvl_decoder_open(&b->model, e->n_prefill_chunk, &b->decoder, err)))
        qvl_model_free(&b->model);
    else
        b->is_bound = true;
    return status;
}

/* act: what enters most of the products. */
static struct qvl_bench_work work_of(enum qvl_dtype act, struct qvl_work work)
{
    return (struct qvl_bench_work){
        .n_mac = work.n_mac,
        .n_byte = work.n_byte,
        .unit = act == QVL_A8 ? QVL_BENCH_INT8 : act == QVL_BF16 ? QVL_BENCH_BF16 : QVL_BENCH_F32,
    };
}

static enum qvl_status run_vision_steps(struct qvl_bench *b, struct qvl_grid grid, struct qvl_error *err)
{
    struct qvl_vision *vision = NULL;
    uint32_t done = 0, total = 1;
    enum qvl_status status = qvl_vision_open(&b->model, &grid, 1, b->buffer, NULL, &vision, err);
    while (!status && done < total)
        status = qvl_vision_step(vision, &b->is_cancelled, &done, &total, err);
    qvl_vision_close(vision);
    return status;
}

/* The squarest grid of n patches whose sides are multiples of the merger's. */
static enum qvl_status choose_grid(uint32_t n, const struct qvl_vision_config *v, struct qvl_grid *out,
                                   struct qvl_error *err)
{
    uint32_t area = v->merge * v->merge, n_merged = n / area, rows = (uint32_t)sqrt(n_merged);
    uint32_t n_max = (uint32_t)(QVL_MAX_MEDIA_PIXELS / ((uint64_t)v->patch * v->patch));
    if (n == 0 || n % area != 0 || n > n_max)
        return qvl_fail(err, QVL_ERR_ARGUMENT,
                        "no picture has %u patches: a multiple of %u, at most %u, is expected", n, area, n_max);
    while (n_merged % rows != 0)
        rows--;
    *out = (struct qvl_grid){1, rows * v->merge, n_merged / rows * v->merge};
    return QVL_OK;
}

static enum qvl_status begin_vision(struct qvl_bench *b, struct qvl_bench_work *out, struct qvl_error *err)
{
    const struct qvl_vision_config *v = &b->engine->config.vision;
    size_t patch_len = qvl_patch_len(v), n = (size_t)b->n * patch_len;
    enum qvl_status status = choose_grid(b->n, v, &b->grid, err);
    /* patches, residual stream, keys and values, features: generously */
    if (status || (status = check_fits((double)b->n * (double)(patch_len + 8 * v->hidden) * 4, err)) ||
        (status = bind_model(b, err)) || (status = allocate(b, n * sizeof(float), err)))
        return status;
    float *row = b->buffer;
    for (size_t i = 0; i < n; i++)
        row[i] = (float)(i * 2654435761u >> 8 & 255) / 127.5f - 1.0f;
    *out = work_of(b->model.vision_act, qvl_vision_work(&b->model, b->grid));
    /* reads all weights of the tower */
    return run_vision_steps(b, (struct qvl_grid){1, v->merge, v->merge}, err);
}

static enum qvl_status run_vision(struct qvl_bench *b, struct qvl_bench_time *out, struct qvl_error *err)
{
    start_clock(out);
    enum qvl_status status = run_vision_steps(b, b->grid, err);
    stop_clock(out);
    return status;
}

/* n text tokens, in even chunks as the scheduler cuts them; logits of the last one. */
static enum qvl_status run_tokens(struct qvl_bench *b, size_t n, struct qvl_error *err)
{
    struct qvl_kv *kv = &b->kv;
    size_t n_chunk = qvl_div_up(n, b->engine->n_prefill_chunk), end = kv->n_pos + n;
    size_t n_row_max = qvl_div_up(n, n_chunk);
    float *logits = NULL;
    struct qvl_batch_row *row = calloc(n_row_max, sizeof *row);
    if (!row)
        return qvl_fail_memory(err, n_row_max * sizeof *row, "a measurement");
    enum qvl_status status = qvl_kv_reserve(kv, end, err);
    while (!status && kv->n_pos < end) {
        size_t n_row = qvl_min_size(n_row_max, end - kv->n_pos);
        for (size_t i = 0; i < n_row; i++) {
            size_t at = kv->n_pos + i;
            int32_t pos = (int32_t)at;
            row[i] = (struct qvl_batch_row){.id = (uint32_t)(at * 7919 % b->engine->config.text.vocab),
                                            .pos = {pos, pos, pos},
                                            .want_logits = at + 1 == end};
        }
        struct qvl_batch batch = {.row = row, .n_row = n_row, .kv = &kv, .n_seq = 1};
        status = qvl_decoder_step(b->decoder, &batch, &b->is_cancelled, &logits, err);
    }
    free(row);
    return status;
}

/* Room for n positions; the cache is empty, and all weights of the decoder have been read. */
static enum qvl_status begin_tokens(struct qvl_bench *b, size_t n, struct qvl_error *err)
{
    enum qvl_status status = bind_model(b, err);
    if (status)
        return status;
    double block_bytes = (double)qvl_kv_block_bytes(&b->model.config.text, b->model.kv);
    qvl_kv_init(&b->kv, &b->model);
    if ((status = check_fits((double)qvl_div_up(n, QVL_KV_BLOCK) * block_bytes, err)) ||
        (status = run_tokens(b, 1, err)))
        return status;
    qvl_kv_retract(&b->kv, 0);
    return QVL_OK;
}

static enum qvl_status check_context(const struct qvl_bench *b, struct qvl_error *err)
{
    if (b->n <= b->engine->n_ctx)
        return QVL_OK;
    return qvl_fail(err, QVL_ERR_LIMIT, "%u positions are more than the context of %u", b->n, b->engine->n_ctx);
}

static enum qvl_status begin_prefill(struct qvl_bench *b, struct qvl_bench_work *out, struct qvl_error *err)
{
    if (b->n == 0)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "a prefill needs at least one token");
    enum qvl_status status = check_context(b, err);
    if (status || (status = begin_tokens(b, b->n, err)))
        return status;
    *out = work_of(b->model.text_act, qvl_decoder_work(&b->model, b->n, 0, 1));
    return QVL_OK;
}

static enum qvl_status run_prefill(struct qvl_bench *b, struct qvl_bench_time *out, struct qvl_error *err)
{
    qvl_kv_truncate(&b->kv, 0);
    start_clock(out);
    enum qvl_status status = run_tokens(b, b->n, err);
    stop_clock(out);
    return status;
}

static enum qvl_status begin_decode(struct qvl_bench *b, struct qvl_bench_work *out, struct qvl_error *err)
{
    enum qvl_status status = check_context(b, err);
    if (!status && b->n == b->engine->n_ctx)
        b->n--; /* the token itself takes the last position */
    if (status || (status = begin_tokens(b, (size_t)b->n + 1, err)))
        return status;
    while (!status && b->kv.n_pos < b->n) {
        if (atomic_load(&b->is_cancelled))
            return fail_cancelled(err);
        status = qvl_kv_fill(&b->kv, qvl_min_size(b->n, b->kv.n_pos + FILL_POSITIONS), err);
    }
    *out = work_of(b->model.text_act, qvl_decoder_work(&b->model, 1, b->n, 1));
    return status;
}

static enum qvl_status run_decode(struct qvl_bench *b, struct qvl_bench_time *out, struct qvl_error *err)
{
    start_clock(out);
    enum qvl_status status = run_tokens(b, 1, err);
    stop_clock(out);
    qvl_kv_retract(&b->kv, b->n);
    return status;
}

/* ---- a whole request ----------------------------------------------------------------------------- */

static void set_request(struct qvl_bench *b, struct qvl_request *request)
{
    pthread_mutex_lock(&b->lock);
    b->request = request;
    if (request && atomic_load(&b->is_cancelled))
        qvl_request_cancel(request);
    pthread_mutex_unlock(&b->lock);
}

/* Another picture each time: of one that was asked about before, the engine may know the features. */
static void paint_next_picture(struct qvl_bench *b)
{
    uint8_t *rgb = b->buffer;
    uint32_t state = ++b->n_picture;
    for (size_t i = 0; i < b->buffer_bytes; i++) {
        state = state * 1664525 + 1013904223;
        rgb[i] = (uint8_t)(state >> 24);
    }
}

static enum qvl_status open_request(struct qvl_bench *b, struct qvl_request **out, struct qvl_error *err)
{
    static const char question[] = "What is this?";
    b->frame = (struct qvl_frame){.w = b->n, .h = b->n, .stride_bytes = (size_t)3 * b->n, .rgb8 = b->buffer};
    const struct qvl_part part[] = {
        {.kind = QVL_PART_IMAGE,
         .source = {.from = QVL_FROM_FRAMES, .name = "", .frames = &b->frame, .n_frame = 1}},
        {.kind = QVL_PART_TEXT, .utf8 = question, .n = sizeof question - 1},
    };
    const struct qvl_message message = {.role = QVL_ROLE_USER, .parts = part, .n_part = 2};
    const struct qvl_request_options options = {
        .sampling = {.top_p = 1, .repetition_penalty = 1}, .max_tokens = 1, .ignore_eos = true};
    return qvl_request_open(b->engine, &(struct qvl_chat){.messages = &message, .n_message = 1}, &options, out,
                            err);
}

/* To its first token; with is_prepared_only as far as the model is not needed. */
static enum qvl_status ask(struct qvl_bench *b, bool is_prepared_only, struct qvl_request_info *out,
                           struct qvl_grid *out_grid, struct qvl_error *err)
{
    struct qvl_request *request = NULL;
    struct qvl_event event = {0};
    enum qvl_status status = open_request(b, &request, err);
    if (status)
        return status;
    set_request(b, request);
    status = qvl_request_prepare(request, err);
    while (!status && !is_prepared_only && event.kind != QVL_EVENT_DONE)
        status = qvl_request_next(request, &event, err);
    qvl_request_get_info(request, out);
    if (!status)
        *out_grid = (struct qvl_grid){out->media[0].grid_t, out->media[0].grid_h, out->media[0].grid_w};
    set_request(b, NULL);
    qvl_request_close(request);
    return status;
}

static enum qvl_status begin_first_token(struct qvl_bench *b, struct qvl_bench_work *out, struct qvl_error *err)
{
    struct qvl_request_info info;
    size_t n_byte = (size_t)3 * b->n * b->n;
    if (b->n == 0 || b->n > QVL_MAX_MEDIA_SIDE_PX || (uint64_t)b->n * b->n > QVL_MAX_MEDIA_PIXELS)
        return qvl_fail(err, QVL_ERR_LIMIT, "a picture of %u x %u pixels is more than qvl takes, or nothing", b->n,
                        b->n);
    enum qvl_status status = check_fits((double)n_byte, err);
    if (status || (status = bind_model(b, err)) || (status = qvl_engine_load(b->engine, err)) ||
        (status = allocate(b, n_byte, err)) || (status = ask(b, true, &info, &b->grid, err)))
        return status;
    struct qvl_work vision = qvl_vision_work(&b->model, b->grid);
    struct qvl_work prefill = qvl_decoder_work(&b->model, info.n_prompt_tok, 0, 1);
    *out = work_of(b->model.vision_act, (struct qvl_work){vision.n_mac + prefill.n_mac, vision.n_byte + prefill.n_byte});
    return QVL_OK;
}

static enum qvl_status run_first_token(struct qvl_bench *b, struct qvl_bench_time *out, struct qvl_error *err)
{
    struct qvl_request_info info = {0};
    paint_next_picture(b);
    start_clock(out);
    enum qvl_status status = ask(b, false, &info, &b->grid, err);
    stop_clock(out);
    out->ms = info.first_token_ms; /* without closing the request */
    return status;
}

/* ---- the interface ------------------------------------------------------------------------------- */

static const struct test TESTS[] = {
    [QVL_BENCH_F32] = {begin_f32, run_peak},
    [QVL_BENCH_BF16] = {begin_bf16, run_peak},
    [QVL_BENCH_INT8] = {begin_int8, run_peak},
    [QVL_BENCH_READ] = {begin_read, run_read},
    [QVL_BENCH_LOAD] = {begin_load, run_load},
    [QVL_BENCH_VISION] = {begin_vision, run_vision},
    [QVL_BENCH_PREFILL] = {begin_prefill, run_prefill},
    [QVL_BENCH_DECODE] = {begin_decode, run_decode},
    [QVL_BENCH_FIRST_TOKEN] = {begin_first_token, run_first_token},
};

enum qvl_status qvl_bench_open(struct qvl_engine *engine, struct qvl_bench **out, struct qvl_error *err)
{
    struct qvl_bench *b = calloc(1, sizeof *b);
    if (!b)
        return qvl_fail_memory(err, sizeof *b, "a measurement");
    b->engine = engine;
    enum qvl_status status = qvl_pool_open(engine->n_thread, &b->pool, err);
    if (status) {
        free(b);
        return status;
    }
    pthread_mutex_init(&b->lock, NULL);
    *out = b;
    return QVL_OK;
}

enum qvl_status qvl_bench_begin(struct qvl_bench *b, enum qvl_bench_kind kind, uint32_t n,
                                struct qvl_bench_work *out, struct qvl_error *err)
{
    struct qvl_bench_work work;
    if ((size_t)kind >= sizeof TESTS / sizeof *TESTS)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%d is no kind of test", (int)kind);
    end_test(b);
    if (atomic_load(&b->is_cancelled))
        return fail_cancelled(err);
    b->n = n;
    enum qvl_status status = TESTS[kind].begin(b, &work, err);
    if (status) {
        end_test(b);
        return status;
    }
    b->test = &TESTS[kind];
    *out = work;
    return QVL_OK;
}

enum qvl_status qvl_bench_run(struct qvl_bench *b, struct qvl_bench_time *out, struct qvl_error *err)
{
    struct qvl_bench_time time = {0};
    if (!b->test)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "no test was begun");
    if (atomic_load(&b->is_cancelled))
        return fail_cancelled(err);
    enum qvl_status status = b->test->run(b, &time, err);
    if (!status)
        *out = time;
    return status;
}

void qvl_bench_cancel(struct qvl_bench *b)
{
    pthread_mutex_lock(&b->lock);
    atomic_store(&b->is_cancelled, true);
    if (b->request)
        qvl_request_cancel(b->request);
    pthread_mutex_unlock(&b->lock);
}

void qvl_bench_close(struct qvl_bench *b)
{
    if (!b)
        return;
    end_test(b);
    qvl_decoder_close(b->decoder);
    if (b->is_bound)
        qvl_model_free(&b->model);
    qvl_pool_close(b->pool);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

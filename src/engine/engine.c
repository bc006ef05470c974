/* Open reads what is small (config, tokenizer, headers of the weight files), load maps what is large and starts
 * the threads; close goes the same way back. */
#include "engine/engine.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/os.h"
#include "engine/admission.h"
#include "engine/scheduler.h"
#include "load/prepare.h"
#include "load/quantize.h"
#include "text/utf8_stream.h"

enum {
    DEFAULT_PREFILL_CHUNK = 288,           /* three blocks of 96 rows: model/linear.c */
    DEFAULT_VISION_CACHE_BYTES = 256 << 20 /* of the 2B: 8,192 visual tokens, 32 KB each */
};
static const uint64_t default_vision_disk_bytes = 4ull << 30;

static enum qvl_status apply_options(struct qvl_engine *e, const struct qvl_engine_options *o,
                                     struct qvl_error *err)
{
    if (!o->model_dir)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "no model folder was given");
    if (o->n_thread > QVL_MAX_THREADS)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%u threads: at most %u are allowed", o->n_thread, QVL_MAX_THREADS);
    if (o->n_prefill_chunk > QVL_MAX_TOKENS)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "a prefill chunk of %u tokens: at most %u are allowed",
                        o->n_prefill_chunk, QVL_MAX_TOKENS);
    if (o->compute != QVL_COMPUTE_BF16 && o->compute != QVL_COMPUTE_F32)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%d is no compute type", (int)o->compute);
    if ((unsigned)o->quantize > QVL_QUANTIZE_FLOATS)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%d is no quantization", (int)o->quantize);
    if (o->kv != QVL_KV_AS_COMPUTED && o->kv != QVL_KV_INT8)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%d is no type of keys and values", (int)o->kv);
    if (o->kv == QVL_KV_INT8 && o->compute == QVL_COMPUTE_F32)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "keys and values in int8 and f32 arithmetic exclude each other");
    e->compute = o->compute;
    e->kv = o->kv;
    e->quantize = o->quantize;
    e->quantize_vision = o->quantize_vision;
    e->n_thread = o->n_thread ? o->n_thread : qvl_os_n_cpu();
    e->n_prefill_chunk = o->n_prefill_chunk ? o->n_prefill_chunk : DEFAULT_PREFILL_CHUNK;
    e->media_deadline_ms = o->media_deadline_ms;
    e->vision_cache_bytes = o->vision_cache_bytes ? o->vision_cache_bytes : DEFAULT_VISION_CACHE_BYTES;
    if (o->no_vision_cache)
        e->vision_cache_bytes = 0;
    e->vision_disk_bytes = o->vision_disk_bytes ? o->vision_disk_bytes : default_vision_disk_bytes;
    e->model_dir = strdup(o->model_dir);
    e->media_helper = o->media_helper ? strdup(o->media_helper) : NULL;
    e->vision_cache_dir = o->vision_cache_dir ? strdup(o->vision_cache_dir) : NULL;
    if (!e->model_dir || (o->media_helper && !e->media_helper) || (o->vision_cache_dir && !e->vision_cache_dir))
        return qvl_fail_memory(err, 0, "the engine");
    return qvl_kernels_select(o->isa, &e->kernels, err);
}

/* What others have quantised is packed unless something speaks against it: exact arithmetic, or heads that cannot be. */
static enum qvl_quantization wanted_quantization(const struct qvl_engine *e)
{
    if (e->config.quantization != QVL_QUANTIZE_NONE || e->quantize == QVL_QUANTIZE_FLOATS)
        return e->config.quantization;
    if (e->quantize != QVL_QUANTIZE_NONE)
        return e->quantize;
    bool can_be_packed = e->compute == QVL_COMPUTE_BF16 && e->config.text.head_dim % QVL_GROUP == 0;
    return can_be_packed && qvl_weights_is_foreign(e->weights) ? QVL_QUANTIZE_Q8 : QVL_QUANTIZE_NONE;
}

/* The folder's, with what is to be packed while loading. */
static struct qvl_config wanted_config(const struct qvl_engine *e)
{
    struct qvl_config want = e->config;
    want.quantization = wanted_quantization(e);
    want.is_vision_packed = e->quantize_vision;
    return want;
}

static enum qvl_status check_quantization(const struct qvl_engine *e, struct qvl_error *err)
{
    enum qvl_quantization is = e->config.quantization;
    if (is != QVL_QUANTIZE_NONE && e->quantize != QVL_QUANTIZE_NONE && e->quantize != QVL_QUANTIZE_FLOATS)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s is quantised already", e->model_dir);
    struct qvl_config want = wanted_config(e);
    if (want.quantization == QVL_QUANTIZE_NONE && !want.is_vision_packed)
        return QVL_OK;
    if (e->compute == QVL_COMPUTE_F32)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "quantised weights and f32 arithmetic exclude each other");
    return want.quantization == QVL_QUANTIZE_NONE ? QVL_OK : qvl_quantize_check(e->model_dir, &want, err);
}

static enum qvl_dtype floats_of(const struct qvl_engine *e)
{
    return e->compute == QVL_COMPUTE_F32 ? QVL_F32 : QVL_BF16;
}

/* What will be in memory is known from the headers. */
static enum qvl_status measure_weights(struct qvl_engine *e, struct qvl_error *err)
{
    struct qvl_config want = wanted_config(e);
    e->is_quantized =
        want.quantization != QVL_QUANTIZE_NONE || want.is_vision_packed || qvl_weights_is_rounded(e->weights);
    return qvl_weights_prepared_bytes(e->weights, &e->config, &want, floats_of(e), &e->weight_bytes, err);
}

enum qvl_status qvl_engine_set_room(struct qvl_engine *e, uint32_t n_ctx, size_t kv_bytes, size_t prefix_cache_bytes,
                                    struct qvl_error *err)
{
    uint32_t n_max = e->config.text.max_position;
    if (n_ctx > n_max)
        return qvl_fail(err, QVL_ERR_LIMIT, "%s: a context of %u is more than the model's %u positions",
                        e->model_dir, n_ctx, n_max);
    e->n_ctx = n_ctx ? n_ctx : n_max;
    return qvl_admission_init(e, kv_bytes, prefix_cache_bytes, err);
}

/* Prompts are built from the tokenizer's ids; a config that means others belongs to another tokenizer. */
static enum qvl_status check_tokens(const struct qvl_engine *e, struct qvl_error *err)
{
    const struct qvl_config *c = &e->config;
    const struct {
        const char *key;
        uint32_t id;
        enum qvl_added_token token;
    } row[] = {{"image_token_id", c->image_token, QVL_TOK_IMAGE_PAD},
               {"video_token_id", c->video_token, QVL_TOK_VIDEO_PAD},
               {"vision_start_token_id", c->vision_start_token, QVL_TOK_VISION_START},
               {"vision_end_token_id", c->vision_end_token, QVL_TOK_VISION_END}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        uint32_t id = qvl_tokenizer_added(e->tokenizer, row[i].token);
        if (row[i].id != id)
            return qvl_fail(err, QVL_ERR_MODEL, "%s/config.json: %s is %u, but %u in the tokenizer", e->model_dir,
                            row[i].key, row[i].id, id);
    }
    return QVL_OK;
}

enum qvl_status qvl_engine_open(const struct qvl_engine_options *options, struct qvl_engine **out,
                                struct qvl_error *err)
{
    struct qvl_engine *e = calloc(1, sizeof *e);
    if (!e)
        return qvl_fail_memory(err, sizeof *e, "the engine");
    pthread_mutex_init(&e->lock, NULL);
    pthread_mutex_init(&e->warn_lock, NULL);
    pthread_cond_init(&e->work, NULL);
    enum qvl_status status;
    if ((status = apply_options(e, options, err)) || (status = qvl_config_load(e->model_dir, &e->config, err)) ||
        (status = qvl_engine_set_room(e, options->n_ctx, options->kv_bytes, options->prefix_cache_bytes, err)) ||
        (status = qvl_tokenizer_load(e->model_dir, e->config.text.vocab, &e->tokenizer, err)) ||
        (status = check_tokens(e, err)) || (status = qvl_constraints_open(e->tokenizer, &e->constraints, err)) ||
        (status = qvl_weights_open(e->model_dir, &e->config, &e->weights, err)) ||
        (status = check_quantization(e, err)) || (status = measure_weights(e, err)) ||
        (status = qvl_inspect(e, &e->inspect_json, err))) {
        qvl_engine_close(e);
        return status;
    }
    *out = e;
    return QVL_OK;
}

enum qvl_status qvl_engine_map_weights(struct qvl_engine *e, struct qvl_pool *pool, struct qvl_error *err)
{
    enum qvl_status status = qvl_weights_map(e->weights, err);
    struct qvl_config want = wanted_config(e);
    if (status || !qvl_weights_needs_preparing(e->weights, &e->config, &want))
        return status;
    const struct qvl_prepare_options options = {
        .floats = floats_of(e),
        .tell = e->tell_load,
        .tell_arg = e->tell_load_arg,
    };
    return qvl_weights_prepare(e->weights, &e->config, &want, &options, pool, err);
}

void qvl_engine_watch_load(struct qvl_engine *e, void (*tell)(void *arg, double share), void *arg)
{
    e->tell_load = tell;
    e->tell_load_arg = arg;
}

void qvl_engine_watch_warnings(struct qvl_engine *e, void (*warn)(void *arg, const char *sentence), void *arg)
{
    pthread_mutex_lock(&e->warn_lock);
    e->warn = warn;
    e->warn_arg = arg;
    pthread_mutex_unlock(&e->warn_lock);
}

void qvl_engine_warn(void *engine, const char *sentence)
{
    struct qvl_engine *e = engine;
    pthread_mutex_lock(&e->warn_lock);
    if (e->warn)
        e->warn(e->warn_arg, sentence);
    pthread_mutex_unlock(&e->warn_lock);
}

enum qvl_status qvl_engine_load(struct qvl_engine *e, struct qvl_error *err)
{
    if (e->is_loaded)
        return QVL_OK;
    double start_ms = qvl_now_ms();
    enum qvl_status status;
    if ((status = qvl_pool_open(e->n_thread, &e->pool, err)))
        return status;
    if (!(status = qvl_engine_map_weights(e, e->pool, err)))
        status = qvl_model_bind(&e->config, e->weights, e->kernels, e->pool, e->compute, e->kv, &e->model, err);
    struct qvl_scheduler *scheduler = NULL;
    if (!status && (status = qvl_scheduler_open(e, &scheduler, err)))
        qvl_model_free(&e->model);
    if (status) {
        qvl_pool_close(e->pool);
        e->pool = NULL;
        return status;
    }
    pthread_mutex_lock(&e->lock); /* who asks how things are may do so already */
    e->scheduler = scheduler;
    pthread_mutex_unlock(&e->lock);
    e->is_loaded = true;
    e->load_ms = qvl_now_ms() - start_ms;
    return QVL_OK;
}

/* With a pool of its own: the engine's belongs to the scheduler's thread. */
enum qvl_status qvl_engine_check_weights(struct qvl_engine *e, struct qvl_error *err)
{
    struct qvl_pool *pool = NULL;
    enum qvl_status status;
    if ((status = qvl_weights_map(e->weights, err)) || (status = qvl_pool_open(e->n_thread, &pool, err)))
        return status;
    if (!(status = qvl_weights_check_packed(e->weights, pool, NULL, err)))
        status = qvl_weights_check_finite(e->weights, pool, NULL, err);
    qvl_pool_close(pool);
    return status;
}

void qvl_engine_close(struct qvl_engine *e)
{
    if (!e)
        return;
    qvl_scheduler_close(e->scheduler);
    if (e->is_loaded)
        qvl_model_free(&e->model);
    qvl_pool_close(e->pool);
    qvl_prefix_cache_close(e->prefix_cache);
    qvl_weights_close(e->weights);
    qvl_constraints_close(e->constraints);
    qvl_tokenizer_free(e->tokenizer);
    qvl_bytes_free(&e->inspect_json);
    pthread_mutex_destroy(&e->lock);
    pthread_mutex_destroy(&e->warn_lock);
    pthread_cond_destroy(&e->work);
    free(e->model_dir);
    free(e->media_helper);
    free(e->vision_cache_dir);
    free(e);
}

void qvl_engine_get_info(const struct qvl_engine *e, struct qvl_engine_info *out)
{
    size_t n_tensor = 0;
    uint64_t n_parameter = 0;
    qvl_weights_count(&e->config, &n_tensor, &n_parameter);
    *out = (struct qvl_engine_info){
        .architecture = "Qwen3VLForConditionalGeneration",
        .inspect_json = e->inspect_json.data,
        .isa = e->kernels->name,
        .kv = e->kv == QVL_KV_INT8            ? "int8"
              : e->compute == QVL_COMPUTE_F32 ? "f32"
                                              : "bf16",
        .n_thread = e->n_thread,
        .n_ctx = e->n_ctx,
        .n_ctx_model = e->config.text.max_position,
        .kv_bytes_per_tok = e->kv_block_bytes / QVL_KV_BLOCK,
        .n_parameter = n_parameter,
        .weight_bytes = e->weight_bytes,
        .is_quantized = e->is_quantized,
        .load_ms = e->load_ms,
        .is_thinking = e->config.is_thinking,
        .is_golden = e->config.is_golden,
        .is_demo = e->config.is_demo,
        .sampling = e->config.generation.sampling,
    };
}

void qvl_engine_get_stats(const struct qvl_engine *engine, struct qvl_engine_stats *out)
{
    struct qvl_engine *e = (struct qvl_engine *)engine; /* for its lock */
    pthread_mutex_lock(&e->lock);
    *out = e->stats;
    if (e->scheduler)
        qvl_scheduler_count(e->scheduler, out);
    pthread_mutex_unlock(&e->lock);
    out->kv_bytes = (uint64_t)atomic_load(&e->n_kv_block) * e->kv_block_bytes;
    out->kv_max_bytes = (uint64_t)e->n_kv_max * e->kv_block_bytes;
    if (e->prefix_cache)
        out->prefix_bytes = (uint64_t)qvl_prefix_cache_n_kept(e->prefix_cache) * e->kv_block_bytes;
}

enum qvl_status qvl_tokenize(const struct qvl_engine *engine, const char *utf8, size_t n, bool want_special,
                             uint32_t **out_ids, size_t *out_n, struct qvl_error *err)
{
    struct qvl_ids ids = {0};
    enum qvl_status status = qvl_tokenizer_encode(engine->tokenizer, utf8, n, want_special, &ids, err);
    if (status) {
        qvl_ids_free(&ids);
        return status;
    }
    *out_ids = ids.id;
    *out_n = ids.n;
    return QVL_OK;
}

enum qvl_status qvl_detokenize(const struct qvl_engine *engine, const uint32_t *ids, size_t n, char **out_utf8,
                               size_t *out_n, struct qvl_error *err)
{
    const struct qvl_tokenizer *tokenizer = engine->tokenizer;
    struct qvl_utf8_stream stream = {0};
    struct qvl_bytes text = {0};
    enum qvl_status status = qvl_bytes_add(&text, "", 0, err); /* no ids: an empty text */
    for (size_t i = 0; i < n && !status; i++) {
        size_t n_byte = 0;
        const char *bytes = qvl_tokenizer_bytes(tokenizer, ids[i], &n_byte);
        if (ids[i] >= qvl_tokenizer_n(tokenizer))
            status = qvl_fail(err, QVL_ERR_ARGUMENT, "there is no token %u: the model has %u", ids[i],
                              qvl_tokenizer_n(tokenizer));
        else
            status = qvl_utf8_stream_push(&stream, bytes, n_byte, &text, err);
    }
    if (!status)
        status = qvl_utf8_stream_flush(&stream, &text, err);
    if (status) {
        qvl_bytes_free(&text);
        return status;
    }
    *out_utf8 = text.data;
    *out_n = text.n;
    return QVL_OK;
}

void qvl_free(void *p)
{
    free(p);
}

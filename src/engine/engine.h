/* engine.h: what engine.c, request.c and scheduler.c share.
 *
 * Who may touch what: fields marked "caller" belong to the thread that calls the request's functions, until
 * the request is submitted; fields marked "scheduler" to the scheduler's thread from then on, while
 * is_in_step or not is_ended; fields marked "shared" to whoever holds the engine's lock. */
#ifndef QVL_ENGINE_ENGINE_H
#define QVL_ENGINE_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine/answer.h"
#include "engine/constraint.h"
#include "engine/event_queue.h"
#include "engine/feed.h"
#include "engine/lookup.h"
#include "engine/prompt.h"
#include "engine/vision_group.h"
#include "model/decoder.h"

struct qvl_scheduler;
struct qvl_session;

struct qvl_engine {
    char *model_dir, *media_helper; /* media_helper may be NULL */
    struct qvl_config config;
    struct qvl_tokenizer *tokenizer;
    struct qvl_weights *weights;
    const struct qvl_kernels *kernels;
    enum qvl_compute compute;
    enum qvl_kv_type kv;
    bool quantize_vision;
    enum qvl_quantization quantize; /* asked for; what there is: config.quantization */
    uint32_t n_thread, n_ctx, n_prefill_chunk, media_deadline_ms;
    size_t vision_cache_bytes;      /* 0: none */
    struct qvl_bytes inspect_json;
    pthread_mutex_t lock;
    struct qvl_token_trie trie;     /* made for the first constraint, under its lock; read by all from then on */
    pthread_mutex_t trie_lock;
    /* from qvl_engine_load on */
    bool is_loaded;
    double load_ms;
    struct qvl_pool *pool;
    struct qvl_model model;
    struct qvl_scheduler *scheduler;
};

enum qvl_request_state {
    QVL_REQUEST_NEW,       /* next: render */
    QVL_REQUEST_MEASURE,   /* next: measure one picture or clip; after the last: make the prompt, admit */
    QVL_REQUEST_FILL,      /* next: decode and resize one frame of those held in advance */
    QVL_REQUEST_READY,     /* next: submit */
    QVL_REQUEST_SUBMITTED, /* the scheduler has it */
    QVL_REQUEST_OVER
};

struct qvl_request {
    struct qvl_engine *engine;
    struct qvl_arena arena;         /* copies of what the caller passed in */
    struct qvl_chat chat;
    struct qvl_request_options options;
    atomic_bool is_cancelled;
    struct qvl_session *session;    /* that the request has entered, or NULL */
    struct qvl_constrained constrained;

    /* caller */
    enum qvl_request_state state;
    struct qvl_prompt_parts parts;  /* the rendered conversation, until the prompt is made */
    struct qvl_prompt prompt;
    size_t first_scored;            /* with scoring: the row that expects the first of the ids that is expected, */
    size_t i_scored;                /* and which one that is */
    size_t n_cached;                /* prompt tokens that the session's cache holds */
    uint32_t max_tokens;
    double prompt_ms;
    double submitted_ms;            /* on the clock */
    double prepared_ms;             /* the request's own work before it was submitted */
    struct qvl_feed feed;           /* partly the scheduler's, partly shared: feed.h */

    /* scheduler */
    struct qvl_kv kv;               /* with a session: until the request is closed */
    size_t n_prefilled;             /* prompt tokens in the KV cache */
    struct qvl_vision_group group;  /* of temporal patches on its way through the tower */
    struct qvl_answer answer;
    struct qvl_lookup lookup;

    /* shared */
    bool is_in_step;                /* the scheduler is computing with it: may not be freed */
    bool is_ended;                  /* the scheduler is done with it */
    struct qvl_error error;         /* status QVL_OK: the answer is whole */
    struct qvl_event_queue queue;
    bool has_progress;              /* the newest one only */
    enum qvl_stage stage;
    uint64_t progress_done, progress_total;
    uint32_t i_media;
    size_t n_output;
    size_t n_drafted, n_accepted;   /* guessed tokens that were computed; that came */
    double queue_ms, vision_ms, prefill_ms, first_token_at_ms, ended_at_ms;
    pthread_cond_t changed;
};

/* Maps the weights and, where that was asked for and not done yet, quantises them. */
enum qvl_status qvl_engine_map_weights(struct qvl_engine *engine, struct qvl_pool *pool, struct qvl_error *err);

/* inspect.c: sizes and settings as one JSON object. */
enum qvl_status qvl_inspect(const struct qvl_engine *engine, struct qvl_bytes *out, struct qvl_error *err);

#endif

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
#include "engine/prefix.h"
#include "engine/prompt.h"
#include "engine/turns.h"
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
    uint64_t weight_bytes;          /* of the weights, once loaded */
    bool is_quantized;              /* by others, by `qvl quantize`, or while loading */
    uint32_t n_thread, n_ctx, n_prefill_chunk, media_deadline_ms;
    size_t vision_cache_bytes;             /* in memory */
    char *vision_cache_dir;                /* or NULL */
    uint64_t vision_disk_bytes;
    size_t n_kv_max, kv_block_bytes;       /* blocks of keys and values that there may be, 0: any number; of one */
    struct qvl_prefix_cache *prefix_cache; /* or NULL */
    struct qvl_bytes inspect_json;
    pthread_mutex_t lock;
    pthread_cond_t work;           /* for the scheduler: there may be something to do */
    bool is_room_changed;          /* shared: a request came, went or ended: others may begin */
    struct qvl_turns turns;        /* shared */
    struct qvl_session *session;   /* shared: all of them, the one used last first */
    struct qvl_engine_stats stats; /* shared: what is counted since the start */
    atomic_size_t n_kv_block;      /* that there are: of requests, sessions and the prefix cache */
    struct qvl_constraints *constraints;
    void (*tell_load)(void *arg, double share); /* or NULL */
    void *tell_load_arg;
    pthread_mutex_t warn_lock;                     /* held while warn is called */
    void (*warn)(void *arg, const char *sentence); /* or NULL */
    void *warn_arg;
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
    struct qvl_arena arena; /* copies of what the caller passed in */
    struct qvl_chat chat;
    struct qvl_request_options options;
    atomic_bool is_cancelled;
    struct qvl_session *session; /* that the request has entered, or NULL */
    struct qvl_constrained constrained;

    /* caller */
    enum qvl_request_state state;
    struct qvl_prompt_parts parts; /* the rendered conversation, until the prompt is made */
    struct qvl_prompt prompt;
    size_t first_scored; /* with scoring: the row that expects the first of the ids that is expected, */
    size_t i_scored;     /* and which one that is */
    uint32_t max_tokens;
    double prompt_ms;
    double submitted_ms;  /* on the clock */
    double prepared_ms;   /* the request's own work before it was submitted */
    struct qvl_feed feed; /* partly the scheduler's, partly shared: feed.h */

    /* scheduler */
    struct qvl_kv kv; /* with a session: until the request is closed */
    struct qvl_prefix prefix;
    size_t n_prefilled;            /* prompt tokens in the KV cache */
    struct qvl_vision_group group; /* of temporal patches on its way through the tower */
    struct qvl_answer answer;
    struct qvl_lookup lookup;

    /* shared */
    struct qvl_turn turn;
    bool is_begun; /* there is room for it: a cache to begin with, and n_reserved blocks in all */
    size_t n_reserved;
    size_t n_cached;        /* prompt tokens that are not computed: expected, then, once begun, taken over */
    bool is_feed_astray;    /* more or less than was expected: the caller aims its feed anew */
    bool is_disk_asked;     /* the caller is to look into the vision cache's folder, */
    bool is_disk_read;      /* and is at it: the group is his */
    bool is_in_step;        /* the scheduler is computing with it: may not be freed */
    bool is_ended;          /* the scheduler is done with it */
    bool is_work_freed;     /* after a cancel */
    struct qvl_error error; /* status QVL_OK: the answer is whole */
    struct qvl_event_queue queue;
    bool has_progress; /* the newest one only */
    enum qvl_stage stage;
    uint64_t progress_done, progress_total;
    uint32_t i_media;
    size_t n_output;
    size_t n_drafted, n_accepted; /* guessed tokens that were computed; that came */
    double queue_ms, vision_ms, prefill_ms, first_token_at_ms, ended_at_ms;
    pthread_cond_t changed;
};

static inline bool qvl_engine_has_vision_cache(const struct qvl_engine *e)
{
    return e->vision_cache_bytes > 0 || e->vision_cache_dir;
}

static inline void qvl_request_init_kv(struct qvl_request *r)
{
    qvl_kv_init(&r->kv, &r->engine->model);
    r->kv.n_live = &r->engine->n_kv_block;
}

/* request.c: frames are decoded from where the prompt is to be computed, r->n_cached. On the caller's thread, while
 * the scheduler leaves the feed alone. */
enum qvl_status qvl_request_aim(struct qvl_request *r, struct qvl_error *err);

/* Maps the weights and, where that was asked for and not done yet, quantises them. */
enum qvl_status qvl_engine_map_weights(struct qvl_engine *engine, struct qvl_pool *pool, struct qvl_error *err);

/* Of a struct qvl_engine: tells whoever watches for warnings. Any thread, the engine's lock not held. */
void qvl_engine_warn(void *engine, const char *sentence);

/* inspect.c: sizes and settings as one JSON object. */
enum qvl_status qvl_inspect(const struct qvl_engine *engine, struct qvl_bytes *out, struct qvl_error *err);

#endif

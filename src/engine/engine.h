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
#include "engine/event_queue.h"
#include "engine/prompt.h"
#include "media/media.h"
#include "model/decoder.h"

struct qvl_scheduler;

struct qvl_engine {
    char *model_dir, *media_helper; /* media_helper may be NULL */
    struct qvl_config config;
    struct qvl_tokenizer *tokenizer;
    struct qvl_weights *weights;
    const struct qvl_kernels *kernels;
    enum qvl_compute compute;
    uint32_t n_thread, n_ctx, n_prefill_chunk;
    struct qvl_bytes inspect_json;
    pthread_mutex_t lock;
    /* from qvl_engine_load on */
    bool is_loaded;
    double load_ms;
    struct qvl_pool *pool;
    struct qvl_model model;
    struct qvl_scheduler *scheduler;
};

/* A picture or clip of the conversation, from its bytes to its features. A picture is a clip of one temporal patch
 * whose one frame stands for all that the patch holds. */
struct qvl_media_item {
    const struct qvl_part *part;    /* the request's copy */
    bool is_shown;                  /* the template lets the model see it */
    struct qvl_media_info info;
    struct qvl_grid grid;
    size_t n_frame;
    double *frame_s;                /* [n_frame] seconds; in the request's arena */
    struct qvl_arena pixels;        /* owns rgb8 */
    uint8_t *rgb8;                  /* [n_frame, resized_h, resized_w, 3]; until the last patches are cut */
    /* The tower takes n_group_patch temporal patches at a time; only the last group may have fewer. */
    uint32_t n_group, n_group_patch;
    struct qvl_features *group;     /* scheduler: [n_group] in the request's arena; each until prefill has passed */
};

/* Of one resized frame. */
static inline size_t qvl_frame_bytes(const struct qvl_media_item *item)
{
    return (size_t)item->info.resized_h * item->info.resized_w * 3;
}

enum qvl_request_state {
    QVL_REQUEST_NEW,       /* next: render, measure the pictures, make the prompt, admit */
    QVL_REQUEST_PICTURES,  /* next: decode and resize one picture or clip */
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

    /* caller */
    enum qvl_request_state state;
    struct qvl_media *media;        /* a helper process of its own: requests share nothing */
    struct qvl_media_item *item;    /* [n_item] all media parts, in order of message and part */
    size_t n_item, i_item;          /* i_item: next to decode */
    struct qvl_media_info *info;    /* [n_info] those shown */
    size_t n_info, n_decoded;
    struct qvl_prompt prompt;
    uint32_t max_tokens;
    double media_ms, prompt_ms, submitted_ms; /* submitted_ms: on the clock */

    /* scheduler */
    struct qvl_kv kv;
    size_t n_prefilled;             /* prompt tokens in the KV cache */
    struct qvl_vision *vision;      /* the group of temporal patches on its way, or NULL */
    struct qvl_arena patches;       /* its patches, until they are embedded */
    struct qvl_answer answer;

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
    double queue_ms, vision_ms, prefill_ms, first_token_at_ms, ended_at_ms;
    pthread_cond_t changed;
};

/* inspect.c: sizes and settings as one JSON object. */
enum qvl_status qvl_inspect(const struct qvl_engine *engine, struct qvl_bytes *out, struct qvl_error *err);

#endif

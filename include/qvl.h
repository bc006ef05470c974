/* qvl.h: the whole interface of libqvl.
 *
 * An engine holds one model. A request is one conversation put to it: text, pictures and clips in,
 * text out. Several requests may be open on one engine; each belongs to one caller's thread at a time
 * (only qvl_request_cancel may come from any thread). Requests may be opened, and qvl_tokenize and
 * qvl_engine_get_info called, from several threads at once; opening, loading, checking and closing an engine
 * is one thread's affair.
 *
 *     struct qvl_engine *engine = NULL;
 *     struct qvl_request *request = NULL;
 *     struct qvl_error err = {0};
 *     struct qvl_event event;
 *     if (qvl_engine_open(&(struct qvl_engine_options){.model_dir = dir}, &engine, &err)) ...
 *     if (qvl_engine_load(engine, &err)) ...
 *     if (qvl_request_open(engine, &chat, &options, &request, &err)) ...
 *     do {
 *         if (qvl_request_next(request, &event, &err)) ...           // one unit of work, or a wait
 *         if (event.kind == QVL_EVENT_TEXT) fwrite(event.text.utf8, 1, event.text.n, stdout);
 *     } while (event.kind != QVL_EVENT_DONE);
 *     qvl_request_close(request);
 *     qvl_engine_close(engine);
 *
 * Errors: whatever can fail returns enum qvl_status and writes one finished sentence into *err (never
 * NULL). On failure out-pointers are left untouched. Closing NULL is a no-op. Besides the errors named with a
 * function, each may return QVL_ERR_MEMORY.
 * Lifetimes: "engine" = until qvl_engine_close, "request" = until qvl_request_close, "event" = until the
 * next call of qvl_request_next on the same request. What the caller passes in need only live during the
 * call, unless a field says otherwise. */
#ifndef QVL_H
#define QVL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define QVL_API __attribute__((visibility("default")))
#else
#define QVL_API
#endif

#define QVL_VERSION "0.1.0"

/* ---- errors ------------------------------------------------------------------------------------- */

enum qvl_status {
    QVL_OK = 0,
    QVL_ERR_ARGUMENT,  /* the caller's values: out of range, contradictory, unknown */
    QVL_ERR_FILE,      /* a file cannot be opened, read or written; also qvl-media missing, or not starting */
    QVL_ERR_MODEL,     /* the model folder is not one that qvl can run */
    QVL_ERR_MEDIA,     /* a picture or clip cannot be read or used */
    QVL_ERR_LIMIT,     /* the request does not fit: context length or another named limit */
    QVL_ERR_MEMORY,    /* memory ran out */
    QVL_ERR_CANCELLED, /* qvl_request_cancel was called */
    QVL_ERR_INTERNAL   /* a fault of qvl itself, or of the numbers (non-finite logits) */
};

struct qvl_error {
    enum qvl_status status;
    char text[1024]; /* one sentence in the language chosen, UTF-8, no newline */
};

enum qvl_language { QVL_LANGUAGE_EN, QVL_LANGUAGE_ZH };
/* Of all sentences from here on, in the whole process; English until then. From any thread. */
QVL_API void qvl_set_language(enum qvl_language language);

/* ---- media -------------------------------------------------------------------------------------- */

enum qvl_media_kind { QVL_MEDIA_IMAGE, QVL_MEDIA_VIDEO };

struct qvl_frame {
    uint32_t w, h;        /* pixels */
    size_t stride_bytes;  /* from row to row, >= 3*w */
    const uint8_t *rgb8;  /* [h][w][3] */
    double time_s;        /* of a clip's frame, seconds from its start; 0 for a picture */
};

enum qvl_media_from { QVL_FROM_BYTES, QVL_FROM_FD, QVL_FROM_FRAMES, QVL_FROM_PICTURES };

/* One frame of a clip that is given as pictures. */
struct qvl_picture_file {
    const char *path;     /* opened when its turn comes; or NULL: */
    const uint8_t *bytes; /* the encoded file itself */
    size_t n_bytes;
    double time_s;        /* seconds from the clip's start */
};

/* Where a picture or clip comes from: an encoded file as bytes or descriptor, finished frames, or (a clip) encoded
 * pictures. Of frames and pictures the model sees every one: nothing is sampled. */
struct qvl_media_source {
    enum qvl_media_from from;
    const char *name;     /* for error sentences and qvl_media_info; may be NULL */
    const uint8_t *bytes; /* QVL_FROM_BYTES: an encoded file */
    size_t n_bytes;
    int fd;               /* QVL_FROM_FD: open for reading, seekable; stays the caller's */
    const struct qvl_frame *frames; /* QVL_FROM_FRAMES: one for a picture; of a clip all of one size, their times
                                       never going back */
    const struct qvl_picture_file *pictures; /* QVL_FROM_PICTURES: the same for encoded frames of a clip */
    size_t n_frame;                 /* of frames or pictures; at most 16384 */
};

/* How the reference's two processors and their versions scale a picture (MODEL.md, "Resize"). */
enum qvl_resize_rule { QVL_RESIZE_TORCHVISION, QVL_RESIZE_PILLOW, QVL_RESIZE_PILLOW12 };

/* Zero fields take the model's own values. One given bound moves the model's other one out of its way; values that
 * contradict each other are QVL_ERR_ARGUMENT. What only clips know is ignored for pictures. */
struct qvl_media_options {
    uint64_t min_pixels, max_pixels; /* width * height after resizing; of a clip: of each frame */
    uint64_t total_pixels;           /* clip: of all its frames together (25165824) */
    enum qvl_resize_rule resize;
    /* of a clip in a file: which frames (MODEL.md, "Clips") */
    double fps;           /* frames a second (2); not together with num_frames */
    uint32_t num_frames;  /* this many */
    uint32_t min_frames, max_frames; /* with fps (4, 768) */
    double start_s, end_s;           /* only this stretch; end_s 0: to the end. Times stay those of the file. */
};

enum qvl_media_guess { QVL_GUESS_OTHER, QVL_GUESS_IMAGE, QVL_GUESS_VIDEO };
#define QVL_MEDIA_HEAD_BYTES 512 /* as many from the start of a file are enough */
/* What the first n bytes of a file look like: a picture or clip that qvl reads, or something else. Names are not
 * asked. */
QVL_API enum qvl_media_guess qvl_media_sniff(const uint8_t *head, size_t n);

/* ---- conversation ------------------------------------------------------------------------------- */

enum qvl_role { QVL_ROLE_SYSTEM, QVL_ROLE_USER, QVL_ROLE_ASSISTANT, QVL_ROLE_TOOL };

enum qvl_part_kind { QVL_PART_TEXT, QVL_PART_IMAGE, QVL_PART_VIDEO };

struct qvl_part {
    enum qvl_part_kind kind;
    const char *utf8; /* text: n bytes of valid UTF-8, never scanned for special tokens */
    size_t n;
    struct qvl_media_source source; /* image, video. Bytes, descriptor, frames and pictures must stay valid until
                                       text comes (QVL_EVENT_TEXT) or the request is closed. */
    struct qvl_media_options media;
};

struct qvl_tool_call {
    const char *name;
    const char *arguments_json; /* a JSON object */
};

struct qvl_message {
    enum qvl_role role;
    const struct qvl_part *parts;
    size_t n_part;
    const char *reasoning; /* assistant: earlier reasoning (Thinking models), or NULL */
    const struct qvl_tool_call *tool_calls; /* assistant */
    size_t n_tool_call;
};

struct qvl_chat {
    const struct qvl_message *messages;
    size_t n_message;
    const char *tools_json; /* a JSON array of tool definitions, or NULL */
    bool want_vision_ids;   /* "Picture k: " before each picture */
    bool want_video_wrapper; /* clips as transformers >= 5.10 writes them (MODEL.md, "Clips") */
    bool is_open;            /* the last message is the assistant's and not finished: the answer goes on with its text */
};

/* ---- sampling ----------------------------------------------------------------------------------- */

/* In the order in which they act: penalties, temperature, top_k, top_p, min_p. A zeroed struct is not neutral
 * (repetition_penalty must be > 0): start from qvl_engine_info.sampling. */
struct qvl_sampling {
    float temperature; /* 0 = greedy; else 1e-6 to 100 */
    uint32_t top_k;    /* only the k best tokens; 0 = all */
    float top_p;       /* 0 to 1: only the best tokens that together have this probability; 1 = all */
    float min_p;       /* 0 to 1: only tokens with this share of the best one's probability; 0 = off */
    float repetition_penalty; /* 0.01 to 100; 1 = off; acts on prompt and output */
    float presence_penalty;   /* -100 to 100; 0 = off; output only */
    float frequency_penalty;  /* -100 to 100; 0 = off; output only */
    uint64_t seed;     /* same seed, same request: same text */
};

/* ---- intermediates ------------------------------------------------------------------------------ */

enum qvl_trace_type { QVL_TRACE_F32, QVL_TRACE_U8, QVL_TRACE_I32 };

/* Called with each named intermediate ("vision.blocks.3", "decoder.layers.0", "logits"; the list is in
 * MODEL.md), shape outer to inner; data valid during the call. Comes from the caller's thread (inside
 * qvl_request_next and _prepare) and from the engine's own. */
struct qvl_trace {
    void *user;
    void (*tensor)(void *user, const char *name, enum qvl_trace_type type, const void *data,
                   const size_t *dim, size_t n_dim);
};

/* ---- engine ------------------------------------------------------------------------------------- */

struct qvl_engine;

enum qvl_compute { QVL_COMPUTE_BF16, QVL_COMPUTE_F32 };

/* How a request's keys and values are kept: as it computes, or in 8 bits with a scale for each (half the memory and, in a
 * long context, half of what a token must read). */
enum qvl_kv_type { QVL_KV_AS_COMPUTED, QVL_KV_INT8 };

/* How the decoder's matrices are held: as stored; 8 bits; 4 bits; 4 bits with 8 where they count most (keys, values, the
 * MLP's last product). The vision tower stays as stored. A folder written by `qvl quantize` is one of them. What another
 * program has quantised (GGUF, AWQ, …) is not held as stored: NONE makes it 8 bits, or f32 with QVL_COMPUTE_F32; FLOATS,
 * for options only, bf16, or f32. */
enum qvl_quantization {
    QVL_QUANTIZE_NONE,
    QVL_QUANTIZE_Q8,
    QVL_QUANTIZE_Q4,
    QVL_QUANTIZE_BALANCED,
    QVL_QUANTIZE_FLOATS
};

/* Zero fields take the default in parentheses. */
struct qvl_engine_options {
    const char *model_dir;   /* a folder as published on Hugging Face; or a GGUF file of the text model, or a folder that
                                holds one, with the vision tower's (mmproj*.gguf) beside it or named behind a comma */
    const char *media_helper; /* path of qvl-media (beside the running program, else libexec) */
    uint32_t media_deadline_ms; /* for one picture or frame (30,000; reading through a clip once: 300,000) */
    enum qvl_compute compute; /* (bf16) */
    enum qvl_kv_type kv;      /* (as computed); int8: QVL_ERR_ARGUMENT with QVL_COMPUTE_F32 */
    enum qvl_quantization quantize; /* while loading (as the folder is); QVL_ERR_ARGUMENT where the folder is quantised
                                       already, or with QVL_COMPUTE_F32 */
    bool quantize_vision;           /* the tower's matrices, too, in 8 bits; QVL_ERR_ARGUMENT with QVL_COMPUTE_F32 */
    uint32_t n_thread;       /* (what affinity mask and cgroup quota allow) */
    uint32_t n_ctx;          /* positions a request may use (the model's maximum) */
    uint32_t n_prefill_chunk; /* most prompt tokens of a model step (288); a prompt is cut evenly */
    size_t kv_bytes;         /* for keys and values of all requests together, what is kept of earlier ones included (no
                                bound). A request begins when prompt and longest answer fit beside those that have begun,
                                and waits in QVL_STAGE_QUEUE until then; one that never could is QVL_ERR_LIMIT. A session
                                that has no request loses its cache where another request needs the room */
    size_t prefix_cache_bytes; /* of those, for prompts and answers of ended requests: one that begins like another one
                                takes over what they share, with the same bits (0: none) */
    size_t vision_cache_bytes; /* for features of pictures and temporal patches seen before (256 MiB): equal pixels
                                  are not encoded twice, with the same bits */
    bool no_vision_cache;
    const char *vision_cache_dir; /* a folder that keeps them, too, over the end of the program (none). Made where it is
                                     not there; any number of engines and processes may share it. What is wrong with it
                                     is told (qvl_engine_watch_warnings), and no error */
    uint64_t vision_disk_bytes;   /* of all files there (4 GiB); those not used for longest go */
    const char *isa;         /* cap of the kernel level: "scalar", "avx2", "avx512"… (all the CPU has) */
};

/* Reads config and tokenizer, checks every tensor of the weight files against the config; reads no weights.
 * QVL_ERR_FILE, QVL_ERR_MODEL: the folder. QVL_ERR_ARGUMENT, QVL_ERR_LIMIT: the options. *out is the caller's to
 * close. */
QVL_API enum qvl_status qvl_engine_open(const struct qvl_engine_options *options, struct qvl_engine **out,
                                        struct qvl_error *err);
/* Context and room anew: n_ctx, kv_bytes and prefix_cache_bytes as in the options of qvl_engine_open, whose errors it
 * returns, for programs that choose them by what qvl_engine_get_info says. Before any request and session. */
QVL_API enum qvl_status qvl_engine_set_room(struct qvl_engine *engine, uint32_t n_ctx, size_t kv_bytes,
                                            size_t prefix_cache_bytes, struct qvl_error *err);
/* tell is called, in the thread of qvl_engine_load, some times a second while that packs weights, with the share that is
 * done. NULL: none. */
QVL_API void qvl_engine_watch_load(struct qvl_engine *engine, void (*tell)(void *arg, double share), void *arg);
/* warn is called with a sentence about something that the engine goes on without (a folder of vision_cache_dir that cannot
 * be used, a disk that is full), each once, from any of its threads, one at a time. NULL: nobody. At any
 * time; the one before is not called any more. */
QVL_API void qvl_engine_watch_warnings(struct qvl_engine *engine, void (*warn)(void *arg, const char *sentence), void *arg);
/* Maps the weights, packs them where that is to be, and starts the engine's threads. Requests can be opened and prepared
 * before. QVL_ERR_FILE, QVL_ERR_MODEL: the weight files. Again: nothing happens. */
QVL_API enum qvl_status qvl_engine_load(struct qvl_engine *engine, struct qvl_error *err);
/* Reads every weight once, on n_thread threads: QVL_ERR_MODEL names the first that is infinite or not a number.
 * Before qvl_engine_load or after it. */
QVL_API enum qvl_status qvl_engine_check_weights(struct qvl_engine *engine, struct qvl_error *err);
/* All requests and sessions must be closed. */
QVL_API void qvl_engine_close(struct qvl_engine *engine);

struct qvl_engine_info {
    const char *architecture;  /* engine lifetime, like every pointer here */
    const char *inspect_json;  /* sizes and settings, one JSON object */
    const char *isa;           /* kernel level in use */
    const char *kv;            /* numbers of keys and values: "bf16", "f32", "int8" */
    uint32_t n_thread;
    uint32_t n_ctx;
    uint32_t n_ctx_model;      /* max_position_embeddings */
    uint64_t kv_bytes_per_tok; /* of keys and values, which are held in blocks of 128 tokens */
    uint64_t n_parameter;      /* numbers in the weights */
    uint64_t weight_bytes;     /* of them, once loaded; of the files: inspect_json */
    double load_ms;            /* what qvl_engine_load took; 0 before */
    bool is_thinking;
    bool is_quantized;         /* the weights are rounded to fewer than 16 bits: in the files, or while loading */
    bool is_golden;            /* random weights, made for tests */
    bool is_demo;              /* the built-in demo model, for simple pictures only */
    struct qvl_sampling sampling; /* generation_config.json, else the family's published values */
};
QVL_API void qvl_engine_get_info(const struct qvl_engine *engine, struct qvl_engine_info *out);

/* Token ids of n bytes of UTF-8 (anything else: QVL_ERR_ARGUMENT). want_special: "<|im_end|>" and the like become
 * their one token; else they are text. *out_ids [*out_n] is the caller's to free with qvl_free; may be NULL where
 * there are none. */
QVL_API enum qvl_status qvl_tokenize(const struct qvl_engine *engine, const char *utf8, size_t n,
                                     bool want_special, uint32_t **out_ids, size_t *out_n,
                                     struct qvl_error *err);
/* The text of token ids, special ones as they are written ("<|im_end|>"); bytes that make no whole character become
 * U+FFFD. *out_utf8 [*out_n], followed by a 0, is the caller's to free with qvl_free. QVL_ERR_ARGUMENT: an id that the
 * model does not have. */
QVL_API enum qvl_status qvl_detokenize(const struct qvl_engine *engine, const uint32_t *ids, size_t n, char **out_utf8,
                                       size_t *out_n, struct qvl_error *err);
/* What a token stands for: *n bytes, which may begin or end inside a character; none for an id that the model does not have.
 * *is_special: one that is no part of an answer's text ("<|im_end|>"). Engine lifetime. */
QVL_API const char *qvl_token_bytes(const struct qvl_engine *engine, uint32_t id, size_t *n, bool *is_special);
QVL_API void qvl_free(void *p); /* NULL is fine */

/* What the engine is doing, at any time, from any thread. */
struct qvl_engine_stats {
    size_t n_request;              /* submitted and not ended */
    size_t n_running, n_waiting;   /* of those: begun; waiting for room or for their first turn */
    uint64_t kv_bytes, kv_max_bytes; /* in use (kept prefixes included); the bound, 0 where there is none */
    uint64_t prefix_bytes;         /* of kv_bytes: kept for later requests only */
    uint64_t n_prefix_asked_tok, n_prefix_found_tok; /* prompt tokens since the start; those that were taken over */
    uint64_t vision_cache_bytes;
    uint64_t n_patch_asked, n_patch_found;           /* temporal patches since the start; those that were known */
    uint64_t vision_disk_bytes;                      /* in the folder, of all processes, as last heard */
    uint64_t n_disk_asked, n_disk_found;             /* temporal patches that it was asked for; that it had */
    uint64_t n_prompt_tok, n_output_tok;             /* computed or taken over; sampled */
};
QVL_API void qvl_engine_get_stats(const struct qvl_engine *engine, struct qvl_engine_stats *out);

/* ---- request ------------------------------------------------------------------------------------ */

struct qvl_request;

/* What the requests of one conversation leave to each other: keys and values of the tokens computed so far, and
 * what was learnt about its clips. A request takes over what its prompt has in common with the last one's prompt
 * and answer, pictures and clips included where source and options are the same, and computes only the rest; its
 * bits are those of a request without a session. After a cancel, too. A source is the same where its content is; of
 * a file (descriptor or path) device, number, size and times of change are asked instead. */
struct qvl_session;
QVL_API enum qvl_status qvl_session_open(struct qvl_engine *engine, struct qvl_session **out,
                                         struct qvl_error *err);
/* Its request must be closed. */
QVL_API void qvl_session_close(struct qvl_session *session);

/* Instead of an answer: what the model expects where certain tokens follow, for perplexities and comparisons. The request
 * works through its prompt and the tokens in one go and ends with QVL_EVENT_DONE; there is no text, nothing is sampled.
 * With an empty conversation (n_message 0) the tokens follow nothing, and the first one is not expected. */
struct qvl_scoring {
    const uint32_t *ids; /* [n_id] behind the prompt; copied */
    size_t n_id;
    /* Called for each that is expected, in order, from the engine's thread: logits [n_logit], valid during the call, of
     * what comes at ids[i]. With quantised weights every row of the head is computed in 8 bits, where an answer does so
     * for the best rows only. NULL: no scoring. */
    void (*logits)(void *user, size_t i, const float *logits, size_t n_logit);
    void *user;
};

/* What an answer may be. Before each token those that cannot lead to such a text are taken out, end tokens among them
 * until the text may end; where nothing can follow, the answer ends (QVL_FINISH_STOP). An answer that max_tokens, a stop
 * string or the loop guard ends earlier is as far as it came. Of a Thinking model the reasoning is free. */
enum qvl_constraint_kind {
    QVL_CONSTRAINT_NONE,
    QVL_CONSTRAINT_JSON,        /* an object, of whatever members */
    QVL_CONSTRAINT_JSON_SCHEMA, /* JSON that satisfies the schema in text; what cannot be enforced is refused */
    QVL_CONSTRAINT_REGEX,       /* a match of the regular expression in text, from its first to its last character */
    QVL_CONSTRAINT_CHOICE,      /* one of the choices */
    QVL_CONSTRAINT_TOOL_CALLS,  /* one or more calls of the tools in text (qvl_chat.tools_json), as the model writes them,
                                   with arguments that satisfy their schemas: of a tool that is "strict" wholly, of
                                   others as far as can be enforced; choice: only those of these names */
    QVL_CONSTRAINT_TOOLS_AUTO   /* whatever it likes, and in it calls of that kind: one that is begun is finished. Where
                                   a schema makes no sense or is too complex, and is not strict, any object will do */
};

struct qvl_constraint {
    enum qvl_constraint_kind kind;
    const char *text; /* n bytes of UTF-8; need only live during the call */
    size_t n;
    const char *const *choice; /* [n_choice], each not empty; the same */
    size_t n_choice;
    bool want_one_call;        /* tool calls: just one, and nothing behind it */
    const char *instead;       /* QVL_CONSTRAINT_TOOL_CALLS: or, instead of calls, JSON that satisfies this schema */
    size_t n_instead;          /* bytes of it; 0: calls only */
};

/* Added to the logit of a token before anything else acts on it. */
struct qvl_logit_bias {
    uint32_t id;
    float bias; /* -100 to 100; -100 in effect forbids it, unless a constraint allows nothing else */
};

struct qvl_request_options {
    struct qvl_sampling sampling; /* taken as it is: start from qvl_engine_info.sampling */
    uint32_t max_tokens;          /* of the answer; 0 = 4096, or what context and kv_bytes leave */
    const char *const *stop;      /* stop strings, not part of the answer; none reaches over "</think>" */
    size_t n_stop;                /* at most 16, each of 1 to 1024 bytes of UTF-8 */
    bool ignore_eos;              /* go on after the model's end token */
    bool no_loop_guard;           /* go on when the output repeats itself without end */
    bool no_lookup;               /* compute one token a step, also where the text seems to repeat itself. The
                                     output is the same, bit for bit */
    struct qvl_constraint constraint; /* zero: none. QVL_ERR_ARGUMENT, QVL_ERR_LIMIT: what cannot be enforced, and where */
    const struct qvl_logit_bias *logit_bias; /* [n_logit_bias], at most 1024, each token once */
    size_t n_logit_bias;
    uint32_t n_top_logits;        /* K best (id, logit) pairs with every token; at most 64 */
    bool want_log_sum;            /* qvl_event.text.log_sum is wanted */
    struct qvl_trace trace;       /* trace.tensor NULL = off */
    struct qvl_session *session;  /* NULL = none; of this engine; one open request at a time */
    struct qvl_scoring scoring;   /* not with a session */
    uint64_t cache_salt;          /* only requests with the same one share picture features and prefixes: so nobody can
                                     find out by its time what others have asked */
    uint64_t client;              /* turns and room are shared out equally among clients, then among their requests */
};

/* Copies chat and options (not the media, see qvl_part.source). Does no other work. QVL_ERR_ARGUMENT,
 * QVL_ERR_LIMIT, QVL_ERR_MEDIA (a picture or clip without content): what was passed in. *out is the caller's to
 * close. */
QVL_API enum qvl_status qvl_request_open(struct qvl_engine *engine, const struct qvl_chat *chat,
                                         const struct qvl_request_options *options,
                                         struct qvl_request **out, struct qvl_error *err);

enum qvl_event_kind { QVL_EVENT_PROGRESS, QVL_EVENT_TEXT, QVL_EVENT_DONE };

enum qvl_stage {
    QVL_STAGE_MEDIA,  /* pictures and clips measured, then decoded (of a clip only what is held in advance) */
    QVL_STAGE_QUEUE,  /* waiting: total requests are ahead or beside */
    QVL_STAGE_VISION, /* patches of one picture or clip (i_media of n_media) that the vision tower is done with */
    QVL_STAGE_PREFILL /* prompt tokens; pictures are encoded when the prefill reaches them. Text follows. */
};

enum qvl_finish { QVL_FINISH_STOP, QVL_FINISH_LENGTH, QVL_FINISH_LOOP };

struct qvl_token_logit {
    uint32_t id;
    float logit;
};

struct qvl_event {
    enum qvl_event_kind kind;
    struct {
        enum qvl_stage stage;
        uint64_t done, total;    /* in the stage's own unit */
        uint32_t i_media, n_media; /* vision: picture or clip i of n */
    } progress;
    struct {
        const char *utf8; /* whole characters only; may be empty (a token that ends inside one, or text held
                             back because a stop string may begin in it) */
        size_t n;
        uint32_t id;      /* the token that let it out: one event for each token of the output */
        const struct qvl_token_logit *top; /* n_top_logits entries, best first, before bias, penalties and
                                              constraint */
        size_t n_top;
        float logit, log_sum; /* with want_log_sum: of this token, and the logarithm of the sum of the exponentials of
                                 all logits (of the ids that the tokenizer has), both before bias, penalties and
                                 constraint: logit - log_sum is the natural logarithm of its probability at temperature
                                 1, and so with those of top. With quantised weights the best some hundred logits are
                                 computed in 8 bits, and of all others the sum has what the head as it is packed gives */
        bool is_reasoning; /* Thinking models: the text up to and with "</think>" */
    } text;
    struct {
        enum qvl_finish finish;
        const char *stop; /* the stop string that was met, or NULL */
    } done;
};

/* One unit of the request's own work (decode a picture, render the prompt), or a wait for the engine.
 * After QVL_EVENT_DONE or an error the request can only be closed (and asked for its info). Any status: the first
 * failure of what the request does, at whatever stage. */
QVL_API enum qvl_status qvl_request_next(struct qvl_request *request, struct qvl_event *event,
                                         struct qvl_error *err);
/* The caller's side up to the model's first step: pictures decoded, clips measured and begun, the prompt made,
 * everything checked to fit. Optional: qvl_request_next does the same in pieces. The frames of a clip that are not
 * held in advance are decoded later, inside qvl_request_next, while the model works. Needs no weights.
 * QVL_ERR_MEDIA and QVL_ERR_FILE: a picture or clip, or qvl-media; QVL_ERR_LIMIT: it does not fit the context;
 * QVL_ERR_ARGUMENT: the conversation; QVL_ERR_CANCELLED. */
QVL_API enum qvl_status qvl_request_prepare(struct qvl_request *request, struct qvl_error *err);
/* Whether that much is done: qvl_request_next would go on with the model. */
QVL_API bool qvl_request_is_prepared(const struct qvl_request *request);
/* From any thread, any number of times: the request ends with QVL_ERR_CANCELLED within a second. */
QVL_API void qvl_request_cancel(struct qvl_request *request);
/* Waits for the step that the request may be in. */
QVL_API void qvl_request_close(struct qvl_request *request);

struct qvl_media_info {
    enum qvl_media_kind kind;
    const char *name;               /* request lifetime */
    uint32_t original_h, original_w; /* pixels, after EXIF orientation; of a clip: of each frame */
    uint32_t resized_h, resized_w;   /* pixels */
    uint32_t grid_t, grid_h, grid_w; /* patches; grid_t: 1, of a clip one for each two frames */
    uint32_t n_tok;                  /* in the prompt; of a clip without those of its timestamps */
    uint32_t n_reused;               /* of grid_t: so far taken from the vision cache, in memory or in its folder, or
                                        equal to one beside it */
    /* of a clip */
    const uint64_t *frame_index;     /* [n_frame] in the file; 0, 1, … of frames and pictures; request lifetime */
    const double *frame_s;           /* [n_frame] their times, seconds */
    const double *patch_s;           /* [grid_t] the times that the prompt says (to one decimal) */
    size_t n_frame;
    uint64_t n_frame_file;           /* the whole file's, like what follows; 0 where there is no file */
    double fps;                      /* frames by last end minus first beginning */
    double duration_s;
    const char *codec;               /* "h264"; static; NULL where there is no file */
    bool is_cut;                     /* the file ends early: what could be read is used */
};

struct qvl_request_info {
    const struct qvl_media_info *media; /* [n_media] those that the model sees; request lifetime */
    size_t n_media;
    const char *prompt;          /* rendered, a placeholder for each picture and clip; request lifetime */
    const uint32_t *prompt_ids;  /* expanded, with those to be scored but the last; request lifetime */
    size_t n_prompt_tok;
    const uint32_t *output_ids;  /* event lifetime */
    size_t n_output_tok;
    size_t n_image_tok, n_video_tok;
    size_t n_cached_tok;         /* of the prompt, taken over from the session or from other requests' prefixes */
    size_t n_drafted_tok;        /* guessed from the text so far and computed along */
    size_t n_accepted_tok;       /* of those: came, and needed no step of their own */
    /* Milliseconds spent so far: pictures and frames decoded and resized (partly while the model works); prompt
     * rendered and encoded; waiting for the first step; vision tower; prefill; from the first token on; and from
     * the start of the request's own work to its
     * first token. */
    double media_ms, prompt_ms, queue_ms, vision_ms, prefill_ms, generate_ms, first_token_ms;
};
/* A snapshot, at any time. Media and prompt fields are filled once the request is prepared. */
QVL_API void qvl_request_get_info(const struct qvl_request *request, struct qvl_request_info *out);

/* ---- quantising --------------------------------------------------------------------------------- */

/* Writes a model as a folder, its decoder's matrices packed (enum qvl_quantization), in pieces: next until it is done.
 * The new folder is a whole model, to be opened like any other, and appears when the last piece is done, or never. One
 * thread's affair, except qvl_quantizer_cancel. */
struct qvl_quantizer;

/* A model that still comes: its small files are there, and its weight files, as long as they will be, fill from their
 * beginning. Any of a quantizer's functions may call these, with the name of a weight file in model_dir. */
struct qvl_quantizer_source {
    void *user;
    /* Whether the first `end` bytes are there. If not, it is these that are waited for. Of a file that may yet turn out
     * to be wrong the last byte is not there: the new folder never appears without all of it. */
    bool (*has)(void *user, const char *name, uint64_t end);
    /* The first `end` bytes are not read again. May be NULL. */
    void (*let_go)(void *user, const char *name, uint64_t end);
};

struct qvl_quantizer_options {
    const char *model_dir; /* any model that qvl reads and has not packed itself */
    const char *out_dir;   /* must not exist, or be an empty folder */
    enum qvl_quantization type; /* not QVL_QUANTIZE_NONE */
    uint32_t n_thread;     /* 0: what affinity mask and cgroup quota allow */
    const struct qvl_quantizer_source *source; /* NULL: the model is there. Else only what qvl_quantizer_ask has called
                                                  QVL_QUANTIZER_FOLLOWS */
};

/* How a model that still comes can be read. */
enum qvl_quantizer_way {
    QVL_QUANTIZER_LATER,    /* more of it has to be there to say so: ask again */
    QVL_QUANTIZER_FOLLOWS,  /* in the order of its files, while they come */
    QVL_QUANTIZER_NEEDS_ALL /* when it is there: GGUF, what other programs have quantised, an unusual layout */
};

struct qvl_quantizer_info {
    bool is_waiting;      /* the last call found nothing to do: what it needs is not there */
    uint64_t done, total; /* work */
    uint64_t n_parameter;
    uint64_t in_bytes, out_bytes; /* of the weights */
};

/* Of options->source, which must be there. Errors as those of qvl_quantizer_open, of what there is to read; *out says
 * QVL_QUANTIZER_NEEDS_ALL when it is the small files', which no more bytes will change, and else QVL_QUANTIZER_LATER. */
QVL_API enum qvl_status qvl_quantizer_ask(const struct qvl_quantizer_options *options, enum qvl_quantizer_way *out,
                                          struct qvl_error *err);
/* Reads what is small, checks everything, begins to write. QVL_ERR_ARGUMENT: the options, a model that is quantised
 * already, an out_dir that is there; QVL_ERR_MODEL: the model's files, also missing ones; QVL_ERR_FILE: out_dir cannot be
 * made, or there is too little room. *out is the caller's to close. */
QVL_API enum qvl_status qvl_quantizer_open(const struct qvl_quantizer_options *options, struct qvl_quantizer **out,
                                           struct qvl_error *err);
/* Some tenths of a second of work. QVL_ERR_MODEL: a weight that is not finite; QVL_ERR_FILE: a full disk; then, and after
 * QVL_ERR_CANCELLED, it can only be closed. */
QVL_API enum qvl_status qvl_quantizer_next(struct qvl_quantizer *quantizer, bool *is_done, struct qvl_error *err);
QVL_API void qvl_quantizer_get_info(const struct qvl_quantizer *quantizer, struct qvl_quantizer_info *out);
/* From any thread: qvl_quantizer_next, now and from now on, ends with QVL_ERR_CANCELLED, unless it is done. */
QVL_API void qvl_quantizer_cancel(struct qvl_quantizer *quantizer);
/* Removes what is not done. */
QVL_API void qvl_quantizer_close(struct qvl_quantizer *quantizer);

/* Writes a model for llama.cpp: two GGUF files, the language model and, for the other, the vision tower with its mergers, in
 * pieces: next until it is done. They appear together when the last piece is done, or never. One thread's affair, except
 * qvl_converter_cancel. */
struct qvl_converter;

enum qvl_convert_type { /* of matrices; vectors are f32, and what has no whole blocks in Q8_0 is F16 */
    QVL_CONVERT_F16,
    QVL_CONVERT_Q8_0, /* 8 bits: 34 bytes for 32 numbers */
    QVL_CONVERT_BF16
};

struct qvl_converter_options {
    const char *model_dir; /* any model that qvl reads; of a packed one the weights that it computes with are written */
    const char *out;       /* the language model's file; must not exist */
    const char *mmproj;    /* the tower's; NULL: "mmproj-" before the name of out, in the same folder */
    enum qvl_convert_type type;
    uint32_t n_thread; /* 0: what affinity mask and cgroup quota allow */
};

struct qvl_converter_info {
    uint64_t done, total; /* work */
    uint64_t n_parameter;
    uint64_t in_bytes, out_bytes; /* of the weights; of both files */
    const char *mmproj;           /* its path; converter's lifetime */
    bool is_source_quantized;     /* so that the files hold weights that were rounded before */
};

/* Reads what is small, checks everything, takes the room on the disk. QVL_ERR_ARGUMENT: the options, a file that is there;
 * QVL_ERR_MODEL: the model's files, also missing ones, and what GGUF cannot say; QVL_ERR_FILE: the files cannot be made, or
 * there is too little room. *out is the caller's to close. */
QVL_API enum qvl_status qvl_converter_open(const struct qvl_converter_options *options, struct qvl_converter **out,
                                           struct qvl_error *err);
/* Some tenths of a second of work. QVL_ERR_MODEL: a weight that is not finite, or too large for the type; QVL_ERR_FILE: the
 * disk; then, and after QVL_ERR_CANCELLED, it can only be closed. */
QVL_API enum qvl_status qvl_converter_next(struct qvl_converter *converter, bool *is_done, struct qvl_error *err);
QVL_API void qvl_converter_get_info(const struct qvl_converter *converter, struct qvl_converter_info *out);
/* From any thread: qvl_converter_next, now and from now on, ends with QVL_ERR_CANCELLED, unless it is done. */
QVL_API void qvl_converter_cancel(struct qvl_converter *converter);
/* Removes what is not done. */
QVL_API void qvl_converter_close(struct qvl_converter *converter);

/* ---- measuring ---------------------------------------------------------------------------------- */

/* What this machine can do at most, and how long the model's steps take on it: one test is begun, then run as often
 * as one likes; beginning the next one ends it. With threads of its own beside the engine's: for true figures no
 * request of the engine may be open. One thread's affair, except qvl_bench_cancel. */
struct qvl_bench;

enum qvl_bench_kind {
    QVL_BENCH_F32,        /* peak: multiply-adds of f32 */
    QVL_BENCH_BF16,       /* peak: of pairs of bf16 */
    QVL_BENCH_INT8,       /* peak: of int8 */
    QVL_BENCH_READ,       /* peak: reading memory */
    QVL_BENCH_LOAD,       /* qvl_engine_open and _load of the same folder once more */
    QVL_BENCH_VISION,     /* vision tower: a picture of n patches, as square as they allow */
    QVL_BENCH_PREFILL,    /* n prompt tokens */
    QVL_BENCH_DECODE,     /* the next token after n positions (of a full context: its last token). What stands in
                             them is made up: it costs no prefill */
    QVL_BENCH_FIRST_TOKEN /* a request with a new picture of n x n pixels and a short question: its first token */
};

/* The work of one run. */
struct qvl_bench_work {
    double n_mac;             /* multiply-adds; 0 where they do not count */
    double n_byte;            /* that must be read from memory at least; 0 where they do not count */
    enum qvl_bench_kind unit; /* QVL_BENCH_F32, _BF16, _INT8: the peak of the arithmetic that n_mac uses */
};

struct qvl_bench_time {
    double ms;     /* of one run */
    double cpu_ms; /* processor time of all threads in it: on a quiet machine near ms * n_thread at most */
};

/* The engine must outlive it; it need not be loaded. *out is the caller's to close. */
QVL_API enum qvl_status qvl_bench_open(struct qvl_engine *engine, struct qvl_bench **out, struct qvl_error *err);
/* Prepares a test, and reads the weights that it needs once. n: see the kinds, else 0. QVL_ERR_LIMIT: the processor
 * has no such unit, or the model's context is shorter; QVL_ERR_MEMORY: less is free than it would take;
 * QVL_ERR_ARGUMENT: no picture has n patches. */
QVL_API enum qvl_status qvl_bench_begin(struct qvl_bench *bench, enum qvl_bench_kind kind, uint32_t n,
                                        struct qvl_bench_work *out, struct qvl_error *err);
/* Once. */
QVL_API enum qvl_status qvl_bench_run(struct qvl_bench *bench, struct qvl_bench_time *out, struct qvl_error *err);
/* From any thread: qvl_bench_begin and _run, now and from now on, end with QVL_ERR_CANCELLED. */
QVL_API void qvl_bench_cancel(struct qvl_bench *bench);
QVL_API void qvl_bench_close(struct qvl_bench *bench);

#ifdef __cplusplus
}
#endif
#endif

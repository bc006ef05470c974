/* golden_run.h: the model room driven by hand, as the engine drives it: a golden model opened on one kernel level,
 * a prompt of the vectors with its pictures, the tower, prefill, steps. Everything fails the running test with the
 * room's own sentence; nothing returns an error. */
#ifndef GOLDEN_RUN_H
#define GOLDEN_RUN_H

#include "check.h"
#include "golden_model.h"
#include "model/decoder.h"
#include "vectors.h"

/* ---- a model ---------------------------------------------------------------------------------------- */

struct golden {
    char letter;
    struct golden_vectors vectors;
    struct qvl_config config;
    struct qvl_weights *weights;
    struct qvl_pool *pool;
    struct qvl_model model;
};

/* Folder of a model: written once for each test program, removed when it ends. */
const char *golden_folder(char letter);
void golden_open(struct golden *g, char letter, const struct qvl_kernels *kernels, uint32_t n_thread,
                 enum qvl_compute compute, enum qvl_kv_type kv);
/* With the decoder's weights packed while loading. */
void golden_open_quantized(struct golden *g, char letter, const struct qvl_kernels *kernels, uint32_t n_thread,
                           enum qvl_quantization quantize, enum qvl_compute compute, enum qvl_kv_type kv);
/* Of another folder with the same sizes and prompts as the letter's. Matrices that other programs have quantised become f32
 * where `quantize` is none. */
void golden_open_folder(struct golden *g, char letter, const char *folder, const struct qvl_kernels *kernels,
                        uint32_t n_thread, enum qvl_quantization quantize, enum qvl_compute compute,
                        enum qvl_kv_type kv);
void golden_close(struct golden *g);

/* The next kernel level from *isa on that this machine has, and its successor in *isa; NULL after the last. Says on
 * stdout which levels of this architecture are missing. */
const struct qvl_kernels *golden_next_level(enum qvl_isa *isa);
const struct qvl_kernels *golden_best_level(void);

/* ---- a prompt ---------------------------------------------------------------------------------------- */

#define GOLDEN_MAX_PICTURES 4

struct golden_prompt {
    uint32_t *id;             /* [n] */
    struct qvl_position *pos; /* [n] */
    size_t n;
    int32_t next; /* position of the first generated token */
    struct qvl_grid grid[GOLDEN_MAX_PICTURES];
    size_t n_grid;
    float *patch_row; /* of all pictures, one after the other */
    size_t n_patch;
    struct qvl_features features; /* row NULL before golden_see */
};

/* The ids of a case and n_extra more from `extra`. Pictures and frames drawn, resized and cut by the model room;
 * grids and positions made by it and compared with the vectors' (case "far": taken from them). */
void golden_prompt_make(const struct golden *g, const char *test_case, const uint32_t *extra, size_t n_extra,
                        struct golden_prompt *out);
/* pos and next from id and grid. */
void golden_prompt_positions(const struct golden *g, struct golden_prompt *prompt);
void golden_prompt_free(struct golden_prompt *prompt);
/* Through the tower, n_at_once pictures in one pass: fills features. */
void golden_see(struct golden *g, struct golden_prompt *prompt, size_t n_at_once, const struct qvl_trace *trace);

/* ---- sequences through the decoder ------------------------------------------------------------------- */

struct golden_sequence {
    struct qvl_kv kv;
    const struct golden_prompt *prompt;
    size_t n_done; /* rows of the prompt, then generated ones, in the cache */
};

void golden_sequence_open(struct golden *g, const struct golden_prompt *prompt, struct golden_sequence *out);
void golden_sequence_close(struct golden_sequence *sequence);
/* Room in every sequence for the rows that follow. Row number i_row of the prompt, ready for a batch. */
struct qvl_batch_row golden_prompt_row(const struct golden *g, const struct golden_prompt *prompt, size_t i_row,
                                       uint32_t i_seq, bool want_logits);
/* One step; returns the wanted logits (decoder lifetime). */
const float *golden_step(struct qvl_decoder *decoder, struct golden_sequence *const *sequence, size_t n_seq,
                         const struct qvl_batch_row *row, size_t n_row, const struct qvl_trace *trace);
/* The whole prompt in chunks; the logits of its last n_want rows are copied to out_logits [n_want][vocab]. */
void golden_prefill(struct golden *g, struct qvl_decoder *decoder, struct golden_sequence *sequence, size_t n_chunk,
                    size_t n_want, float *out_logits, const struct qvl_trace *trace);
struct qvl_decoder *golden_decoder(struct golden *g, size_t max_row);

/* ---- named intermediates ------------------------------------------------------------------------------ */

struct golden_record {
    char name[48];
    float *data; /* [n_row][n_column]: calls of one name follow each other */
    size_t n_row, n_column;
};

struct golden_trace {
    struct golden_record record[64];
    size_t n;
    struct qvl_trace trace; /* to hand to the model room */
};

void golden_trace_init(struct golden_trace *trace);
void golden_trace_free(struct golden_trace *trace);

/* Every intermediate of a case, in QVL_COMPUTE_F32 against the vectors: the largest max|a-b| / max|b|, and the
 * first tensor above `limit` in the order of the computation, or "" when none is. */
struct golden_result {
    double worst;
    char worst_name[64], first_above[64];
    size_t n_compared;
};
/* One of them, its rows complete; adds to *out. */
void golden_compare_record(const struct golden_vectors *vectors, const char *test_case,
                           const struct golden_record *record, double limit, struct golden_result *out);
void golden_compare(struct golden *g, const char *test_case, double limit, struct golden_result *out);

#endif

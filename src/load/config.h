/* config.h: config.json, generation_config.json and the processor's settings as numbers, each within the
 * range of one table (config_table.c) and consistent with the others. Nothing is ignored silently: a setting qvl
 * cannot honour is refused by name. Source: MODEL.md, "A model folder", "Pictures", "YaRN". */
#ifndef QVL_LOAD_CONFIG_H
#define QVL_LOAD_CONFIG_H

#include "base/bytes.h"

#define QVL_MAX_TAPS 8

enum qvl_rope_type { QVL_ROPE_DEFAULT, QVL_ROPE_YARN };

struct qvl_rope_config {
    enum qvl_rope_type type;
    double theta;
    uint32_t section[3]; /* pairs of T, H, W; sum = head_dim / 2 */
    /* yarn only */
    double factor, beta_fast, beta_slow, attention_factor; /* attention_factor 0 = 0.1 ln(factor) + 1 */
    uint32_t original_max_position;
    bool truncate;
};

struct qvl_text_config {
    uint32_t hidden, n_layer, n_head, n_kv_head, head_dim, intermediate, vocab, max_position;
    float rms_norm_eps;
    struct qvl_rope_config rope;
    bool is_tied; /* head = embedding */
};

struct qvl_vision_config {
    uint32_t hidden, n_layer, n_head, head_dim, intermediate, out_hidden;
    uint32_t in_channels, patch, temporal_patch, merge;
    uint32_t n_position; /* a square: position_side^2 */
    uint32_t position_side;
    uint32_t n_tap;
    uint32_t tap_layer[QVL_MAX_TAPS]; /* block whose output tap i takes; increasing */
};

struct qvl_image_config { /* preprocessor_config.json or processor_config.json */
    uint64_t min_pixels, max_pixels;
    float mean[3], std[3];
    float rescale; /* 1/255 */
};

struct qvl_video_config {            /* video_preprocessor_config.json or processor_config.json */
    uint64_t min_pixels, max_pixels; /* of all sampled frames together */
    double fps;
    uint32_t min_frames, max_frames;
};

struct qvl_generation_config {
    bool has_file;                /* generation_config.json was there */
    struct qvl_sampling sampling; /* its values; where silent, the family's published ones */
    uint32_t eos[8];
    uint32_t n_eos;
};

/* One way in which another program has quantised matrices. Which matrices, their own tensors tell: an original runtime
 * finds them by names and regular expressions in config.json, and in a sound folder the two agree. */
enum qvl_foreign_kind {
    QVL_FOREIGN_AWQ,
    QVL_FOREIGN_GPTQ,       /* zeros are stored less 1 */
    QVL_FOREIGN_GPTQ_V2,    /* as they are */
    QVL_FOREIGN_CT_PACKED,  /* compressed-tensors: integers of n_bit in words */
    QVL_FOREIGN_CT_INT,     /* 8-bit integers, one in a byte */
    QVL_FOREIGN_CT_FLOAT,   /* e4m3 */
    QVL_FOREIGN_FP8
};
struct qvl_foreign_scheme {
    enum qvl_foreign_kind kind;
    uint32_t n_bit;
    uint32_t group_rows, group_columns; /* that share a scale; 0: all */
    bool is_symmetric;                  /* may come without zeros */
    bool is_ordered;                    /* the group of each column is listed */
};

#define QVL_MAX_SCHEMES 16

struct qvl_foreign_config { /* quantization_config of AWQ, GPTQ, compressed-tensors and FP8 folders */
    struct qvl_foreign_scheme scheme[QVL_MAX_SCHEMES];
    uint32_t n_scheme; /* 0: of no such folder */
};

struct qvl_config {
    struct qvl_text_config text;
    struct qvl_vision_config vision;
    struct qvl_image_config image;
    struct qvl_video_config video;
    struct qvl_generation_config generation;
    uint32_t image_token, video_token, vision_start_token, vision_end_token;
    struct qvl_foreign_config foreign;
    enum qvl_quantization quantization; /* of the decoder's matrices */
    bool is_vision_packed;              /* the tower's are held in 8 bits: in memory only */
    bool is_thinking; /* the chat template opens the reasoning */
    bool is_golden;   /* config.json says "qvl_golden": true: random weights made by qvl's own tests */
    bool is_demo;     /* config.json says "qvl_demo": true: the built-in demo model */
};

/* "none", "q8", "q4", "balanced". */
const char *qvl_quantization_name(enum qvl_quantization quantization);

/* Reads the folder's JSON files, or the keys of a pair of GGUF files (qvl_gguf_pair_find). Errors name file and key, found
 * and expected value. */
enum qvl_status qvl_config_load(const char *model_dir, struct qvl_config *out, struct qvl_error *err);
/* The part of it that looks at one text (fuzzed): config.json's n bytes. */
enum qvl_status qvl_config_parse(const char *json, size_t n, const char *name, struct qvl_config *out,
                                 struct qvl_error *err);

/* The chat template's text, as published; nothing is added where the folder has none. */
enum qvl_status qvl_config_read_template(const char *model_dir, struct qvl_bytes *out, struct qvl_error *err);

#endif

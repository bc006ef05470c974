/* reference_file.h: reader of REF, the file that reference/verify.py writes and `qvl verify` compares with. Its
 * format is told at the top of reference/verify.py. Any bytes may enter; what leaves is proven to fit together, so
 * that whoever compares with it need not look again. */
#ifndef QVL_CLI_REFERENCE_FILE_H
#define QVL_CLI_REFERENCE_FILE_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/json_tree.h"

#define QVL_REFERENCE_VERSION 1

enum qvl_reference_type { QVL_REFERENCE_F32, QVL_REFERENCE_I32, QVL_REFERENCE_U8 };

struct qvl_reference_tensor {
    const char *name;
    enum qvl_reference_type type;
    const void *data; /* [n_row][n_column], aligned to its element; one column where the file has one dimension */
    size_t n_row, n_column;
    /* of a slice: rows and columns 0, stride, 2 stride, … of a whole tensor */
    bool is_slice;
    size_t whole_rows, whole_columns, row_stride, column_stride;
    double max_abs; /* of the whole tensor */
};

struct qvl_reference_media {
    uint64_t n_frame, h, w; /* after resizing; one frame of a picture */
    uint8_t sha256[32];     /* of the bytes [n_frame, h, w, 3] */
};

struct qvl_reference_case {
    const char *name;
    struct qvl_part *part; /* [n_part] texts, pictures and clips, ready for a message */
    size_t n_part;
    bool has_video_wrapper;
    struct qvl_reference_media *media; /* [n_media] in the order of the parts */
    size_t n_media;
    const uint32_t *ids;        /* [n_id] >= 1 */
    const uint32_t *output_ids; /* [n_output] >= 1: greedy */
    size_t n_id, n_output;
    const uint32_t *top_ids; /* [n_output][n_top]: the best logits where each output token is chosen, best first */
    const float *top, *log_sum;                /* [n_output][n_top]; [n_output] */
    size_t n_top;                              /* >= 2 */
    const struct qvl_reference_tensor **slice; /* [n_slice]; slice[i]->name + n_prefix is what it is of */
    size_t n_slice, n_prefix;
};

struct qvl_reference {
    const char *model, *dtype, *device, *transformers, *torch, *config_sha256; /* "" where the file is silent */
    bool is_thinking, is_rounded;                                              /* computed in other than float32 */
    const struct qvl_json_node *sizes;   /* {"text": {…}, "vision": {…}}; NULL where the file is silent */
    struct qvl_reference_tensor *tensor; /* [n_tensor] by name */
    size_t n_tensor;
    struct qvl_reference_case *one; /* [n_case] >= 1 */
    size_t n_case;
    uint8_t sha256[32];                    /* that the file claims for what follows */
    const struct qvl_json_node *summed[3]; /* these texts, then the data */
    const uint8_t *data;
    size_t n_data;
    struct qvl_json_tree header, about, cases, slices;
    struct qvl_arena arena;
    struct qvl_bytes bytes; /* of qvl_reference_open */
};

/* Everything but the checksum. bytes, at a multiple of 8, must outlive *out, which is to be closed in any case.
 * name: for sentences. QVL_ERR_FILE: damaged, or no such file; QVL_ERR_LIMIT; QVL_ERR_ARGUMENT: a newer version,
 * broken JSON. */
enum qvl_status qvl_reference_parse(const uint8_t *bytes, size_t n, const char *name, struct qvl_reference *out,
                                    struct qvl_error *err);
/* Reads and parses a file and compares its checksum. */
enum qvl_status qvl_reference_open(const char *path, struct qvl_reference *out, struct qvl_error *err);
void qvl_reference_close(struct qvl_reference *reference);

#endif

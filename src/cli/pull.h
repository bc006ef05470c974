/* pull.h: fetching a model with its progress shown, for qvl pull and for the offer to do so; how sizes and sources
 * are called. */
#ifndef QVL_CLI_PULL_H
#define QVL_CLI_PULL_H

#include "cli/pull_pack.h"

/* To its end, or to QVL_ERR_CANCELLED: by a signal. Says from where and how much, and what happens. packer: NULL, or
 * who packs the model while it comes. */
enum qvl_status qvl_pull_run(struct qvl_hub_pull *pull, const struct qvl_hub_ref *ref, struct qvl_packer *packer,
                             struct qvl_progress *progress, struct qvl_error *err);

/* "Hugging Face", "ModelScope", "hf-mirror.com"; of a packed folder "qvl". */
const char *qvl_source_name(enum qvl_hub_source source);
/* The same as --source has it, for JSON: "hf", "modelscope", "mirror", "qvl". */
const char *qvl_source_word(enum qvl_hub_source source);
#define QVL_SIZE_BYTES 32
/* "4.26 GB", "12.3 MB", "812 B". Returns out. */
const char *qvl_size_text(uint64_t n_bytes, char out[QVL_SIZE_BYTES]);

#endif

/* foreign_model.h: golden models with matrices as AWQ, GPTQ, compressed-tensors and FP8 folders store them, and
 * what the reference computes with them: tests/golden/foreign.safetensors. The twin of
 * reference/foreign_vectors.py, which says what is drawn and how; the same bytes. */
#ifndef GOLDEN_FOREIGN_MODEL_H
#define GOLDEN_FOREIGN_MODEL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct foreign_vectors {
    char *bytes;      /* the file */
    json_t *header;   /* of it */
    const char *data; /* behind the header */
    json_t *cases;    /* {name: {letter, config, how, has_vision, file_sha256, weights_sha256}} */
};

void foreign_vectors_open(struct foreign_vectors *out);
void foreign_vectors_close(struct foreign_vectors *vectors);
/* [vocab] f32: of the last token of the letter's prompt "one". */
const float *foreign_vectors_logits(const struct foreign_vectors *vectors, const char *test_case);

/* The case's folder in out_dir, which is there and empty. */
void foreign_model_write(const struct foreign_vectors *vectors, const char *test_case, const char *out_dir);
/* Whether the case stores this tensor otherwise. */
bool foreign_model_has(const struct foreign_vectors *vectors, const char *test_case, const char *name,
                       size_t n_dim);

#endif

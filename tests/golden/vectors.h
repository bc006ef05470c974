/* vectors.h: reader of the golden vectors, tests/golden/vectors/LETTER.safetensors, made by
 * reference/make_vectors.py with Hugging Face transformers in float32 (manifest.json beside them says which).
 *
 * A file is in the safetensors format, tensors named CASE.WHAT. Cases: those of tests/golden/conversations.json, of
 * which "turns" gives "turn1" to "turn5" (each with the questions and answers before it) and those with clips a second
 * one, CASE_wrapped, in the other form of the prompt (MODEL.md, "Clips"); and "far" (positions from 200,000 on). WHAT:
 *
 *   - ids [n] i32, positions [n][3] i32 (T, H, W), next [1] i32: position of the first generated token
 *   - number [1] i32: what stands in the conversation for NNNN; of a turn, in its own question
 *   - grids [k][3] i32 (t, h, w), n_frame [k] i32 (frames of a clip; 0: a picture); pictures [m][3] i32: height, width,
 *     seed of golden_picture, for each picture and each frame
 *   - generated [256] i32: greedy continuation (64 of the turns before the last one; none of "clip" and "far")
 *   - teacher [256][vocab] f16: logits at the positions that choose the generated tokens (some models and cases)
 *   - any other: the intermediate of that name, f32. It is whole, or rows 0, stride, 2 stride, …; the entry
 *     "tensors" of the file's metadata, JSON, gives its rows and stride, and max_abs of the whole tensor. */
#ifndef GOLDEN_VECTORS_H
#define GOLDEN_VECTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct golden_vector {
    char name[64];
    const void *data; /* f32, i32 or f16; until golden_vectors_close */
    size_t dim[2];    /* stored rows, columns (1 for a vector) */
    bool is_intermediate;
    size_t n_row; /* of the whole tensor; the rest for intermediates only */
    size_t stride;
    double max_abs;
};

struct golden_vectors {
    struct golden_vector *vector;
    size_t n;
    char *bytes; /* the file */
};

/* Fails the running test with a sentence where the file is not as told above. */
void golden_vectors_open(char letter, struct golden_vectors *out);
void golden_vectors_close(struct golden_vectors *vectors);
/* NULL when there is none. */
const struct golden_vector *golden_vectors_find(const struct golden_vectors *vectors, const char *test_case,
                                                const char *what);
/* Where tests/golden lies: the environment's QVL_GOLDEN, else "tests/golden" from the project's root. */
const char *golden_dir(void);
/* A whole file and a final NUL; the caller frees it. Fails the running test. */
char *golden_read_file(const char *path, size_t *n);

#endif

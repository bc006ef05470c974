/* golden_model.h: writes the golden models: checkpoint folders of the real architecture and file layout, small,
 * with hashed weights. The twin of reference/golden_model.py: the same bytes, so that the vectors made there with
 * Hugging Face transformers hold for the models written here.
 *
 * The JSON files of a model lie in tests/golden/models/LETTER and are copied, tests/golden/tokenizer.json is
 * shared; the weights are an integer hash of (model letter, tensor name, element index).
 *
 *   - a: as the 2B: tied, head_dim 128, vision head_dim 64; hub spelling of the JSON files
 *   - b: as the 8B: untied, heads * head_dim != hidden, vision head_dim 72; transformers 5 spelling
 *   - c: three shards, heads * head_dim != hidden, Thinking template; hub spelling
 *   - d: YaRN, untied, no generation_config.json; transformers 5 spelling */
#ifndef GOLDEN_MODEL_H
#define GOLDEN_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GOLDEN_LETTERS "abcd"

/* Writes model `letter` into out_dir, which is made if it is missing. golden_dir: where tests/golden lies. False on
 * failure, with a sentence on stderr. */
bool golden_model_write(const char *golden_dir, char letter, const char *out_dir);

/* A test picture [h][w][3]: slopes, and a hashed shade for each 8x8 block and channel. */
void golden_picture(uint32_t seed, uint32_t h, uint32_t w, uint8_t *rgb);

#endif

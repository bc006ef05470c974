/* Names are kept as stems, with '#' for the number of a layer, block or tap; ".weight" or ".bias" follows in either
 * world. Source of truth: gguf-py/gguf/tensor_mapping.py and conversion/qwen3vl.py in llama.cpp; MODEL.md, "GGUF".
 */
#include "load/gguf_names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_OF(a) (sizeof(a) / sizeof(a)[0])

enum number { LAYER, TAP }; /* a tap's is the block it takes from, there */

static const struct stem {
    enum qvl_gguf_file file;
    enum number number;
    const char *canonical, *gguf;
} stems[] = {
#define TEXT "model.language_model."
    {QVL_GGUF_TEXT, LAYER, TEXT "embed_tokens", "token_embd"},
    {QVL_GGUF_TEXT, LAYER, TEXT "norm", "output_norm"},
    {QVL_GGUF_TEXT, LAYER, "lm_head", "output"},
    {QVL_GGUF_TEXT, LAYER, TEXT "layers.#.input_layernorm", "blk.#.attn_norm"},
    {QVL_GGUF_TEXT, LAYER, TEXT "layers.#.self_attn.q_proj", "blk.#.attn_q"},
    {QVL_GGUF_TEXT, LAYER, TEXT "layers.#.self_attn.k_proj", "blk.#.attn_k"},
    {QVL_GGUF_TEXT, LAYER, TEXT "layers.#.self_attn.v_proj", "blk.#.attn_v"},
    {QVL_GGUF_TEXT, LAYER, TEXT "layers.#.self_attn.o_proj", "blk.#.attn_output"},
    {QVL_GGUF_TEXT, LAYER, TEXT "layers.#.self_attn.q_norm", "blk.#.attn_q_norm"},
    {QVL_GGUF_TEXT, LAYER, TEXT "layers.#.self_attn.k_norm", "blk.#.attn_k_norm"},
    {QVL_GGUF_TEXT, LAYER, TEXT "layers.#.post_attention_layernorm", "blk.#.ffn_norm"},
    {QVL_GGUF_TEXT, LAYER, TEXT "layers.#.mlp.gate_proj", "blk.#.ffn_gate"},
    {QVL_GGUF_TEXT, LAYER, TEXT "layers.#.mlp.up_proj", "blk.#.ffn_up"},
    {QVL_GGUF_TEXT, LAYER, TEXT "layers.#.mlp.down_proj", "blk.#.ffn_down"},
#define VISUAL "model.visual."
    {QVL_GGUF_MMPROJ, LAYER, VISUAL "patch_embed.proj", "v.patch_embd"},
    {QVL_GGUF_MMPROJ, LAYER, VISUAL "pos_embed", "v.position_embd"},
    {QVL_GGUF_MMPROJ, LAYER, VISUAL "blocks.#.norm1", "v.blk.#.ln1"},
    {QVL_GGUF_MMPROJ, LAYER, VISUAL "blocks.#.norm2", "v.blk.#.ln2"},
    {QVL_GGUF_MMPROJ, LAYER, VISUAL "blocks.#.attn.qkv", "v.blk.#.attn_qkv"},
    {QVL_GGUF_MMPROJ, LAYER, VISUAL "blocks.#.attn.proj", "v.blk.#.attn_out"},
    {QVL_GGUF_MMPROJ, LAYER, VISUAL "blocks.#.mlp.linear_fc1", "v.blk.#.ffn_up"},
    {QVL_GGUF_MMPROJ, LAYER, VISUAL "blocks.#.mlp.linear_fc2", "v.blk.#.ffn_down"},
    {QVL_GGUF_MMPROJ, LAYER, VISUAL "merger.norm", "v.post_ln"},
    {QVL_GGUF_MMPROJ, LAYER, VISUAL "merger.linear_fc1", "mm.0"},
    {QVL_GGUF_MMPROJ, LAYER, VISUAL "merger.linear_fc2", "mm.2"},
    {QVL_GGUF_MMPROJ, TAP, VISUAL "deepstack_merger_list.#.norm", "v.deepstack.#.norm"},
    {QVL_GGUF_MMPROJ, TAP, VISUAL "deepstack_merger_list.#.linear_fc1", "v.deepstack.#.fc1"},
    {QVL_GGUF_MMPROJ, TAP, VISUAL "deepstack_merger_list.#.linear_fc2", "v.deepstack.#.fc2"},
};

/* Whether name is the stem with a number, or the stem, and then a suffix. *suffix is where that begins. */
static bool match(const char *stem, const char *name, uint32_t *number, const char **suffix)
{
    const char *gap = strchr(stem, '#');
    size_t n = gap ? (size_t)(gap - stem) : strlen(stem);
    *number = 0;
    if (strlen(name) < n || memcmp(name, stem, n) != 0)
        return false;
    if (gap) {
        size_t n_digit = strspn(name + n, "0123456789");
        if (n_digit < 1 || n_digit > 4 || (name[n] == '0' && n_digit > 1))
            return false;
        *number = (uint32_t)strtoul(name + n, NULL, 10);
        name += n + n_digit;
        n = strlen(gap + 1);
        if (strncmp(name, gap + 1, n) != 0)
            return false;
    }
    *suffix = name + n;
    return strcmp(*suffix, ".weight") == 0 || strcmp(*suffix, ".bias") == 0;
}

static bool write_name(const char *stem, uint32_t number, const char *suffix, char *out, size_t n_out)
{
    const char *gap = strchr(stem, '#');
    int n = gap ? snprintf(out, n_out, "%.*s%u%s%s", (int)(gap - stem), stem, number, gap + 1, suffix)
                : snprintf(out, n_out, "%s%s", stem, suffix);
    return n > 0 && (size_t)n < n_out;
}

bool qvl_gguf_name_of(const struct qvl_config *config, const char *canonical, enum qvl_gguf_file *file, char *out,
                      size_t n_out)
{
    for (size_t i = 0; i < N_OF(stems); i++) {
        uint32_t number;
        const char *suffix;
        if (!match(stems[i].canonical, canonical, &number, &suffix))
            continue;
        if (stems[i].number == TAP && number >= config->vision.n_tap)
            return false;
        if (stems[i].number == TAP)
            number = config->vision.tap_layer[number];
        *file = stems[i].file;
        return write_name(stems[i].gguf, number, suffix, out, n_out);
    }
    return false;
}

/* Which tap takes from this block; n_tap: none. */
static uint32_t tap_of(const struct qvl_vision_config *v, uint32_t block)
{
    uint32_t tap = 0;
    while (tap < v->n_tap && v->tap_layer[tap] != block)
        tap++;
    return tap;
}

bool qvl_gguf_canonical_of(const struct qvl_config *config, enum qvl_gguf_file file, const char *name, char *out,
                           size_t n_out)
{
    for (size_t i = 0; i < N_OF(stems); i++) {
        uint32_t number;
        const char *suffix;
        if (stems[i].file != file || !match(stems[i].gguf, name, &number, &suffix))
            continue;
        if (stems[i].number == TAP && (number = tap_of(&config->vision, number)) == config->vision.n_tap)
            return false;
        return write_name(stems[i].canonical, number, suffix, out, n_out);
    }
    return false;
}

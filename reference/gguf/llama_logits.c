/* The logits behind a prompt of token ids, by llama.cpp: llama_logits MODEL.gguf ID... writes them as f32 to stdout.
 * Built by reference/gguf/convert.py against a checkout of llama.cpp; no part of qvl. */
#include <stdio.h>
#include <stdlib.h>

#include "llama.h"

static void be_quiet(enum ggml_log_level level, const char *text, void *user)
{
    (void)user;
    if (level >= GGML_LOG_LEVEL_ERROR)
        fputs(text, stderr);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    int n = argc - 2;
    llama_token *id = malloc((size_t)n * sizeof *id);
    for (int i = 0; i < n; i++)
        id[i] = (llama_token)strtol(argv[2 + i], NULL, 10);
    llama_log_set(be_quiet, NULL);
    llama_backend_init();
    struct llama_model *model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (!model)
        return 1;
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = 2048;
    params.n_batch = params.n_ubatch = 2048;
    params.n_threads = params.n_threads_batch = 2;
    params.type_k = params.type_v = GGML_TYPE_F32;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    struct llama_context *context = llama_init_from_model(model, params);
    if (!context || llama_decode(context, llama_batch_get_one(id, n)) != 0)
        return 1;
    size_t n_vocab = (size_t)llama_vocab_n_tokens(llama_model_get_vocab(model));
    size_t n_written = fwrite(llama_get_logits_ith(context, -1), sizeof(float), n_vocab, stdout);
    llama_free(context);
    llama_model_free(model);
    free(id);
    return n_written == n_vocab ? 0 : 1;
}

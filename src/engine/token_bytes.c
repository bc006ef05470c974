#include "engine/engine.h"

const char *qvl_token_bytes(const struct qvl_engine *engine, uint32_t id, size_t *n, bool *is_special)
{
    *is_special = qvl_tokenizer_is_special(engine->tokenizer, id);
    return qvl_tokenizer_bytes(engine->tokenizer, id, n);
}

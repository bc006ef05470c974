/* ollama_models.h: what is served, as Ollama's clients ask for it: its lists have one model, which never goes. */
#ifndef QVL_SERVER_OLLAMA_MODELS_H
#define QVL_SERVER_OLLAMA_MODELS_H

#include "base/bytes.h"

/* The version of Ollama whose API this is. Clients choose by it what they use. */
#define QVL_OLLAMA_VERSION "0.12.6"

struct qvl_ollama_model {
    const char *name;
    const struct qvl_engine_info *info;
    const struct qvl_sampling *sampling; /* the server's defaults */
    const char *since;                   /* when it came, RFC 3339 */
};

/* Each appends one JSON object: of /api/tags, /api/ps, /api/show. */
enum qvl_status qvl_ollama_tags_json(const struct qvl_ollama_model *model, struct qvl_bytes *out,
                                     struct qvl_error *err);
enum qvl_status qvl_ollama_ps_json(const struct qvl_ollama_model *model, struct qvl_bytes *out,
                                   struct qvl_error *err);
enum qvl_status qvl_ollama_show_json(const struct qvl_ollama_model *model, struct qvl_bytes *out,
                                     struct qvl_error *err);

#endif

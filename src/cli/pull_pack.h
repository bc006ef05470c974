/* pull_pack.h: packing a model while it is fetched, where nothing but the packed folder is to stay. */
#ifndef QVL_CLI_PULL_PACK_H
#define QVL_CLI_PULL_PACK_H

#include "cli/progress.h"
#include "hub/hub.h"

struct qvl_packer {
    struct qvl_quantizer_options wish; /* without model_dir */
    struct qvl_hub_ref packed;         /* whose folder wish.out_dir is */
    struct qvl_quantizer_info info;
    bool
        is_done; /* the packed folder is there, and nothing else; else the model is to be packed when it is there */
    bool was_there; /* is_done, by another program meanwhile */
    /* pull_pack.c's */
    struct qvl_quantizer_source source;
    struct qvl_quantizer *quantizer;
    uint32_t n_anew;
    bool is_sure; /* of a fault: it is one of a file that was checked */
};

/* What can be packed of what is there, for about 100 ms; call it after qvl_hub_pull_next. Whether that is possible
 * at all shows when the first bytes are there. */
enum qvl_status qvl_packer_step(struct qvl_packer *packer, struct qvl_hub_pull *pull, struct qvl_progress *progress,
                                struct qvl_error *err);
/* Whether something was packed and is lost if nothing more is done. */
bool qvl_packer_has_begun(const struct qvl_packer *packer);
/* Whether the packed folder is there, whole. */
bool qvl_packed_is_there(const struct qvl_hub_ref *packed, const char *path);
void qvl_packer_close(struct qvl_packer *packer);

#endif

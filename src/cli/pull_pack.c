/* A quantizer that reads what a pull brings (struct qvl_quantizer_source, struct qvl_hub_stream), in turns with it.
 *
 * The weights that it reads are not checked yet. So a fault that it finds in them may be one of the way: then all is
 * fetched, checked and packed afterwards, as without it, and the fault is said then, if it is still there. The small
 * files are checked: a fault of config.json is said at once. */
#include "cli/pull_pack.h"

#include <string.h>

#include "base/clock.h"

enum { TURN_MS = 100 };

static bool has(void *pull, const char *name, uint64_t end)
{
    return qvl_hub_stream_has(pull, name, end);
}

static void let_go(void *pull, const char *name, uint64_t end)
{
    qvl_hub_stream_let_go(pull, name, end);
}

void qvl_packer_close(struct qvl_packer *packer)
{
    qvl_quantizer_close(packer->quantizer);
    packer->quantizer = NULL;
}

bool qvl_packer_has_begun(const struct qvl_packer *packer)
{
    return packer->quantizer && !packer->is_done;
}

bool qvl_packed_is_there(const struct qvl_hub_ref *packed, const char *path)
{
    char found[4096];
    return packed->name[0] && qvl_hub_find(packed, found) && strcmp(found, path) == 0;
}

/* Opens the quantizer as soon as it can be known that it can follow. */
static enum qvl_status begin(struct qvl_packer *packer, struct qvl_hub_pull *pull, const char *folder,
                             struct qvl_error *err)
{
    enum qvl_quantizer_way way = QVL_QUANTIZER_LATER;
    packer->source = (struct qvl_quantizer_source){.user = pull, .has = has, .let_go = let_go};
    packer->wish.source = &packer->source;
    packer->wish.model_dir = folder;
    enum qvl_status status = qvl_quantizer_ask(&packer->wish, &way, err);
    packer->is_sure = status == QVL_ERR_MODEL && way == QVL_QUANTIZER_NEEDS_ALL;
    if (status == QVL_ERR_FILE)
        return err->status = QVL_ERR_MODEL; /* of what is read, as all of them */
    if (status || way == QVL_QUANTIZER_LATER)
        return status;
    return way == QVL_QUANTIZER_FOLLOWS ? qvl_quantizer_open(&packer->wish, &packer->quantizer, err)
                                        : qvl_hub_stream_end(pull, err);
}

static enum qvl_status go_on(struct qvl_packer *packer, struct qvl_error *err)
{
    double begin_ms = qvl_now_ms();
    enum qvl_status status;
    do {
        status = qvl_quantizer_next(packer->quantizer, &packer->is_done, err);
        qvl_quantizer_get_info(packer->quantizer, &packer->info);
    } while (!status && !packer->is_done && !packer->info.is_waiting && qvl_now_ms() - begin_ms < TURN_MS);
    return status;
}

enum qvl_status qvl_packer_step(struct qvl_packer *packer, struct qvl_hub_pull *pull, struct qvl_progress *progress,
                                struct qvl_error *err)
{
    struct qvl_hub_stream stream;
    qvl_hub_pull_get_stream(pull, &stream);
    if (!stream.folder || packer->is_done)
        return QVL_OK;
    if (stream.n_anew != packer->n_anew)
        qvl_packer_close(packer);
    packer->n_anew = stream.n_anew;
    if (!packer->quantizer && qvl_packed_is_there(&packer->packed, packer->wish.out_dir)) { /* of another pull */
        packer->is_done = packer->was_there = true;
        qvl_hub_stream_leave(pull);
        return QVL_OK;
    }
    enum qvl_status status = packer->quantizer ? go_on(packer, err) : begin(packer, pull, stream.folder, err);
    if (status == QVL_ERR_MODEL && !packer->is_sure) {
        qvl_packer_close(packer);
        qvl_progress_say(progress, "qvl: %s: to be sure of it, the whole model is fetched and checked first",
                         err->text);
        return qvl_hub_stream_end(pull, err);
    }
    if (status && packer->is_sure)
        qvl_hub_stream_leave(pull);
    if (status || !packer->is_done)
        return status;
    qvl_packer_close(packer);
    return qvl_hub_stream_finish(pull, err);
}

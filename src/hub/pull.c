/* In: a model's name. Out: its folder in a cache, whole and right; in between, slices of about 100 ms that the
 * owner asks for, and what there is to show.
 *
 * CHOOSING and LISTING: pull_choose.c. FETCHING and CHECKING: pull_fetch.c, with gather.c for the bytes and cache.h
 * for the places. */
#include "hub/pull.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/language.h"

enum { N_CONNECTION = 4, SAMPLE_MS = 300, NOTE_MS = 4000 };

static enum qvl_status copy_text(const char *text, char **out, struct qvl_error *err)
{
    *out = text ? strdup(text) : NULL;
    return !text || *out ? QVL_OK : qvl_fail_memory(err, strlen(text), "fetching");
}

/* No network is wanted: the model is here, or it is not. */
static enum qvl_status stay_offline(struct qvl_hub_pull *pull, struct qvl_error *err)
{
    const struct qvl_hub_ref *ref = &pull->options.ref;
    if (pull->options.local_dir || !qvl_hub_find(ref, pull->path))
        return qvl_fail(err, QVL_ERR_FILE,
                        "HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set, and %s/%s is not here whole: unset it to "
                        "fetch the model",
                        ref->owner, ref->name);
    pull->stage = QVL_HUB_DONE;
    return QVL_OK;
}

enum qvl_status qvl_hub_pull_open(const struct qvl_hub_options *options, struct qvl_hub_pull **out,
                                  struct qvl_error *err)
{
    struct qvl_hub_pull *pull = calloc(1, sizeof *pull);
    if (!pull)
        return qvl_fail_memory(err, sizeof *pull, "fetching");
    pull->options = *options;
    uint32_t n = options->n_connection ? options->n_connection : N_CONNECTION;
    pull->n_slot = n < QVL_MAX_HUB_CONNECTIONS ? n : QVL_MAX_HUB_CONNECTIONS;
    pull->answer_ms = qvl_hub_timeout_ms("HF_HUB_ETAG_TIMEOUT", 10000);
    pull->stall_ms = qvl_hub_timeout_ms("HF_HUB_DOWNLOAD_TIMEOUT", 10000);
    if (copy_text(options->local_dir, &pull->local_dir, err) || copy_text(options->gguf, &pull->gguf, err) ||
        copy_text(options->user_agent, &pull->user_agent, err))
        goto fail;
    pull->options.local_dir = pull->local_dir;
    pull->options.gguf = pull->gguf;
    pull->options.user_agent = pull->user_agent;
    struct qvl_hub_transfer_options transfers = {
        .user_agent = pull->user_agent, .connect_ms = pull->answer_ms, .back_off_ms = options->back_off_ms};
    if (qvl_hub_places_read(&pull->places, err) || qvl_hub_transfers_open(&transfers, &pull->transfers, err) ||
        (pull->places.is_offline && stay_offline(pull, err)))
        goto fail;
    *out = pull;
    return QVL_OK;
fail:
    qvl_hub_pull_close(pull);
    return err->status;
}

void qvl_hub_pull_close(struct qvl_hub_pull *pull)
{
    if (!pull)
        return;
    if (pull->transfers) {
        qvl_hub_pull_free_items(pull);
        qvl_hub_call_end(pull->transfers, &pull->page);
        for (size_t i = 0; i < QVL_HUB_MAX_CANDIDATES; i++)
            qvl_hub_call_end(pull->transfers, &pull->asked[i].call);
    }
    for (size_t i = 0; i < QVL_HUB_MAX_CANDIDATES; i++)
        qvl_bytes_free(&pull->asked[i].url);
    qvl_hub_transfers_close(pull->transfers);
    qvl_hub_store_close(pull->store);
    qvl_hub_listing_free(&pull->listing);
    qvl_bytes_free(&pull->page_url);
    free(pull->local_dir);
    free(pull->gguf);
    free(pull->user_agent);
    free(pull);
}

void qvl_hub_pull_note(struct qvl_hub_pull *pull, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(pull->note, sizeof pull->note, qvl_text(format), args);
    va_end(args);
    pull->note_ms = qvl_now_ms() + NOTE_MS;
}

static void note_call(struct qvl_hub_pull *pull, const struct qvl_hub_call *call)
{
    double wait_ms = call->again_ms > 0 ? call->again_ms - qvl_now_ms() : 0;
    if (wait_ms > 0)
        snprintf(pull->note, sizeof pull->note, qvl_text("again in %.0f s: %s"), wait_ms / 1000 + 0.5, call->why);
}

/* What a person would wonder about now: who keeps us waiting. */
static void note_waiting(struct qvl_hub_pull *pull)
{
    for (size_t i = 0; i < pull->n_asked; i++)
        note_call(pull, &pull->asked[i].call);
    note_call(pull, &pull->page);
    for (uint32_t i = 0; i < pull->n_slot; i++)
        note_call(pull, &pull->slot[i].call);
}

static void take_sample(struct qvl_hub_pull *pull)
{
    size_t n = sizeof pull->sample / sizeof *pull->sample;
    double now_ms = qvl_now_ms();
    if (pull->n_sample > 0 && now_ms - pull->sample[(pull->n_sample - 1) % n].ms < SAMPLE_MS)
        return;
    pull->sample[pull->n_sample++ % n] = (struct qvl_hub_sample){now_ms, pull->n_fetched};
}

static double find_rate(const struct qvl_hub_pull *pull)
{
    uint32_t n = sizeof pull->sample / sizeof *pull->sample;
    if (pull->n_sample == 0)
        return 0;
    const struct qvl_hub_sample *oldest = &pull->sample[pull->n_sample < n ? 0 : pull->n_sample % n];
    double ms = qvl_now_ms() - oldest->ms;
    return ms > 0 ? (double)(pull->n_fetched - oldest->n_fetched) / ms * 1000 : 0;
}

enum qvl_status qvl_hub_pull_next(struct qvl_hub_pull *pull, bool *is_done, struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    *is_done = false;
    if (pull->stage != QVL_HUB_DONE && qvl_now_ms() > pull->note_ms)
        pull->note[0] = 0;
    switch (pull->stage) {
    case QVL_HUB_CHOOSING: status = qvl_hub_pull_choose(pull, err); break;
    case QVL_HUB_LISTING: status = qvl_hub_pull_list(pull, err); break;
    case QVL_HUB_FETCHING:
    case QVL_HUB_CHECKING: status = qvl_hub_pull_fetch(pull, err); break;
    case QVL_HUB_DONE: break;
    }
    note_waiting(pull);
    take_sample(pull);
    *is_done = !status && pull->stage == QVL_HUB_DONE;
    return status;
}

void qvl_hub_pull_get_info(const struct qvl_hub_pull *pull, struct qvl_hub_info *out)
{
    *out = (struct qvl_hub_info){.stage = pull->stage, .note = pull->note, .endpoint = ""};
    if (pull->chosen) {
        out->source = pull->chosen->source;
        out->endpoint = pull->chosen->endpoint;
    }
    memcpy(out->path, pull->path, sizeof out->path);
    size_t n_commit = strlen(pull->commit);
    memcpy(out->commit, pull->commit, n_commit < sizeof out->commit ? n_commit : 0);
    out->n_bytes = pull->n_bytes;
    out->n_had = pull->n_had;
    out->bytes_per_s = find_rate(pull);
    out->is_network = pull->is_network;
    if (!pull->item)
        return;
    out->n_file = (uint32_t)pull->listing.n;
    for (size_t i = 0; i < pull->listing.n; i++) {
        out->n_done += qvl_hub_item_n_done(&pull->item[i]);
        out->n_file_done += pull->item[i].state == QVL_HUB_ITEM_DONE;
    }
}

const struct qvl_hub_file *qvl_hub_pull_files(const struct qvl_hub_pull *pull, size_t *n)
{
    *n = pull->item ? pull->listing.n : 0;
    return pull->listing.file;
}

#include "engine/event_queue.h"

#include <stdlib.h>
#include <string.h>

enum { N_SLOT = QVL_EVENT_QUEUE_LEN + 1 };

enum qvl_status qvl_event_queue_init(struct qvl_event_queue *queue, size_t n_top_max, struct qvl_error *err)
{
    *queue = (struct qvl_event_queue){0};
    if (n_top_max == 0)
        return QVL_OK;
    queue->top = calloc(N_SLOT * n_top_max, sizeof *queue->top);
    if (!queue->top)
        return qvl_fail_memory(err, N_SLOT * n_top_max * sizeof *queue->top, "the best logits");
    for (size_t i = 0; i < N_SLOT; i++)
        queue->slot[i].top = queue->top + i * n_top_max;
    return QVL_OK;
}

void qvl_event_queue_free(struct qvl_event_queue *queue)
{
    for (size_t i = 0; i < N_SLOT; i++)
        qvl_bytes_free(&queue->slot[i].text);
    free(queue->top);
    *queue = (struct qvl_event_queue){0};
}

enum qvl_status qvl_event_queue_push(struct qvl_event_queue *queue, const struct qvl_text_event *event,
                                     struct qvl_error *err)
{
    struct qvl_text_event *slot = &queue->slot[(queue->begin + queue->n) % N_SLOT];
    slot->text.n = 0;
    enum qvl_status status = qvl_bytes_add(&slot->text, event->text.data, event->text.n, err);
    if (status)
        return status;
    slot->is_reasoning = event->is_reasoning;
    slot->id = event->id;
    slot->logit = event->logit;
    slot->log_sum = event->log_sum;
    slot->n_top = event->n_top;
    if (event->n_top)
        memcpy(slot->top, event->top, event->n_top * sizeof *event->top);
    queue->n++;
    return QVL_OK;
}

const struct qvl_text_event *qvl_event_queue_pop(struct qvl_event_queue *queue)
{
    if (queue->n == 0)
        return NULL;
    const struct qvl_text_event *event = &queue->slot[queue->begin];
    queue->begin = (queue->begin + 1) % N_SLOT;
    queue->n--;
    return event;
}

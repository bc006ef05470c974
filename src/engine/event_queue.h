/* event_queue.h: text on its way from the scheduler to the caller of one request. Bounded: the scheduler leaves
 * a request alone whose queue is full, so a slow reader costs nobody memory. Not locked: the engine's lock
 * protects it. */
#ifndef QVL_ENGINE_EVENT_QUEUE_H
#define QVL_ENGINE_EVENT_QUEUE_H

#include "base/bytes.h"

#define QVL_EVENT_QUEUE_LEN 32

struct qvl_text_event {
    struct qvl_bytes text;
    bool is_reasoning;
    uint32_t id;
    float logit, log_sum;
    struct qvl_token_logit *top; /* [n_top_max] */
    size_t n_top;
};

struct qvl_event_queue {
    struct qvl_text_event slot[QVL_EVENT_QUEUE_LEN + 1]; /* the last one is with the caller */
    size_t begin, n;
    struct qvl_token_logit *top; /* memory of all slots */
};

enum qvl_status qvl_event_queue_init(struct qvl_event_queue *queue, size_t n_top_max, struct qvl_error *err);
void qvl_event_queue_free(struct qvl_event_queue *queue);
static inline size_t qvl_event_queue_n_free(const struct qvl_event_queue *queue)
{
    return QVL_EVENT_QUEUE_LEN - queue->n;
}
/* Copies the event with its text and its n_top best logits. Not on a full queue. Allocates only while the slots'
 * texts still grow. */
enum qvl_status qvl_event_queue_push(struct qvl_event_queue *queue, const struct qvl_text_event *event,
                                     struct qvl_error *err);
/* The oldest event, valid until the next call; NULL when there is none. */
const struct qvl_text_event *qvl_event_queue_pop(struct qvl_event_queue *queue);

#endif

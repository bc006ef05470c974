/* metrics.h: what /metrics tells, in Prometheus' text format, under our names and the usual vllm:* ones. All functions
 * are for any thread. */
#ifndef QVL_SERVER_METRICS_H
#define QVL_SERVER_METRICS_H

#include "base/bytes.h"

/* Of one answered request. */
struct qvl_answer_facts {
    size_t n_prompt_tok, n_cached_tok, n_image_tok, n_video_tok, n_output_tok;
    double queue_ms, media_ms, vision_ms, prefill_ms, generate_ms, first_token_ms, whole_ms;
    const char *finish; /* "stop", "length", "tool_calls", "cancelled", "error" */
};

struct qvl_metrics;
enum qvl_status qvl_metrics_open(struct qvl_metrics **out, struct qvl_error *err);
void qvl_metrics_close(struct qvl_metrics *metrics);

void qvl_metrics_count_reply(struct qvl_metrics *metrics, const char *route, unsigned status);
void qvl_metrics_count_answer(struct qvl_metrics *metrics, const struct qvl_answer_facts *facts);
void qvl_metrics_count_token_gap(struct qvl_metrics *metrics, double ms); /* between two tokens of an answer */

/* What is asked of others at the time. */
struct qvl_metrics_now {
    size_t n_running, n_waiting;
    struct qvl_engine_stats engine;
    const char *model_name;
};
enum qvl_status qvl_metrics_write(struct qvl_metrics *metrics, const struct qvl_metrics_now *now, struct qvl_bytes *out,
                                  struct qvl_error *err);

#endif

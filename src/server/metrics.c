/* The format: https://prometheus.io/docs/instrumenting/exposition_formats/ (text, 0.0.4). What has a vllm: name,
 * too, is written under both: dashboards and routers of this field ask for those. */
#include "server/metrics.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/os.h"

/* Seconds: from a token's gap to a long clip. */
static const double bounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,  1,   2.5,
                                5,     10,     20,    40,   80,    160,  320, 640,  1280, 2560};
enum { N_BOUND = sizeof bounds / sizeof *bounds, MAX_REPLY_KINDS = 512 };

struct histogram {
    uint64_t n[N_BOUND + 1]; /* not cumulative; the last one: above all bounds */
    double sum_s;
};

enum duration { FIRST_TOKEN, TOKEN_GAP, WHOLE, QUEUE, MEDIA, VISION, PREFILL, GENERATE, N_DURATION };
enum finish { STOP, LENGTH, ABORT, FAILED, N_FINISH };
static const char *const finish_names[N_FINISH] = {"stop", "length", "abort", "error"};

struct reply_count {
    const char *route; /* static */
    unsigned status;
    uint64_t n;
};

struct qvl_metrics {
    pthread_mutex_t lock; /* of all below */
    struct histogram duration[N_DURATION];
    uint64_t n_finish[N_FINISH];
    uint64_t n_prompt_tok, n_cached_tok, n_image_tok, n_video_tok, n_output_tok;
    struct reply_count *reply; /* [n_reply] */
    size_t n_reply, n_reply_alloc;
    uint64_t n_reply_untold; /* of kinds that the list has no room for */
    double started_s;        /* Unix time */
};

enum qvl_status qvl_metrics_open(struct qvl_metrics **out, struct qvl_error *err)
{
    struct qvl_metrics *m = calloc(1, sizeof *m);
    struct timespec now;
    if (!m)
        return qvl_fail_memory(err, sizeof *m, "the metrics");
    pthread_mutex_init(&m->lock, NULL);
    clock_gettime(CLOCK_REALTIME, &now);
    m->started_s = (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
    *out = m;
    return QVL_OK;
}

void qvl_metrics_close(struct qvl_metrics *m)
{
    if (!m)
        return;
    pthread_mutex_destroy(&m->lock);
    free(m->reply);
    free(m);
}

/* ---- counting ------------------------------------------------------------------------------------ */

static struct reply_count *find_reply(struct qvl_metrics *m, const char *route, unsigned status)
{
    struct qvl_error err = {0};
    for (size_t i = 0; i < m->n_reply; i++)
        if (m->reply[i].status == status && strcmp(m->reply[i].route, route) == 0)
            return &m->reply[i];
    struct reply_count *reply = m->n_reply < MAX_REPLY_KINDS ? qvl_grow(m->reply, &m->n_reply_alloc, m->n_reply + 1,
                                                                        sizeof *reply, "the metrics", &err)
                                                             : NULL;
    if (!reply)
        return NULL;
    m->reply = reply;
    m->reply[m->n_reply] = (struct reply_count){route, status, 0};
    return &m->reply[m->n_reply++];
}

void qvl_metrics_count_reply(struct qvl_metrics *m, const char *route, unsigned status)
{
    pthread_mutex_lock(&m->lock);
    struct reply_count *reply = find_reply(m, route, status);
    if (reply)
        reply->n++;
    else
        m->n_reply_untold++;
    pthread_mutex_unlock(&m->lock);
}

/* Under the lock. */
static void observe(struct histogram *h, double ms)
{
    double s = ms > 0 ? ms * 1e-3 : 0;
    size_t i = 0;
    while (i < N_BOUND && s > bounds[i])
        i++;
    h->n[i]++;
    h->sum_s += s;
}

static enum finish finish_of(const char *name)
{
    if (strcmp(name, "length") == 0)
        return LENGTH;
    if (strcmp(name, "cancelled") == 0)
        return ABORT;
    return strcmp(name, "error") == 0 ? FAILED : STOP;
}

void qvl_metrics_count_answer(struct qvl_metrics *m, const struct qvl_answer_facts *a)
{
    enum finish finish = finish_of(a->finish);
    pthread_mutex_lock(&m->lock);
    m->n_finish[finish]++;
    m->n_prompt_tok += a->n_prompt_tok;
    m->n_cached_tok += a->n_cached_tok;
    m->n_image_tok += a->n_image_tok;
    m->n_video_tok += a->n_video_tok;
    m->n_output_tok += a->n_output_tok;
    observe(&m->duration[WHOLE], a->whole_ms);
    if (a->n_output_tok > 0) { /* else it never came that far */
        observe(&m->duration[FIRST_TOKEN], a->first_token_ms);
        observe(&m->duration[QUEUE], a->queue_ms);
        observe(&m->duration[PREFILL], a->prefill_ms);
        observe(&m->duration[GENERATE], a->generate_ms);
    }
    if (a->n_image_tok + a->n_video_tok > 0) {
        observe(&m->duration[MEDIA], a->media_ms);
        observe(&m->duration[VISION], a->vision_ms);
    }
    pthread_mutex_unlock(&m->lock);
}

void qvl_metrics_count_token_gap(struct qvl_metrics *m, double ms)
{
    pthread_mutex_lock(&m->lock);
    observe(&m->duration[TOKEN_GAP], ms);
    pthread_mutex_unlock(&m->lock);
}

/* ---- writing ------------------------------------------------------------------------------------- */

/* What a page is written with: the first failure stays. */
struct page {
    struct qvl_bytes *out;
    struct qvl_bytes model; /* model_name="..." */
    enum qvl_status status;
    struct qvl_error *err;
};

/* Label values escape \, " and line breaks. */
static enum qvl_status add_label_value(struct qvl_bytes *out, const char *value, struct qvl_error *err)
{
    enum qvl_status status = qvl_bytes_add(out, "\"", 1, err);
    for (; *value && !status; value++)
        status = *value == '\n'                    ? qvl_bytes_add(out, "\\n", 2, err)
                 : *value == '"' || *value == '\\' ? qvl_bytes_add_format(out, err, "\\%c", *value)
                                                   : qvl_bytes_add(out, value, 1, err);
    return status ? status : qvl_bytes_add(out, "\"", 1, err);
}

static void write_head(struct page *p, const char *name, const char *type, const char *help)
{
    if (!p->status)
        p->status = qvl_bytes_add_format(p->out, p->err, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* A sample; label: `name="value", ` or "". */
static void write_sample(struct page *p, const char *name, const char *label, double value)
{
    if (!p->status)
        p->status = qvl_bytes_add_format(p->out, p->err, "%s{%s%s} %.17g\n", name, label, p->model.data, value);
}

/* A metric of one sample under all its names. */
struct single {
    const char *const *name; /* ends with NULL */
    const char *type, *help;
    double value;
};

static void write_single(struct page *p, const struct single *s)
{
    for (const char *const *name = s->name; *name; name++) {
        write_head(p, *name, s->type, s->help);
        write_sample(p, *name, "", s->value);
    }
}

static void write_histogram(struct page *p, const char *name, const char *help, const struct histogram *h)
{
    uint64_t n = 0;
    write_head(p, name, "histogram", help);
    for (size_t i = 0; i <= N_BOUND && !p->status; i++) {
        n += h->n[i];
        p->status = i < N_BOUND ? qvl_bytes_add_format(p->out, p->err, "%s_bucket{%s,le=\"%.9g\"} %llu\n", name,
                                                       p->model.data, bounds[i], (unsigned long long)n)
                                : qvl_bytes_add_format(p->out, p->err, "%s_bucket{%s,le=\"+Inf\"} %llu\n", name,
                                                       p->model.data, (unsigned long long)n);
    }
    if (!p->status)
        p->status = qvl_bytes_add_format(p->out, p->err, "%s_sum{%s} %.17g\n%s_count{%s} %llu\n", name,
                                         p->model.data, h->sum_s, name, p->model.data, (unsigned long long)n);
}

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

static void write_engine(struct page *p, const struct qvl_metrics_now *now)
{
    const struct qvl_engine_stats *e = &now->engine;
    double kv_share = e->kv_max_bytes > 0 ? (double)e->kv_bytes / (double)e->kv_max_bytes : 0;
    const struct single list[] = {
        {NAMES("qvl_requests_running", "vllm:num_requests_running"), "gauge", "Requests that are worked on.",
         (double)now->n_running},
        {NAMES("qvl_requests_waiting", "vllm:num_requests_waiting"), "gauge", "Requests that wait for their turn.",
         (double)now->n_waiting},
        {NAMES("qvl_kv_bytes"), "gauge", "Keys and values, kept prefixes included.", (double)e->kv_bytes},
        {NAMES("qvl_kv_max_bytes"), "gauge", "The most that they may have; 0: no bound.", (double)e->kv_max_bytes},
        {NAMES("qvl_kv_usage_ratio", "vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"), "gauge",
         "Share of that in use, 0 to 1.", kv_share},
        {NAMES("qvl_prefix_cache_bytes"), "gauge", "Keys and values kept for later requests.",
         (double)e->prefix_bytes},
        {NAMES("qvl_prefix_cache_queries_total", "vllm:prefix_cache_queries_total",
               "vllm:gpu_prefix_cache_queries_total"),
         "counter", "Prompt tokens that the prefix cache was asked for.", (double)e->n_prefix_asked_tok},
        {NAMES("qvl_prefix_cache_hits_total", "vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total"),
         "counter", "Prompt tokens that it had.", (double)e->n_prefix_found_tok},
        {NAMES("qvl_vision_cache_bytes"), "gauge", "Features of pictures and frames seen before.",
         (double)e->vision_cache_bytes},
        {NAMES("qvl_vision_cache_queries_total"), "counter", "Pictures and pairs of frames that it was asked for.",
         (double)e->n_patch_asked},
        {NAMES("qvl_vision_cache_hits_total"), "counter", "Pictures and pairs of frames that it had.",
         (double)e->n_patch_found},
        {NAMES("qvl_vision_cache_disk_bytes"), "gauge", "Of those features, files in --vision-cache-dir.",
         (double)e->vision_disk_bytes},
        {NAMES("qvl_vision_cache_disk_queries_total"), "counter", "Pictures and pairs of frames looked for there.",
         (double)e->n_disk_asked},
        {NAMES("qvl_vision_cache_disk_hits_total"), "counter", "Pictures and pairs of frames found there.",
         (double)e->n_disk_found},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        write_single(p, &list[i]);
}

static void write_answers(struct page *p, const struct qvl_metrics *m)
{
    static const char *const finished[] = {"qvl_requests_finished_total", "vllm:request_success_total"};
    const struct single list[] = {
        {NAMES("qvl_prompt_tokens_total", "vllm:prompt_tokens_total"), "counter", "Tokens of prompts.",
         (double)m->n_prompt_tok},
        {NAMES("qvl_cached_tokens_total"), "counter", "Of those, taken over from earlier requests.",
         (double)m->n_cached_tok},
        {NAMES("qvl_image_tokens_total"), "counter", "Of those, of pictures.", (double)m->n_image_tok},
        {NAMES("qvl_video_tokens_total"), "counter", "Of those, of clips.", (double)m->n_video_tok},
        {NAMES("qvl_generation_tokens_total", "vllm:generation_tokens_total"), "counter", "Tokens of answers.",
         (double)m->n_output_tok},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        write_single(p, &list[i]);
    for (size_t i = 0; i < 2; i++) {
        write_head(p, finished[i], "counter", "Requests by the way they ended.");
        for (size_t k = 0; k < N_FINISH; k++) {
            char label[40] = "finished_reason=\"";
            strncat(label, finish_names[k], 10);
            strncat(label, "\",", 3);
            write_sample(p, finished[i], label, (double)m->n_finish[k]);
        }
    }
}

static void write_durations(struct page *p, const struct qvl_metrics *m)
{
    static const struct {
        enum duration duration;
        const char *name, *help;
    } list[] = {
        {FIRST_TOKEN, "qvl_time_to_first_token_seconds", "From a request's arrival to its first token."},
        {FIRST_TOKEN, "vllm:time_to_first_token_seconds", "From a request's arrival to its first token."},
        {TOKEN_GAP, "qvl_inter_token_latency_seconds", "Between two tokens of an answer."},
        {TOKEN_GAP, "vllm:inter_token_latency_seconds", "Between two tokens of an answer."},
        {TOKEN_GAP, "vllm:time_per_output_token_seconds", "Between two tokens of an answer."},
        {WHOLE, "qvl_request_seconds", "From a request's arrival to its end."},
        {WHOLE, "vllm:e2e_request_latency_seconds", "From a request's arrival to its end."},
        {QUEUE, "qvl_queue_seconds", "Waiting for the first step of the model."},
        {QUEUE, "vllm:request_queue_time_seconds", "Waiting for the first step of the model."},
        {MEDIA, "qvl_media_seconds", "Decoding and resizing a request's pictures and clips."},
        {VISION, "qvl_vision_seconds", "A request's share of the vision tower."},
        {PREFILL, "qvl_prefill_seconds", "A request's prompt."},
        {PREFILL, "vllm:request_prefill_time_seconds", "A request's prompt."},
        {GENERATE, "qvl_generate_seconds", "From a request's first token to its last."},
        {GENERATE, "vllm:request_decode_time_seconds", "From a request's first token to its last."},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        write_histogram(p, list[i].name, list[i].help, &m->duration[list[i].duration]);
}

static void write_replies(struct page *p, const struct qvl_metrics *m)
{
    static const char name[] = "qvl_http_requests_total";
    write_head(p, name, "counter", "Replies by route and status; status 0: the client left before there was one.");
    for (size_t i = 0; i < m->n_reply && !p->status; i++)
        p->status = qvl_bytes_add_format(p->out, p->err, "%s{route=\"%s\",status=\"%u\"} %llu\n", name,
                                         m->reply[i].route, m->reply[i].status, (unsigned long long)m->reply[i].n);
    if (!p->status)
        p->status = qvl_bytes_add_format(p->out, p->err, "%s{route=\"other\",status=\"other\"} %llu\n", name,
                                         (unsigned long long)m->n_reply_untold);
}

static void write_process(struct page *p, const struct qvl_metrics *m)
{
    const struct {
        const char *name, *type, *help;
        double value;
    } list[] = {
        {"process_resident_memory_bytes", "gauge", "Memory held, mapped weights included.",
         (double)qvl_os_resident_bytes()},
        {"process_cpu_seconds_total", "counter", "Processor time.", qvl_cpu_ms() * 1e-3},
        {"process_start_time_seconds", "gauge", "Unix time of the start.", m->started_s},
    };
    write_head(p, "qvl_build_info", "gauge", "The version, as a label.");
    if (!p->status)
        p->status = qvl_bytes_add_format(p->out, p->err, "qvl_build_info{version=\"%s\"} 1\n", QVL_VERSION);
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        write_head(p, list[i].name, list[i].type, list[i].help);
        if (!p->status)
            p->status = qvl_bytes_add_format(p->out, p->err, "%s %.17g\n", list[i].name, list[i].value);
    }
}

enum qvl_status qvl_metrics_write(struct qvl_metrics *m, const struct qvl_metrics_now *now, struct qvl_bytes *out,
                                  struct qvl_error *err)
{
    struct page p = {.out = out, .err = err};
    p.status = qvl_bytes_add_text(&p.model, "model_name=", err);
    if (!p.status)
        p.status = add_label_value(&p.model, now->model_name, err);
    pthread_mutex_lock(&m->lock);
    write_engine(&p, now);
    write_answers(&p, m);
    write_durations(&p, m);
    write_replies(&p, m);
    write_process(&p, m);
    pthread_mutex_unlock(&m->lock);
    qvl_bytes_free(&p.model);
    return p.status;
}

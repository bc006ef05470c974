/* The page of metrics by the rules of Prometheus' text format 0.0.4
 * (https://prometheus.io/docs/instrumenting/exposition_formats/): a HELP and a TYPE line before a metric's samples,
 * all of them together, names and labels of the allowed letters, histograms cumulative with a bucket +Inf that
 * equals _count. */
#include <ctype.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/metrics.h"

static struct qvl_metrics *metrics;
static struct qvl_bytes page;

static int open_metrics(void **state)
{
    struct qvl_error err = {0};
    (void)state;
    return (int)qvl_metrics_open(&metrics, &err);
}

static int close_metrics(void **state)
{
    (void)state;
    qvl_metrics_close(metrics);
    qvl_bytes_free(&page);
    return 0;
}

static void write_page(const struct qvl_metrics_now *now)
{
    static const struct qvl_metrics_now nothing = {.model_name = "m"};
    struct qvl_error err = {0};
    qvl_bytes_free(&page);
    assert_int_equal(qvl_metrics_write(metrics, now ? now : &nothing, &page, &err), QVL_OK);
}

/* ---- a reader of the format ---------------------------------------------------------------------- */

struct sample {
    char name[96], labels[400]; /* labels as written, without braces */
    double value;
};

static size_t name_length(const char *text)
{
    size_t n = 0;
    while (isalnum((unsigned char)text[n]) || text[n] == '_' || text[n] == ':')
        n++;
    assert_true(n > 0 && !isdigit((unsigned char)text[0]));
    return n;
}

/* name="value",...: returns what follows "}". Within a value only \\ \" \n are escapes. */
static const char *skip_labels(const char *at)
{
    while (*at != '}') {
        size_t n = name_length(at);
        assert_null(memchr(at, ':', n));
        at += n;
        assert_int_equal(at[0], '=');
        assert_int_equal(at[1], '"');
        for (at += 2; *at != '"'; at++) {
            assert_true(*at && *at != '\n');
            if (*at == '\\') {
                at++;
                assert_true(*at == '\\' || *at == '"' || *at == 'n');
            }
        }
        at++;
        assert_true(*at == ',' || *at == '}');
        at += *at == ',';
    }
    return at + 1;
}

/* "a sample" line; returns the next line. */
static const char *read_sample(const char *line, struct sample *out)
{
    size_t n = name_length(line);
    char *end = NULL;
    assert_true(n < sizeof out->name);
    memcpy(out->name, line, n);
    out->name[n] = out->labels[0] = 0;
    line += n;
    if (*line == '{') {
        const char *after = skip_labels(line + 1);
        size_t n_labels = (size_t)(after - line) - 2;
        assert_true(n_labels < sizeof out->labels);
        memcpy(out->labels, line + 1, n_labels);
        out->labels[n_labels] = 0;
        line = after;
    }
    assert_int_equal(*line, ' ');
    out->value = strtod(line + 1, &end);
    assert_int_equal(*end, '\n');
    return end + 1;
}

/* Whether a sample belongs to the metric `name` of this type. */
static bool is_sample_of(const char *sample, const char *name, const char *type)
{
    size_t n = strlen(name);
    if (strcmp(sample, name) == 0)
        return strcmp(type, "histogram") != 0;
    return strcmp(type, "histogram") == 0 && strncmp(sample, name, n) == 0 &&
           (strcmp(sample + n, "_bucket") == 0 || strcmp(sample + n, "_sum") == 0 ||
            strcmp(sample + n, "_count") == 0);
}

struct histogram {
    double last_bound, last_count, inf;
    bool has_inf, has_sum;
};

static void check_histogram_sample(struct histogram *h, const struct sample *s)
{
    const char *le = strstr(s->labels, "le=\"");
    if (strstr(s->name, "_bucket")) {
        assert_non_null(le);
        double bound = strcmp(le + 4, "+Inf\"") == 0 ? INFINITY : strtod(le + 4, NULL);
        assert_true(bound > h->last_bound);
        assert_true(s->value >= h->last_count);
        h->last_bound = bound;
        h->last_count = s->value;
        if (isinf(bound)) {
            h->has_inf = true;
            h->inf = s->value;
        }
    } else {
        assert_null(le);
        h->has_sum |= strstr(s->name, "_sum") != NULL;
        if (strstr(s->name, "_count"))
            assert_true(h->has_inf && s->value == h->inf);
    }
}

/* The whole page; every metric once. */
static size_t check_page(void)
{
    static char seen[200][96];
    size_t n_seen = 0;
    const char *line = page.data;
    assert_int_equal(page.data[page.n - 1], '\n');
    while (*line) {
        char name[96], type[16], help_name[96];
        int n = 0;
        struct histogram histogram = {.last_bound = -1};
        assert_int_equal(sscanf(line, "# HELP %95s%n", help_name, &n), 1);
        assert_int_equal(line[n], ' ');
        line = strchr(line, '\n') + 1;
        assert_int_equal(sscanf(line, "# TYPE %95s %15s%n", name, type, &n), 2);
        assert_string_equal(name, help_name);
        assert_int_equal(line[n], '\n');
        assert_true(strcmp(type, "counter") == 0 || strcmp(type, "gauge") == 0 || strcmp(type, "histogram") == 0);
        assert_int_equal(strcmp(type, "counter") == 0,
                         strlen(name) > 6 && strcmp(name + strlen(name) - 6, "_total") == 0);
        for (size_t i = 0; i < n_seen; i++)
            assert_string_not_equal(seen[i], name);
        memcpy(seen[n_seen++], name, sizeof name);
        line += n + 1;
        while (*line && *line != '#') {
            struct sample sample;
            line = read_sample(line, &sample);
            assert_true(is_sample_of(sample.name, name, type));
            assert_true(sample.value <= INFINITY); /* a number */
            if (strcmp(type, "histogram") == 0)
                check_histogram_sample(&histogram, &sample);
            else if (strcmp(type, "counter") == 0)
                assert_true(sample.value >= 0);
        }
        if (strcmp(type, "histogram") == 0)
            assert_true(histogram.has_inf && histogram.has_sum);
    }
    return n_seen;
}

/* The value of the one sample with this name and, in its labels, this text. */
static double value_of(const char *name, const char *label)
{
    const char *line = page.data;
    double value = 0;
    bool is_found = false;
    while (*line) {
        struct sample sample;
        if (*line == '#') {
            line = strchr(line, '\n') + 1;
            continue;
        }
        line = read_sample(line, &sample);
        if (strcmp(sample.name, name) == 0 && strstr(sample.labels, label)) {
            assert_false(is_found);
            value = sample.value;
            is_found = true;
        }
    }
    if (!is_found)
        fail_msg("no sample %s{%s}", name, label);
    return value;
}

/* ---- tests --------------------------------------------------------------------------------------- */

static void an_empty_page_is_whole(void **state)
{
    (void)state;
    write_page(NULL);
    assert_true(check_page() > 30);
    assert_true(value_of("vllm:request_success_total", "finished_reason=\"stop\"") == 0);
    assert_true(value_of("vllm:time_to_first_token_seconds_bucket", "le=\"+Inf\"") == 0);
    assert_true(value_of("qvl_build_info", "version=\"" QVL_VERSION "\"") == 1);
}

static void answers_are_counted(void **state)
{
    (void)state;
    struct qvl_answer_facts facts = {.n_prompt_tok = 100,
                                     .n_cached_tok = 30,
                                     .n_image_tok = 40,
                                     .n_output_tok = 7,
                                     .queue_ms = 2,
                                     .media_ms = 30,
                                     .vision_ms = 40,
                                     .prefill_ms = 50,
                                     .generate_ms = 600,
                                     .first_token_ms = 120,
                                     .whole_ms = 720,
                                     .finish = "stop"};
    qvl_metrics_count_answer(metrics, &facts);
    facts.finish = "tool_calls";
    facts.n_image_tok = 0;
    facts.n_video_tok = 5;
    qvl_metrics_count_answer(metrics, &facts);
    facts.finish = "length";
    qvl_metrics_count_answer(metrics, &facts);
    facts = (struct qvl_answer_facts){.whole_ms = 5, .finish = "cancelled"};
    qvl_metrics_count_answer(metrics, &facts);
    facts.finish = "error";
    qvl_metrics_count_answer(metrics, &facts);
    write_page(NULL);
    check_page();
    static const char *const families[] = {"qvl_requests_finished_total", "vllm:request_success_total"};
    for (int i = 0; i < 2; i++) {
        assert_true(value_of(families[i], "finished_reason=\"stop\"") == 2);
        assert_true(value_of(families[i], "finished_reason=\"length\"") == 1);
        assert_true(value_of(families[i], "finished_reason=\"abort\"") == 1);
        assert_true(value_of(families[i], "finished_reason=\"error\"") == 1);
    }
    assert_true(value_of("vllm:prompt_tokens_total", "") == 300);
    assert_true(value_of("vllm:generation_tokens_total", "") == 21);
    assert_true(value_of("qvl_cached_tokens_total", "") == 90);
    assert_true(value_of("qvl_image_tokens_total", "") == 40);
    assert_true(value_of("qvl_video_tokens_total", "") == 10);
    assert_true(value_of("vllm:e2e_request_latency_seconds_count", "") == 5);
    assert_true(fabs(value_of("vllm:e2e_request_latency_seconds_sum", "") - 2.17) < 1e-9);
    /* Those that ended before a token had none to wait for. */
    assert_true(value_of("vllm:time_to_first_token_seconds_count", "") == 3);
    assert_true(value_of("qvl_media_seconds_count", "") == 3);
}

static void bounds_are_inclusive(void **state)
{
    (void)state;
    qvl_metrics_count_token_gap(metrics, 10);
    qvl_metrics_count_token_gap(metrics, 10.001);
    qvl_metrics_count_token_gap(metrics, 1e9); /* above all bounds */
    qvl_metrics_count_token_gap(metrics, -1);  /* a clock that went back */
    write_page(NULL);
    check_page();
    static const char *const names[] = {"vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds",
                                        "qvl_inter_token_latency_seconds"};
    for (int i = 0; i < 3; i++) {
        char bucket[96], count[96];
        snprintf(bucket, sizeof bucket, "%s_bucket", names[i]);
        snprintf(count, sizeof count, "%s_count", names[i]);
        assert_true(value_of(bucket, "le=\"0.005\"") == 1);
        assert_true(value_of(bucket, "le=\"0.01\"") == 2);
        assert_true(value_of(bucket, "le=\"0.025\"") == 3);
        assert_true(value_of(bucket, "le=\"2560\"") == 3);
        assert_true(value_of(bucket, "le=\"+Inf\"") == 4);
        assert_true(value_of(count, "") == 4);
    }
}

static void what_the_engine_says(void **state)
{
    (void)state;
    struct qvl_metrics_now now = {.n_running = 3, .n_waiting = 4, .model_name = "m"};
    now.engine = (struct qvl_engine_stats){.kv_bytes = 250,
                                           .kv_max_bytes = 1000,
                                           .prefix_bytes = 20,
                                           .n_prefix_asked_tok = 11,
                                           .n_prefix_found_tok = 5,
                                           .vision_cache_bytes = 77,
                                           .n_patch_asked = 9,
                                           .n_patch_found = 8,
                                           .vision_disk_bytes = 4096,
                                           .n_disk_asked = 6,
                                           .n_disk_found = 2};
    write_page(&now);
    check_page();
    assert_true(value_of("vllm:num_requests_running", "") == 3);
    assert_true(value_of("vllm:num_requests_waiting", "") == 4);
    assert_true(value_of("vllm:kv_cache_usage_perc", "") == 0.25);
    assert_true(value_of("vllm:gpu_cache_usage_perc", "") == 0.25);
    assert_true(value_of("vllm:prefix_cache_queries_total", "") == 11);
    assert_true(value_of("vllm:prefix_cache_hits_total", "") == 5);
    assert_true(value_of("qvl_vision_cache_hits_total", "") == 8);
    assert_true(value_of("qvl_vision_cache_disk_bytes", "") == 4096);
    assert_true(value_of("qvl_vision_cache_disk_queries_total", "") == 6);
    assert_true(value_of("qvl_vision_cache_disk_hits_total", "") == 2);
    now.engine.kv_max_bytes = 0; /* no bound: no share */
    write_page(&now);
    assert_true(value_of("vllm:kv_cache_usage_perc", "") == 0);
}

static void names_of_models_cannot_break_the_page(void **state)
{
    (void)state;
    struct qvl_metrics_now now = {.model_name = "a\"b\\c\nd"};
    write_page(&now);
    check_page();
    assert_non_null(strstr(page.data, "model_name=\"a\\\"b\\\\c\\nd\""));
}

static void replies_by_route_and_status(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        qvl_metrics_count_reply(metrics, "/v1/chat/completions", 200);
    qvl_metrics_count_reply(metrics, "/v1/chat/completions", 429);
    qvl_metrics_count_reply(metrics, "/health", 200);
    write_page(NULL);
    check_page();
    assert_true(value_of("qvl_http_requests_total", "route=\"/v1/chat/completions\",status=\"200\"") == 3);
    assert_true(value_of("qvl_http_requests_total", "route=\"/v1/chat/completions\",status=\"429\"") == 1);
    assert_true(value_of("qvl_http_requests_total", "route=\"/health\",status=\"200\"") == 1);
}

/* However many kinds there are, the page does not grow without end, and the sum stays right. */
static void kinds_of_replies_are_bounded(void **state)
{
    (void)state;
    double sum = 0;
    for (unsigned status = 0; status < 2000; status++)
        qvl_metrics_count_reply(metrics, "/x", status);
    write_page(NULL);
    check_page();
    assert_true(page.n < 200000);
    const char *line = page.data;
    while (*line) {
        struct sample sample;
        if (*line == '#') {
            line = strchr(line, '\n') + 1;
            continue;
        }
        line = read_sample(line, &sample);
        if (strcmp(sample.name, "qvl_http_requests_total") == 0)
            sum += sample.value;
    }
    assert_true(sum == 2000);
}

static void *count_many(void *arg)
{
    struct qvl_answer_facts facts = {.n_output_tok = 1, .finish = "stop"};
    (void)arg;
    for (int i = 0; i < 1000; i++) {
        qvl_metrics_count_answer(metrics, &facts);
        qvl_metrics_count_token_gap(metrics, i);
        qvl_metrics_count_reply(metrics, i % 2 ? "/a" : "/b", 200);
    }
    return NULL;
}

static void many_threads(void **state)
{
    (void)state;
    pthread_t thread[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, count_many, NULL), 0);
    for (int i = 0; i < 20; i++) {
        write_page(NULL);
        check_page();
    }
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    write_page(NULL);
    assert_true(value_of("vllm:generation_tokens_total", "") == 4000);
    assert_true(value_of("vllm:inter_token_latency_seconds_count", "") == 4000);
    assert_true(value_of("qvl_http_requests_total", "route=\"/a\"") == 2000);
}

#define WITH_METRICS(test) cmocka_unit_test_setup_teardown(test, open_metrics, close_metrics)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_METRICS(an_empty_page_is_whole),
        WITH_METRICS(answers_are_counted),
        WITH_METRICS(bounds_are_inclusive),
        WITH_METRICS(what_the_engine_says),
        WITH_METRICS(names_of_models_cannot_break_the_page),
        WITH_METRICS(replies_by_route_and_status),
        WITH_METRICS(kinds_of_replies_are_bounded),
        WITH_METRICS(many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

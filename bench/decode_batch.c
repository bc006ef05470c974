/* What company costs and brings: tokens a second of 1, 2, 4, … clients that all generate text at the same time,
 * each with a prompt of its own. Nothing is guessed ahead, so that each token is a row of a step. usage:
 * decode_batch MODEL [SECONDS [CLIENTS…]]   (6 seconds for each; 1 2 4 8 16) */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "qvl.h"

enum { MAX_CLIENT = 64 };

struct client {
    struct qvl_engine *engine;
    struct qvl_request *request;
    pthread_t thread;
    char text[64];
    atomic_size_t n_tok;
    struct qvl_error err;
    enum qvl_status status;
};

static void *generate(void *arg)
{
    struct client *c = arg;
    struct qvl_event event = {0};
    while (event.kind != QVL_EVENT_DONE && !(c->status = qvl_request_next(c->request, &event, &c->err)))
        atomic_fetch_add(&c->n_tok, event.kind == QVL_EVENT_TEXT);
    return NULL;
}

static int start(struct qvl_engine *engine, struct client *c, size_t i)
{
    struct qvl_engine_info info;
    qvl_engine_get_info(engine, &info);
    snprintf(c->text, sizeof c->text, "Client %zu asks: tell me a long story.", i);
    struct qvl_part part = {.kind = QVL_PART_TEXT, .utf8 = c->text, .n = strlen(c->text)};
    struct qvl_message message = {.role = QVL_ROLE_USER, .parts = &part, .n_part = 1};
    struct qvl_chat chat = {.messages = &message, .n_message = 1};
    struct qvl_request_options options = {.sampling = info.sampling,
                                          .ignore_eos = true,
                                          .no_loop_guard = true,
                                          .no_lookup = true,
                                          .client = i,
                                          .max_tokens = 16384};
    options.sampling.seed = i;
    if (qvl_request_open(engine, &chat, &options, &c->request, &c->err))
        return -1;
    return pthread_create(&c->thread, NULL, generate, c);
}

/* Tokens a second, and the processors' time for one of them: other programs count less in that. */
struct rate {
    double tok_s, cpu_ms;
};

static struct rate count(struct qvl_engine *engine, double seconds)
{
    struct qvl_engine_stats before, after;
    qvl_engine_get_stats(engine, &before);
    double start_ms = qvl_now_ms(), start_cpu_ms = qvl_cpu_ms();
    usleep((useconds_t)(seconds * 1e6));
    qvl_engine_get_stats(engine, &after);
    double n_tok = (double)(after.n_output_tok - before.n_output_tok);
    return (struct rate){n_tok / (qvl_now_ms() - start_ms) * 1e3, (qvl_cpu_ms() - start_cpu_ms) / n_tok};
}

/* Of n clients, once all of them generate; zero after a fault, whose sentence is out. */
static struct rate measure(struct qvl_engine *engine, size_t n, double seconds)
{
    static struct client client[MAX_CLIENT];
    size_t n_started = 0;
    struct rate rate = {0};
    memset(client, 0, sizeof client);
    while (n_started < n && start(engine, &client[n_started], n_started) == 0)
        n_started++;
    for (size_t i = 0; i < n_started; i++)
        while (atomic_load(&client[i].n_tok) == 0 && n_started == n)
            usleep(1000);
    if (n_started == n)
        rate = count(engine, seconds);
    for (size_t i = 0; i < n_started; i++) {
        qvl_request_cancel(client[i].request);
        pthread_join(client[i].thread, NULL);
        if (client[i].status != QVL_ERR_CANCELLED)
            fprintf(stderr, "%s\n", client[i].err.text);
        qvl_request_close(client[i].request);
    }
    return rate;
}

int main(int argc, char **argv)
{
    static const char *const usual[] = {"1", "2", "4", "8", "16"};
    struct qvl_engine *engine = NULL;
    struct qvl_error err = {0};
    if (argc < 2) {
        fprintf(stderr, "usage: decode_batch MODEL [SECONDS [CLIENTS…]]\n");
        return 2;
    }
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 6;
    struct rate one = {0};
    if (qvl_engine_open(&(struct qvl_engine_options){.model_dir = argv[1], .n_ctx = 32768}, &engine, &err) ||
        qvl_engine_load(engine, &err)) {
        fprintf(stderr, "%s\n", err.text);
        qvl_engine_close(engine);
        return 1;
    }
    bool is_given = argc > 3;
    for (size_t i = 0; i < (is_given ? (size_t)argc - 3 : sizeof usual / sizeof *usual); i++) {
        size_t n = strtoul(is_given ? argv[3 + i] : usual[i], NULL, 10);
        if (n < 1 || n > MAX_CLIENT)
            continue;
        struct rate rate = measure(engine, n, seconds);
        one = i ? one : rate;
        printf("%2zu clients: %7.2f tokens/s (%.2f x), %6.2f each; %6.1f ms of processors each (%.2f x)\n", n,
               rate.tok_s, rate.tok_s / one.tok_s, rate.tok_s / (double)n, rate.cpu_ms, one.cpu_ms / rate.cpu_ms);
        fflush(stdout);
    }
    qvl_engine_close(engine);
    return 0;
}

/* app.h: what all files of the API share. Made once by server.c; read only from then on, except behind the pointers, whose
 * functions may be called from any thread. It is the `user` of every route. */
#ifndef QVL_SERVER_APP_H
#define QVL_SERVER_APP_H

#include <stdatomic.h>

#include "server/http.h"
#include "server/log.h"
#include "server/metrics.h"
#include "server/server.h"
#include "server/work.h"

struct qvl_media_fetcher;
struct qvl_media_path;

struct qvl_app {
    struct qvl_server_options options; /* with defaults filled in */
    struct qvl_engine *engine;
    struct qvl_engine_info info;
    struct qvl_http *http;
    struct qvl_work *work;
    struct qvl_log *log;
    struct qvl_metrics *metrics;
    struct qvl_route *route; /* [n_route] of all APIs */
    size_t n_route;
    struct qvl_media_fetcher *fetcher; /* NULL: no URL is fetched */
    struct qvl_media_path *media_folder; /* NULL: no file is read */
    uint64_t started_s;                /* Unix time: "created" of the model */
    atomic_bool is_ready, is_draining, must_stop;
};

/* The routes of each API: server.c puts them into one table. */
extern const struct qvl_route qvl_openai_chat_routes[], qvl_openai_responses_routes[], qvl_ollama_routes[],
    qvl_model_routes[], qvl_page_routes[];
extern const size_t qvl_n_openai_chat_route, qvl_n_openai_responses_route, qvl_n_ollama_route, qvl_n_model_route,
    qvl_n_page_route;

#endif

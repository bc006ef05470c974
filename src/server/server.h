/* server.h: `qvl serve`: one engine behind HTTP.
 *
 *     if (qvl_server_open(&options, &server, &err)) ...     // listens; /ready says 503
 *     if (qvl_engine_load(engine, &err)) ...
 *     qvl_server_ready(server);
 *     ... wait for a signal ...
 *     qvl_server_drain(server);                             // whoever is in is served, at most drain_s seconds
 *     qvl_server_close(server);
 *
 * Inside, in the order in which a request passes: http.h (connections, limits, who may ask), work.h (lanes, fairness,
 * 429), one file for each API (openai_chat.c, openai_responses.c, ollama.c: a body becomes a struct qvl_ask), ask.h (runs
 * it and tells a sink what comes), and the API's sink (what comes becomes the API's own JSON). */
#ifndef QVL_SERVER_SERVER_H
#define QVL_SERVER_SERVER_H

#include <stdatomic.h>

#include "base/error.h"

struct qvl_server;

/* Zero fields take the default in parentheses. Strings and lists must live until qvl_server_close. */
struct qvl_server_options {
    struct qvl_engine *engine;      /* open; must outlive the server */
    const char *model_name;         /* as /v1/models says it */
    const char *host;               /* address to listen on (127.0.0.1) */
    uint32_t port;                  /* (8080); want_any_port: one that is free */
    bool want_any_port;
    bool is_public_without_key;     /* listen on an address other than loopback although there is no key */
    const char *const *api_key;     /* [n_api_key] */
    size_t n_api_key;
    const char *const *host_name;   /* [n_host_name] what Host may say besides loopback names and `host` */
    size_t n_host_name;
    const char *const *cors_origin; /* [n_cors_origin] exact origins that browsers may ask from */
    size_t n_cors_origin;
    const char *tls_cert, *tls_key; /* files, PEM; both or none */
    const char *media_path;         /* below it file: URLs may be read (none) */
    bool want_url_fetch;            /* http(s) URLs of pictures and clips may be fetched */
    bool want_plain_http_fetch;     /* http:, too */
    const char *const *fetch_host;  /* [n_fetch_host] only from these (any public one) */
    size_t n_fetch_host;
    bool is_strict;                 /* refuse unknown fields */
    bool is_model_strict;           /* refuse other model names */
    uint32_t n_parallel;            /* requests worked on at once, and a quarter as many of other clients (16) */
    uint32_t n_queue;               /* that may wait beside them (128) */
    uint64_t max_body_bytes;        /* (64 MiB; multipart/form-data 200 MiB) */
    double deadline_s;              /* for one request, from its arrival (3600) */
    double drain_s;                 /* (30) */
    struct qvl_media_options image, video; /* for what a request leaves open */
    struct qvl_sampling sampling;   /* likewise */
    uint32_t max_tokens;            /* likewise; 0: the engine's */
    bool want_video_wrapper;
    const char *log_file;           /* (stderr) reopened by qvl_server_reopen_log */
    bool want_prompt_log;           /* prompts and answers in the log, too */
};

/* Checks the options, listens and answers. QVL_ERR_ARGUMENT: options that contradict each other, an address that is
 * not one; QVL_ERR_FILE: the port is taken, certificate or log cannot be read or written. */
enum qvl_status qvl_server_open(const struct qvl_server_options *options, struct qvl_server **out, struct qvl_error *err);
uint32_t qvl_server_port(const struct qvl_server *server);
/* The engine is loaded: from here on requests are worked on. */
void qvl_server_ready(struct qvl_server *server);
/* Any thread, a signal's own thread among them. */
void qvl_server_reopen_log(struct qvl_server *server);
/* Takes nothing new, tells /health so, and waits until what is there has been answered, at most drain_s seconds, or
 * until *stop_now is true; what is left then is cancelled. */
void qvl_server_drain(struct qvl_server *server, const atomic_bool *stop_now);
void qvl_server_close(struct qvl_server *server);

#endif

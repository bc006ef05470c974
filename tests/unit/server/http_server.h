/* A small server for tests of HTTP: its routes, and what it saw. */
#ifndef QVL_TEST_HTTP_SERVER_H
#define QVL_TEST_HTTP_SERVER_H

#include <pthread.h>
#include <semaphore.h>

#include "http_client.h"
#include "server/http_exchange.h"

/*  GET  /now       public, at once: "now"
 *  POST /now       at once: "posted"
 *  POST /echo      the body
 *  POST /stream    ?n=pieces&size=bytes&cut=1: pieces of letters
 *  POST /wait      waits until the client is gone or server_release; "waited"
 *  POST /flood     sends 64 KiB pieces until the client is gone
 *  POST /form      "name filename size;" for each part, or 400 and why they cannot be read
 *  GET  /any/...   the path */
struct server {
    struct qvl_http *http;
    uint32_t port;
    sem_t is_waiting, release; /* of /wait */
    sem_t is_gone;             /* gone() was called */
    atomic_int n_gone, n_over, n_thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* of the last exchange that was over; under the lock */
    struct qvl_exchange_facts facts;
    char over_path[256];
    uint64_t client, cache_salt;
};

/* Fields of options that are 0 are chosen; limits NULL: the usual. */
void server_open(struct server *s, struct qvl_http_options options, const struct qvl_http_limits *limits);
void server_close(struct server *s);
void server_wait_over(struct server *s, int n_over); /* until so many exchanges are over */
void server_wait_threads(struct server *s);          /* until nobody works on one */

#endif

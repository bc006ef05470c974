/* script_server.h: a server on loopback whose every byte a test chooses. Each connection carries one request. */
#ifndef QVL_TEST_SCRIPT_SERVER_H
#define QVL_TEST_SCRIPT_SERVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct script_request {
    char head[16384]; /* with its last empty line */
    char path[4096];  /* the target, its query included */
    bool has_range;
    uint64_t first, last; /* of Range */
    uint32_t i;           /* the how manyth one, from 0 */
};

struct script_server {
    /* Called in a thread for each connection, which is closed when it returns. */
    void (*answer)(void *user, const struct script_request *request, int fd);
    void *user;
    char url[64];       /* http://127.0.0.1:PORT */
    char other_url[64]; /* http://localhost:PORT: another origin, the same server */
    int fd;
    pthread_t thread;
    atomic_uint n_request, n_open;
};

void script_server_start(struct script_server *server);
void script_server_stop(struct script_server *server);

void script_say(int fd, const char *format, ...) __attribute__((format(printf, 2, 3)));
void script_send(int fd, const void *data, size_t n);
/* The whole reply to a request for [n] bytes of data, its Range heeded. */
void script_serve(int fd, const struct script_request *request, const void *data, size_t n);
/* Whether the head has this line, "Name: value", without regard to case. */
bool script_has_line(const struct script_request *request, const char *line);

#endif

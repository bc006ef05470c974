#include "script_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

struct connection {
    struct script_server *server;
    int fd;
};

static bool read_head(int fd, struct script_request *r)
{
    size_t n = 0;
    while (n + 1 < sizeof r->head) {
        ssize_t got = recv(fd, r->head + n, 1, 0);
        if (got <= 0)
            return false;
        r->head[++n] = 0;
        if (n >= 4 && memcmp(r->head + n - 4, "\r\n\r\n", 4) == 0)
            return true;
    }
    return false;
}

static void *run_connection(void *arg)
{
    struct connection c = *(struct connection *)arg;
    struct script_request *r = calloc(1, sizeof *r);
    free(arg);
    if (r && read_head(c.fd, r) && sscanf(r->head, "GET %4095s HTTP/1.1", r->path) == 1) {
        unsigned long long first = 0, last = 0;
        const char *range = strcasestr(r->head, "\r\nRange: bytes=");
        r->has_range = range && sscanf(range + 15, "%llu-%llu", &first, &last) == 2;
        r->first = first;
        r->last = last;
        r->i = atomic_fetch_add(&c.server->n_request, 1);
        c.server->answer(c.server->user, r, c.fd);
    }
    free(r);
    shutdown(c.fd, SHUT_WR);
    char rest[256];
    while (recv(c.fd, rest, sizeof rest, 0) > 0) /* so that no reset overtakes the reply */
        ;
    close(c.fd);
    atomic_fetch_sub(&c.server->n_open, 1);
    return NULL;
}

static void *run_server(void *arg)
{
    struct script_server *server = arg;
    for (;;) {
        int fd = accept(server->fd, NULL, NULL);
        if (fd < 0)
            return NULL;
        struct connection *c = malloc(sizeof *c);
        pthread_t thread;
        if (!c)
            abort();
        *c = (struct connection){server, fd};
        atomic_fetch_add(&server->n_open, 1);
        if (pthread_create(&thread, NULL, run_connection, c) || pthread_detach(thread))
            abort();
    }
}

void script_server_start(struct script_server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof address;
    server->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (server->fd < 0 || bind(server->fd, (struct sockaddr *)&address, n) || listen(server->fd, 64) ||
        getsockname(server->fd, (struct sockaddr *)&address, &n))
        abort();
    snprintf(server->url, sizeof server->url, "http://127.0.0.1:%u", ntohs(address.sin_port));
    snprintf(server->other_url, sizeof server->other_url, "http://localhost:%u", ntohs(address.sin_port));
    if (pthread_create(&server->thread, NULL, run_server, server))
        abort();
}

void script_server_stop(struct script_server *server)
{
    shutdown(server->fd, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    close(server->fd);
    while (atomic_load(&server->n_open) > 0)
        usleep(1000);
}

void script_send(int fd, const void *data, size_t n)
{
    for (const char *at = data; n > 0;) {
        ssize_t got = send(fd, at, n, MSG_NOSIGNAL);
        if (got <= 0)
            return;
        at += got;
        n -= (size_t)got;
    }
}

void script_say(int fd, const char *format, ...)
{
    char text[16384];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    script_send(fd, text, (size_t)n);
}

void script_serve(int fd, const struct script_request *r, const void *data, size_t n)
{
    size_t first = r->has_range ? (size_t)r->first : 0, end = r->has_range ? (size_t)r->last + 1 : n;
    if (first >= n || end > n) {
        script_say(fd, "HTTP/1.1 416 No\r\nContent-Range: bytes */%zu\r\nContent-Length: 0\r\n\r\n", n);
        return;
    }
    if (r->has_range)
        script_say(fd, "HTTP/1.1 206 Part\r\nContent-Range: bytes %zu-%zu/%zu\r\n", first, end - 1, n);
    else
        script_say(fd, "HTTP/1.1 200 OK\r\n");
    script_say(fd, "Content-Length: %zu\r\nConnection: close\r\n\r\n", end - first);
    script_send(fd, (const char *)data + first, end - first);
}

bool script_has_line(const struct script_request *r, const char *line)
{
    char with_ends[4200];
    snprintf(with_ends, sizeof with_ends, "\r\n%s\r\n", line);
    return strcasestr(r->head, with_ends);
}

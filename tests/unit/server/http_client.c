#include "http_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

void client_open(struct client *c, uint32_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    memset(c, 0, sizeof *c);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(c->fd >= 0);
    assert_int_equal(connect(c->fd, (struct sockaddr *)&to, sizeof to), 0);
}

void client_close(struct client *c)
{
    if (c->fd >= 0)
        close(c->fd);
    free(c->data);
    memset(c, 0, sizeof *c);
    c->fd = -1;
}

void client_reset(struct client *c)
{
    struct linger none = {.l_onoff = 1, .l_linger = 0};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    client_close(c);
}

bool client_send(struct client *c, const void *data, size_t n)
{
    for (const char *at = data; n > 0;) {
        ssize_t sent = send(c->fd, at, n, MSG_NOSIGNAL);
        if (sent < 0 && (errno == EPIPE || errno == ECONNRESET))
            return false;
        assert_true(sent > 0);
        at += sent;
        n -= (size_t)sent;
    }
    return true;
}

void client_send_text(struct client *c, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    assert_true(n >= 0);
    client_send(c, text, (size_t)n);
    free(text);
}

bool client_read_some(struct client *c, size_t max)
{
    struct pollfd wait = {.fd = c->fd, .events = POLLIN};
    if (poll(&wait, 1, 60000) != 1)
        fail_msg("nothing came for a minute");
    if (c->n_read > c->n + 65536) { /* now and then, so that it costs nothing to speak of */
        memmove(c->data, c->data + c->n_read, c->n);
        c->n_read = 0;
    }
    if (c->n_alloc - c->n_read - c->n < max) {
        c->n_alloc = 2 * c->n_alloc + max;
        c->data = realloc(c->data, c->n_alloc + 1);
        assert_non_null(c->data);
    }
    ssize_t n = recv(c->fd, c->data + c->n_read + c->n, max, 0);
    if (n <= 0)
        return false;
    c->n += (size_t)n;
    c->data[c->n_read + c->n] = '\0';
    return true;
}

static bool read_more(struct client *c)
{
    return client_read_some(c, 65536);
}

bool client_want(struct client *c, size_t n)
{
    while (c->n < n)
        if (!read_more(c))
            return false;
    return true;
}

bool client_is_at_end(struct client *c)
{
    return c->n == 0 && !read_more(c);
}

/* What stands before the next `mark`, itself included, as a text of its own; NULL at the end. */
static char *take_to(struct client *c, const char *mark)
{
    for (;;) {
        char *found = c->n ? memmem(c->data + c->n_read, c->n, mark, strlen(mark)) : NULL;
        if (found) {
            size_t n = (size_t)(found - c->data) - c->n_read + strlen(mark);
            char *text = strndup(c->data + c->n_read, n);
            c->n_read += n;
            c->n -= n;
            return text;
        }
        if (!read_more(c))
            return NULL;
    }
}

/* Room for a text of n bytes and its 0, doubled, so that many small pieces cost little. */
static size_t room(size_t n)
{
    size_t n_bytes = 4096;
    while (n_bytes <= n)
        n_bytes *= 2;
    return n_bytes;
}

static bool take(struct client *c, size_t n, struct reply *to)
{
    bool is_whole = client_want(c, n);
    if (!is_whole)
        n = c->n;
    if (!to->body || room(to->n_body + n) != room(to->n_body))
        to->body = realloc(to->body, room(to->n_body + n));
    assert_non_null(to->body);
    if (n)
        memcpy(to->body + to->n_body, c->data + c->n_read, n);
    to->n_body += n;
    to->body[to->n_body] = '\0';
    c->n_read += n;
    c->n -= n;
    return is_whole;
}

static bool read_chunks(struct client *c, struct reply *out)
{
    for (;;) {
        char *line = take_to(c, "\r\n");
        if (!line)
            return false;
        size_t n = strtoul(line, NULL, 16);
        free(line);
        if (n > 0) {
            out->n_chunk++;
            if (!take(c, n, out))
                return false;
        }
        char *end = take_to(c, "\r\n");
        if (!end)
            return false;
        assert_string_equal(end, "\r\n");
        free(end);
        if (n == 0)
            return true;
    }
}

bool client_read(struct client *c, struct reply *out, bool is_head)
{
    memset(out, 0, sizeof *out);
    out->head = take_to(c, "\r\n\r\n");
    if (!out->head)
        return false;
    assert_memory_equal(out->head, "HTTP/1.1 ", 9);
    out->status = (unsigned)strtoul(out->head + 9, NULL, 10);
    bool has_none = is_head || out->status == 204 || out->status < 200;
    const char *length = reply_header(out, "Content-Length"), *encoding;
    size_t n = length ? strtoul(length, NULL, 10) : 0;
    if (has_none || length) {
        out->is_cut = !take(c, has_none ? 0 : n, out);
    } else if ((encoding = reply_header(out, "Transfer-Encoding")) && strcmp(encoding, "chunked") == 0) {
        take(c, 0, out);
        out->is_cut = !read_chunks(c, out);
    } else {
        while (read_more(c)) {
        }
        take(c, c->n, out);
    }
    return true;
}

const char *reply_header(const struct reply *reply, const char *name)
{
    static char value[4096];
    for (const char *line = strstr(reply->head, "\r\n"); line && line[2] != '\r'; line = strstr(line + 2, "\r\n")) {
        size_t n = strlen(name);
        if (strncasecmp(line + 2, name, n) == 0 && line[2 + n] == ':') {
            const char *from = line + 3 + n + strspn(line + 3 + n, " ");
            snprintf(value, sizeof value, "%.*s", (int)strcspn(from, "\r"), from);
            return value;
        }
    }
    return NULL;
}

void reply_free(struct reply *reply)
{
    free(reply->head);
    free(reply->body);
    memset(reply, 0, sizeof *reply);
}

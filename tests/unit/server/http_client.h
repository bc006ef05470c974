/* A client of HTTP for tests: writes what it is told, byte for byte, and reads replies apart. */
#ifndef QVL_TEST_HTTP_CLIENT_H
#define QVL_TEST_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct client {
    int fd;
    char *data; /* [n_read] handed out, then [n] that came and is not, then a 0 */
    size_t n_read, n, n_alloc;
};

struct reply {
    unsigned status;
    char *head; /* first line and headers, each line ended by \r\n */
    char *body; /* [n_body], followed by a 0; chunks joined */
    size_t n_body, n_chunk;
    bool is_cut; /* the connection ended before the reply did */
};

void client_open(struct client *c, uint32_t port);
void client_close(struct client *c);
void client_reset(struct client *c); /* the same, with a reset */
/* False: the server has closed before it took everything; what it said is read afterwards. */
bool client_send(struct client *c, const void *data, size_t n);
void client_send_text(struct client *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The next reply; false: the connection ended before its first line. is_head: it has no body. Fails the test after
 * a minute without a byte. */
bool client_read(struct client *c, struct reply *out, bool is_head);
/* At least n bytes have come; false: the connection ended before. */
bool client_want(struct client *c, size_t n);
/* Reads once, at most max bytes; false: the connection has ended. */
bool client_read_some(struct client *c, size_t max);
/* Nothing comes any more, the server has closed. */
bool client_is_at_end(struct client *c);
/* The value of a header, or NULL; until the next call. */
const char *reply_header(const struct reply *reply, const char *name);
void reply_free(struct reply *reply);

#endif

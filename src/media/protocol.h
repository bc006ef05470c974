/* protocol.h: what libqvl and qvl-media say to each other.
 *
 * One SOCK_SEQPACKET socket, descriptor 3 of the helper. The helper speaks first (HELLO: is it locked in?), then
 * every request gets one reply. Messages are the two structs below, whole, in the machine's own byte order
 * (both ends are one build); descriptors travel with the request:
 *
 *     PROBE    input                  -> oriented size, from the header alone
 *     DECODE   input, output memory   -> the pixels, written into memory that the parent has sized
 *
 * Either end checks every field and hangs up on what it did not expect. The helper sends numbers, never text:
 * sentences are made by the parent. A clip will be further verbs on the same two structs. */
#ifndef QVL_MEDIA_PROTOCOL_H
#define QVL_MEDIA_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QVL_MEDIA_MAGIC 0x51564d31u /* "QVM1": changes with the layout of the messages */
#define QVL_MEDIA_SOCKET 3          /* the helper's one descriptor at its start */
#define QVL_MEDIA_MAX_FD 2u         /* descriptors that a request may bring */

enum qvl_media_verb { QVL_MEDIA_HELLO = 1, QVL_MEDIA_PROBE, QVL_MEDIA_DECODE };

/* Why the helper could not do it. qvl_fault_text completes "this JPEG picture …". */
enum qvl_fault {
    QVL_FAULT_NONE,
    QVL_FAULT_CUT,
    QVL_FAULT_BROKEN,
    QVL_FAULT_VARIANT,
    QVL_FAULT_SCANS,
    QVL_FAULT_CHANGED,
    QVL_FAULT_MEMORY,
    QVL_FAULT_READ,
    QVL_FAULT_NO_SANDBOX, /* HELLO only */
    QVL_FAULT_NO_MODULE,  /* HELLO only */
    QVL_FAULT_LAST = QVL_FAULT_NO_MODULE
};

struct qvl_media_request {
    uint32_t magic;
    uint32_t verb;
    uint32_t serial;  /* counts requests; the reply repeats it */
    uint32_t format;  /* enum qvl_format, <= QVL_FORMAT_LAST */
    uint64_t n_bytes; /* of the input */
    uint32_t w, h;    /* DECODE: the size that PROBE answered; else 0 */
};

struct qvl_media_reply {
    uint32_t magic;
    uint32_t verb;   /* of the request */
    uint32_t serial; /* of the request; 0 for HELLO */
    uint32_t fault;  /* enum qvl_fault */
    uint32_t w, h;   /* PROBE without fault: oriented size, any value; DECODE without fault: as asked; else 0 */
};

_Static_assert(sizeof(struct qvl_media_request) == 32 && sizeof(struct qvl_media_reply) == 24,
               "messages have no padding");

/* n_bytes: length of the message as received; n_fd: descriptors that came with it. */
bool qvl_media_request_is_valid(const struct qvl_media_request *request, size_t n_bytes, size_t n_fd);
/* Is it an answer to `asked`? For HELLO, asked holds this verb and serial 0. */
bool qvl_media_reply_is_valid(const struct qvl_media_reply *reply, size_t n_bytes,
                              const struct qvl_media_request *asked);

/* The limits on a picture's size, the same on both ends. */
bool qvl_media_size_is_allowed(uint32_t w, uint32_t h);
/* Bytes of w * h tight RGB pixels, for an allowed size. */
size_t qvl_media_rgb_bytes(uint32_t w, uint32_t h);

const char *qvl_fault_text(enum qvl_fault fault);

/* Sends one message and n_fd descriptors. False: the other end is gone (or its buffer full for good). */
bool qvl_media_send(int sock, const void *message, size_t n_bytes, const int *fds, size_t n_fd);
/* Receives one message of at most n_bytes, waiting for it; returns its true length (more than n_bytes where it
 * was cut), 0 when the other end has hung up, -1 on failure with errno. Descriptors that came with it are the
 * caller's to close: fds[0..*n_fd-1], at most max_fd (those beyond never arrive). */
ptrdiff_t qvl_media_receive(int sock, void *message, size_t n_bytes, int *fds, size_t max_fd, size_t *n_fd);

#endif

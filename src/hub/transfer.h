/* transfer.h: GET, several at a time, each until its answer is whole.
 *
 * A call is one question to a hub: a small answer into memory, or bytes [at, end) of a file. It follows redirects
 * by itself (https stays https; the token goes to the origin of its URL and nowhere else), and asks again after
 * breaks, time-outs, 408, 429 and 5xx, for a file from where it stands. Nothing here knows of repositories, caches
 * or sums. */
#ifndef QVL_HUB_TRANSFER_H
#define QVL_HUB_TRANSFER_H

#include "base/bytes.h"
#include "base/limits.h"

struct qvl_hub_transfers;

struct qvl_hub_transfer_options {
    const char *user_agent; /* transfers' lifetime */
    double connect_ms;      /* (10,000) */
    double back_off_ms;     /* before the second try, doubled for each one after it (1000) */
};

enum qvl_hub_outcome {
    QVL_HUB_UNDER_WAY,
    QVL_HUB_ANSWERED,  /* 200 or 206, and whole */
    QVL_HUB_NO_RANGES, /* a part was asked for, and the whole file is all the server gives: ask with is_whole */
    QVL_HUB_REFUSED,   /* code says how; final */
    QVL_HUB_UNREACHED, /* no good answer, however often asked: why */
    QVL_HUB_UNSAFE,    /* a certificate that does not hold, a redirect out of https: why; final */
    QVL_HUB_FAILED,    /* this side: err */
};

struct qvl_hub_call {
    /* The question, zero where not named; unchanged while it is under way. */
    const char *url;
    const char *token; /* NULL: none */
    bool has_cookie;   /* the token as ModelScope's cookie, too */
    uint32_t n_try;    /* (QVL_MAX_HUB_TRIES) one after the other without a byte */
    double stall_ms;   /* without a byte: a break (10,000) */
    size_t max_bytes;  /* of an answer into memory; a longer one is QVL_HUB_FAILED: it is as long the next time */
    /* Of a file: */
    bool is_file;
    bool is_whole;    /* ask for no part; what breaks begins anew at 0 */
    uint64_t at, end; /* at moves on */
    uint64_t n_file;
    char **direct; /* where an earlier call was redirected to, tried first; malloc, NULL: none; may be NULL */
    /* Bytes at `at`; a failure ends the call. */
    enum qvl_status (*take)(void *user, uint64_t at, const void *data, size_t n, struct qvl_error *err);
    void *user;

    /* The answer. */
    enum qvl_hub_outcome outcome;
    long code;                       /* of the last reply; 0: there was none */
    char why[240];                   /* of the last failure, without the address, which may be signed */
    double again_ms;                 /* qvl_now_ms() at which it is asked again; 0: it is not waiting */
    struct qvl_bytes body;           /* into memory */
    char link[2048], error_code[64]; /* headers Link, X-Error-Code; "" */
    struct qvl_error err;

    struct qvl_hub_hop *hop; /* transfer.c's own */
};

enum qvl_status qvl_hub_transfers_open(const struct qvl_hub_transfer_options *options,
                                       struct qvl_hub_transfers **out, struct qvl_error *err);
/* Calls end first. */
void qvl_hub_transfers_close(struct qvl_hub_transfers *transfers);

/* The call stays where it is until qvl_hub_call_end. */
enum qvl_status qvl_hub_call_start(struct qvl_hub_transfers *transfers, struct qvl_hub_call *call,
                                   struct qvl_error *err);
/* At any time, twice, too; frees body. */
void qvl_hub_call_end(struct qvl_hub_transfers *transfers, struct qvl_hub_call *call);
/* Moves what can be moved, and waits for at most wait_ms for more. */
enum qvl_status qvl_hub_transfers_step(struct qvl_hub_transfers *transfers, double wait_ms, struct qvl_error *err);

#endif

/* pull.h: the parts of a pull, for pull.c, pull_choose.c, pull_fetch.c and pull_stream.c. */
#ifndef QVL_HUB_PULL_H
#define QVL_HUB_PULL_H

#include "hub/cache.h"
#include "hub/gather.h"
#include "hub/listing.h"
#include "hub/source.h"
#include "hub/transfer.h"

struct qvl_hub_asked { /* a candidate that was asked */
    struct qvl_hub_candidate who;
    struct qvl_bytes url;
    struct qvl_hub_call call;
};

enum qvl_hub_item_state {
    QVL_HUB_ITEM_TO_FETCH,
    QVL_HUB_ITEM_TO_CHECK, /* it is there; is it right? */
    QVL_HUB_ITEM_GATHERED, /* gather is open */
    QVL_HUB_ITEM_RIGHT,    /* of a stream: the same, and the sum is right */
    QVL_HUB_ITEM_DONE
};

struct qvl_hub_item { /* a file of the list, in its order */
    enum qvl_hub_item_state state;
    struct qvl_hub_gather gather;
    char *direct;     /* as struct qvl_hub_call says */
    bool is_whole;    /* the server gives no parts */
    bool was_wrong;   /* fetched for the second time */
    bool is_stream;   /* weights that are read while they come */
    uint64_t n_wanted; /* of a stream: bytes from its start that the reader waits for */
    uint64_t n_there; /* before gather is open: bytes that count as done */
    int check_fd;     /* TO_CHECK: -1 before it begins */
    uint64_t n_checked;
    struct qvl_hub_hash check;
};

struct qvl_hub_slot { /* a connection */
    struct qvl_hub_call call;
    struct qvl_bytes url;
    struct qvl_hub_item *item; /* NULL: free */
    uint32_t i_piece;          /* UINT32_MAX: the whole file */
    struct qvl_hub_pull *pull;
};

struct qvl_hub_sample { /* for the rate */
    double ms;
    uint64_t n_fetched;
};

struct qvl_hub_pull {
    struct qvl_hub_options options;
    char *local_dir, *gguf, *user_agent; /* copies */
    struct qvl_hub_places places;
    struct qvl_hub_transfers *transfers;
    enum qvl_hub_stage stage;
    double answer_ms, stall_ms; /* a hub that says nothing for as long: in questions, in files */
    char note[512];
    double note_ms;  /* until when it stays */
    bool is_network; /* as struct qvl_hub_info says */
    char path[4096];

    /* choosing and listing */
    struct qvl_hub_asked asked[QVL_HUB_MAX_CANDIDATES];
    size_t n_asked;
    double begin_ms;
    enum qvl_hub_source preferred;          /* where the model is already, or part of it; QVL_HUB_AUTO: nowhere */
    const struct qvl_hub_candidate *chosen; /* NULL: not yet */
    char commit[130];
    struct qvl_bytes page_url;
    struct qvl_hub_call page;
    uint32_t n_page;
    struct qvl_hub_listing listing;

    /* fetching */
    struct qvl_hub_store *store;
    double look_ms;            /* when a busy store is asked again */
    struct qvl_hub_item *item; /* [listing.n]; NULL: not planned */
    struct qvl_hub_slot slot[QVL_MAX_HUB_CONNECTIONS];
    uint32_t n_slot;
    uint64_t n_bytes, n_had, n_fetched; /* n_fetched: bytes that came, wasted ones included */

    /* reading while it comes */
    bool is_stream;         /* some items are */
    bool is_reader_waiting; /* as far as is known */
    bool is_read;           /* something was given back: the window is open */
    bool has_restarted;     /* an item of the stream, in the midst of a transfer */
    uint32_t n_anew;
    char stream_folder[4096]; /* "": not yet */
    struct qvl_error give_err;
    struct qvl_hub_sample sample[16];
    uint32_t n_sample; /* ever taken */
};

/* One slice each; stages move on in pull->stage. */
enum qvl_status qvl_hub_pull_choose(struct qvl_hub_pull *pull, struct qvl_error *err);
enum qvl_status qvl_hub_pull_list(struct qvl_hub_pull *pull, struct qvl_error *err);
enum qvl_status qvl_hub_pull_fetch(struct qvl_hub_pull *pull, struct qvl_error *err);
/* For some seconds, so that it can be read. */
void qvl_hub_pull_note(struct qvl_hub_pull *pull, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* pull_fetch.c's, for pull_stream.c. */
enum qvl_status qvl_hub_item_open(struct qvl_hub_pull *pull, struct qvl_hub_item *item, struct qvl_error *err);
bool qvl_hub_item_has_twin_before(const struct qvl_hub_pull *pull, const struct qvl_hub_item *item);
void qvl_hub_item_free_slots(struct qvl_hub_pull *pull, const struct qvl_hub_item *item);
enum qvl_status qvl_hub_pull_check_room(const struct qvl_hub_pull *pull, struct qvl_error *err);

/* When it is known what is there: whether there is a stream. */
void qvl_hub_stream_plan(struct qvl_hub_pull *pull);
/* How far an item may come now. */
uint64_t qvl_hub_stream_limit(const struct qvl_hub_pull *pull, const struct qvl_hub_item *item);
/* Bytes of items that lie on the disk at most while they are not read. */
uint64_t qvl_hub_stream_room(const struct qvl_hub_pull *pull, uint64_t n_need);
/* A slice: makes the folder when all that belongs in it is there, says what has failed in between. */
enum qvl_status qvl_hub_stream_step(struct qvl_hub_pull *pull, struct qvl_error *err);
/* The reader begins anew: what it has given back comes once more. */
enum qvl_status qvl_hub_stream_restart(struct qvl_hub_pull *pull, struct qvl_error *err);

/* Bytes of an item that are there. */
uint64_t qvl_hub_item_n_done(const struct qvl_hub_item *item);
void qvl_hub_pull_free_items(struct qvl_hub_pull *pull);
/* The sentence for an answer that says no. */
enum qvl_status qvl_hub_fail_refused(const struct qvl_hub_candidate *who, const struct qvl_hub_call *call,
                                     struct qvl_error *err);

#endif

/* talk.h: conversations put together piece by piece, and requests that run one of them and note all that comes, for
 * the tests of what requests share: every logit is compared. */
#ifndef TALK_H
#define TALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "qvl.h"

enum {
    SIDE = 96,         /* of pictures: 3 x 3 tokens; 36 patches */
    CLIP_SIDE = 192,   /* 6 x 6 tokens a temporal patch; 144 patches, so that 7 make a group */
    N_CLIP_FRAME = 20, /* 10 temporal patches: two groups, the second one not full */
    N_TOP = 8,
    MAX_OUT = 48,
    MAX_PART = 40,
    MAX_MESSAGE = 32,
    MAX_IDS = 8192,
    MAX_TALK_TEXT = 2048,
    TALK_CHUNK = 16
};

extern uint8_t small_rgb[4][SIDE * SIDE * 3], large_rgb[4][CLIP_SIDE * CLIP_SIDE * 3];
/* Before anything else: the pictures. */
void make_talk_pictures(void);

/* ---- a conversation ------------------------------------------------------------------------------ */

struct talk {
    struct qvl_message message[MAX_MESSAGE];
    size_t n_message;
    struct qvl_part part[MAX_PART];
    size_t n_part;
    struct qvl_frame frame[MAX_PART][N_CLIP_FRAME];
    char text[MAX_PART][MAX_TALK_TEXT];
    const char *tools_json;
};

struct talk *new_talk(void);
void add_message(struct talk *t, enum qvl_role role);
struct qvl_part *add_part(struct talk *t, enum qvl_part_kind kind);
void add_text(struct talk *t, const char *text);
struct qvl_part *add_picture(struct talk *t, int seed);
struct qvl_part *add_clip(struct talk *t, size_t n_frame, uint32_t side);
void add_answer(struct talk *t, const char *text);
/* One message of n tokens: one for each character, the last one as given. */
void ask_of_length(struct talk *t, size_t n, char last);

/* ---- one request --------------------------------------------------------------------------------- */

struct result {
    enum qvl_status status;
    struct qvl_error err;
    uint32_t prompt[MAX_IDS], out[MAX_OUT];
    size_t n_prompt, n_out, n_cached, n_media;
    struct qvl_token_logit top[MAX_OUT][N_TOP];
    char text[2048];
    /* where it was traced */
    uint64_t logits_hash;
    uint32_t n_look[MAX_PART]; /* temporal patches that the tower was given, by i_media */
    double vision_ms;
    bool is_vision_reported;
    uint64_t n_prefilled; /* as last reported */
    bool has_reasoning, has_answer;
};

/* What a run is to do besides running to its end. */
struct wish {
    uint32_t max_tokens;
    bool want_trace;
    uint64_t salt, client;
    /* cancel or (want_close) close as soon as so much was seen */
    uint64_t stop_at_prefill; /* prompt tokens; 0 = never */
    size_t stop_at_text;      /* tokens; 0 = never */
    bool stop_at_vision, want_close;
};

/* Greedy, with no end but max_tokens. */
struct qvl_request_options greedy(uint32_t max_tokens, struct qvl_session *session);
struct qvl_request *open_request(struct qvl_engine *on, const struct talk *t,
                                 const struct qvl_request_options *options);
/* Takes one event; false when the request is over. */
bool pull(struct qvl_request *request, struct result *r);
/* Notes what the request says of itself, and closes it. */
void finish(struct qvl_request *request, struct result *r);
/* To be freed. */
struct result *run(struct qvl_engine *on, struct qvl_session *session, const struct talk *t, struct wish wish);
void assert_same_bits(const struct result *got, const struct result *want);
/* Tokens before a question of ask_of_length. */
size_t count_before(struct qvl_engine *on, struct talk *t);

/* Two threads, chunks of TALK_CHUNK, MAX_IDS positions, no vision cache. */
struct qvl_engine *open_talk_engine(char letter, struct qvl_engine_options options);
struct qvl_engine_stats stats_of(const struct qvl_engine *engine);
/* Of a block of keys and values: on an engine where nothing runs or is kept. */
size_t measure_block(struct qvl_engine *on);
struct qvl_session *open_session(struct qvl_engine *engine);

#endif

/* ask.h: a question in no API's form, and what comes of it. An API's file makes the struct from a body and gives a sink
 * that writes what comes as the API would; ask.c runs it.
 *
 *     body -> openai_chat.c   -> struct qvl_ask -> qvl_ask_run -> sink of openai_chat.c   -> JSON or events
 *             ollama.c ...                                        sink of ollama.c ... */
#ifndef QVL_SERVER_ASK_H
#define QVL_SERVER_ASK_H

#include "chat/chat_json.h"
#include "server/app.h"

#define QVL_MAX_ANSWERS 8 /* of one question ("n") */

enum qvl_tool_choice { QVL_TOOLS_NONE, QVL_TOOLS_AUTO, QVL_TOOLS_REQUIRED };

struct qvl_ask {
    struct qvl_arena arena;             /* of what the API's file makes */
    struct qvl_chat_json chat;          /* chat.tools_json: only if the model is to see them */
    struct qvl_request_options options; /* pointers into the body or the arena */
    uint32_t n;                         /* answers wanted, 1 to QVL_MAX_ANSWERS; answer k has seed + k */
    enum qvl_tool_choice tools;         /* AUTO, REQUIRED: tool calls are taken out of the text */
    bool want_one_call;                 /* parallel_tool_calls false */
    bool want_count_only;               /* no answer: after begin comes end */
    double deadline_ms;                 /* clock.h: then it is cancelled; 0: none */
};

/* One token's part of the text. Reasoning comes without "</think>" and the line breaks around it. */
struct qvl_ask_text {
    const char *utf8;     /* [n] whole characters; may be empty */
    size_t n;
    bool is_reasoning;
    const struct qvl_event *token; /* its event (id, log probability, best candidates), or NULL: more of the text that the
                                      tokens so far have let out */
};

/* What an answer came to. */
enum qvl_ask_finish { QVL_ASK_STOP, QVL_ASK_LENGTH, QVL_ASK_TOOL_CALLS };

struct qvl_ask_usage { /* of all answers together; media and prompt once */
    size_t n_prompt_tok, n_cached_tok, n_image_tok, n_video_tok, n_output_tok, n_reasoning_tok;
    size_t n_drafted_tok, n_accepted_tok;
    double queue_ms, media_ms, prompt_ms, vision_ms, prefill_ms, generate_ms, first_token_ms;
    const struct qvl_media_info *media; /* [n_media] until the sink's end returns */
    size_t n_media;
    bool is_late;  /* it failed because the deadline came */
    bool has_loop; /* an answer was cut because it repeated itself without end */
};

/* Called in this order, never two at a time, though from several threads; end and fail on the one that called qvl_ask_run,
 * when all others are gone: so they may give the exchange away. begin: the request is in order and prepared (usage has
 * prompt and media), from here on a stream's status is 200; then progress, text, call and arguments as they come (answers one after
 * another or mixed); finish, once an answer; end. Where it fails, fail comes instead of what is left, before begin or
 * after it (usage: what is known by then). Each returns false when the client is gone: then nothing more is called. Any may
 * be NULL except fail. */
struct qvl_ask_sink {
    void *user;
    bool (*begin)(void *user, const struct qvl_ask_usage *usage);
    bool (*progress)(void *user, const struct qvl_event *event);
    /* Some seconds went by without anything else: a sign of life is due, be it before begin. */
    bool (*idle)(void *user);
    bool (*text)(void *user, uint32_t i_answer, const struct qvl_ask_text *text);
    bool (*call)(void *user, uint32_t i_answer, uint32_t i_call, const char *id, const char *name); /* a tool call begins */
    bool (*arguments)(void *user, uint32_t i_answer, uint32_t i_call, const char *utf8, size_t n);  /* JSON, in pieces */
    bool (*finish)(void *user, uint32_t i_answer, enum qvl_ask_finish finish, const char *stop);
    bool (*end)(void *user, const struct qvl_ask_usage *usage);
    void (*fail)(void *user, const struct qvl_error *failure, const struct qvl_ask_usage *usage);
};

/* What a question has when its body says nothing: the server's sampling with a seed by chance (where it has none of its
 * own), one answer, the deadline, who asks. Reading the body comes after it. */
enum qvl_status qvl_ask_init(struct qvl_ask *ask, const struct qvl_app *app, const struct qvl_http_request *request,
                             struct qvl_error *err);
void qvl_ask_free(struct qvl_ask *ask); /* zeroed: fine */

/* Runs the question to its end, or until the client leaves, the deadline comes, the server must stop or it fails; counts
 * it in the metrics. True: the sink's end or fail was called; false: the client is gone, and the exchange is the
 * caller's still. */
bool qvl_ask_run(struct qvl_app *app, struct qvl_exchange *x, const struct qvl_ask *ask, const struct qvl_ask_sink *sink);

#endif

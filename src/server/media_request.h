/* media_request.h: the pictures and clips of one HTTP request: where they may come from, and how many.
 *
 *     struct qvl_media_request media;
 *     struct qvl_chat_json_settings settings;
 *     qvl_media_request_init(&media, app, x);
 *     qvl_media_request_settings(&media, &settings);
 *     ... qvl_chat_read_media_kwargs(..., &settings, ...);
 *     qvl_chat_json_read(messages, tools, &settings, &chat, &err);
 *
 * If that fails, media.code and media.is_late say what the status alone does not.
 *
 * What a part may say besides data: URIs:
 *
 * - upload:NAME is a part of the multipart/form-data body, by its name or file name, upload:#I by its number, from
 *   0. qvl_exchange_read_form comes before.
 *
 * - file:///PATH or PATH is a file below --media-path: absolute, or seen from that folder.
 *
 * - https://..., http://... needs --allow-url-fetch (http: --allow-http-fetch, too). It is fetched on the calling
 *   thread, until the client leaves (then the status is QVL_ERR_CANCELLED) or the time is over. */
#ifndef QVL_SERVER_MEDIA_REQUEST_H
#define QVL_SERVER_MEDIA_REQUEST_H

#include "chat/chat_json.h"
#include "server/app.h"

struct qvl_media_request {
    struct qvl_app *app;
    struct qvl_exchange *x;
    struct qvl_media_opener opener; /* points to this struct: it must not move */
    const char *code;               /* of the error, where the status alone does not say it; else NULL */
    uint32_t n_fetch;               /* so far */
    uint64_t n_fetched_bytes;
    double fetch_end_ms; /* clock.h: of all fetches together; 0: none has begun */
    bool is_late;        /* the request's own time (--timeout) ended while something was fetched */
    atomic_bool is_gone; /* the client has left while something was fetched */
};

void qvl_media_request_init(struct qvl_media_request *media, struct qvl_app *app, struct qvl_exchange *x);
/* The server's defaults and limits, with the opener. */
void qvl_media_request_settings(const struct qvl_media_request *media, struct qvl_chat_json_settings *out);

#endif

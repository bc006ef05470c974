/* The head of a request, as lines: options, method and target, "name: value" each. What is accepted must be one of
 * the routes, from a host that is this one, and with a right key where keys are asked for. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "server/http_guard.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void no_answer(void *user, struct qvl_exchange *x)
{
    (void)user, (void)x;
}

static const struct qvl_route routes[] = {
    {"GET", "/health", no_answer, QVL_LANE_NOW, true, false},
    {"GET", "/v1/models/*", no_answer, QVL_LANE_NOW, false, false},
    {"POST", "/v1/chat/completions", no_answer, QVL_LANE_MODEL, false, true},
};
static const char *const keys[] = {"key"};
static const char *const names[] = {"box.example", "box.example:1"};
static const char *const origins[] = {"https://ui.example"};

static void check(const struct qvl_http_head *head, const struct qvl_verdict *v, bool has_keys)
{
    bool has_key = false;
    for (size_t i = 0; i < head->n_header; i++)
        has_key = has_key || strstr(head->header[i].value, "key");
    if (v->status == 0 && (!v->route || (has_keys && !v->route->is_public && (!has_key || !v->client)) ||
                           v->n_body > v->max_body + (v->route->want_body ? 0 : 1)))
        abort();
    if (v->status != 0 && v->status != 204 && (v->status < 400 || !v->code || !v->text))
        abort();
    char boundary[72];
    const char *type = qvl_http_head_find(head, "Content-Type");
    if (type && qvl_media_type_param(type, "boundary", boundary, sizeof boundary) &&
        strlen(boundary) >= sizeof boundary)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct qvl_http_header header[QVL_MAX_HTTP_HEADERS + 2];
    struct qvl_http_head head = {.method = "", .target = "", .header = header, .n_bytes = n};
    struct qvl_error err;
    struct qvl_guard *guard = NULL;
    if (n < 2)
        return 0;
    bool has_keys = data[0] & 1;
    struct qvl_http_options o = {.host = data[0] & 2 ? "0.0.0.0" : "127.0.0.1",
                                 .api_key = keys,
                                 .n_api_key = has_keys,
                                 .host_name = names,
                                 .n_host_name = 2,
                                 .cors_origin = origins,
                                 .n_cors_origin = 1,
                                 .max_body_bytes = 1000,
                                 .max_form_bytes = 2000,
                                 .route = routes,
                                 .n_route = 3};
    uint8_t secret[32] = {1};
    char *text = malloc(n);
    memcpy(text, data + 1, n - 1);
    text[n - 1] = '\0';
    head.is_http_1_0 = data[0] & 4;
    char *line = text;
    for (size_t i_line = 0; line && head.n_header < QVL_MAX_HTTP_HEADERS + 2; i_line++) {
        char *next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        char *split = strchr(line, i_line ? ':' : ' ');
        if (split) {
            *split++ = '\0';
            if (i_line) {
                header[head.n_header++] = (struct qvl_http_header){line, split + strspn(split, " ")};
            } else {
                head.method = line;
                head.target = split;
            }
        }
        line = next;
    }
    if (qvl_guard_open(&o, secret, &guard, &err) == QVL_OK) {
        struct qvl_verdict v;
        qvl_guard_judge(guard, &head, false, &v);
        check(&head, &v, has_keys);
        qvl_guard_close(guard);
    }
    free(text);
    return 0;
}

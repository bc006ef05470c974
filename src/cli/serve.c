/* qvl serve: the model for other programs, over HTTP (server/server.h), until a signal ends it.
 *
 * What can be wrong with the options and the model's small files is found before anything listens. Then it listens,
 * and loads the weights while requests already wait: so a taken port is known at once, and whoever asks early is
 * served. */
#include <malloc.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/language.h"
#include "base/limits.h"
#include "base/os.h"
#include "cli/ask.h"
#include "cli/input.h"
#include "cli/progress.h"
#include "cli/signals.h"
#include "cli/verbs.h"
#include "server/server.h"

enum { WANTED_FILES = 8192, DEFAULT_CTX = 32768, DEFAULT_PREFIX_MB = 2048, MB = 1 << 20 };

/* Words of a list in one option. */
struct words {
    char *text; /* [n_bytes] cut up */
    size_t n_bytes;
    const char **word; /* [n] */
    size_t n;
};

struct serve {
    struct qvl_options options; /* with the model, the context and the budgets chosen */
    struct words keys, host_names, origins, fetch_hosts;
    char *name; /* of the model, where it is the folder's */
    struct qvl_engine *engine;
    struct qvl_engine_info info;
    struct qvl_server *server;
    double start_ms;
    struct qvl_error err;
};

/* ---- lists and keys ------------------------------------------------------------------------------ */

/* Cuts text (malloc's, taken over) at separators and blanks. */
static enum qvl_status split(char *text, const char *separators, struct words *out, struct qvl_error *err)
{
    out->text = text;
    out->n_bytes = strlen(text);
    out->word = calloc(out->n_bytes / 2 + 1, sizeof *out->word);
    if (!out->word)
        return qvl_fail_memory(err, strlen(text), "the command line");
    for (char *rest = text, *word; (word = strsep(&rest, separators));)
        if (*word)
            out->word[out->n++] = word;
    return QVL_OK;
}

static enum qvl_status read_list(const char *text, struct words *out, struct qvl_error *err)
{
    if (!text)
        return QVL_OK;
    char *copy = strdup(text);
    return copy ? split(copy, ", ", out, err) : qvl_fail_memory(err, strlen(text), "the command line");
}

static void free_list(struct words *list)
{
    free(list->word);
    free(list->text);
    *list = (struct words){0};
}

static void free_secret_list(struct words *list)
{
    if (list->text)
        explicit_bzero(list->text, list->n_bytes);
    free_list(list);
}

/* Nobody but root may look into a process that knows keys, and no core of it is written. */
static void close_process(void)
{
    struct rlimit none = {0, 0};
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    setrlimit(RLIMIT_CORE, &none);
}

/* Each connection is an open file, and so is each picture under way; the usual soft limit of 1024 is for programs
 * that call select. */
static void raise_file_limit(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= WANTED_FILES)
        return;
    files.rlim_cur = files.rlim_max < WANTED_FILES ? files.rlim_max : WANTED_FILES;
    setrlimit(RLIMIT_NOFILE, &files);
}

/* On the command line everybody on this machine can read it (ps). */
static void hide_argument(const struct qvl_options *o)
{
    char *key = (char *)o->api_key; /* argv's, which may be written to */
    if (!key || key == getenv("QVL_API_KEY"))
        return;
    memset(key, '*', strlen(key));
    fputs(qvl_text(
              "qvl: a key on the command line can be seen by everyone on this machine for a moment, and stays in\n"
              "     the shell's history: QVL_API_KEY or --api-key-file keep it better\n"),
          stderr);
}

/* Of the option, one a line, as in a file, where a key may hold a comma. */
static enum qvl_status add_keys(const char *list, struct qvl_bytes *lines, struct qvl_error *err)
{
    enum qvl_status status = qvl_bytes_add_text(lines, list, err);
    for (size_t i = 0; i < lines->n && !status; i++)
        if (lines->data[i] == ',')
            lines->data[i] = '\n';
    return status ? status : qvl_bytes_add_text(lines, "\n", err);
}

static enum qvl_status read_keys(struct serve *s)
{
    const struct qvl_options *o = &s->options;
    struct qvl_bytes all = {0};
    if (!o->api_key && !o->api_key_file)
        return QVL_OK;
    close_process();
    enum qvl_status status = add_keys(o->api_key ? o->api_key : "", &all, &s->err);
    hide_argument(o);
    if (!status && o->api_key_file)
        status = qvl_os_read_file(o->api_key_file, QVL_MAX_API_KEYS * QVL_MAX_API_KEY_BYTES, &all, &s->err);
    if (!status && strlen(all.data) != all.n)
        status = qvl_fail(&s->err, QVL_ERR_ARGUMENT, "%s: not a file of keys", o->api_key_file);
    if (status) {
        qvl_bytes_free(&all);
        return status;
    }
    if (!(status = split(all.data, "\r\n", &s->keys, &s->err)) && s->keys.n == 0)
        status = qvl_fail(&s->err, QVL_ERR_ARGUMENT, "%s: there is no key in it",
                          o->api_key_file ? o->api_key_file : "--api-key");
    if (!status && s->keys.n > QVL_MAX_API_KEYS)
        status = qvl_fail(&s->err, QVL_ERR_ARGUMENT, "%zu API keys: at most %u are possible", s->keys.n,
                          QVL_MAX_API_KEYS);
    return status;
}

/* ---- the engine ---------------------------------------------------------------------------------- */

/* Context and budgets that were not given: half of what will be free beside the weights, and room for one request
 * of the whole context in any case. */
static void choose_sizes(struct qvl_options *o, const struct qvl_engine_info *info)
{
    enum { BLOCK_TOK = 1024 }; /* more than a cache is rounded up by */
    uint64_t available = qvl_os_available_bytes();
    if (!o->n_ctx)
        o->n_ctx = info->n_ctx_model < DEFAULT_CTX ? info->n_ctx_model : DEFAULT_CTX;
    uint64_t one_context = (o->n_ctx + BLOCK_TOK) * info->kv_bytes_per_tok;
    uint64_t left = available > info->weight_bytes ? available - info->weight_bytes : 0;
    if (!qvl_options_has(o, "kv-cache") && available != UINT64_MAX)
        o->kv_cache_mb = (left / 2 > one_context ? left / 2 : one_context) / MB + 1;
    if (!qvl_options_has(o, "prefix-cache"))
        o->prefix_cache_mb =
            o->kv_cache_mb && o->kv_cache_mb / 2 < DEFAULT_PREFIX_MB ? o->kv_cache_mb / 2 : DEFAULT_PREFIX_MB;
    if (one_context > left && !o->is_quiet)
        fprintf(stderr,
                qvl_text(
                    "qvl: a request of the whole context of %llu tokens takes %.1f GB, and %.1f GB are free beside "
                    "the model: -c makes it smaller\n"),
                (unsigned long long)o->n_ctx, (double)one_context / 1e9, (double)left / 1e9);
}

/* What the budgets are made from stands in the model's own files. */
static enum qvl_exit open_engine(struct serve *s)
{
    struct qvl_options *o = &s->options;
    enum qvl_exit code = QVL_EXIT_OK;
    s->engine = qvl_open_engine(o, &code);
    if (!s->engine)
        return code;
    qvl_engine_get_info(s->engine, &s->info);
    choose_sizes(o, &s->info);
    enum qvl_status status = qvl_engine_set_room(s->engine, (uint32_t)o->n_ctx, (size_t)o->kv_cache_mb * MB,
                                                 (size_t)o->prefix_cache_mb * MB, &s->err);
    qvl_engine_get_info(s->engine, &s->info);
    return status ? qvl_exit_of(status, QVL_EXIT_MODEL) : QVL_EXIT_OK;
}

/* ---- the server ---------------------------------------------------------------------------------- */

/* The last part of a path, without a final slash or ".gguf". */
static enum qvl_status name_model(struct serve *s)
{
    const char *path = s->options.model, *end = path + strlen(path);
    if (s->options.served_model_name)
        return QVL_OK;
    while (end > path + 1 && end[-1] == '/')
        end--;
    if (end - path > 5 && strncmp(end - 5, ".gguf", 5) == 0)
        end -= 5;
    const char *begin = end;
    while (begin > path && begin[-1] != '/')
        begin--;
    if (s->info.is_demo)
        s->name = strdup("qvl-demo");
    else
        s->name = end > begin && *begin != '.' ? strndup(begin, (size_t)(end - begin)) : strdup("qwen3-vl");
    s->options.served_model_name = s->name;
    return s->name ? QVL_OK : qvl_fail_memory(&s->err, 0, "the command line");
}

static enum qvl_status read_lists(struct serve *s)
{
    const struct qvl_options *o = &s->options;
    enum qvl_status status = read_list(o->allowed_hosts, &s->host_names, &s->err);
    if (!status)
        status = read_list(o->cors_origins, &s->origins, &s->err);
    return status ? status : read_list(o->url_fetch, &s->fetch_hosts, &s->err);
}

static enum qvl_status open_server(struct serve *s)
{
    const struct qvl_options *o = &s->options;
    struct qvl_chat_json_settings media = qvl_input_chat_settings(o);
    enum qvl_status status = read_lists(s);
    if (status || (status = name_model(s)))
        return status;
    struct qvl_server_options options = {.engine = s->engine,
                                         .model_name = o->served_model_name,
                                         .host = o->host,
                                         .port = (uint32_t)o->port,
                                         .want_any_port = qvl_options_has(o, "port") && o->port == 0,
                                         .is_public_without_key = o->is_public,
                                         .api_key = s->keys.word,
                                         .n_api_key = s->keys.n,
                                         .host_name = s->host_names.word,
                                         .n_host_name = s->host_names.n,
                                         .cors_origin = s->origins.word,
                                         .n_cors_origin = s->origins.n,
                                         .tls_cert = o->ssl_cert_file,
                                         .tls_key = o->ssl_key_file,
                                         .media_path = o->media_path,
                                         .want_url_fetch = o->url_fetch != NULL,
                                         .want_plain_http_fetch = o->want_http_fetch,
                                         .fetch_host = s->fetch_hosts.word,
                                         .n_fetch_host = s->fetch_hosts.n,
                                         .is_strict = o->is_strict,
                                         .is_model_strict = o->is_model_strict,
                                         .n_parallel = (uint32_t)o->n_parallel,
                                         .n_queue = (uint32_t)o->n_queue,
                                         .max_body_bytes = o->max_body_mb * MB,
                                         .deadline_s = o->timeout_s,
                                         .drain_s = o->drain_s,
                                         .image = media.image,
                                         .video = media.video,
                                         .sampling = qvl_choose_sampling(o, s->info.sampling),
                                         .max_tokens = (uint32_t)o->max_tokens,
                                         .want_video_wrapper = o->want_video_wrapper,
                                         .log_file = o->log_file,
                                         .want_prompt_log = o->want_prompt_log};
    return qvl_server_open(&options, &s->server, &s->err);
}

/* ---- what is said -------------------------------------------------------------------------------- */

/* A line to stderr, unless nobody wants one. */
static void say(const struct serve *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(const struct serve *s, const char *format, ...)
{
    va_list args;
    if (s->options.is_quiet)
        return;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
}

/* Where a program on this machine reaches it. */
static void write_url(const struct serve *s, char *out, size_t n_out)
{
    const char *host = s->options.host ? s->options.host : "127.0.0.1";
    bool is_v6 = strchr(host, ':');
    if (strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0)
        host = is_v6 ? "::1" : "127.0.0.1";
    snprintf(out, n_out, "%s://%s%s%s:%u", s->options.ssl_cert_file ? "https" : "http", is_v6 ? "[" : "", host,
             is_v6 ? "]" : "", qvl_server_port(s->server));
}

static void say_ready(const struct serve *s, const char *url)
{
    say(s,
        qvl_text("qvl: ready after %.1f s: model %s (%.2f GB, %s, %u threads), context %u, %llu MB for keys and "
                 "values; Ctrl-C ends it\n"),
        (qvl_now_ms() - s->start_ms) / 1e3, s->options.served_model_name, (double)s->info.weight_bytes / 1e9,
        s->info.isa, s->info.n_thread, s->info.n_ctx, (unsigned long long)s->options.kv_cache_mb);
    say(s,
        "     curl %s/v1/chat/completions -H 'Content-Type: application/json'%s -d '{\"messages\": [{\"role\": "
        "\"user\", "
        "\"content\": \"%s\"}]}'\n",
        url, s->keys.n > 0 ? " -H \"Authorization: Bearer $QVL_API_KEY\"" : "", qvl_text("Hello!"));
}

/* The manager of services that has started us, if it asked to be told (systemd's Type=notify: sd_notify(3)). */
static void tell_manager(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t n = path ? strlen(path) : 0;
    if (n < 2 || n >= sizeof address.sun_path || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(address.sun_path, path, n);
    if (path[0] == '@')
        address.sun_path[0] = 0; /* an abstract name */
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    ssize_t sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
    (void)sent; /* nobody to complain to */
    close(fd);
}

/* ---- from start to end --------------------------------------------------------------------------- */

static void reopen_log(void *user)
{
    qvl_server_reopen_log(user);
}

/* A server in a terminal ends with it, unless it writes a log of its own. */
static bool ends_with_terminal(const struct qvl_options *o)
{
    return !o->log_file && isatty(STDERR_FILENO);
}

/* What requests leave must go back to the system, not stay in pieces: of the C library's heaps there are few, and whatever
 * is large is mapped for itself (left alone, the bound of "large" rises with every body that is freed). Ten minutes of 64
 * clients: SPEED.md, "Memory of a server". */
static void keep_heaps_small(void)
{
#ifdef __GLIBC__
    mallopt(M_ARENA_MAX, 2);
    mallopt(M_MMAP_THRESHOLD, 64 << 10);
    mallopt(M_TRIM_THRESHOLD, 128 << 10);
#endif
}

static enum qvl_status run_server(struct serve *s)
{
    char url[128];
    write_url(s, url, sizeof url);
    qvl_signals_open_server(ends_with_terminal(&s->options) ? NULL : reopen_log, s->server);
    say(s, qvl_text("qvl: listening on %s\n"), url);
    struct qvl_progress progress;
    qvl_progress_open(&progress, s->options.progress, s->options.is_quiet);
    enum qvl_status status = qvl_progress_load(&progress, s->engine, &s->err);
    if (!status) {
        qvl_server_ready(s->server);
        say_ready(s, url);
        tell_manager("READY=1");
        qvl_signals_wait_server();
        tell_manager("STOPPING=1");
        say(s, qvl_text("qvl: stopping, when what is under way is done; once more stops at once\n"));
        qvl_server_drain(s->server, qvl_signals_stop_now());
    }
    qvl_signals_close_server();
    return status;
}

static enum qvl_exit serve(struct serve *s)
{
    keep_heaps_small();
    enum qvl_status status = read_keys(s);
    if (status)
        return qvl_exit_of(status, QVL_EXIT_FAILURE);
    raise_file_limit();
    enum qvl_exit code = open_engine(s);
    if (code != QVL_EXIT_OK)
        return code;
    if ((status = open_server(s)))
        return qvl_exit_of(status, QVL_EXIT_FAILURE);
    return qvl_exit_of(run_server(s), QVL_EXIT_MODEL);
}

enum qvl_exit qvl_serve_model(const struct qvl_options *options)
{
    struct serve s = {.options = *options, .start_ms = qvl_now_ms()};
    if (options->n_item > 1 || (options->n_item == 1 && qvl_options_has(options, "model"))) {
        fputs(qvl_text("qvl: serve takes one model folder\n"), stderr);
        return QVL_EXIT_USAGE;
    }
    if (options->n_item == 1) {
        s.options.model = options->item[0].value;
        s.options.is_demo_model = false;
    }
    enum qvl_exit code = serve(&s);
    if (code != QVL_EXIT_OK && s.err.status)
        qvl_say_error(&s.err);
    qvl_server_close(s.server);
    qvl_engine_close(s.engine);
    free_secret_list(&s.keys);
    free_list(&s.host_names);
    free_list(&s.origins);
    free_list(&s.fetch_hosts);
    free(s.name);
    return code;
}

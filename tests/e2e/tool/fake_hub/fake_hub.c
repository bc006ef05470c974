/* A hub of models on this machine, for tests: the protocols of Hugging Face and of ModelScope, and all that can go
 * wrong.
 *
 *     fake_hub [OPTION…] ROOT         shows the files of ROOT/OWNER/NAME/…
 *       --lfs-bytes N     files of N bytes and more are LFS files, which another address has, the "CDN" (100000)
 *       --page N          entries in a page of Hugging Face's listing (1000)
 *       --token T         asks for it
 *       --xet             LFS files have the headers of Xet storage, too
 *       --fault k=v,…     a rule of faults.h, values percent-encoded
 *       --cert FILE --key FILE   speaks TLS
 *
 * Prints "hub URL" and "cdn URL", then answers until it is killed or its parent ends. At the hub's address:
 *
 *     /_fault?what=…&…  adds a rule      /_release  goes on with what stalls
 *     /_reset           no rules, no log (of what is under way, too), and the release
 *     /_log             a line for each request that is done, in order of ending:
 *                       WHO METHOD TARGET STATUS sent=BODY_BYTES range=… auth=… cookie=… host=… accept-encoding=…
 * agent=…
 *
 * As a proxy it answers for any host. The source of truth: what huggingface_hub 2.4 and modelscope 1.40 send and
 * expect; reference/hub runs both against it. As the real ones do: small files of Hugging Face are behind a
 * relative redirect, those of ModelScope have no ranges, and who has no token learns 401 of a repository that is
 * not there. */
#include <arpa/inet.h>
#include <ctype.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "faults.h"
#include "files.h"

enum { N_HEADER = 16, MODELSCOPE_MOST = 3000 /* entries of its listing; it cuts and says nothing */ };

static struct {
    uint64_t lfs_bytes;
    size_t n_page;
    const char *token;
    bool has_xet;
    char hub[64], cdn[64]; /* URLs without a path */
} settings = {.lfs_bytes = 100000, .n_page = 1000};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t released = PTHREAD_COND_INITIALIZER, ended = PTHREAD_COND_INITIALIZER;
static unsigned n_release, n_reset, n_ending; /* under the lock, as the log */
static char *log_text;
static size_t n_log;
static FILE *log_file;

struct body { /* of a reply: n bytes, from memory or from a file at `begin` */
    char *memory;
    int fd;
    uint64_t begin, n;
};

struct exchange {
    struct MHD_Connection *connection;
    bool is_cdn;
    char *target; /* as it came */
    const char *url, *method;
    struct faults faults;
    struct {
        const char *name;
        char value[2048];
    } header[N_HEADER];
    size_t n_header;
    unsigned status;
    struct body body;
    uint64_t n_sent;
    unsigned n_reset; /* when its head was read */
    bool is_ending;   /* all of it was handed to libmicrohttpd: its line is about to be written */
};

/* ---- replies -------------------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static void add_header(struct exchange *x, const char *name,
                                                             const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    x->header[x->n_header].name = name;
    vsnprintf(x->header[x->n_header].value, sizeof x->header->value, format, arguments);
    va_end(arguments);
    x->n_header++;
}

static void sleep_ms(long long ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static bool is_control(const struct exchange *x)
{
    return strncmp(x->target, "/_", 2) == 0;
}

/* Nothing is left to be asked for: the line of this exchange is waited for (wait_for_lines). */
static void begin_end(struct exchange *x)
{
    pthread_mutex_lock(&lock);
    if (!x->is_ending && !is_control(x)) {
        x->is_ending = true;
        n_ending++;
    }
    pthread_mutex_unlock(&lock);
}

static void wait_for_release(void)
{
    pthread_mutex_lock(&lock);
    for (unsigned was = n_release; was == n_release;)
        pthread_cond_wait(&released, &lock);
    pthread_mutex_unlock(&lock);
}

static ssize_t read_body(void *context, uint64_t at, char *out, size_t n_max)
{
    struct exchange *x = context;
    const struct faults *faults = &x->faults;
    uint64_t n = x->body.n - at;
    if (n == 0)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (n > n_max)
        n = n_max;
    if (faults->has[FAULT_cut]) {
        uint64_t until = (uint64_t)faults->n[FAULT_cut];
        if (at >= until)
            return MHD_CONTENT_READER_END_WITH_ERROR;
        n = n < until - at ? n : until - at;
    }
    if (faults->has[FAULT_stall]) {
        uint64_t until = (uint64_t)faults->n[FAULT_stall];
        if (at >= until) {
            wait_for_release();
            return MHD_CONTENT_READER_END_WITH_ERROR;
        }
        n = n < until - at ? n : until - at;
    }
    if (x->body.memory) {
        memcpy(out, x->body.memory + at, n);
    } else {
        ssize_t n_read = pread(x->body.fd, out, n, (off_t)(x->body.begin + at));
        if (n_read <= 0)
            memset(out, 0, n); /* behind its end: a body that is longer than the file */
        else
            n = (uint64_t)n_read;
        uint64_t wrong = (uint64_t)faults->n[FAULT_corrupt] - x->body.begin - at;
        if (faults->has[FAULT_corrupt] && wrong < n)
            out[wrong] ^= 1;
    }
    if (faults->has[FAULT_slow])
        sleep_ms((long long)n * 1000 / faults->n[FAULT_slow]);
    x->n_sent += n;
    if (x->n_sent == x->body.n)
        begin_end(x);
    return (ssize_t)n;
}

static void compress_body(struct exchange *x)
{
    struct body *body = &x->body;
    char *plain = body->memory;
    if (!plain) {
        plain = malloc(body->n + 1);
        if (pread(body->fd, plain, body->n, (off_t)body->begin) != (ssize_t)body->n)
            body->n = 0;
    }
    z_stream stream = {.next_in = (Bytef *)plain, .avail_in = (uInt)body->n};
    deflateInit2(&stream, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
    uLong n_bound = deflateBound(&stream, stream.avail_in);
    char *packed = malloc(n_bound);
    stream.next_out = (Bytef *)packed;
    stream.avail_out = (uInt)n_bound;
    deflate(&stream, Z_FINISH);
    body->n = stream.total_out;
    deflateEnd(&stream);
    free(plain);
    body->memory = packed;
    add_header(x, "Content-Encoding", "gzip");
}

static bool is_only_a_hubs(const char *header)
{
    return strncmp(header, "X-Repo", 6) == 0 || strncmp(header, "X-Linked", 8) == 0 ||
           strncmp(header, "X-Xet", 5) == 0 || strcmp(header, "ETag") == 0;
}

/* The reply: status, what add_header has, x->body. */
static enum MHD_Result finish(struct exchange *x, unsigned status)
{
    if (x->faults.has[FAULT_gzip])
        compress_body(x);
    x->status = status;
    uint64_t n = x->faults.has[FAULT_lengthless] ? MHD_SIZE_UNKNOWN : x->body.n;
    struct MHD_Response *response = MHD_create_response_from_callback(n, 1 << 16, read_body, x, NULL);
    for (size_t i = 0; i < x->n_header; i++) {
        char weak[2050];
        const char *value = x->header[i].value;
        if (x->faults.has[FAULT_bare] && is_only_a_hubs(x->header[i].name))
            continue;
        if (x->faults.has[FAULT_weak] && strcmp(x->header[i].name, "ETag") == 0) {
            snprintf(weak, sizeof weak, "W/%s", value);
            value = weak;
        }
        MHD_add_response_header(response, x->header[i].name, value);
    }
    if (x->body.n == 0 || strcmp(x->method, "HEAD") == 0)
        begin_end(x);
    enum MHD_Result result = MHD_queue_response(x->connection, status, response);
    MHD_destroy_response(response);
    return result;
}

/* Takes text, of n bytes, which malloc has made. */
static enum MHD_Result finish_with(struct exchange *x, unsigned status, const char *type, char *text, size_t n)
{
    add_header(x, "Content-Type", "%s", type);
    x->body.memory = text;
    x->body.n = n;
    return finish(x, status);
}

static enum MHD_Result finish_text(struct exchange *x, unsigned status, const char *type, const char *text)
{
    return finish_with(x, status, type, strdup(text), strlen(text));
}

static enum MHD_Result fail(struct exchange *x, unsigned status, const char *code, const char *message)
{
    char text[512];
    snprintf(text, sizeof text,
             "{\"error\":\"%s\",\"Code\":%u,\"Message\":\"%s\",\"RequestId\":\"fake\",\"Success\":false}", message,
             status, message);
    if (*code)
        add_header(x, "X-Error-Code", "%s", code);
    add_header(x, "X-Error-Message", "%s", message);
    return finish_text(x, status, "application/json; charset=utf-8", text);
}

static enum MHD_Result redirect(struct exchange *x, unsigned status, const char *to)
{
    add_header(x, "Location", "%s", to);
    return finish_text(x, status, "text/plain; charset=utf-8", "Found. Redirecting.");
}

/* Takes the faults of this request and does those that end it at once. True: it is answered, as *result says. */
static bool is_spoilt(struct exchange *x, const char *where, const char *path, enum MHD_Result *result)
{
    struct faults *faults = &x->faults;
    faults_take(faults, where, path, x->method);
    if (faults->has[FAULT_delay])
        sleep_ms(faults->n[FAULT_delay]);
    if (faults->has[FAULT_status]) {
        if (faults->after_s >= 0)
            add_header(x, "Retry-After", "%d", faults->after_s);
        *result =
            fail(x, (unsigned)faults->n[FAULT_status], faults->to[FAULT_status], "A fault that a test asked for");
    } else if (faults->has[FAULT_loop]) {
        *result = redirect(x, 302, x->target);
    } else if (faults->has[FAULT_redirect]) {
        long long n = faults->n[FAULT_redirect];
        *result = redirect(x, n ? (unsigned)n : 302, faults->to[FAULT_redirect]);
    } else if (faults->has[FAULT_body]) {
        const char *text = faults->to[FAULT_body];
        *result = finish_text(x, 200, *text == '<' ? "text/html" : "application/json; charset=utf-8", text);
    } else {
        return false;
    }
    return true;
}

/* ---- files ---------------------------------------------------------------------------------------- */

static const char *request_header(const struct exchange *x, const char *name)
{
    return MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, name);
}

/* The one range of the request inside n bytes: 1; none: 0; one that cannot be: -1. */
static int requested_range(const struct exchange *x, uint64_t n, uint64_t *begin, uint64_t *end)
{
    const char *range = request_header(x, "Range"), *as_was = request_header(x, "If-Range");
    *begin = 0;
    *end = n;
    if (as_was)
        for (size_t i = 0; i < x->n_header; i++)
            if (strcmp(x->header[i].name, "ETag") == 0 && strcmp(x->header[i].value, as_was) != 0)
                return 0;
    if (!range || strncmp(range, "bytes=", 6) != 0 || strchr(range, ','))
        return 0;
    range += 6;
    char *rest = (char *)range;
    if (*range == '-') {
        uint64_t n_last = strtoull(range + 1, NULL, 10);
        *begin = n_last < n ? n - n_last : 0;
        return n_last > 0 ? 1 : -1;
    }
    *begin = strtoull(range, &rest, 10);
    if (*rest == '-' && isdigit((unsigned char)rest[1])) {
        uint64_t last = strtoull(rest + 1, NULL, 10);
        *end = last < n ? last + 1 : n;
    }
    return *begin < *end ? 1 : -1;
}

static enum MHD_Result send_file(struct exchange *x, const struct file *file, bool has_ranges)
{
    uint64_t begin, end;
    int is_range = has_ranges ? requested_range(x, file->n_bytes, &begin, &end) : 0;
    if (is_range != 0 && x->faults.has[FAULT_unsatisfiable])
        is_range = -1;
    if (has_ranges)
        add_header(x, "Accept-Ranges", "bytes");
    if (is_range < 0) {
        add_header(x, "Content-Range", "bytes */%" PRIu64, file->n_bytes);
        return finish_text(x, 416, "text/plain", "");
    }
    if (is_range == 0 || x->faults.has[FAULT_full]) {
        is_range = 0;
        begin = 0;
        end = file->n_bytes;
    }
    if (is_range) {
        uint64_t off = (uint64_t)x->faults.n[FAULT_content_range];
        add_header(x, "Content-Range", "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, begin + off, end - 1 + off,
                   file->n_bytes);
    }
    add_header(x, "Content-Type", "application/octet-stream");
    x->body.fd = open(file->disk, O_RDONLY | O_CLOEXEC);
    x->body.begin = begin;
    x->body.n = end - begin + (uint64_t)x->faults.n[FAULT_size];
    return finish(x, is_range ? 206 : 200);
}

static void spoil_sum(const struct exchange *x, char *sum)
{
    if (x->faults.has[FAULT_sum])
        sum[0] = sum[0] == 'f' ? '0' : 'f';
}

static enum MHD_Result answer_cdn(struct exchange *x)
{
    enum MHD_Result result;
    const char *sum = x->url + strlen("/lfs/");
    const struct file *file = strncmp(x->url, "/lfs/", 5) == 0 ? file_by_sha256(sum) : NULL;
    if (is_spoilt(x, "cdn", file ? file->path : "", &result))
        return result;
    if (!file)
        return finish_text(x, 404, "application/xml", "<Error><Code>NoSuchKey</Code></Error>");
    add_header(x, "ETag", "\"%s\"", file->sha256);
    return send_file(x, file, true);
}

static enum MHD_Result redirect_to_cdn(struct exchange *x, const struct file *file)
{
    char to[512];
    snprintf(to, sizeof to, "%s/lfs/%s?response-content-disposition=inline&Expires=4102444800&Signature=a~b_c",
             settings.cdn, file->sha256);
    return redirect(x, 302, to);
}

/* ---- Hugging Face --------------------------------------------------------------------------------- */

static bool is_authorised(const struct exchange *x)
{
    const char *bearer = request_header(x, "Authorization");
    const char *session = MHD_lookup_connection_value(x->connection, MHD_COOKIE_KIND, "m_session_id");
    return !settings.token ||
           (bearer && strncmp(bearer, "Bearer ", 7) == 0 && strcmp(bearer + 7, settings.token) == 0) ||
           (session && strcmp(session, settings.token) == 0);
}

static bool is_revision(const struct repo *repo, const char *text, size_t n)
{
    return (n == 4 && memcmp(text, "main", 4) == 0) || (n == 6 && memcmp(text, "master", 6) == 0) ||
           (n == 40 && memcmp(text, repo->commit, 40) == 0);
}

/* OWNER/NAME at the beginning of text; *rest begins behind it, with '/' or the end. */
static const struct repo *repo_at(const char *text, const char **rest)
{
    const char *slash = strchr(text, '/');
    if (!slash)
        return NULL;
    size_t n = (size_t)(slash - text) + 1 + strcspn(slash + 1, "/");
    *rest = text + n;
    return repo_find(text, n);
}

static enum MHD_Result no_repo(struct exchange *x)
{
    return request_header(x, "Authorization") ? fail(x, 404, "RepoNotFound", "Repository not found")
                                              : fail(x, 401, "", "Invalid username or password.");
}

static enum MHD_Result answer_info(struct exchange *x, const struct repo *repo)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    fprintf(out,
            "{\"_id\":\"0\",\"id\":\"%s\",\"modelId\":\"%s\",\"sha\":\"%s\",\"private\":false,\"gated\":false,"
            "\"disabled\":false,"
            "\"tags\":[\"transformers\",\"safetensors\",\"qwen3_vl\"],\"downloads\":1,\"likes\":1,\"siblings\":[",
            repo->id, repo->id, repo->commit);
    for (size_t i = 0; i < repo->n_file; i++)
        fprintf(out, "%s{\"rfilename\":\"%s\"}", i ? "," : "", repo->file[i].path);
    fprintf(out, "]}");
    fclose(out);
    return finish_with(x, 200, "application/json; charset=utf-8", text, n);
}

/* A listing's entries: the repository's files, then what faults add. */
static size_t n_entry(const struct exchange *x, const struct repo *repo)
{
    return repo->n_file + x->faults.has[FAULT_name] +
           (x->faults.has[FAULT_many] ? (size_t)x->faults.n[FAULT_many] : 0);
}

/* Entry i as the listing tells it; *path is written into JSON as it is. */
static struct file entry_at(const struct exchange *x, const struct repo *repo, size_t i, char path[64])
{
    if (i < repo->n_file) {
        struct file file = repo->file[i];
        file.n_bytes += (uint64_t)x->faults.n[FAULT_size];
        spoil_sum(x, file.sha256);
        if (!file.is_lfs)
            spoil_sum(x, file.git_sha1);
        return file;
    }
    i -= repo->n_file;
    struct file file = {.n_bytes = 1,
                        .git_sha1 = "0123456789012345678901234567890123456789",
                        .sha256 = "0123456789012345678901234567890123456789012345678901234567890123"};
    if (x->faults.has[FAULT_name] && i == 0) {
        file.path = (char *)x->faults.to[FAULT_name];
        return file;
    }
    snprintf(path, 64, "more/file-%06zu.json", i);
    file.path = path;
    return file;
}

static void write_padding(const struct exchange *x, FILE *out)
{
    if (x->faults.has[FAULT_padding])
        fprintf(out, "%*s", (int)x->faults.n[FAULT_padding], "");
}

static enum MHD_Result answer_tree(struct exchange *x, const struct repo *repo)
{
    const char *cursor = MHD_lookup_connection_value(x->connection, MHD_GET_ARGUMENT_KIND, "cursor");
    const char *recursive = MHD_lookup_connection_value(x->connection, MHD_GET_ARGUMENT_KIND, "recursive");
    bool is_deep = recursive && strcasecmp(recursive, "true") == 0;
    size_t i = cursor ? strtoull(cursor, NULL, 10) : 0, n = n_entry(x, repo);
    size_t end = n - i > settings.n_page ? i + settings.n_page : n;
    if (end < n) {
        const char *host = request_header(x, "Host");
        add_header(x, "Link", "<%s://%s%s?recursive=%s&cursor=%zu>; rel=\"next\"",
                   strncmp(settings.hub, "https", 5) ? "http" : "https", host ? host : "", x->url,
                   is_deep ? "true" : "false", end);
    }
    char *text = NULL, more[64];
    size_t n_text = 0;
    FILE *out = open_memstream(&text, &n_text);
    fprintf(out, "[");
    write_padding(x, out);
    const char *folder = "";
    for (const char *comma = ""; i < end; i++) {
        struct file file = entry_at(x, repo, i, more);
        const char *slash = i < repo->n_file ? strchr(file.path, '/') : NULL;
        if (slash && (strncmp(file.path, folder, (size_t)(slash - file.path) + 1) != 0)) {
            folder = file.path;
            fprintf(out, "%s{\"type\":\"directory\",\"oid\":\"%040d\",\"size\":0,\"path\":\"%.*s\"}", comma, 0,
                    (int)(slash - file.path), file.path);
            comma = ",";
        }
        if (slash && !is_deep)
            continue;
        fprintf(out, "%s{\"type\":\"file\",\"oid\":\"%s\",\"size\":%" PRIu64, comma, file.git_sha1, file.n_bytes);
        if (file.is_lfs && !x->faults.has[FAULT_sumless])
            fprintf(out, ",\"lfs\":{\"oid\":\"%s\",\"size\":%" PRIu64 ",\"pointerSize\":%d}", file.sha256,
                    file.n_bytes, file.n_pointer);
        if (file.is_lfs && settings.has_xet)
            fprintf(out, ",\"xetHash\":\"%s\"", file.sha256);
        fprintf(out, ",\"path\":\"%s\"}", file.path);
        comma = ",";
    }
    fprintf(out, "]");
    fclose(out);
    return finish_with(x, 200, "application/json; charset=utf-8", text, n_text);
}

/* /OWNER/NAME/resolve/REVISION/PATH. is_cache: where a small file lies that its resolve URL has redirected to. */
static enum MHD_Result answer_resolve(struct exchange *x, const struct repo *repo, const char *path, bool is_cache)
{
    add_header(x, "X-Repo-Commit", "%s", repo->commit);
    const struct file *file = repo_file(repo, path);
    if (!file)
        return fail(x, 404, "EntryNotFound", "Entry not found");
    char sum[65];
    snprintf(sum, sizeof sum, "%s", file->is_lfs ? file->sha256 : file->git_sha1);
    spoil_sum(x, sum);
    if (!file->is_lfs && is_cache) {
        add_header(x, "ETag", "\"%s\"", sum);
        return send_file(x, file, true);
    }
    add_header(x, "X-Linked-Size", "%" PRIu64, file->n_bytes);
    add_header(x, "X-Linked-ETag", "\"%s\"", sum);
    if (!file->is_lfs) {
        char to[1024];
        snprintf(to, sizeof to, "/api/resolve-cache/models/%s/%s/%s?etag=%%22%s%%22", repo->id, repo->commit, path,
                 sum);
        return redirect(x, 307, to);
    }
    if (settings.has_xet) {
        add_header(x, "X-Xet-Hash", "%s", file->sha256);
        add_header(
            x, "Link",
            "<%s/api/models/%s/xet-read-token/%s>; rel=\"xet-auth\", <%s/xet/%s>; rel=\"xet-reconstruction-info\"",
            settings.hub, repo->id, repo->commit, settings.cdn, file->sha256);
    }
    return redirect_to_cdn(x, file);
}

static enum MHD_Result answer_hugging_face(struct exchange *x)
{
    static const char api[] = "/api/models/", cache[] = "/api/resolve-cache/models/";
    enum MHD_Result result;
    const char *rest = "", *url = x->url;
    bool is_api = strncmp(url, api, strlen(api)) == 0, is_cache = strncmp(url, cache, strlen(cache)) == 0;
    const struct repo *repo = repo_at(url + (is_api ? strlen(api) : is_cache ? strlen(cache) : 1), &rest);
    const char *verb = is_cache || !*rest ? "" : rest + 1;
    size_t n_verb = strcspn(verb, "/");
    bool is_tree = is_api && n_verb == 4 && memcmp(verb, "tree", 4) == 0;
    const char *revision = verb[n_verb] ? verb + n_verb + 1 : is_cache && *rest ? rest + 1 : "main";
    size_t n_revision = strcspn(revision, "/");
    const char *path = revision[n_revision] ? revision + n_revision + 1 : "";

    if (is_spoilt(x, is_tree ? "tree" : is_api ? "info" : "resolve", path, &result))
        return result;
    if (!repo || (!is_api && !is_cache && (n_verb != 7 || memcmp(verb, "resolve", 7) != 0)))
        return no_repo(x);
    if (!is_authorised(x))
        return fail(x, 401, "GatedRepo", "Access to this model is restricted.");
    if (!is_revision(repo, revision, n_revision))
        return fail(x, 404, "RevisionNotFound", "Invalid rev id");
    return is_tree ? answer_tree(x, repo) : is_api ? answer_info(x, repo) : answer_resolve(x, repo, path, is_cache);
}

/* ---- ModelScope ----------------------------------------------------------------------------------- */

static enum MHD_Result answer_files(struct exchange *x, const struct repo *repo)
{
    char *text = NULL, more[64];
    size_t n_text = 0, n = n_entry(x, repo);
    FILE *out = open_memstream(&text, &n_text);
    fprintf(out, "{\"Code\":200,\"Data\":{\"Files\":[");
    write_padding(x, out);
    const char *folder = "", *comma = "";
    for (size_t i = 0; i < n && i < MODELSCOPE_MOST; i++) {
        struct file file = entry_at(x, repo, i, more);
        const char *slash = i < repo->n_file ? strchr(file.path, '/') : NULL;
        if (slash && (strncmp(file.path, folder, (size_t)(slash - file.path) + 1) != 0)) {
            folder = file.path;
            fprintf(out, "%s{\"Name\":\"%.*s\",\"Path\":\"%.*s\",\"Type\":\"tree\",\"Size\":0,\"Sha256\":\"\"}",
                    comma, (int)(slash - file.path), file.path, (int)(slash - file.path), file.path);
            comma = ",";
        }
        const char *name = strrchr(file.path, '/') ? strrchr(file.path, '/') + 1 : file.path;
        fprintf(
            out,
            "%s{\"CommitMessage\":\"System "
            "init\",\"CommittedDate\":1760000000,\"CommitterName\":\"a\",\"Id\":\"%s\",\"InCheck\":false,"
            "\"IsLFS\":%s,\"Mode\":\"33188\",\"Name\":\"%s\",\"Path\":\"%s\",\"Revision\":\"%s\",\"Sha256\":\"%s\","
            "\"Size\":%" PRIu64 ",\"Tag\":\"\",\"Type\":\"blob\"}",
            comma, file.git_sha1, file.is_lfs ? "true" : "false", name, file.path, repo->commit,
            x->faults.has[FAULT_sumless] ? "" : file.sha256, file.n_bytes);
        comma = ",";
    }
    fprintf(out, "]},\"Message\":\"success\",\"RequestId\":\"fake\",\"Success\":true}");
    fclose(out);
    return finish_with(x, 200, "application/json; charset=utf-8", text, n_text);
}

static enum MHD_Result answer_file(struct exchange *x, const struct repo *repo, const char *path)
{
    const struct file *file = repo_file(repo, path);
    if (!file)
        return fail(x, 404, "", "the file does not exist");
    if (file->is_lfs)
        return redirect_to_cdn(x, file);
    add_header(x, "ETag", "\"%s\"", file->git_sha1);
    return send_file(x, file, false);
}

static enum MHD_Result answer_modelscope(struct exchange *x, const char *id)
{
    enum MHD_Result result;
    const char *rest = "";
    const struct repo *repo = repo_at(id, &rest);
    bool is_resolve = strncmp(rest, "/resolve/", 9) == 0, is_files = strcmp(rest, "/repo/files") == 0;
    const char *path = MHD_lookup_connection_value(x->connection, MHD_GET_ARGUMENT_KIND, "FilePath");
    const char *revision = MHD_lookup_connection_value(x->connection, MHD_GET_ARGUMENT_KIND, "Revision");
    size_t n_revision = revision ? strlen(revision) : 0;
    if (is_resolve) {
        revision = rest + 9;
        n_revision = strcspn(revision, "/");
        path = revision[n_revision] ? revision + n_revision + 1 : "";
    }
    if (is_spoilt(x, is_files ? "files" : path ? "file" : "info", path ? path : "", &result))
        return result;
    if (!repo)
        return fail(x, 404, "", "the repository does not exist");
    if (!is_authorised(x))
        return fail(x, 401, "", "Unauthorized");
    if (revision && !is_revision(repo, revision, n_revision))
        return fail(x, 404, "", "the revision does not exist");
    if (is_files)
        return answer_files(x, repo);
    if (path)
        return answer_file(x, repo, path);
    if (strcmp(rest, "/revisions") == 0)
        return finish_text(
            x, 200, "application/json",
            "{\"Code\":200,\"Data\":{\"RevisionMap\":{\"Branches\":[{\"Revision\":\"master\"}],\"Tags\":[]}},"
            "\"Message\":\"success\",\"Success\":true}");
    char text[512];
    snprintf(text, sizeof text,
             "{\"Code\":200,\"Data\":{\"Id\":1,\"Path\":\"%.*s\",\"Name\":\"%s\",\"Revision\":\"master\"},"
             "\"Success\":true}",
             (int)strcspn(repo->id, "/"), repo->id, strchr(repo->id, '/') + 1);
    return finish_text(x, 200, "application/json", text);
}

/* ---- requests ------------------------------------------------------------------------------------- */

static enum MHD_Result set_rule(void *context, enum MHD_ValueKind kind, const char *key, const char *value)
{
    (void)kind;
    return rule_set(context, key, value ? value : "") ? MHD_YES : MHD_NO;
}

static void release(bool and_forget)
{
    pthread_mutex_lock(&lock);
    n_release++;
    pthread_cond_broadcast(&released);
    if (and_forget) {
        n_reset++;
        rewind(log_file);
    }
    pthread_mutex_unlock(&lock);
}

/* A client may ask before the thread that has sent it all has written its line. Under the lock. */
static void wait_for_lines(void)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10; /* who does not take the end of a reply is not waited for */
    while (n_ending > 0 && pthread_cond_timedwait(&ended, &lock, &until) == 0)
        continue;
}

static enum MHD_Result answer_control(struct exchange *x)
{
    const char *what = x->url + 2;
    if (strcmp(what, "log") == 0) {
        pthread_mutex_lock(&lock);
        wait_for_lines();
        fflush(log_file);
        size_t n = n_log;
        char *text = malloc(n + 1);
        memcpy(text, log_text, n);
        pthread_mutex_unlock(&lock);
        return finish_with(x, 200, "text/plain", text, n);
    }
    if (strcmp(what, "fault") == 0) {
        struct rule *rule = rule_new();
        int n = MHD_get_connection_values(x->connection, MHD_GET_ARGUMENT_KIND, NULL, NULL);
        int n_good = MHD_get_connection_values(x->connection, MHD_GET_ARGUMENT_KIND, set_rule, rule);
        bool is_good = n == n_good && rule_add(rule);
        return is_good ? finish_text(x, 200, "text/plain", "")
                       : finish_text(x, 400, "text/plain", "no such fault\n");
    }
    if (strcmp(what, "reset") == 0)
        rules_clear();
    release(strcmp(what, "reset") == 0);
    return finish_text(x, 200, "text/plain", "");
}

static enum MHD_Result answer_hub(struct exchange *x)
{
    static const char modelscope[] = "/api/v1/models/", page[] = "/models/";
    enum MHD_Result result;
    if (strncmp(x->url, "/_", 2) == 0)
        return answer_control(x);
    if (strncmp(x->url, "/lfs/", 5) == 0) /* asked as a proxy */
        return answer_cdn(x);
    if (strncmp(x->url, modelscope, strlen(modelscope)) == 0)
        return answer_modelscope(x, x->url + strlen(modelscope));
    if (strncmp(x->url, page, strlen(page)) == 0)
        return answer_modelscope(x, x->url + strlen(page));
    if (strcmp(x->url, "/api/v1/repos/internalAccelerationInfo") == 0)
        return finish_text(x, 200, "application/json",
                           "{\"Code\":200,\"Data\":{\"InternalRegionQueryAddress\":\"\"}}");
    if (strcmp(x->url, "/") == 0)
        return is_spoilt(x, "root", "", &result) ? result : finish_text(x, 200, "text/html", "<html></html>");
    return answer_hugging_face(x);
}

static enum MHD_Result answer(void *is_cdn, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *upload, size_t *n_upload, void **context)
{
    (void)version, (void)upload;
    *n_upload = 0;
    struct exchange *x = *context;
    if (strncmp(url, "http://", 7) == 0) { /* to a proxy */
        const char *slash = strchr(url + 7, '/');
        url = slash ? slash : "/";
    }
    if (!x->connection) { /* the head is read; asked again, the connection stays for the next request */
        x->connection = connection;
        pthread_mutex_lock(&lock);
        x->n_reset = n_reset;
        pthread_mutex_unlock(&lock);
        return MHD_YES;
    }
    x->is_cdn = is_cdn != NULL;
    x->url = url;
    x->method = method;
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return finish_text(x, 405, "text/plain", "");
    return is_cdn ? answer_cdn(x) : answer_hub(x);
}

static void *begin_exchange(void *context, const char *target, struct MHD_Connection *connection)
{
    (void)context, (void)connection;
    struct exchange *x = calloc(1, sizeof *x);
    x->target = strdup(target);
    x->body.fd = -1;
    return x;
}

/* Of an exchange that is done, under the lock. */
static void write_line(struct exchange *x)
{
    static const char *const wanted[][2] = {{"range", "Range"},
                                            {"auth", "Authorization"},
                                            {"cookie", "Cookie"},
                                            {"host", "Host"},
                                            {"accept-encoding", "Accept-Encoding"},
                                            {"agent", "User-Agent"}};
    fprintf(log_file, "%s %s %s %u sent=%" PRIu64, x->is_cdn ? "cdn" : "hub", x->method, x->target, x->status,
            x->n_sent);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        const char *value = request_header(x, wanted[i][1]);
        fprintf(log_file, " %s=%s", wanted[i][0], value ? value : "-");
    }
    fprintf(log_file, "\n");
}

static void end_exchange(void *context, struct MHD_Connection *connection, void **of_request,
                         enum MHD_RequestTerminationCode how)
{
    (void)context, (void)connection, (void)how;
    struct exchange *x = *of_request;
    pthread_mutex_lock(&lock);
    if (x->connection && !is_control(x) &&
        x->n_reset == n_reset) /* what was begun before a reset is forgotten, too */
        write_line(x);
    n_ending -= x->is_ending;
    pthread_cond_broadcast(&ended);
    pthread_mutex_unlock(&lock);
    if (x->body.fd >= 0)
        close(x->body.fd);
    free(x->body.memory);
    free(x->target);
    free(x);
}

/* ---- start ---------------------------------------------------------------------------------------- */

static void read_rule(char *text)
{
    struct rule *rule = rule_new();
    bool is_good = true;
    for (char *field; (field = strsep(&text, ","));) {
        char *value = strchr(field, '=');
        is_good = is_good && value;
        if (value) {
            *value++ = 0;
            MHD_http_unescape(value);
            is_good = is_good && rule_set(rule, field, value);
        }
    }
    if (!is_good || !rule_add(rule)) {
        fprintf(stderr, "fake_hub: --fault is what=NAME,… as in faults.h\n");
        exit(2);
    }
}

static char *read_text(const char *path)
{
    char *text = calloc(1, 1 << 16);
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!file || fread(text, 1, (1 << 16) - 1, file) == 0) {
        perror(path);
        exit(2);
    }
    fclose(file);
    return text;
}

/* Listens on a free port of the loopback; its URL. */
static void listen_as(char url[64], void *is_cdn, const char *certificate, const char *key)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct MHD_OptionItem tls[] = {{MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)certificate},
                                   {MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)key},
                                   {MHD_OPTION_END, 0, NULL}};
    unsigned flags =
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | (certificate ? MHD_USE_TLS : 0u);
    struct MHD_Daemon *daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, answer, is_cdn, MHD_OPTION_SOCK_ADDR, &address, MHD_OPTION_URI_LOG_CALLBACK,
        begin_exchange, NULL, MHD_OPTION_NOTIFY_COMPLETED, end_exchange, NULL, MHD_OPTION_CONNECTION_LIMIT, 512u,
        certificate ? MHD_OPTION_ARRAY : MHD_OPTION_END, tls, MHD_OPTION_END);
    const union MHD_DaemonInfo *info = daemon ? MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT) : NULL;
    if (!info) {
        fprintf(stderr, "fake_hub: cannot listen\n");
        exit(2);
    }
    snprintf(url, 64, "%s://127.0.0.1:%u", certificate ? "https" : "http", (unsigned)info->port);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"lfs-bytes", 1, NULL, 'l'}, {"page", 1, NULL, 'p'}, {"token", 1, NULL, 't'}, {"xet", 0, NULL, 'x'},
        {"fault", 1, NULL, 'f'},     {"cert", 1, NULL, 'c'}, {"key", 1, NULL, 'k'},   {NULL, 0, NULL, 0}};
    const char *certificate = NULL, *key = NULL;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 'l': settings.lfs_bytes = strtoull(optarg, NULL, 10); break;
        case 'p': settings.n_page = strtoull(optarg, NULL, 10); break;
        case 't': settings.token = optarg; break;
        case 'x': settings.has_xet = true; break;
        case 'f': read_rule(optarg); break;
        case 'c': certificate = read_text(optarg); break;
        case 'k': key = read_text(optarg); break;
        default: return 2;
        }
    }
    if (optind + 1 != argc || settings.n_page == 0 || !certificate != !key) {
        fprintf(stderr, "usage: fake_hub [--lfs-bytes N] [--page N] [--token T] [--xet] [--fault what=NAME,…] "
                        "[--cert FILE --key FILE] ROOT\n");
#define X(name, does) fprintf(stderr, "  %-14s %s\n", #name, does);
        FAULT_LIST(X)
#undef X
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    repos_scan(argv[optind], settings.lfs_bytes);
    log_file = open_memstream(&log_text, &n_log);
    listen_as(settings.cdn, &settings, certificate, key);
    listen_as(settings.hub, NULL, certificate, key);
    printf("hub %s\ncdn %s\n", settings.hub, settings.cdn);
    fflush(stdout);
    for (;;)
        pause();
}

/* Whole pulls, against a server that speaks both protocols and does what a test wants; into real caches. */
#include "hub/hub.h"

#include <fcntl.h>
#include <nettle/sha1.h>
#include <nettle/sha2.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/os.h"
#include "cache_folder.h"
#include "script_server.h"

#define COMMIT "0123456789abcdef0123456789abcdef01234567"
#define SNAPSHOT ".cache/huggingface/hub/models--acme--tiny/snapshots/" COMMIT
#define BLOBS ".cache/huggingface/hub/models--acme--tiny/blobs/"
enum { N_LARGE = 70 << 20, N_FILE = 3 };

static const char config[] = "{\"model_type\": \"qwen3_vl\"}\n", tokenizer[] = "{\"x\": 1}\n";

struct file {
    const char *path, *data;
    size_t n;
    char sha256[65], sha1[41];
};

struct fixture {
    struct script_server server;
    struct file file[N_FILE];
    char *large;
    atomic_uint n_file_request, n_with_token;
    atomic_ullong n_sent; /* bytes of files that were asked for */
    /* what goes wrong */
    bool no_ranges, is_hf_silent, is_hf_busy, is_hf_down, is_ms_down, want_token, is_paged, is_wrong;
    unsigned long long cut; /* bytes of the large file after which a connection breaks; 0: none */
    uint64_t claimed;       /* size of the large file in the listing; 0: its own */
};

static struct fixture *shared;

/* ---- the hub ------------------------------------------------------------------------------------- */

static void to_hex(const uint8_t *digest, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

static void add_sums(struct file *file)
{
    uint8_t digest[32];
    struct sha256_ctx sha256;
    struct sha1_ctx sha1;
    char head[40];
    sha256_init(&sha256);
    sha256_update(&sha256, file->n, (const uint8_t *)file->data);
    sha256_digest(&sha256, 32, digest);
    to_hex(digest, 32, file->sha256);
    sha1_init(&sha1);
    int n = snprintf(head, sizeof head, "blob %zu", file->n);
    sha1_update(&sha1, (size_t)n + 1, (const uint8_t *)head);
    sha1_update(&sha1, file->n, (const uint8_t *)file->data);
    sha1_digest(&sha1, 20, digest);
    to_hex(digest, 20, file->sha1);
}

static void say_json(int fd, const char *headers, const char *json)
{
    script_say(fd, "HTTP/1.1 200 OK\r\n%sContent-Length: %zu\r\nConnection: close\r\n\r\n%s", headers, strlen(json),
               json);
}

static void list_hf(const struct fixture *f, const struct script_request *r, int fd)
{
    const struct file *x = f->file;
    char json[2048], link[256] = "";
    uint64_t n_large = f->claimed ? f->claimed : x[2].n;
    bool is_second = strstr(r->path, "cursor=2"), want_first = !f->is_paged || !is_second;
    bool want_second = !f->is_paged || is_second;
    if (f->is_paged && !is_second) /* as a mirror: the address of the hub behind it */
        snprintf(link, sizeof link, "Link: <https://hub.invalid/x?recursive=true&cursor=2>; rel=\"next\"\r\n");
    char first[512], second[512];
    snprintf(first, sizeof first,
             "{\"type\":\"file\",\"path\":\"config.json\",\"size\":%zu,\"oid\":\"%s\"},"
             "{\"type\":\"file\",\"path\":\"pytorch_model.bin\",\"size\":9,\"oid\":\"%s\"}",
             x[0].n, x[0].sha1, x[0].sha1);
    snprintf(
        second, sizeof second,
        "{\"type\":\"file\",\"path\":\"tokenizer.json\",\"size\":%zu,\"oid\":\"%s\"},"
        "{\"type\":\"file\",\"path\":\"model.safetensors\",\"size\":%llu,\"oid\":\"%s\",\"lfs\":{\"oid\":\"%s\","
        "\"size\":%llu,\"pointerSize\":135}}",
        x[1].n, x[1].sha1, (unsigned long long)n_large, x[2].sha1, x[2].sha256, (unsigned long long)n_large);
    snprintf(json, sizeof json, "[%s%s%s]", want_first ? first : "", want_first && want_second ? "," : "",
             want_second ? second : "");
    say_json(fd, link, json);
}

static void list_modelscope(const struct fixture *f, int fd)
{
    const struct file *x = f->file;
    char json[2048];
    snprintf(
        json, sizeof json,
        "{\"Code\":200,\"Data\":{\"Files\":[{\"Type\":\"blob\",\"Path\":\"config.json\",\"Size\":%zu,\"Sha256\":\"%"
        "s\"},"
        "{\"Type\":\"blob\",\"Path\":\"tokenizer.json\",\"Size\":%zu,\"Sha256\":\"\"},"
        "{\"Type\":\"blob\",\"Path\":\"model.safetensors\",\"Size\":%zu,\"Sha256\":\"%s\"}]},\"Success\":true}",
        x[0].n, x[0].sha256, x[1].n, x[2].n, x[2].sha256);
    say_json(fd, "", json);
}

static void send_file(struct fixture *f, const struct script_request *r, const char *path, int fd)
{
    for (size_t i = 0; i < N_FILE; i++) {
        const struct file *file = &f->file[i];
        struct script_request as = *r;
        if (strcmp(path, file->path) != 0)
            continue;
        f->n_file_request++;
        as.has_range = r->has_range && !f->no_ranges;
        uint64_t n = as.has_range ? as.last + 1 - as.first : file->n, first = as.has_range ? as.first : 0;
        if (i == 2 && f->cut && n > f->cut) { /* head for all, body for some */
            f->n_sent += f->cut;
            script_say(fd, "HTTP/1.1 %s\r\nContent-Length: %llu\r\n", as.has_range ? "206 P" : "200 OK",
                       (unsigned long long)n);
            if (as.has_range)
                script_say(fd, "Content-Range: bytes %llu-%llu/%zu\r\n", (unsigned long long)first,
                           (unsigned long long)(first + n - 1), file->n);
            script_say(fd, "\r\n");
            script_send(fd, file->data + first, f->cut);
            return;
        }
        f->n_sent += n;
        if (i == 2 && f->is_wrong) {
            char *zeros = calloc(1, file->n);
            script_serve(fd, &as, zeros, file->n);
            free(zeros);
        } else {
            script_serve(fd, &as, file->data, file->n);
        }
        return;
    }
    script_say(fd, "HTTP/1.1 404 No\r\nX-Error-Code: EntryNotFound\r\nContent-Length: 0\r\n\r\n");
}

static void answer(void *user, const struct script_request *r, int fd)
{
    struct fixture *f = user;
    static const char tree[] = "/api/models/acme/tiny/tree/" COMMIT "?",
                      list[] = "/api/v1/models/acme/tiny/repo/files?";
    static const char hf_file[] = "/acme/tiny/resolve/" COMMIT "/";
    static const char ms_file[] = "/api/v1/models/acme/tiny/repo?Revision=master&FilePath=";
    bool is_ms = strncmp(r->path, "/api/v1/", 8) == 0,
         has_token = script_has_line(r, "Authorization: Bearer hf_secret");
    f->n_with_token += has_token;
    if (is_ms ? f->is_ms_down : f->is_hf_down)
        return;
    char c;
    while (!is_ms && f->is_hf_silent && recv(fd, &c, 1, 0) > 0)
        ;
    if (f->is_hf_busy) {
        f->is_hf_busy = false;
        script_say(fd, "HTTP/1.1 429 Later\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n");
        return;
    }
    if (f->want_token && !has_token)
        script_say(fd, "HTTP/1.1 401 No\r\nX-Error-Code: GatedRepo\r\nContent-Length: 0\r\n\r\n");
    else if (strcmp(r->path, "/api/models/acme/tiny/revision/main") == 0)
        say_json(fd, "", "{\"id\":\"acme/tiny\",\"sha\":\"" COMMIT "\"}");
    else if (strncmp(r->path, tree, sizeof tree - 1) == 0 && strstr(r->path, "recursive=true"))
        list_hf(f, r, fd);
    else if (strncmp(r->path, list, sizeof list - 1) == 0 && strstr(r->path, "Revision=master"))
        list_modelscope(f, fd);
    else if (strncmp(r->path, hf_file, sizeof hf_file - 1) == 0)
        send_file(f, r, r->path + sizeof hf_file - 1, fd);
    else if (strncmp(r->path, ms_file, sizeof ms_file - 1) == 0)
        send_file(f, r, r->path + sizeof ms_file - 1, fd);
    else
        script_say(fd, "HTTP/1.1 404 No\r\nX-Error-Code: RevisionNotFound\r\nContent-Length: 0\r\n\r\n");
}

/* ---- fixture ------------------------------------------------------------------------------------- */

static int open_hub(void **state)
{
    struct fixture *f = shared;
    uint32_t x = 1;
    if (cache_folder_open(state))
        return -1;
    char *large = f->large;
    struct file keep[N_FILE];
    memcpy(keep, f->file, sizeof keep);
    memset(f, 0, sizeof *f);
    f->large = large;
    memcpy(f->file, keep, sizeof keep);
    if (!f->large) { /* once: sums of it take a while */
        f->large = malloc(N_LARGE);
        if (!f->large)
            return -1;
        for (size_t i = 0; i < N_LARGE; i++) {
            x = x * 1664525u + 1013904223u;
            f->large[i] = (char)(x >> 24);
        }
        f->file[0] = (struct file){.path = "config.json", .data = config, .n = sizeof config - 1};
        f->file[1] = (struct file){.path = "tokenizer.json", .data = tokenizer, .n = sizeof tokenizer - 1};
        f->file[2] = (struct file){.path = "model.safetensors", .data = f->large, .n = N_LARGE};
        for (size_t i = 0; i < N_FILE; i++)
            add_sums(&f->file[i]);
    }
    f->server.answer = answer;
    f->server.user = f;
    script_server_start(&f->server);
    setenv("HF_ENDPOINT", f->server.url, 1);
    setenv("MODELSCOPE_ENDPOINT", f->server.other_url, 1);
    setenv("no_proxy", "*", 1);
    return 0;
}

static int close_hub(void **state)
{
    script_server_stop(&shared->server);
    return cache_folder_close(state);
}

struct outcome {
    enum qvl_status status;
    struct qvl_error err;
    struct qvl_hub_info info;
    char endpoint[256], notes[4096];
    bool was_checking;
};

/* Until it is done, fails, or has so many bytes. */
static struct outcome pull_until(const char *name, const struct qvl_hub_options *like, uint64_t n_stop)
{
    struct outcome o = {0};
    struct qvl_hub_options options = *like;
    struct qvl_hub_pull *pull = NULL;
    bool is_done = false;
    assert_int_equal(qvl_hub_ref_parse(name, &options.ref, &o.err), QVL_OK);
    options.back_off_ms = 1;
    o.status = qvl_hub_pull_open(&options, &pull, &o.err);
    while (!o.status && !is_done) {
        o.status = qvl_hub_pull_next(pull, &is_done, &o.err);
        qvl_hub_pull_get_info(pull, &o.info);
        assert_true(o.info.n_done <= o.info.n_bytes);
        o.was_checking = o.was_checking || o.info.stage == QVL_HUB_CHECKING;
        size_t n = strlen(o.notes);
        if (o.info.note[0] && n < 3000)
            snprintf(o.notes + n, sizeof o.notes - n, "%s\n", o.info.note);
        if (o.info.n_done >= n_stop && n_stop)
            break;
    }
    if (pull) {
        snprintf(o.endpoint, sizeof o.endpoint, "%s", o.info.endpoint ? o.info.endpoint : "");
        o.info.endpoint = o.info.note = NULL;
    }
    qvl_hub_pull_close(pull);
    assert_true(!o.status || o.err.text[0]);
    assert_null(strstr(o.err.text, "secret"));
    return o;
}

static struct outcome pull(const char *name)
{
    return pull_until(name, &(struct qvl_hub_options){0}, 0);
}

static void assert_same_file(const char *inside, const char *data, size_t n)
{
    struct qvl_bytes bytes = {0};
    struct qvl_error err = {0};
    assert_int_equal(qvl_os_read_file(cache_path(inside), N_LARGE + 1, &bytes, &err), QVL_OK);
    assert_int_equal(bytes.n, n);
    assert_memory_equal(bytes.data, data, n);
    qvl_bytes_free(&bytes);
}

static void assert_whole_hf(void)
{
    cache_assert_text(SNAPSHOT "/config.json", config);
    cache_assert_text(SNAPSHOT "/tokenizer.json", tokenizer);
    assert_same_file(SNAPSHOT "/model.safetensors", shared->large, N_LARGE);
    assert_false(cache_has(SNAPSHOT "/pytorch_model.bin"));
    cache_assert_text(".cache/huggingface/hub/models--acme--tiny/refs/main", COMMIT);
}

/* ---- tests --------------------------------------------------------------------------------------- */

static void test_hf(void **state)
{
    (void)state;
    setenv("HF_TOKEN", "hf_secret", 1);
    shared->want_token = shared->is_paged = true;
    struct outcome o = pull("hf:acme/tiny");
    assert_int_equal(o.status, QVL_OK);
    assert_whole_hf();
    assert_string_equal(o.info.path, cache_path(SNAPSHOT));
    assert_string_equal(o.info.commit, COMMIT);
    assert_string_equal(o.endpoint, shared->server.url);
    assert_int_equal(o.info.source, QVL_HUB_HF);
    assert_int_equal(o.info.n_file, 3);
    assert_int_equal(o.info.n_file_done, 3);
    assert_true(o.info.n_had == 0 && o.info.n_done == o.info.n_bytes);
    assert_true(o.info.n_bytes == N_LARGE + sizeof config - 1 + sizeof tokenizer - 1);
    assert_int_equal(shared->n_file_request, 2 + 3); /* the large one has three pieces */
    /* again: nothing is fetched */
    o = pull("acme/tiny");
    assert_int_equal(o.status, QVL_OK);
    assert_true(o.info.n_had == o.info.n_bytes);
    assert_int_equal(shared->n_file_request, 2 + 3);
}

static void test_modelscope(void **state)
{
    (void)state;
    shared->no_ranges = true;
    struct outcome o = pull("ms:acme/tiny");
    assert_int_equal(o.status, QVL_OK);
    assert_int_equal(o.info.source, QVL_HUB_MODELSCOPE);
    assert_string_equal(o.endpoint, shared->server.other_url);
    struct qvl_bytes bytes = {0};
    char path[4200];
    snprintf(path, sizeof path, "%s/model.safetensors", o.info.path);
    assert_int_equal(qvl_os_read_file(path, N_LARGE, &bytes, &o.err), QVL_OK);
    assert_true(bytes.n == N_LARGE && memcmp(bytes.data, shared->large, N_LARGE) == 0);
    qvl_bytes_free(&bytes);
    /* where the model is already wins: no second copy */
    unsigned before = shared->n_file_request;
    o = pull("acme/tiny");
    assert_int_equal(o.status, QVL_OK);
    assert_int_equal(o.info.source, QVL_HUB_MODELSCOPE);
    assert_int_equal(shared->n_file_request, before);
    assert_false(cache_has(SNAPSHOT));
}

static void test_race(void **state)
{
    (void)state;
    shared->is_hf_silent = true;
    struct outcome o = pull("acme/tiny");
    assert_int_equal(o.status, QVL_OK);
    assert_int_equal(o.info.source, QVL_HUB_MODELSCOPE);
}

static void test_goes_on(void **state)
{
    (void)state;
    uint64_t half = N_LARGE / 2;
    struct outcome o = pull_until("hf:acme/tiny", &(struct qvl_hub_options){0}, half);
    assert_true(o.info.n_done >= half);
    assert_false(cache_has(SNAPSHOT "/model.safetensors"));
    uint64_t n_done = o.info.n_done;
    o = pull("hf:acme/tiny");
    assert_int_equal(o.status, QVL_OK);
    assert_true(o.info.n_had >= n_done && o.info.n_had <= o.info.n_bytes);
    assert_whole_hf();
}

/* What was begun from one source is not begun again from another one that happens to answer first. */
static void goes_on_from(void **state, const char *name, enum qvl_hub_source source)
{
    enum { PREFER_MS = 3000 }; /* so long it waits for that one */
    struct outcome o = {0};
    uint64_t n_done = 0;
    for (int i = 0; i < 10; i++) {
        o = pull_until(name, &(struct qvl_hub_options){0}, N_LARGE / 2);
        n_done = o.info.n_done;
        double begin_ms = qvl_now_ms();
        o = pull("acme/tiny");
        if (o.info.source == source || qvl_now_ms() - begin_ms < PREFER_MS)
            break;
        close_hub(state); /* the machine may have stood still for as long: from the beginning */
        assert_int_equal(open_hub(state), 0);
    }
    assert_int_equal(o.status, QVL_OK);
    assert_int_equal(o.info.source, source);
    assert_true(o.info.n_had >= n_done);
}

static void test_goes_on_at_hf(void **state)
{
    goes_on_from(state, "hf:acme/tiny", QVL_HUB_HF);
}

static void test_goes_on_at_modelscope(void **state)
{
    goes_on_from(state, "ms:acme/tiny", QVL_HUB_MODELSCOPE);
}

/* The line breaks every 3 MiB, so each piece takes many tries; none is counted against it, as bytes come. */
static void test_breaks(void **state)
{
    (void)state;
    shared->cut = 3 << 20;
    struct outcome o = pull("hf:acme/tiny");
    assert_int_equal(o.status, QVL_OK);
    assert_true(shared->n_sent == o.info.n_bytes); /* each byte once */
    assert_whole_hf();
}

/* kill -9, again and again, at no chosen moment. */
static void test_killed(void **state)
{
    (void)state;
    uint64_t n_before = 0;
    for (unsigned i = 0; i < 8; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            struct qvl_hub_options options = {.n_connection = 2};
            pull_until("hf:acme/tiny", &options, 0);
            _exit(0);
        }
        usleep(20000 + 30000 * (i % 4));
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, NULL, 0), child);
    }
    struct outcome o = pull("hf:acme/tiny");
    assert_int_equal(o.status, QVL_OK);
    assert_true(o.info.n_had >= n_before);
    assert_whole_hf();
    /* nothing of ours is left */
    assert_false(cache_has(".cache/huggingface/hub/models--acme--tiny/.qvl-part"));
}

static void test_wrong_sum(void **state)
{
    (void)state;
    shared->is_wrong = true;
    struct outcome o = pull("hf:acme/tiny");
    assert_int_equal(o.status, QVL_ERR_FILE);
    assert_non_null(strstr(o.err.text, "model.safetensors"));
    assert_non_null(strstr(o.err.text, shared->file[2].sha256));
    assert_int_equal(shared->n_file_request, 2 + 3 + 3); /* once more, and no more */
    assert_false(o.info.is_network);
    assert_false(cache_has(SNAPSHOT "/model.safetensors"));
    assert_false(cache_has(".cache/huggingface/hub/models--acme--tiny/refs/main"));
    /* and the wrong bytes are not gone on from */
    shared->is_wrong = false;
    o = pull("hf:acme/tiny");
    assert_int_equal(o.status, QVL_OK);
    assert_true(o.info.n_had < N_LARGE / 2);
    assert_whole_hf();
}

/* The disk has lost bytes that were counted, as after a power failure. */
static void test_damaged_part(void **state)
{
    (void)state;
    char inside[256];
    pull_until("hf:acme/tiny", &(struct qvl_hub_options){.n_connection = 1}, 40 << 20);
    snprintf(inside, sizeof inside, BLOBS "%s.qvl-part", shared->file[2].sha256);
    int fd = open(cache_path(inside), O_WRONLY);
    assert_true(fd >= 0 && pwrite(fd, "damage", 6, 12345) == 6);
    close(fd);
    struct outcome o = pull("hf:acme/tiny");
    assert_int_equal(o.status, QVL_OK);
    assert_non_null(strstr(o.notes, "fetched anew"));
    assert_whole_hf();
}

static void test_check_all(void **state)
{
    (void)state;
    char inside[256];
    assert_int_equal(pull("hf:acme/tiny").status, QVL_OK);
    snprintf(inside, sizeof inside, BLOBS "%s", shared->file[2].sha256);
    int fd = open(cache_path(inside), O_WRONLY);
    assert_true(fd >= 0 && pwrite(fd, "damage", 6, 12345) == 6);
    close(fd);
    unsigned before = shared->n_file_request;
    struct outcome o = pull("hf:acme/tiny");
    assert_true(!o.status && shared->n_file_request == before); /* sizes and names alone do not show it */
    o = pull_until("hf:acme/tiny", &(struct qvl_hub_options){.check_all = true}, 0);
    assert_int_equal(o.status, QVL_OK);
    assert_true(o.was_checking);
    assert_int_equal(shared->n_file_request, before + 3);
    assert_whole_hf();
}

static void test_no_ranges(void **state)
{
    (void)state;
    shared->no_ranges = true;
    struct outcome o = pull("hf:acme/tiny");
    assert_int_equal(o.status, QVL_OK);
    assert_whole_hf();
}

static void test_busy(void **state)
{
    (void)state;
    bool is_said = false;
    for (int i = 0; i < 10 && !is_said; i++) { /* it is said of a second that this process does not sleep through */
        shared->is_hf_busy = true;
        struct outcome o = pull("hf:acme/tiny");
        assert_int_equal(o.status, QVL_OK);
        assert_false(shared->is_hf_busy);
        is_said = strstr(o.notes, "again in 1 s: 127.0.0.1 answers 429");
    }
    assert_true(is_said);
}

static void test_dry(void **state)
{
    (void)state;
    struct qvl_hub_options options = {.is_dry = true, .back_off_ms = 1};
    struct qvl_hub_pull *p = NULL;
    struct qvl_error err = {0};
    bool is_done = false;
    size_t n;
    assert_int_equal(qvl_hub_ref_parse("hf:acme/tiny", &options.ref, &err), QVL_OK);
    assert_int_equal(qvl_hub_pull_open(&options, &p, &err), QVL_OK);
    while (!is_done)
        assert_int_equal(qvl_hub_pull_next(p, &is_done, &err), QVL_OK);
    const struct qvl_hub_file *file = qvl_hub_pull_files(p, &n);
    assert_int_equal(n, 3);
    assert_string_equal(file[0].path, "tokenizer.json");
    assert_string_equal(file[2].path, "model.safetensors");
    assert_true(file[2].n_bytes == N_LARGE && !file[2].is_there);
    qvl_hub_pull_close(p);
    assert_int_equal(shared->n_file_request, 0);
    assert_false(cache_has(".cache/huggingface"));
}

static void test_local_dir(void **state)
{
    (void)state;
    char local[4096];
    snprintf(local, sizeof local, "%s", cache_path("mine"));
    struct qvl_hub_options options = {.local_dir = local};
    struct outcome o = pull_until("hf:acme/tiny", &options, 0);
    assert_int_equal(o.status, QVL_OK);
    assert_string_equal(o.info.path, local);
    cache_assert_text("mine/config.json", config);
    assert_same_file("mine/model.safetensors", shared->large, N_LARGE);
    unsigned before = shared->n_file_request;
    o = pull_until("hf:acme/tiny", &options, 0);
    assert_true(!o.status && shared->n_file_request == before);
}

static void assert_fails(const char *name, const char *with_a, const char *with_b)
{
    struct outcome o = pull(name);
    assert_int_equal(o.status, QVL_ERR_FILE);
    assert_int_equal(o.info.is_network, shared->is_hf_down);
    if (!strstr(o.err.text, with_a) || !strstr(o.err.text, with_b))
        fail_msg("\"%s\" has neither \"%s\" nor \"%s\"", o.err.text, with_a, with_b);
}

static void test_sentences(void **state)
{
    (void)state;
    shared->want_token = true;
    assert_fails("hf:acme/tiny", "HF_TOKEN", "401");
    assert_fails("ms:acme/tiny", "MODELSCOPE_API_TOKEN", "401");
    setenv("HF_TOKEN", "hf_secretbutold", 1);
    assert_fails("hf:acme/tiny", "token", "401");
    shared->want_token = false;
    assert_fails("hf:acme/tiny@v9", "v9", "127.0.0.1");
    shared->claimed = 1ull << 39;
    assert_fails("hf:acme/tiny", "GB free", "HF_HOME");
    shared->claimed = 0;
    setenv("HF_HUB_OFFLINE", "1", 1);
    assert_fails("acme/tiny", "HF_HUB_OFFLINE", "acme/tiny");
    unsetenv("HF_HUB_OFFLINE");
    shared->is_hf_down = shared->is_ms_down = true;
    assert_fails("acme/tiny", "HF_ENDPOINT=https://hf-mirror.com", "-m");
    unsetenv("HF_TOKEN");
}

/* A model that is here is used when nobody can be asked, or may be. */
static void test_without_network(void **state)
{
    (void)state;
    assert_int_equal(pull("hf:acme/tiny").status, QVL_OK);
    shared->is_hf_down = shared->is_ms_down = true;
    struct outcome o = pull("acme/tiny");
    assert_int_equal(o.status, QVL_OK);
    assert_string_equal(o.info.path, cache_path(SNAPSHOT));
    assert_non_null(strstr(o.notes, "no hub can be reached"));
    unsigned before = shared->server.n_request;
    setenv("HF_HUB_OFFLINE", "1", 1);
    o = pull("acme/tiny");
    unsetenv("HF_HUB_OFFLINE");
    assert_int_equal(o.status, QVL_OK);
    assert_string_equal(o.info.path, cache_path(SNAPSHOT));
    assert_int_equal(shared->server.n_request, before);
}

#define HUB_TEST(name) cmocka_unit_test_setup_teardown(name, open_hub, close_hub)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HUB_TEST(test_hf),        HUB_TEST(test_modelscope),   HUB_TEST(test_race),
        HUB_TEST(test_goes_on),      HUB_TEST(test_goes_on_at_hf), HUB_TEST(test_goes_on_at_modelscope),
        HUB_TEST(test_breaks),       HUB_TEST(test_killed),
        HUB_TEST(test_wrong_sum), HUB_TEST(test_damaged_part), HUB_TEST(test_check_all),
        HUB_TEST(test_no_ranges), HUB_TEST(test_dry),          HUB_TEST(test_busy),
        HUB_TEST(test_local_dir), HUB_TEST(test_sentences),    HUB_TEST(test_without_network),
    };
    static struct fixture fixture;
    shared = &fixture;
    int n_failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(fixture.large);
    return n_failed;
}

/* `qvl quantize` without the program: the folder it writes holds the bytes that quantising while loading makes, and
 * says so; what is broken in it is named; what goes wrong while it is written leaves nothing. */
#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/os.h"
#include "folder.h"
#include "load/prepare.h"
#include "load/quantize.h"
#include "load/safetensors.h"

/* In the test's folder: source, and what is written. */
struct place {
    char source[64], out[64];
};

static struct place make_source(const char *dir)
{
    struct place place;
    snprintf(place.source, sizeof place.source, "%s/source", dir);
    snprintf(place.out, sizeof place.out, "%s/out", dir);
    assert_int_equal(mkdir(place.source, 0777), 0);
    folder_write_model(place.source);
    folder_write_text(place.source, "tokenizer.json", "{}");
    folder_write_text(place.source, ".hidden", "x");
    folder_write_text(place.source, "other.safetensors", "x");
    return place;
}

static void remove_folder(const char *path)
{
    void *state = strdup(path);
    assert_int_equal(folder_close(&state), 0);
}

static size_t count_files(const char *path)
{
    size_t n = 0;
    DIR *dir = opendir(path);
    assert_non_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n - 2;
}

static enum qvl_status quantize(const struct place *place, enum qvl_quantization type, uint32_t n_thread,
                                struct qvl_error *err)
{
    struct qvl_quantizer *q = NULL;
    bool is_done = false;
    enum qvl_status status = qvl_quantizer_open(
        &(struct qvl_quantizer_options){
            .model_dir = place->source, .out_dir = place->out, .type = type, .n_thread = n_thread},
        &q, err);
    while (!status && !is_done)
        status = qvl_quantizer_next(q, &is_done, err);
    qvl_quantizer_close(q);
    return status;
}

static void must_quantize(const struct place *place, enum qvl_quantization type)
{
    struct qvl_error err = {0};
    if (quantize(place, type, 2, &err))
        fail_msg("%s", err.text);
}

/* Refused with a sentence that holds `sentence`; the place is as it was, with n files beside the source. */
static void refuse(const struct place *place, enum qvl_quantization type, enum qvl_status status,
                   const char *sentence)
{
    struct qvl_error err = {0};
    char *parent = strndup(place->out, (size_t)(strrchr(place->out, '/') - place->out));
    size_t n = count_files(parent);
    if (quantize(place, type, 1, &err) != status || !strstr(err.text, sentence))
        fail_msg("%d \"%s\" does not say %d \"%s\"", (int)err.status, err.text, (int)status, sentence);
    assert_int_equal(count_files(parent), n);
    free(parent);
}

/* ---- a folder, opened -------------------------------------------------------------------------------- */

struct opened {
    struct qvl_config config;
    struct qvl_weights *weights;
};

static enum qvl_status try_open(const char *dir, struct opened *o, struct qvl_error *err)
{
    struct qvl_bytes json = {0};
    char path[128];
    snprintf(path, sizeof path, "%s/config.json", dir);
    enum qvl_status status = qvl_os_read_file(path, 1 << 20, &json, err);
    memset(o, 0, sizeof *o);
    if (!status && !(status = qvl_config_parse(json.data, json.n, path, &o->config, err)) &&
        !(status = qvl_weights_open(dir, &o->config, &o->weights, err)))
        status = qvl_weights_map(o->weights, err);
    qvl_bytes_free(&json);
    return status;
}

static enum qvl_status check_packed(const struct opened *o, struct qvl_error *err)
{
    struct qvl_pool *pool = NULL;
    if (qvl_pool_open(2, &pool, err))
        return err->status;
    enum qvl_status status = qvl_weights_check_packed(o->weights, pool, NULL, err);
    qvl_pool_close(pool);
    return status;
}

static void assert_same_weights(const struct qvl_weights *got, const struct qvl_weights *want)
{
    assert_int_equal(qvl_weights_n_tensor(got), qvl_weights_n_tensor(want));
    assert_int_equal(qvl_weights_bytes(got), qvl_weights_bytes(want));
    for (size_t i = 0; i < qvl_weights_n_tensor(got); i++) {
        const struct qvl_tensor *a = qvl_weights_at(got, i), *b = qvl_weights_at(want, i);
        assert_string_equal(a->name, b->name);
        assert_int_equal(a->dtype, b->dtype);
        assert_non_null(a->sha256);
        assert_memory_equal(a->data, b->data, (size_t)qvl_tensor_bytes(a));
    }
}

static void the_bytes_of_quantising_while_loading(void **state)
{
    struct place place = make_source(*state);
    for (enum qvl_quantization type = QVL_QUANTIZE_Q8; type <= QVL_QUANTIZE_BALANCED; type++) {
        struct opened written, loaded;
        struct qvl_pool *pool = NULL;
        struct qvl_error err = {0};
        must_quantize(&place, type);
        assert_int_equal(count_files(place.out), 3); /* config, tokenizer, weights */
        assert_int_equal(try_open(place.out, &written, &err), QVL_OK);
        assert_int_equal(written.config.quantization, type);
        assert_int_equal(check_packed(&written, &err), QVL_OK);
        assert_int_equal(try_open(place.source, &loaded, &err), QVL_OK);
        assert_int_equal(qvl_pool_open(3, &pool, &err), QVL_OK);
        struct qvl_config want = loaded.config;
        want.quantization = type;
        const struct qvl_prepare_options options = {.floats = QVL_BF16};
        assert_int_equal(qvl_weights_prepare(loaded.weights, &loaded.config, &want, &options, pool, &err), QVL_OK);
        assert_same_weights(written.weights, loaded.weights);
        qvl_pool_close(pool);
        qvl_weights_close(written.weights);
        qvl_weights_close(loaded.weights);
        remove_folder(place.out);
    }
    remove_folder(place.source);
}

/* Used where they are mapped: nothing is copied. */
static void packed_tensors_lie_on_lines(void **state)
{
    struct place place = make_source(*state);
    struct opened o;
    struct qvl_error err = {0};
    struct qvl_arena arena = {0};
    struct qvl_safetensors header;
    size_t n_packed = 0;
    must_quantize(&place, QVL_QUANTIZE_Q4);
    assert_int_equal(try_open(place.out, &o, &err), QVL_OK);
    assert_int_equal(qvl_weights_n_file(o.weights), 1);
    struct qvl_weights_file file = qvl_weights_file(o.weights, 0);
    assert_int_equal(qvl_safetensors_open(file.path, &arena, &header, &err), QVL_OK);
    assert_string_equal(header.packed.type, "q4");
    assert_int_equal(header.entry[0].begin % 64, 0);
    qvl_safetensors_close(&header);
    qvl_arena_free(&arena);
    for (size_t i = 0; i < qvl_weights_n_tensor(o.weights); i++) {
        const struct qvl_tensor *t = qvl_weights_at(o.weights, i);
        const uint8_t *at = t->data;
        assert_true(at >= file.map && at < file.map + file.n_bytes);
        n_packed += qvl_dtype_is_packed(t->dtype);
        assert_int_equal((uintptr_t)at % (qvl_dtype_is_packed(t->dtype) ? 64 : 2), 0);
    }
    assert_int_equal(n_packed, 2 * 7 + 3); /* two layers; embedding; head, and its rows once more */
    qvl_weights_close(o.weights);
    remove_folder(place.out);
    remove_folder(place.source);
}

/* ---- a source that comes ----------------------------------------------------------------------------- */

/* A weight file of which only the beginning is there, and no more of that than was asked for; the rest, and what
 * was let go, is 0xff, which no weight is. */
struct coming {
    uint8_t *true_bytes, *file; /* the file: mapped, shared */
    uint64_t n, n_there, n_given;
    uint64_t n_most; /* that were there and not given back */
    uint64_t n_held; /* it never comes further */
};

static bool coming_has(void *user, const char *name, uint64_t end)
{
    struct coming *c = user;
    assert_string_equal(name, "model.safetensors");
    assert_true(end <= c->n);
    if (end <= c->n_there)
        return true;
    uint64_t n = end < c->n_held ? end : c->n_held;
    memcpy(c->file + c->n_there, c->true_bytes + c->n_there, (size_t)(n - c->n_there));
    c->n_there = n;
    c->n_most = c->n_there - c->n_given > c->n_most ? c->n_there - c->n_given : c->n_most;
    return false; /* it is there the next time */
}

static void coming_let_go(void *user, const char *name, uint64_t end)
{
    struct coming *c = user;
    assert_string_equal(name, "model.safetensors");
    assert_true(end >= c->n_given && end <= c->n_there);
    memset(c->file + c->n_given, 0xff, (size_t)(end - c->n_given));
    c->n_given = end;
}

static void coming_open(struct coming *c, const char *dir)
{
    struct stat st;
    int fd = open(folder_path(dir, "model.safetensors"), O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    *c = (struct coming){.n = (uint64_t)st.st_size, .n_held = (uint64_t)st.st_size};
    c->true_bytes = malloc((size_t)c->n);
    assert_non_null(c->true_bytes);
    assert_true(pread(fd, c->true_bytes, (size_t)c->n, 0) == (ssize_t)c->n);
    c->file = mmap(NULL, (size_t)c->n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(c->file != MAP_FAILED);
    memset(c->file, 0xff, (size_t)c->n);
    close(fd);
}

static void coming_close(struct coming *c)
{
    memcpy(c->file, c->true_bytes, (size_t)c->n);
    munmap(c->file, (size_t)c->n);
    free(c->true_bytes);
}

static enum qvl_quantizer_way ask_until_known(const struct qvl_quantizer_options *options, uint32_t *n_later)
{
    struct qvl_error err = {0};
    enum qvl_quantizer_way way = QVL_QUANTIZER_LATER;
    for (*n_later = 0; *n_later < 10; ++*n_later) {
        if (qvl_quantizer_ask(options, &way, &err))
            fail_msg("%s", err.text);
        if (way != QVL_QUANTIZER_LATER)
            break;
    }
    return way;
}

static void assert_same_file(const char *a, const char *b, const char *name)
{
    struct qvl_bytes text[2] = {{0}};
    struct qvl_error err = {0};
    const char *dir[2] = {a, b};
    for (int i = 0; i < 2; i++)
        if (qvl_os_read_file(folder_path(dir[i], name), 1 << 28, &text[i], &err))
            fail_msg("%s", err.text);
    assert_int_equal(text[0].n, text[1].n);
    assert_memory_equal(text[0].data, text[1].data, text[0].n);
    qvl_bytes_free(&text[0]);
    qvl_bytes_free(&text[1]);
}

static void while_it_comes(void **state)
{
    struct place place = make_source(*state), streamed = place;
    struct coming c;
    struct qvl_quantizer_source source = {.user = &c, .has = coming_has, .let_go = coming_let_go};
    struct qvl_quantizer_options options = {.model_dir = place.source,
                                            .out_dir = streamed.out,
                                            .type = QVL_QUANTIZE_Q4,
                                            .n_thread = 2,
                                            .source = &source};
    struct qvl_quantizer *q = NULL;
    struct qvl_quantizer_info info;
    struct qvl_error err = {0};
    bool is_done = false;
    uint32_t n_later, n_waited = 0;
    must_quantize(&place, QVL_QUANTIZE_Q4);
    snprintf(streamed.out, sizeof streamed.out, "%s/streamed", (const char *)*state);
    folder_remove(place.source, "other.safetensors");
    coming_open(&c, place.source);
    assert_int_equal(ask_until_known(&options, &n_later), QVL_QUANTIZER_FOLLOWS);
    assert_int_equal(n_later, 2); /* the header's length, the header */
    if (qvl_quantizer_open(&options, &q, &err))
        fail_msg("%s", err.text);
    while (!is_done) {
        if (qvl_quantizer_next(q, &is_done, &err))
            fail_msg("%s", err.text);
        qvl_quantizer_get_info(q, &info);
        n_waited += info.is_waiting;
    }
    assert_true(info.done == info.total && n_waited > 20);
    assert_true(c.n_given == c.n && c.n_most < c.n / 2);
    qvl_quantizer_close(q);
    coming_close(&c);
    assert_same_file(place.out, streamed.out, "model.safetensors");
    assert_same_file(place.out, streamed.out, "config.json");
    assert_same_file(place.out, streamed.out, "tokenizer.json");
    remove_folder(streamed.out);
    remove_folder(place.out);
    remove_folder(place.source);
}

/* The last byte never comes: nothing appears, however long one waits, and nothing is left. */
static void not_without_the_last_byte(void **state)
{
    struct place place = make_source(*state);
    struct coming c;
    struct qvl_quantizer_source source = {.user = &c, .has = coming_has, .let_go = coming_let_go};
    struct qvl_quantizer_options options = {
        .model_dir = place.source, .out_dir = place.out, .type = QVL_QUANTIZE_Q8, .n_thread = 2, .source = &source};
    struct qvl_quantizer *q = NULL;
    struct qvl_quantizer_info info = {0};
    struct qvl_error err = {0};
    bool is_done = false;
    uint32_t n_later;
    folder_remove(place.source, "other.safetensors");
    coming_open(&c, place.source);
    c.n_held = c.n - 1;
    assert_int_equal(ask_until_known(&options, &n_later), QVL_QUANTIZER_FOLLOWS);
    assert_int_equal(qvl_quantizer_open(&options, &q, &err), QVL_OK);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(qvl_quantizer_next(q, &is_done, &err), QVL_OK);
    qvl_quantizer_get_info(q, &info);
    assert_true(!is_done && info.is_waiting && c.n_there == c.n - 1);
    qvl_quantizer_close(q);
    coming_close(&c);
    assert_int_equal(count_files(*state), 1); /* the source */
    remove_folder(place.source);
}

/* What is wrong with it is said when all of it is there and was checked. */
static void no_header(void **state)
{
    struct place place = make_source(*state);
    struct coming c;
    struct qvl_quantizer_source source = {.user = &c, .has = coming_has};
    struct qvl_quantizer_options options = {.model_dir = place.source, .out_dir = place.out, .source = &source};
    enum qvl_quantizer_way way = QVL_QUANTIZER_LATER;
    struct qvl_error err = {0};
    folder_remove(place.source, "other.safetensors");
    coming_open(&c, place.source);
    memcpy(c.true_bytes, "\xff\xff\xff\xff\xff\xff\xff\xff", 8); /* no header that is read */
    assert_int_equal(qvl_quantizer_ask(&options, &way, &err), QVL_OK);
    assert_int_equal(way, QVL_QUANTIZER_LATER);
    assert_int_equal(qvl_quantizer_ask(&options, &way, &err), QVL_OK);
    assert_int_equal(way, QVL_QUANTIZER_NEEDS_ALL);
    coming_close(&c);
    remove_folder(place.source);
}

/* What is wrong with config.json is known at once, and said to be sure. */
static void no_config(void **state)
{
    struct place place = make_source(*state);
    struct coming c = {0};
    struct qvl_quantizer_source source = {.user = &c, .has = coming_has};
    struct qvl_quantizer_options options = {.model_dir = place.source, .out_dir = place.out, .source = &source};
    enum qvl_quantizer_way way = QVL_QUANTIZER_LATER;
    struct qvl_error err = {0};
    folder_write_text(place.source, "config.json", "{\"model_type\": \"llama\"}");
    assert_int_equal(qvl_quantizer_ask(&options, &way, &err), QVL_ERR_MODEL);
    assert_int_equal(way, QVL_QUANTIZER_NEEDS_ALL);
    remove_folder(place.source);
}

/* ---- what is refused --------------------------------------------------------------------------------- */

static void bad_wishes(void **state)
{
    struct place place = make_source(*state), packed = place;
    struct qvl_error err = {0};
    refuse(&place, QVL_QUANTIZE_NONE, QVL_ERR_ARGUMENT, "no quantization");
    refuse(&place, (enum qvl_quantization)9, QVL_ERR_ARGUMENT, "9 is no quantization");
    assert_int_equal(mkdir(place.out, 0777), 0);
    must_quantize(&place, QVL_QUANTIZE_Q4); /* an empty folder is fine */
    refuse(&place, QVL_QUANTIZE_Q4, QVL_ERR_ARGUMENT, "is there already: name a folder that is new or empty");
    snprintf(packed.source, sizeof packed.source, "%s", place.out);
    snprintf(packed.out, sizeof packed.out, "%s/again", (const char *)*state);
    refuse(&packed, QVL_QUANTIZE_Q8, QVL_ERR_ARGUMENT, "is quantised already");
    snprintf(packed.source, sizeof packed.source, "%s/none", (const char *)*state);
    refuse(&packed, QVL_QUANTIZE_Q8, QVL_ERR_MODEL, "none/config.json");
    remove_folder(place.out);
    folder_write_text(*state, "out", "a file");
    refuse(&place, QVL_QUANTIZE_Q4, QVL_ERR_ARGUMENT, "is there already");
    folder_remove(*state, "out");
    snprintf(place.out, sizeof place.out, "%s/no/such", (const char *)*state);
    assert_int_equal(quantize(&place, QVL_QUANTIZE_Q4, 1, &err), QVL_ERR_FILE);
    assert_non_null(strstr(err.text, "No such file or directory"));
    remove_folder(place.source);
}

/* A value that is no number, in a matrix and in a norm. */
static void a_bad_weight(void **state)
{
    static const char *const names[] = {"model.language_model.layers.1.mlp.up_proj.weight",
                                        "model.language_model.norm.weight"};
    struct place place = make_source(*state);
    for (size_t i = 0; i < 2; i++) {
        struct opened o;
        struct qvl_error err = {0};
        assert_int_equal(try_open(place.source, &o, &err), QVL_OK);
        const struct qvl_tensor *t = qvl_weights_find(o.weights, names[i]);
        long at = (long)((const uint8_t *)t->data - qvl_weights_file(o.weights, 0).map);
        uint8_t saved[2];
        memcpy(saved, (const uint8_t *)t->data + 14, 2);
        qvl_weights_close(o.weights);
        FILE *f = fopen(folder_path(place.source, "model.safetensors"), "r+b");
        assert_non_null(f);
        assert_int_equal(fseek(f, at + 14, SEEK_SET), 0);
        assert_int_equal(fwrite("\xc0\x7f", 1, 2, f), 2);
        assert_int_equal(fflush(f), 0);
        refuse(&place, QVL_QUANTIZE_Q4, QVL_ERR_MODEL, names[i]);
        assert_int_equal(fseek(f, at + 14, SEEK_SET), 0);
        assert_int_equal(fwrite(saved, 1, 2, f), 2);
        assert_int_equal(fclose(f), 0);
    }
    remove_folder(place.source);
}

/* A file may not grow any more: as on a full disk. */
static void a_full_disk(void **state)
{
    struct place place = make_source(*state);
    struct rlimit old, small;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    for (rlim_t n_bytes = 0; n_bytes <= 300000; n_bytes += 100000) {
        small = (struct rlimit){n_bytes, old.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        refuse(&place, QVL_QUANTIZE_Q8, QVL_ERR_FILE, "out/model.safetensors: cannot be written: File too large");
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    }
    signal(SIGXFSZ, handler);
    remove_folder(place.source);
}

static void cancelled_anywhere(void **state)
{
    struct place place = make_source(*state);
    for (int n_piece = 0;; n_piece++) {
        struct qvl_quantizer *q = NULL;
        struct qvl_error err = {0};
        bool is_done = false;
        assert_int_equal(qvl_quantizer_open(&(struct qvl_quantizer_options){.model_dir = place.source,
                                                                            .out_dir = place.out,
                                                                            .type = QVL_QUANTIZE_BALANCED,
                                                                            .n_thread = 1},
                                            &q, &err),
                         QVL_OK);
        for (int i = 0; i < n_piece && !is_done; i++)
            assert_int_equal(qvl_quantizer_next(q, &is_done, &err), QVL_OK);
        qvl_quantizer_cancel(q);
        if (!is_done)
            assert_int_equal(qvl_quantizer_next(q, &is_done, &err), QVL_ERR_CANCELLED);
        qvl_quantizer_close(q);
        assert_int_equal(count_files(*state), is_done ? 2 : 1);
        if (is_done)
            break;
    }
    remove_folder(place.out);
    remove_folder(place.source);
}

/* ---- what is broken ---------------------------------------------------------------------------------- */

static void write_bytes(const char *path, long at, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* Bytes of the tensor from at on are others: what opening says; NULL: nothing, and the check says `check`. */
static void break_tensor(const struct place *place, const char *name, size_t at, const void *bytes, size_t n,
                         const char *opening, const char *check)
{
    struct opened o;
    struct qvl_error err = {0};
    uint8_t saved[64];
    char path[128];
    snprintf(path, sizeof path, "%s/model.safetensors", place->out);
    assert_int_equal(try_open(place->out, &o, &err), QVL_OK);
    const uint8_t *data = qvl_weights_find(o.weights, name)->data;
    long begin = (long)(data - qvl_weights_file(o.weights, 0).map) + (long)at;
    memcpy(saved, data + at, n);
    qvl_weights_close(o.weights);
    write_bytes(path, begin, bytes, n);
    enum qvl_status status = try_open(place->out, &o, &err);
    if (!opening && !status)
        status = check_packed(&o, &err);
    const char *sentence = opening ? opening : check;
    if (status != QVL_ERR_MODEL || !strstr(err.text, sentence) || !strstr(err.text, name))
        fail_msg("%s, byte %zu: \"%s\" does not say \"%s\"", name, at, err.text, sentence);
    qvl_weights_close(o.weights);
    write_bytes(path, begin, saved, n);
}

static void damage(void **state)
{
    static const char matrix[] = "model.language_model.layers.0.mlp.down_proj.weight";
    static const char head[] = "does not begin as a packed matrix does", sum[] = "the file's checksum";
    struct place place = make_source(*state);
    must_quantize(&place, QVL_QUANTIZE_Q4);
    break_tensor(&place, matrix, 0, "X", 1, head, NULL);
    break_tensor(&place, matrix, 4, "\2", 1, "in version 2 of the packed format, and this qvl reads version 1",
                 NULL);
    break_tensor(&place, matrix, 8, "\x08", 1, head, NULL); /* another format, another size */
    break_tensor(&place, matrix, 12, "\x07", 1, head, NULL);
    break_tensor(&place, matrix, 16, "\x07", 1, head, NULL);
    break_tensor(&place, matrix, 35, "\x80", 1, head, NULL); /* a level above 127; not ascending */
    break_tensor(&place, matrix, 35, "\x00", 1, head, NULL);
    break_tensor(&place, matrix, 40, "\x01", 1, head, NULL);
    break_tensor(&place, matrix, 64, "\0\0\xc0\x7f", 4, NULL, sum);
    break_tensor(&place, matrix, 1000, "\xee\xee", 2, NULL, sum);
    break_tensor(&place, "model.language_model.norm.weight", 3, "\x11", 1, NULL, sum);
    break_tensor(&place, "model.language_model.embed_tokens.weight", 64 + 130, "\x11\x77", 2, NULL, sum);
    remove_folder(place.out);
    remove_folder(place.source);
}

/* Where no checksum speaks first: a scale of each format. */
static void scales_that_are_none(void **state)
{
    static const struct {
        enum qvl_quantization type;
        const char *name;
        size_t at;
        const char *bytes;
        size_t n;
    } broken[] = {
        {QVL_QUANTIZE_Q8, "model.language_model.layers.0.mlp.up_proj.weight", 64, "\xc0\x7f", 2},
        {QVL_QUANTIZE_Q4, "model.language_model.layers.0.mlp.up_proj.weight", 64, "\0\0\x80\x7f", 4},
        {QVL_QUANTIZE_Q4, "model.language_model.embed_tokens.weight", 64 + 128, "\0\0\x80\xff", 4},
    };
    struct place place = make_source(*state);
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        struct qvl_bytes file = {0};
        struct qvl_error err = {0};
        char path[128], key[128];
        must_quantize(&place, broken[i].type);
        snprintf(path, sizeof path, "%s/model.safetensors", place.out);
        assert_int_equal(qvl_os_read_file(path, 64 << 20, &file, &err), QVL_OK);
        snprintf(key, sizeof key, "\"" QVL_SHA256_KEY "%s\"", broken[i].name);
        char *at = memmem(file.data, file.n, key, strlen(key));
        assert_non_null(at);
        write_bytes(path, at + 1 - file.data, "no", 2); /* a key that nobody asks for */
        qvl_bytes_free(&file);
        break_tensor(&place, broken[i].name, broken[i].at, broken[i].bytes, broken[i].n, NULL,
                     "a scale is infinite or not a number");
        remove_folder(place.out);
    }
    remove_folder(place.source);
}

/* One text of a file replaced by another of its length. */
static void refuse_other(const struct place *place, const char *file, const char *from, const char *to,
                         const char *sentence)
{
    struct qvl_bytes text = {0};
    struct qvl_error err = {0};
    struct opened o;
    char path[128];
    snprintf(path, sizeof path, "%s/%s", place->out, file);
    assert_int_equal(strlen(from), strlen(to));
    assert_int_equal(qvl_os_read_file(path, 64 << 20, &text, &err), QVL_OK);
    char *at = memmem(text.data, text.n, from, strlen(from));
    assert_non_null(at);
    write_bytes(path, at - text.data, to, strlen(to));
    if (try_open(place->out, &o, &err) != QVL_ERR_MODEL || !strstr(err.text, sentence) || !strstr(err.text, file))
        fail_msg("\"%s\" does not say \"%s\"", err.text, sentence);
    qvl_weights_close(o.weights);
    write_bytes(path, at - text.data, from, strlen(from));
    qvl_bytes_free(&text);
}

static void words_that_do_not_fit(void **state)
{
    static const char weights[] = "model.safetensors", config[] = "config.json";
    struct place place = make_source(*state);
    must_quantize(&place, QVL_QUANTIZE_Q4);
    refuse_other(&place, weights, "\"version\":\"1\"", "\"version\":\"2\"",
                 "written in version 2 of the packed format, and this qvl reads version 1");
    refuse_other(&place, weights, "\"type\":\"q4\"", "\"type\":\"q8\"",
                 "packed by qvl quantize as q8, but config.json says quantization_config.type \"q4\"");
    refuse_other(&place, weights, "\"format\":\"qvl\"", "\"format\":\"pt \"", "not written by qvl quantize");
    refuse_other(&place, config, "\"type\": \"q4\"", "\"type\": \"q5\"", "quantization_config.type is \"q5\"");
    refuse_other(&place, config, "\"version\": 1", "\"version\": 3",
                 "quantization_config.version is 3, and this qvl reads version 1");
    refuse_other(&place, config, "\"quant_method\": \"qvl\"", "\"quant_method\": \"xyz\"",
                 "quant_method is \"xyz\"");
    refuse_other(&place, config, "\"quantization_config\"", "\"quantisation_config\"",
                 "packed by qvl quantize as q4, but config.json has no quantization_config");
    remove_folder(place.out);
    remove_folder(place.source);
}

static void cut_short(void **state)
{
    struct place place = make_source(*state);
    struct opened o;
    struct qvl_error err = {0};
    must_quantize(&place, QVL_QUANTIZE_Q4);
    const char *path = folder_path(place.out, "model.safetensors");
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size - 64), 0);
    assert_int_equal(try_open(place.out, &o, &err), QVL_ERR_MODEL);
    assert_non_null(strstr(err.text, "the file is cut short"));
    remove_folder(place.out);
    remove_folder(place.source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, folder_open, folder_close)
        TEST(while_it_comes),
        TEST(not_without_the_last_byte),
        TEST(no_header),
        TEST(no_config),
        TEST(the_bytes_of_quantising_while_loading),
        TEST(packed_tensors_lie_on_lines),
        TEST(bad_wishes),
        TEST(a_bad_weight),
        TEST(a_full_disk),
        TEST(cancelled_anywhere),
        TEST(damage),
        TEST(scales_that_are_none),
        TEST(words_that_do_not_fit),
        TEST(cut_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

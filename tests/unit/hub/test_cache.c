/* The caches, as huggingface_hub 2.4 and modelscope-hub 0.5 lay them out: made by hand here as those write them
 * (and compared with them by reference/hub). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cache_folder.h"
#include "hub/cache.h"
#include "hub/path.h"
#include "hub/walk.h"
#include "../../lib/sha256.h"

#define CONFIG "{\"model_type\": \"qwen3_vl\"}"
#define COMMIT_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define COMMIT_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define NAME "Qwen3-VL-2B-Instruct"
#define HF ".cache/huggingface/hub/models--Qwen--" NAME
#define MS ".cache/modelscope/models/Qwen--" NAME

static struct qvl_hub_ref ref_of(enum qvl_hub_source source)
{
    return (struct qvl_hub_ref){.source = source, .owner = "Qwen", .name = NAME};
}

/* ---- writing -------------------------------------------------------------------------------------- */

struct content {
    const char *path, *text;
};

static const struct content contents[] = {
    {"config.json", CONFIG},
    {"model.safetensors", "weights"},
    {"tokenizer.json", "{}"},
    {"deep/er/notes.txt", "notes"},
};
enum { N_CONTENT = sizeof contents / sizeof *contents };

static struct qvl_hub_file file_of(const struct content *content)
{
    struct qvl_hub_file file = {.path = content->path, .n_bytes = strlen(content->text), .has_sha256 = true};
    char hex[65];
    sha256_hex(content->text, strlen(content->text), hex);
    for (size_t i = 0; i < 32; i++) {
        unsigned byte = 0;
        sscanf(hex + 2 * i, "%2x", &byte);
        file.sha256[i] = (uint8_t)byte;
    }
    return file;
}

static void write_at(const char *path, const char *text)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static struct qvl_hub_store *open_store(enum qvl_hub_source source, const char *commit, const char *local_dir)
{
    struct qvl_hub_ref ref = ref_of(source);
    struct qvl_hub_store *store = NULL;
    struct qvl_error err = {0};
    bool is_busy = false;
    if (qvl_hub_store_open(&ref, commit, local_dir, &store, &is_busy, &err))
        fail_msg("%s", err.text);
    assert_false(is_busy);
    return store;
}

static void fetch(struct qvl_hub_store *store, const struct content *content)
{
    struct qvl_hub_file file = file_of(content);
    struct qvl_error err = {0};
    char path[4096];
    if (qvl_hub_store_partial(store, &file, path, &err))
        fail_msg("%s", err.text);
    assert_int_equal(access(path, W_OK), 0);
    write_at(path, content->text);
    if (qvl_hub_store_commit(store, &file, &err))
        fail_msg("%s", err.text);
    assert_int_equal(qvl_hub_store_find(store, &file, path), QVL_HUB_FOUND);
}

/* Fetches what is missing and finishes; `path` is the folder. */
static void fetch_all(struct qvl_hub_store *store, char path[4096])
{
    struct qvl_hub_file files[N_CONTENT];
    struct qvl_error err = {0};
    for (size_t i = 0; i < N_CONTENT; i++) {
        files[i] = file_of(&contents[i]);
        if (qvl_hub_store_find(store, &files[i], path) == QVL_HUB_NOT_FOUND)
            fetch(store, &contents[i]);
    }
    if (qvl_hub_store_finish(store, files, N_CONTENT, path, &err))
        fail_msg("%s", err.text);
}

static const char *blob_link(const char *up, const struct content *content)
{
    static char target[128];
    char hex[65];
    sha256_hex(content->text, strlen(content->text), hex);
    snprintf(target, sizeof target, "%sblobs/%s", up, hex);
    return target;
}

static void test_hugging_face(void **state)
{
    (void)state;
    struct qvl_hub_ref ref = ref_of(QVL_HUB_AUTO);
    struct qvl_hub_store *store = open_store(QVL_HUB_HF, COMMIT_A, NULL);
    char path[4096], found[4096];
    fetch(store, &contents[0]);
    fetch(store, &contents[1]);
    assert_false(cache_has(HF "/snapshots/" COMMIT_A)); /* whole or not at all */
    assert_false(qvl_hub_find(&ref, found));
    qvl_hub_store_close(store); /* a break: the next one goes on */
    store = open_store(QVL_HUB_HF, COMMIT_A, NULL);
    struct qvl_hub_file first = file_of(&contents[1]);
    assert_int_equal(qvl_hub_store_find(store, &first, path), QVL_HUB_FOUND);
    fetch_all(store, path);
    qvl_hub_store_close(store);
    assert_string_equal(path, cache_path(HF "/snapshots/" COMMIT_A));
    cache_assert_link(HF "/snapshots/" COMMIT_A "/config.json", blob_link("../../", &contents[0]));
    cache_assert_link(HF "/snapshots/" COMMIT_A "/deep/er/notes.txt", blob_link("../../../../", &contents[3]));
    cache_assert_text(HF "/snapshots/" COMMIT_A "/deep/er/notes.txt", "notes");
    cache_assert_text(HF "/refs/main", COMMIT_A);
    assert_true(cache_has(".cache/huggingface/hub/CACHEDIR.TAG"));
    assert_false(cache_has(HF "/.qvl-part"));
    assert_true(qvl_hub_find(&ref, found));
    assert_string_equal(found, path);
}

/* What a model was read from and then is left (a stream): of it nothing stays but what somebody else needs. */
static void test_leave(void **state)
{
    (void)state;
    struct qvl_hub_file files[N_CONTENT];
    for (size_t i = 0; i < N_CONTENT; i++)
        files[i] = file_of(&contents[i]);
    struct qvl_hub_store *store = open_store(QVL_HUB_HF, COMMIT_A, NULL);
    fetch(store, &contents[0]);
    fetch(store, &contents[2]);
    cache_link(HF "/snapshots/" COMMIT_A "/config.json", blob_link("../../", &contents[0]));
    cache_link(HF "/snapshots/" COMMIT_B "/deep/config.json", blob_link("../../../", &contents[0]));
    qvl_hub_store_leave(store, files, N_CONTENT);
    qvl_hub_store_close(store);
    cache_assert_text(HF "/snapshots/" COMMIT_A "/config.json", CONFIG);
    cache_assert_text(HF "/snapshots/" COMMIT_B "/deep/config.json", CONFIG);
    char blob[256];
    snprintf(blob, sizeof blob, HF "/%s", blob_link("", &contents[2]));
    assert_false(cache_has(blob));
}

/* An earlier version lies where ModelScope has no blobs, under the names of what was brought. */
static void test_leave_modelscope(void **state)
{
    (void)state;
    struct qvl_hub_file files[N_CONTENT];
    struct qvl_error err = {0};
    char path[4096];
    for (size_t i = 0; i < N_CONTENT; i++)
        files[i] = file_of(&contents[i]);
    cache_write(MS "/snapshots/master/config.json", "earlier");
    cache_write(MS "/snapshots/master/model.safetensors", "WEIGHTS"); /* as many bytes */
    struct qvl_hub_store *store = open_store(QVL_HUB_MODELSCOPE, "master", NULL);
    assert_int_equal(qvl_hub_store_find(store, &files[1], path), QVL_HUB_FOUND_UNCHECKED);
    assert_int_equal(qvl_hub_store_drop(store, &files[1], true, &err), QVL_OK);
    fetch(store, &contents[0]);
    fetch(store, &contents[1]);
    qvl_hub_store_leave(store, files, N_CONTENT);
    qvl_hub_store_close(store);
    cache_assert_text(MS "/snapshots/master/config.json", "earlier");
    cache_assert_text(MS "/snapshots/master/model.safetensors", "WEIGHTS");
    assert_false(cache_has(MS "/snapshots/master/tokenizer.json"));
}

/* A new commit of which one file changed: the others are not fetched again, and the old one stays. */
static void test_next_commit(void **state)
{
    (void)state;
    static const struct content changed = {"config.json", CONFIG " "};
    struct qvl_hub_file files[2] = {file_of(&changed), file_of(&contents[1])};
    struct qvl_error err = {0};
    char path[4096];
    struct qvl_hub_store *store = open_store(QVL_HUB_HF, COMMIT_A, NULL);
    fetch_all(store, path);
    qvl_hub_store_close(store);
    store = open_store(QVL_HUB_HF, COMMIT_B, NULL);
    assert_int_equal(qvl_hub_store_find(store, &files[0], path), QVL_HUB_NOT_FOUND);
    assert_int_equal(qvl_hub_store_find(store, &files[1], path), QVL_HUB_FOUND);
    fetch(store, &changed);
    cache_assert_text(HF "/refs/main", COMMIT_A);
    assert_int_equal(qvl_hub_store_finish(store, files, 2, path, &err), QVL_OK);
    qvl_hub_store_close(store);
    cache_assert_text(HF "/refs/main", COMMIT_B);
    cache_assert_text(HF "/snapshots/" COMMIT_A "/config.json", CONFIG);
    cache_assert_text(HF "/snapshots/" COMMIT_B "/config.json", CONFIG " ");
}

/* huggingface_hub has begun: some links are there, one to a blob that another commit had. */
static void test_begun_by_another(void **state)
{
    (void)state;
    char path[4096];
    cache_write(HF "/blobs/0123", "old");
    cache_link(HF "/snapshots/" COMMIT_A "/config.json", "../../blobs/0123");
    cache_link(HF "/snapshots/" COMMIT_A "/tokenizer.json", "../../blobs/not-there");
    cache_write(HF "/blobs/89ab.qvl-part", "of an older commit");
    cache_write(HF "/blobs/89ab.qvl-part.ranges", "");
    cache_write(HF "/blobs/89ab.incomplete", "somebody else's");
    struct qvl_hub_store *store = open_store(QVL_HUB_HF, COMMIT_A, NULL);
    fetch_all(store, path);
    qvl_hub_store_close(store);
    for (size_t i = 0; i < N_CONTENT; i++) {
        char name[256];
        snprintf(name, sizeof name, HF "/snapshots/" COMMIT_A "/%s", contents[i].path);
        cache_assert_text(name, contents[i].text);
    }
    assert_false(cache_has(HF "/blobs/89ab.qvl-part") || cache_has(HF "/blobs/89ab.qvl-part.ranges"));
    assert_true(cache_has(HF "/blobs/89ab.incomplete"));
}

static void test_without_links(void **state)
{
    (void)state;
    char path[4096];
    struct stat st;
    struct qvl_hub_store *store = open_store(QVL_HUB_HF, COMMIT_A, NULL);
    fetch(store, &contents[1]); /* this one is a blob from before */
    qvl_hub_store_close(store);
    setenv("HF_HUB_DISABLE_SYMLINKS", "1", 1);
    store = open_store(QVL_HUB_HF, COMMIT_A, NULL);
    fetch_all(store, path);
    qvl_hub_store_close(store);
    for (size_t i = 0; i < N_CONTENT; i++) {
        char name[256];
        snprintf(name, sizeof name, HF "/snapshots/" COMMIT_A "/%s", contents[i].path);
        cache_assert_text(name, contents[i].text);
        assert_int_equal(lstat(cache_path(name), &st), 0);
        assert_true(S_ISREG(st.st_mode));
    }
    cache_assert_text(HF "/refs/main", COMMIT_A);
}

static void test_modelscope(void **state)
{
    (void)state;
    struct qvl_hub_ref ref = ref_of(QVL_HUB_MODELSCOPE);
    struct qvl_hub_file file = file_of(&contents[1]);
    char path[4096], found[4096];
    struct qvl_hub_store *store = open_store(QVL_HUB_MODELSCOPE, "master", NULL);
    fetch(store, &contents[0]);
    assert_false(cache_has(MS "/snapshots/master"));
    qvl_hub_store_close(store);
    store = open_store(QVL_HUB_MODELSCOPE, "master", NULL);
    fetch_all(store, path);
    /* ModelScope's folders say nothing of sums: who fetches looks himself. */
    assert_int_equal(qvl_hub_store_find(store, &file, found), QVL_HUB_FOUND_UNCHECKED);
    qvl_hub_store_close(store);
    assert_string_equal(path, cache_path(MS "/snapshots/master"));
    cache_assert_text(MS "/snapshots/master/deep/er/notes.txt", "notes");
    assert_false(cache_has(MS "/.qvl-part"));
    assert_true(qvl_hub_find(&ref, found));
    assert_string_equal(found, path);
    ref.source = QVL_HUB_HF;
    assert_false(qvl_hub_find(&ref, found));
}

/* Where a modelscope before 1.38 has its folder, newer ones look at no other. */
static void test_old_modelscope(void **state)
{
    (void)state;
    static const char *const folder[] = {".cache/modelscope/models/Qwen/" NAME,
                                         ".cache/modelscope/hub/models/Qwen/" NAME};
    char path[4096], name[512];
    for (size_t i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "%s/config.json", folder[i]);
        cache_write(name, "{}");
        struct qvl_hub_store *store = open_store(QVL_HUB_MODELSCOPE, "master", NULL);
        fetch_all(store, path);
        qvl_hub_store_close(store);
        assert_string_equal(path, cache_path(folder[i]));
        cache_assert_text(name, CONFIG);
        assert_false(cache_has(MS));
        struct qvl_error err = {0};
        assert_int_equal(qvl_hub_path_remove(path, &err), QVL_OK);
    }
}

static void test_plain_folder(void **state)
{
    (void)state;
    char path[4096], text[256], hex[65];
    struct qvl_hub_file file = file_of(&contents[1]), config = file_of(&contents[0]);
    struct qvl_hub_store *store = open_store(QVL_HUB_HF, COMMIT_A, cache_path("my/model"));
    cache_write("my/model/config.json", CONFIG); /* somebody put it there */
    assert_int_equal(qvl_hub_store_find(store, &config, path), QVL_HUB_FOUND_UNCHECKED);
    fetch(store, &contents[1]);
    assert_false(cache_has("my/model/model.safetensors"));
    fetch_all(store, path);
    assert_int_equal(qvl_hub_store_find(store, &file, path), QVL_HUB_FOUND); /* as its note says */
    qvl_hub_store_close(store);
    cache_assert_text("my/model/deep/er/notes.txt", "notes");
    assert_false(cache_has("my/model/.cache/huggingface/qvl"));
    cache_assert_text("my/model/.cache/huggingface/.gitignore", "*");
    FILE *f = fopen(cache_path("my/model/.cache/huggingface/download/model.safetensors.metadata"), "r");
    assert_non_null(f);
    assert_non_null(fgets(text, sizeof text, f));
    assert_string_equal(text, COMMIT_A "\n");
    assert_non_null(fgets(text, sizeof text, f));
    sha256_hex("weights", 7, hex);
    assert_memory_equal(text, hex, 64);
    fclose(f);
    /* Changed later: the note is not believed. */
    cache_write("my/model/model.safetensors", "WEIGHTS");
    struct timespec later[2] = {{.tv_sec = 4000000000}, {.tv_sec = 4000000000}};
    assert_int_equal(utimensat(AT_FDCWD, cache_path("my/model/model.safetensors"), later, 0), 0);
    store = open_store(QVL_HUB_HF, COMMIT_A, cache_path("my/model"));
    assert_int_equal(qvl_hub_store_find(store, &file, path), QVL_HUB_FOUND_UNCHECKED);
    struct qvl_error err = {0};
    assert_int_equal(qvl_hub_store_drop(store, &file, false, &err), QVL_OK);
    assert_int_equal(qvl_hub_store_find(store, &file, path), QVL_HUB_NOT_FOUND);
    qvl_hub_store_close(store);
}

static void test_locks(void **state)
{
    (void)state;
    struct qvl_hub_ref ref = ref_of(QVL_HUB_HF);
    struct qvl_hub_file file = file_of(&contents[1]);
    struct qvl_hub_store *store = open_store(QVL_HUB_HF, COMMIT_A, NULL), *second = NULL;
    struct qvl_error err = {0};
    char path[4096], name[256], hex[65];
    bool is_busy = false;
    assert_int_equal(qvl_hub_store_open(&ref, COMMIT_A, NULL, &second, &is_busy, &err), QVL_OK);
    assert_true(is_busy);
    assert_null(second);
    /* huggingface_hub's own lock of the file: it waits until the file is there. */
    sha256_hex("weights", 7, hex);
    snprintf(name, sizeof name, ".cache/huggingface/hub/.locks/models--Qwen--" NAME "/%s.lock", hex);
    assert_int_equal(qvl_hub_store_partial(store, &file, path, &err), QVL_OK);
    int fd = open(cache_path(name), O_RDWR);
    assert_true(fd >= 0);
    assert_int_not_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    write_at(path, "weights");
    assert_int_equal(qvl_hub_store_commit(store, &file, &err), QVL_OK);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    /* And who holds it does not stop us. */
    file = file_of(&contents[2]);
    assert_int_equal(qvl_hub_store_partial(store, &file, path, &err), QVL_OK);
    close(fd);
    qvl_hub_store_close(store);
    store = open_store(QVL_HUB_HF, COMMIT_A, NULL);
    qvl_hub_store_close(store);
}

/* A partial that is a link, or another file's second name, is not written to. */
static void test_hostile_partial(void **state)
{
    (void)state;
    struct qvl_hub_file file = file_of(&contents[1]);
    struct qvl_error err = {0};
    char path[4096], partial[4096];
    cache_write("victim", "precious");
    struct qvl_hub_store *store = open_store(QVL_HUB_HF, COMMIT_A, NULL);
    assert_int_equal(qvl_hub_store_partial(store, &file, partial, &err), QVL_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(qvl_hub_path_remove(partial, &err), QVL_OK);
        assert_int_equal(i == 0   ? symlink(cache_path("victim"), partial)
                         : i == 1 ? link(cache_path("victim"), partial)
                                  : mkdir(partial, 0777),
                         0);
        assert_int_equal(qvl_hub_store_partial(store, &file, path, &err), QVL_OK);
        assert_string_equal(path, partial);
        write_at(path, "weights");
        cache_assert_text("victim", "precious");
    }
    /* What became a link after that is not taken for the file either. */
    assert_int_equal(unlink(partial), 0);
    cache_write("other", "weights");
    assert_int_equal(symlink(cache_path("other"), partial), 0);
    assert_int_equal(qvl_hub_store_commit(store, &file, &err), QVL_ERR_FILE);
    qvl_hub_store_close(store);
}

static void test_hostile_names(void **state)
{
    (void)state;
    static const char *const name[] = {"../x", "/etc/x", "a/../../x", "", ".cache/x", "a\\..\\x"};
    static const char *const commit[] = {"..", "../x", "/x", "", "a/b", ".hidden"};
    struct qvl_hub_ref ref = ref_of(QVL_HUB_HF);
    struct qvl_error err = {0};
    char path[4096];
    bool is_busy = false;
    for (size_t i = 0; i < sizeof commit / sizeof *commit; i++) {
        struct qvl_hub_store *store = NULL;
        assert_int_equal(qvl_hub_store_open(&ref, commit[i], NULL, &store, &is_busy, &err), QVL_ERR_FILE);
    }
    for (int has_sum = 0; has_sum < 2; has_sum++)
        for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
            struct qvl_hub_store *store = open_store(QVL_HUB_MODELSCOPE, "master", NULL);
            struct qvl_hub_file file = {.path = name[i], .n_bytes = 1, .has_sha256 = has_sum};
            assert_int_equal(qvl_hub_store_find(store, &file, path), QVL_HUB_NOT_FOUND);
            assert_int_equal(qvl_hub_store_partial(store, &file, path, &err), QVL_OK); /* under a sum: harmless */
            write_at(path, "x");
            assert_int_equal(qvl_hub_store_commit(store, &file, &err), QVL_ERR_FILE);
            assert_int_equal(qvl_hub_store_drop(store, &file, false, &err), QVL_ERR_FILE);
            qvl_hub_store_close(store);
        }
    assert_false(cache_has("x") || cache_has(MS "/x") || cache_has(MS "/snapshots/master"));
}

static void test_read_only(void **state)
{
    (void)state;
    struct qvl_hub_file files[N_CONTENT], more = {.path = "more", .n_bytes = 1};
    struct qvl_error err = {0};
    char path[4096];
    struct qvl_hub_store *store = open_store(QVL_HUB_HF, COMMIT_A, NULL);
    fetch_all(store, path);
    qvl_hub_store_close(store);
    assert_int_equal(system("chmod -R a-w,a+rX \"$HOME\""), 0);
    bool is_root = geteuid() == 0; /* who may write everywhere, and is somebody else for a while */
    if (is_root && setresuid(65534, 65534, 0) != 0)
        skip();
    for (size_t i = 0; i < N_CONTENT; i++)
        files[i] = file_of(&contents[i]);
    store = open_store(QVL_HUB_HF, COMMIT_A, NULL);
    assert_int_equal(qvl_hub_store_find(store, &files[0], path), QVL_HUB_FOUND);
    assert_int_equal(qvl_hub_store_partial(store, &more, path, &err), QVL_ERR_FILE);
    assert_non_null(strstr(err.text, "--local-dir"));
    assert_int_equal(qvl_hub_store_finish(store, files, N_CONTENT, path, &err), QVL_OK);
    qvl_hub_store_close(store);
    /* Another commit would have to be written. */
    struct qvl_hub_ref ref = ref_of(QVL_HUB_HF);
    bool is_busy = false;
    assert_int_equal(qvl_hub_store_open(&ref, COMMIT_B, NULL, &store, &is_busy, &err), QVL_ERR_FILE);
    assert_non_null(strstr(err.text, "cannot"));
    assert_true(!is_root || setresuid(0, 0, 0) == 0);
}

/* ---- what is there -------------------------------------------------------------------------------- */

static void write_model(const char *folder)
{
    char name[512];
    snprintf(name, sizeof name, "%s/config.json", folder);
    cache_write(name, CONFIG);
    snprintf(name, sizeof name, "%s/tokenizer.json", folder);
    cache_write(name, "{}");
    snprintf(name, sizeof name, "%s/model.safetensors", folder);
    cache_write(name, "weights");
}

static bool is_found(const char *text, char path[4096])
{
    struct qvl_hub_ref ref;
    struct qvl_error err = {0};
    assert_int_equal(qvl_hub_ref_parse(text, &ref, &err), QVL_OK);
    return qvl_hub_find(&ref, path);
}

static void test_whole(void **state)
{
    (void)state;
    static const char *const model = "Qwen/" NAME, *const folder = HF "/snapshots/" COMMIT_A;
    char path[4096];
    cache_write(HF "/refs/main", COMMIT_A);
    assert_false(is_found(model, path));
    cache_write(HF "/snapshots/" COMMIT_A "/config.json", CONFIG);
    cache_write(HF "/snapshots/" COMMIT_A "/tokenizer.json", "{}");
    assert_false(is_found(model, path));
    cache_write(HF "/snapshots/" COMMIT_A "/model.safetensors.index.json",
                "{\"weight_map\": {\"a\": \"model-00001-of-00002.safetensors\", \"b\": "
                "\"model-00002-of-00002.safetensors\"}}");
    cache_write(HF "/snapshots/" COMMIT_A "/model-00001-of-00002.safetensors", "1");
    cache_write(HF "/snapshots/" COMMIT_A "/model.safetensors", "not what the index says");
    assert_false(is_found(model, path));
    cache_link(HF "/snapshots/" COMMIT_A "/model-00002-of-00002.safetensors", "../../blobs/2");
    assert_false(is_found(model, path));
    cache_write(HF "/blobs/2", "2");
    assert_true(is_found(model, path));
    assert_string_equal(path, cache_path(folder));
    /* An index that leads out of the folder. */
    cache_write("secret.safetensors", "s");
    cache_write(HF "/snapshots/" COMMIT_A "/model.safetensors.index.json",
                "{\"weight_map\": {\"a\": \"../../../../../../../secret.safetensors\"}}");
    assert_false(is_found(model, path));
    /* Another family, and no JSON at all. */
    unlink(cache_path(HF "/snapshots/" COMMIT_A "/model.safetensors.index.json"));
    assert_true(is_found(model, path));
    cache_write(HF "/snapshots/" COMMIT_A "/config.json", "{\"model_type\": \"qwen2_vl\"}");
    assert_false(is_found(model, path));
    cache_write(HF "/snapshots/" COMMIT_A "/config.json", "{\"model_type\": ");
    assert_false(is_found(model, path));
}

/* Whatever a folder's config.json holds: it is no model of this family, and nothing falls over it. */
static void test_foreign_config(void **state)
{
#define FOREIGN ".cache/huggingface/hub/models--a--b/"
    static const char *const configs[] = {"",
                                          "{}",
                                          "[]",
                                          "null",
                                          "{\"model_type\": null}",
                                          "{\"model_type\": 3}",
                                          "{\"model_type\": [\"qwen3_vl\"]}",
                                          "{\"model_type\": \"bert\"}",
                                          "{\"model_type\""};
    (void)state;
    cache_write(FOREIGN "refs/main", "0123456789abcdef0123456789abcdef01234567");
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        struct qvl_hub_ref ref = {.owner = "a", .name = "b"};
        char path[4096];
        cache_write(FOREIGN "snapshots/0123456789abcdef0123456789abcdef01234567/config.json", configs[i]);
        assert_false(qvl_hub_find(&ref, path));
    }
}

static void test_gguf(void **state)
{
    (void)state;
    char path[4096];
    static const char *const model = "Qwen/" NAME "-GGUF";
    cache_write(HF "-GGUF/refs/main", COMMIT_A "\n");
    cache_write(HF "-GGUF/snapshots/" COMMIT_A "/a-Q4_K_M.gguf", "GGUF");
    assert_false(is_found(model, path));
    cache_write(HF "-GGUF/snapshots/" COMMIT_A "/mmproj-a-F16.gguf", "GGUF");
    assert_true(is_found(model, path));
    assert_string_equal(path, cache_path(HF "-GGUF/snapshots/" COMMIT_A "/a-Q4_K_M.gguf"));
    cache_write(HF "-GGUF/snapshots/" COMMIT_A "/b-Q8_0.gguf", "GGUF");
    assert_true(is_found(model, path));
    assert_string_equal(path, cache_path(HF "-GGUF/snapshots/" COMMIT_A "/b-Q8_0.gguf"));
}

static void test_revisions(void **state)
{
    (void)state;
    char path[4096];
    write_model(HF "/snapshots/" COMMIT_A);
    write_model(HF "/snapshots/" COMMIT_B);
    cache_write(HF "/refs/main", COMMIT_B);
    cache_write(HF "/refs/refs/pr/1", COMMIT_A);
    assert_true(is_found("Qwen/" NAME, path));
    assert_string_equal(path, cache_path(HF "/snapshots/" COMMIT_B));
    assert_true(is_found("hf:Qwen/" NAME "@" COMMIT_A, path));
    assert_string_equal(path, cache_path(HF "/snapshots/" COMMIT_A));
    assert_true(is_found("Qwen/" NAME "@refs/pr/1", path));
    assert_string_equal(path, cache_path(HF "/snapshots/" COMMIT_A));
    assert_false(is_found("Qwen/" NAME "@other", path));
    /* huggingface_hub writes the ref before the files: the last whole one counts. */
    cache_write(HF "/refs/main", "cccccccccccccccccccccccccccccccccccccccc");
    assert_true(is_found("Qwen/" NAME, path));
    cache_write(HF "/refs/main", "../../../../.."); /* leads nowhere */
    assert_true(is_found("Qwen/" NAME, path));
    assert_non_null(strstr(path, "/snapshots/"));
    write_model(MS "/snapshots/v1");
    assert_true(is_found("ms:Qwen/" NAME, path));
    assert_string_equal(path, cache_path(MS "/snapshots/v1"));
    write_model(MS "/snapshots/master");
    assert_true(is_found("ms:Qwen/" NAME, path));
    assert_string_equal(path, cache_path(MS "/snapshots/master"));
    setenv("VLLM_USE_MODELSCOPE", "1", 1);
    assert_true(is_found("Qwen/" NAME, path));
    assert_string_equal(path, cache_path(MS "/snapshots/master"));
}

static void set_time(const char *folder, time_t seconds)
{
    static const char *const name[] = {"config.json", "tokenizer.json", "model.safetensors"};
    struct timespec times[2] = {{.tv_sec = seconds}, {.tv_sec = seconds}};
    for (size_t i = 0; i < 3; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, name[i]);
        assert_int_equal(utimensat(AT_FDCWD, cache_path(path), times, 0), 0);
    }
}

static void test_list(void **state)
{
    (void)state;
    static const struct {
        const char *folder;
        enum qvl_hub_source source;
        const char *name, *revision;
    } expected[] = {
        {".local/share/qvl/models/Qwen--" NAME "-q4", QVL_HUB_AUTO, NAME "-q4", ""},
        {HF "/snapshots/" COMMIT_B, QVL_HUB_HF, NAME, ""},
        {HF "/snapshots/" COMMIT_A, QVL_HUB_HF, NAME, COMMIT_A},
        {MS "/snapshots/master", QVL_HUB_MODELSCOPE, NAME, ""},
        {".cache/modelscope/hub/models/Qwen/Qwen3___5-VL", QVL_HUB_MODELSCOPE, "Qwen3.5-VL", ""},
        {".cache/modelscope/models/Qwen/Old", QVL_HUB_MODELSCOPE, "Old", ""},
        {".cache/modelscope/hub/Qwen/Older", QVL_HUB_MODELSCOPE, "Older", ""},
        {".cache/modelscope/Qwen/Oldest", QVL_HUB_MODELSCOPE, "Oldest", ""},
    };
    enum { N = sizeof expected / sizeof *expected };
    struct qvl_hub_model *model = NULL;
    struct qvl_error err = {0};
    size_t n = 0;
    assert_int_equal(qvl_hub_list(&model, &n, &err), QVL_OK);
    assert_int_equal(n, 0);
    free(model);
    for (int i = 0; i < N; i++) {
        write_model(expected[i].folder);
        set_time(expected[i].folder, 1700000000 - i);
    }
    cache_write(HF "/refs/main", COMMIT_B);
    /* Others, and what is no model's folder at all. */
    write_model(HF "x/snapshots/" COMMIT_A);
    cache_write(HF "x/snapshots/" COMMIT_A "/config.json", "{\"model_type\": \"llama\"}");
    cache_write(".cache/huggingface/hub/models--/x", "");
    cache_write(".cache/huggingface/hub/models--..--..", "");
    cache_write(".cache/huggingface/hub/version.txt", "1");
    cache_link(".cache/huggingface/hub/models--Qwen--Qwen3-VL-loop", ".");
    cache_link(".cache/modelscope/models/Qwen/loop", "..");
    /* Begun and not ended: the name tells. */
    cache_write(".cache/huggingface/hub/models--Qwen--Qwen3-VL-4B-Instruct/blobs/0.qvl-part", "half");
    assert_int_equal(qvl_hub_list(&model, &n, &err), QVL_OK);
    size_t i_half = n;
    for (size_t i = 0; i < n; i++)
        if (!model[i].is_whole && strcmp(model[i].ref.name, "Qwen3-VL-4B-Instruct") == 0)
            i_half = i;
    assert_true(i_half < n);
    assert_int_equal(model[i_half].n_bytes, 4);
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        if (!model[i].is_whole)
            continue;
        assert_true(k < N);
        assert_string_equal(model[i].path, cache_path(expected[k].folder));
        assert_string_equal(model[i].ref.owner, "Qwen");
        assert_string_equal(model[i].ref.name, expected[k].name);
        assert_string_equal(model[i].ref.revision, expected[k].revision);
        assert_int_equal(model[i].ref.source, expected[k].source);
        assert_int_equal(model[i].is_qvl, k == 0);
        assert_int_equal(model[i].n_bytes, strlen(CONFIG) + 2 + 7);
        assert_int_equal(model[i].changed, 1700000000 - (int)k);
        k++;
    }
    assert_int_equal(k, N);
    free(model);
}

/* ---- removing ------------------------------------------------------------------------------------- */

static void link_model(const char *commit, const char *config_blob)
{
    static const char *const name[] = {"config.json", "tokenizer.json", "model.safetensors"};
    const char *blob[] = {config_blob, "t", "w"};
    for (size_t i = 0; i < 3; i++) {
        char path[512], target[64];
        snprintf(path, sizeof path, HF "/snapshots/%s/%s", commit, name[i]);
        snprintf(target, sizeof target, "../../blobs/%s", blob[i]);
        cache_link(path, target);
    }
    char path[512];
    snprintf(path, sizeof path, HF "/blobs/%s", config_blob);
    cache_write(path, CONFIG);
    cache_write(HF "/blobs/t", "{}");
    cache_write(HF "/blobs/w", "weights");
}

static void remove_at(const char *folder, enum qvl_status expected)
{
    struct qvl_hub_model *model = NULL;
    struct qvl_error err = {0};
    size_t n = 0;
    bool is_there = false;
    assert_int_equal(qvl_hub_list(&model, &n, &err), QVL_OK);
    for (size_t i = 0; i < n && !is_there; i++)
        if (strcmp(model[i].folder, cache_path(folder)) == 0) {
            is_there = true;
            if (qvl_hub_remove(&model[i], &err) != expected)
                fail_msg("%s", err.text);
        }
    assert_true(is_there);
    free(model);
}

static void test_remove_hugging_face(void **state)
{
    (void)state;
    struct qvl_hub_model *model = NULL;
    struct qvl_error err = {0};
    size_t n = 0;
    cache_write("victim/precious", "p");
    link_model(COMMIT_A, "a");
    link_model(COMMIT_B, "b");
    cache_link(HF "/snapshots/" COMMIT_A "/out", "../../../../../../victim");
    cache_link(HF "/snapshots/" COMMIT_A "/out2", "../../blobs/../../../../../victim/precious");
    cache_write(HF "/refs/main", COMMIT_B);
    cache_write(HF "/refs/old", COMMIT_A);
    cache_write(".cache/huggingface/hub/.locks/models--Qwen--" NAME "/w.lock", "");
    assert_int_equal(qvl_hub_list(&model, &n, &err), QVL_OK);
    assert_int_equal(n, 2);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(model[i].n_freed, strlen(CONFIG)); /* the rest belongs to both */
    free(model);
    remove_at(HF "/snapshots/" COMMIT_A, QVL_OK);
    assert_false(cache_has(HF "/snapshots/" COMMIT_A) || cache_has(HF "/blobs/a") || cache_has(HF "/refs/old"));
    assert_true(cache_has(HF "/blobs/b") && cache_has(HF "/blobs/t") && cache_has(HF "/blobs/w"));
    cache_assert_text(HF "/snapshots/" COMMIT_B "/model.safetensors", "weights");
    cache_assert_text(HF "/refs/main", COMMIT_B);
    remove_at(HF "/snapshots/" COMMIT_B, QVL_OK);
    assert_false(cache_has(HF) || cache_has(".cache/huggingface/hub/.locks/models--Qwen--" NAME));
    cache_assert_text("victim/precious", "p");
}

static void test_remove_others(void **state)
{
    (void)state;
    static const char *const folder[] = {MS "/snapshots/v1", ".cache/modelscope/hub/models/Qwen/" NAME,
                                         ".local/share/qvl/models/Qwen--" NAME "-q4"};
    for (size_t i = 0; i < 3; i++) {
        write_model(folder[i]);
        remove_at(folder[i], QVL_OK);
        assert_false(cache_has(folder[i]));
    }
    assert_false(cache_has(MS));
    write_model(MS "/snapshots/master");
    write_model(MS "/snapshots/v1");
    remove_at(MS "/snapshots/v1", QVL_OK);
    assert_true(cache_has(MS "/snapshots/master/config.json"));
}

/* A kill in the middle of a removal leaves the hidden name; the next removal takes it along. */
static void test_remove_leftovers(void **state)
{
    (void)state;
    cache_write("victim/precious", "p");
    cache_write(".cache/modelscope/.qvl-removed.1/model.safetensors", "weights");
    cache_link(".cache/modelscope/.qvl-removed.2", "../../victim");
    write_model(MS "/snapshots/master");
    remove_at(MS "/snapshots/master", QVL_OK);
    assert_false(cache_has(".cache/modelscope/.qvl-removed.1") || cache_has(".cache/modelscope/.qvl-removed.2"));
    cache_assert_text("victim/precious", "p");
}

/* What is removed is a folder, never what a link in its place leads to. */
static void test_remove_behind_link(void **state)
{
    (void)state;
    struct qvl_hub_walk walk;
    struct qvl_error err = {0};
    cache_write("victim/precious", "p");
    cache_link("link", "victim");
    assert_int_equal(qvl_hub_walk_open_folder(cache_path("link"), &walk, &err), QVL_ERR_FILE);
    assert_int_equal(qvl_hub_path_remove(cache_path("link"), &err), QVL_OK);
    assert_false(cache_has("link"));
    cache_assert_text("victim/precious", "p");
}

static void test_remove_in_use(void **state)
{
    (void)state;
    struct qvl_error err = {0};
    write_model(HF "/snapshots/" COMMIT_A);
    write_model(MS "/snapshots/master");
    struct qvl_hub_store *store = open_store(QVL_HUB_HF, COMMIT_B, NULL);
    remove_at(HF "/snapshots/" COMMIT_A, QVL_ERR_FILE);
    qvl_hub_store_close(store);
    store = open_store(QVL_HUB_MODELSCOPE, "master", NULL);
    remove_at(MS "/snapshots/master", QVL_ERR_FILE);
    qvl_hub_store_close(store);
    assert_true(cache_has(HF "/snapshots/" COMMIT_A "/config.json"));
    assert_true(cache_has(MS "/snapshots/master/config.json"));
    /* Somebody's folder that is in no cache. */
    struct qvl_hub_model model = {.ref = ref_of(QVL_HUB_HF)};
    write_model("mine");
    strcpy(model.folder, cache_path("mine"));
    for (int i = 0; i < 3; i++) {
        model.is_qvl = i == 2;
        model.ref.source = i == 1 ? QVL_HUB_MODELSCOPE : QVL_HUB_HF;
        assert_int_equal(qvl_hub_remove(&model, &err), QVL_ERR_FILE);
    }
    strcpy(model.folder, cache_path(HF "/snapshots/../../../../../mine"));
    model.is_qvl = false;
    model.ref.source = QVL_HUB_HF;
    assert_int_equal(qvl_hub_remove(&model, &err), QVL_ERR_FILE);
    assert_true(cache_has("mine/config.json"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, cache_folder_open, cache_folder_close)
    const struct CMUnitTest tests[] = {
        TEST(test_hugging_face),        TEST(test_next_commit),
        TEST(test_leave),               TEST(test_leave_modelscope),
        TEST(test_begun_by_another),    TEST(test_without_links),
        TEST(test_modelscope),          TEST(test_old_modelscope),
        TEST(test_plain_folder),        TEST(test_locks),
        TEST(test_hostile_partial),     TEST(test_hostile_names),
        TEST(test_read_only),           TEST(test_whole),
        TEST(test_foreign_config),      TEST(test_gguf),
        TEST(test_revisions),           TEST(test_list),
        TEST(test_remove_hugging_face), TEST(test_remove_others),
        TEST(test_remove_in_use),       TEST(test_remove_leftovers),
        TEST(test_remove_behind_link),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

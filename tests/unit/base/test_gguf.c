/* The reader of GGUF headers: what the format allows, and every way to lie about it that is known from other
 * readers. Files are put together byte by byte as docs/gguf.md of ggml says. And which files a model path means. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/gguf.h"
#include "base/limits.h"

/* ---- a file, byte by byte ------------------------------------------------------------------------ */

static struct qvl_bytes file;

static void put(const void *data, size_t n)
{
    struct qvl_error err;
    assert_int_equal(qvl_bytes_add(&file, data, n, &err), QVL_OK);
}

static void u8(uint8_t x)
{
    put(&x, 1);
}

static void u32(uint32_t x)
{
    const uint8_t bytes[] = {(uint8_t)x, (uint8_t)(x >> 8), (uint8_t)(x >> 16), (uint8_t)(x >> 24)};
    put(bytes, sizeof bytes);
}

static void u64(uint64_t x)
{
    u32((uint32_t)x);
    u32((uint32_t)(x >> 32));
}

static void text(const char *s)
{
    u64(strlen(s));
    put(s, strlen(s));
}

static void begin(uint32_t version, uint64_t n_tensor, uint64_t n_key)
{
    file.n = 0;
    put("GGUF", 4);
    u32(version);
    u64(n_tensor);
    u64(n_key);
}

static void key(const char *name, uint32_t kind)
{
    text(name);
    u32(kind);
}

static void key_u32(const char *name, uint32_t x)
{
    key(name, QVL_GGUF_U32);
    u32(x);
}

static void array(const char *name, uint32_t element, uint64_t n)
{
    key(name, QVL_GGUF_ARRAY);
    u32(element);
    u64(n);
}

/* Sizes from the inner one outwards, as in the file. */
static void tensor(const char *name, uint32_t n_dim, const uint64_t *dim, uint32_t type, uint64_t at)
{
    text(name);
    u32(n_dim);
    for (uint32_t i = 0; i < n_dim; i++)
        u64(dim[i]);
    u32(type);
    u64(at);
}

static void tensor_1d(const char *name, uint64_t n, uint32_t type, uint64_t at)
{
    tensor(name, 1, &n, type, at);
}

/* To a multiple of 32, then n bytes. */
static void data(size_t n)
{
    while (file.n % 32)
        u8(0);
    for (size_t i = 0; i < n; i++)
        u8((uint8_t)i);
}

/* ---- what is found ------------------------------------------------------------------------------- */

struct parsed {
    struct qvl_arena arena;
    struct qvl_gguf gguf;
    struct qvl_error err;
    uint8_t *bytes;
};

/* Of a copy exactly as long, so that a sanitizer sees a byte too far. */
static enum qvl_status parse(struct parsed *p, size_t n, uint64_t file_bytes)
{
    *p = (struct parsed){.bytes = malloc(n ? n : 1)};
    assert_non_null(p->bytes);
    memcpy(p->bytes, file.data ? file.data : "", n);
    return qvl_gguf_parse(p->bytes, n, file_bytes, "f", &p->arena, &p->gguf, &p->err);
}

static void done(struct parsed *p)
{
    qvl_arena_free(&p->arena);
    free(p->bytes);
}

static void refuse(const char *sentence)
{
    struct parsed p;
    if (!parse(&p, file.n, file.n))
        fail_msg("accepted, but expected: %s", sentence);
    assert_int_equal(p.err.status, QVL_ERR_MODEL);
    if (!strstr(p.err.text, sentence))
        fail_msg("expected \"%s\", found \"%s\"", sentence, p.err.text);
    done(&p);
}

/* ---- tests --------------------------------------------------------------------------------------- */

/* Length of its header. */
static size_t small_file(void)
{
    const uint64_t dim[] = {32, 3};
    begin(3, 2, 7);
    key("zeta", QVL_GGUF_STRING);
    text("hi");
    key_u32("alpha", 4000000000u);
    key("minus", QVL_GGUF_I16);
    put("\xfe\xff", 2);
    key("half", QVL_GGUF_F32);
    put("\0\0\0\x3f", 4);
    key("yes", QVL_GGUF_BOOL);
    u8(1);
    array("words", QVL_GGUF_STRING, 2);
    text("");
    text("abc");
    array("list", QVL_GGUF_I32, 3);
    u32(1);
    u32(0xffffffff);
    u32(7);
    tensor("m", 2, dim, QVL_GGML_Q8_0, 32);
    tensor_1d("v", 5, QVL_GGML_F32, 0);
    size_t n_header = file.n;
    data(32 + 3 * 34);
    return n_header;
}

static void reads_every_field(void **state)
{
    struct parsed p;
    uint64_t x = 0, at;
    double real = 0;
    const char *s;
    size_t n = 0;
    (void)state;
    small_file();
    if (parse(&p, file.n, file.n))
        fail_msg("%s", p.err.text);
    const struct qvl_gguf *g = &p.gguf;
    assert_int_equal(g->n_key, 7);
    assert_int_equal(g->n_tensor, 2);
    assert_string_equal(g->tensor[0].name, "v");
    assert_int_equal(g->tensor[0].end - g->tensor[0].begin, 20);
    assert_string_equal(g->tensor[1].name, "m");
    assert_int_equal(g->tensor[1].n_dim, 2);
    assert_int_equal(g->tensor[1].dim[0], 3);
    assert_int_equal(g->tensor[1].dim[1], 32);
    assert_int_equal(g->tensor[1].n_element, 96);
    assert_int_equal(g->tensor[1].begin, g->data_at + 32);
    assert_int_equal(g->tensor[1].end, file.n);
    assert_int_equal(qvl_gguf_u64(g, "alpha", 0, UINT32_MAX, &x, &p.err), QVL_OK);
    assert_int_equal(x, 4000000000u);
    assert_int_equal(qvl_gguf_u64(g, "yes", 1, 1, &x, &p.err), QVL_OK);
    assert_int_equal(qvl_gguf_f64(g, "half", 0, 1, &real, &p.err), QVL_OK);
    assert_true(real == 0.5);
    assert_int_equal(qvl_gguf_string(g, "zeta", &s, &n, &p.err), QVL_OK);
    assert_int_equal(n, 2);
    assert_memory_equal(s, "hi", 2);
    assert_true(qvl_gguf_number_at(g, qvl_gguf_find(g, "list"), 1) == -1);
    assert_true(qvl_gguf_number_at(g, qvl_gguf_find(g, "minus"), 0) == -2);
    const struct qvl_gguf_key *words = qvl_gguf_find(g, "words");
    assert_int_equal(words->n, 2);
    at = words->at;
    qvl_gguf_next_string(g, &at, &n);
    assert_int_equal(n, 0);
    s = qvl_gguf_next_string(g, &at, &n);
    assert_int_equal(n, 3);
    assert_memory_equal(s, "abc", 3);
    assert_null(qvl_gguf_find(g, "alph"));
    done(&p);
}

static void says_what_a_value_is_not(void **state)
{
    struct parsed p;
    uint64_t x;
    double real;
    const char *s;
    size_t n;
    (void)state;
    small_file();
    assert_int_equal(parse(&p, file.n, file.n), QVL_OK);
    assert_int_equal(qvl_gguf_u64(&p.gguf, "none", 0, 1, &x, &p.err), QVL_ERR_MODEL);
    assert_string_equal(p.err.text, "f: has no key none");
    assert_int_equal(qvl_gguf_u64(&p.gguf, "half", 0, 1, &x, &p.err), QVL_ERR_MODEL);
    assert_string_equal(p.err.text, "f: half is not an integer");
    assert_int_equal(qvl_gguf_u64(&p.gguf, "minus", 0, UINT64_MAX, &x, &p.err), QVL_ERR_MODEL);
    assert_string_equal(p.err.text, "f: minus is -2, expected 0 to 18446744073709551615");
    assert_int_equal(qvl_gguf_u64(&p.gguf, "alpha", 1, 5, &x, &p.err), QVL_ERR_MODEL);
    assert_string_equal(p.err.text, "f: alpha is 4000000000, expected 1 to 5");
    assert_int_equal(qvl_gguf_f64(&p.gguf, "alpha", 0, 1, &real, &p.err), QVL_ERR_MODEL);
    assert_int_equal(qvl_gguf_f64(&p.gguf, "half", 0.6, 1, &real, &p.err), QVL_ERR_MODEL);
    assert_int_equal(qvl_gguf_string(&p.gguf, "list", &s, &n, &p.err), QVL_ERR_MODEL);
    done(&p);
}

static void accepts_what_the_format_allows(void **state)
{
    struct parsed p;
    (void)state;
    begin(2, 0, 0); /* the older version; nothing at all */
    assert_int_equal(parse(&p, file.n, file.n), QVL_OK);
    done(&p);
    begin(3, 1, 1); /* another alignment; a last tensor without its padding */
    key_u32("general.alignment", 8);
    tensor_1d("a", 3, QVL_GGML_F16, 0);
    while (file.n % 8)
        u8(0);
    put("123456", 6);
    assert_int_equal(parse(&p, file.n, file.n), QVL_OK);
    assert_int_equal(p.gguf.data_at % 8, 0);
    done(&p);
    put("78", 2); /* with it */
    assert_int_equal(parse(&p, file.n, file.n), QVL_OK);
    done(&p);
}

static void refuses_what_is_no_gguf(void **state)
{
    (void)state;
    file.n = 0;
    refuse("not a GGUF file");
    put("GGU", 3);
    refuse("not a GGUF file");
    put("F", 1);
    refuse("cut short");
    begin(1, 0, 0);
    refuse("version 1 of GGUF");
    begin(4, 0, 0);
    refuse("version 4 of GGUF");
    begin(0, 0, 0);
    refuse("version 0 of GGUF");
    begin(0x03000000, 0, 0);
    refuse("big-endian");
}

static void refuses_every_beginning(void **state)
{
    struct parsed p;
    (void)state;
    size_t n_header = small_file();
    for (size_t n = 0; n < file.n; n++) {
        if (!parse(&p, n, n))
            fail_msg("the first %zu of %zu bytes are accepted", n, file.n);
        done(&p);
    }
    for (size_t n = 0; n < n_header; n++) { /* of a file that goes on */
        assert_int_not_equal(parse(&p, n, file.n), QVL_OK);
        done(&p);
    }
    assert_int_equal(parse(&p, n_header, file.n), QVL_OK);
    done(&p);
}

static void refuses_counts_and_lengths(void **state)
{
    (void)state;
    begin(3, UINT64_MAX, 0);
    refuse("18446744073709551615 tensors");
    begin(3, 0, UINT64_MAX);
    refuse("18446744073709551615 keys");
    begin(3, 0, QVL_MAX_GGUF_KEYS + 1);
    refuse("4097 keys");
    begin(3, QVL_MAX_GGUF_TENSORS + 1, 0);
    refuse("2049 tensors");
    begin(3, 0, 1);
    u64(UINT64_MAX);
    refuse("a string of 18446744073709551615 bytes");
    begin(3, 0, 1);
    key("s", QVL_GGUF_STRING);
    u64(UINT64_MAX - 20);
    refuse("a string of 18446744073709551595 bytes");
    begin(3, 0, 1);
    key("s", QVL_GGUF_STRING);
    u64(QVL_MAX_GGUF_STRING_BYTES + 1);
    refuse("s: a string of 65537 bytes");
    begin(3, 0, 1);
    key("tokenizer.chat_template", QVL_GGUF_STRING);
    u64(QVL_MAX_GGUF_TEMPLATE_BYTES + 1);
    refuse("a string of 262145 bytes");
    begin(3, 0, 1);
    key("tokenizer.chat_template", QVL_GGUF_STRING);
    u64(QVL_MAX_GGUF_TEMPLATE_BYTES);
    refuse("cut short");
    begin(3, 0, 1);
    array("a", QVL_GGUF_U8, 1000000000);
    refuse("an array of 1000000000 elements");
    begin(3, 0, 1);
    array("a", QVL_GGUF_F64, QVL_MAX_GGUF_ARRAY);
    refuse("cut short");
    begin(3, 0, 1);
    array("a", QVL_GGUF_STRING, 3);
    text("x");
    u64(UINT64_MAX);
    refuse("a: a string of");
}

static void refuses_values(void **state)
{
    (void)state;
    begin(3, 0, 1);
    key("k", 13);
    refuse("a value of kind 13");
    begin(3, 0, 1);
    key("k", UINT32_MAX);
    refuse("a value of kind 4294967295");
    begin(3, 0, 1);
    array("k", QVL_GGUF_ARRAY, 1);
    refuse("an array of arrays");
    begin(3, 0, 1);
    array("k", 77, 0);
    refuse("a value of kind 77");
    begin(3, 0, 1);
    key("k", QVL_GGUF_BOOL);
    u8(2);
    refuse("the boolean 2");
    begin(3, 0, 1);
    array("k", QVL_GGUF_BOOL, 2);
    u8(1);
    u8(255);
    refuse("the boolean 255");
    begin(3, 0, 2);
    key_u32("same", 1);
    key_u32("same", 1);
    refuse("key same is there twice");
    begin(3, 0, 1);
    key_u32("", 1);
    refuse("printable ASCII");
    begin(3, 0, 1);
    key_u32("a b", 1);
    refuse("printable ASCII");
    begin(3, 0, 1);
    u64(3);
    put("a\0b", 3);
    refuse("printable ASCII");
}

static void refuses_alignments(void **state)
{
    static const struct {
        uint32_t alignment;
        const char *sentence;
    } bad[] = {{0, "general.alignment is 0"},
               {3, "general.alignment is 3"},
               {4, "general.alignment is 4"},
               {24, "no power of two"},
               {1u << 31, "general.alignment is 2147483648"}};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        begin(3, 0, 1);
        key_u32("general.alignment", bad[i].alignment);
        refuse(bad[i].sentence);
    }
    begin(3, 0, 1);
    key("general.alignment", QVL_GGUF_STRING);
    text("32");
    refuse("general.alignment is not an integer");
}

static void refuses_shapes(void **state)
{
    const uint64_t wrap[] = {1ull << 32, 1ull << 32}, zero[] = {32, 0}, five[] = {1, 1, 1, 1, 1},
                   negative[] = {UINT64_MAX}, one[] = {1, 1}, wide[] = {1ull << 62};
    const struct {
        uint32_t n_dim, type;
        const uint64_t *dim;
        const char *sentence;
    } bad[] = {{0, QVL_GGML_F32, one, "has 0 dimensions"},
               {5, QVL_GGML_F32, five, "has 5 dimensions"},
               {2, QVL_GGML_F32, zero, "has the size 0"},
               {1, QVL_GGML_F32, negative, "has the size 18446744073709551615"},
               {2, QVL_GGML_F32, wrap, "more than 63 bits"},
               {1, QVL_GGML_F32, wide, "more bytes than 64 bits"},
               {2, QVL_GGML_Q8_0, one, "rows of 1 numbers, no multiple of the 32 in a block of Q8_0"},
               {2, 10, one, "type 10 (Q2_K)"},
               {2, 4, one, "type 4 (?)"},
               {2, 999, one, "type 999 (?)"},
               {2, UINT32_MAX, one, "type 4294967295 (?)"}};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        begin(3, 1, 0);
        tensor("a", bad[i].n_dim, bad[i].dim, bad[i].type, 0);
        data(64);
        refuse(bad[i].sentence);
    }
}

static void two(uint64_t a, uint64_t b, size_t n_data)
{
    begin(3, 2, 0);
    tensor_1d("a", 8, QVL_GGML_F32, a);
    tensor_1d("b", 8, QVL_GGML_F32, b);
    data(n_data);
}

static void refuses_places(void **state)
{
    (void)state;
    two(0, 0, 64);
    refuse("tensor b begins at data byte 0, expected 32 (an overlap)");
    two(0, 64, 96);
    refuse("tensor b begins at data byte 64, expected 32 (a hole)");
    two(32, 64, 96);
    refuse("tensor a begins at data byte 32, expected 0 (a hole)");
    two(0, 33, 96);
    refuse("begins at data byte 33, no multiple of 32");
    two(0, UINT64_MAX - 31, 64);
    refuse("more bytes than 64 bits");
    two(0, 32, 63);
    refuse("the file is cut short");
    two(0, 32, 65);
    refuse("its tensors end at");
    begin(3, 2, 0);
    tensor_1d("a", 8, QVL_GGML_F32, 0);
    tensor_1d("a", 8, QVL_GGML_F32, 32);
    data(64);
    refuse("tensor a is there twice");
}

/* A header whose many strings end where qvl stops reading, in a file without end: nothing is allocated for it. */
static void refuses_a_header_without_end(void **state)
{
    struct parsed p;
    (void)state;
    begin(3, 0, 64);
    for (int k = 0; k < 64; k++) {
        char name[16];
        snprintf(name, sizeof name, "k%d", k);
        array(name, QVL_GGUF_U8, QVL_MAX_GGUF_ARRAY);
        for (size_t i = 0; i < QVL_MAX_GGUF_ARRAY / 4096; i++) {
            static const char zeros[4096];
            put(zeros, sizeof zeros);
        }
    }
    assert_true(file.n > QVL_MAX_GGUF_HEADER_BYTES);
    assert_int_equal(parse(&p, QVL_MAX_GGUF_HEADER_BYTES, 1ull << 40), QVL_ERR_MODEL);
    assert_non_null(strstr(p.err.text, "longer than the 67108864 bytes"));
    assert_true(p.arena.used_bytes < 1 << 20);
    done(&p);
}

/* ---- files --------------------------------------------------------------------------------------- */

static char folder[] = "/tmp/qvl-gguf-XXXXXX";

static const char *in_folder(const char *name)
{
    static char path[2][4096];
    static int i;
    snprintf(path[i ^= 1], sizeof path[0], "%s/%s", folder, name);
    return path[i];
}

static void write_file(const char *name)
{
    FILE *f = fopen(in_folder(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(file.data, 1, file.n, f), file.n);
    assert_int_equal(fclose(f), 0);
}

/* The header is longer than what is read first. */
static void opens_and_maps(void **state)
{
    struct qvl_arena arena = {0};
    struct qvl_gguf g;
    struct qvl_error err = {0};
    (void)state;
    begin(3, 1, 4);
    for (int k = 0; k < 4; k++) {
        char name[16];
        snprintf(name, sizeof name, "k%d", k);
        array(name, QVL_GGUF_STRING, 100000);
        for (int i = 0; i < 100000; i++)
            text("word");
    }
    tensor_1d("a", 64, QVL_GGML_F32, 0);
    data(256);
    write_file("long.gguf");
    assert_true(qvl_gguf_is(in_folder("long.gguf")));
    if (qvl_gguf_open(in_folder("long.gguf"), &arena, &g, &err))
        fail_msg("%s", err.text);
    assert_int_equal(qvl_gguf_find(&g, "k3")->n, 100000);
    assert_int_equal(qvl_gguf_map(&g, &err), QVL_OK);
    for (size_t i = 0; i < 256; i++)
        assert_int_equal(g.map[g.tensor[0].begin + i], i);
    qvl_gguf_close(&g);
    qvl_arena_free(&arena);

    file.n -= 100; /* now cut */
    write_file("long.gguf");
    assert_int_equal(qvl_gguf_open(in_folder("long.gguf"), &arena, &g, &err), QVL_ERR_MODEL);
    assert_non_null(strstr(err.text, "the file is cut short"));
    assert_int_equal(qvl_gguf_open(folder, &arena, &g, &err), QVL_ERR_FILE);
    assert_int_equal(qvl_gguf_open("/dev/zero", &arena, &g, &err), QVL_ERR_FILE);
    assert_int_equal(mkfifo(in_folder("pipe.gguf"), 0600), 0);
    assert_int_equal(qvl_gguf_open(in_folder("pipe.gguf"), &arena, &g, &err), QVL_ERR_FILE);
    assert_false(qvl_gguf_is(in_folder("pipe.gguf")));
    qvl_arena_free(&arena);
    unlink(in_folder("pipe.gguf"));
    unlink(in_folder("long.gguf"));
}

struct pair_case {
    const char *there; /* files, with blanks between */
    const char *path;  /* in the folder */
    const char *text, *mmproj;
    const char *sentence; /* of a refusal */
};

static void check_pair(const struct pair_case *c)
{
    char names[512], path[4200];
    struct qvl_gguf_pair pair;
    struct qvl_error err = {0};
    begin(3, 0, 0);
    snprintf(names, sizeof names, "%s", c->there);
    for (char *save, *name = strtok_r(names, " ", &save); name; name = strtok_r(NULL, " ", &save))
        write_file(name);
    snprintf(path, sizeof path, "%s/%s", folder, c->path);
    enum qvl_status status = qvl_gguf_pair_find(path, &pair, &err);
    if (c->sentence) {
        assert_int_equal(status, QVL_ERR_FILE);
        if (!strstr(err.text, c->sentence))
            fail_msg("%s: expected \"%s\", found \"%s\"", c->there, c->sentence, err.text);
    } else {
        assert_int_equal(status, QVL_OK);
        assert_int_equal(pair.is_found, c->text != NULL);
        if (c->text)
            assert_string_equal(strrchr(pair.text, '/') + 1, c->text);
        if (c->text && !*c->mmproj)
            assert_string_equal(pair.mmproj, "");
        else if (c->text)
            assert_string_equal(strrchr(pair.mmproj, '/') + 1, c->mmproj);
    }
    snprintf(names, sizeof names, "%s", c->there);
    for (char *save, *name = strtok_r(names, " ", &save); name; name = strtok_r(NULL, " ", &save))
        unlink(in_folder(name));
}

static void finds_pairs(void **state)
{
    static const struct pair_case cases[] = {
        /* Qwen's names, unsloth's, those of qvl convert */
        {"Qwen3VL-2B-Instruct-Q8_0.gguf mmproj-Qwen3VL-2B-Instruct-F16.gguf", "", "Qwen3VL-2B-Instruct-Q8_0.gguf",
         "mmproj-Qwen3VL-2B-Instruct-F16.gguf", NULL},
        {"M-Q4_K_M.gguf mmproj-F16.gguf mmproj-BF16.gguf", "M-Q4_K_M.gguf", "M-Q4_K_M.gguf", "mmproj-BF16.gguf",
         NULL},
        {"M-Q4_K_M.gguf mmproj-F16.gguf mmproj-F32.gguf", "M-Q4_K_M.gguf", "M-Q4_K_M.gguf", "mmproj-F32.gguf",
         NULL},
        {"M-F16.gguf mmproj-M-F16.gguf mmproj-M-BF16.gguf", "M-F16.gguf", "M-F16.gguf", "mmproj-M-F16.gguf", NULL},
        {"a.gguf b.gguf mmproj-a.gguf mmproj-b.gguf", "b.gguf", "b.gguf", "mmproj-b.gguf", NULL},
        /* many models in one folder */
        {"X-2B-Q8_0.gguf X-8B-Q8_0.gguf mmproj-X-2B-F16.gguf mmproj-X-8B-F16.gguf", "X-8B-Q8_0.gguf",
         "X-8B-Q8_0.gguf", "mmproj-X-8B-F16.gguf", NULL},
        {"r_2B_X-2B-Q8_0.gguf r_8B_X-8B-Q8_0.gguf r_2B_mmproj-F16.gguf r_8B_mmproj-F16.gguf", "r_2B_X-2B-Q8_0.gguf",
         "r_2B_X-2B-Q8_0.gguf", "r_2B_mmproj-F16.gguf", NULL},
        /* parts */
        {"M-00001-of-00002.gguf M-00002-of-00002.gguf mmproj.gguf", "", "M-00001-of-00002.gguf", "mmproj.gguf",
         NULL},
        /* incomplete */
        {"M.gguf", "", "M.gguf", "", NULL},
        {"mmproj-M.gguf", "", NULL, NULL, "no GGUF file of the text model"},
        {"a.gguf b.gguf mmproj.gguf", "", NULL, NULL, "holds 2 GGUF files, a.gguf and b.gguf among them"},
        /* folders as published, and repositories that have a config.json beside the GGUF files */
        {"M.gguf mmproj.gguf config.json model.safetensors", "", NULL, NULL, NULL},
        {"M.gguf mmproj.gguf config.json model.safetensors.index.json", "", NULL, NULL, NULL},
        {"config.json tokenizer.json", "", NULL, NULL, NULL},
        {"M.gguf mmproj.gguf config.json", "", "M.gguf", "mmproj.gguf", NULL},
        {"other.txt", "", NULL, NULL, NULL},
        {"blob mmproj.gguf", "blob", "blob", "mmproj.gguf", NULL}, /* known by its first bytes */
        {"other.txt", "missing.gguf", "missing.gguf", "", NULL},   /* opening it is what finds the fault */
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_pair(&cases[i]);
}

static void takes_a_named_tower(void **state)
{
    char path[9000];
    struct qvl_gguf_pair pair;
    struct qvl_error err = {0};
    (void)state;
    begin(3, 0, 0);
    write_file("a.gguf");
    write_file("b,c.gguf");
    write_file("mmproj.gguf");
    snprintf(path, sizeof path, "%s,/elsewhere/tower.gguf", in_folder("a.gguf"));
    assert_int_equal(qvl_gguf_pair_find(path, &pair, &err), QVL_OK);
    assert_true(pair.is_found);
    assert_string_equal(pair.text, in_folder("a.gguf"));
    assert_string_equal(pair.mmproj, "/elsewhere/tower.gguf");
    assert_int_equal(qvl_gguf_pair_find(in_folder("b,c.gguf"), &pair, &err), QVL_OK);
    assert_string_equal(pair.text, in_folder("b,c.gguf"));
    assert_string_equal(pair.mmproj, in_folder("mmproj.gguf"));
    unlink(in_folder("a.gguf"));
    unlink(in_folder("b,c.gguf"));
    unlink(in_folder("mmproj.gguf"));
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    qvl_bytes_free(&file);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_field),
        cmocka_unit_test(says_what_a_value_is_not),
        cmocka_unit_test(accepts_what_the_format_allows),
        cmocka_unit_test(refuses_what_is_no_gguf),
        cmocka_unit_test(refuses_every_beginning),
        cmocka_unit_test(refuses_counts_and_lengths),
        cmocka_unit_test(refuses_values),
        cmocka_unit_test(refuses_alignments),
        cmocka_unit_test(refuses_shapes),
        cmocka_unit_test(refuses_places),
        cmocka_unit_test(refuses_a_header_without_end),
        cmocka_unit_test(opens_and_maps),
        cmocka_unit_test(finds_pairs),
        cmocka_unit_test(takes_a_named_tower),
    };
    return cmocka_run_group_tests_name("gguf", tests, make_folder, remove_folder);
}

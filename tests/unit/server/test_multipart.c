/* Bodies as curl, browsers and Python write them, edges of RFC 2046 5.1 and RFC 7578, and what must be refused. */
#include "server/multipart.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FIELD(name) "Content-Disposition: form-data; name=\"" name "\"\r\n"

struct row {
    const char *boundary;
    const char *body;
    const char *parts; /* "name|filename|bytes;" for each; NULL: refused */
};

static const struct row table[] = {
    /* curl -F prompt=hello -F image=@a.jpg */
    {"------------------------c39d1fb2ca64c2b8",
     "--------------------------c39d1fb2ca64c2b8\r\nContent-Disposition: form-data; "
     "name=\"prompt\"\r\n\r\nhello\r\n"
     "--------------------------c39d1fb2ca64c2b8\r\nContent-Disposition: form-data; name=\"image\"; "
     "filename=\"a.jpg\"\r\n"
     "Content-Type: image/jpeg\r\n\r\n\xff\xd8\r\n\xff\xd9\r\n--------------------------c39d1fb2ca64c2b8--\r\n",
     "prompt|-|hello;image|a.jpg|\xff\xd8\r\n\xff\xd9;"},
    /* a browser: no line end after the last delimiter is needed */
    {"----WebKitFormBoundary7MA4YWxkTrZu0gW",
     "------WebKitFormBoundary7MA4YWxkTrZu0gW\r\nContent-Disposition: form-data; name=\"a%22b\"; filename=\"\"\r\n"
     "Content-Type: application/octet-stream\r\n\r\n\r\n------WebKitFormBoundary7MA4YWxkTrZu0gW--",
     "a%22b||;"},
    /* content: empty, line ends, things that look like delimiters */
    {"x", "--x\r\n" FIELD("a") "\r\n\r\n--x--", "a|-|;"},
    {"x", "--x\r\n" FIELD("a") "\r\n--x--", "a|-|;"},
    {"x", "--x\r\n" FIELD("a") "\r\n\r\n\r\n--x--", "a|-|\r\n;"},
    {"x", "--x\r\n" FIELD("a") "\r\n--xy\r\n--x--", "a|-|--xy;"},
    {"x", "--x\r\n" FIELD("a") "\r\n1\r\n--xx\r\n--x-\r\n--x--", "a|-|1\r\n--xx\r\n--x-;"},
    {"x", "--x\r\n" FIELD("a") "\r\n1--x--\r\n--x--", "a|-|1--x--;"},
    {"x", "--x\r\n" FIELD("a") "\r\n1\n--x--\r\n--x--", "a|-|1\n--x--;"},
    {"x", "--x\r\n" FIELD("a") "\r\n1\r\r\n--x--", "a|-|1\r;"},
    /* white space behind a delimiter, a line end before the first, an epilogue */
    {"x", "--x \t\r\n" FIELD("a") "\r\n1\r\n--x  \r\n" FIELD("b") "\r\n2\r\n--x-- \r\nmore", "a|-|1;b|-|2;"},
    {"x", "\r\n--x\r\n" FIELD("a") "\r\n1\r\n--x--", "a|-|1;"},
    {"x", "--x--", ""},
    {"x", "--x--\r\n", ""},
    /* names */
    {"x", "--x\r\nContent-Disposition: form-data; name=a; filename=b.c\r\n\r\n1\r\n--x--", "a|b.c|1;"},
    {"x", "--x\r\ncontent-disposition:FORM-DATA ;NAME=a ; x=y\r\n\r\n1\r\n--x--", "a|-|1;"},
    {"x", "--x\r\nContent-Disposition: form-data; name=\"a\\\"b\\\\c\\d\"\r\n\r\n1\r\n--x--", "a\"b\\c\\d|-|1;"},
    {"x",
     "--x\r\nContent-Disposition: form-data; name=\"a;b=c\"; filename=\"C:\\fakepath\\d.png\"\r\n\r\n1\r\n--x--",
     "a;b=c|C:\\fakepath\\d.png|1;"},
    {"x", "--x\r\nContent-Disposition: form-data; name=\"图\"; filename=\"\xc3\xa9.jpg\"\r\n\r\n1\r\n--x--",
     "图|\xc3\xa9.jpg|1;"},
    {"x", "--x\r\nContent-Disposition: form-data; name=\"a\"; filename*=utf-8''b\r\n\r\n1\r\n--x--", "a|-|1;"},
    {"x", "--x\r\nContent-Disposition: form-data; name=\"\"\r\n\r\n1\r\n--x--", "|-|1;"},
    {"x", "--x\r\nX-Other: 1\r\n" FIELD("a") "Content-Transfer-Encoding: binary\r\n\r\n1\r\n--x--", "a|-|1;"},
    /* refused: the frame */
    {"x", "", NULL},
    {"x", "--", NULL},
    {"x", "--x", NULL},
    {"x", "--x\r\n", NULL},
    {"x", "--x\r\n\r\n", NULL},
    {"x", "--y\r\n" FIELD("a") "\r\n1\r\n--y--", NULL},
    {"x", "preamble\r\n--x\r\n" FIELD("a") "\r\n1\r\n--x--", NULL},
    {"x", "--x\r\n" FIELD("a") "\r\n1", NULL},
    {"x", "--x\r\n" FIELD("a") "\r\n1\r\n--x", NULL},
    {"x", "--x\r\n" FIELD("a") "\r\n1\r\n--x-", NULL},
    {"x", "--x\n" FIELD("a") "\r\n1\r\n--x--", NULL},
    {"x", "--x\r\n" FIELD("a"), NULL},
    {"x", "--x\r\n" FIELD("a") "1\r\n--x--", NULL},
    {"", "--\r\n" FIELD("a") "\r\n1\r\n----", NULL},
    {"01234567890123456789012345678901234567890123456789012345678901234567890",
     "--01234567890123456789012345678901234567890123456789012345678901234567890--", NULL},
    /* refused: the headers of a part */
    {"x", "--x\r\n\r\n1\r\n--x--", NULL},
    {"x", "--x\r\nContent-Type: text/plain\r\n\r\n1\r\n--x--", NULL},
    {"x", "--x\r\nno colon\r\n\r\n1\r\n--x--", NULL},
    {"x", "--x\r\nContent-Disposition: attachment; name=a\r\n\r\n1\r\n--x--", NULL},
    {"x", "--x\r\nContent-Disposition: form-data; filename=a\r\n\r\n1\r\n--x--", NULL},
    {"x", "--x\r\nContent-Disposition: form-data; name=a; name=b\r\n\r\n1\r\n--x--", NULL},
    {"x", "--x\r\n" FIELD("a") FIELD("b") "\r\n1\r\n--x--", NULL},
    {"x", "--x\r\nContent-Disposition: form-data; name=\"a\r\n\r\n1\r\n--x--", NULL},
    {"x", "--x\r\nContent-Disposition: form-data; name=\"a\"b\r\n\r\n1\r\n--x--", NULL},
    {"x", "--x\r\nContent-Disposition: form-data; name\r\n\r\n1\r\n--x--", NULL},
    {"x", "--x\r\nContent-Disposition: form-data; name=\"a\tb\"\r\n\r\n1\r\n--x--", NULL},
    {"x", "--x\r\nContent-Disposition: form-data; name=\"a\nb\"\r\n\r\n1\r\n--x--", NULL},
    {"x", "--x\r\nContent-Disposition: form-data; name=\"\xff\"\r\n\r\n1\r\n--x--", NULL},
    {"x", "--x\r\n" FIELD("a") "Content-Transfer-Encoding: base64\r\n\r\nMQ==\r\n--x--", NULL},
};

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const struct row *row = &table[i];
        struct qvl_multipart form;
        struct qvl_error err;
        size_t n = strlen(row->body);
        uint8_t *body = malloc(n ? n : 1); /* of its exact size, for a sanitizer to see what reads on */
        memcpy(body, row->body, n);
        enum qvl_status status = qvl_multipart_read(body, n, row->boundary, &form, &err);
        if (!row->parts) {
            if (status != QVL_ERR_ARGUMENT)
                fail_msg("row %zu is not refused: %s", i, row->body);
            assert_int_equal(form.n_part, 0);
        } else {
            char parts[1024];
            size_t at = 0;
            if (status)
                fail_msg("row %zu: %s", i, err.text);
            for (size_t k = 0; k < form.n_part; k++) {
                const struct qvl_form_part *part = &form.part[k];
                assert_true(part->bytes >= body && part->bytes + part->n <= body + n);
                at += (size_t)snprintf(parts + at, sizeof parts - at, "%s|%s|%.*s;", part->name,
                                       part->filename ? part->filename : "-", (int)part->n,
                                       (const char *)part->bytes);
            }
            parts[at] = '\0';
            assert_string_equal(parts, row->parts);
        }
        qvl_multipart_free(&form);
        free(body);
    }
}

/* NUL bytes and everything else in content come through. */
static void test_binary(void **state)
{
    (void)state;
    struct qvl_bytes body = {0};
    struct qvl_multipart form;
    struct qvl_error err;
    uint8_t content[4096];
    for (size_t i = 0; i < sizeof content; i++)
        content[i] = (uint8_t)(i * 7 + i / 256);
    qvl_bytes_add_text(&body, "--b\r\n" FIELD("f") "\r\n", &err);
    qvl_bytes_add(&body, content, sizeof content, &err);
    qvl_bytes_add_text(&body, "\r\n--b--\r\n", &err);
    assert_int_equal(qvl_multipart_read((const uint8_t *)body.data, body.n, "b", &form, &err), QVL_OK);
    assert_int_equal(form.n_part, 1);
    assert_int_equal(form.part[0].n, sizeof content);
    assert_memory_equal(form.part[0].bytes, content, sizeof content);
    qvl_multipart_free(&form);
    qvl_bytes_free(&body);
}

static enum qvl_status read_many(size_t n_part, size_t n_name, size_t *n_read)
{
    struct qvl_bytes body = {0};
    struct qvl_multipart form;
    struct qvl_error err;
    char *name = malloc(n_name + 1);
    memset(name, 'n', n_name);
    name[n_name] = '\0';
    for (size_t i = 0; i < n_part; i++)
        qvl_bytes_add_format(&body, &err, "--b\r\nContent-Disposition: form-data; name=\"%s\"\r\n\r\n%zu\r\n", name,
                             i);
    qvl_bytes_add_text(&body, "--b--", &err);
    enum qvl_status status = qvl_multipart_read((const uint8_t *)body.data, body.n, "b", &form, &err);
    *n_read = form.n_part;
    if (!status)
        for (size_t i = 0; i < form.n_part; i++)
            assert_int_equal(strlen(form.part[i].name), n_name);
    qvl_multipart_free(&form);
    qvl_bytes_free(&body);
    free(name);
    return status;
}

static void test_limits(void **state)
{
    size_t n_read;
    (void)state;
    assert_int_equal(read_many(QVL_MAX_HTTP_FORM_PARTS, 1, &n_read), QVL_OK);
    assert_int_equal(n_read, QVL_MAX_HTTP_FORM_PARTS);
    assert_int_equal(read_many(QVL_MAX_HTTP_FORM_PARTS + 1, 1, &n_read), QVL_ERR_LIMIT);
    assert_int_equal(read_many(QVL_MAX_HTTP_FORM_PARTS, 1024, &n_read), QVL_OK);
    assert_int_equal(read_many(1, 1025, &n_read), QVL_ERR_ARGUMENT);
    assert_int_equal(read_many(1, 10000, &n_read), QVL_ERR_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_binary),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

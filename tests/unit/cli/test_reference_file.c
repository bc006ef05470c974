/* The reader of REF on files made by hand and on the committed one, and the arithmetic of qvl verify. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/verify_measure.h"

/* ---- files made by hand ------------------------------------------------------------------------------------- */

/* A case of one text, two ids, an answer of one token with two logits, and one slice; %s: what a test puts in its
 * place. */
struct recipe {
    const char *version, *ids, *top, *slices, *cases;
};

static const struct recipe good = {"1", "\"shape\":[2],\"data_offsets\":[0,8]",
                                   "\"shape\":[1,2],\"data_offsets\":[16,24]",
                                   "{\\\"c.logits\\\":{\\\"rows\\\":3,\\\"columns\\\":2,\\\"row_stride\\\":2,"
                                   "\\\"column_stride\\\":1,\\\"max_abs\\\":4}}",
                                   "[{\\\"name\\\":\\\"c\\\",\\\"parts\\\":[{\\\"text\\\":\\\"hi\\\"}],\\\"video_"
                                   "wrapper\\\":false,\\\"pixels\\\":[]}]"};

#define ZEROS16 "0000000000000000"

/* Data: ids 5 6 | output 7 | log_sum 1.5 | top 2 1 | top_ids 7 3 | logits (rows 0 and 2) 1 2 3 4. The caller frees.
 */
static uint8_t *make(const struct recipe *r, size_t *n)
{
    static const int32_t ids[] = {5, 6, 7}, top_ids[] = {7, 3};
    static const float log_sum = 1.5f, top[] = {2, 1}, logits[] = {1, 2, 3, 4};
    char header[4096];
    int n_header = snprintf(
        header, sizeof header,
        "{\"__metadata__\":{\"format\":\"qvl-reference\",\"version\":\"%s\",\"sha256\":\"" ZEROS16 ZEROS16 ZEROS16
            ZEROS16 "\",\"about\":\"{\\\"model\\\":\\\"m\\\\u001b[2J\\\"}\",\"cases\":\"%s\",\"slices\":\"%s\"},"
        "\"c.ids\":{\"dtype\":\"I32\",%s},"
        "\"c.output_ids\":{\"dtype\":\"I32\",\"shape\":[1],\"data_offsets\":[8,12]},"
        "\"c.log_sum\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[12,16]},"
        "\"c.top\":{\"dtype\":\"F32\",%s},"
        "\"c.top_ids\":{\"dtype\":\"I32\",\"shape\":[1,2],\"data_offsets\":[24,32]},"
        "\"c.logits\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[32,48]}}",
        r->version, r->cases, r->slices, r->ids, r->top);
    assert_in_range(n_header, 1, (int)sizeof header - 8);
    while (n_header % 8)
        header[n_header++] = ' ';
    uint8_t *bytes = calloc(1, (size_t)n_header + 8 + 48), *data = bytes + 8 + n_header;
    assert_non_null(bytes);
    bytes[0] = (uint8_t)(n_header & 255);
    bytes[1] = (uint8_t)(n_header >> 8);
    memcpy(bytes + 8, header, (size_t)n_header);
    memcpy(data, ids, 12);
    memcpy(data + 12, &log_sum, 4);
    memcpy(data + 16, top, 8);
    memcpy(data + 24, top_ids, 8);
    memcpy(data + 32, logits, 16);
    *n = (size_t)n_header + 8 + 48;
    return bytes;
}

static void test_good(void **state)
{
    (void)state;
    struct qvl_reference r;
    struct qvl_error err = {0};
    size_t n;
    uint8_t *bytes = make(&good, &n);
    assert_int_equal(qvl_reference_parse(bytes, n, "f", &r, &err), QVL_OK);
    const struct qvl_reference_case *c = &r.one[0];
    assert_int_equal(r.n_case, 1);
    assert_string_equal(r.model, "m?[2J"); /* what a terminal would obey is not passed on */
    assert_string_equal(c->name, "c");
    assert_int_equal(c->n_part, 1);
    assert_memory_equal(c->part[0].utf8, "hi", 2);
    assert_true(c->n_id == 2 && c->ids[0] == 5 && c->ids[1] == 6);
    assert_true(c->n_output == 1 && c->output_ids[0] == 7 && c->n_top == 2 && c->top[0] == 2 &&
                c->log_sum[0] == 1.5f);
    assert_int_equal(c->n_slice, 1);
    assert_string_equal(c->slice[0]->name + c->n_prefix, "logits");
    assert_true(c->slice[0]->whole_rows == 3 && c->slice[0]->row_stride == 2 && c->slice[0]->max_abs == 4);
    qvl_reference_close(&r);
    free(bytes);
}

static void refused(const struct recipe *recipe, enum qvl_status status, const char *sentence)
{
    struct qvl_reference r;
    struct qvl_error err = {0};
    size_t n;
    uint8_t *bytes = make(recipe, &n);
    assert_int_equal(qvl_reference_parse(bytes, n, "f", &r, &err), status);
    if (!strstr(err.text, sentence))
        fail_msg("\"%s\" does not hold \"%s\"", err.text, sentence);
    qvl_reference_close(&r);
    free(bytes);
}

static void test_refused(void **state)
{
    (void)state;
    struct recipe r = good;
    r.version = "2";
    refused(&r, QVL_ERR_ARGUMENT, "version 2 of the format; this qvl reads version 1");
    static const char *const ids[] = {
        "\"shape\":[2],\"data_offsets\":[0,4]",        /* a hole; other bytes than the shape asks for */
        "\"shape\":[2],\"data_offsets\":[4,12]",       /* does not begin where the data does */
        "\"shape\":[3],\"data_offsets\":[0,12]",       /* overlaps the next one */
        "\"shape\":[16777217],\"data_offsets\":[0,8]", /* beyond the limit */
        "\"shape\":[0],\"data_offsets\":[0,8]",
        "\"shape\":[2,1,1],\"data_offsets\":[0,8]",
        "\"shape\":[2],\"data_offsets\":[0,8000000000]", /* behind the end */
        "\"shape\":[2],\"data_offsets\":[0]",
        "\"shape\":[2]",
    };
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        r = good;
        r.ids = ids[i];
        refused(&r, QVL_ERR_FILE, "damaged");
    }
    r = good;
    r.top = "\"shape\":[2],\"data_offsets\":[16,24]"; /* one logit a token */
    refused(&r, QVL_ERR_FILE, "damaged");
    static const char *const slices[] = {
        "{\\\"c.none\\\":{\\\"rows\\\":3,\\\"columns\\\":2,\\\"row_stride\\\":2,\\\"column_stride\\\":1,\\\"max_"
        "abs\\\":4}}",
        "{\\\"c.logits\\\":{\\\"rows\\\":5,\\\"columns\\\":2,\\\"row_stride\\\":2,\\\"column_stride\\\":1,\\\"max_"
        "abs\\\":4}}",
        "{\\\"c.logits\\\":{\\\"rows\\\":3,\\\"columns\\\":2,\\\"row_stride\\\":0,\\\"column_stride\\\":1,\\\"max_"
        "abs\\\":4}}",
        "{\\\"c.logits\\\":{\\\"rows\\\":3,\\\"columns\\\":2,\\\"row_stride\\\":2,\\\"column_stride\\\":1,\\\"max_"
        "abs\\\":-1}}",
        "[]",
    };
    for (size_t i = 0; i < sizeof slices / sizeof *slices; i++) {
        r = good;
        r.slices = slices[i];
        refused(&r, QVL_ERR_FILE, "damaged");
    }
    static const char *const cases[] = {
        "[]",
        "[{\\\"name\\\":\\\"d\\\",\\\"parts\\\":[{\\\"text\\\":\\\"hi\\\"}],\\\"pixels\\\":[]}]",
        "[{\\\"name\\\":\\\"c\\\",\\\"parts\\\":[],\\\"pixels\\\":[]}]",
        "[{\\\"name\\\":\\\"c\\\",\\\"parts\\\":[{\\\"picture\\\":\\\"c.top\\\"}],\\\"pixels\\\":[]}]",
        "[{\\\"name\\\":\\\"c\\\",\\\"parts\\\":[{\\\"clip\\\":[\\\"c.ids\\\"],\\\"times\\\":[]}],\\\"pixels\\\":[]"
        "}]",
        "[{\\\"name\\\":\\\"c\\\",\\\"parts\\\":[{\\\"text\\\":\\\"hi\\\"}],\\\"pixels\\\":[{\\\"shape\\\":[1,2,3]}"
        "]}]",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        r = good;
        r.cases = cases[i];
        refused(&r, QVL_ERR_FILE, "damaged");
    }
}

static void test_every_cut(void **state)
{
    (void)state;
    struct qvl_error err = {0};
    size_t n;
    uint8_t *bytes = make(&good, &n);
    for (size_t i = 0; i < n; i++) {
        struct qvl_reference r;
        uint8_t *part = malloc(i ? i : 1); /* exactly as long, so that a read too far is seen */
        assert_non_null(part);
        memcpy(part, bytes, i);
        assert_int_not_equal(qvl_reference_parse(part, i, "f", &r, &err), QVL_OK);
        qvl_reference_close(&r);
        free(part);
    }
    free(bytes);
}

/* Written by reference/verify.py, which printed these numbers. The lengths of answers change with the demo model's
   weights; there are at most as many tokens as it was told. */
static void test_committed(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t n_id, n_media;
    } told[] = {{"english", 114, 0}, {"chinese", 60, 0}, {"picture", 54, 1},
                {"pictures", 72, 2}, {"clip", 119, 1},   {"clip_picture", 176, 2}};
    struct qvl_reference r;
    struct qvl_error err = {0};
    if (qvl_reference_open("tests/golden/verify/demo.ref", &r, &err))
        fail_msg("%s", err.text);
    assert_int_equal(r.n_case, 6);
    for (size_t i = 0; i < 6; i++) {
        assert_string_equal(r.one[i].name, told[i].name);
        assert_int_equal(r.one[i].n_id, told[i].n_id);
        assert_in_range(r.one[i].n_output, 1, 32);
        assert_int_equal(r.one[i].n_media, told[i].n_media);
    }
    assert_false(r.is_rounded || r.is_thinking);
    assert_string_equal(r.dtype, "float32");
    assert_true(r.one[4].has_video_wrapper && r.one[4].part[0].source.n_frame == 5);
    qvl_reference_close(&r);
}

/* ---- arithmetic --------------------------------------------------------------------------------------------- */

static void test_slices(void **state)
{
    (void)state;
    static const float kept[] = {1, 3, 7, 9}; /* rows 0 and 2, columns 0 and 2 of three rows of three */
    const struct qvl_reference_tensor t = {.name = "t",
                                           .type = QVL_REFERENCE_F32,
                                           .data = kept,
                                           .n_row = 2,
                                           .n_column = 2,
                                           .is_slice = true,
                                           .whole_rows = 3,
                                           .whole_columns = 3,
                                           .row_stride = 2,
                                           .column_stride = 2,
                                           .max_abs = 10};
    float x[] = {1, 99, 3, 99, 99, 99, 7, 99, 8.5f};
    struct qvl_verify_slice s = {.t = &t};
    qvl_verify_slice_add_f32(&s, x, 1, 3);
    qvl_verify_slice_add_f32(&s, x + 3, 2, 3); /* in pieces */
    assert_true(fabs(qvl_verify_slice_error(&s) - 0.05) < 1e-12);
    qvl_verify_slice_add_f32(&s, x, 1, 3);
    assert_true(isinf(qvl_verify_slice_error(&s))); /* one row too many */
    s = (struct qvl_verify_slice){.t = &t};
    qvl_verify_slice_add_f32(&s, x, 2, 3);
    assert_true(isinf(qvl_verify_slice_error(&s))); /* one too few */
    s = (struct qvl_verify_slice){.t = &t};
    qvl_verify_slice_add_f32(&s, x, 3, 2);
    assert_true(isinf(qvl_verify_slice_error(&s))); /* of another length */
    s = (struct qvl_verify_slice){.t = &t};
    x[6] = NAN;
    qvl_verify_slice_add_f32(&s, x, 3, 3);
    assert_true(isinf(qvl_verify_slice_error(&s)));
    s = (struct qvl_verify_slice){.t = &t};
    qvl_verify_slice_add_u8(&s, (const uint8_t *)"abcabcabc", 3, 3);
    assert_true(isinf(qvl_verify_slice_error(&s))); /* bytes are no floats */
}

/* p = (1/2, 1/4, 1/4), of which the reference keeps the first two; q = (1/4, 1/2, 1/4). */
static void test_agreement(void **state)
{
    (void)state;
    static const uint32_t id[] = {0, 1};
    const float top[] = {(float)log(2), 0}, log_sum[] = {(float)log(4)};
    const struct qvl_reference_case c = {.top_ids = id, .top = top, .log_sum = log_sum, .n_top = 2, .n_output = 1};
    const float same[] = {5 + (float)log(2), 5, 5}, other[] = {0, (float)log(2), 0}, wild[] = {NAN, 0, 0};
    struct qvl_verify_agreement a = {0};
    qvl_verify_agreement_add(&a, &c, 0, same, 3);
    assert_true(a.n == 1 && a.n_same == 1 && fabs(a.sum_kl) < 1e-6 && fabs(a.worst_logit - 5) < 1e-6);
    a = (struct qvl_verify_agreement){0};
    qvl_verify_agreement_add(&a, &c, 0, other, 3); /* log(2)/2 - log(2)/4 */
    assert_true(a.n_same == 0 && fabs(a.sum_kl - log(2) / 4) < 1e-6);
    a = (struct qvl_verify_agreement){0};
    qvl_verify_agreement_add(&a, &c, 0, wild, 3);
    assert_true(isinf(a.sum_kl) && isinf(a.worst_logit));
    a = (struct qvl_verify_agreement){0};
    qvl_verify_agreement_add(&a, &c, 0, same, 1); /* a vocabulary without the second one */
    assert_true(isinf(a.sum_kl));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),      cmocka_unit_test(test_refused), cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_committed), cmocka_unit_test(test_slices),  cmocka_unit_test(test_agreement),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "cli/bench_plan.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

enum { MAX_SIZES = 6 };

/* In the order in which they run. The quick set ends in about a minute on two cores with the 2B model; the full one
 * takes an hour. */
static const struct kind {
    const char *name;
    size_t n_quick, n_full; /* how many of the sizes; those of the quick set stand first */
    uint32_t size[MAX_SIZES];
    bool has_size;
} KINDS[QVL_BENCH_N_KIND] = {
    [QVL_BENCH_F32] = {.name = "f32"},
    [QVL_BENCH_BF16] = {.name = "bf16"},
    [QVL_BENCH_INT8] = {.name = "int8"},
    [QVL_BENCH_READ] = {.name = "read"},
    [QVL_BENCH_LOAD] = {"load", 1, 1, {0}, false},
    [QVL_BENCH_VISION] = {"vision", 1, 3, {1024, 4096, 8160}, true}, /* 512², 1024², 1920 x 1088 pixels */
    [QVL_BENCH_PREFILL] = {"prefill", 1, 4, {512, 128, 2048, 12288}, true},
    [QVL_BENCH_DECODE] = {"decode", 2, 5, {0, 2048, 12288, 65536, 262144}, true},
    [QVL_BENCH_FIRST_TOKEN] = {"first-token", 1, 1, {512}, true},
};

const char *qvl_bench_kind_name(enum qvl_bench_kind kind)
{
    return KINDS[kind].name;
}

void qvl_bench_name_test(struct qvl_bench_test test, char *out, size_t n_out)
{
    if (KINDS[test.kind].has_size)
        snprintf(out, n_out, "%s:%u", KINDS[test.kind].name, test.n);
    else
        snprintf(out, n_out, "%s", KINDS[test.kind].name);
}

static enum qvl_status add(struct qvl_bench_plan *plan, enum qvl_bench_kind kind, uint32_t n, struct qvl_error *err)
{
    if (plan->n == QVL_BENCH_MAX_TESTS)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "--tests: more than %d tests", (int)QVL_BENCH_MAX_TESTS);
    plan->test[plan->n++] = (struct qvl_bench_test){kind, n};
    return QVL_OK;
}

static enum qvl_status add_usual(struct qvl_bench_plan *plan, enum qvl_bench_kind kind, bool is_full,
                                 struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    size_t n = is_full ? KINDS[kind].n_full : KINDS[kind].n_quick;
    for (size_t i = 0; i < n && !status; i++)
        status = add(plan, kind, KINDS[kind].size[i], err);
    return status;
}

/* The n bytes of a size: "2048" or "2k". */
static bool read_size(const char *text, size_t n, uint32_t *out)
{
    uint64_t value = 0;
    size_t n_digit = 0;
    while (n_digit < n && n_digit < 9 && isdigit((unsigned char)text[n_digit]))
        value = value * 10 + (uint64_t)(text[n_digit++] - '0');
    bool is_kilo = n == n_digit + 1 && (text[n_digit] == 'k' || text[n_digit] == 'K');
    value *= is_kilo ? 1024 : 1;
    if (n_digit == 0 || (n != n_digit && !is_kilo) || value > UINT32_MAX)
        return false;
    *out = (uint32_t)value;
    return true;
}

/* One of the names between the commas: n bytes. */
static enum qvl_status add_named(struct qvl_bench_plan *plan, const char *text, size_t n, bool is_full,
                                 struct qvl_error *err)
{
    const char *colon = memchr(text, ':', n);
    size_t n_name = colon ? (size_t)(colon - text) : n;
    uint32_t size = 0;
    if (n == 5 && memcmp(text, "peaks", n) == 0)
        return QVL_OK;
    for (int kind = QVL_BENCH_READ + 1; kind < QVL_BENCH_N_KIND; kind++) {
        if (strlen(KINDS[kind].name) != n_name || memcmp(KINDS[kind].name, text, n_name) != 0)
            continue;
        if (!colon)
            return add_usual(plan, (enum qvl_bench_kind)kind, is_full, err);
        if (!KINDS[kind].has_size || !read_size(colon + 1, n - n_name - 1, &size))
            break;
        return add(plan, (enum qvl_bench_kind)kind, size, err);
    }
    return qvl_fail(err, QVL_ERR_ARGUMENT,
                    "--tests %.*s: no such test; the tests are peaks, load, vision, prefill, decode and "
                    "first-token, those from vision on with or without a size, as in prefill:512 or decode:12k",
                    (int)qvl_min_size(n, 40), text);
}

enum qvl_status qvl_bench_plan_make(const char *tests, bool is_full, struct qvl_bench_plan *out,
                                    struct qvl_error *err)
{
    struct qvl_bench_plan plan = {.n = 0};
    enum qvl_status status = QVL_OK;
    for (int kind = 0; kind <= QVL_BENCH_READ && !status; kind++)
        status = add(&plan, (enum qvl_bench_kind)kind, 0, err);
    for (int kind = QVL_BENCH_READ + 1; kind < QVL_BENCH_N_KIND && !tests && !status; kind++)
        status = add_usual(&plan, (enum qvl_bench_kind)kind, is_full, err);
    for (const char *name = tests; name && !status;) {
        size_t n = strcspn(name, ",");
        status = add_named(&plan, name, n, is_full, err);
        name = name[n] ? name + n + 1 : NULL;
    }
    if (!status)
        *out = plan;
    return status;
}

/* Frames of a clip in a file: indices of Qwen3VLVideoProcessor and qwen_vl_utils (sample_frames.jsonl, written by
 * reference/sample_frames_vectors.py), and what is refused. */
#include "helper.h"
#include "../../lib/json_lines.h"
#include "../../lib/sha256.h"

#include <inttypes.h>
#include <math.h>

#include "base/limits.h"
#include "model/sample_frames.h"

static const struct qvl_config config = {.video = {.fps = 2, .min_frames = 4, .max_frames = 768}};

static uint32_t count(const json_t *wish, const char *key)
{
    return (uint32_t)json_integer_value(json_object_get(wish, key));
}

static double number(const json_t *wish, const char *key)
{
    return json_number_value(json_object_get(wish, key));
}

static void check_index(const json_t *line, const uint64_t *index, size_t n, const char *shown)
{
    const json_t *listed = json_object_get(line, "index"), *sha = json_object_get(line, "sha256");
    char hex[65];
    assert_true(n >= 2);
    for (size_t i = 1; i < n; i++)
        assert_true(index[i - 1] <= index[i]);
    if (sha) {
        assert_int_equal(n, json_integer_value(json_object_get(line, "n_index")));
        sha256_hex(index, n * sizeof *index, hex); /* the machines tested are little-endian, as the vectors */
        if (strncmp(hex, json_string_value(sha), 16) != 0)
            fail_msg("other indices: %s", shown);
        return;
    }
    assert_non_null(listed);
    assert_int_equal(n, json_array_size(listed));
    for (size_t i = 0; i < n; i++)
        if (index[i] != (uint64_t)json_integer_value(json_array_get(listed, i)))
            fail_msg("index %zu is %" PRIu64 ": %s", i, index[i], shown);
}

static void check_line(const json_t *line, void *n_refused)
{
    const json_t *wish = json_object_get(line, "wish");
    const struct qvl_media_options options = {
        .fps = number(wish, "fps"),
        .num_frames = count(wish, "num_frames"),
        .min_frames = count(wish, "min_frames"),
        .max_frames = count(wish, "max_frames"),
        .start_s = number(wish, "start"),
        .end_s = number(wish, "end"),
    };
    struct qvl_arena arena = {0};
    struct qvl_error err = {0};
    uint64_t *index = NULL;
    size_t n = 0;
    char *shown = json_dumps(line, 0);
    enum qvl_status status = qvl_sample_frames(&config, (uint64_t)json_integer_value(json_object_get(line, "n")),
                                               number(line, "fps"), &options, &arena, &index, &n, &err);
    if (json_is_true(json_object_get(line, "refused"))) {
        if (status != QVL_ERR_ARGUMENT || !strstr(err.text, "the stretch from") || index)
            fail_msg("status %d, \"%s\": %s", (int)status, err.text, shown);
        ++*(size_t *)n_refused;
    } else {
        if (status)
            fail_msg("%s: %s", err.text, shown);
        check_index(line, index, n, shown);
    }
    qvl_arena_free(&arena);
    free(shown);
}

static void test_every_index(void **state)
{
    size_t n_refused = 0;
    (void)state;
    assert_in_range(for_each_line("tests/unit/model/sample_frames.jsonl", check_line, &n_refused), 3000, SIZE_MAX);
    assert_true(n_refused > 100);
}

static void test_refusals(void **state)
{
    static const struct {
        struct qvl_media_options wish;
        const char *sentence;
    } bad[] = {
        {{.fps = 2, .num_frames = 8}, "fps 2 and num_frames 8 were given: only one of them is possible"},
        {{.num_frames = 8, .min_frames = 4},
         "min_frames and max_frames go with fps, not with num_frames, which is 8"},
        {{.num_frames = 8, .max_frames = 9},
         "min_frames and max_frames go with fps, not with num_frames, which is 8"},
        {{.num_frames = QVL_MAX_CLIP_FRAMES + 1}, "num_frames is 16385, expected at most 16384"},
        {{.min_frames = UINT32_MAX}, "min_frames is 4294967295, expected at most 16384"},
        {{.max_frames = QVL_MAX_CLIP_FRAMES + 1}, "max_frames is 16385, expected at most 16384"},
        {{.min_frames = 9, .max_frames = 8}, "min_frames, 9, is above max_frames, 8"},
        {{.fps = -1}, "fps is -1, expected more than 0 frames a second"},
        {{.fps = (double)NAN}, "fps is nan, expected more than 0 frames a second"},
        {{.fps = (double)INFINITY}, "fps is inf, expected more than 0 frames a second"},
        {{.start_s = -1}, "the stretch from -1 to 0 seconds begins or ends before the clip"},
        {{.start_s = 1, .end_s = -2}, "the stretch from 1 to -2 seconds begins or ends before the clip"},
        {{.end_s = (double)NAN}, "the stretch from 0 to nan seconds begins or ends before the clip"},
        {{.start_s = 3, .end_s = 2}, "the stretch from 3 to 2 seconds"},
        {{.start_s = 3, .end_s = 3.02},
         "the stretch from 3 to 3.02 seconds holds fewer than two frames of a clip of"},
        {{.start_s = 10}, "the stretch from 10 to 10 seconds holds fewer than two frames of a clip of 10 seconds"},
        {{.start_s = 1e300}, "the stretch from 1e+300 to 10 seconds holds fewer than two frames"},
        {{.start_s = (double)INFINITY}, "the stretch from inf to 10 seconds holds fewer than two frames"},
        {{.end_s = 0.03}, "the stretch from 0 to 0.03 seconds holds fewer than two frames of a clip of 10 seconds"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct qvl_arena arena = {0};
        struct qvl_error err = {0};
        uint64_t *index = NULL;
        size_t n = 77;
        assert_int_equal(qvl_sample_frames(&config, 300, 30, &bad[i].wish, &arena, &index, &n, &err),
                         QVL_ERR_ARGUMENT);
        if (!strstr(err.text, bad[i].sentence))
            fail_msg("\"%s\" does not say \"%s\"", err.text, bad[i].sentence);
        assert_null(index);
        assert_int_equal(n, 77);
        qvl_arena_free(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_index),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

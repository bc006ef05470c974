/* Prompts with clips, in both forms, against transformers' own (reference/clip_vectors.py): the template's text and
 * every id, with the published vocabulary. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../lib/chat_line.h"
#include "../../lib/json_lines.h"
#include "engine/prompt.h"

enum { MAX_MEDIA = 32, MAX_FRAMES = 16 };

struct seen {
    struct qvl_tokenizer *tokenizer;
    size_t n_clip, n_id;
};

struct media {
    struct qvl_prompt_media shown[MAX_MEDIA]; /* in the places that the parts name */
    double time_s[MAX_MEDIA][MAX_FRAMES];
    size_t n;
};

static struct qvl_error err;

static void read_media(const json_t *json, struct qvl_prompt_media *out, double time_s[MAX_FRAMES])
{
    const json_t *grid = json_object_get(json, "grid"), *times = json_object_get(json, "times");
    uint32_t side[3];
    for (size_t i = 0; i < 3; i++)
        side[i] = (uint32_t)json_integer_value(json_array_get(grid, i));
    out->grid = (struct qvl_grid){side[0], side[1], side[2]};
    out->n_frame = json_array_size(times);
    out->time_s = time_s;
    assert_in_range(out->n_frame, 0, MAX_FRAMES);
    for (size_t i = 0; i < out->n_frame; i++)
        time_s[i] = json_number_value(json_array_get(times, i));
}

/* The line lists what the prompt shows; the parts tell which of the conversation's media that is. */
static void place_media(const json_t *line, const struct qvl_prompt_parts *parts, struct media *out)
{
    const json_t *list = json_object_get(line, "media");
    size_t n_shown = 0;
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < parts->n; i++) {
        const struct qvl_prompt_part *part = &parts->part[i];
        if (part->kind != QVL_PROMPT_IMAGE && part->kind != QVL_PROMPT_VIDEO)
            continue;
        const json_t *media = json_array_get(list, n_shown++);
        assert_int_equal(json_object_get(media, "times") != NULL, part->kind == QVL_PROMPT_VIDEO);
        assert_in_range(part->i_media, 0, MAX_MEDIA - 1);
        read_media(media, &out->shown[part->i_media], out->time_s[part->i_media]);
        out->n = part->i_media + 1;
    }
    assert_int_equal(n_shown, json_array_size(list));
}

/* A packed list: an id, or [id, n]. */
static void compare_ids(const struct qvl_prompt *prompt, const json_t *expected, const char *text)
{
    size_t n = 0, i;
    const json_t *value;
    json_array_foreach(expected, i, value) {
        const json_t *id = json_is_array(value) ? json_array_get(value, 0) : value;
        json_int_t n_same = json_is_array(value) ? json_integer_value(json_array_get(value, 1)) : 1;
        for (json_int_t k = 0; k < n_same; k++, n++)
            if (n >= prompt->ids.n || prompt->ids.id[n] != json_integer_value(id))
                fail_msg("id %zu differs from transformers' %lld in\n%s", n, (long long)json_integer_value(id), text);
    }
    assert_int_equal(n, prompt->ids.n);
}

/* One span for each temporal patch, without gaps, its rows of features one after the other. */
static void check_spans(const struct qvl_prompt *prompt, const struct media *media)
{
    size_t at = 0, n_visual = 0, n_patch = 0;
    uint32_t i_media = 0, i_feature = 0;
    for (size_t i = 0; i < prompt->n_span; i++) {
        const struct qvl_span *span = &prompt->span[i];
        assert_int_equal(span->begin, at);
        at += span->n_tok;
        if (!span->is_visual)
            continue;
        i_feature = span->i_media == i_media ? i_feature : 0;
        i_media = span->i_media;
        assert_int_equal(span->i_feature, i_feature);
        assert_int_equal(span->rows, media->shown[i_media].grid.h / 2);
        assert_int_equal(span->columns, media->shown[i_media].grid.w / 2);
        i_feature += (uint32_t)span->n_tok;
        n_visual++;
    }
    for (size_t i = 0; i < media->n; i++)
        n_patch += media->shown[i].grid.t;
    assert_int_equal(at, prompt->ids.n);
    assert_int_equal(n_visual, n_patch);
}

static void check_line(const json_t *line, void *arg)
{
    struct seen *seen = arg;
    struct chat_line *c = chat_line_read(line);
    struct qvl_prompt_parts parts = {0};
    struct media media;
    const char *text = json_string_value(json_object_get(line, "text"));
    if (qvl_chat_render(&c->chat, json_is_true(json_object_get(line, "thinking")), &parts, &err))
        fail_msg("%s", err.text);
    place_media(line, &parts, &media);
    for (size_t i = 0; i < media.n; i++)
        seen->n_clip += media.shown[i].n_frame > 0;
    for (int is_wrapped = 0; is_wrapped < 2; is_wrapped++) {
        struct qvl_prompt_settings set = {.merge = 2, .temporal_patch = 2, .want_video_wrapper = is_wrapped};
        struct qvl_prompt prompt = {0};
        if (qvl_prompt_build(seen->tokenizer, &parts, media.shown, media.n, &set, &prompt, &err))
            fail_msg("%s", err.text);
        assert_string_equal(prompt.text.data, text);
        compare_ids(&prompt, json_object_get(line, is_wrapped ? "wrapped" : "plain"), text);
        check_spans(&prompt, &media);
        seen->n_id += prompt.ids.n;
        qvl_prompt_free(&prompt);
    }
    qvl_prompt_parts_free(&parts);
    free(c);
}

static void clips_are_written_as_transformers_does(void **state)
{
    (void)state;
    struct seen seen = {0};
    const char *dir = data_tokenizer_dir();
    if (!dir)
        skip();
    if (qvl_tokenizer_load(dir, 151936, &seen.tokenizer, &err))
        fail_msg("%s", err.text);
    assert_in_range(for_each_line("tests/unit/engine/clips.jsonl", check_line, &seen), 50, SIZE_MAX);
    assert_in_range(seen.n_clip, 70, SIZE_MAX);
    qvl_tokenizer_free(seen.tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clips_are_written_as_transformers_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

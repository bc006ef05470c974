/* Clips in files through the whole library, up to the prompt, against the reference
 * (tests/data/clips/vectors.jsonl, written by reference/clip_file_vectors.py): which frames, their times, sizes,
 * grids and every id, in both forms, with the golden tokenizer; and with the published one where it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../lib/json_lines.h"
#include "../../lib/sha256.h"
#include "engine/prompt.h"
#include "model_folder.h"

enum { N_DIGIT = 16 };

struct seen {
    struct qvl_engine *engine;
    struct qvl_tokenizer *published; /* or NULL */
    size_t n_clip, n_prompt, n_refused;
};

/* One way to ask for one clip. */
struct ask {
    const json_t *clip, *run;
    struct qvl_part part[3];
    struct qvl_message message;
    struct qvl_chat chat;
};

static struct qvl_error err;

static double number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static const char *name_of(const struct ask *ask)
{
    static char name[512];
    char *wish = json_dumps(json_object_get(ask->run, "wish"), JSON_COMPACT);
    snprintf(name, sizeof name, "%s %s", json_string_value(json_object_get(ask->clip, "file")), wish);
    free(wish);
    return name;
}

static struct qvl_media_options options_of(const json_t *wish)
{
    return (struct qvl_media_options){.max_pixels = (uint64_t)number(wish, "max_pixels"),
                                      .total_pixels = (uint64_t)number(wish, "total_pixels"),
                                      .fps = number(wish, "fps"),
                                      .num_frames = (uint32_t)number(wish, "num_frames"),
                                      .min_frames = (uint32_t)number(wish, "min_frames"),
                                      .max_frames = (uint32_t)number(wish, "max_frames"),
                                      .start_s = number(wish, "start"),
                                      .end_s = number(wish, "end")};
}

/* The conversation of the vectors, about the clip behind fd. */
static void make_ask(struct ask *ask, const json_t *clip, const json_t *run, int fd)
{
    static const char before[] = "clip? ", after[] = "What happens?";
    *ask = (struct ask){
        .clip = clip,
        .run = run,
        .part =
            {{.kind = QVL_PART_TEXT, .utf8 = before, .n = sizeof before - 1},
             {.kind = QVL_PART_VIDEO,
              .source = {.from = QVL_FROM_FD, .fd = fd, .name = json_string_value(json_object_get(clip, "file"))},
              .media = options_of(json_object_get(run, "wish"))},
             {.kind = QVL_PART_TEXT, .utf8 = after, .n = sizeof after - 1}},
    };
    ask->message = (struct qvl_message){.role = QVL_ROLE_USER, .parts = ask->part, .n_part = 3};
    ask->chat = (struct qvl_chat){.messages = &ask->message, .n_message = 1};
}

static void compare_media(const struct ask *ask, const struct qvl_media_info *m)
{
    const json_t *index = json_object_get(ask->run, "index"), *grid = json_object_get(ask->run, "grid");
    const json_t *resized = json_object_get(ask->run, "resized"), *patch_s = json_object_get(ask->run, "patch_s");
    const uint32_t got[] = {m->grid_t, m->grid_h, m->grid_w, m->resized_h, m->resized_w};
    const double fps = number(ask->clip, "fps");
    assert_int_equal(m->kind, QVL_MEDIA_VIDEO);
    assert_int_equal(m->original_w, (uint64_t)number(ask->clip, "w"));
    assert_int_equal(m->original_h, (uint64_t)number(ask->clip, "h"));
    assert_int_equal(m->n_frame_file, (uint64_t)number(ask->clip, "n"));
    assert_true(m->fps == fps && m->duration_s == number(ask->clip, "duration"));
    assert_string_equal(m->codec, json_string_value(json_object_get(ask->clip, "codec")));
    for (size_t i = 0; i < 5; i++)
        if (got[i] != json_integer_value(i < 3 ? json_array_get(grid, i) : json_array_get(resized, i - 3)))
            fail_msg("%s: grid %u x %u x %u, %u x %u pixels", name_of(ask), got[0], got[1], got[2], got[4], got[3]);
    if (m->n_frame != json_array_size(index) || m->grid_t != json_array_size(patch_s))
        fail_msg("%s: %zu frames", name_of(ask), m->n_frame);
    for (size_t i = 0; i < m->n_frame; i++)
        if (m->frame_index[i] != (uint64_t)json_integer_value(json_array_get(index, i)) ||
            m->frame_s[i] != (double)m->frame_index[i] / fps)
            fail_msg("%s: frame %zu is %llu at %.17g s", name_of(ask), i, (unsigned long long)m->frame_index[i],
                     m->frame_s[i]);
    for (size_t i = 0; i < m->grid_t; i++)
        if (m->patch_s[i] != json_number_value(json_array_get(patch_s, i)))
            fail_msg("%s: patch %zu at %.17g s", name_of(ask), i, m->patch_s[i]);
}

/* A packed list: an id, or [id, n]. */
static void compare_ids(const struct ask *ask, const char *form, const uint32_t *id, size_t n_id)
{
    size_t n = 0, i;
    const json_t *value;
    json_array_foreach(json_object_get(ask->run, form), i, value)
    {
        json_int_t expected = json_integer_value(json_is_array(value) ? json_array_get(value, 0) : value);
        json_int_t n_same = json_is_array(value) ? json_integer_value(json_array_get(value, 1)) : 1;
        for (json_int_t k = 0; k < n_same; k++, n++)
            if (n >= n_id || id[n] != expected)
                fail_msg("%s, %s: id %zu is not the reference's %lld", name_of(ask), form, n, (long long)expected);
    }
    assert_int_equal(n, n_id);
}

/* The same prompt in the published vocabulary. */
static void compare_published(const struct seen *seen, const struct ask *ask, const struct qvl_media_info *m)
{
    const bool is_wrapped = ask->chat.want_video_wrapper;
    const json_t *expected = json_array_get(json_object_get(ask->run, "published"), is_wrapped ? 0 : 1);
    struct qvl_prompt_media media = {
        .grid = {m->grid_t, m->grid_h, m->grid_w}, .time_s = m->frame_s, .n_frame = m->n_frame};
    const struct qvl_prompt_settings set = {.merge = 2, .temporal_patch = 2, .want_video_wrapper = is_wrapped};
    struct qvl_prompt_parts parts = {0};
    struct qvl_prompt prompt = {0};
    char sha256[65];
    if (qvl_chat_render(&ask->chat, false, &parts, &err) ||
        qvl_prompt_build(seen->published, &parts, &media, 1, &set, &prompt, &err))
        fail_msg("%s", err.text);
    sha256_hex((const uint8_t *)prompt.ids.id, prompt.ids.n * sizeof *prompt.ids.id, sha256);
    if (strncmp(sha256, json_string_value(expected), N_DIGIT) != 0)
        fail_msg("%s: other ids in the published vocabulary", name_of(ask));
    qvl_prompt_free(&prompt);
    qvl_prompt_parts_free(&parts);
}

static void check_prompt(struct seen *seen, struct ask *ask, struct qvl_session *session, bool is_wrapped)
{
    struct qvl_request_options options = {.sampling = {.top_p = 1, .repetition_penalty = 1}, .session = session};
    struct qvl_request *request = NULL;
    struct qvl_request_info info;
    ask->chat.want_video_wrapper = is_wrapped;
    if (qvl_request_open(seen->engine, &ask->chat, &options, &request, &err) || qvl_request_prepare(request, &err))
        fail_msg("%s: %s", name_of(ask), err.text);
    qvl_request_get_info(request, &info);
    assert_int_equal(info.n_media, 1);
    compare_media(ask, &info.media[0]);
    compare_ids(ask, is_wrapped ? "wrapped" : "plain", info.prompt_ids, info.n_prompt_tok);
    if (seen->published)
        compare_published(seen, ask, &info.media[0]);
    qvl_request_close(request);
    seen->n_prompt++;
}

static void check_refused(struct seen *seen, struct ask *ask)
{
    struct qvl_request_options options = {.sampling = {.top_p = 1, .repetition_penalty = 1}};
    struct qvl_request *request = NULL;
    enum qvl_status status = qvl_request_open(seen->engine, &ask->chat, &options, &request, &err);
    if (!status)
        status = qvl_request_prepare(request, &err);
    if (status != QVL_ERR_ARGUMENT || !strstr(err.text, "fewer than two frames"))
        fail_msg("%s: status %d, \"%s\"", name_of(ask), (int)status, err.text);
    qvl_request_close(request);
    seen->n_refused++;
}

/* Both forms in one session: what the first one learnt of the clip serves the second. */
static void check_forms(struct seen *seen, struct ask *ask)
{
    struct qvl_session *session = NULL;
    if (qvl_session_open(seen->engine, &session, &err))
        fail_msg("%s", err.text);
    for (int is_wrapped = 0; is_wrapped < 2; is_wrapped++)
        check_prompt(seen, ask, session, is_wrapped);
    qvl_session_close(session);
}

static void check_clip(const json_t *clip, void *arg)
{
    struct seen *seen = arg;
    struct ask ask;
    char path[256];
    size_t i;
    const json_t *run;
    snprintf(path, sizeof path, "tests/data/clips/%s", json_string_value(json_object_get(clip, "file")));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    json_array_foreach(json_object_get(clip, "runs"), i, run)
    {
        make_ask(&ask, clip, run, fd);
        if (json_is_true(json_object_get(run, "refused")))
            check_refused(seen, &ask);
        else
            check_forms(seen, &ask);
    }
    assert_int_equal(close(fd), 0);
    seen->n_clip++;
}

static void clips_become_the_references_prompts(void **state)
{
    (void)state;
    struct seen seen = {0};
    const struct qvl_engine_options options = {
        .model_dir = model_folder('a'), .media_helper = media_helper_path(), .n_thread = 1};
    const char *tokenizer_dir = data_tokenizer_dir();
    if (qvl_engine_open(&options, &seen.engine, &err) ||
        (tokenizer_dir && qvl_tokenizer_load(tokenizer_dir, 151936, &seen.published, &err)))
        fail_msg("%s", err.text);
    for_each_line("tests/data/clips/vectors.jsonl", check_clip, &seen);
    print_message("%zu clips, %zu prompts, %zu stretches refused\n", seen.n_clip, seen.n_prompt, seen.n_refused);
    assert_in_range(seen.n_clip, 49, SIZE_MAX);
    assert_in_range(seen.n_prompt, 700, SIZE_MAX);
    assert_in_range(seen.n_refused, 10, SIZE_MAX);
    qvl_tokenizer_free(seen.published);
    qvl_engine_close(seen.engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clips_become_the_references_prompts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "conversation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "golden_model.h"

#define NUMBER "NNNN"

/* ---- from JSON --------------------------------------------------------------------------------------- */

static int32_t number_of(const struct golden_vectors *vectors, const char *test_case)
{
    const struct golden_vector *v = golden_vectors_find(vectors, test_case, "number");
    assert_non_null(v);
    return *(const int32_t *)v->data;
}

/* A new value in which four digits stand for NNNN. */
static json_t *fill(const json_t *value, int32_t number)
{
    char digits[16], *text = json_dumps(value, 0);
    assert_non_null(text);
    assert_in_range(number, 0, 9999);
    snprintf(digits, sizeof digits, "%04d", number);
    for (char *at = text; (at = strstr(at, NUMBER)) != NULL;)
        memcpy(at, digits, strlen(NUMBER));
    json_t *filled = json_loads(text, 0, NULL);
    assert_non_null(filled);
    free(text);
    return filled;
}

/* The questions up to this turn's with the answers between them. */
static json_t *fill_turns(const struct golden_vectors *vectors, const json_t *messages, size_t n_turn,
                          const struct golden_answer *earlier)
{
    json_t *out = json_array();
    for (size_t i = 0; i < n_turn; i++) {
        char turn[32];
        snprintf(turn, sizeof turn, "turn%zu", i + 1);
        json_array_append_new(out, fill(json_array_get(messages, i), number_of(vectors, turn)));
        if (i + 1 < n_turn)
            json_array_append_new(
                out, json_pack("{ssss%}", "role", "assistant", "content", earlier[i].text, earlier[i].n_text));
    }
    return json_pack("{so}", "messages", out);
}

static json_t *make_line(const struct golden_vectors *vectors, const char *test_case,
                         const struct golden_answer *earlier, bool *out_is_wrapped)
{
    char path[512], name[32];
    size_t n_name = strcspn(test_case, "0123456789");
    bool is_turn = strncmp(test_case, "turn", n_name) == 0;
    const char *form = strstr(test_case, "_wrapped");
    *out_is_wrapped = form != NULL;
    snprintf(path, sizeof path, "%s/conversations.json", golden_dir());
    snprintf(name, sizeof name, "%.*s", (int)(form ? (size_t)(form - test_case) : strlen(test_case)), test_case);
    json_t *all = json_load_file(path, 0, NULL);
    const json_t *found = json_object_get(all, is_turn ? "turns" : name);
    if (!found)
        fail_msg("%s has no %s", path, name);
    json_t *line =
        is_turn ? fill_turns(vectors, json_object_get(found, "messages"), (size_t)atol(test_case + n_name), earlier)
                : fill(found, number_of(vectors, test_case));
    assert_non_null(line);
    json_decref(all);
    return line;
}

/* ---- pictures and frames ----------------------------------------------------------------------------- */

static void *keep(struct golden_conversation *c, void *memory)
{
    assert_non_null(memory);
    assert_in_range(c->n_drawn, 0, sizeof c->drawn / sizeof *c->drawn - 1);
    c->drawn[c->n_drawn++] = memory;
    return memory;
}

static void draw_part(struct golden_conversation *c, const json_t *json, struct qvl_part *part)
{
    const json_t *index = json_object_get(json, "frames");
    const json_t *size = json_object_get(json, index ? "video" : "image");
    uint32_t h = (uint32_t)json_integer_value(json_array_get(size, 0));
    uint32_t w = (uint32_t)json_integer_value(json_array_get(size, 1));
    uint32_t seed = (uint32_t)json_integer_value(json_array_get(size, 2));
    double rate = json_number_value(json_object_get(json, "rate"));
    size_t n = index ? json_array_size(index) : 1;
    struct qvl_frame *frame = keep(c, calloc(n, sizeof *frame));
    uint8_t *rgb = keep(c, malloc(n * h * w * 3));
    for (size_t i = 0; i < n; i++, rgb += (size_t)h * w * 3) {
        double time_s = index ? json_number_value(json_array_get(index, i)) / rate : 0;
        golden_picture(seed + (uint32_t)i, h, w, rgb);
        frame[i] = (struct qvl_frame){w, h, 3 * (size_t)w, rgb, time_s};
    }
    part->source = (struct qvl_media_source){.from = QVL_FROM_FRAMES, .frames = frame, .n_frame = n};
}

void golden_conversation_make(const struct golden_vectors *vectors, const char *test_case,
                              const struct golden_answer *earlier, struct golden_conversation *out)
{
    bool is_wrapped;
    *out = (struct golden_conversation){.line = make_line(vectors, test_case, earlier, &is_wrapped)};
    out->read = chat_line_read(out->line);
    out->chat = out->read->chat;
    out->chat.want_video_wrapper = is_wrapped;
    const json_t *messages = json_object_get(out->line, "messages");
    for (size_t i = 0; i < out->chat.n_message; i++)
        for (size_t k = 0; k < out->read->message[i].n_part; k++)
            if (out->read->part[i][k].kind != QVL_PART_TEXT)
                draw_part(out, json_array_get(json_object_get(json_array_get(messages, i), "content"), k),
                          &out->read->part[i][k]);
}

void golden_conversation_free(struct golden_conversation *c)
{
    for (size_t i = 0; i < c->n_drawn; i++)
        free(c->drawn[i]);
    free(c->read);
    json_decref(c->line);
    *c = (struct golden_conversation){0};
}

/* ---- an answer --------------------------------------------------------------------------------------- */

static void compare_grids(const struct golden_vectors *vectors, const char *test_case,
                          const struct qvl_request_info *info)
{
    const struct golden_vector *grids = golden_vectors_find(vectors, test_case, "grids");
    const int32_t *n_frame = golden_vectors_find(vectors, test_case, "n_frame")->data, *grid = grids->data;
    assert_int_equal(info->n_media, grids->dim[0]);
    for (size_t i = 0; i < info->n_media; i++, grid += 3) {
        const struct qvl_media_info *m = &info->media[i];
        assert_int_equal(m->kind, n_frame[i] > 0 ? QVL_MEDIA_VIDEO : QVL_MEDIA_IMAGE);
        assert_int_equal(m->grid_t, grid[0]);
        assert_int_equal(m->grid_h, grid[1]);
        assert_int_equal(m->grid_w, grid[2]);
        assert_int_equal(m->n_frame, n_frame[i]);
    }
}

static uint32_t *copy_ids(const uint32_t *id, size_t n)
{
    uint32_t *copy = calloc(n, sizeof *copy);
    assert_non_null(copy);
    return memcpy(copy, id, n * sizeof *copy);
}

void golden_conversation_run(struct qvl_engine *engine, struct qvl_session *session,
                             const struct golden_vectors *vectors, const char *test_case,
                             const struct golden_conversation *conversation, size_t n, struct golden_answer *out)
{
    struct qvl_request_options options = {.sampling = {.top_p = 1, .repetition_penalty = 1},
                                          .max_tokens = (uint32_t)n,
                                          .ignore_eos = true,
                                          .no_loop_guard = true,
                                          .session = session};
    struct qvl_request *request = NULL;
    struct qvl_request_info info;
    struct qvl_event event = {0};
    struct qvl_error err = {0};
    *out = (struct golden_answer){0};
    if (qvl_request_open(engine, &conversation->chat, &options, &request, &err))
        fail_msg("%s: %s", test_case, err.text);
    while (event.kind != QVL_EVENT_DONE) {
        if (qvl_request_next(request, &event, &err))
            fail_msg("%s: %s", test_case, err.text);
        if (event.kind == QVL_EVENT_TEXT) {
            out->text = realloc(out->text, out->n_text + event.text.n + 1);
            assert_non_null(out->text);
            memcpy(out->text + out->n_text, event.text.utf8, event.text.n);
            out->n_text += event.text.n;
        }
    }
    qvl_request_get_info(request, &info);
    compare_grids(vectors, test_case, &info);
    out->n_prompt = info.n_prompt_tok;
    out->prompt_id = copy_ids(info.prompt_ids, info.n_prompt_tok);
    out->n = info.n_output_tok;
    out->id = copy_ids(info.output_ids, info.n_output_tok);
    out->n_cached = info.n_cached_tok;
    qvl_request_close(request);
}

void golden_answer_free(struct golden_answer *answer)
{
    free(answer->prompt_id);
    free(answer->id);
    free(answer->text);
    *answer = (struct golden_answer){0};
}

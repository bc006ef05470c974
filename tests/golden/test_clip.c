/* Clips as frames with times through qvl.h: the reference's clip (vectors.h, "clip") gives its ids and intermediates
 * and the model room's bits; so does a longer one, of an odd number of frames and more of them than the engine holds
 * (two groups of 42 temporal patches), where the room runs the tower once; all with chunks of any size. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden_run.h"
#include "model/patchify.h"

#define LIMIT 2e-4 /* as test_reference.c */

enum { H = 64, W = 96, GRID_H = H / 16, GRID_W = W / 16, N_TOK = GRID_H * GRID_W / 4, MAX_FRAMES = 181 };

static const uint32_t chunks[] = {4096, 64, 1};

struct clip {
    uint8_t rgb8[MAX_FRAMES][H * W * 3];
    struct qvl_frame frame[MAX_FRAMES];
    size_t n;
};

/* Frames of seeds 5, 6, …, two a second, the first at 0.25 s. */
static struct clip *draw_clip(size_t n)
{
    struct clip *clip = calloc(1, sizeof *clip);
    assert_non_null(clip);
    clip->n = n;
    for (size_t i = 0; i < n; i++) {
        golden_picture((uint32_t)(5 + i), H, W, clip->rgb8[i]);
        clip->frame[i] = (struct qvl_frame){W, H, 3 * W, clip->rgb8[i], 0.25 + 0.5 * (double)i};
    }
    return clip;
}

static struct qvl_request *open_request(struct qvl_engine *engine, const struct clip *clip, struct golden_trace *trace)
{
    struct qvl_part part[] = {
        {.kind = QVL_PART_VIDEO, .source = {.from = QVL_FROM_FRAMES, .frames = clip->frame, .n_frame = clip->n}},
        {.kind = QVL_PART_TEXT, .utf8 = "What happens?", .n = strlen("What happens?")}};
    struct qvl_message message = {.role = QVL_ROLE_USER, .parts = part, .n_part = 2};
    struct qvl_chat chat = {.messages = &message, .n_message = 1};
    struct qvl_request_options options = {.sampling = {.top_p = 1, .repetition_penalty = 1}, .max_tokens = 1,
                                          .ignore_eos = true, .trace = trace->trace};
    struct qvl_request *request = NULL;
    struct qvl_error err = {0};
    if (qvl_request_open(engine, &chat, &options, &request, &err) || qvl_request_prepare(request, &err))
        fail_msg("%s", err.text);
    return request;
}

/* One token after the clip and the question; the prompt's ids are the caller's to free. */
static size_t run_engine(const char *folder, const struct clip *clip, uint32_t n_chunk, struct golden_trace *trace,
                         uint32_t **out_ids)
{
    struct qvl_engine_options options = {.model_dir = folder, .compute = QVL_COMPUTE_F32, .n_thread = 2,
                                         .n_ctx = 4096, .n_prefill_chunk = n_chunk};
    struct qvl_engine *engine = NULL;
    struct qvl_error err = {0};
    struct qvl_event event = {0};
    struct qvl_request_info info;
    golden_trace_init(trace);
    if (qvl_engine_open(&options, &engine, &err) || qvl_engine_load(engine, &err))
        fail_msg("%s", err.text);
    struct qvl_request *request = open_request(engine, clip, trace);
    while (event.kind != QVL_EVENT_DONE)
        if (qvl_request_next(request, &event, &err))
            fail_msg("%s", err.text);
    qvl_request_get_info(request, &info);
    uint32_t n_patch = (uint32_t)(clip->n + 1) / 2;
    assert_int_equal(info.n_media, 1);
    assert_int_equal(info.media[0].kind, QVL_MEDIA_VIDEO);
    assert_int_equal(info.media[0].grid_t, n_patch);
    assert_int_equal(info.media[0].grid_h, GRID_H);
    assert_int_equal(info.media[0].grid_w, GRID_W);
    assert_int_equal(info.media[0].resized_h, H);
    assert_int_equal(info.media[0].original_w, W);
    assert_int_equal(info.media[0].n_tok, n_patch * N_TOK);
    assert_int_equal(info.n_video_tok, n_patch * N_TOK);
    assert_int_equal(info.n_image_tok, 0);
    *out_ids = calloc(info.n_prompt_tok, sizeof **out_ids);
    assert_non_null(*out_ids);
    memcpy(*out_ids, info.prompt_ids, info.n_prompt_tok * sizeof **out_ids);
    size_t n = info.n_prompt_tok;
    qvl_request_close(request);
    qvl_engine_close(engine);
    return n;
}

static const struct golden_record *find_record(const struct golden_trace *trace, const char *name)
{
    for (size_t i = 0; i < trace->n; i++)
        if (strcmp(trace->record[i].name, name) == 0)
            return &trace->record[i];
    fail_msg("%s was not traced", name);
    return NULL;
}

static void assert_same_record(const struct golden_record *a, const struct golden_record *b)
{
    assert_int_equal(a->n_column, b->n_column);
    if (a->n_row != b->n_row || memcmp(a->data, b->data, a->n_row * a->n_column * sizeof(float)) != 0)
        fail_msg("%s: %zu rows differ from %zu rows", a->name, a->n_row, b->n_row);
}

static void assert_same_trace(const struct golden_trace *a, const struct golden_trace *b)
{
    assert_int_equal(a->n, b->n);
    for (size_t i = 0; i < a->n; i++)
        assert_same_record(&a->record[i], find_record(b, a->record[i].name));
}

/* The model room by hand, as test_reference.c compares it, but with the logits of the last token only. */
static void run_room(struct golden *g, struct golden_prompt *prompt, struct golden_trace *trace)
{
    struct golden_sequence sequence;
    float *logits = calloc(g->config.text.vocab, sizeof *logits);
    assert_non_null(logits);
    golden_trace_init(trace);
    golden_see(g, prompt, 1, &trace->trace);
    golden_sequence_open(g, prompt, &sequence);
    struct qvl_decoder *decoder = golden_decoder(g, prompt->n);
    golden_prefill(g, decoder, &sequence, prompt->n, 1, logits, &trace->trace);
    free(logits);
    qvl_decoder_close(decoder);
    golden_sequence_close(&sequence);
}

/* What is computed for the last token only, decoder.norm and logits, is left to the room's bits. */
static void compare_with_reference(const struct golden *g, const struct golden_trace *trace, uint32_t n_chunk)
{
    struct golden_result result = {0};
    for (size_t i = 0; i < trace->n; i++) {
        const struct golden_record *record = &trace->record[i];
        const struct golden_vector *v = golden_vectors_find(&g->vectors, "clip", record->name);
        assert_non_null(v);
        if (record->n_row == v->n_row)
            golden_compare_record(&g->vectors, "clip", record, LIMIT, &result);
    }
    printf("model %c, chunks of %u: %zu of %zu intermediates, worst %.1e (%s)\n", g->letter, n_chunk,
           result.n_compared, trace->n, result.worst, result.worst_name);
    if (result.first_above[0])
        fail_msg("%s is the first beyond %g", result.first_above, LIMIT);
    assert_int_equal(result.n_compared + 2, trace->n); /* not decoder.norm and logits */
}

static void test_the_clip_of_the_reference(void **state)
{
    (void)state;
    struct clip *clip = draw_clip(4);
    for (const char *letter = GOLDEN_LETTERS; *letter; letter++) {
        struct golden g;
        struct golden_prompt prompt;
        struct golden_trace room;
        golden_open(&g, *letter, golden_best_level(), 2, QVL_COMPUTE_F32, QVL_KV_AS_COMPUTED);
        const struct golden_vector *ids = golden_vectors_find(&g.vectors, "clip", "ids");
        golden_prompt_make(&g, "clip", NULL, 0, &prompt);
        run_room(&g, &prompt, &room);
        for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
            struct golden_trace trace;
            uint32_t *id;
            size_t n = run_engine(golden_folder(*letter), clip, chunks[i], &trace, &id);
            assert_int_equal(n, ids->dim[0]);
            assert_memory_equal(id, ids->data, n * sizeof *id);
            compare_with_reference(&g, &trace, chunks[i]);
            assert_same_trace(&trace, &room);
            free(id);
            golden_trace_free(&trace);
        }
        golden_trace_free(&room);
        golden_prompt_free(&prompt);
        golden_close(&g);
    }
    free(clip);
}

/* The clip's patches in one grid, the last frame taken twice. The prompt takes the ids. */
static void make_prompt(struct golden *g, const struct clip *clip, uint32_t *id, size_t n, struct golden_prompt *out)
{
    size_t n_patch = (clip->n + 1) / 2, n_number = GRID_H * GRID_W * qvl_patch_len(&g->config.vision);
    *out = (struct golden_prompt){.id = id, .n = n, .grid = {{(uint32_t)n_patch, GRID_H, GRID_W}}, .n_grid = 1};
    out->patch_row = calloc(n_patch * n_number, sizeof(float));
    assert_non_null(out->patch_row);
    for (size_t t = 0; t < n_patch; t++)
        qvl_patchify(&g->config.vision, &g->config.image, clip->rgb8[2 * t],
                     clip->rgb8[2 * t + 1 < clip->n ? 2 * t + 1 : 2 * t], GRID_H, GRID_W,
                     out->patch_row + t * n_number);
    golden_prompt_positions(g, out);
}

static void test_a_long_clip(void **state)
{
    (void)state;
    struct clip *clip = draw_clip(MAX_FRAMES);
    struct golden g;
    struct golden_trace trace, room;
    struct golden_prompt prompt;
    uint32_t *id;
    golden_open(&g, 'a', golden_best_level(), 2, QVL_COMPUTE_F32, QVL_KV_AS_COMPUTED);
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
        size_t n = run_engine(golden_folder('a'), clip, chunks[i], &trace, &id);
        if (i == 0) {
            make_prompt(&g, clip, id, n, &prompt);
            run_room(&g, &prompt, &room);
        } else {
            free(id);
        }
        assert_same_trace(&trace, &room);
        golden_trace_free(&trace);
    }
    golden_trace_free(&room);
    golden_prompt_free(&prompt);
    golden_close(&g);
    free(clip);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_clip_of_the_reference),
        cmocka_unit_test(test_a_long_clip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Expected values: MODEL.md, "Positions" and "YaRN" (from transformers' get_rope_index,
 * Qwen3VLTextRotaryEmbedding and _compute_yarn_parameters). */
#include <math.h>

#include "helper.h"

#include "model/rope.h"

static const struct qvl_text_config text_2b = {
    .head_dim = 128, .rope = {.type = QVL_ROPE_DEFAULT, .theta = 5e6, .section = {24, 20, 20}}};

static void check_position(struct qvl_position p, int t, int h, int w)
{
    assert_int_equal(p.t, t);
    assert_int_equal(p.h, h);
    assert_int_equal(p.w, w);
}

/* "<|im_start|>user\n<|vision_start|>", a picture of 2 x 3 tokens, then text. */
static void test_picture_between_text(void **state)
{
    const struct qvl_span span[] = {
        {.n_tok = 4}, {.n_tok = 6, .is_visual = true, .rows = 2, .columns = 3}, {.n_tok = 1}};
    struct qvl_position pos[11];
    int32_t next = 0;
    (void)state;
    qvl_rope_positions(span, 3, pos, &next);
    for (int i = 0; i < 4; i++)
        check_position(pos[i], i, i, i);
    for (int i = 0; i < 6; i++)
        check_position(pos[4 + i], 4, 4 + i / 3, 4 + i % 3);
    check_position(pos[10], 7, 7, 7);
    assert_int_equal(next, 8); /* rope_delta = 8 - 11 = -3 */
}

/* Temporal patches of a clip, later turns: positions go on from where they were. */
static void test_positions_go_on(void **state)
{
    const struct qvl_span span[] = {{.n_tok = 4, .is_visual = true, .rows = 4, .columns = 1},
                                    {.n_tok = 2},
                                    {.n_tok = 4, .is_visual = true, .rows = 4, .columns = 1}};
    struct qvl_position pos[10];
    int32_t next = 100;
    (void)state;
    qvl_rope_positions(span, 3, pos, &next);
    check_position(pos[0], 100, 100, 100);
    check_position(pos[3], 100, 103, 100);
    check_position(pos[4], 104, 104, 104);
    check_position(pos[6], 106, 106, 106);
    check_position(pos[9], 106, 109, 106);
    assert_int_equal(next, 110);
}

static void test_frequencies(void **state)
{
    float inv_freq[64], scale = 0;
    (void)state;
    qvl_rope_frequencies(&text_2b, inv_freq, &scale);
    assert_float_equal(inv_freq[0], 1.0f, 0);
    assert_float_equal(inv_freq[1], 0.785830f, 5e-7f);
    assert_float_equal(inv_freq[2], 0.617529f, 5e-7f);
    assert_float_equal(inv_freq[32], 4.47214e-4f, 5e-10f);
    assert_float_equal(inv_freq[60], 5.24464e-7f, 5e-13f);
    assert_float_equal(inv_freq[63], 2.54508e-7f, 5e-13f);
    assert_float_equal(scale, 1.0f, 0);
}

static void test_yarn(void **state)
{
    static const struct {
        int j;
        float value;
    } expected[] = {{29, 9.21572e-4f}, {30, 6.94024e-4f}, {37, 8.93443e-5f},
                    {44, 9.30014e-6f}, {45, 6.49629e-6f}, {63, 8.48360e-8f}};
    struct qvl_text_config text = text_2b;
    float inv_freq[64], scale = 0;
    (void)state;
    text.rope.type = QVL_ROPE_YARN;
    text.rope.factor = 3.0;
    text.rope.beta_fast = 32;
    text.rope.beta_slow = 1;
    text.rope.original_max_position = 262144;
    text.rope.truncate = true;
    qvl_rope_frequencies(&text, inv_freq, &scale);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        assert_float_equal(inv_freq[expected[i].j], expected[i].value, expected[i].value * 1e-6f);
    assert_float_equal(scale, 1.10986f, 5e-6f);
    text.rope.attention_factor = 1.25;
    qvl_rope_frequencies(&text, inv_freq, &scale);
    assert_float_equal(scale, 1.25f, 0);
}

/* Which axis turns a pair: "THW" 20 times, then "TTTT". */
static void test_interleaved_axes(void **state)
{
    float inv_freq[64], cos[64], sin[64], one = 0;
    struct qvl_model model = {.config.text = text_2b, .inv_freq = inv_freq};
    (void)state;
    qvl_rope_frequencies(&text_2b, inv_freq, &model.rope_scale);
    for (int j = 0; j < 64; j++)
        inv_freq[j] = 1.0f; /* the angle is then the position itself */
    qvl_rope_text_angles(&model, (struct qvl_position){.t = 1, .h = 2, .w = 3}, cos, sin);
    for (int j = 0; j < 64; j++) {
        int axis = j < 60 ? j % 3 : 0;
        one = (float)(axis + 1);
        assert_float_equal(cos[j], cosf(one), 0);
        assert_float_equal(sin[j], sinf(one), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_picture_between_text), cmocka_unit_test(test_positions_go_on),
        cmocka_unit_test(test_frequencies),          cmocka_unit_test(test_yarn),
        cmocka_unit_test(test_interleaved_axes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

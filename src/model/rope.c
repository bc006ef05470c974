/* Enters: spans of the prompt; one token's position; the config. Leaves: three-axis positions; cosines and sines
 * of one token; inverse frequencies.
 *
 * Pairs of a head are (j, j + head_dim/2); pair j turns by position[axis(j)] * inv_freq[j], its axis being
 * interleaved T H W T H W … as far as each axis has pairs, then T. Products of position and frequency are
 * rounded to f32 before cosine and sine, and frequencies come from f32 exponents, because the reference's do.
 *
 * Source of truth: transformers' Qwen3VLTextRotaryEmbedding, get_rope_index, _compute_yarn_parameters. */
#include "model/rope.h"

#include <math.h>

#include "model/mistake.h"

/* ---- positions ----------------------------------------------------------------------------------- */

void qvl_rope_positions(const struct qvl_span *span, size_t n_span, struct qvl_position *pos, int32_t *next)
{
    int32_t at = *next;
    for (size_t i = 0; i < n_span; i++, span++) {
        if (!span->is_visual) {
            for (size_t k = 0; k < span->n_tok; k++, at++)
                *pos++ = (struct qvl_position){at, at, at};
            continue;
        }
        for (uint32_t r = 0; r < span->rows; r++)
            for (uint32_t c = 0; c < span->columns; c++)
                *pos++ = (struct qvl_position){at, at + (int32_t)r, at + (int32_t)c};
        at += (int32_t)(span->rows > span->columns ? span->rows : span->columns);
    }
    *next = at;
}

/* ---- angles -------------------------------------------------------------------------------------- */

static int32_t position_of_pair(const uint32_t section[3], struct qvl_position pos, uint32_t j)
{
    if (QVL_MISTAKE(CHUNKED_MROPE))
        return j < section[0] ? pos.t : j < section[0] + section[1] ? pos.h : pos.w;
    if (QVL_MISTAKE(MROPE_AXES_SWAPPED))
        pos = (struct qvl_position){pos.t, pos.w, pos.h};
    if (QVL_MISTAKE(UNBOUNDED_MROPE_STRIDE))
        return j % 3 == 1 ? pos.h : j % 3 == 2 ? pos.w : pos.t;
    if (j % 3 == 1 && j < 3 * section[1])
        return pos.h;
    if (j % 3 == 2 && j < 3 * section[2])
        return pos.w;
    return pos.t;
}

void qvl_rope_text_angles(const struct qvl_model *model, struct qvl_position pos, float *cos, float *sin)
{
    const struct qvl_text_config *text = &model->config.text;
    for (uint32_t j = 0; j < text->head_dim / 2; j++) {
        float angle = (float)position_of_pair(text->rope.section, pos, j) * model->inv_freq[j];
        cos[j] = cosf(angle) * model->rope_scale;
        sin[j] = sinf(angle) * model->rope_scale;
    }
}

/* ---- frequencies --------------------------------------------------------------------------------- */

/* YaRN: the pair that turns `rotations` times over the original context. */
static double correction_pair(const struct qvl_text_config *text, double rotations)
{
    const double two_pi = 6.283185307179586;
    return text->head_dim * log(text->rope.original_max_position / (rotations * two_pi)) /
           (2.0 * log(text->rope.theta));
}

static void yarn_range(const struct qvl_text_config *text, double *low, double *high)
{
    *low = correction_pair(text, text->rope.beta_fast);
    *high = correction_pair(text, text->rope.beta_slow);
    if (text->rope.truncate) {
        *low = floor(*low);
        *high = ceil(*high);
    }
    *low = fmax(*low, 0.0);
    *high = fmin(*high, text->head_dim - 1.0);
    if (*low == *high)
        *high += 0.001; /* as the reference: no division by zero */
}

void qvl_rope_frequencies(const struct qvl_text_config *text, float *inv_freq, float *scale)
{
    const struct qvl_rope_config *rope = &text->rope;
    bool is_yarn = rope->type == QVL_ROPE_YARN;
    double low = 0, high = 1;
    if (is_yarn)
        yarn_range(text, &low, &high);
    for (uint32_t j = 0; j < text->head_dim / 2; j++) {
        float exponent = (float)(2 * j) / (float)text->head_dim;
        float freq = (float)pow(rope->theta, (double)exponent);
        inv_freq[j] = 1.0f / freq;
        if (is_yarn) {
            float ramp = fminf(fmaxf(((float)j - (float)low) / (float)(high - low), 0.0f), 1.0f);
            float keep = 1.0f - ramp;
            inv_freq[j] = 1.0f / ((float)rope->factor * freq) * (1.0f - keep) + inv_freq[j] * keep;
        }
    }
    *scale = 1.0f;
    if (is_yarn && rope->attention_factor != 0.0)
        *scale = (float)rope->attention_factor;
    else if (is_yarn && rope->factor > 1.0)
        *scale = (float)(0.1 * log(rope->factor) + 1.0);
}

/* QVL_Q8 is rounding to nearest. QVL_Q4 looks for the scale of each group: every 8-bit scale under which the
 * group's largest number lies near the end of the table, with both signs (the table is lopsided and may be
 * mirrored), and the one with the smallest sum of squared errors is taken. Errors count alike whatever the weight's
 * size: the inputs they will be multiplied with are not known here, and that is best on average over such; weighing
 * by the square of the weight costs 0.3 to 0.6 dB.
 *
 * The search is most of the work, 13 scales for each group. A number divided by a scale becomes a place in a table,
 * STEPS of them from one level to the next integer, which holds the squared distances from the nearest level and
 * from the nearest mirrored one, as two sums in one 64-bit addition. */
#include "kernel/pack.h"

#include <math.h>
#include <string.h>

#include "kernel/levels.h"

/* What qvl_learn_levels makes of a million normal numbers, from steps of 8 on. */
static const uint8_t DEFAULT_LEVEL[QVL_Q4_LEVELS] = {4,  18, 28, 36, 43, 50,  56,  62,
                                                     69, 75, 81, 88, 95, 103, 113, 127};

static bool find_largest(const float *x, size_t n, float *largest)
{
    uint32_t most = 0; /* of the bits without sign, which order as the numbers do; NaN above all */
    for (size_t j = 0; j < n; j++) {
        uint32_t bits;
        memcpy(&bits, &x[j], sizeof bits);
        bits &= 0x7fffffff;
        most = bits > most ? bits : most;
    }
    memcpy(largest, &most, sizeof most);
    return isfinite(*largest);
}

/* ---- 8 bits --------------------------------------------------------------------------------------- */

static qvl_bf16 bf16_not_below(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (qvl_bf16)((bits + 0xffff) >> 16);
}

/* Numbers with their offset, and the scale. */
static void group_to_q8(uint8_t number[QVL_GROUP], qvl_bf16 *scale, const float *x)
{
    float largest;
    *scale = 0;
    memset(number, QVL_Q8_ZERO, QVL_GROUP);
    if (!find_largest(x, QVL_GROUP, &largest)) {
        *scale = qvl_bf16_round(NAN);
    } else if (largest >= QVL_SMALLEST_LARGEST) {
        *scale = bf16_not_below(largest / 127);
        float inverse = 1 / qvl_bf16_widen(*scale);
        for (size_t j = 0; j < QVL_GROUP; j++)
            number[j] = (uint8_t)(int)(x[j] * inverse + (QVL_Q8_ZERO + 0.5f));
    }
}

static void put_q8_group(uint8_t *panel, size_t i_group, size_t row, const float *x)
{
    uint8_t number[QVL_GROUP];
    qvl_bf16 scale;
    group_to_q8(number, &scale, x);
    uint8_t *block = panel + i_group / 2 * QVL_PANEL_BLOCK_BYTES;
    memcpy(block + (i_group % 2 * QVL_PANEL_ROWS + row) * sizeof scale, &scale, sizeof scale);
    uint8_t *line = block + QVL_PANEL_LINE + i_group % 2 * 8 * QVL_PANEL_LINE;
    for (size_t j = 0; j < QVL_GROUP; j += 4, line += QVL_PANEL_LINE)
        memcpy(line + row * 4, number + j, 4);
}

/* ---- 4 bits --------------------------------------------------------------------------------------- */

enum {
    STEPS = 4, /* places from one integer to the next */
    REACH = 128,
    N_PLACE = 2 * REACH * STEPS + 1, /* -REACH … REACH */
    ERROR_UNITS = 64,                /* of a squared distance of 1 */
};

/* Where the largest number of a group may come to lie, in levels: up to 22 beyond the end of a table, up to 18
 * below. Wider bounds gain nothing on normal, Student (5 degrees) and Laplace distributions. */
#define LEAST_REACH 45.0f
#define MOST_REACH 75.0f
#define LARGEST_SCALE 1.9375f /* qvl_q4_scale(127) */

struct lookup {
    uint8_t nearest[N_PLACE]; /* level */
    uint64_t error[N_PLACE];  /* squared distance, from a mirrored level in the upper half */
};

static size_t place_of(float y)
{
    return (size_t)(int)(y * STEPS + (REACH * STEPS + 0.5f));
}

/* Levels ascend. */
static void fill_lookup(struct lookup *lookup, const float level[QVL_Q4_LEVELS])
{
    uint8_t nearest = 0;
    for (size_t i = 0; i < N_PLACE; i++) {
        float y = (float)i / STEPS - REACH;
        while (nearest + 1 < QVL_Q4_LEVELS && level[nearest + 1] - y < y - level[nearest])
            nearest++;
        lookup->nearest[i] = nearest;
        lookup->error[i] = (uint64_t)((y - level[nearest]) * (y - level[nearest]) * ERROR_UNITS);
    }
    for (size_t i = 0; i < N_PLACE / 2; i++) {
        uint64_t low = lookup->error[i], high = lookup->error[N_PLACE - 1 - i];
        lookup->error[i] = low | high << 32;
        lookup->error[N_PLACE - 1 - i] = high | low << 32;
    }
    lookup->error[N_PLACE / 2] |= lookup->error[N_PLACE / 2] << 32;
}

/* The code of a scale >= 0: the nearest of its octave, or the end of the range. */
static uint8_t code_of(float scale)
{
    const uint32_t code_0 = 120u << 23, half_a_step = 1u << 18;
    uint32_t bits;
    memcpy(&bits, &scale, sizeof bits);
    bits += half_a_step;
    return bits <= code_0 ? 0 : (uint8_t)qvl_min_size((bits - code_0) >> 19, 127);
}

/* Squared errors of a group under one scale and under the mirrored table. */
static uint64_t error_of(const struct lookup *lookup, const float *x, float inverse)
{
    int32_t place[QVL_GROUP];
    for (size_t j = 0; j < QVL_GROUP; j++)
        place[j] = (int32_t)(x[j] * (inverse * STEPS) + (REACH * STEPS + 0.5f));
    uint64_t sum[4] = {0};
    for (size_t j = 0; j < QVL_GROUP; j += 4)
        for (size_t i = 0; i < 4; i++)
            sum[i] += lookup->error[place[j + i]];
    return sum[0] + sum[1] + sum[2] + sum[3];
}

/* The code of the best scale of a group with numbers up to largest, none beyond LEAST_REACH * LARGEST_SCALE *
 * factor. *error: the sum of squared errors. */
static uint8_t search_scale(const struct lookup *lookup, const float *x, float largest, float factor, float *error)
{
    uint8_t best = 0, last = code_of(largest / (LEAST_REACH * factor));
    *error = INFINITY;
    for (uint8_t code = code_of(largest / (MOST_REACH * factor)); code <= last; code++) {
        float scale = qvl_q4_scale(code) * factor, unit = scale * scale / ERROR_UNITS;
        uint64_t both = error_of(lookup, x, 1 / scale);
        float plain = (float)(uint32_t)both * unit, mirrored = (float)(both >> 32) * unit;
        if (plain < *error) {
            *error = plain;
            best = code;
        }
        if (mirrored < *error) {
            *error = mirrored;
            best = code | 0x80;
        }
    }
    return best;
}

/* The factor of a row or group with numbers up to largest >= QVL_SMALLEST_LARGEST. */
static float factor_for(float largest)
{
    return largest / (LEAST_REACH * LARGEST_SCALE);
}

static void put_q4_group(uint8_t *panel, size_t i_group, size_t row, const float *x, float factor,
                         const struct lookup *lookup)
{
    float largest, error;
    find_largest(x, QVL_GROUP, &largest);
    uint8_t code = search_scale(lookup, x, largest, factor, &error), number[QVL_GROUP];
    float inverse = 1 / (qvl_q4_scale(code) * factor);
    for (size_t j = 0; j < QVL_GROUP; j++)
        number[j] = lookup->nearest[place_of(x[j] * inverse)];
    uint8_t *block = panel + i_group / 4 * QVL_PANEL_BLOCK_BYTES;
    block[i_group % 4 * QVL_PANEL_ROWS + row] = code;
    uint8_t *line = block + QVL_PANEL_LINE + i_group % 4 * 4 * QVL_PANEL_LINE;
    for (size_t j = 0; j < QVL_GROUP / 2; j++)
        line[j / 4 * QVL_PANEL_LINE + row * 4 + j % 4] = (uint8_t)(number[j] | number[16 + j] << 4);
}

/* ---- panels --------------------------------------------------------------------------------------- */

static void level_values(float value[QVL_Q4_LEVELS], const uint8_t level[QVL_Q4_LEVELS])
{
    for (size_t i = 0; i < QVL_Q4_LEVELS; i++)
        value[i] = (float)(level[i] - QVL_Q4_ZERO);
}

void qvl_pack_head(struct qvl_packed_head *head, enum qvl_dtype format, uint32_t n_out, uint32_t n_in)
{
    *head = (struct qvl_packed_head){
        .magic = QVL_PACKED_MAGIC,
        .version = QVL_PACKED_VERSION,
        .format = qvl_packed_format(format),
        .n_out = n_out,
        .n_in = n_in,
    };
    if (format == QVL_Q4)
        memcpy(head->level, DEFAULT_LEVEL, sizeof head->level);
}

void qvl_pack_panel(uint8_t *panel, float *factor, const float *const row[QVL_PANEL_ROWS], size_t n_in,
                    enum qvl_dtype format, const uint8_t level[QVL_Q4_LEVELS])
{
    struct lookup lookup;
    memset(panel, 0, qvl_panel_bytes(n_in, format));
    if (format == QVL_Q4) {
        float value[QVL_Q4_LEVELS];
        level_values(value, level);
        fill_lookup(&lookup, value);
    }
    for (size_t r = 0; r < QVL_PANEL_ROWS; r++) {
        float largest = 0;
        bool is_finite = !row[r] || find_largest(row[r], n_in, &largest);
        bool is_zero = largest < QVL_SMALLEST_LARGEST;
        if (format == QVL_Q4)
            factor[r] = !is_finite ? NAN : is_zero ? 0 : factor_for(largest);
        if (is_zero || (format == QVL_Q4 && !is_finite))
            continue;
        for (size_t j = 0; j < n_in; j += QVL_GROUP) {
            float last[QVL_GROUP] = {0};
            const float *x = row[r] + j;
            if (n_in - j < QVL_GROUP)
                x = memcpy(last, x, (n_in - j) * sizeof *x);
            if (format == QVL_Q4)
                put_q4_group(panel, j / QVL_GROUP, r, x, factor[r], &lookup);
            else
                put_q8_group(panel, j / QVL_GROUP, r, x);
        }
    }
}

void qvl_unpack_row(const struct qvl_packed_head *w, size_t row, float *out)
{
    enum qvl_dtype format = w->format == qvl_packed_format(QVL_Q4) ? QVL_Q4 : QVL_Q8;
    size_t r = row % QVL_PANEL_ROWS, n_line = format == QVL_Q4 ? 4 : 8, n_group = 16 / n_line;
    const uint8_t *panel = (const uint8_t *)w + qvl_packed_panels_at(w->n_out, format) +
                           row / QVL_PANEL_ROWS * qvl_panel_bytes(w->n_in, format);
    const float *factor = (const void *)(w + 1);
    for (size_t j = 0; j < w->n_in; j++) {
        size_t i_group = j / QVL_GROUP % n_group, column = j % QVL_GROUP;
        const uint8_t *block = panel + j / QVL_GROUP / n_group * QVL_PANEL_BLOCK_BYTES;
        size_t i_line = 1 + i_group * n_line + column / 4 % n_line;
        uint8_t byte = block[i_line * QVL_PANEL_LINE + r * 4 + column % 4];
        if (format == QVL_Q4) {
            int number = w->level[column < 16 ? byte & 15 : byte >> 4] - QVL_Q4_ZERO;
            out[j] = (float)number * qvl_q4_scale(block[i_group * QVL_PANEL_ROWS + r]) * factor[row];
        } else {
            qvl_bf16 scale;
            memcpy(&scale, block + (i_group * QVL_PANEL_ROWS + r) * sizeof scale, sizeof scale);
            out[j] = (float)(byte - QVL_Q8_ZERO) * qvl_bf16_widen(scale);
        }
    }
}

/* ---- learning a table ----------------------------------------------------------------------------- */

#define LEARN_ROUNDS 12     /* from the default table within 0.01 dB of where it ends */
#define LARGEST_LEVEL 63.0f /* both 64 - 63 and 64 + 63 are levels */

/* The squared error of the sample under a table, each group relative to its largest number as in a matrix whose
 * rows are alike; and for each level the mean of the numbers that it stands for (levels unused stay). */
static double try_levels(const float value[QVL_Q4_LEVELS], const float *sample, size_t n, float mean[QVL_Q4_LEVELS])
{
    struct lookup lookup;
    fill_lookup(&lookup, value);
    double total = 0, sum[QVL_Q4_LEVELS] = {0}, weight[QVL_Q4_LEVELS] = {0};
    for (size_t i = 0; i + QVL_GROUP <= n; i += QVL_GROUP) {
        const float *x = sample + i;
        float largest, error;
        if (!find_largest(x, QVL_GROUP, &largest) || largest < QVL_SMALLEST_LARGEST)
            continue;
        float factor = factor_for(largest);
        float scale = qvl_q4_scale(search_scale(&lookup, x, largest, factor, &error)) * factor;
        total += error;
        for (size_t j = 0; j < QVL_GROUP; j++) {
            uint8_t level = lookup.nearest[place_of(x[j] / scale)];
            sum[level] += (double)scale * x[j];
            weight[level] += (double)scale * scale;
        }
    }
    for (size_t i = 0; i < QVL_Q4_LEVELS; i++)
        mean[i] = weight[i] > 0 ? (float)(sum[i] / weight[i]) : value[i];
    return total;
}

/* Lloyd's iteration: levels to scales and numbers to levels, then levels to means. */
void qvl_learn_levels(const float *sample, size_t n, uint8_t level[QVL_Q4_LEVELS])
{
    float value[QVL_Q4_LEVELS], mean[QVL_Q4_LEVELS];
    level_values(value, level);
    double given_error = try_levels(value, sample, n, mean);
    for (size_t round = 0; round < LEARN_ROUNDS; round++) {
        float largest = 0;
        for (size_t i = 0; i < QVL_Q4_LEVELS; i++)
            largest = fabsf(mean[i]) > largest ? fabsf(mean[i]) : largest;
        for (size_t i = 0; i < QVL_Q4_LEVELS; i++)
            value[i] = mean[i] * (LARGEST_LEVEL / largest);
        try_levels(value, sample, n, mean);
    }
    uint8_t learned[QVL_Q4_LEVELS];
    for (size_t i = 0; i < QVL_Q4_LEVELS; i++)
        learned[i] = (uint8_t)(QVL_Q4_ZERO + lrintf(value[i]));
    level_values(value, learned);
    if (try_levels(value, sample, n, mean) < given_error)
        memcpy(level, learned, sizeof learned);
}

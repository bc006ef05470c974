/* The table of each level, built once: scalar first, then each level overlays the rows that it improves. */
#include "kernel/kernel.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/language.h"
#include "kernel/levels.h"

#define MAX_OVERLAYS 12

/* The overlays of a level of this architecture; none of the other one's. */
#if defined(__x86_64__)
#define ON_X86(...) __VA_ARGS__
#define ON_AARCH64(...) NULL
#else
#define ON_X86(...) NULL
#define ON_AARCH64(...) __VA_ARGS__
#endif

static const struct level {
    const char *name;
    qvl_overlay_fn *overlay[MAX_OVERLAYS]; /* ends with NULL */
} LEVELS[QVL_ISA_COUNT] = {
    [QVL_ISA_SCALAR] = {"scalar",
                        {qvl_overlay_gemm_scalar, qvl_overlay_gemm_packed_scalar, qvl_overlay_attention_scalar,
                         qvl_overlay_attention_i8_scalar, qvl_overlay_elementwise_scalar}},
    [QVL_ISA_NEON] = {"neon",
                      {ON_AARCH64(qvl_overlay_gemm_neon, qvl_overlay_gemm_packed_neon,
                                  qvl_overlay_gemm_packed_neon_dotprod, qvl_overlay_gemm_packed_neon_i8mm,
                                  qvl_overlay_rows_a8_neon, qvl_overlay_attention_neon,
                                  qvl_overlay_attention_i8_neon, qvl_overlay_attention_i8_neon_dotprod,
                                  qvl_overlay_elementwise_neon)}},
    [QVL_ISA_AVX2] = {"avx2",
                      {ON_X86(qvl_overlay_gemm_avx2, qvl_overlay_gemm_packed_avx2,
                              qvl_overlay_gemm_packed_avx2_vnni, qvl_overlay_rows_a8_avx2,
                              qvl_overlay_attention_avx2, qvl_overlay_attention_i8_avx2,
                              qvl_overlay_elementwise_avx2)}},
    [QVL_ISA_AVX512] = {"avx512",
                        {ON_X86(qvl_overlay_gemm_avx512, qvl_overlay_gemm_packed_avx512_vnni,
                                qvl_overlay_attention_avx512, qvl_overlay_attention_i8_avx512_vnni,
                                qvl_overlay_elementwise_avx512)}},
    [QVL_ISA_AVX512_BF16] = {"avx512_bf16",
                             {ON_X86(qvl_overlay_gemm_avx512_bf16, qvl_overlay_attention_avx512_bf16)}},
    [QVL_ISA_AMX] = {"amx", {ON_X86(qvl_overlay_gemm_amx, qvl_overlay_gemm_packed_amx, qvl_overlay_attention_amx)}},
};

static struct qvl_kernels tables[QVL_ISA_COUNT];
static bool is_present[QVL_ISA_COUNT];
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;
static struct qvl_kernels emulated; /* name NULL: none */

/* The level's rows over those of `table`, which come from the levels below. */
static void overlay_level(enum qvl_isa isa, qvl_overlay_fn *const *overlay, struct qvl_kernels *table)
{
    for (; *overlay; overlay++)
        (*overlay)(table);
    table->isa = isa;
    table->name = LEVELS[isa].name;
    table->n_tok_at_once = isa == QVL_ISA_AMX ? QVL_MAX_TOKS_AT_ONCE : 96; /* tiles of 3 tokens divide 96 */
    table->is_bf16_fast = isa == QVL_ISA_AMX || (isa == QVL_ISA_AVX512_BF16 && qvl_cpu_is_bf16_fast());
}

static void build_tables(void)
{
    struct qvl_kernels table = {0};
    for (int isa = 0; isa < QVL_ISA_COUNT; isa++) {
        is_present[isa] = qvl_cpu_has((enum qvl_isa)isa);
        if (!is_present[isa])
            continue;
        overlay_level((enum qvl_isa)isa, LEVELS[isa].overlay, &table);
        tables[isa] = table;
    }
}

const struct qvl_kernels *qvl_kernels_emulate(enum qvl_isa isa, enum qvl_isa below, qvl_overlay_fn *const *overlay)
{
    pthread_once(&tables_once, build_tables);
    if (!is_present[below])
        return NULL;
    emulated = tables[below];
    overlay_level(isa, overlay, &emulated);
    return &emulated;
}

const struct qvl_kernels *qvl_kernels_of(enum qvl_isa isa)
{
    pthread_once(&tables_once, build_tables);
    if (isa < 0 || isa >= QVL_ISA_COUNT)
        return NULL;
    if (is_present[isa])
        return &tables[isa];
    return emulated.name && emulated.isa == isa ? &emulated : NULL;
}

/* The level of that name, or QVL_ISA_COUNT. */
static int find_level(const char *name)
{
    int isa = 0;
    while (isa < QVL_ISA_COUNT && strcmp(LEVELS[isa].name, name) != 0)
        isa++;
    return isa;
}

static enum qvl_status fail_unknown_level(const char *name, bool is_from_env, struct qvl_error *err)
{
    char names[160] = "";
    size_t n = 0;
    for (int isa = 0; isa < QVL_ISA_COUNT; isa++)
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", isa > 0 ? ", " : "", LEVELS[isa].name);
    return qvl_fail(err, QVL_ERR_ARGUMENT, "\"%.40s\"%s is no instruction set level; the levels are %s", name,
                    is_from_env ? qvl_text(" (in QVL_ISA)") : "", names);
}

enum qvl_status qvl_kernels_select(const char *cap, const struct qvl_kernels **out, struct qvl_error *err)
{
    bool is_from_env = !cap;
    if (!cap)
        cap = getenv("QVL_ISA");
    int top = QVL_ISA_COUNT - 1;
    if (cap && *cap) {
        top = find_level(cap);
        if (top == QVL_ISA_COUNT)
            return fail_unknown_level(cap, is_from_env, err);
    }
    const struct qvl_kernels *best = qvl_kernels_of(QVL_ISA_SCALAR);
    for (int isa = 1; isa <= top; isa++) {
        const struct qvl_kernels *table = qvl_kernels_of((enum qvl_isa)isa);
        bool is_named = cap && *cap && isa == top;
        /* Where bf16 products are slow their level is present, but not the better one; what is emulated never is.
         */
        if (table && (isa != QVL_ISA_AVX512_BF16 || table->is_bf16_fast) && (table != &emulated || is_named))
            best = table;
    }
    *out = best;
    return QVL_OK;
}

size_t qvl_attention_scratch_bytes(size_t head_dim)
{
    /* per row of a tile: query, scores, probabilities, weighted values, exponentials lane by lane (at most 16) */
    size_t row_floats = head_dim + 2 * QVL_KV_BLOCK + qvl_head_dim_padded(head_dim) + 16;
    size_t bytes = QVL_ATTENTION_MAX_TILE_ROWS * row_floats * sizeof(float);
    return qvl_round_up(bytes + 5 * 64, 64); /* five areas, each rounded up to 64 bytes */
}

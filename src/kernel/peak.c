/* Twelve independent chains cover the latency of any vector unit so far (four or five cycles, two units). The work
 * of a run is cut into small jobs, more than threads, so that a thread that the system takes away holds back
 * little. */
#include "kernel/peak.h"

#include <string.h>

#include "kernel/levels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "kernel/tile.h"
#define IN_REGISTER "+v"
#elif defined(__aarch64__)
#include <arm_neon.h>
#define IN_REGISTER "+w"
#else
#error "no peak loop for this architecture"
#endif

enum { CHAINS = 12, JOB_STEPS = 200000, JOBS_PER_THREAD = 20 };
#define READ_JOB_BYTES ((size_t)4 << 20)

#define PEAK_LOOP(name, isa, vector, zero, step)                                                                   \
    isa static void name(size_t n_step)                                                                            \
    {                                                                                                              \
        vector a = (zero), b = a, c = a, d = a, e = a, f = a, g = a, h = a, i = a, j = a, k = a, l = a, x = a;     \
        __asm__ volatile("" : IN_REGISTER(x));                                                                     \
        for (size_t n = 0; n < n_step; n++) {                                                                      \
            a = step(a, x), b = step(b, x), c = step(c, x), d = step(d, x), e = step(e, x), f = step(f, x);        \
            g = step(g, x), h = step(h, x), i = step(i, x), j = step(j, x), k = step(k, x), l = step(l, x);        \
            __asm__ volatile("" : IN_REGISTER(a), IN_REGISTER(b), IN_REGISTER(c), IN_REGISTER(d), IN_REGISTER(e)); \
            __asm__ volatile("" : IN_REGISTER(f), IN_REGISTER(g), IN_REGISTER(h), IN_REGISTER(i), IN_REGISTER(j)); \
            __asm__ volatile("" : IN_REGISTER(k), IN_REGISTER(l));                                                 \
        }                                                                                                          \
    }

struct unit {
    enum qvl_peak peak;
    bool (*is_present)(void);
    struct qvl_peak_loop loop;
};

#if defined(__x86_64__)

#define TARGET(isa) __attribute__((target(isa)))
#define MUL_ADD_XMM(acc, x) _mm_add_ps(acc, _mm_mul_ps(x, x))
#define FMA_YMM(acc, x) _mm256_fmadd_ps(x, x, acc)
#define FMA_ZMM(acc, x) _mm512_fmadd_ps(x, x, acc)
#define BF16_ZMM(acc, x) _mm512_dpbf16_ps(acc, (__m512bh)_mm512_castps_si512(x), (__m512bh)_mm512_castps_si512(x))
#define INT8_YMM(acc, x) _mm256_dpbusd_avx_epi32(acc, x, x)
#define INT8_ZMM(acc, x) _mm512_dpbusd_epi32(acc, x, x)

PEAK_LOOP(f32_sse2, , __m128, _mm_setzero_ps(), MUL_ADD_XMM)
PEAK_LOOP(f32_avx2, TARGET("avx2,fma"), __m256, _mm256_setzero_ps(), FMA_YMM)
PEAK_LOOP(f32_avx512, TARGET("avx512f"), __m512, _mm512_setzero_ps(), FMA_ZMM)
PEAK_LOOP(bf16_avx512, TARGET("avx512f,avx512bf16"), __m512, _mm512_setzero_ps(), BF16_ZMM)
PEAK_LOOP(int8_avx2, TARGET("avx2,avxvnni"), __m256i, _mm256_setzero_si256(), INT8_YMM)
PEAK_LOOP(int8_avx512, TARGET("avx512f,avx512vnni"), __m512i, _mm512_setzero_si512(), INT8_ZMM)

/* Full tiles, six independent products, one in 16 cycles. */
enum { TILE_CHAINS = 6 };
#define TILE_PRODUCT(instruction, c) instruction "\t%tmm7, %tmm6, %tmm" #c "\n\t"
#define TILE_LOOP(name, isa, instruction)                                                                          \
    isa static void name(size_t n_step)                                                                            \
    {                                                                                                              \
        struct tile_config config = {0};                                                                           \
        for (int tile = 0; tile < 8; tile++)                                                                       \
            tile_shape(&config, tile, TILE_ROWS, TILE_ROW_BYTES);                                                  \
        tile_configure(&config);                                                                                   \
        for (size_t n = 0; n < n_step; n++)                                                                        \
            __asm__ volatile(TILE_PRODUCT(instruction, 0) TILE_PRODUCT(instruction, 1)                             \
                                 TILE_PRODUCT(instruction, 2) TILE_PRODUCT(instruction, 3)                         \
                                     TILE_PRODUCT(instruction, 4) TILE_PRODUCT(instruction, 5));                   \
        tile_release();                                                                                            \
    }

TILE_LOOP(bf16_amx, TARGET("amx-tile,amx-bf16"), "tdpbf16ps")
TILE_LOOP(int8_amx, TARGET("amx-tile,amx-int8"), "tdpbusd")

static bool has_avx2(void)
{
    return qvl_cpu_has(QVL_ISA_AVX2);
}

static bool has_avx512(void)
{
    return qvl_cpu_has(QVL_ISA_AVX512);
}

static bool has_avx512_bf16(void)
{
    return qvl_cpu_has(QVL_ISA_AVX512_BF16);
}

static bool has_amx(void)
{
    return qvl_cpu_has(QVL_ISA_AMX);
}

static bool has_amx_int8(void)
{
    return qvl_cpu_has_int8_dot(QVL_ISA_AMX);
}

static bool has_avx2_int8(void)
{
    return qvl_cpu_has_int8_dot(QVL_ISA_AVX2);
}

static bool has_avx512_int8(void)
{
    return qvl_cpu_has_int8_dot(QVL_ISA_AVX512);
}

/* Of each peak the widest first; the one without a condition last. */
static const struct unit UNITS[] = {
    {QVL_PEAK_F32, has_avx512, {"vfmadd zmm", CHAINS * 16, f32_avx512}},
    {QVL_PEAK_F32, has_avx2, {"vfmadd ymm", CHAINS * 8, f32_avx2}},
    {QVL_PEAK_F32, NULL, {"mulps, addps xmm", CHAINS * 4, f32_sse2}},
    {QVL_PEAK_BF16, has_amx, {"tdpbf16ps", (double)TILE_CHAINS * 16 * 16 * 32, bf16_amx}},
    {QVL_PEAK_BF16, has_avx512_bf16, {"vdpbf16ps zmm", CHAINS * 32, bf16_avx512}},
    {QVL_PEAK_INT8, has_amx_int8, {"tdpbusd", (double)TILE_CHAINS * 16 * 16 * 64, int8_amx}},
    {QVL_PEAK_INT8, has_avx512_int8, {"vpdpbusd zmm", CHAINS * 64, int8_avx512}},
    {QVL_PEAK_INT8, has_avx2_int8, {"vpdpbusd ymm", CHAINS * 32, int8_avx2}},
};

#else

#define FMA_NEON(acc, x) vfmaq_f32(acc, x, x)
PEAK_LOOP(f32_neon, , float32x4_t, vdupq_n_f32(0), FMA_NEON)

#if defined(__clang__)
#define DOTPROD __attribute__((target("dotprod")))
#else
#define DOTPROD __attribute__((target("arch=armv8.2-a+dotprod")))
#endif

/* By name: clang has the intrinsic only where all of the file is compiled for it. */
DOTPROD static inline int32x4_t dot_neon(int32x4_t acc, int32x4_t x)
{
    __asm__("sdot %0.4s, %1.16b, %1.16b" : "+w"(acc) : "w"(x));
    return acc;
}
PEAK_LOOP(int8_neon, DOTPROD, int32x4_t, vdupq_n_s32(0), dot_neon)

static bool has_neon_int8(void)
{
    return qvl_cpu_has_int8_dot(QVL_ISA_NEON);
}

static const struct unit UNITS[] = {
    {QVL_PEAK_F32, NULL, {"fmla 4s", CHAINS * 4, f32_neon}},
    {QVL_PEAK_INT8, has_neon_int8, {"sdot 4s", CHAINS * 16, int8_neon}},
};

#endif

const struct qvl_peak_loop *qvl_peak_loop_of(enum qvl_peak peak)
{
    for (size_t i = 0; i < sizeof UNITS / sizeof *UNITS; i++)
        if (UNITS[i].peak == peak && (!UNITS[i].is_present || UNITS[i].is_present()))
            return &UNITS[i].loop;
    return NULL;
}

static void run_job(void *arg, size_t i_job, size_t i_thread)
{
    const struct qvl_peak_loop *loop = arg;
    (void)i_job, (void)i_thread;
    loop->run(JOB_STEPS);
}

double qvl_peak_run(const struct qvl_peak_loop *loop, struct qvl_pool *pool, const atomic_bool *stop)
{
    size_t n_job = (size_t)JOBS_PER_THREAD * qvl_pool_n_thread(pool);
    struct qvl_peak_loop copy = *loop;
    bool is_whole = qvl_pool_run(pool, n_job, run_job, &copy, stop);
    return is_whole ? loop->mac_per_step * JOB_STEPS * (double)n_job : 0;
}

struct stream {
    const char *bytes;
    size_t n_bytes;
};

/* One word of each cache line, in four streams; the traffic is the whole line. */
static void read_job(void *arg, size_t i_job, size_t i_thread)
{
    (void)i_thread;
    const struct stream *stream = arg;
    const char *p = stream->bytes + i_job * READ_JOB_BYTES;
    size_t quarter = qvl_min_size(READ_JOB_BYTES, stream->n_bytes - i_job * READ_JOB_BYTES) / 4;
    uint32_t sum = 0;
    for (size_t i = 0; i + sizeof sum <= quarter; i += 64) {
        uint32_t word[4];
        for (size_t j = 0; j < 4; j++)
            memcpy(&word[j], p + j * quarter + i, sizeof word[j]);
        sum += word[0] ^ word[1] ^ word[2] ^ word[3];
    }
    __asm__ volatile("" : : "r"(sum));
}

bool qvl_peak_read(const void *bytes, size_t n_bytes, struct qvl_pool *pool, const atomic_bool *stop)
{
    struct stream stream = {bytes, n_bytes};
    return qvl_pool_run(pool, qvl_div_up(n_bytes, READ_JOB_BYTES), read_job, &stream, stop);
}

/* What the processor offers and the operating system lets us use. On x86 CPUID tells the first; the second is in
 * XCR0: registers that the system does not save on a context switch must not be touched, whatever CPUID says
 * (Intel SDM vol. 1, 13.3 and 14.3; AMD APM vol. 2, 11.5). */
#include "kernel/levels.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define XCR0_SSE_AVX 0x06u  /* xmm, upper halves of ymm */
#define XCR0_AVX512 0xe0u   /* mask registers, upper halves of zmm0-15, zmm16-31 */
#define XCR0_TILES 0x60000u /* their configuration, their data */

/* Leaf 7; the compilers' cpuid.h have two spellings of them. */
#define EDX_AMX_BF16 (1u << 22)
#define EDX_AMX_TILE (1u << 24)
#define EDX_AMX_INT8 (1u << 25)

struct cpuid {
    uint32_t eax, ebx, ecx, edx;
};

/* All zero for a leaf that the processor does not have. */
static struct cpuid cpuid(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid r = {0};
    __get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);
    return r;
}

static bool has_bits(uint32_t word, uint32_t bits)
{
    return (word & bits) == bits;
}

static uint32_t os_saved_state(void)
{
    if (!has_bits(cpuid(1, 0).ecx, bit_OSXSAVE))
        return 0;
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

/* Linux saves 8 KB of tiles for processes only that have asked (Documentation/arch/x86/xstate.rst); without that
 * the first use is a fault. The answer holds for all threads of the process; asking again is harmless. */
static bool may_use_tiles(void)
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

bool qvl_cpu_has(enum qvl_isa isa)
{
    struct cpuid basic = cpuid(1, 0), extended = cpuid(7, 0), more = cpuid(7, 1);
    uint32_t saved = os_saved_state();
    bool has_avx2 = has_bits(saved, XCR0_SSE_AVX) && has_bits(basic.ecx, bit_AVX | bit_FMA | bit_F16C) &&
                    has_bits(extended.ebx, bit_AVX2);
    bool has_avx512 = has_avx2 && has_bits(saved, XCR0_AVX512) &&
                      has_bits(extended.ebx, bit_AVX512F | bit_AVX512BW | bit_AVX512VL | bit_AVX512DQ);
    switch (isa) {
    case QVL_ISA_SCALAR: return true;
    case QVL_ISA_AVX2: return has_avx2;
    case QVL_ISA_AVX512: return has_avx512;
    case QVL_ISA_AVX512_BF16: return has_avx512 && has_bits(more.eax, bit_AVX512BF16);
    case QVL_ISA_AMX:
        return has_avx512 && has_bits(more.eax, bit_AVX512BF16) && has_bits(saved, XCR0_TILES) &&
               has_bits(extended.edx, EDX_AMX_TILE | EDX_AMX_BF16) && may_use_tiles();
    default: return false;
    }
}

bool qvl_cpu_has_int8_dot(enum qvl_isa isa)
{
    if (!qvl_cpu_has(isa))
        return false;
    switch (isa) {
    case QVL_ISA_AVX2: return has_bits(cpuid(7, 1).eax, 1u << 4); /* AVX-VNNI, nameless in gcc 12's cpuid.h */
    case QVL_ISA_AVX512: return has_bits(cpuid(7, 0).ecx, bit_AVX512VNNI);
    case QVL_ISA_AMX: return has_bits(cpuid(7, 0).edx, EDX_AMX_INT8);
    default: return false;
    }
}

bool qvl_cpu_has_int8_matrices(void)
{
    return false;
}

/* A table of vendors, not a measurement, so that the choice (and with it every bit of the output) is the same
 * in every run. vdpbf16ps zmm makes 32 products a cycle against 16 of vfmadd on AMD from Zen 4 on; on Intel
 * (Cooper Lake, Sapphire and Granite Rapids) 16 against 32, measured: there f32 arithmetic is the better one. */
bool qvl_cpu_is_bf16_fast(void)
{
    struct cpuid id = cpuid(0, 0);
    char vendor[12];
    memcpy(vendor, &id.ebx, 4);
    memcpy(vendor + 4, &id.edx, 4);
    memcpy(vendor + 8, &id.ecx, 4);
    return memcmp(vendor, "AuthenticAMD", sizeof vendor) == 0 && qvl_cpu_has(QVL_ISA_AVX512_BF16);
}

#else

/* Linux tells what processor and system have together (Documentation/arch/arm64/elf_hwcaps.rst). */
#include <sys/auxv.h>

bool qvl_cpu_has(enum qvl_isa isa)
{
    return isa == QVL_ISA_SCALAR || isa == QVL_ISA_NEON;
}

bool qvl_cpu_has_int8_dot(enum qvl_isa isa)
{
    return isa == QVL_ISA_NEON && (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
}

bool qvl_cpu_has_int8_matrices(void)
{
    return (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0;
}

bool qvl_cpu_is_bf16_fast(void)
{
    return false;
}

#endif

#include "emulated_level.h"

#include <stdio.h>

#include "kernel/levels.h"

const struct qvl_kernels *use_emulated_level(bool is_kernel_test)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    if (!is_kernel_test) {
        printf("SKIP: level amx in plain C: under a sanitizer the kernel tests alone\n");
        return NULL;
    }
#else
    (void)is_kernel_test;
#endif
    const struct qvl_kernels *kernels = NULL;
#if defined(__x86_64__)
    static qvl_overlay_fn *const overlay[] = {qvl_overlay_gemm_amx_in_c, qvl_overlay_gemm_packed_amx_in_c,
                                              qvl_overlay_attention_amx_in_c, NULL};
    kernels = qvl_kernels_emulate(QVL_ISA_AMX, QVL_ISA_AVX512_BF16, overlay);
#endif
    if (!kernels)
        printf("SKIP: level amx in plain C: it stands on avx512_bf16, which this machine lacks\n");
    return kernels;
}

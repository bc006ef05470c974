#include "model_folder.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/os.h"
#include "kernel/kernel.h"

/* The generator lies in the folder of the golden tests; here it is part of this file. */
#include "../../golden/golden_model.c"

static char root[] = "/tmp/qvl-engine-test-XXXXXX";
static char path[sizeof root + 2];
static pid_t owner;

static int remove_entry(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(name);
}

static void remove_root(void)
{
    if (getpid() == owner)
        nftw(root, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

const char *model_folder(char letter)
{
    if (!owner) {
        if (!mkdtemp(root))
            abort();
        owner = getpid();
        atexit(remove_root);
    }
    snprintf(path, sizeof path, "%s/%c", root, letter);
    if (access(path, F_OK) != 0 && !golden_model_write("tests/golden", letter, path))
        abort();
    return path;
}

const char *media_helper_path(void)
{
    static char helper[4200];
    char dir[4096];
    qvl_os_program_dir(dir, sizeof dir);
    snprintf(helper, sizeof helper, "%s/../../../qvl-media", dir);
    return helper;
}

int open_loaded(struct qvl_engine_options options, struct qvl_engine **out)
{
    struct qvl_error err = {0};
    options.model_dir = model_folder('a');
    if (qvl_engine_open(&options, out, &err) || qvl_engine_load(*out, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return -1;
    }
    return 0;
}

void on_every_level(struct qvl_engine *(*open)(char letter, struct qvl_engine_options options),
                    struct qvl_engine *shared, void (*check)(struct qvl_engine *on))
{
#if defined(__SANITIZE_THREAD__)
    (void)open;
    check(shared);
#else
    static const struct qvl_engine_options format[] = {{.compute = QVL_COMPUTE_BF16},
                                                       {.compute = QVL_COMPUTE_F32},
                                                       {.kv = QVL_KV_INT8},
                                                       {.quantize = QVL_QUANTIZE_Q8},
                                                       {.quantize = QVL_QUANTIZE_Q4, .kv = QVL_KV_INT8}};
#if defined(__SANITIZE_ADDRESS__)
    const bool is_slow = true;
#else
    const bool is_slow = false;
#endif
    (void)shared;
    for (int isa = 0; isa < QVL_ISA_COUNT; isa++) {
        const struct qvl_kernels *kernels = qvl_kernels_of((enum qvl_isa)isa);
        for (size_t i = 0; i < sizeof format / sizeof *format && kernels; i++) {
            if (is_slow && i > 1 && isa != QVL_ISA_AVX2)
                continue; /* under a sanitizer packed formats on one vector level: their bits are every level's */
            struct qvl_engine_options options = format[i];
            options.isa = kernels->name;
            struct qvl_engine *on = open('a', options);
            check(on);
            qvl_engine_close(on);
        }
    }
#endif
}

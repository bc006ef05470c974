#include "cache_folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

char cache_home[64];

int cache_folder_open(void **state)
{
    static const char *const variable[] = {"HF_HOME",
                                           "HF_HUB_CACHE",
                                           "HUGGINGFACE_HUB_CACHE",
                                           "XDG_CACHE_HOME",
                                           "XDG_DATA_HOME",
                                           "HF_TOKEN",
                                           "HF_TOKEN_PATH",
                                           "HUGGING_FACE_HUB_TOKEN",
                                           "HF_ENDPOINT",
                                           "HF_HUB_OFFLINE",
                                           "TRANSFORMERS_OFFLINE",
                                           "HF_HUB_DISABLE_SYMLINKS",
                                           "HF_HUB_DISABLE_IMPLICIT_TOKEN",
                                           "MODELSCOPE_CACHE",
                                           "MS_CACHE_HOME",
                                           "MODELSCOPE_ENDPOINT",
                                           "MODELSCOPE_DOMAIN",
                                           "MODELSCOPE_PREFER_AI_SITE",
                                           "MODELSCOPE_API_TOKEN",
                                           "VLLM_USE_MODELSCOPE"};
    (void)state;
    for (size_t i = 0; i < sizeof variable / sizeof *variable; i++)
        unsetenv(variable[i]);
    strcpy(cache_home, "/tmp/qvl-hub-XXXXXX");
    if (!mkdtemp(cache_home))
        return -1;
    return setenv("HOME", cache_home, 1);
}

int cache_folder_close(void **state)
{
    char command[192];
    (void)state;
    snprintf(command, sizeof command, "chmod -R u+w '%s' && rm -rf '%s'", cache_home, cache_home);
    return system(command);
}

const char *cache_path(const char *inside)
{
    static char path[8][4096];
    static unsigned i;
    char *out = path[i++ % 8];
    snprintf(out, sizeof path[0], "%s/%s", cache_home, inside);
    return out;
}

static void make_parents(const char *path)
{
    char folder[4096];
    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
        mkdir(folder, 0777);
    }
}

void cache_write(const char *inside, const char *text)
{
    const char *path = cache_path(inside);
    make_parents(path);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_true(fwrite(text, 1, strlen(text), f) == strlen(text));
    assert_int_equal(fclose(f), 0);
}

void cache_link(const char *inside, const char *target)
{
    const char *path = cache_path(inside);
    make_parents(path);
    assert_int_equal(symlink(target, path), 0);
}

bool cache_has(const char *inside)
{
    struct stat st;
    return lstat(cache_path(inside), &st) == 0;
}

void cache_assert_text(const char *inside, const char *text)
{
    char found[4096] = "";
    FILE *f = fopen(cache_path(inside), "rb");
    assert_non_null(f);
    size_t n = fread(found, 1, sizeof found - 1, f);
    found[n] = 0;
    fclose(f);
    assert_string_equal(found, text);
}

void cache_assert_link(const char *inside, const char *target)
{
    char found[4096] = "";
    assert_true(readlink(cache_path(inside), found, sizeof found - 1) > 0);
    assert_string_equal(found, target);
}

#include "json_lines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

size_t for_each_line(const char *path, void (*each)(const json_t *line, void *arg), void *arg)
{
    char *line = NULL;
    size_t n_alloc = 0, n_line = 0;
    FILE *f = fopen(path, "r");
    if (!f)
        fail_msg("cannot open %s: tests run in the project's root", path);
    for (ssize_t n; (n = getline(&line, &n_alloc, f)) > 0; n_line++) {
        json_error_t error;
        json_t *value = json_loadb(line, (size_t)n, JSON_ALLOW_NUL, &error);
        if (!value)
            fail_msg("%s line %zu: %s", path, n_line + 1, error.text);
        each(value, arg);
        json_decref(value);
    }
    free(line);
    fclose(f);
    return n_line;
}

const char *data_tokenizer_dir(void)
{
    static char dir[1024], path[1100];
    const char *data = getenv("QVL_DATA");
    snprintf(dir, sizeof dir, "%s/tokenizer", data ? data : "../shared/data");
    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    if (access(path, R_OK) == 0)
        return dir;
    printf("SKIP: no %s: ids of the published tokenizer are not compared\n", path);
    return NULL;
}

#include "vectors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

char *read_whole(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("cannot open %s: tests run in the project's root", path);
    char *data = NULL;
    size_t n_alloc = 0;
    *n = 0;
    do {
        n_alloc = n_alloc * 2 + 65536;
        data = realloc(data, n_alloc);
        assert_non_null(data);
        *n += fread(data + *n, 1, n_alloc - *n, f);
    } while (*n == n_alloc);
    fclose(f);
    return data;
}

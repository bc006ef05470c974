/* The reader of the files in the vision cache's folder. Input: three bytes, what is wanted (tokens, levels, numbers
 * of a token), then the file; in the first byte bit 7 set = its size, header and checksum are made right, so that
 * what is read is also accepted. Only what has its checksum is, and then with the very rows. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/feature_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(bool is_true)
{
    if (!is_true)
        abort();
}

static int file_of(const void *bytes, size_t n)
{
    int fd = memfd_create("f", MFD_CLOEXEC);
    check(fd >= 0 && write(fd, bytes, n) == (ssize_t)n && lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct qvl_feature_name name = {{7, 8, 9}};
    struct qvl_features want, got = {0};
    if (n < 3)
        return 0;
    bool is_mended = data[0] & 0x80;
    want = (struct qvl_features){.n = data[0] & 0x7F, .n_level = data[1] % 5, .n_hidden = data[2]};
    data += 3;
    n -= 3;
    int fd;
    if (is_mended && n >= 4) {
        size_t n_row = want.n * want.n_level * want.n_hidden;
        want.row = calloc(n_row ? n_row : 1, sizeof *want.row);
        check(want.row != NULL);
        for (size_t i = 0; i < n_row * sizeof *want.row; i++)
            ((uint8_t *)want.row)[i] = data[i % n];
        fd = file_of("", 0);
        check(qvl_feature_file_write(fd, &name, &want) == (n_row > 0));
        check(lseek(fd, 0, SEEK_SET) == 0);
        enum qvl_feature_verdict verdict = qvl_feature_file_read(fd, &name, &want, &got);
        check((verdict == QVL_FEATURE_GOOD) == (n_row > 0));
        check(n_row == 0 || memcmp(got.row, want.row, n_row * sizeof *want.row) == 0);
    } else {
        fd = file_of(data, n);
        enum qvl_feature_verdict verdict = qvl_feature_file_read(fd, &name, &want, &got);
        check(verdict == QVL_FEATURE_DAMAGED || (n == qvl_feature_file_bytes(&want) && got.row));
    }
    close(fd);
    free(want.row);
    qvl_arena_free(&got.arena);
    return 0;
}

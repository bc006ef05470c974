#include "folder.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int folder_open(void **state)
{
    char path[] = "/tmp/qvl-test-XXXXXX";
    if (!mkdtemp(path))
        return -1;
    *state = strdup(path);
    return *state ? 0 : -1;
}

const char *folder_path(const char *dir, const char *name)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

int folder_close(void **state)
{
    DIR *dir = opendir(*state);
    for (struct dirent *d; dir && (d = readdir(dir));) {
        if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
            folder_remove(*state, d->d_name);
    }
    if (dir)
        closedir(dir);
    int failed = rmdir(*state);
    free(*state);
    return failed;
}

void folder_remove(const char *dir, const char *name)
{
    if (remove(folder_path(dir, name)) != 0)
        fail_msg("cannot remove %s/%s", dir, name);
}

void folder_write(const char *dir, const char *name, const void *data, size_t n)
{
    FILE *f = fopen(folder_path(dir, name), "wb");
    assert_non_null(f);
    assert_int_equal(n ? fwrite(data, 1, n, f) : 0, n);
    assert_int_equal(fclose(f), 0);
}

void folder_write_text(const char *dir, const char *name, const char *text)
{
    folder_write(dir, name, text, strlen(text));
}

char *replace(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    if (!at)
        fail_msg("the text to be replaced is not there: %s", from);
    size_t n = strlen(text) - strlen(from) + strlen(to) + 1;
    char *out = malloc(n);
    assert_non_null(out);
    snprintf(out, n, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    return out;
}

void folder_write_safetensors(const char *dir, const char *name, const char *header, const void *data,
                              size_t n_data)
{
    size_t n = strlen(header);
    uint8_t *file = malloc(8 + n + n_data);
    assert_non_null(file);
    for (size_t i = 0; i < 8; i++)
        file[i] = (uint8_t)((uint64_t)n >> 8 * i);
    memcpy(file + 8, header, n);
    if (n_data)
        memcpy(file + 8 + n, data, n_data);
    folder_write(dir, name, file, 8 + n + n_data);
    free(file);
}

char *reference_header(size_t first, size_t end, size_t *n_data)
{
    size_t size = 256 * (end - first) + 64, n = 0;
    char *out = malloc(size);
    assert_non_null(out);
    *n_data = 0;
    n += (size_t)snprintf(out + n, size - n, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = first; i < end; i++) {
        const struct reference_tensor *t = &reference_tiny_tensors[i];
        size_t n_bytes = 2;
        n += (size_t)snprintf(out + n, size - n, ",\"%s\":{\"dtype\":\"BF16\",\"shape\":[", t->name);
        for (uint32_t k = 0; k < t->n_dim; k++) {
            n_bytes *= t->dim[k];
            n += (size_t)snprintf(out + n, size - n, "%s%u", k ? "," : "", (unsigned)t->dim[k]);
        }
        n += (size_t)snprintf(out + n, size - n, "],\"data_offsets\":[%zu,%zu]}", *n_data, *n_data + n_bytes);
        *n_data += n_bytes;
    }
    snprintf(out + n, size - n, "}%*s", (int)((8 - (n + 1) % 8) % 8), ""); /* padded as the library does */
    return out;
}

uint8_t *bf16_data(size_t n_bytes)
{
    uint8_t *data = malloc(n_bytes);
    assert_non_null(data);
    for (size_t i = 0; i < n_bytes; i += 2) {
        data[i] = (uint8_t)(i / 2);
        data[i + 1] = 0x3f; /* 0.5 to 1.99 */
    }
    return data;
}

void folder_write_model(const char *dir)
{
    size_t n_data = 0;
    char *header = reference_header(0, n_reference_tiny_tensor, &n_data);
    uint8_t *data = bf16_data(n_data);
    folder_write_text(dir, "config.json", reference_tiny_config);
    folder_write_safetensors(dir, "model.safetensors", header, data, n_data);
    free(header);
    free(data);
}

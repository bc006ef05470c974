#include "files.h"

#include <fcntl.h>
#include <fts.h>
#include <nettle/sha1.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct repo *repos;
static size_t n_repo;

static void to_hex(char *out, const uint8_t *digest, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sprintf(out + 2 * i, "%02x", digest[i]);
}

static void git_sha1(char out[41], const void *content, size_t n)
{
    char head[32];
    int n_head = snprintf(head, sizeof head, "blob %zu", n) + 1; /* with its NUL */
    struct sha1_ctx hash;
    uint8_t digest[SHA1_DIGEST_SIZE];
    sha1_init(&hash);
    sha1_update(&hash, (size_t)n_head, (const uint8_t *)head);
    sha1_update(&hash, n, content);
    sha1_digest(&hash, sizeof digest, digest);
    to_hex(out, digest, sizeof digest);
}

static struct file read_file(const char *disk, const char *path, uint64_t n_bytes, uint64_t lfs_bytes)
{
    struct file file = {
        .path = strdup(path), .disk = strdup(disk), .n_bytes = n_bytes, .is_lfs = n_bytes >= lfs_bytes};
    int fd = open(disk, O_RDONLY | O_CLOEXEC);
    void *content = n_bytes ? mmap(NULL, n_bytes, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    if (fd < 0 || content == MAP_FAILED) {
        perror(disk);
        exit(2);
    }
    struct sha256_ctx hash;
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_init(&hash);
    sha256_update(&hash, n_bytes, content);
    sha256_digest(&hash, sizeof digest, digest);
    to_hex(file.sha256, digest, sizeof digest);
    char pointer[256];
    file.n_pointer =
        snprintf(pointer, sizeof pointer, "version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %llu\n",
                 file.sha256, (unsigned long long)n_bytes);
    if (file.is_lfs)
        git_sha1(file.git_sha1, pointer, (size_t)file.n_pointer);
    else
        git_sha1(file.git_sha1, content, n_bytes);
    if (content)
        munmap(content, n_bytes);
    close(fd);
    return file;
}

static void add(const char *id, size_t n_id, const struct file *file)
{
    struct repo *repo = NULL;
    for (size_t i = 0; i < n_repo && !repo; i++)
        if (strlen(repos[i].id) == n_id && memcmp(repos[i].id, id, n_id) == 0)
            repo = &repos[i];
    if (!repo) {
        repos = realloc(repos, (n_repo + 1) * sizeof *repos);
        repo = &repos[n_repo++];
        *repo = (struct repo){.id = strndup(id, n_id)};
    }
    repo->file = realloc(repo->file, (repo->n_file + 1) * sizeof *repo->file);
    repo->file[repo->n_file++] = *file;
}

static int by_path(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

void repos_scan(const char *root, uint64_t lfs_bytes)
{
    char *const roots[] = {(char *)root, NULL};
    FTS *walk = fts_open(roots, FTS_LOGICAL | FTS_NOCHDIR, by_path);
    size_t n_root = strlen(root);
    for (FTSENT *entry; walk && (entry = fts_read(walk));) {
        const char *id = entry->fts_path + n_root + 1, *name, *path;
        if (entry->fts_info != FTS_F || !(name = strchr(id, '/')) || !(path = strchr(name + 1, '/')))
            continue;
        struct file file = read_file(entry->fts_path, path + 1, (uint64_t)entry->fts_statp->st_size, lfs_bytes);
        add(id, (size_t)(path - id), &file);
    }
    if (walk)
        fts_close(walk);
    if (n_repo == 0) {
        fprintf(stderr, "fake_hub: no OWNER/NAME/FILE below %s\n", root);
        exit(2);
    }
    for (struct repo *repo = repos; repo < repos + n_repo; repo++) {
        struct sha1_ctx hash;
        uint8_t digest[SHA1_DIGEST_SIZE];
        sha1_init(&hash);
        for (size_t i = 0; i < repo->n_file; i++) {
            sha1_update(&hash, strlen(repo->file[i].path) + 1, (const uint8_t *)repo->file[i].path);
            sha1_update(&hash, 40, (const uint8_t *)repo->file[i].git_sha1);
        }
        sha1_digest(&hash, sizeof digest, digest);
        to_hex(repo->commit, digest, sizeof digest);
    }
}

const struct repo *repo_find(const char *id, size_t n_id)
{
    for (size_t i = 0; i < n_repo; i++)
        if (strlen(repos[i].id) == n_id && memcmp(repos[i].id, id, n_id) == 0)
            return &repos[i];
    return NULL;
}

const struct file *repo_file(const struct repo *repo, const char *path)
{
    for (size_t i = 0; i < repo->n_file; i++)
        if (strcmp(repo->file[i].path, path) == 0)
            return &repo->file[i];
    return NULL;
}

const struct file *file_by_sha256(const char *sha256)
{
    for (size_t i = 0; i < n_repo; i++)
        for (size_t j = 0; j < repos[i].n_file; j++)
            if (strcmp(repos[i].file[j].sha256, sha256) == 0)
                return &repos[i].file[j];
    return NULL;
}

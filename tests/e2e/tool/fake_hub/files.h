/* files.h: the repositories that the fake hub shows: a folder ROOT/OWNER/NAME/… with the size and the sums of each
 * file. */
#ifndef FAKE_HUB_FILES_H
#define FAKE_HUB_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct file {
    char *path; /* inside the repository */
    char *disk;
    uint64_t n_bytes;
    bool is_lfs;       /* kept beside git: what git has is a pointer of a few lines */
    char sha256[65];   /* of the content */
    char git_sha1[41]; /* of git's object: the content's, or the pointer's */
    int n_pointer;     /* bytes of the pointer */
};

struct repo {
    char *id; /* OWNER/NAME */
    struct file *file;
    size_t n_file;
    char commit[41]; /* follows from paths and contents, as git's does */
};

/* Reads all of them; files of lfs_bytes and more are LFS files. Ends the program where root cannot be read. */
void repos_scan(const char *root, uint64_t lfs_bytes);
const struct repo *repo_find(const char *id, size_t n_id);
const struct file *repo_file(const struct repo *repo, const char *path);
/* Of any repository: what a content delivery network keeps. */
const struct file *file_by_sha256(const char *sha256);

#endif

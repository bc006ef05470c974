/* output_folder.h: a folder, or a file, that is there whole or not at all. It is filled under a hidden name beside
 * its place and moved there at the end; until then, and after any failure, whatever stands in its place stays as it
 * was. */
#ifndef QVL_LOAD_OUTPUT_FOLDER_H
#define QVL_LOAD_OUTPUT_FOLDER_H

#include "base/error.h"

struct qvl_output_folder {
    char *path;   /* where it goes; NULL: none */
    char *hidden; /* where it is */
    int lock_fd;  /* of that, while hidden is there: whose has no lock was left by a process that was killed */
};

struct qvl_output_file {
    char *path;   /* in the end, for error sentences; NULL: none */
    char *hidden; /* where it is; NULL: in a hidden folder */
    int fd;       /* -1: finished */
};

/* n_bytes will be written. QVL_ERR_ARGUMENT: the path is there already, and no empty folder. QVL_ERR_FILE: it
 * cannot be made, or there is less room. On failure *out holds nothing. */
enum qvl_status qvl_output_folder_open(const char *path, uint64_t n_bytes, struct qvl_output_folder *out,
                                       struct qvl_error *err);
/* Everything is on the disk and in its place, or nothing is and *folder can only be discarded. */
enum qvl_status qvl_output_folder_commit(struct qvl_output_folder *folder, struct qvl_error *err);
/* Removes what is not committed. Of a zeroed one, and after commit, a no-op. */
void qvl_output_folder_discard(struct qvl_output_folder *folder);

enum qvl_status qvl_output_file_open(const struct qvl_output_folder *folder, const char *name,
                                     struct qvl_output_file *out, struct qvl_error *err);
enum qvl_status qvl_output_file_write(const struct qvl_output_file *file, uint64_t at, const void *data, size_t n,
                                      struct qvl_error *err);
/* To the disk. *file can be closed (without a word) after a failure, and again. */
enum qvl_status qvl_output_file_finish(struct qvl_output_file *file, struct qvl_error *err);
/* Removes one of its own that is not committed. */
void qvl_output_file_close(struct qvl_output_file *file);

/* A file of its own, of n_bytes, all zero, for which there is room from here on. QVL_ERR_ARGUMENT: the path is
 * there already. Otherwise as qvl_output_folder_open. */
enum qvl_status qvl_output_file_create(const char *path, uint64_t n_bytes, struct qvl_output_file *out,
                                       struct qvl_error *err);
/* After finish: into its place, where nothing has come meanwhile. */
enum qvl_status qvl_output_file_commit(struct qvl_output_file *file, struct qvl_error *err);

#endif

/* os.h: what the operating system allows and holds. */
#ifndef QVL_BASE_OS_H
#define QVL_BASE_OS_H

#include "base/bytes.h"

/* Processors this process may use: the affinity mask, cut to the cgroup's CPU quota (v1 and v2). >= 1. */
uint32_t qvl_os_n_cpu(void);

/* What the processor calls itself, on aarch64 the board; "" where the system does not say. */
void qvl_os_cpu_name(char *out, size_t n_out);
/* Threads of other programs that want to run now, looked at for 50 ms: 0 on a quiet machine. In a container those
 * of the whole machine. 0 where the system does not say. */
double qvl_os_n_busy_elsewhere(void);

/* Memory that could still be had without swapping, cut to the cgroup's limit (v1 and v2); UINT64_MAX where the
 * system does not say. */
uint64_t qvl_os_available_bytes(void);
/* The most memory that this process has held at a time, mapped files included, since the last reset (where the
 * system allows one; else since its start). 0 where the system does not say. */
uint64_t qvl_os_peak_bytes(void);
void qvl_os_reset_peak(void);
/* What it holds now, likewise. */
uint64_t qvl_os_resident_bytes(void);

/* Something of that name exists, were it only a link to nowhere: opening it is what finds the fault. */
bool qvl_os_is_there(const char *path);

bool qvl_os_is_folder(const char *path);

/* Opens a regular file for reading. A missing, unreadable or special file (directory, FIFO, device) is
 * QVL_ERR_FILE with a sentence that names it. */
enum qvl_status qvl_os_open_file(const char *path, int *out_fd, uint64_t *out_bytes, struct qvl_error *err);
/* The whole file into *out (appended); more than max_bytes is QVL_ERR_FILE. */
enum qvl_status qvl_os_read_file(const char *path, size_t max_bytes, struct qvl_bytes *out,
                                 struct qvl_error *err);
/* Bytes [at, at + n) of an open file; one that has become shorter is QVL_ERR_FILE, too. */
enum qvl_status qvl_os_read_at(int fd, const char *path, uint64_t at, void *out, size_t n, struct qvl_error *err);
/* The whole of an open file of n_bytes (more than 0), to be read only; QVL_ERR_FILE where it has another size by now.
 * munmap ends it. */
enum qvl_status qvl_os_map(int fd, const char *path, uint64_t n_bytes, const uint8_t **out, struct qvl_error *err);
/* Of such a map, the pages in bytes [begin, end) are not needed any more, until they are read again; those that are
 * shared with what lies beside stay. */
void qvl_os_let_go(const uint8_t *map, uint64_t begin, uint64_t end);
/* n random bytes that nobody can guess. QVL_ERR_INTERNAL where the system has none. */
enum qvl_status qvl_os_random(void *out, size_t n, struct qvl_error *err);
/* Folder of the running program, without a final slash; "" when unknown. */
void qvl_os_program_dir(char *out, size_t n_out);

#endif

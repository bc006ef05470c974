#include "base/os.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/language.h"
#include "base/limits.h"

/* Reads two numbers from a small kernel file: cgroup v2's "quota period", or v1's one number a file.
 * "max" and a missing file leave *a at -1. */
static void read_numbers(const char *path, long long *a, long long *b)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return;
    if (fscanf(f, "%lld %lld", a, b) < 1)
        *a = -1;
    fclose(f);
}

/* The quota of the cgroup that a container shows as its own root. */
static double cgroup_cpus(void)
{
    long long quota = -1, period = 0;
    read_numbers("/sys/fs/cgroup/cpu.max", &quota, &period);
    if (quota <= 0) {
        long long unused = 0;
        read_numbers("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", &quota, &unused);
        read_numbers("/sys/fs/cgroup/cpu/cpu.cfs_period_us", &period, &unused);
    }
    return quota > 0 && period > 0 ? (double)quota / (double)period : 0;
}

uint32_t qvl_os_n_cpu(void)
{
    cpu_set_t set;
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    if (sched_getaffinity(0, sizeof set, &set) == 0) /* fails where there are more than 1024 processors */
        n = CPU_COUNT(&set);
    double quota = cgroup_cpus();
    if (quota > 0 && quota < (double)n)
        n = (long)quota;
    if (n < 1)
        n = 1;
    return (uint32_t)n < QVL_MAX_THREADS ? (uint32_t)n : QVL_MAX_THREADS;
}

/* Copies what follows "name" and ':' in a file of such lines; "" where there is none. */
static void read_line_of(const char *path, const char *name, char *out, size_t n_out)
{
    char line[256];
    FILE *f = fopen(path, "re");
    out[0] = 0;
    while (f && !out[0] && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (!colon || strncmp(line, name, strlen(name)) != 0)
            continue;
        char *value = colon + 1 + strspn(colon + 1, " \t");
        value[strcspn(value, "\n")] = 0;
        snprintf(out, n_out, "%s", value);
    }
    if (f)
        fclose(f);
}

/* The first line of a file; "" where there is none. */
static void read_first_line(const char *path, char *out, size_t n_out)
{
    FILE *f = fopen(path, "re");
    if (!f || !fgets(out, (int)n_out, f))
        out[0] = 0;
    out[strcspn(out, "\n")] = 0;
    if (f)
        fclose(f);
}

void qvl_os_cpu_name(char *out, size_t n_out)
{
    read_line_of("/proc/cpuinfo", "model name", out, n_out); /* x86 */
    if (!out[0])
        read_first_line("/proc/device-tree/model", out, n_out); /* aarch64: the board, ended by a zero byte */
}

double qvl_os_n_busy_elsewhere(void)
{
    enum { N_LOOK = 5, PAUSE_US = 10000 };
    double sum = 0;
    for (int i = 0; i < N_LOOK; i++) {
        int n_running = 0;
        FILE *f = fopen("/proc/loadavg", "re");
        if (!f || fscanf(f, "%*f %*f %*f %d/", &n_running) != 1)
            n_running = 1;
        if (f)
            fclose(f);
        sum += n_running - 1; /* the one that looks */
        usleep(PAUSE_US);
    }
    return sum / N_LOOK;
}

/* A number of kB in a line of `path`; 0 where there is none. */
static uint64_t read_kb(const char *path, const char *name)
{
    char text[64];
    read_line_of(path, name, text, sizeof text);
    return strtoull(text, NULL, 10) * 1024;
}

/* The sum of two numbers of a cgroup's memory.stat, lines of a name and a number. */
static long long read_stat(const char *path, const char *const name[2])
{
    char found[64];
    long long value, sum = 0;
    FILE *f = fopen(path, "re");
    while (f && fscanf(f, "%63s %lld", found, &value) == 2)
        if (strcmp(found, name[0]) == 0 || strcmp(found, name[1]) == 0)
            sum += value;
    if (f)
        fclose(f);
    return sum;
}

/* What is left of the limit of the cgroup that a container shows as its own root. Pages of files (of a checkpoint
 * that was read, nearly all) count as used there, but the system takes them back before it refuses memory. */
static uint64_t cgroup_available_bytes(void)
{
    static const struct {
        const char *limit, *used, *stat, *cache[2];
    } versions[] = {
        {"/sys/fs/cgroup/memory.max",
         "/sys/fs/cgroup/memory.current",
         "/sys/fs/cgroup/memory.stat",
         {"inactive_file", "active_file"}},
        {"/sys/fs/cgroup/memory/memory.limit_in_bytes",
         "/sys/fs/cgroup/memory/memory.usage_in_bytes",
         "/sys/fs/cgroup/memory/memory.stat",
         {"total_inactive_file", "total_active_file"}},
    };
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        long long limit = -1, used = 0, unused = 0;
        read_numbers(versions[i].limit, &limit, &unused);
        if (limit <= 0)
            continue;
        read_numbers(versions[i].used, &used, &unused);
        used -= read_stat(versions[i].stat, versions[i].cache);
        if (used < 0)
            used = 0;
        return limit > used ? (uint64_t)(limit - used) : 0;
    }
    return UINT64_MAX;
}

uint64_t qvl_os_available_bytes(void)
{
    uint64_t free_bytes = read_kb("/proc/meminfo", "MemAvailable"), left = cgroup_available_bytes();
    if (free_bytes == 0)
        free_bytes = UINT64_MAX;
    return left < free_bytes ? left : free_bytes;
}

uint64_t qvl_os_peak_bytes(void)
{
    return read_kb("/proc/self/status", "VmHWM");
}

uint64_t qvl_os_resident_bytes(void)
{
    return read_kb("/proc/self/status", "VmRSS");
}

void qvl_os_reset_peak(void)
{
    int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t n = write(fd, "5", 1); /* 5: the peak alone, proc(5) */
    (void)n;
    close(fd);
}

bool qvl_os_is_there(const char *path)
{
    return faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

bool qvl_os_is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

enum qvl_status qvl_os_open_file(const char *path, int *out_fd, uint64_t *out_bytes, struct qvl_error *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO without a writer must not hang us */
    if (fd < 0)
        return qvl_fail(err, QVL_ERR_FILE, "%s: cannot open: %s", path, qvl_errno_text(errno));
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return qvl_fail(err, QVL_ERR_FILE, "%s: not a regular file", path);
    }
    *out_fd = fd;
    *out_bytes = (uint64_t)st.st_size;
    return QVL_OK;
}

enum qvl_status qvl_os_read_file(const char *path, size_t max_bytes, struct qvl_bytes *out,
                                 struct qvl_error *err)
{
    int fd = -1;
    uint64_t n_bytes = 0;
    char buffer[65536];
    enum qvl_status status = qvl_os_open_file(path, &fd, &n_bytes, err);
    if (status)
        return status;
    if (n_bytes > max_bytes) {
        status = qvl_fail(err, QVL_ERR_FILE, "%s: %llu bytes, more than the %zu that qvl accepts here", path,
                          (unsigned long long)n_bytes, max_bytes);
        goto fail;
    }
    for (size_t n_read = 0; n_read < n_bytes;) {
        ssize_t n = read(fd, buffer, sizeof buffer);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            status = qvl_fail(err, QVL_ERR_FILE, "%s: cannot read: %s", path,
                              n == 0 ? qvl_text("the file became shorter") : qvl_errno_text(errno));
            goto fail;
        }
        if ((status = qvl_bytes_add(out, buffer, (size_t)n, err)))
            goto fail;
        n_read += (size_t)n;
    }
fail:
    close(fd);
    return status;
}

enum qvl_status qvl_os_read_at(int fd, const char *path, uint64_t at, void *out, size_t n, struct qvl_error *err)
{
    for (size_t n_read = 0; n_read < n;) {
        ssize_t got = pread(fd, (char *)out + n_read, n - n_read, (off_t)(at + n_read));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return qvl_fail(err, QVL_ERR_FILE, "%s: cannot read the header: %s", path,
                            got == 0 ? qvl_text("the file became shorter") : qvl_errno_text(errno));
        n_read += (size_t)got;
    }
    return QVL_OK;
}

enum qvl_status qvl_os_map(int fd, const char *path, uint64_t n_bytes, const uint8_t **out, struct qvl_error *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || (uint64_t)st.st_size != n_bytes)
        return qvl_fail(err, QVL_ERR_FILE, "%s: changed since it was opened: expected %" PRIu64 " bytes", path,
                        n_bytes);
    void *map = mmap(NULL, (size_t)n_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        return qvl_fail(err, errno == ENOMEM ? QVL_ERR_MEMORY : QVL_ERR_FILE,
                        "%s: cannot map %" PRIu64 " bytes: %s", path, n_bytes, qvl_errno_text(errno));
    *out = map;
    return QVL_OK;
}

void qvl_os_let_go(const uint8_t *map, uint64_t begin, uint64_t end)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t from = qvl_round_up((size_t)begin, page), to = (size_t)end / page * page;
    if (from < to)
        madvise((void *)(uintptr_t)(map + from), to - from, MADV_DONTNEED);
}

void qvl_os_program_dir(char *out, size_t n_out)
{
    ssize_t n = readlink("/proc/self/exe", out, n_out);
    if (n <= 0 || (size_t)n >= n_out) {
        out[0] = 0;
        return;
    }
    out[n] = 0;
    char *slash = strrchr(out, '/');
    if (slash)
        *slash = 0;
}

enum qvl_status qvl_os_random(void *out, size_t n, struct qvl_error *err)
{
    if (getrandom(out, n, 0) != (ssize_t)n)
        return qvl_fail(err, QVL_ERR_INTERNAL, "the system gives no random numbers: %s", qvl_errno_text(errno));
    return QVL_OK;
}

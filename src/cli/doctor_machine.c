/* The machine and what surrounds the program, as the system tells it: proc(5), cgroups(7), getrlimit(2),
 * environ(7). */
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/language.h"
#include "base/os.h"
#include "cli/doctor.h"
#include "hub/places.h"
#include "server/page.h"

#define LEAST_CACHE_BYTES 5e9 /* the 2B has 4.3 GB */
enum { LEAST_FILES = 256, MAX_LINE = 8192 };

/* ---- processor ------------------------------------------------------------------------------------------- */

/* What of the processor decides how fast qvl is, of those named in a line of /proc/cpuinfo. */
static void find_features(char *out, size_t n_out)
{
    static const char *const wanted[] = {"avx2",        "f16c",        "avx_vnni", "avx512f",
                                         "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16",
                                         "amx_int8",    "asimddp",     "i8mm",     "bf16"};
    static char line[MAX_LINE]; /* the program has one thread here */
    FILE *f = fopen("/proc/cpuinfo", "re");
    size_t n = 0;
    out[0] = 0;
    while (f && fgets(line, sizeof line, f) && strncmp(line, "flags", 5) != 0 && strncmp(line, "Features", 8) != 0)
        line[0] = 0;
    line[strcspn(line, "\n")] = ' ';
    for (size_t i = 0; f && i < sizeof wanted / sizeof *wanted; i++) {
        char word[32];
        snprintf(word, sizeof word, " %s ", wanted[i]);
        int n_new = strstr(line, word) ? snprintf(out + n, n_out - n, "%s%s", n ? " " : "", wanted[i]) : 0;
        n = n_new > 0 && (size_t)n_new < n_out - n ? n + (size_t)n_new : n;
    }
    if (f)
        fclose(f);
}

static void see_processor(struct qvl_doctor *d)
{
    char name[128], features[256];
    qvl_os_cpu_name(name, sizeof name);
    find_features(features, sizeof features);
    bool is_fast = strstr(features, "avx2") || strstr(features, "asimddp");
    qvl_doctor_add(d, is_fast ? QVL_VERDICT_OK : QVL_VERDICT_NOTE, QVL_SAID("processor"),
                   qvl_doctor_text(d, "%s (%s)", name[0] ? name : "?", features[0] ? features : "-"),
                   is_fast ? NULL : qvl_text("neither AVX2 nor NEON with dot products: this will be slow"));
}

static void see_threads(struct qvl_doctor *d)
{
    cpu_set_t set;
    long n_online = sysconf(_SC_NPROCESSORS_ONLN);
    int n_allowed = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)n_online;
    uint32_t n = qvl_os_n_cpu();
    bool is_cut = n < (uint32_t)n_allowed;
    qvl_doctor_add(d, is_cut ? QVL_VERDICT_NOTE : QVL_VERDICT_OK, QVL_SAID("threads"),
                   qvl_doctor_text(d, qvl_text("%u used; %ld processors online, %d allowed to this process%s"), n,
                                   n_online, n_allowed, is_cut ? qvl_text(", fewer by the cgroup's quota") : ""),
                   NULL);
}

/* ---- memory ---------------------------------------------------------------------------------------------- */

/* The first number in a small file of the kernel; 0 where there is none ("max", too). */
static uint64_t read_number(const char *path)
{
    char text[64] = "";
    FILE *f = fopen(path, "re");
    if (f && !fgets(text, sizeof text, f))
        text[0] = 0;
    if (f)
        fclose(f);
    return strtoull(text, NULL, 10);
}

static void see_memory(struct qvl_doctor *d)
{
    struct sysinfo info;
    uint64_t available = qvl_os_available_bytes(), limit = read_number("/sys/fs/cgroup/memory.max");
    if (!limit)
        limit = read_number("/sys/fs/cgroup/memory/memory.limit_in_bytes");
    double total = sysinfo(&info) == 0 ? (double)info.totalram * info.mem_unit : 0;
    const char *cgroup = limit && (double)limit < total
                             ? qvl_doctor_text(d, qvl_text(", the cgroup allows %.1f GB"), (double)limit / QVL_GB)
                             : "";
    qvl_doctor_add(d, QVL_VERDICT_OK, QVL_SAID("memory"),
                   cgroup ? qvl_doctor_text(d, qvl_text("%.1f GB to be had of %.1f GB%s"),
                                            (double)(available < UINT64_MAX ? available : 0) / QVL_GB,
                                            total / QVL_GB, cgroup)
                          : NULL,
                   NULL);
}

static void see_limits(struct qvl_doctor *d)
{
    struct rlimit space, data, files;
    if (getrlimit(RLIMIT_AS, &space) != 0 || getrlimit(RLIMIT_DATA, &data) != 0 ||
        getrlimit(RLIMIT_NOFILE, &files) != 0)
        return;
    rlim_t least = space.rlim_cur < data.rlim_cur ? space.rlim_cur : data.rlim_cur;
    if (least != RLIM_INFINITY)
        qvl_doctor_add(
            d, QVL_VERDICT_NOTE, QVL_SAID("limits"),
            qvl_doctor_text(d, qvl_text("this process may have %.1f GB of address space"), (double)least / QVL_GB),
            qvl_text("ulimit -v unlimited; ulimit -d unlimited"));
    if (files.rlim_cur < LEAST_FILES)
        qvl_doctor_add(d, QVL_VERDICT_NOTE, QVL_SAID("limits"),
                       qvl_doctor_text(d, qvl_text("this process may open %lu files, few for a server"),
                                       (unsigned long)files.rlim_cur),
                       qvl_text("ulimit -n 1024"));
}

void qvl_doctor_see_machine(struct qvl_doctor *doctor)
{
    struct utsname system;
    if (uname(&system) == 0)
        qvl_doctor_add(doctor, QVL_VERDICT_OK, QVL_SAID("program"),
                       qvl_doctor_text(doctor, "qvl %s, %s %s, %s", QVL_VERSION, system.sysname, system.release,
                                       system.machine),
                       NULL);
    see_processor(doctor);
    see_threads(doctor);
    see_memory(doctor);
    see_limits(doctor);
}

/* ---- caches of models ------------------------------------------------------------------------------------ */

/* The folder itself, or the nearest one above it that is there, into out; whether a file could be made in it: one
 * is, of the kind that has no name and leaves nothing. */
static bool is_writable(const char *folder, char *out, size_t n_out)
{
    snprintf(out, n_out, "%s", folder);
    while (!qvl_os_is_folder(out)) {
        char *slash = strrchr(out, '/');
        if (!slash)
            return false;
        slash[slash == out] = 0;
        if (strcmp(out, "/") == 0)
            break;
    }
    int fd = open(out, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0)
        return faccessat(AT_FDCWD, out, W_OK, AT_EACCESS) == 0; /* the file system may not have that kind */
    close(fd);
    return true;
}

static void see_cache(struct qvl_doctor *d, const char *whose, const char *folder)
{
    char there[QVL_HUB_PATH_BYTES];
    struct statvfs disk;
    if (!folder[0]) {
        qvl_doctor_add(d, QVL_VERDICT_NOTE, QVL_SAID("cache"),
                       qvl_doctor_text(d, qvl_text("%s: no home folder is known"), whose),
                       qvl_text("set HOME, or HF_HOME and MODELSCOPE_CACHE"));
        return;
    }
    bool can_write = is_writable(folder, there, sizeof there);
    double n_free = statvfs(there, &disk) == 0 ? (double)disk.f_bavail * (double)disk.f_frsize : 0;
    const char *advice =
        !can_write
            ? qvl_text(
                  "nothing can be written there: `qvl pull` needs HF_HOME or MODELSCOPE_CACHE in another place")
        : n_free < LEAST_CACHE_BYTES
            ? qvl_text("the smallest model has 4.3 GB: make room, or set HF_HOME or MODELSCOPE_CACHE")
            : NULL;
    qvl_doctor_add(d, advice ? QVL_VERDICT_NOTE : QVL_VERDICT_OK, QVL_SAID("cache"),
                   qvl_doctor_text(d, qvl_text("%s: %.1000s, %.1f GB free"), whose, folder, n_free / QVL_GB),
                   advice);
}

/* ---- network --------------------------------------------------------------------------------------------- */

/* A proxy's address without name and password. */
static void add_proxies(char *out, size_t n_out)
{
    static const char *const name[] = {"https_proxy", "HTTPS_PROXY", "http_proxy", "all_proxy",
                                       "ALL_PROXY",   "no_proxy",    "NO_PROXY"};
    size_t n = strlen(out);
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        const char *value = getenv(name[i]), *at = value ? strrchr(value, '@') : NULL;
        int n_new = value && *value ? snprintf(out + n, n_out - n, ", %s=%s%.300s", name[i], at ? "…@" : "",
                                               at ? at + 1 : value)
                                    : 0;
        n = n_new > 0 && (size_t)n_new < n_out - n ? n + (size_t)n_new : n;
    }
}

static void see_network(struct qvl_doctor *d, const struct qvl_hub_places *p)
{
    char more[1500] = "";
    add_proxies(more, sizeof more);
    const char *set = qvl_text("set"), *not_set = qvl_text("not set");
    qvl_doctor_add(
        d, p->is_offline ? QVL_VERDICT_NOTE : QVL_VERDICT_OK, QVL_SAID("network"),
        qvl_doctor_text(d, qvl_text("not tried; %.300s (token %s), %.300s (token %s)%s%s"), p->hf_endpoint,
                        p->hf_token[0] ? set : not_set, p->ms_endpoint, p->ms_token[0] ? set : not_set,
                        p->prefers_modelscope ? qvl_text(", ModelScope first") : "", more),
        p->is_offline ? qvl_text("HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set: `qvl pull` will fetch nothing")
                      : NULL);
}

/* ---- the rest -------------------------------------------------------------------------------------------- */

static void see_language(struct qvl_doctor *d)
{
    static const char *const name[] = {"QVL_LANG", "LC_ALL", "LC_MESSAGES", "LC_CTYPE", "LANG"};
    char text[512];
    size_t n = 0;
    text[0] = 0;
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        const char *value = getenv(name[i]);
        int n_new = value && *value ? snprintf(text + n, sizeof text - n, " %s=%.60s", name[i], value) : 0;
        n = n_new > 0 && (size_t)n_new < sizeof text - n ? n + (size_t)n_new : n;
    }
    qvl_doctor_add(d, QVL_VERDICT_OK, QVL_SAID("language"),
                   qvl_doctor_text(d, "%s%s", qvl_language() == QVL_LANGUAGE_ZH ? "zh" : "en", text), NULL);
}

void qvl_doctor_see_surroundings(struct qvl_doctor *doctor)
{
    struct qvl_hub_places places;
    struct qvl_error why = {0};
    if (qvl_n_page_file > 0)
        qvl_doctor_add(doctor, QVL_VERDICT_OK, QVL_SAID("web page"),
                       qvl_doctor_text(doctor, qvl_text("in the program, %zu files"), qvl_n_page_file), NULL);
    else
        qvl_doctor_add(doctor, QVL_VERDICT_NOTE, QVL_SAID("web page"),
                       qvl_text("not in this program: `qvl serve` has its APIs only"),
                       qvl_text("make page, then make"));
    if (qvl_hub_places_read(&places, &why)) {
        qvl_doctor_add(doctor, QVL_VERDICT_PROBLEM, QVL_SAID("network"), qvl_doctor_text(doctor, "%s", why.text),
                       qvl_text("correct this variable of the environment, or unset it"));
    } else {
        see_cache(doctor, "Hugging Face", places.hf_cache);
        see_cache(doctor, "ModelScope", places.ms_cache);
        see_network(doctor, &places);
    }
    see_language(doctor);
}

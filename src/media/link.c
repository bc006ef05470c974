/* A helper process, found, started and asked; its pixels in sealed memory. */
#include "media/link.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/language.h"
#include "base/limits.h"
#include "base/os.h"

/* Folder of the file that this code was loaded from: libqvl.so, or the program; "" when unknown. */
static void library_dir(char *out, size_t n_out)
{
    static const char here;
    Dl_info info;
    out[0] = 0;
    if (dladdr(&here, &info) == 0 || !info.dli_fname || strlen(info.dli_fname) >= n_out)
        return;
    memcpy(out, info.dli_fname, strlen(info.dli_fname) + 1);
    char *slash = strrchr(out, '/');
    if (slash)
        *slash = 0;
    else
        out[0] = 0;
}

/* Beside the program (a build folder), or where `make install` puts it: seen from the program, or from the library
 * that some other program uses. "" when it is in none of these places. */
static void find_helper(char *out, size_t n_out)
{
    char program[2048], library[2048];
    qvl_os_program_dir(program, sizeof program);
    library_dir(library, sizeof library);
    const struct {
        const char *dir, *path;
    } places[] = {{program, "qvl-media"},
                  {program, "../libexec/qvl/qvl-media"},
                  {library, "../libexec/qvl/qvl-media"},
                  {library, "../../libexec/qvl/qvl-media"}}; /* of lib/x86_64-linux-gnu */
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        snprintf(out, n_out, "%s/%s", places[i].dir, places[i].path);
        if (places[i].dir[0] && access(out, X_OK) == 0)
            return;
    }
    out[0] = 0;
}

enum qvl_status qvl_media_link_init(struct qvl_media_link *link, const char *path, struct qvl_error *err)
{
    size_t n_path = path ? strlen(path) : 0;
    *link = (struct qvl_media_link){0};
    if (n_path >= sizeof link->helper_path)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "the path of qvl-media is longer than %zu bytes",
                        sizeof link->helper_path - 1);
    if (path)
        memcpy(link->helper_path, path, n_path + 1);
    else
        find_helper(link->helper_path, sizeof link->helper_path);
    return QVL_OK;
}

enum qvl_media_outcome qvl_media_link_ensure(struct qvl_media_link *link, enum qvl_media_mode mode,
                                             const struct qvl_media_wait *wait, struct qvl_media_reply *reply,
                                             bool *out_is_new)
{
    struct qvl_media_process *process = &link->process;
    *out_is_new = false;
    *reply = (struct qvl_media_reply){0};
    if (!link->helper_path[0])
        return QVL_OUTCOME_NO_START;
    if (process->pid != 0 && process->mode >= mode)
        return QVL_OUTCOME_ANSWER;
    qvl_media_process_stop(process);
    enum qvl_media_outcome outcome = qvl_media_process_start(process, link->helper_path, mode);
    if (outcome)
        return outcome;
    const struct qvl_media_request hello = {.verb = QVL_MEDIA_HELLO};
    outcome = qvl_media_process_receive(process, &hello, wait, reply);
    if (!outcome && reply->fault)
        qvl_media_process_stop(process);
    *out_is_new = true;
    return outcome;
}

bool qvl_media_link_was_killed(const struct qvl_media_link *link, enum qvl_media_outcome outcome)
{
    int exit_status = link->process.exit_status;
    if (outcome != QVL_OUTCOME_DEAD)
        return false;
    if (exit_status == -1) /* a parent that ignores SIGCHLD is not told the cause */
        return true;
    return WIFSIGNALED(exit_status) && (WTERMSIG(exit_status) == SIGKILL || WTERMSIG(exit_status) == SIGXCPU);
}

/* Before its HELLO the helper has seen no picture: what goes wrong there is the installation's fault. */
enum qvl_status qvl_media_link_fail_start(const struct qvl_media_link *link, enum qvl_media_outcome outcome,
                                          struct qvl_error *err)
{
    const char *why = outcome == QVL_OUTCOME_NO_START ? qvl_errno_text(errno)
                      : outcome == QVL_OUTCOME_DEAD   ? qvl_text("it ended before it was ready")
                      : outcome == QVL_OUTCOME_LATE   ? qvl_text("it was not ready in time")
                                                      : qvl_text("it is not the qvl-media of this version");
    if (!link->helper_path[0])
        return qvl_fail(
            err, QVL_ERR_FILE,
            "qvl-media, which decodes pictures and clips, is missing: it is neither beside this program "
            "nor in ../libexec/qvl of its folder or of the library's");
    if (outcome == QVL_OUTCOME_STOPPED)
        return qvl_fail(err, QVL_ERR_CANCELLED, "decoding was cancelled");
    return qvl_fail(err, QVL_ERR_FILE, "%s, which decodes pictures and clips, cannot be started: %s",
                    link->helper_path, why);
}

enum qvl_status qvl_media_link_fail(const struct qvl_media_link *link, const char *name, uint32_t waited_ms,
                                    enum qvl_media_outcome outcome, struct qvl_error *err)
{
    int exit_status = link->process.exit_status;
    switch (outcome) {
    case QVL_OUTCOME_ANSWER:
    case QVL_OUTCOME_NO_START: break;
    case QVL_OUTCOME_LATE:
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: decoding took longer than %" PRIu32 " ms and was stopped", name,
                        waited_ms);
    case QVL_OUTCOME_STOPPED: return qvl_fail(err, QVL_ERR_CANCELLED, "%s: decoding was cancelled", name);
    case QVL_OUTCOME_NONSENSE:
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: qvl-media gave an answer that does not fit the question", name);
    case QVL_OUTCOME_DEAD:
        if (exit_status != -1 && WIFSIGNALED(exit_status))
            return qvl_fail(err, QVL_ERR_MEDIA, "%s: qvl-media died of signal %d (%s) while decoding it", name,
                            WTERMSIG(exit_status), strsignal(WTERMSIG(exit_status)));
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: qvl-media ended without an answer", name);
    }
    return qvl_fail(err, QVL_ERR_INTERNAL, "%s: no answer about it", name);
}

enum qvl_status qvl_media_check_size(const char *name, uint32_t w, uint32_t h, struct qvl_error *err)
{
    if (qvl_media_size_is_allowed(w, h))
        return QVL_OK;
    const char *fault = qvl_text("more than 67,108,864 in all");
    _Static_assert(QVL_MAX_MEDIA_PIXELS == 67108864 && QVL_MAX_MEDIA_SIDE_PX == 32768, "the sentence says so");
    if (w == 0 || h == 0)
        fault = qvl_text("a picture has at least one");
    else if (w > QVL_MAX_MEDIA_SIDE_PX || h > QVL_MAX_MEDIA_SIDE_PX)
        fault = qvl_text("a side longer than 32,768");
    return qvl_fail(err, QVL_ERR_MEDIA, "%s: %" PRIu32 " x %" PRIu32 " pixels, %s", name, w, h, fault);
}

enum qvl_status qvl_pixels_create(uint32_t w, uint32_t h, int *out_fd, struct qvl_error *err)
{
    size_t n = qvl_media_rgb_bytes(w, h);
    int fd = memfd_create("qvl-pixels", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd >= 0 && ftruncate(fd, (off_t)n) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0) {
        *out_fd = fd;
        return QVL_OK;
    }
    if (fd >= 0)
        close(fd);
    return qvl_fail_memory(err, n, "the pixels of a picture");
}

enum qvl_status qvl_pixels_map(const char *name, int fd, uint32_t w, uint32_t h, struct qvl_picture *out,
                               struct qvl_error *err)
{
    size_t n = qvl_media_rgb_bytes(w, h);
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL) != 0)
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: qvl-media did not let go of the pixels", name);
    void *map = mmap(NULL, n, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return qvl_fail_memory(err, n, "the pixels of a picture");
    *out = (struct qvl_picture){
        .frame = {.w = w, .h = h, .stride_bytes = (size_t)w * 3, .rgb8 = map}, .map = map, .map_bytes = n};
    return QVL_OK;
}

/* Asking qvl-media for pictures.
 *
 * In: a source (bytes, descriptor or finished frames). Out: tight RGB in sealed, read-only memory; a finished frame
 * is handed through as it is. The way of a file: what is it (magic bytes) -> PROBE -> limits -> memory of exactly
 * the right size that can neither shrink nor grow -> DECODE -> writing forbidden, which fails while the helper still
 * holds it writable -> mapped. The helper gets read-only descriptors: bytes go through sealed memory, a descriptor that could write is opened
 * again. All sentences about pictures are written here.
 *
 * One helper serves one call at a time; other threads wait for their turn and keep looking at their own flag.
 * A helper that is killed from outside (the thread that started it has ended, memory ran out) or has used up its
 * processor time says nothing about the picture: it is started again, once. */
#include "media/media.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/os.h"
#include "media/process.h"
#include "media/sniff.h"

enum { TURN_MS = 50 };

struct qvl_media {
    char helper_path[4096]; /* "": not found */
    uint32_t deadline_ms;
    pthread_mutex_t turn;
    struct qvl_media_process process;
};

/* ---- open and close ------------------------------------------------------------------------------ */

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
                  {library, "../libexec/qvl/qvl-media"}};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        snprintf(out, n_out, "%s/%s", places[i].dir, places[i].path);
        if (places[i].dir[0] && access(out, X_OK) == 0)
            return;
    }
    out[0] = 0;
}

enum qvl_status qvl_media_open(const struct qvl_media_settings *settings, struct qvl_media **out,
                               struct qvl_error *err)
{
    struct qvl_media *media = calloc(1, sizeof *media);
    if (!media)
        return qvl_fail_memory(err, sizeof *media, "the picture reader");
    const char *path = settings->helper_path;
    size_t n_path = path ? strlen(path) : 0;
    if (n_path >= sizeof media->helper_path) {
        free(media);
        return qvl_fail(err, QVL_ERR_ARGUMENT, "the path of qvl-media is longer than %zu bytes",
                        sizeof media->helper_path - 1);
    }
    if (path)
        memcpy(media->helper_path, path, n_path + 1);
    else
        find_helper(media->helper_path, sizeof media->helper_path);
    media->deadline_ms = settings->deadline_ms ? settings->deadline_ms : QVL_MAX_MEDIA_MS;
    pthread_mutex_init(&media->turn, NULL);
    *out = media;
    return QVL_OK;
}

void qvl_media_close(struct qvl_media *media)
{
    if (!media)
        return;
    qvl_media_process_stop(&media->process);
    pthread_mutex_destroy(&media->turn);
    free(media);
}

/* ---- input: a read-only descriptor and what it holds ---------------------------------------------- */

struct input {
    const char *name;
    int fd;
    bool is_own; /* fd is to be closed */
    uint64_t n_bytes;
    enum qvl_format format;
};

static const char *name_of(const struct qvl_media_source *source)
{
    return source->name ? source->name : "picture";
}

static void close_input(struct input *input)
{
    if (input->is_own)
        close(input->fd);
    *input = (struct input){.fd = -1};
}

static enum qvl_status write_all(int fd, const uint8_t *bytes, size_t n, struct qvl_error *err)
{
    while (n > 0) {
        ssize_t n_done = write(fd, bytes, n);
        if (n_done < 0 && errno == EINTR)
            continue;
        if (n_done <= 0)
            return qvl_fail_memory(err, n, "a picture file");
        bytes += n_done;
        n -= (size_t)n_done;
    }
    return QVL_OK;
}

static enum qvl_status input_from_bytes(const struct qvl_media_source *source, struct input *input,
                                        struct qvl_error *err)
{
    if (source->n_bytes > QVL_MAX_IMAGE_FILE_BYTES)
        return QVL_OK; /* refused by its size alone */
    input->fd = memfd_create("qvl-input", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (input->fd < 0)
        return qvl_fail_memory(err, source->n_bytes, "a picture file");
    input->is_own = true;
    enum qvl_status status = write_all(input->fd, source->bytes, source->n_bytes, err);
    if (!status && fcntl(input->fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0)
        status = qvl_fail(err, QVL_ERR_INTERNAL, "%s: cannot seal its memory: %s", input->name, strerror(errno));
    return status;
}

static enum qvl_status input_from_fd(const struct qvl_media_source *source, struct input *input,
                                     struct qvl_error *err)
{
    struct stat st;
    char path[64];
    int flags = fcntl(source->fd, F_GETFL);
    if (flags < 0 || fstat(source->fd, &st) != 0)
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: cannot be read: %s", input->name, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: not a regular file", input->name);
    input->n_bytes = (uint64_t)st.st_size;
    input->fd = source->fd;
    if ((flags & O_ACCMODE) == O_RDONLY)
        return QVL_OK;
    snprintf(path, sizeof path, "/proc/self/fd/%d", source->fd); /* ours may write, the helper's must not */
    input->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (input->fd < 0)
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: cannot be opened again for reading only: %s", input->name,
                        strerror(errno));
    input->is_own = true;
    return QVL_OK;
}

static enum qvl_status sniff_input(struct input *input, struct qvl_error *err)
{
    uint8_t head[QVL_SNIFF_BYTES];
    if (input->n_bytes == 0)
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: the file is empty; a picture was expected", input->name);
    if (input->n_bytes > QVL_MAX_IMAGE_FILE_BYTES)
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: %" PRIu64 " bytes, more than the %llu that a picture may have",
                        input->name, input->n_bytes, QVL_MAX_IMAGE_FILE_BYTES);
    ssize_t n;
    do
        n = pread(input->fd, head, sizeof head, 0);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: cannot be read: %s", input->name,
                        n == 0 ? "it became shorter" : strerror(errno));
    input->format = qvl_sniff(head, (size_t)n);
    if (input->format == QVL_FORMAT_NONE || input->format > QVL_FORMAT_LAST)
        return qvl_fail(err, QVL_ERR_MEDIA,
                        "%s: this is %s; a picture was expected (JPEG, PNG, WebP, GIF, BMP or TIFF)", input->name,
                        qvl_format_name(input->format));
    return QVL_OK;
}

/* On failure, too, the caller closes the input. */
static enum qvl_status open_input(const struct qvl_media_source *source, struct input *input,
                                  struct qvl_error *err)
{
    *input = (struct input){.name = name_of(source), .fd = -1, .n_bytes = source->n_bytes};
    enum qvl_status status = source->from == QVL_FROM_BYTES ? input_from_bytes(source, input, err)
                                                            : input_from_fd(source, input, err);
    return status ? status : sniff_input(input, err);
}

/* ---- asking --------------------------------------------------------------------------------------- */

/* Before its HELLO the helper has seen no picture: what goes wrong there is the installation's fault. */
static enum qvl_status fail_start(const struct qvl_media *media, enum qvl_media_outcome outcome,
                                  struct qvl_error *err)
{
    const char *why = outcome == QVL_OUTCOME_NO_START ? strerror(errno)
                      : outcome == QVL_OUTCOME_DEAD   ? "it ended before it was ready"
                      : outcome == QVL_OUTCOME_LATE   ? "it was not ready in time"
                                                      : "it is not the qvl-media of this version";
    if (outcome == QVL_OUTCOME_STOPPED)
        return qvl_fail(err, QVL_ERR_CANCELLED, "decoding was cancelled");
    return qvl_fail(err, QVL_ERR_FILE, "%s, which decodes pictures, cannot be started: %s", media->helper_path, why);
}

static enum qvl_status fail_outcome(const struct qvl_media *media, const char *name,
                                    enum qvl_media_outcome outcome, struct qvl_error *err)
{
    int exit_status = media->process.exit_status;
    switch (outcome) {
    case QVL_OUTCOME_ANSWER:
    case QVL_OUTCOME_NO_START: break;
    case QVL_OUTCOME_LATE:
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: decoding took longer than %" PRIu32 " ms and was stopped", name,
                        media->deadline_ms);
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

static enum qvl_status fail_fault(const struct input *input, enum qvl_fault fault, struct qvl_error *err)
{
    bool is_installation = fault == QVL_FAULT_NO_SANDBOX || fault == QVL_FAULT_NO_MODULE;
    enum qvl_status status = is_installation                ? QVL_ERR_FILE
                             : fault == QVL_FAULT_MEMORY ? QVL_ERR_MEMORY
                                                         : QVL_ERR_MEDIA;
    return qvl_fail(err, status, "%s: this %s picture %s", input->name, qvl_format_name(input->format),
                    qvl_fault_text(fault));
}

/* A running helper that has said it is locked in, with the module if the format needs it. */
static enum qvl_media_outcome ensure_process(struct qvl_media *media, bool want_av,
                                             const struct qvl_media_wait *wait, struct qvl_media_reply *reply)
{
    struct qvl_media_process *process = &media->process;
    if (process->pid != 0 && (process->has_av || !want_av))
        return QVL_OUTCOME_ANSWER;
    qvl_media_process_stop(process);
    enum qvl_media_outcome outcome = qvl_media_process_start(process, media->helper_path, want_av);
    if (outcome)
        return outcome;
    const struct qvl_media_request hello = {.verb = QVL_MEDIA_HELLO};
    outcome = qvl_media_process_receive(process, &hello, wait, reply);
    if (!outcome && reply->fault)
        qvl_media_process_stop(process);
    return outcome;
}

/* The helper's end has another cause than the picture. */
static bool is_worth_repeating(enum qvl_media_outcome outcome, int exit_status)
{
    if (outcome != QVL_OUTCOME_DEAD)
        return false;
    if (exit_status == -1) /* a parent that ignores SIGCHLD is not told the cause */
        return true;
    return WIFSIGNALED(exit_status) &&
           (WTERMSIG(exit_status) == SIGKILL || WTERMSIG(exit_status) == SIGXCPU);
}

/* One question about an input, asked of a live helper. output_fd: -1, or the memory for the pixels. */
static enum qvl_status ask(struct qvl_media *media, const struct input *input, struct qvl_media_request request,
                           int output_fd, const struct qvl_media_wait *wait, struct qvl_media_reply *reply,
                           struct qvl_error *err)
{
    int fds[QVL_MEDIA_MAX_FD] = {input->fd, output_fd};
    size_t n_fd = output_fd < 0 ? 1 : 2;
    bool want_av = input->format >= QVL_FORMAT_GIF;
    enum qvl_media_outcome outcome = QVL_OUTCOME_ANSWER;
    bool is_started = false;
    if (!media->helper_path[0])
        return qvl_fail(err, QVL_ERR_FILE,
                        "qvl-media, which decodes pictures, is missing: it is neither beside this program nor in "
                        "../libexec/qvl of its folder or of the library's");
    request.format = input->format;
    request.n_bytes = input->n_bytes;
    for (int attempt = 0; attempt < 2; attempt++) {
        *reply = (struct qvl_media_reply){0};
        outcome = ensure_process(media, want_av, wait, reply);
        is_started = !outcome;
        if (is_started && !reply->fault)
            outcome = qvl_media_process_ask(&media->process, &request, fds, n_fd, wait, reply);
        if (!is_worth_repeating(outcome, media->process.exit_status))
            break;
    }
    if (outcome)
        return is_started ? fail_outcome(media, input->name, outcome, err) : fail_start(media, outcome, err);
    return reply->fault ? fail_fault(input, reply->fault, err) : QVL_OK;
}

static enum qvl_status check_size(const char *name, uint32_t w, uint32_t h, struct qvl_error *err)
{
    if (qvl_media_size_is_allowed(w, h))
        return QVL_OK;
    const char *fault = "more than 67,108,864 in all";
    _Static_assert(QVL_MAX_MEDIA_PIXELS == 67108864 && QVL_MAX_MEDIA_SIDE_PX == 32768, "the sentence says so");
    if (w == 0 || h == 0)
        fault = "a picture has at least one";
    else if (w > QVL_MAX_MEDIA_SIDE_PX || h > QVL_MAX_MEDIA_SIDE_PX)
        fault = "a side longer than 32,768";
    return qvl_fail(err, QVL_ERR_MEDIA, "%s: %" PRIu32 " x %" PRIu32 " pixels, %s", name, w, h, fault);
}

static enum qvl_status probe(struct qvl_media *media, const struct input *input, const struct qvl_media_wait *wait,
                             uint32_t *out_w, uint32_t *out_h, struct qvl_error *err)
{
    struct qvl_media_reply reply;
    enum qvl_status status =
        ask(media, input, (struct qvl_media_request){.verb = QVL_MEDIA_PROBE}, -1, wait, &reply, err);
    if (!status)
        status = check_size(input->name, reply.w, reply.h, err);
    if (status)
        return status;
    *out_w = reply.w;
    *out_h = reply.h;
    return QVL_OK;
}

/* Waits until no other thread uses the helper. */
static enum qvl_status take_turn(struct qvl_media *media, const char *name, const atomic_bool *stop,
                                 struct qvl_error *err)
{
    for (;;) {
        struct timespec until;
        if (stop && atomic_load_explicit(stop, memory_order_relaxed))
            return qvl_fail(err, QVL_ERR_CANCELLED, "%s: decoding was cancelled", name);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += TURN_MS * 1000000l;
        until.tv_sec += until.tv_nsec / 1000000000l;
        until.tv_nsec %= 1000000000l;
        if (pthread_mutex_timedlock(&media->turn, &until) == 0)
            return QVL_OK;
    }
}

/* ---- output --------------------------------------------------------------------------------------- */

static enum qvl_status map_picture(const char *name, int fd, uint32_t w, uint32_t h, struct qvl_picture *out,
                                   struct qvl_error *err)
{
    size_t n = qvl_media_rgb_bytes(w, h);
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL) != 0)
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: qvl-media did not let go of the pixels", name);
    void *map = mmap(NULL, n, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return qvl_fail_memory(err, n, "the pixels of a picture");
    *out = (struct qvl_picture){.frame = {.w = w, .h = h, .stride_bytes = (size_t)w * 3, .rgb8 = map},
                                .map = map,
                                .map_bytes = n};
    return QVL_OK;
}

static enum qvl_status decode(struct qvl_media *media, const struct input *input, const struct qvl_media_wait *wait,
                              struct qvl_picture *out, struct qvl_error *err)
{
    struct qvl_media_request request = {.verb = QVL_MEDIA_DECODE};
    struct qvl_media_reply reply;
    int fd = -1;
    enum qvl_status status = probe(media, input, wait, &request.w, &request.h, err);
    if (status)
        return status;
    size_t n = qvl_media_rgb_bytes(request.w, request.h);
    fd = memfd_create("qvl-pixels", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, (off_t)n) != 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0)
        status = qvl_fail_memory(err, n, "the pixels of a picture");
    if (!status)
        status = ask(media, input, request, fd, wait, &reply, err);
    if (!status && (status = map_picture(input->name, fd, request.w, request.h, out, err)))
        qvl_media_process_stop(&media->process);
    if (fd >= 0)
        close(fd);
    return status;
}

static enum qvl_status check_frame(const struct qvl_media_source *source, struct qvl_error *err)
{
    const struct qvl_frame *frame = source->frames;
    const char *name = name_of(source);
    if (source->n_frame != 1)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: %zu frames given; a picture is one", name, source->n_frame);
    if (!frame->rgb8)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: a frame without pixels", name);
    if (frame->stride_bytes < (size_t)frame->w * 3)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: rows of %zu bytes, but %" PRIu32 " RGB pixels need %zu", name,
                        frame->stride_bytes, frame->w, (size_t)frame->w * 3);
    return check_size(name, frame->w, frame->h, err);
}

/* ---- the door ------------------------------------------------------------------------------------- */

enum qvl_status qvl_media_probe_image(struct qvl_media *media, const struct qvl_media_source *source,
                                      uint32_t *out_w, uint32_t *out_h, const atomic_bool *stop,
                                      struct qvl_error *err)
{
    struct input input;
    enum qvl_status status;
    if (source->from == QVL_FROM_FRAMES) {
        if ((status = check_frame(source, err)))
            return status;
        *out_w = source->frames->w;
        *out_h = source->frames->h;
        return QVL_OK;
    }
    if (!(status = open_input(source, &input, err)) && !(status = take_turn(media, input.name, stop, err))) {
        struct qvl_media_wait wait = {.deadline_ms = qvl_now_ms() + media->deadline_ms, .stop = stop};
        status = probe(media, &input, &wait, out_w, out_h, err);
        pthread_mutex_unlock(&media->turn);
    }
    close_input(&input);
    return status;
}

enum qvl_status qvl_media_decode_image(struct qvl_media *media, const struct qvl_media_source *source,
                                       struct qvl_picture *out, const atomic_bool *stop, struct qvl_error *err)
{
    struct input input;
    enum qvl_status status;
    if (source->from == QVL_FROM_FRAMES) {
        if (!(status = check_frame(source, err)))
            *out = (struct qvl_picture){.frame = *source->frames};
        return status;
    }
    if (!(status = open_input(source, &input, err)) && !(status = take_turn(media, input.name, stop, err))) {
        struct qvl_media_wait wait = {.deadline_ms = qvl_now_ms() + media->deadline_ms, .stop = stop};
        status = decode(media, &input, &wait, out, err);
        pthread_mutex_unlock(&media->turn);
    }
    close_input(&input);
    return status;
}

void qvl_picture_free(struct qvl_picture *picture)
{
    if (picture->map)
        munmap(picture->map, picture->map_bytes);
    *picture = (struct qvl_picture){0};
}

/* A helper that has been taken over, dies, or hangs.
 *
 * This program plays the helper too: started under a name "…/fake-MODE" (a hard link to itself) it speaks the
 * protocol and does what MODE says. Whatever it does, the caller gets one sentence, no process and no
 * descriptor is left, and the next picture is asked of a fresh helper. */
#include "helper.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "media/clip.h"
#include "media/process.h"
#include "media/sniff.h"

enum { W = 20, H = 10 }; /* what the fake helper says the picture measures */

/* ---- the fake helper ------------------------------------------------------------------------------- */

static const char *mode;

static bool is_mode(const char *name)
{
    return strcmp(mode, name) == 0;
}

static bool say(uint32_t verb, uint32_t serial, uint32_t fault, uint32_t w, uint32_t h)
{
    const struct qvl_media_reply reply = {
        .magic = QVL_MEDIA_MAGIC, .verb = verb, .serial = serial, .fault = fault, .w = w, .h = h};
    return qvl_media_send(QVL_MEDIA_SOCKET, &reply, sizeof reply, NULL, 0);
}

static _Noreturn void hang(void)
{
    for (;;)
        pause();
}

static void die_of(int number)
{
    signal(number, SIG_DFL); /* a sanitizer may have its own idea of it */
    raise(number);
}

static _Noreturn void flood(void)
{
    for (uint32_t serial = 1; say(QVL_MEDIA_PROBE, serial, 0, W, H); serial++)
        continue;
    hang();
}

static void hello(void)
{
    if (is_mode("exit"))
        _exit(0);
    if (is_mode("crash"))
        die_of(SIGSEGV);
    if (is_mode("hello-never"))
        hang();
    if (is_mode("hello-other")) {
        say(QVL_MEDIA_PROBE, 0, 0, 0, 0);
        hang();
    }
    say(QVL_MEDIA_HELLO, 0, is_mode("no-sandbox") ? QVL_FAULT_NO_SANDBOX : QVL_FAULT_NONE, 0, 0);
    if (is_mode("flood-early"))
        flood();
}

/* Can the input be changed through what was sent? */
static bool can_write(int fd)
{
    return pwrite(fd, "x", 1, 0) == 1 || ftruncate(fd, 0) == 0 ||
           mmap(NULL, 1, PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED;
}

static void probe(const struct qvl_media_request *r, int fd)
{
    uint32_t v = QVL_MEDIA_PROBE, s = r->serial;
    if (is_mode("probe-hang"))
        hang();
    if (is_mode("probe-crash"))
        die_of(SIGBUS);
    if (is_mode("probe-killed"))
        raise(SIGKILL);
    if (is_mode("probe-hangup")) {
        close(QVL_MEDIA_SOCKET);
        hang();
    }
    if (is_mode("probe-serial"))
        say(v, s + 1, 0, W, H);
    else if (is_mode("probe-verb"))
        say(QVL_MEDIA_DECODE, s, 0, W, H);
    else if (is_mode("probe-fault"))
        say(v, s, QVL_FAULT_LAST + 1, 0, 0);
    else if (is_mode("probe-hello-fault"))
        say(v, s, QVL_FAULT_NO_SANDBOX, 0, 0);
    else if (is_mode("probe-fault-size"))
        say(v, s, QVL_FAULT_CUT, 1, 1);
    else if (is_mode("probe-huge"))
        say(v, s, 0, UINT32_MAX, UINT32_MAX);
    else if (is_mode("probe-pixels"))
        say(v, s, 0, 32768, 32768);
    else if (is_mode("probe-zero"))
        say(v, s, 0, 0, 5);
    else if (is_mode("probe-short"))
        qvl_media_send(QVL_MEDIA_SOCKET, "QVM1", 4, NULL, 0);
    else if (is_mode("probe-empty"))
        qvl_media_send(QVL_MEDIA_SOCKET, "", 0, NULL, 0);
    else if (is_mode("probe-long")) {
        static const char zeros[100000];
        qvl_media_send(QVL_MEDIA_SOCKET, zeros, sizeof zeros, NULL, 0);
    } else if (is_mode("probe-flood"))
        flood();
    else if (is_mode("probe-descriptors")) {
        const struct qvl_media_reply reply = {.magic = QVL_MEDIA_MAGIC, .verb = v, .serial = s, .w = W, .h = H};
        const int fds[2] = {fd, QVL_MEDIA_SOCKET};
        qvl_media_send(QVL_MEDIA_SOCKET, &reply, sizeof reply, fds, 2);
    } else if (is_mode("probe-write"))
        say(v, s, can_write(fd) ? QVL_FAULT_NONE : QVL_FAULT_READ, can_write(fd) ? W : 0, can_write(fd) ? H : 0);
    else
        say(v, s, 0, W, H);
}

static void decode(const struct qvl_media_request *r, int fd)
{
    uint32_t v = QVL_MEDIA_DECODE, s = r->serial;
    size_t n = qvl_media_rgb_bytes(r->w, r->h);
    if (is_mode("decode-hang"))
        hang();
    if (is_mode("decode-crash"))
        die_of(SIGABRT);
    if (is_mode("decode-size"))
        say(v, s, 0, r->w + 1, r->h);
    else if (is_mode("decode-swapped"))
        say(v, s, 0, r->h, r->w);
    else if (is_mode("decode-keeps")) {
        mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        say(v, s, 0, r->w, r->h);
    } else if (is_mode("decode-shrinks")) { /* pixels that are never written are black */
        bool is_done = ftruncate(fd, 0) == 0 || ftruncate(fd, 1 << 20) == 0;
        say(v, s, is_done ? QVL_FAULT_BROKEN : 0, is_done ? 0 : r->w, is_done ? 0 : r->h);
    } else
        say(v, s, 0, r->w, r->h);
}

enum { N_FRAME = 5 };

/* What the fake helper says a clip holds: five frames at 25 a second. */
static void say_facts(uint32_t serial)
{
    struct qvl_media_reply reply = {.magic = QVL_MEDIA_MAGIC, .verb = QVL_MEDIA_CLIP, .serial = serial};
    reply.w = is_mode("clip-huge") ? 40000 : W;
    reply.h = H;
    reply.codec = is_mode("clip-codec") ? QVL_CODEC_LAST + 1 : QVL_CODEC_VP9;
    reply.is_cut = is_mode("clip-cut") ? 7 : 0;
    reply.n_frame = is_mode("clip-empty") ? 0 : is_mode("clip-long") ? UINT64_MAX : N_FRAME;
    reply.fps = is_mode("clip-nan")     ? NAN
                : is_mode("clip-rate")  ? 1e9
                : is_mode("clip-still") ? 0
                : is_mode("clip-slow")  ? 5e-300
                                        : 25;
    reply.duration_s = is_mode("clip-past") ? -1 : is_mode("clip-age") ? 1e9 : 0.2;
    qvl_media_send(QVL_MEDIA_SOCKET, &reply, sizeof reply, NULL, 0);
}

/* Replies to a clip and its frames that are never read: only their numbers are known. */
static _Noreturn void answer_unread(void)
{
    say_facts(1);
    for (uint32_t serial = 2;; serial++)
        while (!say(QVL_MEDIA_FRAME, serial, 0, W, H))
            usleep(1000);
}

static void clip(const struct qvl_media_request *r, int fd)
{
    uint32_t v = QVL_MEDIA_CLIP, s = r->serial;
    if (is_mode("clip-hang"))
        hang();
    if (is_mode("clip-crash"))
        die_of(SIGSEGV);
    if (is_mode("clip-killed"))
        raise(SIGKILL);
    if (is_mode("clip-write"))
        say(v, s, can_write(fd) ? QVL_FAULT_NONE : QVL_FAULT_READ, 0, 0);
    else if (is_mode("clip-verb"))
        say(QVL_MEDIA_PROBE, s, 0, W, H);
    else if (is_mode("clip-fault"))
        say(v, s, QVL_FAULT_CODEC, 1, 0);
    else if (is_mode("clip-flood"))
        flood();
    else
        say_facts(s);
}

static void frame(const struct qvl_media_request *r, int fd)
{
    uint32_t v = QVL_MEDIA_FRAME, s = r->serial;
    if (is_mode("frame-hang"))
        hang();
    if (is_mode("frame-crash"))
        die_of(SIGABRT);
    if (is_mode("frame-killed"))
        raise(SIGKILL);
    if (is_mode("frame-size"))
        say(v, s, 0, r->h, r->w);
    else if (is_mode("frame-facts"))
        say_facts(s);
    else if (is_mode("frame-fault"))
        say(v, s, QVL_FAULT_FRAME, 0, 0);
    else if (is_mode("frame-keeps")) {
        mmap(NULL, qvl_media_rgb_bytes(r->w, r->h), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        say(v, s, 0, r->w, r->h);
    } else
        say(v, s, 0, r->w, r->h);
}

/* The mode if this program was started as a helper. */
static const char *mode_of_program(char *path, size_t n_path)
{
    ssize_t n = readlink("/proc/self/exe", path, n_path - 1);
    if (n < 0)
        return NULL;
    path[n] = 0;
    char *name = strrchr(path, '/');
    return name && strncmp(name, "/fake-", 6) == 0 ? name + 6 : NULL;
}

static int play_helper(void)
{
    alarm(300); /* not to stay where the caller has ended */
    hello();
    if (is_mode("unread"))
        answer_unread();
    for (;;) {
        struct qvl_media_request request;
        int fds[QVL_MEDIA_MAX_FD];
        size_t n_fd = 0;
        ptrdiff_t n = qvl_media_receive(QVL_MEDIA_SOCKET, &request, sizeof request, fds, QVL_MEDIA_MAX_FD, &n_fd);
        if (n <= 0 || !qvl_media_request_is_valid(&request, (size_t)n, n_fd))
            return 1;
        switch (request.verb) {
        case QVL_MEDIA_PROBE: probe(&request, fds[0]); break;
        case QVL_MEDIA_CLIP: clip(&request, fds[0]); break;
        case QVL_MEDIA_FRAME: frame(&request, fds[0]); break;
        default: decode(&request, fds[1]);
        }
        for (size_t i = 0; i < n_fd; i++)
            close(fds[i]);
    }
}

/* ---- the tests ------------------------------------------------------------------------------------- */

static char folder[4096]; /* beside this program, on the same file system */

static const char *fake(const char *name)
{
    static char path[4400];
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(n > 0);
    self[n] = 0;
    snprintf(path, sizeof path, "%s/fake-%s", folder, name);
    if (link(self, path) != 0)
        assert_int_equal(errno, EEXIST);
    return path;
}

static int make_folder(void **state)
{
    (void)state;
    char self[4000];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(n > 0);
    self[n] = 0;
    snprintf(folder, sizeof folder, "%s-XXXXXX", self);
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    char command[4400];
    static const char *const names[] = {
#define FAKE(name, status, part) name,
#define FAKE_CLIP(name, status, part) name,
#include "hostile_modes.def"
#undef FAKE
#undef FAKE_CLIP
        "honest", "decode-shrinks", "probe-descriptors", "unread"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(command, sizeof command, "%s/fake-%s", folder, names[i]);
        unlink(command);
    }
    return rmdir(folder);
}

static const uint8_t jpeg[] = "\xff\xd8\xff\xe0 any bytes: the fake helper does not look";

static void test_it_cannot_harm(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum qvl_status status;
        const char *part;
    } cases[] = {
#define FAKE(name, status, part) {name, status, part},
#define FAKE_CLIP(name, status, part)
#include "hostile_modes.def"
#undef FAKE
#undef FAKE_CLIP
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n_before = test_n_fd();
        bool is_late = strstr(cases[i].name, "hang") || strstr(cases[i].name, "never");
        struct qvl_media *media = test_open(fake(cases[i].name), is_late ? 1000 : 0);
        const struct qvl_media_source source = test_source("photo.jpg", jpeg, sizeof jpeg);
        test_refused(media, &source, cases[i].status, cases[i].part);
        test_refused(media, &source, cases[i].status, cases[i].part); /* and again, with a fresh one */
        qvl_media_close(media);
        assert_int_equal(test_n_fd(), n_before);
        assert_false(test_has_child());
    }
}

static const uint8_t webm[] = "\x1a\x45\xdf\xa3 any bytes";

/* Opening the clip and reading one frame must fail like this. */
static void check_clip_refused(const char *name, enum qvl_status status, const char *part)
{
    const struct qvl_media_settings settings = {.helper_path = fake(name),
                                                .deadline_ms = strstr(name, "hang") ? 1000 : 0};
    const struct qvl_media_source source = test_source("film.webm", webm, sizeof webm);
    struct qvl_error err = {0};
    struct qvl_clip *clip = NULL;
    struct qvl_clip_info info;
    struct qvl_picture picture = {0};
    enum qvl_status found;
    int n_late = 0; /* what hangs must have begun within its short time */
    do
        found = qvl_clip_open(&settings, &source, &clip, &info, NULL, &err);
    while (found && test_is_late(&err) && ++n_late < 20);
    for (int i = 0; i < 2 && clip; i++) { /* and again, with a fresh helper */
        do
            found = qvl_clip_read(clip, 3, &picture, NULL, &err);
        while (found && test_is_late(&err) && ++n_late < 20);
        assert_null(picture.map);
    }
    qvl_clip_close(clip);
    if (found != status || !strstr(err.text, part) || strncmp(err.text, "film.webm: ", 11) != 0)
        fail_msg("%s: status %d instead of %d: %s", name, found, status, err.text);
}

static void test_it_cannot_harm_by_a_clip(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum qvl_status status;
        const char *part;
    } cases[] = {
#define FAKE(name, status, part)
#define FAKE_CLIP(name, status, part) {name, status, part},
#include "hostile_modes.def"
#undef FAKE
#undef FAKE_CLIP
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n_before = test_n_fd();
        check_clip_refused(cases[i].name, cases[i].status, cases[i].part);
        assert_int_equal(test_n_fd(), n_before);
        assert_false(test_has_child());
    }
}

/* Pixels that are never written are black, and nobody can write them later. */
static void test_an_honest_clip(void **state)
{
    (void)state;
    const struct qvl_media_settings settings = {.helper_path = fake("honest")};
    const struct qvl_media_source source = test_source("film.webm", webm, sizeof webm);
    struct qvl_error err = {0};
    struct qvl_clip *clip = NULL;
    struct qvl_clip_info info;
    struct qvl_picture picture = {0};
    assert_int_equal(qvl_clip_open(&settings, &source, &clip, &info, NULL, &err), QVL_OK);
    assert_int_equal(info.n_frame, N_FRAME);
    assert_string_equal(info.codec, "vp9");
    assert_int_equal(qvl_clip_read(clip, N_FRAME, &picture, NULL, &err), QVL_ERR_ARGUMENT);
    assert_int_equal(qvl_clip_read(clip, N_FRAME - 1, &picture, NULL, &err), QVL_OK);
    for (size_t i = 0; i < W * H * 3; i++)
        assert_int_equal(picture.frame.rgb8[i], 0);
    assert_int_not_equal(mprotect(picture.map, picture.map_bytes, PROT_READ | PROT_WRITE), 0); /* sealed */
    qvl_picture_free(&picture);
    qvl_clip_close(clip);
    assert_false(test_has_child());
}

/* Requests that nobody reads fill the socket at last: that must not be waited for. */
static void test_it_cannot_stop_reading(void **state)
{
    (void)state;
    const struct qvl_media_settings settings = {.helper_path = fake("unread")};
    const struct qvl_media_source source = test_source("film.webm", webm, sizeof webm);
    size_t n_before = test_n_fd();
    struct qvl_error err = {0};
    struct qvl_clip *clip = NULL;
    struct qvl_clip_info info;
    enum qvl_status status = qvl_clip_open(&settings, &source, &clip, &info, NULL, &err);
    assert_int_equal(status, QVL_OK);
    for (uint64_t i = 0; i < 100000 && !status; i++) {
        struct qvl_picture picture = {0};
        status = qvl_clip_read(clip, i % N_FRAME, &picture, NULL, &err);
        qvl_picture_free(&picture);
    }
    assert_int_equal(status, QVL_ERR_MEDIA);
    assert_non_null(strstr(err.text, "does not fit the question"));
    qvl_clip_close(clip);
    assert_int_equal(test_n_fd(), n_before);
    assert_false(test_has_child());
}

static void check_black(const char *name)
{
    size_t n_before = test_n_fd();
    struct qvl_media *media = test_open(fake(name), 0);
    const struct qvl_media_source source = test_source("photo.jpg", jpeg, sizeof jpeg);
    struct qvl_picture picture = {0};
    struct qvl_error err = {0};
    if (qvl_media_decode_image(media, &source, &picture, NULL, &err))
        fail_msg("%s: %s", name, err.text);
    assert_int_equal(picture.frame.w, W);
    assert_int_equal(picture.frame.h, H);
    for (size_t i = 0; i < W * H * 3; i++)
        assert_int_equal(picture.frame.rgb8[i], 0);
    assert_int_not_equal(mprotect(picture.map, picture.map_bytes, PROT_READ | PROT_WRITE), 0); /* sealed */
    qvl_picture_free(&picture);
    qvl_media_close(media);
    assert_int_equal(test_n_fd(), n_before);
    assert_false(test_has_child());
}

static void test_what_it_leaves_out_is_black(void **state)
{
    (void)state;
    check_black("honest");
    check_black("decode-shrinks");
    check_black("probe-descriptors");
}

static void test_a_writable_descriptor_is_not_passed_on(void **state)
{
    (void)state;
    char path[4300];
    snprintf(path, sizeof path, "%s/input", folder);
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, jpeg, sizeof jpeg), sizeof jpeg);
    struct qvl_media *media = test_open(fake("probe-write"), 0);
    const struct qvl_media_source source = {.from = QVL_FROM_FD, .name = "photo.jpg", .fd = fd};
    test_refused(media, &source, QVL_ERR_MEDIA, "cannot be read by qvl-media");
    qvl_media_close(media);
    close(fd);
    unlink(path);
}

static void *set_later(void *stop)
{
    usleep(100000);
    atomic_store((atomic_bool *)stop, true);
    return NULL;
}

static void test_cancel_ends_a_hang(void **state)
{
    (void)state;
    static const char *const hangs[] = {"hello-never", "probe-hang", "decode-hang"};
    const struct qvl_media_source source = test_source("photo.jpg", jpeg, sizeof jpeg);
    for (size_t i = 0; i < 3; i++) {
        struct qvl_media *media = test_open(fake(hangs[i]), 600000);
        struct qvl_picture picture = {0};
        struct qvl_error err = {0};
        atomic_bool stop = false;
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, set_later, &stop), 0);
        assert_int_equal(qvl_media_decode_image(media, &source, &picture, &stop, &err), QVL_ERR_CANCELLED);
        pthread_join(thread, NULL);
        qvl_media_close(media);
        assert_false(test_has_child());
    }
}

static void test_cancel_ends_a_hang_of_a_clip(void **state)
{
    (void)state;
    static const char *const hangs[] = {"clip-hang", "frame-hang"};
    const struct qvl_media_source source = test_source("film.webm", webm, sizeof webm);
    for (size_t i = 0; i < 2; i++) {
        const struct qvl_media_settings settings = {.helper_path = fake(hangs[i]), .deadline_ms = 600000};
        struct qvl_clip *clip = NULL;
        struct qvl_clip_info info;
        struct qvl_picture picture = {0};
        struct qvl_error err = {0};
        atomic_bool stop = false;
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, set_later, &stop), 0);
        enum qvl_status status = qvl_clip_open(&settings, &source, &clip, &info, &stop, &err);
        if (clip)
            status = qvl_clip_read(clip, 0, &picture, &stop, &err);
        assert_int_equal(status, QVL_ERR_CANCELLED);
        pthread_join(thread, NULL);
        qvl_clip_close(clip);
        assert_false(test_has_child());
    }
}

/* 200 deaths of the real helper leave nothing behind, and the 201st picture is decoded. */
static void test_many_deaths(void **state)
{
    (void)state;
    size_t n_before = test_n_fd();
    struct qvl_media_process process = {0};
    const struct qvl_media_wait wait = {.deadline_ms = 1e300};
    const struct qvl_media_request asked = {.verb = QVL_MEDIA_HELLO};
    struct qvl_media_request request = {.verb = QVL_MEDIA_PROBE, .format = QVL_FORMAT_JPEG, .n_bytes = 1};
    struct qvl_media_reply reply;
    for (int i = 0; i < 200; i++) {
        int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
        assert_int_equal(qvl_media_process_start(&process, test_helper_path(), QVL_MODE_PLAIN), QVL_OUTCOME_ANSWER);
        assert_int_equal(qvl_media_process_receive(&process, &asked, &wait, &reply), QVL_OUTCOME_ANSWER);
        kill(process.pid, SIGKILL);
        assert_int_equal(qvl_media_process_ask(&process, &request, &null, 1, &wait, &reply), QVL_OUTCOME_DEAD);
        assert_int_equal(process.pid, 0);
        assert_true(WIFSIGNALED(process.exit_status) && WTERMSIG(process.exit_status) == SIGKILL);
        close(null);
    }
    assert_int_equal(test_n_fd(), n_before);
    assert_false(test_has_child());
}

int main(void)
{
    char path[4096];
    mode = mode_of_program(path, sizeof path);
    if (mode)
        _exit(play_helper());
    alarm(300); /* a hang of the caller is a failure, not a wait */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_cannot_harm),
        cmocka_unit_test(test_it_cannot_harm_by_a_clip),
        cmocka_unit_test(test_an_honest_clip),
        cmocka_unit_test(test_it_cannot_stop_reading),
        cmocka_unit_test(test_what_it_leaves_out_is_black),
        cmocka_unit_test(test_a_writable_descriptor_is_not_passed_on),
        cmocka_unit_test(test_cancel_ends_a_hang),
        cmocka_unit_test(test_cancel_ends_a_hang_of_a_clip),
        cmocka_unit_test(test_many_deaths),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

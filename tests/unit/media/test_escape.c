/* What a taken-over decoder could try. Each action runs in a process of its own that has entered the sandbox, once
 * as for pictures and once as for clips; the only right outcome is that the kernel kills it (SIGSYS) at the
 * attempt, or, for the one call that must be answered where threads are allowed, that it does not exist. A second
 * test shows that the sandbox lets through what decoding needs, so the first does not pass because nothing runs. */
#include "helper.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/limits.h"
#include "media/helper/sandbox.h"
#include "media/protocol.h"

static pid_t parent;
static int input;
static char scratch[4096];
static char *const no_args[] = {scratch, NULL};
static const struct sockaddr_in loopback = {.sin_family = AF_INET};

#ifdef SYS_open /* newer architectures have only openat */
static long open_passwd(void) { return syscall(SYS_open, "/etc/passwd", O_RDONLY); }
static long fork_process(void) { return syscall(SYS_fork); }
static long vfork_process(void) { return syscall(SYS_vfork); }
#endif
static long openat_passwd(void) { return syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY); }
static long openat2_root(void)
{
    uint64_t how[3] = {O_RDONLY, 0, 0};
    return syscall(SYS_openat2, AT_FDCWD, "/", how, sizeof how);
}
static long create_file(void) { return syscall(SYS_openat, AT_FDCWD, scratch, O_CREAT | O_WRONLY, 0600); }
static long read_environment(void) { return syscall(SYS_openat, AT_FDCWD, "/proc/self/environ", O_RDONLY); }
static long read_init(void) { return syscall(SYS_openat, AT_FDCWD, "/proc/1/environ", O_RDONLY); }
static long read_null(void) { return syscall(SYS_read, 0, scratch, 1ul); }
static long write_null(void) { return syscall(SYS_pwrite64, 1, "x", 1ul, 0l); }
static long write_input(void) { return syscall(SYS_pwritev2, 1, scratch, 0ul, 0l, 0l, 0); }
static long read_many(void) { return syscall(SYS_preadv, 0, scratch, 0ul, 0l, 0l); }
static long remove_file(void) { return syscall(SYS_unlinkat, AT_FDCWD, scratch, 0); }
static long rename_file(void) { return syscall(SYS_renameat2, AT_FDCWD, scratch, AT_FDCWD, scratch, 0); }
static long make_link(void) { return syscall(SYS_symlinkat, "/etc/passwd", AT_FDCWD, scratch); }
static long make_directory(void) { return syscall(SYS_mkdirat, AT_FDCWD, scratch, 0700); }
static long change_mode(void) { return syscall(SYS_fchmodat, AT_FDCWD, scratch, 0777); }
static long list_directory(void) { return syscall(SYS_getdents64, 0, scratch, sizeof scratch); }
static long truncate_input(void) { return syscall(SYS_ftruncate, 0, 0l); }
static long make_socket(void) { return syscall(SYS_socket, AF_INET, SOCK_STREAM, 0); }
static long make_unix_socket(void) { return syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0); }
static long connect_out(void) { return syscall(SYS_connect, 0, &loopback, sizeof loopback); }
static long bind_port(void) { return syscall(SYS_bind, 0, &loopback, sizeof loopback); }
static long send_elsewhere(void)
{
    struct msghdr none = {0};
    return syscall(SYS_sendmsg, 0, &none, 0);
}
static long run_shell(void) { return syscall(SYS_execve, "/bin/sh", no_args, NULL); }
static long run_shell_at(void) { return syscall(SYS_execveat, AT_FDCWD, "/bin/sh", no_args, NULL, 0); }
static long clone_process(void) { return syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0ul); }
/* All but one of the flags of a thread, and all of them and one more. */
static const unsigned long thread_flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                                          CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID |
                                          CLONE_CHILD_CLEARTID;
static long clone_memory(void) { return syscall(SYS_clone, thread_flags & ~(0ul + CLONE_THREAD), NULL); }
static long clone_nothing_shared(void) { return syscall(SYS_clone, 0ul, NULL); }
static long clone_traced(void) { return syscall(SYS_clone, thread_flags | CLONE_PTRACE, NULL); }
static long clone_elsewhere(void) { return syscall(SYS_clone, thread_flags | CLONE_NEWNET, NULL); }
static long clone_high_bits(void) { return syscall(SYS_clone, thread_flags | 1ul << 32, NULL); }
static long clone3_process(void)
{
    uint64_t args[8] = {0};
    return syscall(SYS_clone3, args, sizeof args);
}
static long kill_parent(void) { return syscall(SYS_kill, parent, 0); }
static long kill_thread(void) { return syscall(SYS_tkill, parent, 0); }
static long trace_parent(void) { return syscall(SYS_ptrace, PTRACE_ATTACH, parent, NULL, NULL); }
static long read_parent(void)
{
    struct iovec here = {scratch, 1};
    return syscall(SYS_process_vm_readv, parent, &here, 1ul, &here, 1ul, 0ul);
}
static long take_descriptor(void) { return syscall(SYS_pidfd_open, parent, 0); }
static long map_code(void)
{
    return (long)mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}
static long make_code(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return page == MAP_FAILED ? 0 : mprotect(page, 4096, PROT_READ | PROT_EXEC);
}
static long control_terminal(void) { return syscall(SYS_ioctl, 0, TIOCSTI, scratch); }
static long change_process(void) { return syscall(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0); }
static long raise_limit(void) { return syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, scratch); }
static long mount_file_system(void) { return syscall(SYS_mount, "none", "/tmp", "tmpfs", 0ul, NULL); }
static long change_root(void) { return syscall(SYS_chroot, "/"); }
static long new_namespace(void) { return syscall(SYS_unshare, CLONE_NEWUSER); }
static long load_bpf(void) { return syscall(SYS_bpf, 0, scratch, 0ul); }
static long watch_performance(void) { return syscall(SYS_perf_event_open, scratch, 0, -1, -1, 0ul); }
static long make_ring(void) { return syscall(SYS_io_uring_setup, 1, scratch); }
static long handle_faults(void) { return syscall(SYS_userfaultfd, 0); }
static long make_memory_file(void) { return syscall(SYS_memfd_create, "x", 0); }
static long become_root(void) { return syscall(SYS_setuid, 0); }
static long load_module(void) { return syscall(SYS_init_module, scratch, 0ul, ""); }
static long use_keys(void) { return syscall(SYS_keyctl, 0, -1, 0, 0, 0); }
static long change_clock(void) { return syscall(SYS_clock_settime, 0, NULL); }
static long duplicate(void) { return syscall(SYS_dup3, 0, 7, 0); }
static long make_pipe(void) { return syscall(SYS_pipe2, scratch, 0); }
static long own_filter(void) { return syscall(SYS_seccomp, 0, 0, NULL); }

static const struct action {
    const char *name;
    long (*try)(void);
} actions[] = {
#define ACTION(name) {#name, name}
#ifdef SYS_open
    ACTION(open_passwd), ACTION(fork_process), ACTION(vfork_process),
#endif
    ACTION(openat_passwd), ACTION(openat2_root), ACTION(create_file), ACTION(read_environment),
    ACTION(read_init), ACTION(read_null), ACTION(write_null), ACTION(write_input), ACTION(read_many),
    ACTION(remove_file), ACTION(rename_file), ACTION(make_link), ACTION(make_directory), ACTION(change_mode),
    ACTION(list_directory), ACTION(truncate_input), ACTION(make_socket), ACTION(make_unix_socket),
    ACTION(connect_out), ACTION(bind_port), ACTION(send_elsewhere), ACTION(run_shell),
    ACTION(run_shell_at), ACTION(clone_process), ACTION(clone3_process), ACTION(kill_parent),
    ACTION(kill_thread), ACTION(trace_parent), ACTION(read_parent), ACTION(take_descriptor),
    ACTION(map_code), ACTION(make_code), ACTION(control_terminal), ACTION(change_process),
    ACTION(raise_limit), ACTION(mount_file_system), ACTION(change_root), ACTION(new_namespace),
    ACTION(load_bpf), ACTION(watch_performance), ACTION(make_ring), ACTION(handle_faults),
    ACTION(make_memory_file), ACTION(become_root), ACTION(load_module), ACTION(use_keys),
    ACTION(change_clock), ACTION(duplicate), ACTION(make_pipe), ACTION(own_filter), ACTION(clone_memory),
    ACTION(clone_nothing_shared), ACTION(clone_traced), ACTION(clone_elsewhere), ACTION(clone_high_bits),
};
enum { N_ACTION = sizeof actions / sizeof *actions };

enum { EXIT_NO_SANDBOX = 10, EXIT_SURVIVED = 11, EXIT_WORKS = 12, EXIT_FAILS = 13 };

/* Runs `try` locked in, in a child; returns its wait status. */
static int run_locked(enum qvl_sandbox_room room, long (*try)(void))
{
    int status = 0;
    parent = getpid();
    snprintf(scratch, sizeof scratch, "/tmp/qvl-escape-%d", (int)parent);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (!qvl_sandbox_enter(room))
            _exit(EXIT_NO_SANDBOX);
        _exit(try() == -4711 ? EXIT_WORKS : EXIT_SURVIVED);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static long find_no_clone3(void)
{
    return clone3_process() == -1 && errno == ENOSYS ? -4711 : 0;
}

/* The C library asks for clone3 first and copes without. */
static bool is_denied(enum qvl_sandbox_room room, const struct action *action)
{
    bool is_answered = room == QVL_ROOM_CLIP && action->try == clone3_process;
    int status = run_locked(room, is_answered ? find_no_clone3 : action->try);
    if (is_answered ? WIFEXITED(status) && WEXITSTATUS(status) == EXIT_WORKS
                    : WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
        return true;
    print_message("%s, room %d: not denied, wait status %#x\n", action->name, (int)room, (unsigned)status);
    return false;
}

static void test_every_escape_is_denied(void **state)
{
    (void)state;
    static const enum qvl_sandbox_room rooms[] = {QVL_ROOM_PICTURE, QVL_ROOM_CLIP};
    size_t n_denied = 0;
    for (size_t i = 0; i < 2 * (size_t)N_ACTION; i++)
        n_denied += is_denied(rooms[i % 2], &actions[i / 2]);
    print_message("%zu of 2 x %d actions denied\n", n_denied, (int)N_ACTION);
    assert_true(N_ACTION >= 40);
    assert_int_equal(n_denied, 2 * N_ACTION);
    assert_int_not_equal(access(scratch, F_OK), 0);
}

/* Memory small and large, and the end of it: what a decoder needs. */
static long compute(void)
{
    char *small = malloc(100), *large = malloc(50u << 20);
    if (!small || !large)
        return 0;
    memset(large, 1, 50u << 20);
    large = realloc(large, 100u << 20);
    if (!large || large[(50u << 20) - 1] != 1)
        return 0;
    free(small);
    free(large);
    return -4711;
}

/* A clip is read where it lies. */
static long read_input(void)
{
    char byte = 0;
    return pread(input, &byte, 1, 2) == 1 && byte == 'z' ? -4711 : 0;
}

static void *count(void *arg)
{
    return memset(malloc(1 << 20), 1, 1 << 20) ? arg : NULL;
}

static long start_threads(void)
{
    enum { N = QVL_MAX_CLIP_THREADS };
    pthread_t thread[N];
    char marks[N];
    bool is_ok = true;
    for (int i = 0; i < N; i++)
        if (pthread_create(&thread[i], NULL, count, &marks[i]) != 0)
            return 0;
    for (int i = 0; i < N; i++) {
        void *mark = NULL;
        is_ok &= pthread_join(thread[i], &mark) == 0 && mark == &marks[i];
    }
    return is_ok ? -4711 : 0;
}

/* A thread of a clip is locked in as well. */
static void *fork_in_a_thread(void *arg)
{
    clone_process();
    return arg;
}

static long escape_from_a_thread(void)
{
    pthread_t thread;
    return pthread_create(&thread, NULL, fork_in_a_thread, NULL) == 0 ? pthread_join(thread, NULL) : -1;
}

static void test_threads_are_allowed_for_clips_only(void **state)
{
    (void)state;
    int status = run_locked(QVL_ROOM_CLIP, start_threads);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), EXIT_WORKS);
    status = run_locked(QVL_ROOM_CLIP, escape_from_a_thread);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSYS);
    status = run_locked(QVL_ROOM_PICTURE, start_threads);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSYS);
}

static void test_reading_the_input_is_allowed(void **state)
{
    (void)state;
    input = memfd_create("input", MFD_CLOEXEC);
    assert_int_equal(write(input, "xyz", 3), 3);
    int status = run_locked(QVL_ROOM_CLIP, read_input);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), EXIT_WORKS);
    close(input);
}

static void test_decoding_is_allowed(void **state)
{
    (void)state;
    int status = run_locked(QVL_ROOM_PICTURE, compute);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), EXIT_WORKS);
}

#if !defined(__SANITIZE_ADDRESS__)
static long allocate_too_much(void)
{
    return !malloc(QVL_MAX_MEDIA_HELPER_BYTES) && malloc(QVL_MAX_MEDIA_HELPER_BYTES / 2) ? -4711 : 0;
}

static void test_memory_is_limited(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        int status = run_locked(i ? QVL_ROOM_CLIP : QVL_ROOM_PICTURE, allocate_too_much);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), EXIT_WORKS);
    }
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_escape_is_denied),
        cmocka_unit_test(test_decoding_is_allowed),
        cmocka_unit_test(test_threads_are_allowed_for_clips_only),
        cmocka_unit_test(test_reading_the_input_is_allowed),
#if !defined(__SANITIZE_ADDRESS__) /* such a build has no memory limit (helper/sandbox.c) */
        cmocka_unit_test(test_memory_is_limited),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

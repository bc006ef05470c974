/* The cage of qvl-media.
 *
 * What leaves: a process that may compute, allocate, talk on one socket, map, read and close the descriptors that
 * it is sent, and exit. Layers, outer to inner; the last one alone is enough and is the one that must work, the
 * others stand behind it in case the kernel or the filter has a hole:
 *   1. namespaces of its own: no network devices, no other processes, no mounts to see (where allowed);
 *   2. resource limits: memory, processor time, descriptors, file size, processes, core dumps;
 *   3. no new privileges, not dumpable (so not readable through /proc), dies with its parent;
 *   4. Landlock: no path may be opened, no port bound or connected (where the kernel has it);
 *   5. seccomp: 18 system calls are allowed, two of them without PROT_EXEC; any other kills the process.
 * For a clip, whose decoder works on several threads, 5 also lets clone start a thread, and nothing but a thread; a
 * process would die in the attempt. 2 then bounds the threads instead of the processes, and only where 1 has given
 * it a user of its own, because that limit counts all of a user's threads; and 1 keeps the process numbers it has,
 * because a process that has left them for its children can have no threads.
 *
 * The order matters: a new user namespace resets 3, and nothing can be set up after 5.
 *
 * AddressSanitizer and ThreadSanitizer need huge reservations and a few calls more. Those builds leave out the
 * memory limit and add the calls below; they are for finding faults, not for use. */
#include "media/helper/sandbox.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/limits.h"
#include "media/protocol.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#ifndef IS_SANITIZED
#define IS_SANITIZED 0
#endif

enum {
    MAX_OPEN = 8, /* 0, 1, 2, the socket, and what one request brings */
    MAX_THREADS = 4 * QVL_MAX_CLIP_THREADS, /* a decoder that has been taken over could start any number */
    THREAD_STACK_BYTES = 1 << 20 /* FFmpeg runs where 128 KiB are usual; 8 MiB for each would fill the limit */
};

/* What glibc's pthread_create asks for, to the bit: a thread of this process. */
#define THREAD_FLAGS                                                                                      \
    (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |    \
     CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)

static void set_limit(__rlimit_resource_t resource, rlim_t value)
{
    struct rlimit limit = {.rlim_cur = value, .rlim_max = value};
    struct rlimit old;
    if (getrlimit(resource, &old) == 0 && old.rlim_max != RLIM_INFINITY && old.rlim_max < value)
        limit.rlim_cur = limit.rlim_max = old.rlim_max; /* tighter already */
    setrlimit(resource, &limit);
}

/* The kernel counts a user's threads: in a namespace of its own they are those of this process alone. */
static void set_limits(enum qvl_sandbox_room room, bool has_own_user)
{
    if (!IS_SANITIZED)
        set_limit(RLIMIT_AS, QVL_MAX_MEDIA_HELPER_BYTES);
    set_limit(RLIMIT_CPU, room == QVL_ROOM_CLIP ? QVL_MAX_CLIP_HELPER_CPU_S : QVL_MAX_MEDIA_HELPER_CPU_S);
    set_limit(RLIMIT_NOFILE, MAX_OPEN);
    set_limit(RLIMIT_FSIZE, 0);
    if (room == QVL_ROOM_PICTURE)
        set_limit(RLIMIT_NPROC, 0);
    else if (has_own_user)
        set_limit(RLIMIT_NPROC, MAX_THREADS);
    set_limit(RLIMIT_CORE, 0);
    set_limit(RLIMIT_MEMLOCK, 0);
}

/* Denies every file and port right that the running kernel knows (by the version of its interface). */
static void enter_landlock(void)
{
    struct {
        uint64_t fs, net, scoped;
    } denied = {0};
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, 1ul /* ask for the version */);
    if (version < 1)
        return;
    denied.fs = version >= 5 ? 0xffff : version >= 3 ? 0x7fff : version == 2 ? 0x3fff : 0x1fff;
    denied.net = version >= 4 ? 3 : 0;
    denied.scoped = version >= 6 ? 3 : 0;
    long ruleset = syscall(SYS_landlock_create_ruleset, &denied, sizeof denied, 0ul);
    if (ruleset < 0)
        return;
    syscall(SYS_landlock_restrict_self, ruleset, 0ul);
    close((int)ruleset);
}

static bool allow(scmp_filter_ctx filter, int call)
{
    return seccomp_rule_add_exact(filter, SCMP_ACT_ALLOW, call, 0) == 0;
}

static bool allow_without_exec(scmp_filter_ctx filter, int call) /* mmap, mprotect: protection is argument 2 */
{
    return seccomp_rule_add_exact(filter, SCMP_ACT_ALLOW, call, 1,
                                  SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)) == 0;
}

static bool answer(scmp_filter_ctx filter, int error, int call)
{
    return seccomp_rule_add_exact(filter, SCMP_ACT_ERRNO((uint32_t)error), call, 0) == 0;
}

/* Threads, and an answer to what the C library and decoders try at a thread's start and can do without; rseq it
 * cannot, once the first thread has it (it names memory of the thread where the kernel writes the processor's
 * number). clone3 keeps its flags in memory, where a filter cannot look; without it the C library takes clone,
 * whose flags are argument 0 on x86-64 and AArch64. */
static bool allow_threads(scmp_filter_ctx filter)
{
    return seccomp_rule_add_exact(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                                  SCMP_A0(SCMP_CMP_EQ, THREAD_FLAGS, 0)) == 0 &&
           answer(filter, ENOSYS, SCMP_SYS(clone3)) && allow(filter, SCMP_SYS(rseq)) &&
           answer(filter, ENOSYS, SCMP_SYS(set_robust_list)) &&
           (IS_SANITIZED || (answer(filter, EPERM, SCMP_SYS(rt_sigaction)) &&
                             answer(filter, EPERM, SCMP_SYS(rt_sigprocmask)))) &&
           seccomp_rule_add_exact(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(prctl), 1,
                                  SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME, 0)) == 0;
}

static bool enter_seccomp(enum qvl_sandbox_room room)
{
    static const int calls[] = {
        SCMP_SYS(brk),     SCMP_SYS(munmap),       SCMP_SYS(mremap),          SCMP_SYS(madvise),
        SCMP_SYS(futex),   SCMP_SYS(recvmsg),      SCMP_SYS(close),           SCMP_SYS(fstat),
        SCMP_SYS(exit),    SCMP_SYS(exit_group),   SCMP_SYS(rt_sigreturn),    SCMP_SYS(restart_syscall),
        SCMP_SYS(getrandom), SCMP_SYS(clock_gettime), SCMP_SYS(pread64),
#if IS_SANITIZED
        SCMP_SYS(write),   SCMP_SYS(getpid),       SCMP_SYS(gettid),          SCMP_SYS(sigaltstack),
        SCMP_SYS(sched_yield), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(tgkill),
        SCMP_SYS(sched_getaffinity),
#endif
    };
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!filter)
        return false;
    bool is_ok = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) == 0;
    for (size_t i = 0; is_ok && i < sizeof calls / sizeof *calls; i++)
        is_ok = allow(filter, calls[i]);
    is_ok = is_ok && (room == QVL_ROOM_PICTURE || allow_threads(filter)) &&
            allow_without_exec(filter, SCMP_SYS(mmap)) &&
            allow_without_exec(filter, SCMP_SYS(mprotect)) &&
            seccomp_rule_add_exact(filter, SCMP_ACT_ALLOW, SCMP_SYS(sendmsg), 1,
                                   SCMP_A0(SCMP_CMP_EQ, QVL_MEDIA_SOCKET, 0)) == 0 &&
            seccomp_load(filter) == 0;
    seccomp_release(filter);
    return is_ok;
}

/* What a thread takes out of the memory limit by merely being there: a small stack, and no heap of its own, which
 * would be 64 MiB of address space and a look at the number of processors, in files. */
static void prepare_threads(void)
{
    pthread_attr_t attributes;
    mallopt(M_ARENA_MAX, 1);
    if (IS_SANITIZED || pthread_attr_init(&attributes) != 0)
        return;
    if (pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES) == 0)
        pthread_setattr_default_np(&attributes);
    pthread_attr_destroy(&attributes);
}

bool qvl_sandbox_enter(enum qvl_sandbox_room room)
{
    /* May be forbidden, which is why it is only the outermost layer. */
    bool has_own_user = unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWIPC |
                                (room == QVL_ROOM_PICTURE ? CLONE_NEWPID : 0)) == 0;
    if (room == QVL_ROOM_CLIP)
        prepare_threads();
    set_limits(room, has_own_user);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return false;
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    enter_landlock();
    return enter_seccomp(room);
}

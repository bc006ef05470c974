/* The cage of qvl-media.
 *
 * What leaves: a process that may compute, allocate, talk on one socket, map, read and close the descriptors that
 * it is sent, and exit. Layers, outer to inner; the last one alone is enough and is the one that must work, the others
 * stand behind it in case the kernel or the filter has a hole:
 *   1. namespaces of its own: no network devices, no other processes, no mounts to see (where allowed);
 *   2. resource limits: memory, processor time, descriptors, file size, processes, core dumps;
 *   3. no new privileges, not dumpable (so not readable through /proc), dies with its parent;
 *   4. Landlock: no path may be opened, no port bound or connected (where the kernel has it);
 *   5. seccomp: 18 system calls are allowed, two of them without PROT_EXEC; any other kills the process.
 * The order matters: a new user namespace resets 3, and nothing can be set up after 5.
 *
 * AddressSanitizer and ThreadSanitizer need huge reservations and a few calls more. Those builds leave out the
 * memory limit and add the calls below; they are for finding faults, not for use. */
#include "media/helper/sandbox.h"

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

enum { MAX_OPEN = 8 }; /* 0, 1, 2, the socket, and what one request brings */

static void set_limit(__rlimit_resource_t resource, rlim_t value)
{
    struct rlimit limit = {.rlim_cur = value, .rlim_max = value};
    struct rlimit old;
    if (getrlimit(resource, &old) == 0 && old.rlim_max != RLIM_INFINITY && old.rlim_max < value)
        limit.rlim_cur = limit.rlim_max = old.rlim_max; /* tighter already */
    setrlimit(resource, &limit);
}

static void set_limits(enum qvl_sandbox_room room)
{
    if (!IS_SANITIZED)
        set_limit(RLIMIT_AS, QVL_MAX_MEDIA_HELPER_BYTES);
    set_limit(RLIMIT_CPU, room == QVL_ROOM_CLIP ? QVL_MAX_CLIP_HELPER_CPU_S : QVL_MAX_MEDIA_HELPER_CPU_S);
    set_limit(RLIMIT_NOFILE, MAX_OPEN);
    set_limit(RLIMIT_FSIZE, 0);
    set_limit(RLIMIT_NPROC, 0);
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

static bool enter_seccomp(void)
{
    static const int calls[] = {
        SCMP_SYS(brk),     SCMP_SYS(munmap),       SCMP_SYS(mremap),          SCMP_SYS(madvise),
        SCMP_SYS(futex),   SCMP_SYS(recvmsg),      SCMP_SYS(close),           SCMP_SYS(fstat),
        SCMP_SYS(exit),    SCMP_SYS(exit_group),   SCMP_SYS(rt_sigreturn),    SCMP_SYS(restart_syscall),
        SCMP_SYS(getrandom), SCMP_SYS(clock_gettime), SCMP_SYS(pread64),
#if IS_SANITIZED
        SCMP_SYS(write),   SCMP_SYS(getpid),       SCMP_SYS(gettid),          SCMP_SYS(sigaltstack),
        SCMP_SYS(sched_yield), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(tgkill),
#endif
    };
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!filter)
        return false;
    bool is_ok = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) == 0;
    for (size_t i = 0; is_ok && i < sizeof calls / sizeof *calls; i++)
        is_ok = allow(filter, calls[i]);
    is_ok = is_ok && allow_without_exec(filter, SCMP_SYS(mmap)) &&
            allow_without_exec(filter, SCMP_SYS(mprotect)) &&
            seccomp_rule_add_exact(filter, SCMP_ACT_ALLOW, SCMP_SYS(sendmsg), 1,
                                   SCMP_A0(SCMP_CMP_EQ, QVL_MEDIA_SOCKET, 0)) == 0 &&
            seccomp_load(filter) == 0;
    seccomp_release(filter);
    return is_ok;
}

bool qvl_sandbox_enter(enum qvl_sandbox_room room)
{
    /* May be forbidden, which is why it is only the outermost layer. */
    unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC);
    set_limits(room);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return false;
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    enter_landlock();
    return enter_seccomp();
}

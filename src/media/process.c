/* One qvl-media process, seen from outside.
 *
 * Life: posix_spawn (which does not copy the page tables of a parent that maps a whole model), one socket, SIGKILL,
 * waitpid. Its descriptors are closed here and not there, so that nothing of ours ever reaches it. While it
 * works we look at the clock and at the caller's flag every POLL_MS. */
#include "media/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

enum { POLL_MS = 50, MAX_DYING_MS = 100 };

/* 0, 1, 2 are /dev/null, 3 is the socket, nothing else is open. */
static int add_descriptors(posix_spawn_file_actions_t *actions, int sock)
{
    int error = posix_spawn_file_actions_adddup2(actions, sock, QVL_MEDIA_SOCKET);
    for (int fd = 0; !error && fd < QVL_MEDIA_SOCKET; fd++)
        error = posix_spawn_file_actions_addopen(actions, fd, "/dev/null", O_RDWR, 0);
    return error ? error : posix_spawn_file_actions_addclosefrom_np(actions, QVL_MEDIA_SOCKET + 1);
}

/* Signals as a new program expects them, whatever this thread blocks or ignores. */
static int set_signals(posix_spawnattr_t *attributes)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int error = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    if (!error)
        error = posix_spawnattr_setsigmask(attributes, &none);
    return error ? error : posix_spawnattr_setsigdefault(attributes, &all);
}

static int spawn(const char *path, enum qvl_media_mode mode, int sock, pid_t *out_pid)
{
    char name[] = "qvl-media", av[] = "--av", clip[] = "--clip";
    char *argv[] = {name, mode == QVL_MODE_AV ? av : mode == QVL_MODE_CLIP ? clip : NULL, NULL};
    char *environment[] = {NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int error = posix_spawn_file_actions_init(&actions);
    if (error)
        return error;
    if ((error = posix_spawnattr_init(&attributes)) == 0) {
        if ((error = add_descriptors(&actions, sock)) == 0 && (error = set_signals(&attributes)) == 0)
            error = posix_spawn(out_pid, path, &actions, &attributes, argv, environment);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

enum qvl_media_outcome qvl_media_process_start(struct qvl_media_process *process, const char *path,
                                               enum qvl_media_mode mode)
{
    int socks[2];
    pid_t pid = 0;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks) != 0)
        return QVL_OUTCOME_NO_START;
    int error = spawn(path, mode, socks[1], &pid);
    close(socks[1]);
    if (error) {
        close(socks[0]);
        errno = error;
        return QVL_OUTCOME_NO_START;
    }
    *process = (struct qvl_media_process){.pid = pid, .sock = socks[0], .mode = mode, .exit_status = -1};
    return QVL_OUTCOME_ANSWER;
}

void qvl_media_process_stop(struct qvl_media_process *process)
{
    if (process->pid == 0)
        return;
    int status = -1;
    pid_t pid;
    kill(process->pid, SIGKILL); /* one that is already dead keeps its own status */
    do
        pid = waitpid(process->pid, &status, 0);
    while (pid < 0 && errno == EINTR);
    close(process->sock);
    *process = (struct qvl_media_process){.exit_status = pid > 0 ? status : -1};
}

static enum qvl_media_outcome give_up(struct qvl_media_process *process, enum qvl_media_outcome outcome)
{
    qvl_media_process_stop(process);
    return outcome;
}

/* The socket is closed: because the process has ended (which takes a moment to show), or to deceive us? */
static enum qvl_media_outcome after_hang_up(struct qvl_media_process *process)
{
    const struct timespec step = {.tv_nsec = 1000000};
    for (int i_ms = 0; i_ms < MAX_DYING_MS; i_ms++) {
        siginfo_t info = {0};
        if (waitid(P_PID, (id_t)process->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid != 0)
            return give_up(process, QVL_OUTCOME_DEAD);
        nanosleep(&step, NULL);
    }
    return give_up(process, QVL_OUTCOME_NONSENSE);
}

enum qvl_media_outcome qvl_media_process_receive(struct qvl_media_process *process,
                                                 const struct qvl_media_request *asked,
                                                 const struct qvl_media_wait *wait, struct qvl_media_reply *reply)
{
    struct pollfd ready = {.fd = process->sock, .events = POLLIN};
    for (;;) {
        if (wait->stop && atomic_load_explicit(wait->stop, memory_order_relaxed))
            return give_up(process, QVL_OUTCOME_STOPPED);
        if (qvl_now_ms() >= wait->deadline_ms)
            return give_up(process, QVL_OUTCOME_LATE);
        int n_ready = poll(&ready, 1, POLL_MS);
        if (n_ready > 0)
            break;
        if (n_ready < 0 && errno != EINTR)
            return give_up(process, QVL_OUTCOME_NONSENSE);
    }
    size_t n_fd = 0;
    ptrdiff_t n = qvl_media_receive(process->sock, reply, sizeof *reply, NULL, 0, &n_fd);
    if (n <= 0)
        return after_hang_up(process);
    if (!qvl_media_reply_is_valid(reply, (size_t)n, asked))
        return give_up(process, QVL_OUTCOME_NONSENSE);
    return QVL_OUTCOME_ANSWER;
}

enum qvl_media_outcome qvl_media_process_ask(struct qvl_media_process *process, struct qvl_media_request *request,
                                             const int *fds, size_t n_fd, const struct qvl_media_wait *wait,
                                             struct qvl_media_reply *reply)
{
    if (++process->serial == 0)
        process->serial = 1;
    request->magic = QVL_MEDIA_MAGIC;
    request->serial = process->serial;
    if (!qvl_media_send(process->sock, request, sizeof *request, fds, n_fd))
        return after_hang_up(process);
    return qvl_media_process_receive(process, request, wait, reply);
}

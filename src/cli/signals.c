/* The signals are blocked everywhere and taken by a thread of their own with sigwait, because cancelling a request
 * takes a lock, which a signal handler may not. A chat reads those that no request is there for from a pipe, which
 * it can poll together with the keyboard. */
#include "cli/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/exit_code.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct qvl_request *current;     /* under the lock, like the pipe's ends */
static void (*cancel_work)(void *work); /* instead of a request, or NULL */
static void *work;                      /* NULL where it is being opened */
static int chat_pipe[2] = {-1, -1};
static atomic_int cancelled_by;
static struct {
    bool is_there, is_waiting; /* is_waiting: for the first signal */
    void (*hang_up)(void *user);
    void *user;
    int n_end;            /* signals that said so */
    atomic_bool stop_now; /* the second one did; read without the lock */
    pthread_cond_t ended;
} server = {.ended = PTHREAD_COND_INITIALIZER}; /* under the lock */

/* To the chat. A pipe that is full has been told often enough. */
static void tell_chat(int signal_number)
{
    unsigned char byte = (unsigned char)signal_number;
    ssize_t n = write(chat_pipe[1], &byte, 1);
    (void)n;
}

/* Ctrl-C ends the answer, SIGTERM the answer and then the chat. */
static void take_in_chat(int signal_number)
{
    bool is_end = signal_number == SIGTERM;
    if (is_end && atomic_load(&cancelled_by))
        _exit(128 + signal_number);
    if (is_end)
        atomic_store(&cancelled_by, signal_number);
    if (current && (is_end || signal_number == SIGINT))
        qvl_request_cancel(current);
    if (!current || is_end)
        tell_chat(signal_number);
}

static void take_in_run(int signal_number)
{
    if (signal_number != SIGINT && signal_number != SIGTERM)
        return;
    if ((!current && !cancel_work) || atomic_load(&cancelled_by))
        _exit(128 + signal_number);
    atomic_store(&cancelled_by, signal_number);
    if (current)
        qvl_request_cancel(current);
    else if (work)
        cancel_work(work);
}

/* The first end lets the main thread drain; before it is there to do so nothing is under way. */
static void take_in_server(int signal_number)
{
    if (signal_number == SIGHUP && server.hang_up) {
        server.hang_up(server.user);
        return;
    }
    if (signal_number != SIGINT && signal_number != SIGTERM && signal_number != SIGHUP)
        return;
    if (!server.is_waiting && server.n_end == 0)
        _exit(QVL_EXIT_OK);
    if (server.n_end == 2)
        _exit(128 + signal_number);
    atomic_store(&server.stop_now, ++server.n_end > 1);
    pthread_cond_signal(&server.ended);
}

/* A terminal that is gone ends the program as if nobody had taken the signal. */
static void die_of(int signal_number)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal_number);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    raise(signal_number);
}

static void *wait_for_signals(void *arg)
{
    sigset_t *set = arg;
    for (;;) {
        int signal_number = 0;
        if (sigwait(set, &signal_number) != 0)
            return NULL;
        pthread_mutex_lock(&lock);
        if (server.is_there)
            take_in_server(signal_number);
        else if (signal_number == SIGHUP)
            die_of(signal_number);
        else if (chat_pipe[1] >= 0)
            take_in_chat(signal_number);
        else
            take_in_run(signal_number);
        pthread_mutex_unlock(&lock);
    }
}

/* SIGBUS: a page of a mapped file cannot be read any more. Only async-signal-safe calls. */
static void on_bus_error(int signal_number)
{
    static const char text[] = "\nqvl: a model file changed or could not be read while in use (SIGBUS)\n";
    (void)signal_number;
    ssize_t n = write(STDERR_FILENO, text, sizeof text - 1);
    (void)n;
    _exit(QVL_EXIT_INTERNAL);
}

void qvl_signals_open(void)
{
    static sigset_t set;
    struct sigaction hang_up;
    pthread_t thread;
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of write, told in a sentence */
    signal(SIGXFSZ, SIG_IGN); /* and so is a file that may not grow */
    signal(SIGBUS, on_bus_error);
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGWINCH);
    sigaddset(&set, SIGCONT);
    if (sigaction(SIGHUP, NULL, &hang_up) == 0 && hang_up.sa_handler != SIG_IGN)
        sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (pthread_create(&thread, NULL, wait_for_signals, &set) == 0)
        pthread_detach(thread);
    else
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

void qvl_signals_open_server(void (*hang_up)(void *user), void *user)
{
    pthread_mutex_lock(&lock);
    server.is_there = true;
    server.hang_up = hang_up;
    server.user = user;
    pthread_mutex_unlock(&lock);
}

void qvl_signals_wait_server(void)
{
    pthread_mutex_lock(&lock);
    server.is_waiting = true;
    while (server.n_end == 0)
        pthread_cond_wait(&server.ended, &lock);
    pthread_mutex_unlock(&lock);
}

const atomic_bool *qvl_signals_stop_now(void)
{
    return &server.stop_now;
}

static void do_nothing(void *user)
{
    (void)user;
}

void qvl_signals_close_server(void)
{
    pthread_mutex_lock(&lock);
    server.hang_up = do_nothing;
    pthread_mutex_unlock(&lock);
}

enum qvl_status qvl_signals_open_chat(int *out_fd, struct qvl_error *err)
{
    int end[2];
    if (pipe2(end, O_CLOEXEC | O_NONBLOCK) != 0)
        return qvl_fail(err, QVL_ERR_FILE, "cannot make a pipe: %s", qvl_errno_text(errno));
    pthread_mutex_lock(&lock);
    memcpy(chat_pipe, end, sizeof end);
    pthread_mutex_unlock(&lock);
    *out_fd = end[0];
    return QVL_OK;
}

void qvl_signals_close_chat(void)
{
    pthread_mutex_lock(&lock);
    for (int i = 0; i < 2; i++) {
        if (chat_pipe[i] >= 0)
            close(chat_pipe[i]);
        chat_pipe[i] = -1;
    }
    pthread_mutex_unlock(&lock);
}

void qvl_signals_set_request(struct qvl_request *request)
{
    pthread_mutex_lock(&lock);
    current = request;
    pthread_mutex_unlock(&lock);
}

void qvl_signals_set_work(void (*cancel)(void *work), void *what)
{
    pthread_mutex_lock(&lock);
    cancel_work = cancel;
    work = what;
    if (work && atomic_load(&cancelled_by))
        cancel_work(work);
    pthread_mutex_unlock(&lock);
}

int qvl_signals_exit_code(void)
{
    int signal_number = atomic_load(&cancelled_by);
    return signal_number ? 128 + signal_number : 0;
}

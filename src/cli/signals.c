/* SIGINT and SIGTERM are blocked everywhere and taken by a thread of their own with sigwait, because cancelling a
 * request takes a lock, which a signal handler may not. */
#include "cli/signals.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/exit_code.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct qvl_request *current; /* under the lock */
static atomic_int cancelled_by;

static void *wait_for_signals(void *arg)
{
    sigset_t *set = arg;
    for (;;) {
        int signal_number = 0;
        if (sigwait(set, &signal_number) != 0)
            return NULL;
        pthread_mutex_lock(&lock);
        if (!current || atomic_load(&cancelled_by))
            _exit(128 + signal_number);
        atomic_store(&cancelled_by, signal_number);
        qvl_request_cancel(current);
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
    pthread_t thread;
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of write, told in a sentence */
    signal(SIGBUS, on_bus_error);
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (pthread_create(&thread, NULL, wait_for_signals, &set) == 0)
        pthread_detach(thread);
    else
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

void qvl_signals_set_request(struct qvl_request *request)
{
    pthread_mutex_lock(&lock);
    current = request;
    pthread_mutex_unlock(&lock);
}

int qvl_signals_exit_code(void)
{
    int signal_number = atomic_load(&cancelled_by);
    return signal_number ? 128 + signal_number : 0;
}

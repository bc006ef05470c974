/* The watcher sleeps in epoll_wait until a watched socket hangs up, a deadline comes, or somebody wakes it
 * (event_fd). An event names a slot and its generation, never a pointer: between epoll_wait and the lock the
 * connection may have ended and its slot, and its descriptor, have been taken by another.
 *
 * It never closes a socket of libmicrohttpd's: it shuts it down, which that library sees and closes. Before a
 * request is whole only the reading half is shut down, so that a 408 can still be written (http.c, on_completed).
 */
#include "server/http_watch.h"

#include <errno.h>
#include <linux/sockios.h>
#include <math.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"

enum { N_EVENT = 64, LINGER_BIT = 0x8000, LAST_MS = 1000, TELL_AGAIN_MS = 20 };
#define WAKE UINT64_MAX

void qvl_http_watch_wake(struct qvl_http *http, double due_ms)
{
    if (due_ms >= http->watch.wake_ms)
        return;
    http->watch.wake_ms = due_ms;
    uint64_t one = 1;
    ssize_t ignored = write(http->watch.event_fd, &one, sizeof one); /* fails only where it is set already */
    (void)ignored;
}

static uint64_t name_of(uint32_t i, uint32_t generation)
{
    return (uint64_t)generation << 32 | i;
}

void qvl_http_watch_add(struct qvl_connection *c)
{
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.u64 = name_of(c->i_slot, c->generation)};
    if (!c->is_watched)
        c->is_watched = epoll_ctl(c->http->watch.epoll_fd, EPOLL_CTL_ADD, c->fd, &event) == 0;
}

void qvl_http_watch_remove(struct qvl_connection *c)
{
    if (c->is_watched)
        epoll_ctl(c->http->watch.epoll_fd, EPOLL_CTL_DEL, c->fd, NULL);
    c->is_watched = false;
}

void qvl_http_watch_call(struct qvl_exchange *x)
{
    if (x->is_to_call)
        return;
    x->is_to_call = true;
    x->next_to_call = x->http->watch.to_call;
    x->http->watch.to_call = x;
    qvl_http_watch_wake(x->http, 0);
}

void qvl_http_watch_take_back(struct qvl_exchange *x)
{
    struct qvl_http *http = x->http;
    x->gone = NULL;
    for (struct qvl_exchange **at = &http->watch.to_call; x->is_to_call; at = &(*at)->next_to_call) {
        if (*at != x)
            continue;
        *at = x->next_to_call;
        x->is_to_call = false;
        break;
    }
    while (x->is_calling_gone)
        pthread_cond_wait(&x->changed, &http->lock);
}

/* ---- deadlines -------------------------------------------------------------------------------------------- */

/* Does the client of a stream take something, if slowly? What is on its way is in the system's buffer, which says
 * that it has room only when much of it has. */
static bool is_moving(struct qvl_connection *c, double now_ms)
{
    int before = c->n_unacknowledged;
    if (c->phase != QVL_PHASE_STREAM || ioctl(c->fd, SIOCOUTQ, &c->n_unacknowledged) != 0)
        return false;
    bool has_moved = before == 0 || c->n_unacknowledged < before;
    c->due_ms = now_ms + c->http->limits.stall_ms / 2;
    return has_moved;
}

/* Tells libmicrohttpd, while it reads, that there is no more to read. It needs to be told again and again: it takes
 * an edge of epoll's, reads once, and so overlooks an end that lies behind data (0.9.75). Everything before the end
 * it still gets to read. */
static void end_reading(struct qvl_connection *c, double now_ms)
{
    shutdown(c->fd, SHUT_RD);
    c->due_ms = now_ms + TELL_AGAIN_MS;
}

void qvl_http_watch_hang_up(struct qvl_connection *c)
{
    if (c->phase >= QVL_PHASE_BUSY) {
        if (c->x)
            qvl_exchange_mark_gone(c->x);
        if (c->phase == QVL_PHASE_STREAM)
            shutdown(c->fd, SHUT_RDWR); /* it waits to write */
        return;
    }
    end_reading(c, qvl_now_ms());
}

static void cut(struct qvl_connection *c, double now_ms)
{
    if (c->is_hung_up && c->phase < QVL_PHASE_BUSY) {
        qvl_http_watch_hang_up(c);
        return;
    }
    if (is_moving(c, now_ms))
        return;
    if (c->phase != QVL_PHASE_CUT) {
        c->is_late = c->phase == QVL_PHASE_HEADERS || c->phase == QVL_PHASE_BODY;
        c->since_ms = now_ms;
        c->phase = QVL_PHASE_CUT;
        if (c->x)
            qvl_exchange_mark_gone(c->x);
    }
    if (c->is_late && now_ms < c->since_ms + LAST_MS) {
        end_reading(c, now_ms);
    } else {
        shutdown(c->fd, SHUT_RDWR);
        c->due_ms = now_ms + LAST_MS; /* once more, should this end be overlooked too */
    }
}

void qvl_http_watch_evict(struct qvl_http *http)
{
    struct qvl_connection *oldest = NULL;
    for (size_t i = 0; i < QVL_HTTP_SLOTS; i++) {
        struct qvl_connection *c = http->slot[i];
        if (!c || c->phase > QVL_PHASE_BODY)
            continue;
        bool is_idle = c->phase == QVL_PHASE_IDLE, is_oldest_idle = oldest && oldest->phase == QVL_PHASE_IDLE;
        if (!oldest || (is_idle && !is_oldest_idle) ||
            (is_idle == is_oldest_idle && c->since_ms < oldest->since_ms))
            oldest = c;
    }
    if (oldest) {
        shutdown(oldest->fd, SHUT_RDWR);
        qvl_connection_enter(oldest, QVL_PHASE_CUT, qvl_now_ms() + LAST_MS);
    }
}

/* ---- sockets that are kept a while ------------------------------------------------------------------------ */

static void end_linger(struct qvl_http *http, size_t i)
{
    epoll_ctl(http->watch.epoll_fd, EPOLL_CTL_DEL, http->watch.linger[i].fd, NULL);
    close(http->watch.linger[i].fd);
    http->watch.linger[i].fd = -1;
}

void qvl_http_watch_linger(struct qvl_http *http, int fd)
{
    for (size_t i = 0; i < QVL_MAX_HTTP_LINGER; i++) {
        if (http->watch.linger[i].fd >= 0)
            continue;
        int kept = dup(fd);
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = name_of((uint32_t)i | LINGER_BIT, 0)};
        if (kept < 0)
            return;
        if (epoll_ctl(http->watch.epoll_fd, EPOLL_CTL_ADD, kept, &event) != 0) {
            close(kept);
            return;
        }
        shutdown(kept, SHUT_WR);
        http->watch.linger[i].fd = kept;
        http->watch.linger[i].n_bytes = 0;
        http->watch.linger[i].due_ms = qvl_now_ms() + QVL_MAX_HTTP_LINGER_MS;
        qvl_http_watch_wake(http, http->watch.linger[i].due_ms);
        return;
    }
}

static void drain_linger(struct qvl_http *http, size_t i)
{
    char thrown_away[16384];
    int fd = http->watch.linger[i].fd;
    if (fd < 0)
        return;
    for (int n_turn = 0; n_turn < 16; n_turn++) { /* then others have their turn; epoll will say it again */
        ssize_t n = recv(fd, thrown_away, sizeof thrown_away, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n > 0)
            http->watch.linger[i].n_bytes += (uint64_t)n;
        if (n <= 0 || http->watch.linger[i].n_bytes > QVL_MAX_HTTP_LINGER_BYTES) {
            end_linger(http, i);
            return;
        }
    }
}

/* ---- the thread ------------------------------------------------------------------------------------------- */

/* Under the lock, which is let go during each call. */
static void call_gone(struct qvl_http *http)
{
    while (http->watch.to_call) {
        struct qvl_exchange *x = http->watch.to_call;
        http->watch.to_call = x->next_to_call;
        x->is_to_call = false;
        void (*gone)(void *user) = x->gone;
        if (gone) {
            x->gone = NULL;
            x->is_calling_gone = true; /* it is not freed before this is false again */
            pthread_mutex_unlock(&http->lock);
            gone(x->gone_user);
            pthread_mutex_lock(&http->lock);
            x->is_calling_gone = false;
            pthread_cond_broadcast(&x->changed);
        }
    }
}

static void handle_event(struct qvl_http *http, uint64_t name)
{
    uint32_t i = (uint32_t)name, generation = (uint32_t)(name >> 32);
    if (name == WAKE) {
        uint64_t ignored;
        ssize_t n = read(http->watch.event_fd, &ignored, sizeof ignored);
        (void)n;
    } else if (i & LINGER_BIT) {
        drain_linger(http, i & ~(uint32_t)LINGER_BIT);
    } else if (http->slot[i] && http->slot[i]->generation == generation) {
        http->slot[i]->is_hung_up = true;
        qvl_http_watch_hang_up(http->slot[i]);
    }
}

/* Cuts what is overdue; when the next is due. */
static double check_deadlines(struct qvl_http *http)
{
    double now_ms = qvl_now_ms(), next_ms = HUGE_VAL;
    for (size_t i = 0; i < QVL_HTTP_SLOTS; i++) {
        struct qvl_connection *c = http->slot[i];
        if (c && c->due_ms <= now_ms)
            cut(c, now_ms);
        if (c && c->due_ms < next_ms)
            next_ms = c->due_ms;
    }
    for (size_t i = 0; i < QVL_MAX_HTTP_LINGER; i++) {
        if (http->watch.linger[i].fd >= 0 && http->watch.linger[i].due_ms <= now_ms)
            end_linger(http, i);
        if (http->watch.linger[i].fd >= 0 && http->watch.linger[i].due_ms < next_ms)
            next_ms = http->watch.linger[i].due_ms;
    }
    return next_ms;
}

static int to_timeout(double due_ms)
{
    double left_ms = due_ms - qvl_now_ms();
    return due_ms == HUGE_VAL ? -1 : left_ms <= 0 ? 0 : left_ms > 3600e3 ? 3600000 : (int)left_ms + 1;
}

static void *run(void *arg)
{
    struct qvl_http *http = arg;
    struct epoll_event event[N_EVENT];
    pthread_mutex_lock(&http->lock);
    while (!http->watch.must_stop) {
        double next_ms;
        do {
            call_gone(http); /* lets the lock go, so that deadlines are looked at after it */
            next_ms = check_deadlines(http);
        } while (http->watch.to_call);
        http->watch.wake_ms = next_ms;
        pthread_mutex_unlock(&http->lock);
        int n = epoll_wait(http->watch.epoll_fd, event, N_EVENT, to_timeout(next_ms));
        pthread_mutex_lock(&http->lock);
        for (int i = 0; i < n; i++)
            handle_event(http, event[i].data.u64);
    }
    pthread_mutex_unlock(&http->lock);
    return NULL;
}

enum qvl_status qvl_http_watch_start(struct qvl_http *http, struct qvl_error *err)
{
    for (size_t i = 0; i < QVL_MAX_HTTP_LINGER; i++)
        http->watch.linger[i].fd = -1;
    http->watch.wake_ms = 0;
    http->watch.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    http->watch.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = WAKE};
    if (http->watch.epoll_fd >= 0 && http->watch.event_fd >= 0 &&
        epoll_ctl(http->watch.epoll_fd, EPOLL_CTL_ADD, http->watch.event_fd, &event) == 0 &&
        pthread_create(&http->watch.thread, NULL, run, http) == 0)
        return QVL_OK;
    int code = errno;
    if (http->watch.epoll_fd >= 0)
        close(http->watch.epoll_fd);
    if (http->watch.event_fd >= 0)
        close(http->watch.event_fd);
    return qvl_fail(err, QVL_ERR_INTERNAL, "the server's threads cannot be started: %s", qvl_errno_text(code));
}

void qvl_http_watch_stop(struct qvl_http *http)
{
    pthread_mutex_lock(&http->lock);
    http->watch.must_stop = true;
    http->watch.wake_ms = HUGE_VAL;
    qvl_http_watch_wake(http, 0);
    pthread_mutex_unlock(&http->lock);
    pthread_join(http->watch.thread, NULL);
    for (size_t i = 0; i < QVL_MAX_HTTP_LINGER; i++)
        if (http->watch.linger[i].fd >= 0)
            end_linger(http, i);
    close(http->watch.event_fd);
    close(http->watch.epoll_fd);
}

/* DESIGN. One lock for everything here: what it guards are lists of at most a few hundred entries, and an answer
 * takes milliseconds to minutes.
 *
 * A lane has a list of the clients that wait in it or are served by it, each with its own queue, first in, first
 * out. A free thread takes from the client that has the fewest running; among equals from the one that has not been
 * served for longest (the list is in that order). So a client that asks for a thousand things at once gets the
 * whole machine while it is alone, and its share as soon as another one comes.
 *
 * A thread is held as long as its answer lasts, which may be minutes. So beside the threads for everybody there are
 * some, a quarter as many, for those of whom nothing runs: else one client's long answers on all threads would keep
 * every other one waiting for the first of them to end.
 *
 * Room to wait is shared out, too: a client may have at most three times as many waiting as there are places left.
 * One alone can take three quarters of the queue, never all of it, so that the next one is not turned away because
 * of it. */
#include "server/work.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/wait.h"

enum { WAIT_LOOK_MS = 50, MAX_RETRY_S = 60, FOR_NEWCOMERS = 4 /* threads for everybody for each one of these */ };

struct job {
    const struct qvl_route *route;
    void *user;
    struct qvl_exchange *x;
    double added_ms; /* clock.h */
    struct job *next;
};

static _Thread_local double waited_ms; /* of the job that this thread runs */

struct client {
    uint64_t id;
    struct job *first, *last; /* waiting */
    size_t n_waiting, n_running;
    struct client *next;
};

struct lane {
    struct qvl_work *work;
    struct client *first; /* the one that was not served for longest */
    size_t n_waiting, n_running;
    size_t n_common; /* up to so many run, whoever asks; above, one of a client */
    bool is_open;    /* its threads may take */
    pthread_cond_t is_there;
    double answer_ms; /* how long answers took, a running mean; 0: there was none */
};

struct qvl_work {
    pthread_mutex_t lock; /* of all below */
    struct lane model, light;
    pthread_cond_t has_ended; /* an answer */
    bool is_closed;           /* takes nothing in */
    bool is_over;             /* threads are to end */
    uint32_t n_queue, n_model_thread;
    pthread_t *thread; /* [n_thread] */
    size_t n_thread;
};

/* ---- clients of a lane --------------------------------------------------------------------------- */

static struct client *find_client(struct lane *lane, uint64_t id)
{
    struct client *c = lane->first;
    while (c && c->id != id)
        c = c->next;
    return c;
}

/* At the end of the list: served last. */
static void append_client(struct lane *lane, struct client *client)
{
    struct client **end = &lane->first;
    while (*end)
        end = &(*end)->next;
    client->next = NULL;
    *end = client;
}

static void take_out(struct lane *lane, struct client *client)
{
    struct client **at = &lane->first;
    while (*at != client)
        at = &(*at)->next;
    *at = client->next;
}

static void forget_if_idle(struct lane *lane, struct client *client)
{
    if (client->first || client->n_running > 0)
        return;
    take_out(lane, client);
    free(client);
}

/* The one whose turn it is, or NULL where nobody waits who may begin. */
static struct client *choose_client(const struct lane *lane)
{
    struct client *best = NULL;
    for (struct client *c = lane->first; c; c = c->next)
        if (c->first && (!best || c->n_running < best->n_running))
            best = c;
    return best && (best->n_running == 0 || lane->n_running < lane->n_common) ? best : NULL;
}

static struct job *pop_job(struct lane *lane, struct client *client)
{
    struct job *job = client->first;
    client->first = job->next;
    if (!client->first)
        client->last = NULL;
    client->n_waiting--;
    lane->n_waiting--;
    return job;
}

/* ---- threads ------------------------------------------------------------------------------------- */

static struct job *begin_job(struct lane *lane, struct client *client)
{
    struct job *job = pop_job(lane, client);
    client->n_running++;
    lane->n_running++;
    take_out(lane, client);
    append_client(lane, client);
    return job;
}

static void end_job(struct lane *lane, struct client *client, double ms)
{
    client->n_running--;
    lane->n_running--;
    lane->answer_ms += (ms - lane->answer_ms) * (lane->answer_ms > 0 ? 0.1 : 1);
    forget_if_idle(lane, client);
    pthread_cond_broadcast(&lane->work->has_ended);
}

static void *run_lane(void *arg)
{
    struct lane *lane = arg;
    struct qvl_work *work = lane->work;
    pthread_mutex_lock(&work->lock);
    while (!work->is_over) {
        struct client *client = lane->is_open ? choose_client(lane) : NULL;
        if (!client) {
            pthread_cond_wait(&lane->is_there, &work->lock);
            continue;
        }
        struct job *job = begin_job(lane, client);
        pthread_mutex_unlock(&work->lock);
        double start_ms = qvl_now_ms();
        waited_ms = start_ms - job->added_ms;
        job->route->answer(job->user, job->x);
        free(job);
        double ms = qvl_now_ms() - start_ms;
        pthread_mutex_lock(&work->lock);
        end_job(lane, client, ms);
    }
    pthread_mutex_unlock(&work->lock);
    return NULL;
}

static enum qvl_status start_threads(struct qvl_work *work, uint32_t n_model, struct qvl_error *err)
{
    work->thread = calloc((size_t)n_model + 1, sizeof *work->thread);
    if (!work->thread)
        return qvl_fail_memory(err, (n_model + 1) * sizeof *work->thread, "threads");
    for (; work->n_thread <= n_model; work->n_thread++) {
        struct lane *lane = work->n_thread < n_model ? &work->model : &work->light;
        int code = pthread_create(&work->thread[work->n_thread], NULL, run_lane, lane);
        if (code)
            return qvl_fail(err, QVL_ERR_MEMORY, "cannot start a thread: %s", qvl_errno_text(code));
    }
    return QVL_OK;
}

enum qvl_status qvl_work_open(const struct qvl_work_options *options, struct qvl_work **out, struct qvl_error *err)
{
    struct qvl_work *work = calloc(1, sizeof *work);
    if (!work)
        return qvl_fail_memory(err, sizeof *work, "the queue");
    work->n_queue = options->n_queue;
    work->n_model_thread = options->n_thread;
    work->model.work = work->light.work = work;
    work->model.n_common = options->n_thread;
    work->light.n_common = 1;
    work->light.is_open = true;
    pthread_mutex_init(&work->lock, NULL);
    pthread_cond_init(&work->model.is_there, NULL);
    pthread_cond_init(&work->light.is_there, NULL);
    qvl_wait_init(&work->has_ended);
    if (start_threads(work, options->n_thread + options->n_thread / FOR_NEWCOMERS, err)) {
        qvl_work_close(work);
        return err->status;
    }
    *out = work;
    return QVL_OK;
}

void qvl_work_close(struct qvl_work *work)
{
    if (!work)
        return;
    pthread_mutex_lock(&work->lock);
    work->is_over = work->is_closed = true;
    pthread_cond_broadcast(&work->model.is_there);
    pthread_cond_broadcast(&work->light.is_there);
    pthread_mutex_unlock(&work->lock);
    for (size_t i = 0; i < work->n_thread; i++)
        pthread_join(work->thread[i], NULL);
    pthread_cond_destroy(&work->has_ended);
    pthread_cond_destroy(&work->light.is_there);
    pthread_cond_destroy(&work->model.is_there);
    pthread_mutex_destroy(&work->lock);
    free(work->thread);
    free(work);
}

/* ---- taking in ----------------------------------------------------------------------------------- */

static bool has_room(const struct qvl_work *work, const struct lane *lane, const struct client *client)
{
    size_t n_left = lane->n_waiting < work->n_queue ? work->n_queue - lane->n_waiting : 0;
    return n_left > 0 && (client ? client->n_waiting : 0) < 3 * n_left;
}

/* Under the lock. Takes the job, or not. */
static bool add_job(struct qvl_work *work, struct lane *lane, uint64_t id, struct job *job)
{
    struct client *client = find_client(lane, id);
    if (work->is_closed || !has_room(work, lane, client))
        return false;
    if (!client) {
        client = calloc(1, sizeof *client);
        if (!client)
            return false;
        client->id = id;
        append_client(lane, client);
    }
    if (client->last)
        client->last->next = job;
    else
        client->first = job;
    client->last = job;
    client->n_waiting++;
    lane->n_waiting++;
    pthread_cond_signal(&lane->is_there);
    return true;
}

bool qvl_work_add(struct qvl_work *work, const struct qvl_route *route, void *user, struct qvl_exchange *x)
{
    struct lane *lane = route->lane == QVL_LANE_MODEL ? &work->model : &work->light;
    struct job *job = calloc(1, sizeof *job);
    if (!job)
        return false;
    *job = (struct job){route, user, x, qvl_now_ms(), NULL};
    pthread_mutex_lock(&work->lock);
    bool is_taken = add_job(work, lane, qvl_exchange_request(x)->client, job);
    pthread_mutex_unlock(&work->lock);
    if (!is_taken)
        free(job);
    return is_taken;
}

double qvl_work_waited_ms(void)
{
    return waited_ms;
}

void qvl_work_start(struct qvl_work *work)
{
    pthread_mutex_lock(&work->lock);
    work->model.is_open = true;
    pthread_cond_broadcast(&work->model.is_there);
    pthread_mutex_unlock(&work->lock);
}

/* By then a quarter of those that wait should have begun. */
static unsigned retry_after_s(const struct qvl_work *work)
{
    double s = work->model.answer_ms * 1e-3 * (double)work->model.n_waiting / work->n_model_thread / 4;
    return (unsigned)fmin(MAX_RETRY_S, fmax(1, ceil(s)));
}

void qvl_work_count(struct qvl_work *work, struct qvl_work_count *out)
{
    pthread_mutex_lock(&work->lock);
    *out = (struct qvl_work_count){work->model.n_waiting, work->model.n_running, retry_after_s(work)};
    pthread_mutex_unlock(&work->lock);
}

/* ---- coming to an end ---------------------------------------------------------------------------- */

static bool is_idle(const struct qvl_work *work)
{
    return work->model.n_waiting + work->model.n_running + work->light.n_waiting + work->light.n_running == 0;
}

bool qvl_work_wait(struct qvl_work *work, double deadline_ms, const atomic_bool *stop_now)
{
    pthread_mutex_lock(&work->lock);
    while (!is_idle(work) && qvl_now_ms() < deadline_ms && !(stop_now && atomic_load(stop_now)))
        qvl_wait_for(&work->has_ended, &work->lock, WAIT_LOOK_MS);
    bool is_done = is_idle(work);
    pthread_mutex_unlock(&work->lock);
    return is_done;
}

/* All that wait in a lane, as one list; under the lock. */
static struct job *take_all(struct lane *lane)
{
    struct job *list = NULL;
    for (struct client *c = lane->first, *next; c; c = next) {
        next = c->next;
        while (c->first) {
            struct job *job = pop_job(lane, c);
            job->next = list;
            list = job;
        }
        forget_if_idle(lane, c);
    }
    return list;
}

void qvl_work_drop(struct qvl_work *work, void (*refuse)(void *user, struct qvl_exchange *x), void *user)
{
    struct job *list[2];
    pthread_mutex_lock(&work->lock);
    work->is_closed = true;
    list[0] = take_all(&work->model);
    list[1] = take_all(&work->light);
    pthread_mutex_unlock(&work->lock);
    for (int i = 0; i < 2; i++)
        for (struct job *job = list[i], *next; job; job = next) {
            next = job->next;
            refuse(user, job->x);
            free(job);
        }
}

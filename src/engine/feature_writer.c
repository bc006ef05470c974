/* A queue and a thread that empties it in order. Features are not copied: they do not change any more, and are
 * counted.
 *
 * Why a thread: the scheduler's would keep streams waiting for the disk, the caller's would be late with the next
 * token; the pool has no idle moments while anybody is answered. The thread sleeps nearly always, and when it does
 * not, the system gives it less of a processor than those that compute. */
#include "engine/feature_writer.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/limits.h"

enum { NICENESS = 10 };

struct job {
    struct job *next;
    struct qvl_patch_features *patch;
    enum qvl_feature_use use;
};

struct qvl_feature_writer {
    struct qvl_feature_folder *folder;
    void (*tell)(void *arg, const char *sentence);
    void *tell_arg;
    bool has_told; /* the thread's */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under the lock */
    struct job *first, **last;
    size_t n_bytes[QVL_N_FEATURE_USE]; /* of all jobs of that use, the one under way included */
    bool is_closing;
};

static size_t bytes_of(const struct job *job)
{
    return job->patch->features.arena.used_bytes;
}

static void keep(struct qvl_feature_writer *w, const struct qvl_patch_features *patch)
{
    struct qvl_error err = {0};
    if (!qvl_feature_folder_keep(w->folder, &patch->key, &patch->features, &err) || w->has_told)
        return;
    w->has_told = true;
    w->tell(w->tell_arg, err.text);
}

static void *writer_main(void *arg)
{
    struct qvl_feature_writer *w = arg;
    setpriority(PRIO_PROCESS, 0, NICENESS); /* on Linux: of this thread */
    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (!w->first && !w->is_closing)
            pthread_cond_wait(&w->changed, &w->lock);
        struct job *job = w->first;
        if (!job)
            break;
        w->first = job->next;
        if (!w->first)
            w->last = &w->first;
        pthread_mutex_unlock(&w->lock);
        keep(w, job->patch);
        size_t n_bytes = bytes_of(job);
        enum qvl_feature_use use = job->use;
        qvl_patch_features_release(job->patch); /* may be the last user's, which takes long: without the lock */
        free(job);
        pthread_mutex_lock(&w->lock);
        w->n_bytes[use] -= n_bytes;
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

enum qvl_status qvl_feature_writer_open(struct qvl_feature_folder *folder,
                                        void (*tell)(void *arg, const char *sentence), void *tell_arg,
                                        struct qvl_feature_writer **out, struct qvl_error *err)
{
    struct qvl_feature_writer *w = calloc(1, sizeof *w);
    if (!w)
        return qvl_fail_memory(err, sizeof *w, "the cache of picture features");
    w->folder = folder;
    w->tell = tell;
    w->tell_arg = tell_arg;
    w->last = &w->first;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    int code = pthread_create(&w->thread, NULL, writer_main, w);
    if (code != 0) {
        pthread_mutex_destroy(&w->lock);
        pthread_cond_destroy(&w->changed);
        free(w);
        return qvl_fail(err, QVL_ERR_MEMORY, "cannot start a thread: %s", qvl_errno_text(code));
    }
    *out = w;
    return QVL_OK;
}

void qvl_feature_writer_close(struct qvl_feature_writer *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->is_closing = true;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->changed);
    free(w);
}

void qvl_feature_writer_add(struct qvl_feature_writer *w, struct qvl_patch_features *patch, enum qvl_feature_use use)
{
    struct job *job = calloc(1, sizeof *job);
    if (!job)
        return;
    job->patch = patch;
    job->use = use;
    size_t n_bytes = bytes_of(job);
    pthread_mutex_lock(&w->lock);
    bool is_wanted = w->n_bytes[use] == 0 || w->n_bytes[use] + n_bytes <= QVL_MAX_UNWRITTEN_BYTES;
    if (is_wanted) {
        qvl_patch_features_acquire(patch);
        w->n_bytes[use] += n_bytes;
        *w->last = job;
        w->last = &job->next;
        pthread_cond_signal(&w->changed);
    }
    pthread_mutex_unlock(&w->lock);
    if (!is_wanted)
        free(job);
}

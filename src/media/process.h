/* process.h: one qvl-media process: start it, ask it, end it.
 *
 * The process is treated as an enemy that has already been taken over: it can say anything, at any time, or
 * nothing. Whatever is not the one expected reply ends it. No function here writes a sentence; media.c does. */
#ifndef QVL_MEDIA_PROCESS_H
#define QVL_MEDIA_PROCESS_H

#include <stdatomic.h>
#include <sys/types.h>

#include "media/protocol.h"

/* What a process can do besides JPEG, PNG and WebP; its limits go with it. */
enum qvl_media_mode {
    QVL_MODE_PLAIN,
    QVL_MODE_AV,  /* the pictures of the module; everything of PLAIN */
    QVL_MODE_CLIP /* one clip, and no pictures */
};

/* A zeroed struct is "not running". */
struct qvl_media_process {
    pid_t pid; /* 0: not running */
    int sock;
    enum qvl_media_mode mode;
    uint32_t serial; /* of the last request */
    int exit_status; /* as waitpid gives it, of the last process that was stopped or died; -1 unknown */
};

struct qvl_media_wait {
    double deadline_ms;      /* on the clock of base/clock.h */
    const atomic_bool *stop; /* may be NULL */
};

enum qvl_media_outcome {
    QVL_OUTCOME_ANSWER,
    QVL_OUTCOME_DEAD,     /* it ended by itself: exit_status says how */
    QVL_OUTCOME_LATE,
    QVL_OUTCOME_STOPPED,  /* wait.stop became true */
    QVL_OUTCOME_NONSENSE, /* it broke the protocol */
    QVL_OUTCOME_NO_START  /* errno says why */
};

/* Starts path with an empty environment and no descriptors but the socket. Does not wait for HELLO. */
enum qvl_media_outcome qvl_media_process_start(struct qvl_media_process *process, const char *path,
                                               enum qvl_media_mode mode);
/* Receives the reply to `asked`. After any outcome but ANSWER the process is gone. */
enum qvl_media_outcome qvl_media_process_receive(struct qvl_media_process *process,
                                                 const struct qvl_media_request *asked,
                                                 const struct qvl_media_wait *wait, struct qvl_media_reply *reply);
/* Fills in magic and serial, sends, and receives the reply. */
enum qvl_media_outcome qvl_media_process_ask(struct qvl_media_process *process, struct qvl_media_request *request,
                                             const int *fds, size_t n_fd, const struct qvl_media_wait *wait,
                                             struct qvl_media_reply *reply);
/* Kills and reaps it. Not running: nothing happens. */
void qvl_media_process_stop(struct qvl_media_process *process);

#endif

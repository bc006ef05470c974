/* exit_code.h: what `qvl` returns to the shell (README, "Exit codes"). 8 and 75 are kept for batches. */
#ifndef QVL_CLI_EXIT_CODE_H
#define QVL_CLI_EXIT_CODE_H

#include "qvl.h"

enum qvl_exit {
    QVL_EXIT_OK = 0,
    QVL_EXIT_FAILURE = 1,  /* an output cannot be written, qvl-media is missing; what has no code of its own */
    QVL_EXIT_USAGE = 2,
    QVL_EXIT_MODEL = 3,    /* missing or unusable */
    QVL_EXIT_MEDIA = 4,    /* missing or unreadable */
    QVL_EXIT_FIT = 5,      /* context or memory too small */
    QVL_EXIT_NETWORK = 6,  /* no good answer came from there, however often was asked: later it may */
    QVL_EXIT_INTERNAL = 70, /* EX_SOFTWARE: also a model file changed while in use */
    QVL_EXIT_CANCELLED = 130
};

/* `file`: what an unreadable file means at this point. */
static inline enum qvl_exit qvl_exit_of(enum qvl_status status, enum qvl_exit file)
{
    switch (status) {
    case QVL_OK: return QVL_EXIT_OK;
    case QVL_ERR_ARGUMENT: return QVL_EXIT_USAGE;
    case QVL_ERR_FILE: return file;
    case QVL_ERR_MODEL: return QVL_EXIT_MODEL;
    case QVL_ERR_MEDIA: return QVL_EXIT_MEDIA;
    case QVL_ERR_LIMIT:
    case QVL_ERR_MEMORY: return QVL_EXIT_FIT;
    case QVL_ERR_CANCELLED: return QVL_EXIT_CANCELLED;
    case QVL_ERR_INTERNAL: return QVL_EXIT_INTERNAL;
    }
    return QVL_EXIT_INTERNAL;
}

#endif

/* sandbox.h: how qvl-media gives up every right that decoding does not need. */
#ifndef QVL_MEDIA_HELPER_SANDBOX_H
#define QVL_MEDIA_HELPER_SANDBOX_H

#include <stdbool.h>

/* Locks the calling process in, for good: from here on it can use its memory, its open descriptors and the
 * socket QVL_MEDIA_SOCKET, and dies on anything else. False when the system call filter cannot be set; the
 * process must then not read any input. */
bool qvl_sandbox_enter(void);

#endif

/* sandbox.h: how qvl-media gives up every right that decoding does not need. */
#ifndef QVL_MEDIA_HELPER_SANDBOX_H
#define QVL_MEDIA_HELPER_SANDBOX_H

#include <stdbool.h>

/* Processor time: enough for a picture, or for a clip from its first frame to its last. */
enum qvl_sandbox_room { QVL_ROOM_PICTURE, QVL_ROOM_CLIP };

/* Locks the calling process in, for good: from here on it can use its memory, read its open descriptors and
 * use the socket QVL_MEDIA_SOCKET, and dies on anything else. False when the system call filter cannot be set; the
 * process must then not read any input. */
bool qvl_sandbox_enter(enum qvl_sandbox_room room);

#endif

/* arena.h: memory that is thrown away whole. Model, request, decoder and vision tower each own one
 * (ARCHITECTURE.md, "Three lifetimes"). Blocks come from mmap, so a freed arena returns its memory to the system at
 * once. */
#ifndef QVL_BASE_ARENA_H
#define QVL_BASE_ARENA_H

#include "base/error.h"

struct qvl_arena_block;

struct qvl_arena {
    struct qvl_arena_block *top; /* newest block; NULL when empty */
    size_t used_bytes;           /* sum of what was handed out */
};

/* A zeroed struct is an empty arena. */

/* count * size bytes aligned to 64, all zero. count * size == 0 gives a valid pointer. NULL on failure, with *err
 * written; `purpose` names the use. */
void *qvl_arena_alloc(struct qvl_arena *arena, size_t count, size_t size, const char *purpose,
                      struct qvl_error *err);
/* n bytes of s and a final NUL. */
char *qvl_arena_copy_text(struct qvl_arena *arena, const char *s, size_t n, struct qvl_error *err);
/* The formatted text and a final NUL. */
char *qvl_arena_format(struct qvl_arena *arena, struct qvl_error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void qvl_arena_free(struct qvl_arena *arena);

#endif

/* Blocks are chained newest first. A request larger than what is left of the top block opens a new one, as
 * large as all before together (at least MIN_BLOCK, at most MAX_GROWTH) or as the request, if that is larger. */
#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/checked.h"

enum { ALIGN = 64, MIN_BLOCK = 256 * 1024, MAX_GROWTH = 64 << 20 };

struct qvl_arena_block {
    struct qvl_arena_block *below;
    size_t size_bytes; /* of the whole mapping, this header included */
    size_t used_bytes; /* from the start of the mapping */
    char pad[ALIGN - 3 * sizeof(size_t)];
};

static struct qvl_arena_block *map_block(size_t size_bytes, struct qvl_arena_block *below)
{
    void *p = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    struct qvl_arena_block *block = p;
    block->below = below;
    block->size_bytes = size_bytes;
    block->used_bytes = sizeof *block;
    return block;
}

static void unmap_chain(struct qvl_arena_block *block)
{
    while (block) {
        struct qvl_arena_block *below = block->below;
        munmap(block, block->size_bytes);
        block = below;
    }
}

void *qvl_arena_alloc(struct qvl_arena *arena, size_t count, size_t size, const char *purpose,
                      struct qvl_error *err)
{
    size_t n = 0, need = 0;
    if (!qvl_mul_size(count, size, &n) || !qvl_add_size(n, ALIGN - 1, &n)) {
        qvl_fail_memory(err, SIZE_MAX, purpose);
        return NULL;
    }
    n = n / ALIGN * ALIGN;
    struct qvl_arena_block *top = arena->top;
    if (!top || n > top->size_bytes - top->used_bytes) {
        size_t grow = qvl_min_size(arena->used_bytes, MAX_GROWTH);
        if (grow < MIN_BLOCK)
            grow = MIN_BLOCK;
        if (!qvl_add_size(n < grow ? grow : n, sizeof *top + 4095, &need) ||
            !(top = map_block(need / 4096 * 4096, arena->top))) {
            qvl_fail_memory(err, n, purpose);
            return NULL;
        }
        arena->top = top;
    }
    void *p = (char *)top + top->used_bytes;
    top->used_bytes += n;
    arena->used_bytes += n;
    return p;
}

char *qvl_arena_copy_text(struct qvl_arena *arena, const char *s, size_t n, struct qvl_error *err)
{
    size_t with_nul = 0;
    if (!qvl_add_size(n, 1, &with_nul))
        with_nul = SIZE_MAX;
    char *copy = qvl_arena_alloc(arena, with_nul, 1, "text", err);
    if (!copy)
        return NULL;
    if (n)
        memcpy(copy, s, n);
    copy[n] = 0;
    return copy;
}

char *qvl_arena_format(struct qvl_arena *arena, struct qvl_error *err, const char *format, ...)
{
    va_list args, again;
    char *text = NULL;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    if (n < 0)
        qvl_fail(err, QVL_ERR_INTERNAL, "cannot format a text");
    else if ((text = qvl_arena_alloc(arena, (size_t)n + 1, 1, "text", err)))
        vsnprintf(text, (size_t)n + 1, format, again);
    va_end(again);
    va_end(args);
    return text;
}

void qvl_arena_free(struct qvl_arena *arena)
{
    unmap_chain(arena->top);
    *arena = (struct qvl_arena){0};
}

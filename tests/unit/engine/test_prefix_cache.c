/* The tree of blocks: what is found, what is shared, what goes first, and that nothing is lost: every block is
 * counted. */
#include "engine/prefix_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

static atomic_size_t n_live;

static struct qvl_kv_block *new_block(void)
{
    struct qvl_kv_block *block = calloc(1, sizeof *block);
    assert_non_null(block);
    block->n_bytes = 4096;
    block->data = mmap(NULL, block->n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(block->data != MAP_FAILED);
    atomic_init(&block->n_user, 1);
    block->n_live = &n_live;
    atomic_fetch_add(&n_live, 1);
    return block;
}

/* The keys of a chain by its letters, a block each: "ab" is b after a, and not the b of "cb". A digit is a block of
 * which n_other positions are as in the block of the letter a, and then others. */
static const struct qvl_prefix_key *keys(const char *chain, size_t n_other)
{
    static struct qvl_prefix_key key[4][16 * QVL_KV_BLOCK];
    static size_t turn;
    struct qvl_prefix_key *out = key[turn++ % 4];
    memset(out, 0, sizeof key[0]);
    for (size_t i = 0; chain[i]; i++)
        for (size_t k = 0; k < QVL_KV_BLOCK; k++) {
            uint8_t *name = out[i * QVL_KV_BLOCK + k].sha256;
            memcpy(name, chain, i + 1);
            if (chain[i] >= '0' && chain[i] <= '9' && k < n_other)
                name[i] = 'a';
            name[31] = (uint8_t)(k + 1);
        }
    return out;
}

/* Adds all blocks of a chain, and holds the last one. */
static struct qvl_prefix_node *add(struct qvl_prefix_cache *cache, const char *chain)
{
    struct qvl_prefix_node *held = NULL;
    for (size_t i = 0; chain[i]; i++) {
        struct qvl_kv_block *block = new_block();
        held = qvl_prefix_cache_add(cache, held, &keys(chain, 0)[i * QVL_KV_BLOCK], block);
        assert_non_null(held);
        assert_int_equal(held->n_above, i);
        qvl_kv_block_release(block);
    }
    return held;
}

static void leave(struct qvl_prefix_cache *cache, const char *chain)
{
    qvl_prefix_cache_release(cache, add(cache, chain));
}

static size_t count(struct qvl_prefix_cache *cache, const char *chain)
{
    size_t n = qvl_prefix_cache_count(cache, keys(chain, 0), strlen(chain) * QVL_KV_BLOCK);
    assert_int_equal(n % QVL_KV_BLOCK, 0);
    return n / QVL_KV_BLOCK;
}

static struct qvl_prefix_cache *open_cache(size_t n_kept)
{
    struct qvl_prefix_cache *cache = NULL;
    struct qvl_error err = {0};
    assert_int_equal(qvl_prefix_cache_open(n_kept, &cache, &err), QVL_OK);
    assert_int_equal(n_live, 0);
    return cache;
}

static void close_cache(struct qvl_prefix_cache *cache)
{
    qvl_prefix_cache_close(cache);
    assert_int_equal(n_live, 0);
}

static void the_longest_chain_is_found(void **state)
{
    (void)state;
    struct qvl_prefix_cache *cache = open_cache(100);
    assert_int_equal(count(cache, "abc"), 0);
    leave(cache, "abcd");
    leave(cache, "abx");
    assert_int_equal(n_live, 5); /* ab once */
    assert_int_equal(count(cache, "abcd"), 4);
    assert_int_equal(count(cache, "abcy"), 3);
    assert_int_equal(count(cache, "abxcd"), 3);
    assert_int_equal(count(cache, "bcd"), 0);
    struct qvl_prefix_node *held = qvl_prefix_cache_hold(cache, keys("abcy", 0), 4 * QVL_KV_BLOCK).node;
    assert_int_equal(held->n_above, 2);
    assert_int_equal(held->parent->parent->n_above, 0);
    assert_null(held->parent->parent->parent);
    assert_null(qvl_prefix_cache_hold(cache, keys("y", 0), QVL_KV_BLOCK).node);
    assert_int_equal(qvl_prefix_cache_n_kept(cache), 2); /* d and x */
    qvl_prefix_cache_release(cache, held);
    assert_int_equal(qvl_prefix_cache_n_kept(cache), 5);
    close_cache(cache);
}

/* Two requests compute the same at the same time: the second one gets the first one's block. */
static void the_first_block_stays(void **state)
{
    (void)state;
    struct qvl_prefix_cache *cache = open_cache(100);
    struct qvl_kv_block *first = new_block(), *second = new_block();
    struct qvl_prefix_node *a = qvl_prefix_cache_add(cache, NULL, keys("a", 0), first);
    struct qvl_prefix_node *b = qvl_prefix_cache_add(cache, NULL, keys("a", 0), second);
    assert_ptr_equal(a, b);
    assert_ptr_equal(b->block, first);
    assert_int_equal(atomic_load(&second->n_user), 1);
    qvl_kv_block_release(first);
    qvl_kv_block_release(second);
    assert_int_equal(n_live, 1);
    qvl_prefix_cache_release(cache, a);
    assert_int_equal(qvl_prefix_cache_n_kept(cache), 0); /* the other one holds it */
    assert_int_equal(qvl_prefix_cache_evict(cache, 1), 0);
    qvl_prefix_cache_release(cache, b);
    assert_int_equal(qvl_prefix_cache_n_kept(cache), 1);
    close_cache(cache);
}

/* The longest unused first, and of a chain its end before its beginning. */
static void the_longest_unused_goes_first_and_leaves_before_parents(void **state)
{
    (void)state;
    struct qvl_prefix_cache *cache = open_cache(6);
    leave(cache, "abc");
    leave(cache, "xyz");
    assert_int_equal(n_live, 6);
    assert_int_equal(count(cache, "ab"), 2); /* used: now only c is older than xyz */
    leave(cache, "m");
    assert_int_equal(n_live, 6);
    assert_int_equal(count(cache, "m"), 1);
    assert_int_equal(count(cache, "abc"), 2);
    leave(cache, "n"); /* z goes */
    assert_int_equal(count(cache, "xyz"), 2);
    leave(cache, "mo"); /* b goes, the end of what was used before m, n and xy */
    assert_int_equal(count(cache, "ab"), 1);
    assert_int_equal(qvl_prefix_cache_evict(cache, 2), 2);
    assert_int_equal(n_live, 4);
    assert_int_equal(qvl_prefix_cache_evict(cache, 100), 4);
    assert_int_equal(n_live, 0);
    close_cache(cache);
}

static void what_is_held_stays(void **state)
{
    (void)state;
    struct qvl_prefix_cache *cache = open_cache(0);
    struct qvl_prefix_node *held = add(cache, "abc");
    struct qvl_prefix_node *again = qvl_prefix_cache_hold(cache, keys("ab", 0), 2 * QVL_KV_BLOCK).node;
    leave(cache, "abd");
    leave(cache, "q");
    assert_int_equal(n_live, 3); /* none is kept beyond what is held */
    qvl_prefix_cache_release(cache, held);
    assert_int_equal(n_live, 2);
    assert_int_equal(count(cache, "abc"), 2);
    held = qvl_prefix_cache_add(cache, again, &keys("abe", 0)[2 * QVL_KV_BLOCK],
                                again->block); /* the hold moves down */
    assert_int_equal(held->n_above, 2);
    qvl_prefix_cache_release(cache, held);
    assert_int_equal(n_live, 0);
    qvl_prefix_cache_release(cache, NULL);
    close_cache(cache);
    qvl_prefix_cache_close(NULL);
}

/* A block that others have beside the cache is let go, but not counted as freed. */
static void only_blocks_that_become_free_count(void **state)
{
    (void)state;
    struct qvl_prefix_cache *cache = open_cache(10);
    struct qvl_kv_block *mine = new_block();
    qvl_prefix_cache_release(cache, qvl_prefix_cache_add(cache, NULL, keys("a", 0), mine));
    leave(cache, "bc");
    assert_int_equal(qvl_prefix_cache_evict(cache, 1), 1);
    assert_int_equal(count(cache, "a"), 0);
    assert_int_equal(count(cache, "bc"), 1);
    assert_int_equal(n_live, 2);
    qvl_kv_block_release(mine);
    close_cache(cache);
}

/* Keeps a block with n_pos positions behind a chain, which it holds for the moment. */
static void keep(struct qvl_prefix_cache *cache, const char *chain, size_t n_other, size_t n_pos)
{
    char before[16] = "";
    size_t n = strlen(chain) - 1;
    memcpy(before, chain, n);
    struct qvl_prefix_node *held = add(cache, before);
    struct qvl_kv_block *block = new_block();
    qvl_prefix_cache_keep(cache, held, &keys(chain, n_other)[n * QVL_KV_BLOCK], n_pos, block);
    qvl_kv_block_release(block);
    qvl_prefix_cache_release(cache, held);
}

static size_t count_pos(struct qvl_prefix_cache *cache, const char *chain, size_t n_other, size_t n)
{
    return qvl_prefix_cache_count(cache, keys(chain, n_other), n);
}

/* Of a block its beginning is known, be it full or not: from 8 positions on, the most that any has. */
static void beginnings_of_blocks_are_found(void **state)
{
    (void)state;
    struct qvl_prefix_cache *cache = open_cache(100);
    leave(cache, "xa");
    assert_int_equal(count_pos(cache, "x0", 7, 256), 128);
    assert_int_equal(count_pos(cache, "x0", 8, 256), 128 + 8);
    assert_int_equal(count_pos(cache, "x0", 127, 256), 128 + 127);
    assert_int_equal(count_pos(cache, "x0", 127, 128 + 50), 128 + 50); /* no more are asked for */
    assert_int_equal(count_pos(cache, "0", 100, 128), 0);              /* not that of another place */
    keep(cache, "x1", 60, 90);
    assert_int_equal(count_pos(cache, "x1", 60, 256), 128 + 90);
    assert_int_equal(count_pos(cache, "x2", 70, 256), 128 + 70); /* the full one knows more */
    keep(cache, "3", 0, 20);                                     /* of a first block */
    assert_int_equal(count_pos(cache, "3", 0, 128), 20);
    keep(cache, "4", 0, 7);
    assert_int_equal(count_pos(cache, "4", 0, 128), 0);
    assert_int_equal(n_live, 4);
    struct qvl_prefix_match match = qvl_prefix_cache_hold(cache, keys("x1", 60), 256);
    assert_int_equal(match.n_pos, 128 + 90);
    assert_int_equal(match.n_part, 90);
    assert_ptr_equal(match.part->parent, match.node);
    qvl_prefix_cache_release(cache, match.node); /* the part holds it still */
    assert_int_equal(qvl_prefix_cache_evict(cache, 100), 2);
    assert_int_equal(count_pos(cache, "x1", 60, 256), 128 + 90);
    qvl_prefix_cache_release(cache, match.part);
    assert_int_equal(qvl_prefix_cache_evict(cache, 100), 2);
    close_cache(cache);
}

/* Requests that end in their first block hold nothing, and keep to the bound all the same. */
static void short_ones_keep_to_the_bound(void **state)
{
    (void)state;
    struct qvl_prefix_cache *cache = open_cache(3);
    static const char *const chain[] = {"a", "b", "c", "d", "e"};
    for (size_t i = 0; i < 5; i++)
        keep(cache, chain[i], 0, 20);
    assert_int_equal(n_live, 3);
    assert_int_equal(count_pos(cache, "b", 0, 128), 0);
    assert_int_equal(count_pos(cache, "c", 0, 128), 20);
    close_cache(cache);
}

/* A conversation that goes on leaves one block where it ends, not one for each turn. */
static void what_another_block_has_too_goes(void **state)
{
    (void)state;
    struct qvl_prefix_cache *cache = open_cache(100);
    keep(cache, "xa", 0, 20);
    assert_int_equal(n_live, 2);
    keep(cache, "xa", 0, 70);
    assert_int_equal(n_live, 2);
    keep(cache, "xa", 0, 30); /* nothing new */
    keep(cache, "xa", 0, 70);
    assert_int_equal(n_live, 2);
    assert_int_equal(count_pos(cache, "xa", 0, 256), 128 + 70);
    struct qvl_prefix_match match = qvl_prefix_cache_hold(cache, keys("xa", 0), 256);
    leave(cache, "xa");
    assert_int_equal(n_live, 3); /* held */
    assert_int_equal(count(cache, "xa"), 2);
    qvl_prefix_cache_release(cache, match.part);
    qvl_prefix_cache_release(cache, match.node);
    keep(cache, "x1", 40, 100);
    assert_int_equal(n_live, 4);
    leave(cache, "xb");
    assert_int_equal(n_live, 5);
    close_cache(cache);
}

/* Chains of three letters come and go as a generator says: what is held stays, and the rest keeps to its bound. */
static void many_chains_come_and_go(void **state)
{
    (void)state;
    enum { N_NODE = 4 + 16 + 64, MAX_KEPT = 20, N_HELD = 3 };
    struct qvl_prefix_cache *cache = open_cache(MAX_KEPT);
    struct qvl_prefix_node *held[N_HELD] = {0};
    char name[N_HELD][4] = {{0}};
    uint32_t seed = 1;
    for (size_t step = 0; step < 3000; step++) {
        seed = seed * 1664525 + 1013904223;
        uint32_t x = seed >> 8;
        char chain[4] = {(char)('a' + x % 4), (char)('a' + x / 4 % 4), (char)('a' + x / 16 % 4), 0};
        size_t i = x / 64 % N_HELD;
        qvl_prefix_cache_release(cache, held[i]);
        held[i] = NULL;
        if (x / 192 % 3) {
            size_t n = count(cache, chain);
            held[i] = add(cache, chain);
            assert_true(n <= 3 && count(cache, chain) == 3);
            memcpy(name[i], chain, sizeof chain);
        }
        bool is_held[3 * 64] = {false};
        size_t n_held = 0;
        for (size_t k = 0; k < N_HELD; k++)
            for (size_t depth = 1, at = 0; held[k] && depth <= 3; depth++) {
                at = at * 4 + (size_t)(name[k][depth - 1] - 'a');
                bool *is = &is_held[(depth - 1) * 64 + at];
                n_held += !*is;
                *is = true;
            }
        assert_true(n_live >= n_held && n_live <= n_held + MAX_KEPT);
        assert_int_equal(n_live, n_held + qvl_prefix_cache_n_kept(cache));
        for (size_t k = 0; k < N_HELD; k++)
            assert_true(!held[k] || (held[k]->n_above == 2 && !memcmp(held[k]->key[0].sha256, name[k], 3)));
    }
    for (size_t i = 0; i < N_HELD; i++)
        qvl_prefix_cache_release(cache, held[i]);
    assert_in_range(n_live, 1, MAX_KEPT);
    close_cache(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_longest_chain_is_found),
        cmocka_unit_test(the_first_block_stays),
        cmocka_unit_test(the_longest_unused_goes_first_and_leaves_before_parents),
        cmocka_unit_test(what_is_held_stays),
        cmocka_unit_test(only_blocks_that_become_free_count),
        cmocka_unit_test(beginnings_of_blocks_are_found),
        cmocka_unit_test(short_ones_keep_to_the_bound),
        cmocka_unit_test(what_another_block_has_too_goes),
        cmocka_unit_test(many_chains_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

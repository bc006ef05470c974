/* UTF-8 in, token ids out, and back.
 *
 * Encoding: cut at added tokens (only when asked), NFC, cut into pieces (split.c), and in each piece join the
 * neighbours whose merge has the lowest rank, leftmost first, until no pair has one. A merge is looked up by its
 * two ids, so text is never hashed; where it stands in the table depends on a seed drawn anew, so that no file can
 * be written whose entries all meet in one place. A short piece is an array searched for its lowest rank; a long
 * one (a megabyte of "aaaa…" is one piece) is a linked list beside a heap of (rank, place). Source of truth:
 * tokenizers 0.23, models/bpe. No rank is changed by what the file says beyond its order. */
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/array.h"
#include "base/checked.h"
#include "base/language.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "text/split.h"
#include "text/tokenizer_file.h"
#include "text/unicode.h"

#define NONE UINT32_MAX

struct merge {            /* a slot of the merge table */
    uint32_t left, right; /* left NONE: empty */
    uint32_t rank, id;
};

struct qvl_tokenizer {
    uint32_t n; /* ids */
    uint32_t added_id[QVL_N_ADDED_TOKEN];
    uint32_t byte_id[256];
    char *bytes;         /* of all tokens, by id */
    size_t *end;         /* [n] */
    size_t n_longest;    /* bytes of a token */
    struct merge *merge; /* open addressing */
    size_t merge_mask;
    uint64_t seed; /* of the places in the tables, not of any id */
};

/* ---- ids ------------------------------------------------------------------------------------------ */

enum qvl_status qvl_ids_add(struct qvl_ids *ids, uint32_t id, size_t n_times, struct qvl_error *err)
{
    size_t need = 0;
    if (n_times == 0)
        return QVL_OK;
    if (!qvl_add_size(ids->n, n_times, &need))
        return qvl_fail_memory(err, SIZE_MAX, "token ids");
    uint32_t *p = qvl_grow(ids->id, &ids->n_alloc, need, sizeof *p, "token ids", err);
    if (!p)
        return err->status;
    ids->id = p;
    for (size_t i = 0; i < n_times; i++)
        ids->id[ids->n++] = id;
    return QVL_OK;
}

void qvl_ids_free(struct qvl_ids *ids)
{
    free(ids->id);
    *ids = (struct qvl_ids){0};
}

/* ---- building the tables -------------------------------------------------------------------------- */

/* Finalizer of MurmurHash3 (public domain): every bit of the key reaches every bit of the result. */
static uint64_t mix(uint64_t h)
{
    h = (h ^ h >> 33) * 0xff51afd7ed558ccdull;
    h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53ull;
    return h ^ h >> 33;
}

static uint64_t hash_bytes(uint64_t seed, const char *s, size_t n)
{
    uint64_t h = seed ^ n;
    for (; n >= 8; s += 8, n -= 8) {
        uint64_t word;
        memcpy(&word, s, 8);
        h = mix(h ^ word) + 1;
    }
    uint64_t tail = 0;
    memcpy(&tail, s, n);
    return mix(h ^ tail);
}

static size_t table_size(size_t n_entry) /* a power of two, at most half full */
{
    size_t n = 64;
    while (n < 2 * n_entry)
        n *= 2;
    return n;
}

/* Finds tokens by their bytes while the tables are built: slots hold ids. */
struct token_index {
    const struct qvl_tokenizer *tokenizer;
    uint32_t *slot;
    size_t mask;
};

/* The slot that holds the token, or the empty one where it belongs. */
static uint32_t *find_token(const struct token_index *index, const char *s, size_t n)
{
    for (size_t i = hash_bytes(index->tokenizer->seed, s, n) & index->mask;; i = (i + 1) & index->mask) {
        size_t n_there = 0;
        if (index->slot[i] == NONE)
            return &index->slot[i];
        const char *there = qvl_tokenizer_bytes(index->tokenizer, index->slot[i], &n_there);
        if (n_there == n && memcmp(there, s, n) == 0)
            return &index->slot[i];
    }
}

/* Where the bytes of each id come from: i_token[id] counts the tokens of the vocabulary, then the added ones. Every
 * id from 0 to n - 1 must be there once. */
static enum qvl_status order_by_id(const struct qvl_tokenizer_file *file, uint32_t n, uint32_t *i_token,
                                   struct qvl_error *err)
{
    uint8_t *seen = calloc(n, 1);
    enum qvl_status status = QVL_OK;
    if (!seen)
        return qvl_fail_memory(err, n, "the tokenizer's ids");
    for (uint32_t i = 0; i < n; i++) {
        bool is_base = i < file->token.n;
        uint32_t id = is_base ? file->id[i] : file->added_id[i - file->token.n];
        if (id >= n || seen[id]) {
            status =
                qvl_fail(err, QVL_ERR_MODEL, "%s: the token id %u %s; ids must be 0 to %u, each once", file->name,
                         id, id >= n ? qvl_text("leaves a gap below") : qvl_text("stands twice"), n - 1);
            break;
        }
        seen[id] = 1;
        i_token[id] = i;
    }
    free(seen);
    return status;
}

/* tokenizer->bytes and end, by id. */
static enum qvl_status lay_out_tokens(struct qvl_tokenizer *t, const struct qvl_tokenizer_file *file,
                                      struct qvl_error *err)
{
    size_t n_bytes = file->token.bytes.n, n = 0, at = 0;
    uint32_t *i_token = malloc(t->n * sizeof *i_token);
    for (int i = 0; i < QVL_N_ADDED_TOKEN; i++)
        n_bytes += strlen(qvl_added_token_text[i].text);
    t->bytes = malloc(n_bytes + 1);
    t->end = malloc(t->n * sizeof *t->end);
    enum qvl_status status = QVL_OK;
    if (!i_token || !t->bytes || !t->end) {
        status = qvl_fail_memory(err, n_bytes, "the tokenizer");
        goto fail;
    }
    if ((status = order_by_id(file, t->n, i_token, err)))
        goto fail;
    for (uint32_t id = 0; id < t->n; id++) {
        bool is_base = i_token[id] < file->token.n;
        const char *s = is_base ? qvl_strings_get(&file->token, i_token[id], &n)
                                : qvl_added_token_text[i_token[id] - file->token.n].text;
        if (!is_base)
            n = strlen(s);
        memcpy(t->bytes + at, s, n);
        t->end[id] = at += n;
        t->n_longest = n > t->n_longest ? n : t->n_longest;
    }
fail:
    free(i_token);
    return status;
}

static enum qvl_status index_tokens(struct qvl_tokenizer *t, const struct qvl_tokenizer_file *file,
                                    struct token_index *index, struct qvl_error *err)
{
    size_t n_slot = table_size(file->token.n);
    index->tokenizer = t;
    index->mask = n_slot - 1;
    index->slot = malloc(n_slot * sizeof *index->slot);
    if (!index->slot)
        return qvl_fail_memory(err, n_slot * sizeof *index->slot, "the tokenizer");
    memset(index->slot, 0xff, n_slot * sizeof *index->slot); /* NONE */
    for (size_t i = 0; i < file->token.n; i++) {             /* added tokens are not made by merges */
        size_t n = 0;
        const char *s = qvl_strings_get(&file->token, i, &n);
        uint32_t *slot = find_token(index, s, n);
        if (*slot != NONE)
            return qvl_fail(err, QVL_ERR_MODEL, "%s: the tokens %u and %u are the same bytes", file->name, *slot,
                            file->id[i]);
        *slot = file->id[i];
    }
    for (int byte = 0; byte < 256; byte++) {
        char c = (char)byte;
        t->byte_id[byte] = *find_token(index, &c, 1);
        if (t->byte_id[byte] == NONE)
            return qvl_fail(err, QVL_ERR_MODEL, "%s: no token for the single byte 0x%02x", file->name, byte);
    }
    return QVL_OK;
}

/* The slot of a pair, or the empty one where it belongs. */
static struct merge *find_merge(const struct qvl_tokenizer *t, uint32_t left, uint32_t right)
{
    size_t i = mix(t->seed ^ ((uint64_t)left << 32 | right)) & t->merge_mask;
    while (t->merge[i].left != NONE && (t->merge[i].left != left || t->merge[i].right != right))
        i = (i + 1) & t->merge_mask;
    return &t->merge[i];
}

static enum qvl_status index_merges(struct qvl_tokenizer *t, const struct qvl_tokenizer_file *file,
                                    const struct token_index *index, struct qvl_error *err)
{
    size_t n_merge = file->merge.n / 2, n_slot = table_size(n_merge);
    char joined[2 * QVL_MAX_TOKEN_BYTES];
    t->merge_mask = n_slot - 1;
    t->merge = malloc(n_slot * sizeof *t->merge);
    if (!t->merge)
        return qvl_fail_memory(err, n_slot * sizeof *t->merge, "the tokenizer's merges");
    memset(t->merge, 0xff, n_slot * sizeof *t->merge); /* left NONE */
    for (size_t rank = 0; rank < n_merge; rank++) {
        size_t n_left = 0, n_right = 0;
        const char *left = qvl_strings_get(&file->merge, 2 * rank, &n_left);
        const char *right = qvl_strings_get(&file->merge, 2 * rank + 1, &n_right);
        memcpy(joined, left, n_left);
        memcpy(joined + n_left, right, n_right);
        uint32_t left_id = *find_token(index, left, n_left), right_id = *find_token(index, right, n_right);
        uint32_t id = *find_token(index, joined, n_left + n_right);
        if (left_id == NONE || right_id == NONE || id == NONE)
            return qvl_fail(err, QVL_ERR_MODEL, "%s: merge %zu names a token that the vocabulary lacks", file->name,
                            rank);
        struct merge *slot = find_merge(t, left_id, right_id);
        if (slot->left != NONE)
            return qvl_fail(err, QVL_ERR_MODEL, "%s: the merges %u and %zu are the same", file->name, slot->rank,
                            rank);
        *slot = (struct merge){left_id, right_id, (uint32_t)rank, id};
    }
    return QVL_OK;
}

static enum qvl_status build(const struct qvl_tokenizer_file *file, uint32_t n_vocab_rows,
                             struct qvl_tokenizer **out, struct qvl_error *err)
{
    struct token_index index = {0};
    struct qvl_tokenizer *t = calloc(1, sizeof *t);
    enum qvl_status status = QVL_OK;
    if (!t)
        return qvl_fail_memory(err, sizeof *t, "the tokenizer");
    if (getrandom(&t->seed, sizeof t->seed, GRND_NONBLOCK) != (ssize_t)sizeof t->seed)
        t->seed = (uintptr_t)t; /* early at boot: an address is better than nothing */
    t->n = (uint32_t)file->token.n + QVL_N_ADDED_TOKEN;
    memcpy(t->added_id, file->added_id, sizeof t->added_id);
    if (t->n > n_vocab_rows) {
        status = qvl_fail(err, QVL_ERR_MODEL, "%s: %u tokens, but the model's embedding has only %u rows",
                          file->name, t->n, n_vocab_rows);
        goto fail;
    }
    if ((status = lay_out_tokens(t, file, err)) || (status = index_tokens(t, file, &index, err)) ||
        (status = index_merges(t, file, &index, err)))
        goto fail;
    *out = t;
    t = NULL;
fail:
    free(index.slot);
    qvl_tokenizer_free(t);
    return status;
}

enum qvl_status qvl_tokenizer_parse(const char *json, size_t n, const char *name, uint32_t n_vocab_rows,
                                    struct qvl_tokenizer **out, struct qvl_error *err)
{
    struct qvl_tokenizer_file file = {.name = name};
    enum qvl_status status = qvl_tokenizer_file_parse(json, n, &file, err);
    if (!status)
        status = build(&file, n_vocab_rows, out, err);
    qvl_tokenizer_file_free(&file);
    return status;
}

enum qvl_status qvl_tokenizer_load(const char *model_dir, uint32_t n_vocab_rows, struct qvl_tokenizer **out,
                                   struct qvl_error *err)
{
    struct qvl_tokenizer_file file = {0};
    enum qvl_status status = qvl_tokenizer_file_read(model_dir, &file, err);
    if (!status)
        status = build(&file, n_vocab_rows, out, err);
    qvl_tokenizer_file_free(&file);
    return status;
}

void qvl_tokenizer_free(struct qvl_tokenizer *t)
{
    if (!t)
        return;
    free(t->bytes);
    free(t->end);
    free(t->merge);
    free(t);
}

/* ---- encoding ------------------------------------------------------------------------------------- */

/* What two neighbours become; rank NONE: nothing. */
struct pair {
    uint32_t rank, id;
};

/* The longest piece merged by searching an array. */
#define N_SHORT 48u

/* A long piece: tokens as a doubly linked list in the places of their first bytes. */
struct node {
    uint32_t id, previous, next; /* NONE at the ends */
    struct pair pair;            /* with the next */
};

struct long_piece {
    struct node *node; /* [n_alloc] */
    uint64_t *heap;    /* [2 * n_alloc] rank << 32 | place, smallest on top; some are stale */
    size_t n_heap, n_alloc;
};

static struct pair join(const struct qvl_tokenizer *t, uint32_t left, uint32_t right)
{
    const struct merge *m = find_merge(t, left, right);
    return (struct pair){m->rank, m->id}; /* of an empty slot the rank is NONE, too */
}

static enum qvl_status encode_short(const struct qvl_tokenizer *t, const char *s, size_t n, struct qvl_ids *out,
                                    struct qvl_error *err)
{
    uint32_t id[N_SHORT];
    struct pair pair[N_SHORT]; /* i and i + 1 */
    for (size_t i = 0; i < n; i++)
        id[i] = t->byte_id[(unsigned char)s[i]];
    for (size_t i = 0; i + 1 < n; i++)
        pair[i] = join(t, id[i], id[i + 1]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (pair[i].rank < pair[best].rank)
                best = i;
        if (pair[best].rank == NONE)
            break;
        id[best] = pair[best].id;
        memmove(&id[best + 1], &id[best + 2], (n - best - 2) * sizeof *id);
        if (n - best > 2)
            memmove(&pair[best], &pair[best + 1], (n - best - 2) * sizeof *pair);
        n--;
        if (best + 1 < n)
            pair[best] = join(t, id[best], id[best + 1]);
        if (best > 0)
            pair[best - 1] = join(t, id[best - 1], id[best]);
    }
    enum qvl_status status = QVL_OK;
    for (size_t i = 0; i < n && !status; i++)
        status = qvl_ids_add(out, id[i], 1, err);
    return status;
}

static void long_piece_free(struct long_piece *p)
{
    free(p->node);
    free(p->heap);
    *p = (struct long_piece){0};
}

static enum qvl_status long_piece_reserve(struct long_piece *p, size_t n, struct qvl_error *err)
{
    if (n <= p->n_alloc)
        return QVL_OK;
    long_piece_free(p);
    p->node = malloc(n * sizeof *p->node); /* n <= 3 * QVL_MAX_TEXT_BYTES */
    p->heap = malloc(2 * n * sizeof *p->heap);
    if (!p->node || !p->heap)
        return qvl_fail_memory(err, n * (sizeof *p->node + 2 * sizeof *p->heap), "a long word of the text");
    p->n_alloc = n;
    return QVL_OK;
}

/* Four children for each entry: half the levels of a binary heap, and the four share a cache line. */
static void heap_push(struct long_piece *p, uint64_t key)
{
    size_t i = p->n_heap++;
    for (; i > 0 && p->heap[(i - 1) / 4] > key; i = (i - 1) / 4)
        p->heap[i] = p->heap[(i - 1) / 4];
    p->heap[i] = key;
}

static uint64_t heap_pop(struct long_piece *p)
{
    uint64_t top = p->heap[0], key = p->heap[--p->n_heap];
    size_t i = 0;
    for (size_t child = 1; child < p->n_heap; child = 4 * i + 1) {
        size_t end = qvl_min_size(child + 4, p->n_heap), least = child;
        for (size_t k = child + 1; k < end; k++)
            least = p->heap[k] < p->heap[least] ? k : least;
        if (p->heap[least] >= key)
            break;
        p->heap[i] = p->heap[least];
        i = least;
    }
    p->heap[i] = key;
    return top;
}

/* The pair at place i changed: looks its merge up again and puts it on the heap. */
static void renew_pair(const struct qvl_tokenizer *t, struct long_piece *p, uint32_t i)
{
    struct node *node = &p->node[i];
    node->pair.rank = NONE;
    if (node->next == NONE)
        return;
    node->pair = join(t, node->id, p->node[node->next].id);
    if (node->pair.rank != NONE)
        heap_push(p, (uint64_t)node->pair.rank << 32 | i);
}

static enum qvl_status encode_long(const struct qvl_tokenizer *t, const char *s, size_t n, struct long_piece *p,
                                   struct qvl_ids *out, struct qvl_error *err)
{
    enum qvl_status status = long_piece_reserve(p, n, err);
    if (status)
        return status;
    p->n_heap = 0;
    for (uint32_t i = 0; i < n; i++)
        p->node[i] = (struct node){
            .id = t->byte_id[(unsigned char)s[i]], .previous = i ? i - 1 : NONE, .next = i + 1 < n ? i + 1 : NONE};
    for (uint32_t i = 0; i < n; i++)
        renew_pair(t, p, i);
    /* Each merge takes one pair off and puts two on, and there are fewer than n: the heap stays below 2n. */
    while (p->n_heap > 0) {
        uint64_t top = heap_pop(p);
        uint32_t i = (uint32_t)top;
        struct node *node = &p->node[i];
        if (node->pair.rank != top >> 32)
            continue; /* stale: one of the two is part of something else by now */
        struct node *gone = &p->node[node->next];
        node->id = node->pair.id;
        node->next = gone->next;
        gone->pair.rank = NONE;
        if (node->next != NONE)
            p->node[node->next].previous = i;
        renew_pair(t, p, i);
        if (node->previous != NONE)
            renew_pair(t, p, node->previous);
    }
    for (uint32_t i = 0; i != NONE && !status; i = p->node[i].next)
        status = qvl_ids_add(out, p->node[i].id, 1, err);
    return status;
}

/* Text without added tokens. */
static enum qvl_status encode_plain(const struct qvl_tokenizer *t, const char *s, size_t n,
                                    struct qvl_bytes *normal, struct long_piece *p, struct qvl_ids *out,
                                    struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    if (!qvl_nfc_is_stable(s, n)) {
        normal->n = 0;
        if ((status = qvl_nfc(s, n, normal, err)))
            return status;
        s = normal->data;
        n = normal->n;
    }
    for (size_t i = 0; i < n && !status;) {
        size_t n_piece = qvl_split_piece(s + i, n - i);
        status = n_piece <= N_SHORT ? encode_short(t, s + i, n_piece, out, err)
                                    : encode_long(t, s + i, n_piece, p, out, err);
        i += n_piece;
    }
    return status;
}

/* The first added token at or after i: its place, or n. None of the 26 begins another, and all begin with '<'. */
static size_t find_added(const char *s, size_t n, size_t i, int *which)
{
    for (; i < n; i++) {
        const char *found = memchr(s + i, '<', n - i);
        if (!found)
            return n;
        i = (size_t)(found - s);
        for (int k = 0; k < QVL_N_ADDED_TOKEN; k++) {
            size_t n_text = strlen(qvl_added_token_text[k].text);
            if (n - i >= n_text && memcmp(found, qvl_added_token_text[k].text, n_text) == 0) {
                *which = k;
                return i;
            }
        }
    }
    return n;
}

enum qvl_status qvl_tokenizer_encode(const struct qvl_tokenizer *t, const char *utf8, size_t n, bool want_special,
                                     struct qvl_ids *out, struct qvl_error *err)
{
    struct qvl_bytes normal = {0};
    struct long_piece p = {0};
    size_t n_before = out->n;
    enum qvl_status status = QVL_OK;
    if (n > QVL_MAX_TEXT_BYTES)
        return qvl_fail(err, QVL_ERR_LIMIT, "a text of %zu bytes; qvl accepts %llu", n, QVL_MAX_TEXT_BYTES);
    if (!qvl_utf8_is_valid(utf8, n))
        return qvl_fail(err, QVL_ERR_ARGUMENT, "a text of %zu bytes that is not UTF-8", n);
    for (size_t i = 0; i < n;) {
        int which = -1;
        size_t end = want_special ? find_added(utf8, n, i, &which) : n;
        if ((status = encode_plain(t, utf8 + i, end - i, &normal, &p, out, err)))
            goto fail;
        if (which >= 0) {
            if ((status = qvl_ids_add(out, t->added_id[which], 1, err)))
                goto fail;
            end += strlen(qvl_added_token_text[which].text);
        }
        i = end;
    }
fail:
    if (status)
        out->n = n_before;
    long_piece_free(&p);
    qvl_bytes_free(&normal);
    return status;
}

/* ---- looking up ----------------------------------------------------------------------------------- */

const char *qvl_tokenizer_bytes(const struct qvl_tokenizer *t, uint32_t id, size_t *n)
{
    size_t begin = id && id < t->n ? t->end[id - 1] : 0;
    *n = id < t->n ? t->end[id] - begin : 0;
    return id < t->n ? t->bytes + begin : "";
}

size_t qvl_tokenizer_least_tokens(const struct qvl_tokenizer *t, size_t n_bytes)
{
    enum { MOST_SHRINK = 3 }; /* NFC: three Hangul letters of 3 bytes each become one syllable of 3 */
    return t->n_longest > 0 ? n_bytes / MOST_SHRINK / t->n_longest : 0;
}

bool qvl_tokenizer_is_special(const struct qvl_tokenizer *t, uint32_t id)
{
    for (int i = 0; i < QVL_N_ADDED_TOKEN; i++)
        if (t->added_id[i] == id)
            return qvl_added_token_text[i].is_special;
    return false;
}

uint32_t qvl_tokenizer_added(const struct qvl_tokenizer *t, enum qvl_added_token which)
{
    return t->added_id[which];
}

uint32_t qvl_tokenizer_n(const struct qvl_tokenizer *t)
{
    return t->n;
}

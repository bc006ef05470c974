/* Making it deterministic is the subset construction: a state of the result is a sorted set of states of the
 * drawing, found again by its hash. Its work is counted, as the number of sets can be exponential; both bounds end
 * in one sentence, not in minutes. */
#include "text/automaton.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/checked.h"
#include "base/limits.h"

#define MAX_CODE_POINT 0x10FFFFu

static enum qvl_status too_complex(struct qvl_error *err)
{
    return qvl_fail(err, QVL_ERR_LIMIT,
                    "the constraint is too complex: it takes more than %u states or %u steps to prepare",
                    QVL_MAX_GRAMMAR_STATES, QVL_MAX_GRAMMAR_WORK);
}

/* ---- sets of characters -------------------------------------------------------------------------- */

enum qvl_status qvl_charset_add(struct qvl_charset *set, uint32_t lo, uint32_t hi, struct qvl_error *err)
{
    struct qvl_char_range *range =
        qvl_grow(set->range, &set->n_alloc, set->n + 1, sizeof *range, "a set of characters", err);
    if (!range)
        return err->status;
    set->range = range;
    range[set->n++] = (struct qvl_char_range){lo, hi};
    return QVL_OK;
}

static int compare_ranges(const void *a, const void *b)
{
    const struct qvl_char_range *x = a, *y = b;
    return x->lo < y->lo ? -1 : x->lo > y->lo;
}

void qvl_charset_settle(struct qvl_charset *set)
{
    size_t n = 0;
    if (set->n > 1)
        qsort(set->range, set->n, sizeof *set->range, compare_ranges);
    for (size_t i = 0; i < set->n; i++) {
        struct qvl_char_range r = set->range[i];
        if (n > 0 && r.lo <= set->range[n - 1].hi + 1)
            set->range[n - 1].hi = r.hi > set->range[n - 1].hi ? r.hi : set->range[n - 1].hi;
        else
            set->range[n++] = r;
    }
    set->n = n;
}

enum qvl_status qvl_charset_negate(struct qvl_charset *set, struct qvl_error *err)
{
    struct qvl_charset out = {0};
    uint32_t lo = 0;
    enum qvl_status status = QVL_OK;
    for (size_t i = 0; i < set->n && !status; i++) {
        if (set->range[i].lo > lo)
            status = qvl_charset_add(&out, lo, set->range[i].lo - 1, err);
        lo = set->range[i].hi + 1;
    }
    if (!status && lo <= MAX_CODE_POINT)
        status = qvl_charset_add(&out, lo, MAX_CODE_POINT, err);
    qvl_charset_free(set);
    *set = out;
    return status;
}

void qvl_charset_free(struct qvl_charset *set)
{
    free(set->range);
    *set = (struct qvl_charset){0};
}

/* ---- drawing ------------------------------------------------------------------------------------- */

static void add_edge(struct qvl_nfa *nfa, struct qvl_nfa_edge edge)
{
    if (nfa->status)
        return;
    if (nfa->n_edge == QVL_MAX_GRAMMAR_EDGES) {
        nfa->status = too_complex(nfa->err);
        return;
    }
    struct qvl_nfa_edge *p =
        qvl_grow(nfa->edge, &nfa->n_edge_alloc, nfa->n_edge + 1, sizeof *p, "the grammar", nfa->err);
    if (!p) {
        nfa->status = nfa->err->status;
        return;
    }
    nfa->edge = p;
    p[nfa->n_edge++] = edge;
}

uint32_t qvl_nfa_state(struct qvl_nfa *nfa)
{
    if (!nfa->status && nfa->n_state == QVL_MAX_GRAMMAR_EDGES)
        nfa->status = too_complex(nfa->err);
    return nfa->status ? 0 : nfa->n_state++;
}

void qvl_nfa_bytes(struct qvl_nfa *nfa, uint32_t from, uint32_t to, uint32_t lo, uint32_t hi)
{
    add_edge(nfa, (struct qvl_nfa_edge){QVL_EDGE_BYTES, from, to, lo, hi});
}

void qvl_nfa_skip(struct qvl_nfa *nfa, uint32_t from, uint32_t to)
{
    add_edge(nfa, (struct qvl_nfa_edge){QVL_EDGE_SKIP, from, to, 0, 0});
}

void qvl_nfa_call(struct qvl_nfa *nfa, uint32_t from, uint32_t to, uint32_t rule)
{
    add_edge(nfa, (struct qvl_nfa_edge){QVL_EDGE_CALL, from, to, rule, 0});
}

void qvl_nfa_accept(struct qvl_nfa *nfa, uint32_t state)
{
    add_edge(nfa, (struct qvl_nfa_edge){QVL_EDGE_ACCEPT, state, state, 0, 0});
}

uint32_t qvl_nfa_text(struct qvl_nfa *nfa, uint32_t from, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t to = qvl_nfa_state(nfa);
        qvl_nfa_bytes(nfa, from, to, (unsigned char)text[i], (unsigned char)text[i]);
        from = to;
    }
    return from;
}

/* UTF-8 of lo and hi, which have the same length, byte ranges side by side. */
static void add_utf8_chain(struct qvl_nfa *nfa, uint32_t from, uint32_t to, uint32_t lo, uint32_t hi)
{
    static const uint32_t lead[] = {0, 0xC0, 0xE0, 0xF0};
    int n = lo < 0x80 ? 0 : lo < 0x800 ? 1 : lo < 0x10000 ? 2 : 3; /* bytes after the first */
    for (int i = n; i >= 0; i--) {
        uint32_t shift = 6 * (uint32_t)i, mark = i < n ? 0x80 : lead[n], mask = i < n ? 0x3F : 0xFF;
        uint32_t target = i > 0 ? qvl_nfa_state(nfa) : to;
        qvl_nfa_bytes(nfa, from, target, mark | ((lo >> shift) & mask), mark | ((hi >> shift) & mask));
        from = target;
    }
}

/* The characters [lo, hi]. They are split until each part is a chain of byte ranges: first where the length of the
 * UTF-8 changes and around the surrogates, then where a leading byte's continuations are not all there. */
static void add_utf8(struct qvl_nfa *nfa, uint32_t from, uint32_t to, uint32_t lo, uint32_t hi)
{
    static const uint32_t last[] = {0x7F, 0x7FF, 0xD7FF, 0xDFFF, 0xFFFF, MAX_CODE_POINT};
    struct qvl_char_range todo[16] = {{lo, hi}}; /* each part is shorter by a byte's worth than the one below */
    size_t n = lo <= hi;
    while (n > 0) {
        struct qvl_char_range r = todo[--n];
        uint32_t cut = r.hi;
        for (size_t i = 0; i < sizeof last / sizeof *last && cut == r.hi; i++)
            if (r.lo <= last[i] && last[i] < r.hi)
                cut = last[i];
        for (uint32_t i = 1; i < 4 && cut == r.hi && r.lo >= 0x80; i++) {
            uint32_t m = (1u << (6 * i)) - 1;
            if ((r.lo & ~m) == (r.hi & ~m))
                continue;
            if (r.lo & m)
                cut = r.lo | m;
            else if ((r.hi & m) != m)
                cut = (r.hi & ~m) - 1;
        }
        if (cut != r.hi) {
            todo[n++] = (struct qvl_char_range){cut + 1, r.hi};
            todo[n++] = (struct qvl_char_range){r.lo, cut};
        } else if (r.lo < 0xD800 || r.lo > 0xDFFF) {
            add_utf8_chain(nfa, from, to, r.lo, r.hi);
        }
    }
}

static bool has_char(const struct qvl_charset *set, uint32_t cp)
{
    for (size_t i = 0; i < set->n; i++)
        if (cp >= set->range[i].lo && cp <= set->range[i].hi)
            return true;
    return false;
}

static void add_escapes(struct qvl_nfa *nfa, uint32_t from, uint32_t to, const struct qvl_charset *set)
{
    static const char chars[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    uint32_t behind = qvl_nfa_text(nfa, from, "\\", 1);
    for (size_t i = 0; i + 1 < sizeof chars; i++)
        if (has_char(set, (unsigned char)chars[i]))
            qvl_nfa_bytes(nfa, behind, to, (unsigned char)letters[i], (unsigned char)letters[i]);
}

void qvl_nfa_chars(struct qvl_nfa *nfa, uint32_t from, uint32_t to, const struct qvl_charset *set,
                   enum qvl_spelling spelling)
{
    static const struct qvl_char_range themselves[] = {{0x20, 0x21}, {0x23, 0x5B}, {0x5D, MAX_CODE_POINT}};
    for (size_t i = 0; i < set->n && !nfa->status; i++) {
        struct qvl_char_range r = set->range[i];
        if (spelling == QVL_SPELLING_PLAIN) {
            add_utf8(nfa, from, to, r.lo, r.hi);
            continue;
        }
        for (size_t k = 0; k < sizeof themselves / sizeof *themselves; k++)
            add_utf8(nfa, from, to, r.lo > themselves[k].lo ? r.lo : themselves[k].lo,
                     r.hi < themselves[k].hi ? r.hi : themselves[k].hi);
    }
    if (spelling == QVL_SPELLING_JSON)
        add_escapes(nfa, from, to, set);
}

/* Every character beyond ASCII, the ends of the longer ones drawn once: a string of bounded length has a copy for
 * each of its characters. */
static void add_all_utf8(struct qvl_nfa *nfa, uint32_t from, uint32_t to)
{
    uint32_t one = qvl_nfa_state(nfa), two = qvl_nfa_state(nfa),
             three = qvl_nfa_state(nfa); /* bytes still to come */
    const struct {
        uint32_t lead, lo, hi, then;
    } odd[] = {{0xE0, 0xA0, 0xBF, one}, {0xED, 0x80, 0x9F, one}, {0xF0, 0x90, 0xBF, two}, {0xF4, 0x80, 0x8F, two}};
    qvl_nfa_bytes(nfa, from, one, 0xC2, 0xDF);
    qvl_nfa_bytes(nfa, from, two, 0xE1, 0xEC);
    qvl_nfa_bytes(nfa, from, two, 0xEE, 0xEF);
    qvl_nfa_bytes(nfa, from, three, 0xF1, 0xF3);
    qvl_nfa_bytes(nfa, three, two, 0x80, 0xBF);
    qvl_nfa_bytes(nfa, two, one, 0x80, 0xBF);
    qvl_nfa_bytes(nfa, one, to, 0x80, 0xBF);
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        uint32_t second = qvl_nfa_state(nfa);
        qvl_nfa_bytes(nfa, from, second, odd[i].lead, odd[i].lead);
        qvl_nfa_bytes(nfa, second, odd[i].then, odd[i].lo, odd[i].hi);
    }
}

void qvl_nfa_any_char(struct qvl_nfa *nfa, uint32_t from, uint32_t to, enum qvl_spelling spelling)
{
    struct qvl_char_range ascii = {0, 0x7F};
    qvl_nfa_chars(nfa, from, to, &(struct qvl_charset){.range = &ascii, .n = 1}, spelling);
    add_all_utf8(nfa, from, to);
}

struct qvl_nfa_mark qvl_nfa_mark(const struct qvl_nfa *nfa)
{
    return (struct qvl_nfa_mark){nfa->n_state, nfa->n_edge};
}

uint32_t qvl_nfa_copy(struct qvl_nfa *nfa, struct qvl_nfa_mark begin, struct qvl_nfa_mark end)
{
    uint32_t offset = nfa->n_state - begin.state, n = end.state - begin.state;
    if (!nfa->status && n > QVL_MAX_GRAMMAR_EDGES - nfa->n_state)
        nfa->status = too_complex(nfa->err);
    if (nfa->status)
        return 0;
    nfa->n_state += n;
    for (size_t i = begin.edge; i < end.edge && !nfa->status; i++) {
        struct qvl_nfa_edge edge = nfa->edge[i];
        edge.from += offset;
        edge.to += offset;
        add_edge(nfa, edge);
    }
    return offset;
}

void qvl_nfa_cut(struct qvl_nfa *nfa, struct qvl_nfa_mark mark)
{
    nfa->n_state = mark.state;
    nfa->n_edge = mark.edge;
    nfa->status = QVL_OK;
}

void qvl_nfa_free(struct qvl_nfa *nfa)
{
    free(nfa->edge);
    *nfa = (struct qvl_nfa){0};
}

/* ---- deterministic: storage ---------------------------------------------------------------------- */

static enum qvl_status reserve_states(struct qvl_dfa *dfa, size_t n, struct qvl_error *err)
{
    if (n <= dfa->n_state_alloc)
        return QVL_OK;
    size_t n_alloc = n + n / 2 + 64;
    uint32_t *next = realloc(dfa->next, n_alloc * dfa->n_class * sizeof *next);
    if (next)
        dfa->next = next;
    bool *is_accepting = realloc(dfa->is_accepting, n_alloc * sizeof *is_accepting);
    if (is_accepting)
        dfa->is_accepting = is_accepting;
    uint32_t *call_end = realloc(dfa->call_end, n_alloc * sizeof *call_end);
    if (call_end)
        dfa->call_end = call_end;
    if (!next || !is_accepting || !call_end)
        return qvl_fail_memory(err, n_alloc * dfa->n_class * sizeof *next, "the grammar");
    dfa->n_state_alloc = n_alloc;
    return QVL_OK;
}

/* A new state from which nothing leads anywhere yet. */
static enum qvl_status add_state(struct qvl_dfa *dfa, struct qvl_error *err)
{
    if (dfa->n_state == QVL_MAX_GRAMMAR_STATES)
        return too_complex(err);
    enum qvl_status status = reserve_states(dfa, (size_t)dfa->n_state + 1, err);
    if (status)
        return status;
    memset(dfa->next + (size_t)dfa->n_state * dfa->n_class, 0, dfa->n_class * sizeof *dfa->next);
    dfa->is_accepting[dfa->n_state] = false;
    dfa->call_end[dfa->n_state++] = (uint32_t)dfa->n_call;
    return QVL_OK;
}

void qvl_dfa_free(struct qvl_dfa *dfa)
{
    free(dfa->next);
    free(dfa->is_accepting);
    free(dfa->call);
    free(dfa->call_end);
    *dfa = (struct qvl_dfa){0};
}

bool qvl_dfa_accepts(const struct qvl_dfa *dfa, uint32_t state, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        state = dfa->next[(size_t)state * dfa->n_class + dfa->class_of[(unsigned char)text[i]]];
    return dfa->is_accepting[state];
}

void qvl_nfa_dfa(struct qvl_nfa *nfa, uint32_t from, uint32_t to, const struct qvl_dfa *dfa)
{
    uint32_t base = nfa->n_state;
    for (uint32_t s = 0; s < dfa->n_state && !nfa->status; s++)
        qvl_nfa_state(nfa);
    qvl_nfa_skip(nfa, from, base + 1);
    for (uint32_t s = 1; s < dfa->n_state && !nfa->status; s++) {
        const uint32_t *next = dfa->next + (size_t)s * dfa->n_class;
        for (uint32_t lo = 0, hi; lo < 256; lo = hi + 1) {
            uint32_t target = next[dfa->class_of[lo]];
            for (hi = lo; hi < 255 && next[dfa->class_of[hi + 1]] == target;)
                hi++;
            if (target != QVL_DFA_DEAD)
                qvl_nfa_bytes(nfa, base + s, base + target, lo, hi);
        }
        if (dfa->is_accepting[s])
            qvl_nfa_skip(nfa, base + s, to);
    }
}

/* ---- deterministic: sets of states --------------------------------------------------------------- */

#define NO_SET UINT32_MAX

/* Sets of numbers, each kept once and numbered in order. */
struct sets {
    uint32_t *item; /* of all sets, one after the other */
    size_t *end;    /* set i is item [end[i - 1], end[i]) */
    uint32_t *slot; /* open addressing: a set's number, or NO_SET */
    size_t n, n_item, n_item_alloc, n_end_alloc, n_slot;
};

static size_t set_begin(const struct sets *s, size_t i)
{
    return i > 0 ? s->end[i - 1] : 0;
}

static uint64_t hash_items(const uint32_t *item, size_t n)
{
    uint64_t h = 0x9E3779B97F4A7C15u ^ n;
    for (size_t i = 0; i < n; i++)
        h = (h ^ item[i]) * 0xD6E8FEB86659FD93u, h ^= h >> 32;
    return h;
}

static void place_set(struct sets *s, size_t i)
{
    size_t begin = set_begin(s, i), n = s->end[i] - begin;
    size_t k = (size_t)hash_items(n > 0 ? s->item + begin : NULL, n) & (s->n_slot - 1);
    while (s->slot[k] != NO_SET)
        k = (k + 1) & (s->n_slot - 1);
    s->slot[k] = (uint32_t)i;
}

static enum qvl_status widen_slots(struct sets *s, struct qvl_error *err)
{
    size_t n = s->n_slot > 0 ? 2 * s->n_slot : 256;
    uint32_t *slot = malloc(n * sizeof *slot);
    if (!slot)
        return qvl_fail_memory(err, n * sizeof *slot, "the grammar");
    free(s->slot);
    s->slot = slot;
    s->n_slot = n;
    memset(slot, 0xFF, n * sizeof *slot);
    for (size_t i = 0; i < s->n; i++)
        place_set(s, i);
    return QVL_OK;
}

/* The number of the set item[n], which may be new. */
static enum qvl_status find_set(struct sets *s, const uint32_t *item, size_t n, uint32_t *out,
                                struct qvl_error *err)
{
    enum qvl_status status = 2 * (s->n + 1) > s->n_slot ? widen_slots(s, err) : QVL_OK;
    if (status)
        return status;
    for (size_t k = (size_t)hash_items(item, n) & (s->n_slot - 1); s->slot[k] != NO_SET;
         k = (k + 1) & (s->n_slot - 1)) {
        size_t i = s->slot[k], begin = set_begin(s, i);
        if (s->end[i] - begin == n && (n == 0 || memcmp(s->item + begin, item, n * sizeof *item) == 0)) {
            *out = (uint32_t)i;
            return QVL_OK;
        }
    }
    if (n > 0) {
        uint32_t *p = qvl_grow(s->item, &s->n_item_alloc, s->n_item + n, sizeof *p, "the grammar", err);
        if (!p)
            return err->status;
        s->item = p;
        memcpy(p + s->n_item, item, n * sizeof *item);
    }
    size_t *end = qvl_grow(s->end, &s->n_end_alloc, s->n + 1, sizeof *end, "the grammar", err);
    if (!end)
        return err->status;
    s->end = end;
    s->n_item += n;
    end[s->n] = s->n_item;
    *out = (uint32_t)s->n;
    place_set(s, s->n++);
    return QVL_OK;
}

static void sets_free(struct sets *s)
{
    free(s->item);
    free(s->end);
    free(s->slot);
}

/* ---- deterministic: the subset construction ------------------------------------------------------- */

struct pair { /* the target of a symbol: class, or n_class + rule */
    uint32_t symbol, to;
};

struct builder {
    const struct qvl_nfa *nfa;
    struct qvl_dfa *dfa;
    struct sets sets;
    size_t *edge_end; /* [n_state] of the drawing; its edges sorted by where they begin */
    uint32_t *edge;   /* [n_edge] */
    uint32_t *seen;   /* [n_state] the last round that met it */
    uint32_t round;
    uint32_t *set; /* [n_state] the set in the making */
    size_t n_set;
    struct pair *pair; /* what leaves the set at hand */
    size_t n_pair, n_pair_alloc;
    size_t n_work;
};

static void find_classes(const struct qvl_nfa *nfa, struct qvl_dfa *dfa)
{
    bool begins[257] = {true};
    for (size_t i = 0; i < nfa->n_edge; i++)
        if (nfa->edge[i].kind == QVL_EDGE_BYTES)
            begins[nfa->edge[i].lo] = begins[nfa->edge[i].hi + 1] = true;
    dfa->n_class = 0;
    for (int c = 0; c < 256; c++) {
        dfa->n_class += begins[c];
        dfa->class_of[c] = (uint8_t)(dfa->n_class - 1);
    }
}

static enum qvl_status sort_edges(struct builder *b, struct qvl_error *err)
{
    const struct qvl_nfa *nfa = b->nfa;
    size_t n_state = nfa->n_state;
    b->edge_end = calloc(n_state + 1, sizeof *b->edge_end);
    b->edge = calloc(nfa->n_edge + 1, sizeof *b->edge);
    b->seen = calloc(n_state + 1, sizeof *b->seen);
    b->set = calloc(n_state + 1, sizeof *b->set);
    if (!b->edge_end || !b->edge || !b->seen || !b->set)
        return qvl_fail_memory(err, (n_state + nfa->n_edge) * sizeof *b->edge_end, "the grammar");
    for (size_t i = 0; i < nfa->n_edge; i++)
        b->edge_end[nfa->edge[i].from]++;
    for (size_t s = 1; s < n_state; s++)
        b->edge_end[s] += b->edge_end[s - 1];
    for (size_t i = nfa->n_edge; i-- > 0;) /* from behind: edge_end becomes where each begins … */
        b->edge[--b->edge_end[nfa->edge[i].from]] = (uint32_t)i;
    for (size_t s = 0; s + 1 < n_state; s++) /* … and that is where the one before ends */
        b->edge_end[s] = b->edge_end[s + 1];
    if (n_state > 0)
        b->edge_end[n_state - 1] = nfa->n_edge;
    return QVL_OK;
}

static const struct qvl_nfa_edge *edge_of(const struct builder *b, size_t i)
{
    return &b->nfa->edge[b->edge[i]];
}

static size_t first_edge(const struct builder *b, uint32_t state)
{
    return state > 0 ? b->edge_end[state - 1] : 0;
}

static void add_to_set(struct builder *b, uint32_t state)
{
    if (b->seen[state] == b->round)
        return;
    b->seen[state] = b->round;
    b->set[b->n_set++] = state;
}

static int compare_numbers(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* Finishes b->set: all that can be reached without reading, of that only states where something begins, sorted. */
static void close_set(struct builder *b)
{
    size_t n = 0;
    for (size_t i = 0; i < b->n_set; i++)
        for (size_t k = first_edge(b, b->set[i]); k < b->edge_end[b->set[i]]; k++, b->n_work++)
            if (edge_of(b, k)->kind == QVL_EDGE_SKIP)
                add_to_set(b, edge_of(b, k)->to);
    for (size_t i = 0; i < b->n_set; i++) {
        bool is_needed = false;
        for (size_t k = first_edge(b, b->set[i]); k < b->edge_end[b->set[i]] && !is_needed; k++)
            is_needed = edge_of(b, k)->kind != QVL_EDGE_SKIP;
        if (is_needed)
            b->set[n++] = b->set[i];
    }
    b->n_set = n;
    qsort(b->set, n, sizeof *b->set, compare_numbers);
}

static enum qvl_status add_pair(struct builder *b, uint32_t symbol, uint32_t to, struct qvl_error *err)
{
    struct pair *p = qvl_grow(b->pair, &b->n_pair_alloc, b->n_pair + 1, sizeof *p, "the grammar", err);
    if (!p)
        return err->status;
    b->pair = p;
    p[b->n_pair++] = (struct pair){symbol, to};
    return QVL_OK;
}

/* All that leaves set i. */
static enum qvl_status gather_pairs(struct builder *b, size_t i, bool *is_accepting, struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    b->n_pair = 0;
    *is_accepting = false;
    for (size_t k = set_begin(&b->sets, i); k < b->sets.end[i]; k++) {
        uint32_t state = b->sets.item[k];
        for (size_t e = first_edge(b, state); e < b->edge_end[state] && !status; e++) {
            const struct qvl_nfa_edge *edge = edge_of(b, e);
            if (edge->kind == QVL_EDGE_ACCEPT)
                *is_accepting = true;
            else if (edge->kind == QVL_EDGE_CALL)
                status = add_pair(b, b->dfa->n_class + edge->lo, edge->to, err);
            else if (edge->kind == QVL_EDGE_BYTES)
                for (uint32_t c = b->dfa->class_of[edge->lo]; c <= b->dfa->class_of[edge->hi] && !status; c++)
                    status = add_pair(b, c, edge->to, err);
        }
    }
    b->n_work += b->n_pair;
    return status;
}

static int compare_pairs(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    if (x->symbol != y->symbol)
        return x->symbol < y->symbol ? -1 : 1;
    return x->to < y->to ? -1 : x->to > y->to;
}

/* The set in the making as a state of the result: set i is state i. */
static enum qvl_status take_set(struct builder *b, uint32_t *out, struct qvl_error *err)
{
    close_set(b);
    enum qvl_status status = find_set(&b->sets, b->set, b->n_set, out, err);
    return !status && b->sets.n > QVL_MAX_GRAMMAR_STATES ? too_complex(err) : status;
}

static enum qvl_status add_call(struct qvl_dfa *dfa, uint32_t rule, uint32_t to, struct qvl_error *err)
{
    struct qvl_dfa_call *p =
        qvl_grow(dfa->call, &dfa->n_call_alloc, dfa->n_call + 1, sizeof *p, "the grammar", err);
    if (!p)
        return err->status;
    dfa->call = p;
    p[dfa->n_call++] = (struct qvl_dfa_call){rule, to};
    return QVL_OK;
}

/* Set i becomes state i, the last one so far. */
static enum qvl_status expand_set(struct builder *b, uint32_t i, struct qvl_error *err)
{
    struct qvl_dfa *dfa = b->dfa;
    bool is_accepting = false;
    enum qvl_status status;
    if ((status = add_state(dfa, err)) || (status = gather_pairs(b, i, &is_accepting, err)))
        return status;
    dfa->is_accepting[i] = is_accepting;
    if (b->n_pair > 1)
        qsort(b->pair, b->n_pair, sizeof *b->pair, compare_pairs);
    for (size_t k = 0; k < b->n_pair;) {
        uint32_t symbol = b->pair[k].symbol, to = 0;
        b->round++;
        b->n_set = 0;
        for (; k < b->n_pair && b->pair[k].symbol == symbol; k++)
            add_to_set(b, b->pair[k].to);
        if ((status = take_set(b, &to, err)))
            return status;
        if (symbol < dfa->n_class)
            dfa->next[(size_t)i * dfa->n_class + symbol] = to;
        else if (to != QVL_DFA_DEAD && (status = add_call(dfa, symbol - dfa->n_class, to, err)))
            return status;
    }
    dfa->call_end[i] = (uint32_t)dfa->n_call;
    return b->n_work > QVL_MAX_GRAMMAR_WORK ? too_complex(err) : QVL_OK;
}

enum qvl_status qvl_dfa_build(const struct qvl_nfa *nfa, const uint32_t *start, size_t n, struct qvl_dfa *out,
                              uint32_t *out_start, struct qvl_error *err)
{
    struct builder b = {.nfa = nfa, .dfa = out};
    uint32_t empty = 0;
    *out = (struct qvl_dfa){0};
    if (nfa->status)
        return nfa->status;
    find_classes(nfa, out);
    enum qvl_status status;
    if ((status = sort_edges(&b, err)) || (status = find_set(&b.sets, NULL, 0, &empty, err))) /* the dead state */
        goto fail;
    for (size_t i = 0; i < n && !status; i++) {
        b.round++;
        b.n_set = 0;
        add_to_set(&b, start[i]);
        status = take_set(&b, &out_start[i], err);
    }
    for (uint32_t i = 0; i < b.sets.n && !status; i++)
        status = expand_set(&b, i, err);
fail:
    sets_free(&b.sets);
    free(b.edge_end);
    free(b.edge);
    free(b.seen);
    free(b.set);
    free(b.pair);
    return status;
}

/* ---- combining ----------------------------------------------------------------------------------- */

/* A state is a pair of states; as a set of two numbers it is found again. With b alone dead nothing is lost where b
 * is not wanted. */
static enum qvl_status find_pair_state(struct sets *s, uint32_t x, uint32_t y, bool want_b, uint32_t *out,
                                       struct qvl_error *err)
{
    bool is_dead = x == QVL_DFA_DEAD || (want_b && y == QVL_DFA_DEAD);
    uint32_t item[2] = {x, y};
    enum qvl_status status = find_set(s, item, is_dead ? 0 : 2, out, err);
    return !status && s->n > QVL_MAX_GRAMMAR_STATES ? too_complex(err) : status;
}

static void join_classes(const struct qvl_dfa *a, const struct qvl_dfa *b, struct qvl_dfa *out, uint8_t first[256])
{
    for (int c = 0; c < 256; c++) {
        bool is_new = c == 0 || a->class_of[c] != a->class_of[c - 1] || b->class_of[c] != b->class_of[c - 1];
        if (is_new)
            first[out->n_class++] = (uint8_t)c;
        out->class_of[c] = (uint8_t)(out->n_class - 1);
    }
}

enum qvl_status qvl_dfa_combine(const struct qvl_dfa *a, const struct qvl_dfa *b, bool want_b, struct qvl_dfa *out,
                                struct qvl_error *err)
{
    struct sets sets = {0};
    uint8_t first[256]; /* a byte of each class */
    uint32_t id = 0;
    *out = (struct qvl_dfa){0};
    join_classes(a, b, out, first);
    enum qvl_status status;
    if ((status = find_set(&sets, NULL, 0, &id, err)) || (status = find_pair_state(&sets, 1, 1, want_b, &id, err)))
        goto fail;
    for (uint32_t i = 0; i < sets.n; i++) {
        if ((status = add_state(out, err)))
            goto fail;
        if (i == QVL_DFA_DEAD)
            continue;
        uint32_t x = sets.item[set_begin(&sets, i)], y = sets.item[set_begin(&sets, i) + 1];
        out->is_accepting[i] = a->is_accepting[x] && b->is_accepting[y] == want_b;
        for (uint32_t c = 0; c < out->n_class; c++) {
            uint32_t to_x = a->next[(size_t)x * a->n_class + a->class_of[first[c]]];
            uint32_t to_y = b->next[(size_t)y * b->n_class + b->class_of[first[c]]];
            if ((status =
                     find_pair_state(&sets, to_x, to_y, want_b, &out->next[(size_t)i * out->n_class + c], err)))
                goto fail;
        }
    }
fail:
    sets_free(&sets);
    return status;
}

/* ---- what can be reached ------------------------------------------------------------------------- */

static uint32_t need_of_call(const struct qvl_dfa_call *call, const uint32_t *rule_start, const uint16_t *need)
{
    uint32_t inside = need[rule_start[call->rule]], behind = need[call->to];
    if (inside == QVL_NEED_NEVER || behind == QVL_NEED_NEVER)
        return QVL_NEED_NEVER;
    return inside + 1 > behind ? inside + 1 : behind;
}

static uint32_t need_of_state(const struct qvl_dfa *dfa, uint32_t s, const uint32_t *rule_start,
                              const uint16_t *need)
{
    uint32_t least = dfa->is_accepting[s] ? 0 : QVL_NEED_NEVER;
    for (uint32_t c = 0; c < dfa->n_class && least > 0; c++) {
        uint32_t n = need[dfa->next[(size_t)s * dfa->n_class + c]];
        least = n < least ? n : least;
    }
    for (uint32_t k = s > 0 ? dfa->call_end[s - 1] : 0; k < dfa->call_end[s] && least > 0; k++) {
        uint32_t n = need_of_call(&dfa->call[k], rule_start, need);
        least = n < least ? n : least;
    }
    return least;
}

/* For each state those whose need follows from its own, as one list: of state s [end[s - 1], end[s]). */
struct dependents {
    uint32_t *state;
    size_t *end;
};

static void visit_dependents(const struct qvl_dfa *dfa, const uint32_t *rule_start, struct dependents *d,
                             bool want_list)
{
    for (uint32_t s = dfa->n_state; s-- > 0;) {
        const uint32_t *next = dfa->next + (size_t)s * dfa->n_class;
        for (uint32_t c = 0; c < dfa->n_class; c++) {
            if (next[c] == QVL_DFA_DEAD || (c > 0 && next[c] == next[c - 1]))
                continue;
            if (want_list)
                d->state[--d->end[next[c]]] = s;
            else
                d->end[next[c]]++;
        }
        for (uint32_t k = s > 0 ? dfa->call_end[s - 1] : 0; k < dfa->call_end[s]; k++) {
            uint32_t on[2] = {dfa->call[k].to, rule_start[dfa->call[k].rule]};
            for (int i = 0; i < 2; i++) {
                if (want_list)
                    d->state[--d->end[on[i]]] = s;
                else
                    d->end[on[i]]++;
            }
        }
    }
}

static enum qvl_status list_dependents(const struct qvl_dfa *dfa, const uint32_t *rule_start, struct dependents *d,
                                       struct qvl_error *err)
{
    size_t n = dfa->n_state;
    d->end = calloc(n + 1, sizeof *d->end);
    if (!d->end)
        return qvl_fail_memory(err, n * sizeof *d->end, "the grammar");
    visit_dependents(dfa, rule_start, d, false);
    for (size_t s = 1; s <= n; s++)
        d->end[s] += d->end[s - 1];
    d->state = malloc((d->end[n] + 1) * sizeof *d->state);
    if (!d->state)
        return qvl_fail_memory(err, d->end[n] * sizeof *d->state, "the grammar");
    visit_dependents(dfa, rule_start, d, true);
    return QVL_OK;
}

/* A state is looked at again when one it depends on needs less than before: needs only fall. Of state s the
 * dependents begin at end[s] now, and end at end[s + 1]. */
enum qvl_status qvl_dfa_measure(const struct qvl_dfa *dfa, const uint32_t *rule_start, uint16_t *need,
                                struct qvl_error *err)
{
    struct dependents d = {0};
    uint32_t n = dfa->n_state;
    uint32_t *queue = malloc(((size_t)n + 1) * sizeof *queue); /* a ring: each state stands in it at most once */
    bool *is_queued = malloc((size_t)n + 1);
    enum qvl_status status = queue && is_queued ? QVL_OK : qvl_fail_memory(err, n * sizeof *queue, "the grammar");
    if (status || (status = list_dependents(dfa, rule_start, &d, err)))
        goto fail;
    for (uint32_t s = 0; s < n; s++) { /* what accepts is found first: accepting states mostly come late */
        need[s] = QVL_NEED_NEVER;
        queue[s] = n - 1 - s;
        is_queued[s] = true;
    }
    for (size_t begin = 0, n_queued = n; n_queued > 0; n_queued--) {
        uint32_t s = queue[begin];
        begin = begin + 1 < n ? begin + 1 : 0;
        is_queued[s] = false;
        uint32_t least = need_of_state(dfa, s, rule_start, need);
        if (least >= need[s])
            continue;
        need[s] = (uint16_t)least;
        for (size_t k = d.end[s]; k < d.end[s + 1]; k++) {
            uint32_t other = d.state[k];
            if (is_queued[other])
                continue;
            is_queued[other] = true;
            queue[(begin + n_queued++ - 1) % n] = other;
        }
    }
fail:
    free(queue);
    free(is_queued);
    free(d.state);
    free(d.end);
    return status;
}

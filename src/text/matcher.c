/* DESIGN. A *config* is a state of the grammar's automaton and the stack of calls that are open. The text so far
 * leaves a set of them, mostly one. Stacks share their lower parts: a *frame* is the state to return to and the
 * frame below, each such pair kept once, so a stack is one number. A *place* is a set of configs, closed (what can
 * be called from it or returned to without reading is in it), and kept once, too, with a row of the places that
 * each class of bytes leads to, found when first asked for. So following a byte is one look into a table, nearly
 * always.
 *
 * Masks. Which tokens may come after a config depends on its stack only for tokens that leave the rule at hand. So
 * for each state there is one mask for all stacks: the vocabulary's tree is walked from the state on the frame ANY,
 * of which nothing is known. What is accepted so far stays accepted whatever lies below; the nodes at which the
 * rule is left with bytes still to come are listed ("leaves"), and only below them the walk is made again, on the
 * true stack. In the middle of a string that is a hundred thousand tokens once, and a few thousand with a quote in
 * them each time. On the bottom of the stack nothing can follow the rule: there a state has a mask of its own,
 * without leaves. From a state that takes any plain text (token_trie.h), or any of so many characters and none of
 * more, only the other tokens are walked: a string whose length is bounded has a state, and so a mask, for each
 * character still allowed.
 *
 * Depth. A config lives only if the calls it needs to come to an end (grammar.need) still fit on its stack, so the
 * limit is never a dead end. The frame ANY counts as half of the limit; on deeper stacks masks are made by walking
 * the whole tree.
 *
 * Sets are cut at MAX_CONFIG: then fewer texts are possible than the grammar has, but each is one of its texts.
 * Frames, places and masks are thrown away together when they take too much memory, and made anew. */
#include "text/matcher.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/limits.h"

enum { MAX_CONFIG = 256, N_SPARSE = 1024, MAX_PLAIN_TEXT = 512 };
enum { FRAME_END, FRAME_ANY, N_FIXED_FRAME }; /* below FRAME_END there is nothing; below FRAME_ANY anything */
enum { PLACE_DEAD };
#define UNKNOWN UINT32_MAX
#define NO_MASK UINT32_MAX
#define ANY_DEPTH (QVL_MAX_GRAMMAR_DEPTH / 2)

struct frame {
    uint32_t to, below;
    uint32_t depth;
};

struct config {
    uint32_t state, frame;
};

struct place {
    size_t begin; /* its configs */
    uint32_t n;
    bool may_end;   /* the whole text */
    bool may_leave; /* the rule on FRAME_ANY */
};

struct mask {
    uint64_t *bits; /* [n_word], or NULL: */
    uint32_t *id;   /* [n_id] few tokens as a list */
    uint32_t *leaf; /* [n_leaf] nodes of the tree that was walked: */
    const struct qvl_trie_nodes *walked;
    size_t n_id, n_leaf;
};

struct slots { /* open addressing: numbers of frames or places, UNKNOWN where free */
    uint32_t *slot;
    size_t n;
};

struct list {
    uint32_t *item;
    size_t n, n_alloc;
};

struct qvl_matcher {
    const struct qvl_grammar *grammar;
    const struct qvl_token_trie *trie;
    size_t n_word;
    uint8_t probe[256]; /* [n_probe] of bytes that neither the grammar nor plain text tells apart, one */
    size_t n_probe;
    uint32_t *mask_of; /* [n_state, N_FIXED_FRAME] or NO_MASK */
    uint32_t at;       /* the place */
    struct frame *frame;
    struct place *place;
    struct config *config; /* of all places */
    uint32_t *next;        /* [n_place, n_class] or UNKNOWN */
    struct mask *mask;
    size_t n_frame, n_frame_alloc, n_place, n_place_alloc, n_config, n_config_alloc, n_next_alloc, n_mask,
        n_mask_alloc;
    struct slots frames, places;
    size_t n_mask_byte;
    struct config todo[2 * MAX_CONFIG], set[MAX_CONFIG]; /* a set in the making: not yet looked at, and met */
    size_t n_todo, n_set;
    bool may_end, may_leave; /* of the set in the making */
    uint32_t *hit;           /* [n_hit] of at most n_id: tokens met in a walk */
    size_t n_hit;
    struct list leaf; /* nodes at which it may leave the rule */
};

/* ---- tables -------------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t h, uint64_t x)
{
    h = (h ^ x) * 0xD6E8FEB86659FD93u;
    return h ^ h >> 32;
}

static uint64_t hash_frame(const struct frame *f)
{
    return mix(mix(1, f->to), f->below);
}

static uint64_t hash_set(const struct config *c, size_t n, bool may_end, bool may_leave)
{
    uint64_t h = mix(n, (uint64_t)may_end << 1 | may_leave);
    for (size_t i = 0; i < n; i++)
        h = mix(mix(h, c[i].state), c[i].frame);
    return h;
}

static uint64_t hash_place(const struct qvl_matcher *m, size_t i)
{
    const struct place *p = &m->place[i];
    return hash_set(m->config + p->begin, p->n, p->may_end, p->may_leave);
}

static void put_slot(struct slots *s, uint64_t hash, uint32_t number)
{
    size_t k = (size_t)hash & (s->n - 1);
    while (s->slot[k] != UNKNOWN)
        k = (k + 1) & (s->n - 1);
    s->slot[k] = number;
}

/* Room for one more than n numbers. */
static enum qvl_status widen_slots(const struct qvl_matcher *m, struct slots *s, size_t n, struct qvl_error *err)
{
    if (2 * (n + 1) <= s->n)
        return QVL_OK;
    size_t n_new = s->n > 0 ? 2 * s->n : 256;
    uint32_t *slot = malloc(n_new * sizeof *slot);
    if (!slot)
        return qvl_fail_memory(err, n_new * sizeof *slot, "the steps of a constraint");
    free(s->slot);
    *s = (struct slots){slot, n_new};
    memset(slot, 0xFF, n_new * sizeof *slot);
    for (size_t i = 0; i < n; i++)
        if (s == &m->places || i >= N_FIXED_FRAME)
            put_slot(s, s == &m->frames ? hash_frame(&m->frame[i]) : hash_place(m, i), (uint32_t)i);
    return QVL_OK;
}

/* The frame that returns to a state, with another below it. */
static enum qvl_status find_frame(struct qvl_matcher *m, uint32_t to, uint32_t below, uint32_t *out,
                                  struct qvl_error *err)
{
    struct frame f = {to, below, m->frame[below].depth + 1};
    enum qvl_status status = widen_slots(m, &m->frames, m->n_frame, err);
    if (status)
        return status;
    for (size_t k = (size_t)hash_frame(&f) & (m->frames.n - 1); m->frames.slot[k] != UNKNOWN;
         k = (k + 1) & (m->frames.n - 1)) {
        const struct frame *other = &m->frame[m->frames.slot[k]];
        if (other->to == to && other->below == below) {
            *out = m->frames.slot[k];
            return QVL_OK;
        }
    }
    struct frame *p =
        qvl_grow(m->frame, &m->n_frame_alloc, m->n_frame + 1, sizeof *p, "the steps of a constraint", err);
    if (!p)
        return err->status;
    m->frame = p;
    p[m->n_frame] = f;
    *out = (uint32_t)m->n_frame;
    put_slot(&m->frames, hash_frame(&f), (uint32_t)m->n_frame++);
    return QVL_OK;
}

static size_t used_bytes(const struct qvl_matcher *m)
{
    size_t n_class = m->grammar->dfa.n_class;
    return m->n_frame * sizeof *m->frame + m->n_place * (sizeof *m->place + n_class * sizeof *m->next) +
           m->n_config * sizeof *m->config + m->n_mask_byte;
}

static enum qvl_status add_place(struct qvl_matcher *m, struct qvl_error *err)
{
    size_t n_class = m->grammar->dfa.n_class;
    struct place *place =
        qvl_grow(m->place, &m->n_place_alloc, m->n_place + 1, sizeof *place, "the steps of a constraint", err);
    if (!place)
        return err->status;
    m->place = place;
    uint32_t *next = qvl_grow(m->next, &m->n_next_alloc, (m->n_place + 1) * n_class, sizeof *next,
                              "the steps of a constraint", err);
    if (!next)
        return err->status;
    m->next = next;
    struct config *config = qvl_grow(m->config, &m->n_config_alloc, m->n_config + m->n_set + 1, sizeof *config,
                                     "the steps of a constraint", err);
    if (!config)
        return err->status;
    m->config = config;
    memcpy(config + m->n_config, m->set, m->n_set * sizeof *config);
    memset(next + m->n_place * n_class, 0xFF, n_class * sizeof *next);
    place[m->n_place++] = (struct place){m->n_config, (uint32_t)m->n_set, m->may_end, m->may_leave};
    m->n_config += m->n_set;
    /* One walk can find so many only where a text can be read in very many ways. */
    return used_bytes(m) <= 4 * (size_t)QVL_MAX_MATCHER_BYTES
               ? QVL_OK
               : qvl_fail(err, QVL_ERR_LIMIT,
                          "the constraint is too ambiguous: the text can be read in too many ways");
}

static int compare_configs(const void *a, const void *b)
{
    const struct config *x = a, *y = b;
    if (x->state != y->state)
        return x->state < y->state ? -1 : 1;
    return x->frame < y->frame ? -1 : x->frame > y->frame;
}

/* The set in the making as a place. */
static enum qvl_status find_place(struct qvl_matcher *m, uint32_t *out, struct qvl_error *err)
{
    if (m->n_set > 1)
        qsort(m->set, m->n_set, sizeof *m->set, compare_configs);
    enum qvl_status status = widen_slots(m, &m->places, m->n_place, err);
    if (status)
        return status;
    uint64_t hash = hash_set(m->set, m->n_set, m->may_end, m->may_leave);
    for (size_t k = (size_t)hash & (m->places.n - 1); m->places.slot[k] != UNKNOWN;
         k = (k + 1) & (m->places.n - 1)) {
        const struct place *p = &m->place[m->places.slot[k]];
        if (p->n == m->n_set && p->may_end == m->may_end && p->may_leave == m->may_leave &&
            memcmp(m->config + p->begin, m->set, m->n_set * sizeof *m->set) == 0) {
            *out = m->places.slot[k];
            return QVL_OK;
        }
    }
    *out = (uint32_t)m->n_place;
    if (!(status = add_place(m, err)))
        put_slot(&m->places, hash, *out);
    return status;
}

/* ---- sets ---------------------------------------------------------------------------------------- */

static void begin_set(struct qvl_matcher *m)
{
    m->n_todo = m->n_set = 0;
    m->may_end = m->may_leave = false;
}

static bool fits(const struct qvl_matcher *m, uint32_t state, uint32_t frame)
{
    return m->frame[frame].depth + m->grammar->need[state] <= QVL_MAX_GRAMMAR_DEPTH;
}

static void put_config(struct qvl_matcher *m, uint32_t state, uint32_t frame)
{
    if (fits(m, state, frame) && m->n_todo < 2 * MAX_CONFIG)
        m->todo[m->n_todo++] = (struct config){state, frame};
}

static bool is_in_set(const struct qvl_matcher *m, const struct config *c)
{
    for (size_t i = 0; i < m->n_set; i++)
        if (m->set[i].state == c->state && m->set[i].frame == c->frame)
            return true;
    return false;
}

/* What follows from a config without reading: where the rule may end, what is behind it; and the rules it calls. */
static enum qvl_status follow(struct qvl_matcher *m, const struct config *c, struct qvl_error *err)
{
    const struct qvl_dfa *dfa = &m->grammar->dfa;
    if (dfa->is_accepting[c->state]) {
        if (c->frame == FRAME_END)
            m->may_end = true;
        else if (c->frame == FRAME_ANY)
            m->may_leave = true;
        else
            put_config(m, m->frame[c->frame].to, m->frame[c->frame].below);
    }
    for (uint32_t k = c->state > 0 ? dfa->call_end[c->state - 1] : 0; k < dfa->call_end[c->state]; k++) {
        uint32_t start = m->grammar->rule_start[dfa->call[k].rule], frame = 0;
        if (!fits(m, dfa->call[k].to, c->frame) ||
            m->frame[c->frame].depth + 1u + m->grammar->need[start] > QVL_MAX_GRAMMAR_DEPTH)
            continue;
        enum qvl_status status = find_frame(m, dfa->call[k].to, c->frame, &frame, err);
        if (status)
            return status;
        put_config(m, start, frame);
    }
    return QVL_OK;
}

/* Finishes the set in the making. The newest is looked at first, so that where the set is cut, what was begun is
 * whole. */
static enum qvl_status close_set(struct qvl_matcher *m, uint32_t *out, struct qvl_error *err)
{
    size_t n = 0;
    while (m->n_todo > 0 && m->n_set < MAX_CONFIG) {
        struct config c = m->todo[--m->n_todo];
        if (is_in_set(m, &c))
            continue;
        m->set[m->n_set++] = c;
        enum qvl_status status = follow(m, &c, err);
        if (status)
            return status;
    }
    for (size_t i = 0; i < m->n_set; i++)
        if (m->grammar->reads[m->set[i].state])
            m->set[n++] = m->set[i];
    m->n_set = n;
    return find_place(m, out, err);
}

/* Where a class of bytes leads. */
static enum qvl_status step(struct qvl_matcher *m, uint32_t place, uint32_t class, uint32_t *out,
                            struct qvl_error *err)
{
    const struct qvl_dfa *dfa = &m->grammar->dfa;
    size_t i_next = (size_t)place * dfa->n_class + class;
    enum qvl_status status = QVL_OK;
    if (m->next[i_next] == UNKNOWN) {
        begin_set(m);
        for (uint32_t i = m->place[place].n; i-- > 0;) { /* the first is looked at first */
            struct config c = m->config[m->place[place].begin + i];
            put_config(m, dfa->next[(size_t)c.state * dfa->n_class + class], c.frame);
        }
        status = close_set(m, out, err);
        if (!status)
            m->next[i_next] = *out;
    }
    if (!status)
        *out = m->next[i_next];
    return status;
}

/* The place of a config alone; closed, or only what it reads itself. */
static enum qvl_status place_of(struct qvl_matcher *m, uint32_t state, uint32_t frame, bool want_closed,
                                uint32_t *out, struct qvl_error *err)
{
    begin_set(m);
    if (want_closed) {
        put_config(m, state, frame);
        return close_set(m, out, err);
    }
    m->set[m->n_set++] = (struct config){state, frame};
    return find_place(m, out, err);
}

/* ---- walks --------------------------------------------------------------------------------------- */

static enum qvl_status add_leaf(struct list *list, uint32_t node, struct qvl_error *err)
{
    uint32_t *p = qvl_grow(list->item, &list->n_alloc, list->n + 1, sizeof *p, "the mask of a constraint", err);
    if (!p)
        return err->status;
    list->item = p;
    p[list->n++] = node;
    return QVL_OK;
}

/* Walks the nodes [i, end) of the tree, those directly below `depth` bytes from `place`. Adds the tokens met to
 * m->hit and the nodes at which the rule may be left to m->leaf. */
static enum qvl_status walk(struct qvl_matcher *m, const struct qvl_trie_node *node, uint32_t i, uint32_t end,
                            uint32_t depth, uint32_t place, struct qvl_error *err)
{
    const struct qvl_dfa *dfa = &m->grammar->dfa;
    uint32_t above[QVL_MAX_TOKEN_BYTES + 1]; /* the place above each depth */
    uint32_t *hit = m->hit;
    size_t n_hit = m->n_hit, n_class = dfa->n_class;
    enum qvl_status status = QVL_OK;
    above[depth] = place;
    while (i < end) {
        const struct qvl_trie_node at = node[i];
        uint32_t from = above[at.depth - 1], class = dfa->class_of[at.byte];
        uint32_t to = m->next[from * n_class + class];
        if (to == UNKNOWN && (status = step(m, from, class, &to, err)))
            return status;
        if (to == PLACE_DEAD) {
            i = at.end;
            continue;
        }
        above[at.depth] = to;
        hit[n_hit] = at.id; /* kept only where a token ends: no branch that the processor must guess */
        n_hit += at.id != QVL_NO_TOKEN;
        i++;
        if (m->place[to].may_leave && at.end > i && (status = add_leaf(&m->leaf, i - 1, err)))
            return status;
    }
    m->n_hit = n_hit;
    return QVL_OK;
}

static void set_bits(uint64_t *bits, const uint32_t *id, size_t n)
{
    for (size_t i = 0; i < n; i++)
        bits[id[i] / 64] |= 1ull << id[i] % 64;
}

static void mask_free(struct mask *mask)
{
    free(mask->bits);
    free(mask->id);
    free(mask->leaf);
}

/* A text that is the beginning of a plain one, read from a state. */
struct plain_text {
    uint32_t state;
    enum qvl_plain plain;
    int n_char; /* begun */
};

static bool has_calls(const struct qvl_dfa *dfa, uint32_t state)
{
    return dfa->call_end[state] > (state > 0 ? dfa->call_end[state - 1] : 0);
}

/* How many characters of plain text may follow a state without leaving the rule, whichever they are, where no more
 * may: QVL_MAX_PLAIN_BYTES, any number; -1, it depends on the text, or what follows may stand in another rule.
 * Texts that lead to the same state are followed once, a byte at a time. */
static int count_plain(const struct qvl_matcher *m, uint32_t state, uint32_t frame)
{
    const struct qvl_dfa *dfa = &m->grammar->dfa;
    struct plain_text text[MAX_PLAIN_TEXT] = {{state, QVL_PLAIN_WHOLE, 0}};
    int most = 0, least_too_many = QVL_MAX_PLAIN_BYTES + 1;
    bool may_go_elsewhere = false;
    size_t n = 1, begin = 0;
    for (int depth = 0; depth < QVL_MAX_PLAIN_BYTES; depth++) {
        for (size_t end = n; begin < end; begin++) {
            const struct plain_text at = text[begin];
            for (size_t i = 0; i < m->n_probe; i++) {
                uint8_t byte = m->probe[i];
                struct plain_text next = {dfa->next[(size_t)at.state * dfa->n_class + dfa->class_of[byte]],
                                          qvl_plain_next(at.plain, byte),
                                          at.n_char + (at.plain == QVL_PLAIN_WHOLE)};
                bool is_live = fits(m, next.state, frame);
                size_t k = n; /* mostly one of the newest */
                if (next.plain == QVL_PLAIN_NOT)
                    continue;
                if (is_live && next.n_char > most)
                    most = next.n_char;
                if (!is_live && next.n_char < least_too_many)
                    least_too_many = next.n_char;
                if (most >= least_too_many || (may_go_elsewhere && least_too_many <= QVL_MAX_PLAIN_BYTES))
                    return -1;
                while (k > 0 && (text[k - 1].state != next.state || text[k - 1].plain != next.plain ||
                                 text[k - 1].n_char != next.n_char))
                    k--;
                if (k > 0 || !is_live)
                    continue;
                if (n == MAX_PLAIN_TEXT)
                    return -1;
                may_go_elsewhere = may_go_elsewhere || has_calls(dfa, next.state) ||
                                   (dfa->is_accepting[next.state] && frame != FRAME_END);
                text[n++] = next;
            }
        }
    }
    return least_too_many > QVL_MAX_PLAIN_BYTES ? QVL_MAX_PLAIN_BYTES : least_too_many - 1;
}

static enum qvl_status add_mask(struct qvl_matcher *m, struct mask *mask, size_t n_byte, struct qvl_error *err)
{
    struct mask *p = qvl_grow(m->mask, &m->n_mask_alloc, m->n_mask + 1, sizeof *p, "the mask of a constraint", err);
    if (!p) {
        mask_free(mask);
        return err->status;
    }
    m->mask = p;
    p[m->n_mask++] = *mask;
    m->n_mask_byte += n_byte + sizeof *mask;
    return QVL_OK;
}

/* m->hit and m->leaf, and the plain tokens of up to n_plain characters, as a mask of its own. */
static enum qvl_status keep_mask(struct qvl_matcher *m, int n_plain, struct qvl_error *err)
{
    bool is_plain = n_plain >= 0;
    struct mask mask = {.n_leaf = m->leaf.n, .walked = is_plain ? &m->trie->others : &m->trie->all};
    bool is_list = !is_plain && m->n_hit <= N_SPARSE;
    size_t n_leaf_byte = m->leaf.n * sizeof *mask.leaf;
    size_t n_byte = is_list ? m->n_hit * sizeof *mask.id : m->n_word * sizeof *mask.bits;
    mask.leaf = malloc(n_leaf_byte + 1);
    mask.bits = is_list ? NULL : calloc(1, n_byte);
    mask.id = is_list ? malloc(n_byte + 1) : NULL;
    if (!mask.leaf || (!mask.bits && !mask.id)) {
        mask_free(&mask);
        return qvl_fail_memory(err, n_byte + n_leaf_byte, "the mask of a constraint");
    }
    if (is_list) {
        mask.n_id = m->n_hit;
        memcpy(mask.id, m->hit, n_byte);
    } else {
        if (is_plain)
            memcpy(mask.bits, m->trie->plain + (size_t)n_plain * m->n_word, n_byte);
        set_bits(mask.bits, m->hit, m->n_hit);
    }
    if (mask.n_leaf > 0)
        memcpy(mask.leaf, m->leaf.item, n_leaf_byte);
    return add_mask(m, &mask, n_byte + n_leaf_byte, err);
}

/* The mask of a state on one of the fixed frames. */
static enum qvl_status find_mask(struct qvl_matcher *m, uint32_t state, uint32_t frame, uint32_t *out,
                                 struct qvl_error *err)
{
    uint32_t *mask_of = &m->mask_of[(size_t)state * N_FIXED_FRAME + frame], place = 0;
    enum qvl_status status = QVL_OK;
    if (*mask_of == NO_MASK) {
        int n_plain = count_plain(m, state, frame);
        const struct qvl_trie_nodes *nodes = n_plain >= 0 ? &m->trie->others : &m->trie->all;
        m->n_hit = m->leaf.n = 0;
        if ((status = place_of(m, state, frame, false, &place, err)) ||
            (status = walk(m, nodes->node, 0, nodes->n, 0, place, err)) || (status = keep_mask(m, n_plain, err)))
            return status;
        *mask_of = (uint32_t)(m->n_mask - 1);
    }
    *out = *mask_of;
    return QVL_OK;
}

static enum qvl_status allow_after(struct qvl_matcher *m, const struct config *c, uint64_t *allowed,
                                   struct qvl_error *err)
{
    uint32_t i_mask = 0, place = 0;
    enum qvl_status status = find_mask(m, c->state, c->frame == FRAME_END ? FRAME_END : FRAME_ANY, &i_mask, err);
    if (status)
        return status;
    const struct mask mask = m->mask[i_mask];
    for (size_t i = 0; mask.bits && i < m->n_word; i++)
        allowed[i] |= mask.bits[i];
    set_bits(allowed, mask.id, mask.n_id);
    if (mask.n_leaf == 0)
        return QVL_OK;
    const struct frame f = m->frame[c->frame];
    if ((status = place_of(m, f.to, f.below, true, &place, err)))
        return status;
    for (size_t i = 0; i < mask.n_leaf && !status; i++) {
        const struct qvl_trie_node *node = &mask.walked->node[mask.leaf[i]];
        m->n_hit = 0;
        status = walk(m, mask.walked->node, mask.leaf[i] + 1, node->end, node->depth, place, err);
        set_bits(allowed, m->hit, m->n_hit);
    }
    return status;
}

/* The same on a stack so deep that the frame ANY does not stand for it. */
static enum qvl_status allow_after_deep(struct qvl_matcher *m, const struct config *c, uint64_t *allowed,
                                        struct qvl_error *err)
{
    uint32_t place = 0;
    m->n_hit = m->leaf.n = 0;
    enum qvl_status status = place_of(m, c->state, c->frame, false, &place, err);
    if (!status)
        status = walk(m, m->trie->all.node, 0, m->trie->all.n, 0, place, err);
    set_bits(allowed, m->hit, m->n_hit);
    return status;
}

/* ---- memory -------------------------------------------------------------------------------------- */

static void forget(struct qvl_matcher *m)
{
    for (size_t i = 0; i < m->n_mask; i++)
        mask_free(&m->mask[i]);
    m->n_mask = m->n_mask_byte = m->n_frame = m->n_place = m->n_config = 0;
    free(m->frames.slot);
    free(m->places.slot);
    m->frames = m->places = (struct slots){0};
    memset(m->mask_of, 0xFF, m->grammar->dfa.n_state * (size_t)N_FIXED_FRAME * sizeof *m->mask_of);
}

/* The two fixed frames and the dead place. */
static enum qvl_status begin_tables(struct qvl_matcher *m, struct qvl_error *err)
{
    struct frame *p =
        qvl_grow(m->frame, &m->n_frame_alloc, N_FIXED_FRAME, sizeof *p, "the steps of a constraint", err);
    uint32_t place = 0;
    if (!p)
        return err->status;
    m->frame = p;
    p[FRAME_END] = (struct frame){0, 0, 0};
    p[FRAME_ANY] = (struct frame){0, 0, ANY_DEPTH};
    m->n_frame = N_FIXED_FRAME;
    begin_set(m);
    return find_place(m, &place, err);
}

/* A stack as it was, from its frames of before. */
static enum qvl_status copy_stack(struct qvl_matcher *m, const struct frame *old, uint32_t top, uint32_t *out,
                                  struct qvl_error *err)
{
    uint32_t to[QVL_MAX_GRAMMAR_DEPTH], n = 0;
    enum qvl_status status = QVL_OK;
    for (; top >= N_FIXED_FRAME; top = old[top].below)
        to[n++] = old[top].to;
    *out = top;
    while (n > 0 && !status)
        status = find_frame(m, to[--n], *out, out, err);
    return status;
}

/* Everything anew, but for the place at hand. */
static enum qvl_status renew(struct qvl_matcher *m, struct qvl_error *err)
{
    const struct place here = m->place[m->at];
    struct config *config = malloc((here.n + (size_t)1) * sizeof *config);
    struct frame *old = m->frame;
    if (!config)
        return qvl_fail_memory(err, here.n * sizeof *config, "the steps of a constraint");
    memcpy(config, m->config + here.begin, here.n * sizeof *config);
    m->frame = NULL;
    m->n_frame_alloc = 0;
    forget(m);
    enum qvl_status status = begin_tables(m, err);
    for (uint32_t i = 0; i < here.n && !status; i++)
        status = copy_stack(m, old, config[i].frame, &config[i].frame, err);
    if (!status) {
        begin_set(m);
        memcpy(m->set, config, here.n * sizeof *config);
        m->n_set = here.n;
        m->may_end = here.may_end;
        status = find_place(m, &m->at, err);
    }
    free(config);
    free(old);
    return status;
}

static void choose_probes(struct qvl_matcher *m)
{
    const uint8_t *class_of = m->grammar->dfa.class_of;
    for (unsigned byte = 1; byte < 256; byte++)
        if (m->trie->is_plain_edge[byte] || class_of[byte] != class_of[byte - 1])
            m->probe[m->n_probe++] = (uint8_t)byte;
}

enum qvl_status qvl_matcher_restart(struct qvl_matcher *m, struct qvl_error *err)
{
    return place_of(m, m->grammar->rule_start[0], FRAME_END, true, &m->at, err);
}

enum qvl_status qvl_matcher_open(const struct qvl_grammar *grammar, const struct qvl_token_trie *trie,
                                 struct qvl_matcher **out, struct qvl_error *err)
{
    struct qvl_matcher *m = calloc(1, sizeof *m);
    const struct qvl_dfa *dfa = &grammar->dfa;
    enum qvl_status status = QVL_OK;
    if (!m)
        return qvl_fail_memory(err, sizeof *m, "the constraint");
    m->grammar = grammar;
    m->trie = trie;
    m->n_word = (trie->n_id + (size_t)63) / 64;
    m->hit = malloc((trie->n_id + (size_t)1) * sizeof *m->hit);
    m->mask_of = malloc(dfa->n_state * (size_t)N_FIXED_FRAME * sizeof *m->mask_of);
    if (!m->hit || !m->mask_of) {
        status = qvl_fail_memory(err, dfa->n_state * sizeof *m->mask_of, "the constraint");
        goto fail;
    }
    choose_probes(m);
    forget(m);
    if ((status = begin_tables(m, err)) || (status = qvl_matcher_restart(m, err)))
        goto fail;
    *out = m;
    m = NULL;
fail:
    qvl_matcher_close(m);
    return status;
}

void qvl_matcher_close(struct qvl_matcher *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->n_mask; i++)
        mask_free(&m->mask[i]);
    free(m->mask);
    free(m->mask_of);
    free(m->frame);
    free(m->place);
    free(m->config);
    free(m->next);
    free(m->frames.slot);
    free(m->places.slot);
    free(m->hit);
    free(m->leaf.item);
    free(m);
}

/* ---- an answer ------------------------------------------------------------------------------------ */

enum qvl_status qvl_matcher_mask(struct qvl_matcher *m, uint64_t *allowed, struct qvl_error *err)
{
    enum qvl_status status = used_bytes(m) > QVL_MAX_MATCHER_BYTES ? renew(m, err) : QVL_OK;
    memset(allowed, 0, m->n_word * sizeof *allowed);
    for (uint32_t i = 0; i < m->place[m->at].n && !status; i++) {
        struct config c = m->config[m->place[m->at].begin + i];
        status = m->frame[c.frame].depth <= ANY_DEPTH ? allow_after(m, &c, allowed, err)
                                                      : allow_after_deep(m, &c, allowed, err);
    }
    return status;
}

bool qvl_matcher_may_end(const struct qvl_matcher *m)
{
    return m->place[m->at].may_end;
}

bool qvl_matcher_is_over(const struct qvl_matcher *m)
{
    return m->place[m->at].n == 0;
}

enum qvl_status qvl_matcher_take(struct qvl_matcher *m, const char *bytes, size_t n, struct qvl_error *err)
{
    uint32_t place = m->at;
    for (size_t i = 0; i < n; i++) {
        enum qvl_status status = step(m, place, m->grammar->dfa.class_of[(unsigned char)bytes[i]], &place, err);
        if (status)
            return status;
        if (place == PLACE_DEAD)
            return qvl_fail(err, QVL_ERR_INTERNAL, "the constraint does not allow the text that came");
    }
    m->at = place;
    return QVL_OK;
}

/* The one class of bytes that leads on from a place, and is one byte; or -1. */
static enum qvl_status only_byte(struct qvl_matcher *m, uint32_t place, int *out, struct qvl_error *err)
{
    const struct qvl_dfa *dfa = &m->grammar->dfa;
    int n = 0;
    *out = -1;
    for (int c = 0; c < 256 && n < 2; c++) {
        uint32_t to = 0;
        enum qvl_status status = step(m, place, dfa->class_of[c], &to, err);
        if (status)
            return status;
        if (to != PLACE_DEAD) {
            *out = c;
            n++;
        }
    }
    if (n != 1)
        *out = -1;
    return QVL_OK;
}

enum qvl_status qvl_matcher_forced(struct qvl_matcher *m, char *out, size_t n_max, size_t *out_n,
                                   struct qvl_error *err)
{
    uint32_t place = m->at;
    size_t n = 0;
    while (n < n_max && !m->place[place].may_end) {
        int byte = -1;
        enum qvl_status status = only_byte(m, place, &byte, err);
        if (status || byte < 0 || (status = step(m, place, m->grammar->dfa.class_of[byte], &place, err))) {
            *out_n = n;
            return status;
        }
        out[n++] = (char)byte;
    }
    *out_n = n;
    return QVL_OK;
}

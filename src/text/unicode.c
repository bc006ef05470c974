/* Valid UTF-8 in; classes of code points, or the NFC form, out.
 *
 * NFC as UAX #15 has it: decompose, put each run of combining marks in the order of their classes, compose. Most
 * text needs none of it, so only stretches around a code point that is not "stable" are taken apart: from the
 * code point before the first unstable one to the next stable one.
 * The order is made by counting, not by exchanging neighbours: a megabyte of marks stays a matter of
 * milliseconds.
 * Surprise: the tables are those of the tokenizers library (reference/unicode_classes.py), whose normaliser is
 * years behind its regular expressions; a normaliser of today gives other ids for marks added since. */
#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/utf8.h"
#include "text/unicode_classes.h"
#include "text/unicode_nfc.h"

#define N_OF(a) (sizeof(a) / sizeof(a)[0])

enum qvl_unicode_class qvl_unicode_class(uint32_t cp)
{
    if (cp < 0x80) {
        uint32_t lower = cp | 0x20;
        return lower >= 'a' && lower <= 'z'         ? QVL_UNICODE_LETTER
               : cp >= '0' && cp <= '9'             ? QVL_UNICODE_NUMBER
               : cp == ' ' || (cp >= 9 && cp <= 13) ? QVL_UNICODE_SPACE
                                                    : QVL_UNICODE_OTHER;
    }
    size_t lo = 0, hi = N_OF(unicode_class);
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (cp > unicode_class[mid].last)
            lo = mid + 1;
        else if (cp < unicode_class[mid].first)
            hi = mid;
        else
            return (enum qvl_unicode_class)unicode_class[mid].class;
    }
    return QVL_UNICODE_OTHER;
}

bool qvl_unicode_run(size_t i, struct qvl_unicode_run *out)
{
    if (i >= N_OF(unicode_class))
        return false;
    *out = (struct qvl_unicode_run){unicode_class[i].first, unicode_class[i].last,
                                    (enum qvl_unicode_class)unicode_class[i].class};
    return true;
}

/* ---- NFC ------------------------------------------------------------------------------------------ */

/* Hangul syllables are composed by arithmetic (Unicode, section 3.12). */
#define S_BASE 0xAC00u
#define L_BASE 0x1100u
#define V_BASE 0x1161u
#define T_BASE 0x11A7u
#define L_COUNT 19u
#define V_COUNT 21u
#define T_COUNT 28u
#define S_COUNT (L_COUNT * V_COUNT * T_COUNT)

/* A code point and its combining class. */
struct mark {
    uint32_t cp;
    uint32_t ccc;
};

struct marks {
    struct mark *at;
    size_t n, n_alloc;
};

static bool is_stable(uint32_t cp)
{
    if (cp < 0x300)
        return true;
    size_t lo = 0, hi = N_OF(unicode_unstable);
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (cp > unicode_unstable[mid].last)
            lo = mid + 1;
        else if (cp < unicode_unstable[mid].first)
            hi = mid;
        else
            return false;
    }
    return true;
}

static uint32_t combining_class(uint32_t cp)
{
    if (cp < 0x300)
        return 0;
    size_t lo = 0, hi = N_OF(unicode_ccc);
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (cp > unicode_ccc[mid].last)
            lo = mid + 1;
        else if (cp < unicode_ccc[mid].first)
            hi = mid;
        else
            return unicode_ccc[mid].ccc;
    }
    return 0;
}

/* One step: cp becomes *first and *second (0 when there is none). */
static bool decompose_once(uint32_t cp, uint32_t *first, uint32_t *second)
{
    if (cp - S_BASE < S_COUNT) {
        uint32_t t = (cp - S_BASE) % T_COUNT;
        *first = t ? cp - t : L_BASE + (cp - S_BASE) / (V_COUNT * T_COUNT);
        *second = t ? T_BASE + t : V_BASE + (cp - S_BASE) / T_COUNT % V_COUNT;
        return true;
    }
    size_t lo = 0, hi = N_OF(unicode_decomposition);
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (unicode_decomposition[mid].cp < cp)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == N_OF(unicode_decomposition) || unicode_decomposition[lo].cp != cp)
        return false;
    *first = unicode_decomposition[lo].first;
    *second = unicode_decomposition[lo].second;
    return true;
}

/* The code point that a and b make, or 0. */
static uint32_t compose(uint32_t a, uint32_t b)
{
    if (a - L_BASE < L_COUNT && b - V_BASE < V_COUNT)
        return S_BASE + ((a - L_BASE) * V_COUNT + (b - V_BASE)) * T_COUNT;
    if (a - S_BASE < S_COUNT && (a - S_BASE) % T_COUNT == 0 && b - T_BASE - 1 < T_COUNT - 1)
        return a + (b - T_BASE);
    uint64_t want = (uint64_t)a << 32 | b;
    size_t lo = 0, hi = N_OF(unicode_composition);
    while (lo < hi) {
        size_t mid = (lo + hi) / 2, i = unicode_composition[mid];
        uint64_t pair = (uint64_t)unicode_decomposition[i].first << 32 | unicode_decomposition[i].second;
        if (pair == want)
            return unicode_decomposition[i].cp;
        if (pair < want)
            lo = mid + 1;
        else
            hi = mid;
    }
    return 0;
}

static enum qvl_status add_mark(struct marks *m, uint32_t cp, struct qvl_error *err)
{
    struct mark *at = qvl_grow(m->at, &m->n_alloc, m->n + 1, sizeof *at, "a text's canonical form", err);
    if (!at)
        return err->status;
    m->at = at;
    m->at[m->n++] = (struct mark){cp, combining_class(cp)};
    return QVL_OK;
}

/* A first part may have parts of its own (three steps at most), a second never does. */
static enum qvl_status decompose(struct marks *m, uint32_t cp, struct qvl_error *err)
{
    uint32_t later[4], first, second;
    size_t n_later = 0;
    enum qvl_status status;
    while (n_later < N_OF(later) && decompose_once(cp, &first, &second)) {
        cp = first;
        if (second)
            later[n_later++] = second;
    }
    status = add_mark(m, cp, err);
    while (!status && n_later > 0)
        status = add_mark(m, later[--n_later], err);
    return status;
}

/* Sorts n marks by class, equal ones in their order; spare holds as many. */
static void order_run(struct mark *run, size_t n, struct mark *spare)
{
    size_t begin[256] = {0};
    bool is_ordered = true;
    for (size_t i = 1; i < n && is_ordered; i++)
        is_ordered = run[i - 1].ccc <= run[i].ccc;
    if (is_ordered)
        return;
    for (size_t i = 0; i < n; i++)
        begin[run[i].ccc]++;
    for (size_t k = 0, sum = 0; k < N_OF(begin); k++) {
        size_t count = begin[k];
        begin[k] = sum;
        sum += count;
    }
    for (size_t i = 0; i < n; i++)
        spare[begin[run[i].ccc]++] = run[i];
    memcpy(run, spare, n * sizeof *run);
}

static enum qvl_status order_marks(struct marks *m, struct marks *spare, struct qvl_error *err)
{
    if (spare->n_alloc < m->n) {
        free(spare->at);
        spare->n_alloc = 0;
        spare->at = malloc(m->n_alloc * sizeof *spare->at);
        if (!spare->at)
            return qvl_fail_memory(err, m->n_alloc * sizeof *spare->at, "a text's canonical form");
        spare->n_alloc = m->n_alloc;
    }
    for (size_t i = 0; i < m->n; i++) {
        size_t begin = i;
        while (i < m->n && m->at[i].ccc != 0)
            i++;
        if (i - begin > 1)
            order_run(m->at + begin, i - begin, spare->at);
    }
    return QVL_OK;
}

/* In place: what stays moves to the front. A mark joins the last starter unless one of its own class or higher,
 * or another starter, stands between. */
static void compose_marks(struct marks *m)
{
    size_t n = 0, starter = SIZE_MAX;
    for (size_t i = 0; i < m->n; i++) {
        struct mark c = m->at[i];
        if (starter != SIZE_MAX && (n == starter + 1 || (c.ccc != 0 && m->at[n - 1].ccc < c.ccc))) {
            uint32_t joined = compose(m->at[starter].cp, c.cp);
            if (joined) {
                m->at[starter].cp = joined;
                continue;
            }
        }
        if (c.ccc == 0)
            starter = n;
        m->at[n++] = c;
    }
    m->n = n;
}

bool qvl_nfc_is_stable(const char *utf8, size_t n)
{
    uint32_t cp = 0;
    for (size_t i = 0; i < n;) {
        if ((unsigned char)utf8[i] < 0xCC) { /* below U+0300 */
            i++;
            continue;
        }
        size_t len = qvl_utf8_decode(utf8 + i, n - i, &cp);
        if (len == 0 || !is_stable(cp))
            return false;
        i += len;
    }
    return true;
}

enum qvl_status qvl_nfc(const char *utf8, size_t n, struct qvl_bytes *out, struct qvl_error *err)
{
    struct marks m = {0}, spare = {0};
    enum qvl_status status = QVL_OK;
    size_t i = 0, i_plain = 0, i_before = 0; /* plain: not yet copied; before: the code point before i */
    for (uint32_t cp = 0; i < n;) {
        size_t len = qvl_utf8_decode(utf8 + i, n - i, &cp);
        if (len == 0 || is_stable(cp)) {
            i_before = i;
            i += len ? len : 1;
            continue;
        }
        if ((status = qvl_bytes_add(out, utf8 + i_plain, i_before - i_plain, err)))
            goto fail;
        m.n = 0;
        for (i = i_before; i < n; i += len) {
            len = qvl_utf8_decode(utf8 + i, n - i, &cp);
            if (len == 0 || (i > i_before && is_stable(cp)))
                break;
            if ((status = decompose(&m, cp, err)))
                goto fail;
        }
        if ((status = order_marks(&m, &spare, err)))
            goto fail;
        compose_marks(&m);
        for (size_t k = 0; k < m.n; k++) {
            char c[4];
            if ((status = qvl_bytes_add(out, c, qvl_utf8_encode(m.at[k].cp, c), err)))
                goto fail;
        }
        i_plain = i_before = i;
    }
    status = qvl_bytes_add(out, utf8 + i_plain, n - i_plain, err);
fail:
    free(m.at);
    free(spare.at);
    return status;
}

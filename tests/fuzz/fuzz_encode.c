/* The first byte says whether added tokens are recognised, the rest is a text.
 *
 * Checked: pieces cover the text; NFC is stable under itself; the tokens' bytes, streamed, are the NFC text; the
 * ids are those of the plainest possible byte-pair encoding, written here again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "small_tokenizer.h"
#include "text/tokenizer.h"
#include "text/unicode.h"
#include "text/utf8_stream.h"

#define MAX_PLAIN 1024 /* bytes of a text that the quadratic encoder is tried on */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static size_t merge_rank(const char *left, size_t n_left, const char *right, size_t n_right)
{
    for (size_t r = 0; r < N_SMALL_MERGE; r++)
        if (strlen(small_merges[r][0]) == n_left && memcmp(small_merges[r][0], left, n_left) == 0
            && strlen(small_merges[r][1]) == n_right && memcmp(small_merges[r][1], right, n_right) == 0)
            return r;
    return SIZE_MAX;
}

/* Ends of the tokens of one piece; returns how many. */
static size_t encode_plainly(const char *s, size_t n, size_t *end)
{
    size_t n_token = n;
    for (size_t i = 0; i < n; i++)
        end[i] = i + 1;
    for (;;) {
        size_t best = SIZE_MAX, at = 0;
        for (size_t i = 0; i + 1 < n_token; i++) {
            size_t begin = i ? end[i - 1] : 0;
            size_t rank = merge_rank(s + begin, end[i] - begin, s + end[i], end[i + 1] - end[i]);
            if (rank < best) {
                best = rank;
                at = i;
            }
        }
        if (best == SIZE_MAX)
            return n_token;
        memmove(end + at, end + at + 1, (n_token - at - 1) * sizeof *end);
        n_token--;
    }
}

static void check_ids(const struct qvl_tokenizer *t, const char *s, size_t n, const struct qvl_ids *ids)
{
    size_t end[MAX_PLAIN], i_id = 0;
    for (size_t i = 0; i < n;) {
        size_t n_piece = qvl_split_piece(s + i, n - i), n_token = encode_plainly(s + i, n_piece, end);
        for (size_t k = 0; k < n_token; k++, i_id++) {
            size_t begin = k ? end[k - 1] : 0, n_got = 0;
            require(i_id < ids->n);
            const char *got = qvl_tokenizer_bytes(t, ids->id[i_id], &n_got);
            require(n_got == end[k] - begin && memcmp(got, s + i + begin, n_got) == 0);
        }
        i += n_piece;
    }
    require(i_id == ids->n);
}

static void check_stream(const struct qvl_tokenizer *t, const struct qvl_ids *ids, const char *s, size_t n)
{
    struct qvl_error err = {0};
    struct qvl_utf8_stream stream = {0};
    struct qvl_bytes out = {0};
    for (size_t i = 0; i < ids->n; i++) {
        size_t n_token = 0;
        const char *token = qvl_tokenizer_bytes(t, ids->id[i], &n_token);
        require(!qvl_utf8_stream_push(&stream, token, n_token, &out, &err));
        require(out.n == 0 || qvl_utf8_is_valid(out.data, out.n));
    }
    require(!qvl_utf8_stream_flush(&stream, &out, &err));
    require(out.n == n && (n == 0 || memcmp(out.data, s, n) == 0));
    qvl_bytes_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct qvl_tokenizer *t;
    struct qvl_error err = {0};
    struct qvl_ids ids = {0};
    struct qvl_bytes normal = {0}, again = {0};
    if (!t)
        t = small_tokenizer();
    if (n == 0)
        return 0;
    const char *s = (const char *)data + 1;
    bool want_special = data[0] & 1;
    n--;
    enum qvl_status status = qvl_tokenizer_encode(t, s, n, want_special, &ids, &err);
    require(!status == qvl_utf8_is_valid(s, n));
    if (status)
        return 0;
    for (size_t i = 0; i < ids.n; i++)
        require(ids.id[i] < qvl_tokenizer_n(t) - (want_special ? 0 : QVL_N_ADDED_TOKEN));
    require(!qvl_nfc(s, n, &normal, &err) && qvl_utf8_is_valid(normal.data, normal.n));
    require(!qvl_nfc(normal.data, normal.n, &again, &err));
    require(again.n == normal.n && memcmp(again.data, normal.data, normal.n) == 0);
    require(!qvl_nfc_is_stable(s, n) || (normal.n == n && memcmp(normal.data, s, n) == 0));
    for (size_t i = 0, n_piece; i < normal.n; i += n_piece) {
        n_piece = qvl_split_piece(normal.data + i, normal.n - i);
        require(n_piece > 0 && n_piece <= normal.n - i && qvl_utf8_is_valid(normal.data + i, n_piece));
    }
    if (!want_special) {
        check_stream(t, &ids, normal.data, normal.n);
        if (normal.n <= MAX_PLAIN)
            check_ids(t, normal.data, normal.n, &ids);
    }
    qvl_bytes_free(&normal);
    qvl_bytes_free(&again);
    qvl_ids_free(&ids);
    return 0;
}

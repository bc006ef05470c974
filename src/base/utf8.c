#include "base/utf8.h"

#include <string.h>

/* Length that a lead byte announces, 0 for a byte that cannot lead. */
static size_t lead_length(unsigned char c)
{
    if (c < 0x80)
        return 1;
    if (c >= 0xC2 && c <= 0xDF)
        return 2;
    if (c >= 0xE0 && c <= 0xEF)
        return 3;
    if (c >= 0xF0 && c <= 0xF4)
        return 4;
    return 0;
}

/* The second byte is narrower after E0, ED, F0 and F4 (Unicode 16, table 3-7). */
static bool is_second(unsigned char lead, unsigned char c)
{
    unsigned char lo = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    unsigned char hi = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    return c >= lo && c <= hi;
}

size_t qvl_utf8_decode(const char *s, size_t n, uint32_t *out)
{
    const unsigned char *u = (const unsigned char *)s;
    size_t len = lead_length(u[0]);
    if (len == 0 || len > n)
        return 0;
    if (len == 1) {
        *out = u[0];
        return 1;
    }
    if (!is_second(u[0], u[1]))
        return 0;
    uint32_t cp = u[0] & (0xFFu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((u[i] & 0xC0) != 0x80)
            return 0;
        cp = cp << 6 | (u[i] & 0x3Fu);
    }
    *out = cp;
    return len;
}

size_t qvl_utf8_encode(uint32_t cp, char out[4])
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    size_t len = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--, cp >>= 6)
        out[i] = (char)(0x80 | (cp & 0x3F));
    out[0] = (char)((0xF00u >> len) | cp);
    return len;
}

bool qvl_utf8_is_valid(const char *s, size_t n)
{
    uint32_t cp;
    for (size_t i = 0; i < n;) {
        size_t len = qvl_utf8_decode(s + i, n - i, &cp);
        if (len == 0)
            return false;
        i += len;
    }
    return true;
}

size_t qvl_utf8_n_incomplete(const char *s, size_t n)
{
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        unsigned char lead = (unsigned char)s[n - back];
        if ((lead & 0xC0) == 0x80)
            continue;
        if (lead_length(lead) <= back)
            return 0;
        if (back >= 2 && !is_second(lead, (unsigned char)s[n - back + 1]))
            return 0;
        return back;
    }
    return 0;
}

void qvl_utf8_make_printable(char *s, size_t n)
{
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t c = 0;
        len = qvl_utf8_decode(s + i, n - i, &c);
        bool is_printable = len > 0 && c >= 0x20 && !(c >= 0x7F && c < 0xA0);
        if (len == 0)
            len = 1;
        if (!is_printable)
            memset(s + i, '?', len);
    }
}

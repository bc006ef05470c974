/* The alternatives of QVL_SPLIT_REGEX in order, written by hand: each takes what a backtracking matcher would.
 *
 * What surprises: (?i:'s) also takes U+017F, whose simple case folding is s; a run of white space ends after its
 * last line break if it has one, else before its last character (which then begins the next piece), unless the
 * text ends there. */
#include "text/split.h"

#include <stdbool.h>
#include <string.h>

#include "base/utf8.h"
#include "text/unicode.h"

/* One code point, its class and its length; length 0 at the end of the text. */
struct point {
    uint32_t cp;
    size_t len;
    enum qvl_unicode_class class;
};

static struct point point_at(const char *s, size_t n, size_t i)
{
    struct point p = {0};
    if (i < n) {
        p.len = qvl_utf8_decode(s + i, n - i, &p.cp);
        if (p.len == 0) /* not UTF-8: the caller's fault, but never an endless loop */
            p.len = 1;
        p.class = qvl_unicode_class(p.cp);
    }
    return p;
}

static bool is_line_break(uint32_t cp)
{
    return cp == '\r' || cp == '\n';
}

/* Not a letter, number or space, and not the end. */
static bool is_symbol(struct point p)
{
    return p.len > 0 && p.class == QVL_UNICODE_OTHER;
}

/* 's 't 're 've 'm 'll 'd, any case; s[0] is the apostrophe. 0 when it is none. */
static size_t contraction(const char *s, size_t n)
{
    static const char two[][3] = {"re", "ve", "ll"};
    struct point p = point_at(s, n, 1);
    if (p.cp == 0x17F)
        return 1 + p.len;
    if (n < 2)
        return 0;
    int a = (unsigned char)s[1] | 0x20, b = n > 2 ? (unsigned char)s[2] | 0x20 : 0;
    if (a == 's' || a == 't' || a == 'm' || a == 'd')
        return 2;
    for (size_t i = 0; i < 3; i++)
        if (a == two[i][0] && b == two[i][1])
            return 3;
    return 0;
}

static size_t letters_end(const char *s, size_t n, size_t i)
{
    for (struct point p = point_at(s, n, i); p.class == QVL_UNICODE_LETTER; p = point_at(s, n, i))
        i += p.len;
    return i;
}

static size_t symbols_end(const char *s, size_t n, size_t i)
{
    for (struct point p = point_at(s, n, i); is_symbol(p); p = point_at(s, n, i))
        i += p.len;
    while (i < n && is_line_break((unsigned char)s[i]))
        i++;
    return i;
}

static size_t spaces_end(const char *s, size_t n)
{
    size_t i = 0, i_last = 0, after_break = 0;
    for (struct point p = point_at(s, n, 0); p.class == QVL_UNICODE_SPACE; p = point_at(s, n, i)) {
        i_last = i;
        i += p.len;
        if (is_line_break(p.cp))
            after_break = i;
    }
    if (after_break)
        return after_break;
    return i < n && i_last > 0 ? i_last : i;
}

size_t qvl_split_piece(const char *s, size_t n)
{
    struct point first = point_at(s, n, 0), second = point_at(s, n, first.len);
    size_t end = s[0] == '\'' ? contraction(s, n) : 0;
    if (end)
        return end;
    if (first.class == QVL_UNICODE_LETTER)
        return letters_end(s, n, first.len);
    if (first.class == QVL_UNICODE_NUMBER)
        return first.len;
    if (second.class == QVL_UNICODE_LETTER && !is_line_break(first.cp))
        return letters_end(s, n, first.len);
    if (is_symbol(first) || (first.cp == ' ' && is_symbol(second)))
        return symbols_end(s, n, first.len);
    return spaces_end(s, n);
}

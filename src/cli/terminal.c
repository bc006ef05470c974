#include "cli/terminal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/utf8.h"

bool qvl_terminal_is(int fd)
{
    const char *term = getenv("TERM");
    return isatty(fd) && !(term && strcmp(term, "dumb") == 0);
}

bool qvl_terminal_has_colour(int fd)
{
    const char *force = getenv("CLICOLOR_FORCE"), *no = getenv("NO_COLOR");
    if (no && *no)
        return false;
    return qvl_terminal_is(fd) || (force && *force && strcmp(force, "0") != 0);
}

enum qvl_status qvl_terminal_escape(const char *utf8, size_t n, struct qvl_bytes *out, struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    size_t i_plain = 0;
    for (size_t i = 0; i < n && !status; i++) {
        unsigned char c = (unsigned char)utf8[i];
        bool is_c1 = c == 0xC2 && i + 1 < n && (unsigned char)utf8[i + 1] < 0xA0;
        if (!is_c1 && !(c < 0x20 && c != '\n' && c != '\t') && c != 0x7F)
            continue;
        status = qvl_bytes_add(out, utf8 + i_plain, i - i_plain, err);
        if (is_c1)
            c = (unsigned char)utf8[++i];
        if (!status)
            status = qvl_bytes_add_format(out, err, "\\x%02x", c);
        i_plain = i + 1;
    }
    return status ? status : qvl_bytes_add(out, utf8 + i_plain, n - i_plain, err);
}

enum qvl_status qvl_terminal_add_column(struct qvl_bytes *out, const char *text, size_t width,
                                        struct qvl_error *err)
{
    size_t n = strlen(text), used = 0, length;
    uint32_t cp;
    for (const char *c = text; *c && (length = qvl_utf8_decode(c, n - (size_t)(c - text), &cp)) > 0; c += length)
        used += cp >= 0x2e80 ? 2 : 1;
    return qvl_bytes_add_format(out, err, "%s%*s", text, (int)(used < width ? width - used : 0) + 1, "");
}

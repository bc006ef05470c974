/* utf8.h: UTF-8 as Unicode defines it (no overlong forms, no surrogates, nothing above U+10FFFF). */
#ifndef QVL_BASE_UTF8_H
#define QVL_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decodes the code point at s (n >= 1 bytes left). Returns its length 1..4, or 0 where the bytes are not
 * UTF-8 (also when cut short). */
size_t qvl_utf8_decode(const char *s, size_t n, uint32_t *out);
/* Writes 1..4 bytes. cp must be a scalar value. */
size_t qvl_utf8_encode(uint32_t cp, char out[4]);
bool qvl_utf8_is_valid(const char *s, size_t n);
/* Of n bytes at s, how many at the end begin a character that is not yet whole (0..3). */
size_t qvl_utf8_n_incomplete(const char *s, size_t n);
/* Puts "?" in the place of what may not stand in a line of text for people: control characters (C0, DEL, C1), line
 * breaks and tabs among them, and bytes that are not UTF-8. */
void qvl_utf8_make_printable(char *s, size_t n);

#endif

/* unicode.h: what the tokenizers library knows of Unicode: three classes of characters, and NFC. */
#ifndef QVL_TEXT_UNICODE_H
#define QVL_TEXT_UNICODE_H

#include "base/bytes.h"

enum qvl_unicode_class { QVL_UNICODE_OTHER, QVL_UNICODE_LETTER, QVL_UNICODE_NUMBER, QVL_UNICODE_SPACE };

/* \p{L}, \p{N}, \s of the library's regular expressions (Unicode 16). */
enum qvl_unicode_class qvl_unicode_class(uint32_t cp);
/* The same as runs of code points, in order; false where there are no more. */
struct qvl_unicode_run {
    uint32_t first, last;
    enum qvl_unicode_class class;
};
bool qvl_unicode_run(size_t i, struct qvl_unicode_run *out);

/* True when NFC leaves these n bytes of valid UTF-8 as they are. A quick look: false means "perhaps". */
bool qvl_nfc_is_stable(const char *utf8, size_t n);
/* Appends the canonical composition of n bytes of valid UTF-8 (Unicode 9, the version of the library's
 * normaliser). Linear in n, whatever the combining marks. */
enum qvl_status qvl_nfc(const char *utf8, size_t n, struct qvl_bytes *out, struct qvl_error *err);

#endif

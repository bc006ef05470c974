/* split.h: where the pre-tokeniser cuts a text. */
#ifndef QVL_TEXT_SPLIT_H
#define QVL_TEXT_SPLIT_H

#include <stddef.h>

/* The one regular expression of the family, as tokenizer.json holds it. It is compared, never executed. */
#define QVL_SPLIT_REGEX                                                                                            \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"             \
    "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/* Bytes of the first piece of n > 0 bytes of valid UTF-8. Every byte belongs to a piece; cutting a whole text
 * reads no byte more than a few times. */
size_t qvl_split_piece(const char *utf8, size_t n);

#endif

/* language.h: every sentence for people exists in English, in the source, and in Chinese, in base/messages_zh.h.
 * The English text (with its printf conversions) is the key. tools/check-messages.sh holds the table complete
 * and its conversions equal. */
#ifndef QVL_BASE_LANGUAGE_H
#define QVL_BASE_LANGUAGE_H

#include "qvl.h"

/* The text in the language chosen by qvl_set_language; itself where the table has none. Static or the argument. */
const char *qvl_text(const char *english) __attribute__((format_arg(1)));
enum qvl_language qvl_language(void);
/* Marks a sentence that stands in a table and is looked up later. */
#define QVL_SAID(english) english

#endif

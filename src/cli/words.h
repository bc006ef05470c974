/* words.h: what a user types after a command, or drops into the terminal: a shell's quotes, file: URIs. */
#ifndef QVL_CLI_WORDS_H
#define QVL_CLI_WORDS_H

#include "base/bytes.h"

/* The next word of *text, as a shell reads it: '…' and "…" keep blanks, \ the next character (inside "…" only " \ $
 * and `). A word that begins with file:/ becomes the path it stands for (chat/media_uri.h), ~/ at its beginning the home folder. The word replaces what was in *out; *text moves behind it.
 * *is_there: false at the end of the text. QVL_ERR_ARGUMENT: a quote that is not closed, an URI that is no local
 * file's. */
enum qvl_status qvl_words_next(const char **text, struct qvl_bytes *out, bool *is_there, struct qvl_error *err);

/* Past spaces and tabs. */
const char *qvl_words_skip_blanks(const char *text);

#endif

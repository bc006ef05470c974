/* terminal.h: what may be written to a terminal, and how. */
#ifndef QVL_CLI_TERMINAL_H
#define QVL_CLI_TERMINAL_H

#include "base/bytes.h"

bool qvl_terminal_is(int fd);        /* a terminal that knows cursor codes: not TERM=dumb */
bool qvl_terminal_has_colour(int fd); /* also not NO_COLOR; CLICOLOR_FORCE forces it */
/* Appends text with control characters (C0 but newline and tab, DEL, C1) as \xNN: what a model says must not
 * steer the terminal. */
enum qvl_status qvl_terminal_escape(const char *utf8, size_t n, struct qvl_bytes *out, struct qvl_error *err);
/* Appends text of a table and blanks up to `width` places, where Chinese takes two each, and one more. */
enum qvl_status qvl_terminal_add_column(struct qvl_bytes *out, const char *text, size_t width, struct qvl_error *err);

#endif

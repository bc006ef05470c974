/* question.h: a person at the terminal says yes or no. */
#ifndef QVL_CLI_QUESTION_H
#define QVL_CLI_QUESTION_H

#include <stdbool.h>

/* Someone types at stdin and reads what stderr says. */
bool qvl_question_has_person(void);
/* The answer to what was just written to stderr: a line from stdin that begins with y, or 是. An end of stdin is
 * no. */
bool qvl_question_is_yes(void);

#endif

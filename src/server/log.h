/* log.h: one JSON object a line for each event, to stderr or a file. Control characters are escaped, strings cut at 256
 * bytes, equal events above ten a second counted instead of written. Never prompts, pictures, keys or query strings, unless
 * --log-prompts asked for the first. */
#ifndef QVL_SERVER_LOG_H
#define QVL_SERVER_LOG_H

#include "base/error.h"

struct qvl_log;

/* file NULL: stderr. */
enum qvl_status qvl_log_open(const char *file, struct qvl_log **out, struct qvl_error *err);
/* Opens the file again (after it was moved away). Safe from any thread; failing to, it goes on with the old one. */
void qvl_log_reopen(struct qvl_log *log);
void qvl_log_close(struct qvl_log *log);

/* A line is built and written at once; it begins with time and event. Any thread. `event` and keys are literals.
 *
 *     struct qvl_log_line line;
 *     qvl_log_begin(log, &line, "request");
 *     qvl_log_add_detail(&line, "id", id);
 *     qvl_log_add_number(&line, "ms", ms);
 *     qvl_log_end(&line);
 *
 * Two events are equal when their names and texts are; details and numbers may differ. */
struct qvl_log_line {
    struct qvl_log *log;
    const char *event;
    uint64_t kind;  /* hash of name and texts */
    bool want_each; /* set it after qvl_log_begin: never counted instead of written */
    size_t n;
    char text[4096];
};
void qvl_log_begin(struct qvl_log *log, struct qvl_log_line *line, const char *event);
void qvl_log_add_text(struct qvl_log_line *line, const char *key, const char *utf8); /* NULL: not added */
void qvl_log_add_detail(struct qvl_log_line *line, const char *key, const char *utf8);
void qvl_log_add_number(struct qvl_log_line *line, const char *key, double value);
/* A number that tells events apart, as a text does. */
void qvl_log_add_code(struct qvl_log_line *line, const char *key, unsigned code);
void qvl_log_end(struct qvl_log_line *line);

#endif

/* verbs.h: one function for each verb of the command line, and what they share. Each returns the exit code. */
#ifndef QVL_CLI_VERBS_H
#define QVL_CLI_VERBS_H

#include <limits.h>

#include "cli/exit_code.h"
#include "cli/options.h"

enum qvl_exit qvl_run(const struct qvl_options *options);
/* run -i, and qvl alone on a terminal. */
enum qvl_exit qvl_chat_in_terminal(const struct qvl_options *options);
enum qvl_exit qvl_serve_model(const struct qvl_options *options);
enum qvl_exit qvl_inspect_model(const struct qvl_options *options);
enum qvl_exit qvl_bench_model(const struct qvl_options *options);
enum qvl_exit qvl_quantize_model(const struct qvl_options *options);
enum qvl_exit qvl_convert_model(const struct qvl_options *options);
enum qvl_exit qvl_pull_model(const struct qvl_options *options);
enum qvl_exit qvl_list_models(const struct qvl_options *options);
enum qvl_exit qvl_remove_models(const struct qvl_options *options);
enum qvl_exit qvl_compare_models(const struct qvl_options *options);
enum qvl_exit qvl_tokenize_texts(const struct qvl_options *options);
enum qvl_exit qvl_verify_model(const struct qvl_options *options);
enum qvl_exit qvl_doctor(const struct qvl_options *options);

/* The name of verb i, in the order of the table, and which it is (verb may be NULL); NULL: there are not as many. */
const char *qvl_verb_name(size_t i, enum qvl_verb *verb);

/* "qvl: sentence" on stderr. */
void qvl_say_error(const struct qvl_error *err);
/* Bytes to stdout, at once. QVL_ERR_FILE when they cannot be written. */
enum qvl_status qvl_write_stdout(const void *data, size_t n, struct qvl_error *err);
/* The model and, where the options name one, its vision tower, as the library takes them: in pair, or model itself. */
const char *qvl_model_path(const struct qvl_options *options, const char *model, char pair[2 * PATH_MAX]);
/* The engine of the options' model, not loaded. Says that it is the demo model where none was given. Writes to
 * *exit_code why it failed. */
struct qvl_engine *qvl_open_engine(const struct qvl_options *options, enum qvl_exit *exit_code);

#endif

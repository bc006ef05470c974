/* quantize.h: a packed folder written, with its progress shown and Ctrl-C taken. */
#ifndef QVL_CLI_QUANTIZE_H
#define QVL_CLI_QUANTIZE_H

#include "cli/progress.h"

/* QVL_ERR_CANCELLED: by a signal; nothing is left then, as after any failure. */
enum qvl_status qvl_quantize_folder(const struct qvl_quantizer_options *wish, struct qvl_progress *progress,
                                    struct qvl_quantizer_info *out, struct qvl_error *err);

#endif

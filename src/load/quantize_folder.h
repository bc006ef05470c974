/* quantize_folder.h: `qvl quantize` from where the small files of the new folder are known. */
#ifndef QVL_LOAD_QUANTIZE_FOLDER_H
#define QVL_LOAD_QUANTIZE_FOLDER_H

#include "load/config_write.h"

/* As qvl_quantizer_open. made[n_made], config.json among them: the small files of a model that is no folder,
 * allocated, and the quantizer's from here on, also on failure; n_made 0: those of the folder are copied. */
enum qvl_status qvl_quantizer_begin(const struct qvl_quantizer_options *options, struct qvl_small_file *made,
                                    size_t n_made, struct qvl_quantizer **out, struct qvl_error *err);

#endif

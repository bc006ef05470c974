/* feature_writer.h: features on their way to the vision cache's folder, on a thread of its own, so that nobody's
 * answer waits for a disk. */
#ifndef QVL_ENGINE_FEATURE_WRITER_H
#define QVL_ENGINE_FEATURE_WRITER_H

#include "engine/feature_folder.h"

struct qvl_feature_writer;

/* What was used again is nearly always written already; it does not take the place of what is new. */
enum qvl_feature_use { QVL_FEATURE_NEW, QVL_FEATURE_USED_AGAIN, QVL_N_FEATURE_USE };

/* tell(tell_arg, sentence) is called once, from the writer's thread, when something cannot be kept; it goes on
 * trying. The folder must outlive it. */
enum qvl_status qvl_feature_writer_open(struct qvl_feature_folder *folder,
                                        void (*tell)(void *arg, const char *sentence), void *tell_arg,
                                        struct qvl_feature_writer **out, struct qvl_error *err);
/* What was given to it is written first. */
void qvl_feature_writer_close(struct qvl_feature_writer *writer);
/* To be written, or known as used; acquires the patch, which has features. Returns at once. When too much of
 * the same use is waiting (QVL_MAX_UNWRITTEN_BYTES) or memory is short: nothing happens. */
void qvl_feature_writer_add(struct qvl_feature_writer *writer, struct qvl_patch_features *patch,
                            enum qvl_feature_use use);

#endif

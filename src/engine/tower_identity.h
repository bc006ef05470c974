/* tower_identity.h: what decides the features of given pixels, as one number: the tower's weights as they are
 * multiplied, its settings, the number formats, the kernel level, this version of qvl, and a count of the changes to
 * the tower's arithmetic (between two versions there may be some). Two with equal identity make the same bits. */
#ifndef QVL_ENGINE_TOWER_IDENTITY_H
#define QVL_ENGINE_TOWER_IDENTITY_H

#include "engine/identity.h"
#include "model/model.h"

/* Of a bound model and the weights that it is bound to. */
void qvl_tower_identity_make(const struct qvl_model *model, const struct qvl_weights *weights,
                             struct qvl_identity *out);

#endif

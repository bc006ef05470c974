/* Weights are looked at in pieces, some of each tensor, since a whole tower takes longer to read than a program may
 * take to start (0.8 GB of the 2B): training changes every matrix nearly everywhere. What is changed in place
 * besides changes its file's time. Neither name nor place of the files counts, so a model that was moved keeps what
 * is known. */
#include "engine/tower_identity.h"

#include <nettle/sha2.h>
#include <string.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "load/quantize.h"

enum {
    ARITHMETIC = 1, /* one more with each change after which a vision kernel, or what calls it, makes other bits */
    N_PIECE = 8,
    PIECE_BYTES = 4096
};

static void add_number(struct sha256_ctx *sha, uint64_t x)
{
    sha256_update(sha, sizeof x, (const uint8_t *)&x);
}

static void add_text(struct sha256_ctx *sha, const char *text)
{
    add_number(sha, strlen(text));
    sha256_update(sha, strlen(text), (const uint8_t *)text);
}

static void add_tensor(struct sha256_ctx *sha, const struct qvl_tensor *t)
{
    size_t n = (size_t)qvl_tensor_bytes(t);
    add_text(sha, t->name);
    add_number(sha, t->dtype);
    for (uint32_t i = 0; i < t->n_dim; i++)
        add_number(sha, t->dim[i]);
    if (n <= (size_t)N_PIECE * PIECE_BYTES) {
        sha256_update(sha, n, t->data);
        return;
    }
    for (size_t i = 0; i < N_PIECE; i++)
        sha256_update(sha, PIECE_BYTES, (const uint8_t *)t->data + (n - PIECE_BYTES) / (N_PIECE - 1) * i);
}

static void add_file(struct sha256_ctx *sha, const struct qvl_weights_file *file)
{
    struct stat st = {0};
    if (stat(file->path, &st) != 0)
        st.st_mtim.tv_sec = 0;
    add_number(sha, file->n_bytes);
    add_number(sha, (uint64_t)st.st_mtim.tv_sec);
    add_number(sha, (uint64_t)st.st_mtim.tv_nsec);
}

void qvl_tower_identity_make(const struct qvl_model *model, const struct qvl_weights *weights,
                             struct qvl_identity *out)
{
    static const char tower[] = "model.visual.";
    const struct qvl_image_config *image = &model->config.image;
    struct sha256_ctx sha;
    sha256_init(&sha);
    add_text(&sha, QVL_VERSION);
    add_number(&sha, ARITHMETIC);
    add_text(&sha, model->kernels->name);
    add_number(&sha, model->vision_act);
    add_number(&sha, model->vision_kv);
    sha256_update(&sha, sizeof model->config.vision, (const uint8_t *)&model->config.vision);
    sha256_update(&sha, sizeof image->mean, (const uint8_t *)image->mean);
    sha256_update(&sha, sizeof image->std, (const uint8_t *)image->std);
    sha256_update(&sha, sizeof image->rescale, (const uint8_t *)&image->rescale);
    for (size_t i = 0; i < qvl_weights_n_file(weights); i++) {
        struct qvl_weights_file file = qvl_weights_file(weights, i);
        add_file(&sha, &file);
    }
    for (size_t i = 0; i < qvl_weights_n_tensor(weights); i++)
        if (strncmp(qvl_weights_at(weights, i)->name, tower, strlen(tower)) == 0)
            add_tensor(&sha, qvl_weights_at(weights, i));
    sha256_digest(&sha, sizeof out->bytes, out->bytes);
}

/* The JSON files of a model folder. Input: one byte that names the file, then its text. What is accepted must be
 * a config whose tensor table can be made. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "load/config_read.h"
#include "load/shard_index.h"
#include "load/weights.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum file { CONFIG, IMAGE, VIDEO, GENERATION, SHARD_INDEX, TEMPLATE, N_FILE };

static void check(bool is_true)
{
    if (!is_true)
        abort();
}

static void check_config(const struct qvl_config *c)
{
    struct qvl_arena arena = {0};
    struct qvl_error err = {0};
    struct qvl_tensor *tensor = NULL;
    size_t n = 0, n_counted = 0;
    uint64_t n_parameter = 0, n_element = 0;
    check(c->text.n_head % c->text.n_kv_head == 0 && c->text.vocab > c->image_token);
    check(c->text.rope.section[0] + c->text.rope.section[1] + c->text.rope.section[2] == c->text.head_dim / 2);
    check(c->vision.head_dim * c->vision.n_head == c->vision.hidden && c->vision.out_hidden == c->text.hidden);
    for (uint32_t i = 0; i < c->vision.n_tap; i++)
        check(c->vision.tap_layer[i] < c->vision.n_layer);
    check(!qvl_weights_expect(c, &arena, &tensor, &n, &err));
    for (size_t i = 0; i < n; i++) {
        check(tensor[i].n_element > 0 && (i == 0 || strcmp(tensor[i - 1].name, tensor[i].name) < 0));
        n_element += tensor[i].n_element;
    }
    qvl_weights_count(c, &n_counted, &n_parameter);
    check(n == n_counted && (n_element == n_parameter || c->quantization != QVL_QUANTIZE_NONE)); /* the head twice */
    qvl_arena_free(&arena);
}

static enum qvl_status read_sibling(enum file file, const char *text, size_t n, struct qvl_error *err)
{
    struct qvl_config c = qvl_config_family;
    struct qvl_shard_index index = {0};
    json_t *root = NULL;
    c.text.vocab = 1000;
    enum qvl_status status = qvl_json_parse(text, n, "f", &root, err);
    if (status)
        return status;
    switch (file) {
    case IMAGE: status = qvl_config_parse_image(root, "f", "", &c, err); break;
    case VIDEO: status = qvl_config_parse_video(root, "f", "", &c, err); break;
    case GENERATION: status = qvl_config_parse_generation(root, "f", &c, err); break;
    default:
        status = qvl_shard_index_parse(json_incref(root), "f", &index, err);
        if (!status)
            check(index.n_shard >= 1 && qvl_shard_index_check_end(&index, err));
        qvl_shard_index_free(&index);
    }
    if (!status && (file == IMAGE || file == VIDEO))
        check(c.image.min_pixels <= c.image.max_pixels && c.video.min_pixels <= c.video.max_pixels &&
              c.image.std[0] > 0 && c.video.fps > 0 && c.video.min_frames <= c.video.max_frames);
    if (!status && file == GENERATION)
        check(c.generation.n_eos <= 8 && c.generation.sampling.temperature >= 0);
    json_decref(root);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct qvl_config config;
    struct qvl_error err = {0};
    enum qvl_status status = QVL_OK;
    if (n < 1)
        return 0;
    enum file file = (enum file)(data[0] % N_FILE);
    char *text = malloc(n); /* without the first byte, with a NUL for the template */
    check(text != NULL);
    memcpy(text, data + 1, n - 1);
    text[n - 1] = 0;
    if (file == TEMPLATE) {
        qvl_config_template_thinks(text);
    } else if (file == CONFIG) {
        status = qvl_config_parse(text, n - 1, "f", &config, &err);
        if (!status)
            check_config(&config);
    } else {
        status = read_sibling(file, text, n - 1, &err);
    }
    check(!status || (err.status == status && err.text[0] && qvl_utf8_is_valid(err.text, strlen(err.text))));
    free(text);
    return 0;
}

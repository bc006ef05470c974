/* Bytes as a JSON schema. Checked: what is refused leaves a sentence; what is accepted can be written: a text
 * chosen byte by byte from what the matcher allows never meets a dead end, ends as soon as it may, and is JSON. */
#include "base/json_reader.h"
#include "walk_grammar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_json(const struct qvl_bytes *text)
{
    struct qvl_error err = {0};
    struct qvl_json_reader j = {
        .text = text->data ? text->data : "", .n = text->n, .name = "x", .status = QVL_ERR_ARGUMENT};
    require(!qvl_json_reader_next(&j, &err) && !qvl_json_reader_skip(&j, &err));
    require(!qvl_json_reader_next(&j, &err) && j.event == QVL_JSON_END);
    qvl_json_reader_free(&j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct qvl_error err = {0};
    struct qvl_grammar *g = NULL;
    struct qvl_bytes text = {0};
    if (qvl_grammar_from_schema((const char *)data, n, &g, &err)) {
        require(!g && err.status != QVL_OK && err.status != QVL_ERR_INTERNAL && err.text[0]);
        return 0;
    }
    for (uint32_t seed = 1; seed < 4; seed++)
        if (walk_grammar(g, seed, &text))
            check_json(&text);
    qvl_bytes_free(&text);
    qvl_grammar_free(g);
    return 0;
}

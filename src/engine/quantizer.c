/* The beginning of `qvl quantize`: a model in GGUF files has neither config.json nor tokenizer.json, and the new
 * folder gets both, made of what two rooms have read. */
#include "load/quantize_folder.h"

#include <stdlib.h>

#include "base/gguf.h"
#include "text/tokenizer_write.h"

enum { N_FILE = QVL_N_CONFIG_FILE + 2 };

static enum qvl_status make_files(const char *model_dir, struct qvl_small_file file[N_FILE], struct qvl_error *err)
{
    struct qvl_small_file *tokens = &file[QVL_N_CONFIG_FILE], *template = tokens + 1;
    struct qvl_tokenizer_file tokenizer = {0};
    struct qvl_config config;
    enum qvl_status status;
    tokens->name = "tokenizer.json";
    template->name = "chat_template.jinja";
    if (!(status = qvl_config_load(model_dir, &config, err)) && !(status = qvl_config_write(&config, file, err)) &&
        !(status = qvl_tokenizer_file_read(model_dir, &tokenizer, err)) &&
        !(status = qvl_tokenizer_write(&tokenizer, &tokens->text, err)))
        status = qvl_config_read_template(model_dir, &template->text, err);
    qvl_tokenizer_file_free(&tokenizer);
    return status;
}

enum qvl_status qvl_quantizer_open(const struct qvl_quantizer_options *options, struct qvl_quantizer **out,
                                   struct qvl_error *err)
{
    struct qvl_gguf_pair pair = {.is_found = false};
    struct qvl_small_file *file = NULL;
    enum qvl_status status = options->model_dir ? qvl_gguf_pair_find(options->model_dir, &pair, err) : QVL_OK;
    if (!status && pair.is_found && !(file = calloc(N_FILE, sizeof *file)))
        status = qvl_fail_memory(err, N_FILE * sizeof *file, "quantising");
    if (file && !status)
        status = make_files(options->model_dir, file, err);
    if (!status)
        return qvl_quantizer_begin(options, file, file ? N_FILE : 0, out, err);
    qvl_small_files_free(file, file ? N_FILE : 0);
    return err->status = status == QVL_ERR_FILE ? QVL_ERR_MODEL : status; /* FILE is about what is written */
}

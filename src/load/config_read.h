/* config_read.h: how the JSON files of a model folder become struct qvl_config; for the config*.c files only.
 *
 * A place is one JSON object of one file, and the section says which rows of the tables in config_table.c it is
 * read by. Absent and null members keep what *out holds already (the family's defaults). */
#ifndef QVL_LOAD_CONFIG_READ_H
#define QVL_LOAD_CONFIG_READ_H

#include "load/config.h"
#include "load/json.h"

enum qvl_config_section {
    QVL_SECTION_TOP,         /* config.json */
    QVL_SECTION_TEXT,        /* its text_config */
    QVL_SECTION_ROPE,        /* text_config's rope_parameters, or rope_scaling */
    QVL_SECTION_YARN,        /* the same object, where rope_type is yarn */
    QVL_SECTION_VISION,      /* vision_config */
    QVL_SECTION_VISION_ROPE, /* its rope_parameters */
    QVL_SECTION_IMAGE,       /* preprocessor_config.json, or image_processor of processor_config.json */
    QVL_SECTION_IMAGE_SIZE,  /* its size */
    QVL_SECTION_VIDEO,       /* video_preprocessor_config.json, or video_processor */
    QVL_SECTION_VIDEO_SIZE,
    QVL_SECTION_GENERATION /* generation_config.json */
};

struct qvl_config_place {
    const char *file;   /* for error sentences */
    const char *prefix; /* "text_config.", "" at the top */
    const json_t *object;
    enum qvl_config_section section;
};

/* What the published models share where their files are silent. */
extern const struct qvl_config qvl_config_family;

/* Every number and every fixed setting of the place's section. */
enum qvl_status qvl_config_read_table(const struct qvl_config_place *place, struct qvl_config *out,
                                      struct qvl_error *err);
/* The other way: a line for each number of the section that is within its range (what may be silent is 0 where it is), each
 * with a comma behind it. */
enum qvl_status qvl_config_write_table(enum qvl_config_section section, const struct qvl_config *config,
                                       const char *indent, struct qvl_bytes *out, struct qvl_error *err);
enum qvl_status qvl_config_read_bool(const struct qvl_config_place *place, const char *key, bool *out,
                                     struct qvl_error *err);
/* A list of min_n to max_n numbers from min to max. *n becomes its length. */
struct qvl_config_list {
    const char *key;
    bool is_integer;
    double min, max;
    size_t min_n, max_n;
};
enum qvl_status qvl_config_read_list(const struct qvl_config_place *place, const struct qvl_config_list *list,
                                     double *out, size_t *n, struct qvl_error *err);
/* A member that must be an object. *out stays as it is where there is none. */
enum qvl_status qvl_config_read_object(const struct qvl_config_place *place, const char *key, const json_t **out,
                                       struct qvl_error *err);

/* preprocessor_config.json or image_processor; the clip's counterpart. out->vision is filled already: patch and
 * merge sizes must agree with it. */
enum qvl_status qvl_config_parse_image(const json_t *object, const char *file, const char *prefix,
                                       struct qvl_config *out, struct qvl_error *err);
enum qvl_status qvl_config_parse_video(const json_t *object, const char *file, const char *prefix,
                                       struct qvl_config *out, struct qvl_error *err);
/* quantization_config of a folder that another program has quantised. QVL_ERR_MODEL: not in a format that qvl reads. */
enum qvl_status qvl_config_parse_foreign(const struct qvl_config_place *place, struct qvl_foreign_config *out,
                                         struct qvl_error *err);
/* The published sampling values of the Instruct or Thinking models. */
void qvl_config_default_sampling(bool is_thinking, struct qvl_sampling *out);
/* generation_config.json over what out->generation holds. */
enum qvl_status qvl_config_parse_generation(const json_t *object, const char *file, struct qvl_config *out,
                                            struct qvl_error *err);
/* True where the template's generation prompt opens "<think>" and leaves it open. The template is never run. */
bool qvl_config_template_thinks(const char *template_text);

#endif

/* gguf.h: one GGUF file: its header checked in every number, its bytes mapped. Knows nothing of the model. Here and not
 * beside safetensors.h because two rooms read it: load/ the tensors and the sizes, text/ the tokenizer.
 *
 * Format (versions 2 and 3, little-endian): "GGUF", version, number of tensors, number of keys; keys with typed values;
 * tensors with name, sizes (inner to outer), type, place; data, at a multiple of general.alignment. */
#ifndef QVL_BASE_GGUF_H
#define QVL_BASE_GGUF_H

#include "base/arena.h"

#define QVL_GGUF_MAX_DIMS 4

/* The numbers are the format's own. Those that qvl does not read are named for the error sentence only. */
enum qvl_ggml_type {
    QVL_GGML_F32 = 0,
    QVL_GGML_F16 = 1,
    QVL_GGML_Q4_0 = 2,
    QVL_GGML_Q4_1 = 3,
    QVL_GGML_Q5_0 = 6,
    QVL_GGML_Q5_1 = 7,
    QVL_GGML_Q8_0 = 8,
    QVL_GGML_Q4_K = 12,
    QVL_GGML_Q5_K = 13,
    QVL_GGML_Q6_K = 14,
    QVL_GGML_IQ4_NL = 20,
    QVL_GGML_BF16 = 30,
};
/* "Q4_K"; for a number that is none "?". */
const char *qvl_ggml_type_name(uint32_t type);
/* Numbers of a block and its bytes: 1 and 4 for F32, 256 and 144 for Q4_K; false for what qvl does not read. */
bool qvl_ggml_type_block(uint32_t type, uint32_t *n, uint32_t *n_bytes);

enum qvl_gguf_kind { /* of a value; the format's own numbers */
    QVL_GGUF_U8, QVL_GGUF_I8, QVL_GGUF_U16, QVL_GGUF_I16, QVL_GGUF_U32, QVL_GGUF_I32, QVL_GGUF_F32, QVL_GGUF_BOOL,
    QVL_GGUF_STRING, QVL_GGUF_ARRAY, QVL_GGUF_U64, QVL_GGUF_I64, QVL_GGUF_F64
};

struct qvl_gguf_key {
    const char *name; /* printable ASCII, ended with NUL; arena */
    enum qvl_gguf_kind kind, element; /* element: of an array */
    uint64_t n;                       /* bytes of a string, elements of an array, else 1 */
    uint64_t at;                      /* of the value in the file, behind kinds and lengths */
};

struct qvl_gguf_tensor {
    const char *name; /* printable ASCII; arena */
    uint32_t type;    /* enum qvl_ggml_type, one that qvl_ggml_type_block knows */
    uint32_t n_dim;
    uint64_t dim[QVL_GGUF_MAX_DIMS]; /* outer to inner, as everywhere in qvl */
    uint64_t n_element;
    uint64_t begin, end; /* bytes from the start of the file; end <= its size */
};

struct qvl_gguf {
    const char *path;
    int fd; /* -1: none */
    uint64_t n_bytes, data_at;
    struct qvl_gguf_key *key; /* [n_key], sorted by name */
    size_t n_key;
    struct qvl_gguf_tensor *tensor; /* [n_tensor], in the order of their bytes */
    size_t n_tensor;
    const uint8_t *head; /* the file's first bytes up to the end of its tensor list: keys' values are read here */
    void *memory;        /* of head, where it is the file's own */
    const uint8_t *map;  /* the whole file; NULL before qvl_gguf_map */
};

/* The header alone: the first n bytes of a file of file_bytes (fuzzed). Memory comes from the arena; `bytes` stays in
 * use as out->head. QVL_ERR_MODEL: what does not fit the format; the limits of base/limits.h (QVL_MAX_GGUF_...). */
enum qvl_status qvl_gguf_parse(const uint8_t *bytes, size_t n, uint64_t file_bytes, const char *path,
                               struct qvl_arena *arena, struct qvl_gguf *out, struct qvl_error *err);
/* Opens a regular file and reads its header. On failure *out holds nothing to close. */
enum qvl_status qvl_gguf_open(const char *path, struct qvl_arena *arena, struct qvl_gguf *out, struct qvl_error *err);
/* Keys and their values are not needed any more: the header of a text model has megabytes of tokens. */
void qvl_gguf_forget_keys(struct qvl_gguf *file);
enum qvl_status qvl_gguf_map(struct qvl_gguf *file, struct qvl_error *err);
/* As qvl_safetensors_let_go. */
void qvl_gguf_let_go(const struct qvl_gguf *file, uint64_t begin, uint64_t end);
void qvl_gguf_close(struct qvl_gguf *file);

/* ---- values: NULL or false where there is no such key -------------------------------------------- */
const struct qvl_gguf_key *qvl_gguf_find(const struct qvl_gguf *file, const char *name);
/* Any integer or boolean kind; QVL_ERR_MODEL names file and key where it is missing, of another kind or not within
 * lo...hi. */
enum qvl_status qvl_gguf_u64(const struct qvl_gguf *file, const char *name, uint64_t lo, uint64_t hi, uint64_t *out,
                             struct qvl_error *err);
enum qvl_status qvl_gguf_f64(const struct qvl_gguf *file, const char *name, double lo, double hi, double *out,
                             struct qvl_error *err);
/* Not ended with NUL; file's lifetime. QVL_ERR_MODEL as above. */
enum qvl_status qvl_gguf_string(const struct qvl_gguf *file, const char *name, const char **out, size_t *n,
                                struct qvl_error *err);
/* Strings of an array, one after the other. *at begins as key->at and moves on. Checked when the file was parsed. */
const char *qvl_gguf_next_string(const struct qvl_gguf *file, uint64_t *at, size_t *n);
/* Element i of an array of numbers or booleans. */
double qvl_gguf_number_at(const struct qvl_gguf *file, const struct qvl_gguf_key *key, uint64_t i);

/* Whether the file's first bytes say GGUF; false for what cannot be read, too. */
bool qvl_gguf_is(const char *path);

/* The two files of a model. */
struct qvl_gguf_pair {
    bool is_found;     /* false: the path has nothing to do with GGUF */
    char text[4096];
    char mmproj[4096]; /* "": none was found beside it */
};
/* Of a path that names the text model's file; a folder without safetensors weights that holds it; or either with
 * ",FILE" behind it, the file of the vision tower. Unnamed, that is mmproj-NAME beside a text model NAME, or else,
 * of the files there with mmproj in their names, the one whose name fits best and then the one of the most bits.
 * QVL_ERR_FILE: a folder in which no file or more than one can be meant. */
enum qvl_status qvl_gguf_pair_find(const char *path, struct qvl_gguf_pair *out, struct qvl_error *err);

#endif

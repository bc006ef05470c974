/* hub.h: models from Hugging Face and from ModelScope, in the caches that the programs of both keep, so that nothing is
 * stored twice: found, listed, fetched, removed.
 *
 * A room of programs: sees base/ only. No thread of its own: a fetch is driven by its owner, a step at a time. */
#ifndef QVL_HUB_HUB_H
#define QVL_HUB_HUB_H

#include "base/error.h"

enum qvl_hub_source { QVL_HUB_AUTO, QVL_HUB_HF, QVL_HUB_MODELSCOPE, QVL_HUB_MIRROR /* hf-mirror.com */ };

#define QVL_HUB_DEFAULT_MODEL "Qwen/Qwen3-VL-2B-Instruct"

struct qvl_hub_ref {
    enum qvl_hub_source source; /* QVL_HUB_AUTO where the text says none */
    char owner[97], name[97];
    char revision[129]; /* "": the source's default, main or master */
};

/* "[hf:|ms:]OWNER/NAME[@REVISION]", also the page's address (https://huggingface.co/OWNER/NAME, modelscope.cn/models/...).
 * QVL_ERR_ARGUMENT: none of these; owner and name are of letters, digits and -_., none begins with '.' or holds "..", so
 * that what becomes of them is a folder's name and nothing else. */
enum qvl_status qvl_hub_ref_parse(const char *text, struct qvl_hub_ref *out, struct qvl_error *err);
/* Whether it is meant as one: "a/b" and no such path is there. */
bool qvl_hub_ref_looks_like(const char *text);

/* ---- what is there -------------------------------------------------------------------------------- */

/* What to give as -m for a model that is whole in one of the caches: its folder, or a GGUF file in it; absolute, [4096].
 * False: none. A name with -q4, -q8 or -balanced behind it may be that of a packed folder. */
bool qvl_hub_find(const struct qvl_hub_ref *ref, char out[4096]);
/* Bytes of it in the cache of ref->source, QVL_HUB_HF or QVL_HUB_MODELSCOPE, any revision, whole or begun. */
uint64_t qvl_hub_bytes_of(const struct qvl_hub_ref *ref);
/* Where `pull --quantize` puts the packed folder of that model and type ("q4"). */
enum qvl_status qvl_hub_packed_path(const struct qvl_hub_ref *ref, const char *type, char out[4096],
                                    struct qvl_error *err);

struct qvl_hub_model {
    struct qvl_hub_ref ref;  /* source HF or MODELSCOPE: whose cache */
    char path[4096];         /* to give as -m: the folder, or the GGUF file in it; of one that is not whole: where it lies */
    char folder[4096];       /* where it lies */
    uint64_t n_bytes;        /* on the disk */
    uint64_t n_freed;        /* of those, what is free when it is removed: others may share the rest */
    int64_t changed;         /* seconds since 1970 */
    bool is_whole;
    bool is_qvl;             /* a packed folder that `pull --quantize` has made */
};
/* Every model of this family in all caches, newest first. *out: free(). */
enum qvl_status qvl_hub_list(struct qvl_hub_model **out, size_t *n, struct qvl_error *err);
/* Its folder, and of the cache what only it uses. QVL_ERR_FILE: not there, or in use by a fetch. */
enum qvl_status qvl_hub_remove(const struct qvl_hub_model *model, struct qvl_error *err);

/* ---- fetching ------------------------------------------------------------------------------------- */

struct qvl_hub_options {
    struct qvl_hub_ref ref;
    uint32_t n_connection;   /* 0: 4 */
    bool is_dry;             /* list only: what would be fetched */
    bool check_all;          /* read what is there already, too, against its sum */
    const char *local_dir;   /* NULL: the cache; else plain files in this folder */
    const char *gguf;        /* of a repository of GGUF files: a name, a pattern, or a part of a name ("Q4_K_M"); NULL:
                                Q8_0, else the best. With it GGUF is taken where there is safetensors, too */
    bool want_stream;        /* the weights are for whoever reads them while they come, and are not kept: see below */
    const char *user_agent;  /* NULL: qvl/VERSION */
    double back_off_ms;      /* 0: 1000; before a hub is asked a second time, doubled with each further one */
};

enum qvl_hub_stage { QVL_HUB_CHOOSING, QVL_HUB_LISTING, QVL_HUB_FETCHING, QVL_HUB_CHECKING, QVL_HUB_DONE };

struct qvl_hub_info {
    enum qvl_hub_stage stage;
    enum qvl_hub_source source;  /* chosen; QVL_HUB_AUTO before */
    const char *endpoint;        /* that is asked; pull's lifetime */
    char commit[65];
    uint64_t n_bytes, n_had;     /* of all files; of these, what was there at the start */
    uint64_t n_done;             /* with n_had */
    uint32_t n_file, n_file_done;
    double bytes_per_s;          /* lately */
    char path[4096];             /* when done: the folder */
    const char *note;            /* what a person should know now ("again in 4 s: ... said 503"), or "" */
    bool is_network;             /* after an error: no good answer came, however often was asked; later it may */
};

struct qvl_hub_file { /* one of the listing */
    const char *path; /* inside the model: checked, no absolute one, no "..", */
    uint64_t n_bytes;
    bool has_sha256, has_git_sha1, is_there;
    uint8_t sha256[32], git_sha1[20];
};

struct qvl_hub_pull;

/* Environment: HF_ENDPOINT, HF_TOKEN, HF_TOKEN_PATH, HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE,
 * MODELSCOPE_ENDPOINT, MODELSCOPE_API_TOKEN, MODELSCOPE_CACHE, VLLM_USE_MODELSCOPE, *_proxy, HF_HUB_ETAG_TIMEOUT and
 * HF_HUB_DOWNLOAD_TIMEOUT (whole seconds without a word, 10 each), SSL_CERT_FILE, CURL_CA_BUNDLE, REQUESTS_CA_BUNDLE. */
enum qvl_status qvl_hub_pull_open(const struct qvl_hub_options *options, struct qvl_hub_pull **out,
                                  struct qvl_error *err);
/* Goes on for at most about 100 ms. *is_done: the folder is whole, and what info says. Errors are final and say what to
 * do: no network (with the mirror's name and the manual way), 401 and 403 (a token), 404, a full disk, a sum that differs.
 * After one, and after close at any time, the next pull goes on from where this one was. */
enum qvl_status qvl_hub_pull_next(struct qvl_hub_pull *pull, bool *is_done, struct qvl_error *err);
void qvl_hub_pull_get_info(const struct qvl_hub_pull *pull, struct qvl_hub_info *out);
/* From QVL_HUB_FETCHING on; pull's lifetime. */
const struct qvl_hub_file *qvl_hub_pull_files(const struct qvl_hub_pull *pull, size_t *n);
void qvl_hub_pull_close(struct qvl_hub_pull *pull);

/* ---- read while it comes --------------------------------------------------------------------------- */

/* With want_stream, weights in safetensors that come with their SHA-256 and are not in the cache yet are a stream: they
 * come within a window of 256 MiB (or what the reader waits for) behind which the reader gives them back, and the model
 * never appears in the cache. What the reader has made counts only when all of it was read: the last byte of a file is
 * not there before its sum is right. Between two calls of qvl_hub_pull_next. */
struct qvl_hub_stream {
    const char *folder; /* with the small files, whole and right, and weights with holes; NULL: not yet, or no stream */
    uint32_t n_anew;    /* so often all began anew: what was made before is worth nothing */
};
void qvl_hub_pull_get_stream(const struct qvl_hub_pull *pull, struct qvl_hub_stream *out);
/* Whether the first `end` bytes of a weight file are there; if not, it is these that are waited for. */
bool qvl_hub_stream_has(struct qvl_hub_pull *pull, const char *name, uint64_t end);
/* They are not read again. What goes wrong qvl_hub_pull_next says. */
void qvl_hub_stream_let_go(struct qvl_hub_pull *pull, const char *name, uint64_t end);
/* No stream: all goes on as without want_stream; what was given back comes once more. */
enum qvl_status qvl_hub_stream_end(struct qvl_hub_pull *pull, struct qvl_error *err);
/* All is read: nothing of it stays in the cache that was not there before, and the pull is done. */
enum qvl_status qvl_hub_stream_finish(struct qvl_hub_pull *pull, struct qvl_error *err);
/* The same, of what nobody has read: it is not needed any more. */
void qvl_hub_stream_leave(struct qvl_hub_pull *pull);

#endif

/* chat_reader.h: what chat_json.c and media_part.c share while a conversation is read; for those two only. */
#ifndef QVL_CHAT_CHAT_READER_H
#define QVL_CHAT_CHAT_READER_H

#include "base/json_tree.h"
#include "chat/chat_json.h"

struct qvl_chat_reader {
    const struct qvl_chat_json_settings *settings;
    struct qvl_chat_json *out;
    const char *name;                               /* of the whole, for sentences */
    size_t n_part, n_media, n_listed, n_text_bytes; /* so far, for the limits */
    uint64_t n_media_bytes;
    char where[96]; /* the value at hand, for sentences: "messages[2].content[0].image" */
};

/* Appends to r->where and returns how long it was, for qvl_chat_leave to cut it there. */
size_t qvl_chat_enter(struct qvl_chat_reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
void qvl_chat_leave(struct qvl_chat_reader *r, size_t n_before);

/* Where a part says that its picture or clip is. */
struct qvl_media_place {
    const struct qvl_json_node *object; /* the part itself; NULL: it is nothing but the source */
    const char *key; /* the member of it that holds the source, for sentences; NULL with object */
    const struct qvl_json_node *source;
    bool is_base64; /* a string there is base64 without "data:" */
    bool is_file;   /* picture or clip: by the type that the data: URI says */
};

/* A part that is a picture or clip: all but its kind, unless the place is_file. */
enum qvl_status qvl_chat_read_media(struct qvl_chat_reader *r, const struct qvl_media_place *place,
                                    struct qvl_part *part, struct qvl_error *err);

#endif

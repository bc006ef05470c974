/* json_scan.h: strict JSON a byte at a time, for text that comes in pieces: does this byte go on, end the value, or
 * break it. Accepts the objects and arrays that json_reader.h accepts; keeps nothing but where it stands. */
#ifndef QVL_BASE_JSON_SCAN_H
#define QVL_BASE_JSON_SCAN_H

#include <stdbool.h>
#include <stdint.h>

enum qvl_json_place {
    QVL_JSON_AT_BEGIN,     /* an object or array is to begin */
    QVL_JSON_AT_FIRST_KEY, /* a key, or the object's end */
    QVL_JSON_AT_KEY,
    QVL_JSON_AT_COLON,
    QVL_JSON_AT_VALUE,
    QVL_JSON_AT_FIRST_ITEM, /* a value, or the array's end */
    QVL_JSON_AT_COMMA,      /* or the end of what is open */
    QVL_JSON_IN_STRING,
    QVL_JSON_IN_NUMBER,
    QVL_JSON_IN_WORD, /* true, false, null */
    QVL_JSON_AT_END,  /* the value is whole: only white space may follow */
    QVL_JSON_BROKEN   /* and stays so */
};

/* A zeroed struct is at the beginning. Only what stands above the line is for others. */
struct qvl_json_scan {
    enum qvl_json_place place;
    bool is_key;    /* IN_STRING: of a key */
    uint32_t depth; /* objects and arrays open */

    uint64_t is_object; /* bit d: the one at depth d + 1 */
    uint32_t part;      /* of a string or number */
    uint32_t n_hex, unit;
    uint32_t n_more, least, most; /* of a character in UTF-8: bytes still to come, and what the next may be */
    bool is_high;                 /* the second half of a pair of \u must follow */
    const char *rest;             /* of a word */
};

/* False: the byte cannot stand here. */
bool qvl_json_scan_take(struct qvl_json_scan *scan, char byte);

#endif

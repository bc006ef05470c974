/* Whether the items of a HEIC or AVIF file are made of each other without end.
 *
 * In: a whole file. The idea: a grid needs its tiles (reference "dimg"), a picture its alpha (reference "auxl",
 * which points the other way). Of all items those stay that need another one; of these, those that need one that
 * stayed; and so on. Nothing stays after as many rounds as the longest chain has links; a circle stays for ever.
 * libheif would follow it until the stack ends. It also reads references on behind a box that says a wrong
 * length, so inside "meta" and "iref" every box must be exactly as long as it says. Source of truth: ISO/IEC
 * 14496-12, sections 8.11.1 and 8.11.12. */
#include "media/helper/av_heif.h"

#include <string.h>

enum { MAX_CHAIN = 8, N_ID = 1 << 16, BOX_BYTES = 8, FULL_BYTES = 4 };

struct items {
    uint8_t bit[N_ID / 8];
};

struct span {
    const uint8_t *at, *end;
};

static uint32_t read_be(const uint8_t *p, size_t n)
{
    uint32_t v = 0;
    for (size_t i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

/* The next box: its type, its content; false at the end, or where it does not fit. */
static bool next_box(struct span *in, uint32_t *type, struct span *out)
{
    size_t n_left = (size_t)(in->end - in->at), n_head = BOX_BYTES;
    if (n_left < BOX_BYTES)
        return false;
    uint64_t n = read_be(in->at, 4);
    *type = read_be(in->at + 4, 4);
    if (n == 1 && n_left >= 2 * BOX_BYTES) {
        n_head = 2 * BOX_BYTES;
        n = (uint64_t)read_be(in->at + 8, 4) << 32 | read_be(in->at + 12, 4);
    } else if (n == 0) {
        n = n_left;
    }
    if (n < n_head || n > n_left)
        return false;
    *out = (struct span){in->at + n_head, in->at + n};
    in->at += n;
    return true;
}

/* One reference box: who needs an item of `stayed` comes into `next`. False: a number beyond 16 bits, or the box
 * does not hold as many references as it says. */
static bool keep(struct span box, uint32_t type, size_t n_id, const struct items *stayed, struct items *next)
{
    const uint32_t dimg = 0x64696d67, auxl = 0x6175786c;
    if ((size_t)(box.end - box.at) < n_id + 2)
        return false;
    uint32_t from = read_be(box.at, n_id), n_to = read_be(box.at + n_id, 2);
    box.at += n_id + 2;
    if ((size_t)(box.end - box.at) != n_to * n_id)
        return false;
    if (type != dimg && type != auxl)
        return true;
    for (; n_to > 0; n_to--, box.at += n_id) {
        uint32_t to = read_be(box.at, n_id), user = type == dimg ? from : to, used = type == dimg ? to : from;
        if (user >= N_ID || used >= N_ID)
            return false;
        if (stayed->bit[used / 8] >> used % 8 & 1)
            next->bit[user / 8] |= (uint8_t)(1u << user % 8);
    }
    return true;
}

/* The boxes of "iref". */
static bool keep_references(struct span iref, const struct items *stayed, struct items *next)
{
    struct span box;
    uint32_t type;
    if (iref.end - iref.at < FULL_BYTES)
        return false;
    size_t n_id = iref.at[0] == 0 ? 2 : 4;
    iref.at += FULL_BYTES;
    while (next_box(&iref, &type, &box))
        if (!keep(box, type, n_id, stayed, next))
            return false;
    return iref.at == iref.end;
}

/* The boxes of "meta". */
static bool keep_items(struct span meta, const struct items *stayed, struct items *next)
{
    const uint32_t iref = 0x69726566;
    struct span box;
    uint32_t type;
    if (meta.end - meta.at < FULL_BYTES)
        return false;
    meta.at += FULL_BYTES;
    while (next_box(&meta, &type, &box))
        if (type == iref && !keep_references(box, stayed, next))
            return false;
    return meta.at == meta.end;
}

/* All references of the file. What follows the last whole box may be a cut "mdat". */
static bool keep_all(struct span file, const struct items *stayed, struct items *next)
{
    const uint32_t meta = 0x6d657461;
    struct span box;
    uint32_t type = 0;
    while (next_box(&file, &type, &box))
        if (type == meta && !keep_items(box, stayed, next))
            return false;
    return file.end - file.at < BOX_BYTES || read_be(file.at + 4, 4) != meta;
}

bool qvl_heif_ends(const uint8_t *bytes, size_t n)
{
    static const struct items none;
    struct items stayed, next;
    memset(&stayed, 0xff, sizeof stayed);
    for (int i = 0; i <= MAX_CHAIN; i++) {
        next = none;
        if (!keep_all((struct span){bytes, bytes + n}, &stayed, &next))
            return false;
        if (memcmp(&next, &none, sizeof next) == 0)
            return true;
        stayed = next;
    }
    return false;
}

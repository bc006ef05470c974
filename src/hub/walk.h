/* walk.h: all entries of a folder and of the folders in it, links not followed. */
#ifndef QVL_HUB_WALK_H
#define QVL_HUB_WALK_H

#include <dirent.h>
#include <limits.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/limits.h"

/* Only what stands above the line is for others. */
struct qvl_hub_walk {
    int fd;           /* of the folder in which the entry is, for openat and its like */
    const char *name; /* in there */
    struct stat st;   /* of the entry, of a link the link's */
    bool is_leaving;  /* of a folder, which comes twice: all in it was seen */
    uint32_t depth;   /* folders around it; 0: directly in the one that is walked */

    struct {
        DIR *dir;
        char name[NAME_MAX + 1];
    } level[QVL_MAX_HUB_DEPTH];
    uint32_t n_level;
    bool is_folder; /* the last entry is one: the next ones are in it */
};

/* QVL_ERR_FILE: no folder, or it cannot be read. The path's last part may be a link. */
enum qvl_status qvl_hub_walk_open(const char *path, struct qvl_hub_walk *out, struct qvl_error *err);
/* The same, of a path whose last part must not be a link. */
enum qvl_status qvl_hub_walk_open_folder(const char *path, struct qvl_hub_walk *out, struct qvl_error *err);
/* False: there are no more. Folders that cannot be read, or lie deeper than QVL_MAX_HUB_DEPTH, are seen as empty.
 */
bool qvl_hub_walk_next(struct qvl_hub_walk *walk);
/* Not into the folder that was just seen. */
void qvl_hub_walk_skip(struct qvl_hub_walk *walk);
void qvl_hub_walk_close(struct qvl_hub_walk *walk);

#endif

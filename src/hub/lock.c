#include "hub/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hub/path.h"

enum { N_TRY = 8 };

/* modelscope removes a lock's file when it lets it go: then the one that is held is nobody's any more. */
static bool is_removed(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && st.st_nlink == 0;
}

enum qvl_status qvl_hub_lock(const char *path, int *out_fd, bool *is_busy, struct qvl_error *err)
{
    *out_fd = -1;
    *is_busy = false;
    enum qvl_status status = qvl_hub_path_make_parents(path, err);
    for (int i = 0; i < N_TRY && !status; i++) {
        /* Group-writable where the umask allows, as theirs are: a cache may be shared. */
        int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0664);
        if (fd < 0)
            return qvl_fail(err, QVL_ERR_FILE, "%s: cannot open: %s", path, qvl_errno_text(errno));
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            *is_busy = errno == EWOULDBLOCK;
            close(fd);
            return QVL_OK;
        }
        if (!is_removed(fd)) {
            *out_fd = fd;
            return QVL_OK;
        }
        close(fd);
    }
    return status;
}

void qvl_hub_unlock(int fd)
{
    if (fd >= 0)
        close(fd);
}

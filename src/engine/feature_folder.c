/* LAYOUT. The folder holds, all of them 0600,
 *   qvl-vision-cache      magic, the secret, and how many bytes the files have together;
 *   <64 digits>.vision    one for each temporal patch (feature_file.h);
 *   .<32 digits>.part     one that is being written.
 * Whatever else lies there is left alone. A temporal patch is the unit that requests ask for, large enough (32 KB a
 * visual token of the 2B, 66 MB for a photograph of 1920 x 1080) that a file for each costs nothing.
 *
 * WRITING. Under a name of its own, then renamed: who opens a file sees it whole. Nothing is synced, for what a
 * power cut tears is found by its checksum and made anew.
 *
 * ROOM. The sum in qvl-vision-cache is added to before a file is written, under that file's lock (flock), so that
 * all processes keep one budget without looking through the folder. A kill in the middle leaves the sum too high,
 * never too low. When it reaches the budget, and before a process writes for the first time, the folder is looked
 * through: the sum is made right, and where it is too high the files with the oldest times go until an eighth of
 * the budget is free, so that this is rare. A file's time is that of its last use.
 *
 * LINKS. Every name is opened relative to the folder's descriptor and never through a link, and the folder must be
 * this user's own: what others could have put there is not followed, read or removed. */
#include "engine/feature_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/limits.h"
#include "base/os.h"
#include "engine/feature_file.h"

#define INDEX_NAME "qvl-vision-cache"
#define FILE_SUFFIX ".vision"
#define PART_SUFFIX ".part"

enum {
    N_DIGIT = 64,
    N_PART_DIGIT = 32,
    FILE_NAME_BYTES = N_DIGIT + sizeof FILE_SUFFIX,
    PART_NAME_BYTES = 1 + N_PART_DIGIT + sizeof PART_SUFFIX,
    BLOCK_BYTES = 4096,     /* of a file system: what files take is a multiple */
    STALE_PART_S = 60 * 60, /* nobody writes for that long */
    N_TRY = 8,
    N_LOCK_TRY = 20, /* each held lock is let go in a moment, but for a process that was stopped */
    LOCK_PAUSE_MS = 10
};

static const uint8_t magic[8] = {'q', 'v', 'l', 'v', 'i', 's', 'c', 1};

struct index {
    uint8_t magic[8], secret[32];
    uint64_t n_bytes;
};

struct qvl_feature_folder {
    char *path; /* for sentences */
    int fd, index_fd;
    uint64_t max_bytes;
    struct sha256_ctx name; /* begun with secret and tower */
    bool is_counted;        /* keep's: this process has looked through it, and the sum is not known to be wrong */
    bool is_kept_out;       /* keep's: somebody held the lock all the last time, and is not waited for again */
    atomic_uint_fast64_t n_bytes, n_asked, n_found;
};

/* ---- names --------------------------------------------------------------------------------------- */

static void make_name(const struct qvl_feature_folder *folder, const struct qvl_feature_key *key,
                      struct qvl_feature_name *out, char file[FILE_NAME_BYTES])
{
    struct sha256_ctx sha = folder->name;
    sha256_update(&sha, sizeof key->sha256, key->sha256);
    sha256_digest(&sha, sizeof out->sha256, out->sha256);
    qvl_hex(out->sha256, sizeof out->sha256, file);
    memcpy(file + N_DIGIT, FILE_SUFFIX, sizeof FILE_SUFFIX);
}

static enum qvl_status make_part_name(char part[PART_NAME_BYTES], struct qvl_error *err)
{
    uint8_t by_chance[N_PART_DIGIT / 2];
    enum qvl_status status = qvl_os_random(by_chance, sizeof by_chance, err);
    part[0] = '.';
    qvl_hex(by_chance, sizeof by_chance, part + 1);
    memcpy(part + 1 + N_PART_DIGIT, PART_SUFFIX, sizeof PART_SUFFIX);
    return status;
}

static bool has_form(const char *name, size_t n_digit, const char *suffix)
{
    return strspn(name, "0123456789abcdef") == n_digit && strcmp(name + n_digit, suffix) == 0;
}

static bool is_file_name(const char *name)
{
    return has_form(name, N_DIGIT, FILE_SUFFIX);
}

static bool is_part_name(const char *name)
{
    return name[0] == '.' && has_form(name + 1, N_PART_DIGIT, PART_SUFFIX);
}

static uint64_t room_of(uint64_t n_bytes)
{
    return qvl_round_up((size_t)n_bytes, BLOCK_BYTES);
}

/* ---- the folder ---------------------------------------------------------------------------------- */

/* errno says why. */
static enum qvl_status fail_to_write(const struct qvl_feature_folder *folder, struct qvl_error *err)
{
    return qvl_fail(err, QVL_ERR_FILE, "%s: cannot write in this folder: %s", folder->path, qvl_errno_text(errno));
}

static enum qvl_status open_folder(struct qvl_feature_folder *folder, struct qvl_error *err)
{
    struct stat st;
    if (mkdir(folder->path, 0700) != 0 && errno != EEXIST)
        return qvl_fail(err, QVL_ERR_FILE, "%s: cannot make the folder: %s", folder->path, qvl_errno_text(errno));
    folder->fd = open(folder->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder->fd < 0 || fstat(folder->fd, &st) != 0)
        return qvl_fail(err, QVL_ERR_FILE, "%s: cannot open the folder: %s", folder->path, qvl_errno_text(errno));
    if (st.st_uid != geteuid())
        return qvl_fail(err, QVL_ERR_FILE, "%s: the folder belongs to another user", folder->path);
    if (st.st_mode & (S_IWGRP | S_IWOTH))
        return qvl_fail(err, QVL_ERR_FILE, "%s: other users may write in the folder", folder->path);
    return QVL_OK;
}

/* A new file in the folder. */
static int create(const struct qvl_feature_folder *folder, const char *name)
{
    return openat(folder->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

/* Fails with EEXIST where something has the name; without links (some file systems), a rename that replaces
 * nothing. */
static bool name_index(const struct qvl_feature_folder *folder, const char *part)
{
    return linkat(folder->fd, part, folder->fd, INDEX_NAME, 0) == 0 ||
           (errno != EEXIST && renameat2(folder->fd, part, folder->fd, INDEX_NAME, RENAME_NOREPLACE) == 0);
}

/* The first one that is there whole is everyone's. Synced, once: without the secret all is lost. */
static enum qvl_status make_index(const struct qvl_feature_folder *folder, struct qvl_error *err)
{
    struct index index = {0};
    char part[PART_NAME_BYTES];
    memcpy(index.magic, magic, sizeof magic);
    enum qvl_status status = qvl_os_random(index.secret, sizeof index.secret, err);
    if (status || (status = make_part_name(part, err)))
        return status;
    int fd = create(folder, part);
    if (fd < 0)
        return fail_to_write(folder, err);
    ssize_t n = write(fd, &index, sizeof index);
    if (n >= 0 && n != (ssize_t)sizeof index)
        errno = ENOSPC;
    if (n != (ssize_t)sizeof index || fsync(fd) != 0 || (!name_index(folder, part) && errno != EEXIST))
        status = fail_to_write(folder, err);
    close(fd);
    unlinkat(folder->fd, part, 0);
    return status;
}

static bool read_index(int fd, struct index *out)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == sizeof *out &&
           pread(fd, out, sizeof *out, 0) == (ssize_t)sizeof *out && memcmp(out->magic, magic, sizeof magic) == 0;
}

/* One that is damaged makes place for another; what went by its secret is never found again, and goes with time. */
static enum qvl_status open_index(struct qvl_feature_folder *folder, struct index *out, struct qvl_error *err)
{
    for (int i = 0; i < N_TRY; i++) {
        folder->index_fd = openat(folder->fd, INDEX_NAME, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
        if (folder->index_fd >= 0 && read_index(folder->index_fd, out))
            return QVL_OK;
        if (folder->index_fd < 0 && errno != ENOENT)
            break;
        if (folder->index_fd >= 0) {
            close(folder->index_fd);
            folder->index_fd = -1;
            unlinkat(folder->fd, INDEX_NAME, 0);
        }
        enum qvl_status status = make_index(folder, err);
        if (status)
            return status;
    }
    return fail_to_write(folder, err);
}

enum qvl_status qvl_feature_folder_open(const char *path, uint64_t max_bytes, const struct qvl_identity *tower,
                                        struct qvl_feature_folder **out, struct qvl_error *err)
{
    struct qvl_feature_folder *folder = calloc(1, sizeof *folder);
    struct index index;
    size_t n = strlen(path);
    if (!folder)
        return qvl_fail_memory(err, sizeof *folder, "the cache of picture features");
    while (n > 1 && path[n - 1] == '/') /* else a link would be followed */
        n--;
    folder->fd = folder->index_fd = -1;
    folder->max_bytes = max_bytes;
    folder->path = strndup(path, n);
    enum qvl_status status = QVL_OK;
    if (!folder->path)
        status = qvl_fail_memory(err, n, "the cache of picture features");
    if (status || (status = open_folder(folder, err)) || (status = open_index(folder, &index, err))) {
        qvl_feature_folder_close(folder);
        return status;
    }
    sha256_init(&folder->name);
    sha256_update(&folder->name, sizeof index.secret, index.secret);
    sha256_update(&folder->name, sizeof tower->bytes, tower->bytes);
    atomic_init(&folder->n_bytes, index.n_bytes);
    *out = folder;
    return QVL_OK;
}

void qvl_feature_folder_close(struct qvl_feature_folder *folder)
{
    if (!folder)
        return;
    if (folder->index_fd >= 0)
        close(folder->index_fd);
    if (folder->fd >= 0)
        close(folder->fd);
    free(folder->path);
    free(folder);
}

/* ---- find ---------------------------------------------------------------------------------------- */

bool qvl_feature_folder_find(struct qvl_feature_folder *folder, const struct qvl_feature_key *key,
                             const struct qvl_features *want, struct qvl_features *out)
{
    char file[FILE_NAME_BYTES];
    struct qvl_feature_name name;
    make_name(folder, key, &name, file);
    atomic_fetch_add(&folder->n_asked, 1);
    int fd = openat(folder->fd, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        if (errno == ELOOP)
            unlinkat(folder->fd, file, 0);
        return false;
    }
    enum qvl_feature_verdict verdict = qvl_feature_file_read(fd, &name, want, out);
    if (verdict == QVL_FEATURE_GOOD) {
        futimens(fd, NULL);
        atomic_fetch_add(&folder->n_found, 1);
    } else if (verdict == QVL_FEATURE_DAMAGED) {
        unlinkat(folder->fd, file, 0);
    }
    close(fd);
    return verdict == QVL_FEATURE_GOOD;
}

/* ---- looking through it (lock held) -------------------------------------------------------------- */

struct seen_file {
    struct timespec used;
    uint64_t n_bytes;
    char name[FILE_NAME_BYTES];
};

struct sweep {
    struct seen_file *file; /* [n] those that may go */
    size_t n, n_alloc;
    uint64_t n_bytes; /* of all, with those being written, whose room was taken */
};

/* What there is no memory for counts, and stays for this time. */
static void note_file(struct sweep *s, const char *name, const struct stat *st)
{
    s->n_bytes += room_of((uint64_t)st->st_size);
    if (s->n == s->n_alloc) {
        size_t n_alloc = s->n_alloc ? 2 * s->n_alloc : 1024;
        struct seen_file *grown = n_alloc <= QVL_MAX_SWEPT_FILES ? realloc(s->file, n_alloc * sizeof *grown) : NULL;
        if (!grown)
            return;
        s->file = grown;
        s->n_alloc = n_alloc;
    }
    struct seen_file *seen = &s->file[s->n++];
    seen->used = st->st_mtim;
    seen->n_bytes = room_of((uint64_t)st->st_size);
    memcpy(seen->name, name, sizeof seen->name);
}

static void look_at(const struct qvl_feature_folder *folder, struct sweep *s, const char *name)
{
    struct stat st;
    bool is_part = is_part_name(name);
    if ((!is_part && !is_file_name(name)) || fstatat(folder->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
        !S_ISREG(st.st_mode))
        return;
    if (!is_part)
        note_file(s, name, &st);
    else if (st.st_mtim.tv_sec >= time(NULL) - STALE_PART_S || unlinkat(folder->fd, name, 0) != 0)
        s->n_bytes += room_of((uint64_t)st.st_size); /* all of it from the start, by fallocate */
}

static int by_use(const void *a, const void *b)
{
    const struct timespec *x = &((const struct seen_file *)a)->used, *y = &((const struct seen_file *)b)->used;
    if (x->tv_sec != y->tv_sec)
        return x->tv_sec < y->tv_sec ? -1 : 1;
    return (x->tv_nsec > y->tv_nsec) - (x->tv_nsec < y->tv_nsec);
}

/* Makes the sum right and room for n bytes more. */
static uint64_t sweep(const struct qvl_feature_folder *folder, uint64_t n)
{
    struct sweep s = {0};
    int fd = openat(folder->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir && fd >= 0)
        close(fd);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        look_at(folder, &s, entry->d_name);
    if (dir)
        closedir(dir);
    if (s.n_bytes + n > folder->max_bytes) {
        uint64_t most = folder->max_bytes - folder->max_bytes / 8;
        most = most > n ? most - n : 0;
        if (s.n)
            qsort(s.file, s.n, sizeof *s.file, by_use);
        for (size_t i = 0; i < s.n && s.n_bytes > most; i++)
            if (unlinkat(folder->fd, s.file[i].name, 0) == 0 || errno == ENOENT)
                s.n_bytes -= s.file[i].n_bytes;
    }
    free(s.file);
    return s.n_bytes;
}

/* ---- room ---------------------------------------------------------------------------------------- */

/* False: somebody holds it and does not let go. Nobody waits for long, for at the end the engine waits for keep.
 * Where the file system has no locks, sums of several processes may be wrong until one looks through the folder. */
static bool lock(struct qvl_feature_folder *folder)
{
    const struct timespec pause = {0, LOCK_PAUSE_MS * 1000000L};
    int n_try = folder->is_kept_out ? 1 : N_LOCK_TRY;
    folder->is_kept_out = false;
    while (flock(folder->index_fd, LOCK_EX | LOCK_NB) != 0 && (errno == EWOULDBLOCK || errno == EINTR)) {
        if (--n_try == 0) {
            folder->is_kept_out = true;
            return false;
        }
        nanosleep(&pause, NULL);
    }
    return true;
}

static uint64_t read_sum(const struct qvl_feature_folder *folder)
{
    struct index index;
    return read_index(folder->index_fd, &index) ? index.n_bytes : UINT64_MAX;
}

static void write_sum(struct qvl_feature_folder *folder, uint64_t n_bytes)
{
    ssize_t n = pwrite(folder->index_fd, &n_bytes, sizeof n_bytes, offsetof(struct index, n_bytes));
    (void)n; /* too low a sum is found at the next start, and by who sweeps */
    atomic_store(&folder->n_bytes, n_bytes);
}

/* Takes room for n bytes; false where there is none, or none to be had this time. */
static bool take_room(struct qvl_feature_folder *folder, uint64_t n)
{
    if (!lock(folder))
        return false;
    uint64_t sum = read_sum(folder);
    if (!folder->is_counted || sum > folder->max_bytes || n > folder->max_bytes - sum)
        sum = sweep(folder, n);
    folder->is_counted = true;
    bool has_room = sum <= folder->max_bytes && n <= folder->max_bytes - sum;
    write_sum(folder, sum + (has_room ? n : 0));
    flock(folder->index_fd, LOCK_UN);
    return has_room;
}

static void give_room_back(struct qvl_feature_folder *folder, uint64_t n)
{
    if (!lock(folder)) {
        folder->is_counted = false; /* too high until the next one looks */
        return;
    }
    uint64_t sum = read_sum(folder);
    if (sum != UINT64_MAX && sum >= n)
        write_sum(folder, sum - n);
    flock(folder->index_fd, LOCK_UN);
}

/* ---- keep ---------------------------------------------------------------------------------------- */

/* A file that will not fit is refused before it is written where the file system can say so. */
static enum qvl_status write_file(const struct qvl_feature_folder *folder, const char *part, const char *file,
                                  const struct qvl_feature_name *name, const struct qvl_features *features,
                                  struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    int fd = create(folder, part);
    if (fd < 0)
        return fail_to_write(folder, err);
    bool has_room = fallocate(fd, 0, 0, (off_t)qvl_feature_file_bytes(features)) == 0 || errno != ENOSPC;
    if (!has_room || !qvl_feature_file_write(fd, name, features))
        status = fail_to_write(folder, err);
    if (close(fd) != 0 && !status)
        status = fail_to_write(folder, err);
    if (!status && renameat(folder->fd, part, folder->fd, file) != 0)
        status = fail_to_write(folder, err);
    if (status)
        unlinkat(folder->fd, part, 0);
    return status;
}

enum qvl_status qvl_feature_folder_keep(struct qvl_feature_folder *folder, const struct qvl_feature_key *key,
                                        const struct qvl_features *features, struct qvl_error *err)
{
    char file[FILE_NAME_BYTES], part[PART_NAME_BYTES];
    struct qvl_feature_name name;
    uint64_t n = room_of(qvl_feature_file_bytes(features));
    make_name(folder, key, &name, file);
    if (utimensat(folder->fd, file, NULL, AT_SYMLINK_NOFOLLOW) == 0 || n > folder->max_bytes)
        return QVL_OK;
    enum qvl_status status = make_part_name(part, err);
    if (status || !take_room(folder, n))
        return status;
    if ((status = write_file(folder, part, file, &name, features, err)))
        give_room_back(folder, n);
    return status;
}

void qvl_feature_folder_count(struct qvl_feature_folder *folder, struct qvl_engine_stats *out)
{
    out->vision_disk_bytes = atomic_load(&folder->n_bytes);
    out->n_disk_asked = atomic_load(&folder->n_asked);
    out->n_disk_found = atomic_load(&folder->n_found);
}

#include "server/media_request.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "server/media_fetch.h"
#include "server/media_path.h"

/* ---- parts of a form ----------------------------------------------------------------------------- */

static bool is_name(const char *name, const char *text, size_t n)
{
    return name && strlen(name) == n && memcmp(name, text, n) == 0;
}

/* The i of "#i"; SIZE_MAX where it is none. */
static size_t index_of(const char *text, size_t n)
{
    size_t i = 0;
    if (n < 2 || n > 4 || text[0] != '#')
        return SIZE_MAX;
    for (size_t k = 1; k < n; k++) {
        if (text[k] < '0' || text[k] > '9')
            return SIZE_MAX;
        i = i * 10 + (size_t)(text[k] - '0');
    }
    return i;
}

static enum qvl_status open_upload(const struct qvl_media_request *media, const char *where, const char *name,
                                   size_t n, struct qvl_media_source *out, struct qvl_error *err)
{
    const struct qvl_http_request *request = qvl_exchange_request(media->x);
    const size_t i_said = index_of(name, n);
    for (size_t i = 0; i < request->n_part; i++) {
        const struct qvl_form_part *part = &request->part[i];
        if (i != i_said && !is_name(part->name, name, n) && !is_name(part->filename, name, n))
            continue;
        if (part->n == 0)
            return qvl_fail(err, QVL_ERR_MEDIA, "%s: the file is empty", where);
        *out =
            (struct qvl_media_source){.from = QVL_FROM_BYTES, .bytes = part->bytes, .n_bytes = part->n, .fd = -1};
        return QVL_OK;
    }
    return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: no part of this name was uploaded with the request", where);
}

/* ---- the network --------------------------------------------------------------------------------- */

static void note_gone(void *user)
{
    struct qvl_media_request *media = user;
    atomic_store(&media->is_gone, true);
}

static bool must_end(void *user)
{
    struct qvl_media_request *media = user;
    return atomic_load(&media->is_gone) || atomic_load(&media->app->must_stop);
}

/* clock.h: when --timeout ends the request. */
static double deadline_of(const struct qvl_media_request *media)
{
    double s = media->app->options.deadline_s;
    return s > 0 ? qvl_exchange_request(media->x)->received_ms + s * 1e3 : HUGE_VAL;
}

/* In the time that is left to all of them. */
static enum qvl_status fetch(struct qvl_media_request *media, const char *where, const char *url, size_t n,
                             int *out_fd, struct qvl_error *err)
{
    double deadline_ms = deadline_of(media);
    if (media->fetch_end_ms == 0)
        media->fetch_end_ms = qvl_now_ms() + QVL_MAX_FETCHES_MS;
    qvl_exchange_watch(media->x, note_gone, media);
    enum qvl_status status = qvl_media_fetch(media->app->fetcher, where, url, n,
                                             fmin(media->fetch_end_ms, deadline_ms), must_end, media, out_fd, err);
    qvl_exchange_watch(media->x, NULL, NULL);
    media->is_late = status && qvl_now_ms() >= deadline_ms;
    return status;
}

/* What was fetched, as bytes: an engine knows files by their inode, and a fetched one is a new one each time; bytes
 * it knows by what they are, so that a conversation that shows a URL again need not be computed again. */
static enum qvl_status take_fetched(struct qvl_media_request *media, const char *where, int fd,
                                    struct qvl_arena *arena, struct qvl_media_source *out, struct qvl_error *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || st.st_size < 0)
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: cannot be read: %s", where, qvl_errno_text(errno));
    size_t n = (size_t)st.st_size;
    media->n_fetched_bytes += n;
    if (media->n_fetched_bytes > QVL_MAX_FETCHED_BYTES)
        return qvl_fail(err, QVL_ERR_LIMIT, "%s: what the URLs lead to has more than %u MiB together", where,
                        QVL_MAX_FETCHED_BYTES >> 20);
    uint8_t *bytes = qvl_arena_alloc(arena, n, 1, "fetching", err);
    if (!bytes)
        return err->status;
    for (size_t n_read = 0; n_read < n;) {
        ssize_t got = pread(fd, bytes + n_read, n - n_read, (off_t)n_read);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return qvl_fail(err, QVL_ERR_MEDIA, "%s: cannot be read: %s", where, qvl_errno_text(errno));
        n_read += (size_t)got;
    }
    *out = (struct qvl_media_source){.from = QVL_FROM_BYTES, .bytes = bytes, .n_bytes = n, .fd = -1};
    return QVL_OK;
}

static enum qvl_status open_url(struct qvl_media_request *media, const char *where, const char *url, size_t n,
                                struct qvl_arena *arena, struct qvl_media_source *out, struct qvl_error *err)
{
    int fd = -1;
    if (!media->app->fetcher) {
        media->code = "url_fetch_disabled";
        return qvl_fail(err, QVL_ERR_ARGUMENT,
                        "%s: this server fetches no URLs (--allow-url-fetch lets it): send a data: URI with base64",
                        where);
    }
    if (++media->n_fetch > QVL_MAX_FETCHES)
        return qvl_fail(err, QVL_ERR_LIMIT, "%s: more than %u URLs to fetch", where, QVL_MAX_FETCHES);
    enum qvl_status status = fetch(media, where, url, n, &fd, err);
    if (status)
        return status;
    status = take_fetched(media, where, fd, arena, out, err);
    close(fd);
    return status;
}

/* ---- files --------------------------------------------------------------------------------------- */

static enum qvl_status open_file(struct qvl_media_request *media, const char *where, const char *uri, size_t n,
                                 struct qvl_media_source *out, struct qvl_error *err)
{
    int fd = -1;
    if (!media->app->media_folder) {
        media->code = "file_access_disabled";
        return qvl_fail(err, QVL_ERR_ARGUMENT,
                        "%s: this server reads no files (--media-path lets it): send a data: URI with base64",
                        where);
    }
    enum qvl_status status = qvl_media_path_open_file(media->app->media_folder, where, uri, n, &fd, err);
    if (!status)
        *out = (struct qvl_media_source){.from = QVL_FROM_FD, .fd = fd};
    return status;
}

/* ---- the door ------------------------------------------------------------------------------------ */

static bool begins_with(const char *uri, size_t n, const char *prefix)
{
    size_t n_prefix = strlen(prefix);
    return n >= n_prefix && strncasecmp(uri, prefix, n_prefix) == 0;
}

static enum qvl_status open_uri(void *user, const char *where, const char *uri, size_t n, struct qvl_arena *arena,
                                struct qvl_media_source *out, struct qvl_error *err)
{
    static const char upload[] = "upload:";
    struct qvl_media_request *media = user;
    if (begins_with(uri, n, upload))
        return open_upload(media, where, uri + sizeof upload - 1, n - (sizeof upload - 1), out, err);
    if (begins_with(uri, n, "http:") || begins_with(uri, n, "https:"))
        return open_url(media, where, uri, n, arena, out, err);
    return open_file(media, where, uri, n, out, err);
}

void qvl_media_request_init(struct qvl_media_request *media, struct qvl_app *app, struct qvl_exchange *x)
{
    *media = (struct qvl_media_request){.app = app, .x = x, .opener = {media, open_uri}};
}

void qvl_media_request_settings(const struct qvl_media_request *media, struct qvl_chat_json_settings *out)
{
    const struct qvl_server_options *o = &media->app->options;
    *out = (struct qvl_chat_json_settings){.opener = &media->opener,
                                           .image = o->image,
                                           .video = o->video,
                                           .max_media = QVL_MAX_SERVER_MEDIA,
                                           .max_listed = QVL_MAX_SERVER_LISTED,
                                           .max_media_bytes = QVL_MAX_SERVER_MEDIA_BYTES};
}

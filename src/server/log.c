/* Enters: events with their members. Leaves: one line each, a JSON object, in a single write.
 *
 * What comes from outside is in a JSON string with everything escaped that could end a line or move a terminal's
 * cursor, so that no text can forge a line. A full pipe or disk loses lines and stops nobody: what reads the log
 * may be slow, and the thread that moves the bytes of all connections writes here, too.
 *
 * Equal events have a bucket of ten tokens that fills in a second (reliability of the disk against whoever makes
 * errors). */
#include "server/log.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/utf8.h"

enum {
    MAX_VALUE_BYTES = 256,
    EQUAL_PER_S = 10,
    N_BUCKET = 64, /* kinds of events told apart at a time */
    END_ROOM = 40  /* of a line, for what qvl_log_end adds */
};

struct bucket {
    uint64_t kind;
    const char *event;
    double n_token, filled_ms;
    uint64_t n_left_out; /* since the last one that was written */
};

struct qvl_log {
    pthread_mutex_t lock; /* of all below */
    char *file;           /* NULL: stderr */
    int fd;
    uint64_t n_lost; /* lines that could not be written, since that was last said */
    bool is_torn;    /* the last one was written in part: a full disk */
    struct bucket bucket[N_BUCKET];
};

/* ---- lines --------------------------------------------------------------------------------------- */

/* Whole or not at all, so that the line stays an object. */
static bool add(struct qvl_log_line *line, const char *data, size_t n)
{
    if (n > sizeof line->text - END_ROOM - line->n)
        return false;
    memcpy(line->text + line->n, data, n);
    line->n += n;
    return true;
}

/* What ends a line or a string, moves a terminal's cursor or turns the direction of writing: controls (C0, DEL,
 * C1), the separators U+2028 and U+2029, and the marks that reorder what follows. */
static bool must_escape(uint32_t c)
{
    return c < 0x20 || c == '"' || c == '\\' || (c >= 0x7F && c < 0xA0) || (c >= 0x2028 && c <= 0x202E) ||
           (c >= 0x2066 && c <= 0x2069);
}

/* In quotes, cut. */
static bool add_string(struct qvl_log_line *line, const char *utf8)
{
    size_t n_all = strlen(utf8), n = n_all < MAX_VALUE_BYTES ? n_all : MAX_VALUE_BYTES;
    if (n < n_all)
        n -= qvl_utf8_n_incomplete(utf8, n);
    bool is_good = add(line, "\"", 1);
    for (size_t i = 0, len; i < n && is_good; i += len) {
        uint32_t c = 0xFFFD;
        char escaped[8];
        len = qvl_utf8_decode(utf8 + i, n - i, &c);
        if (len > 0 && !must_escape(c)) {
            is_good = add(line, utf8 + i, len);
            continue;
        }
        if (len == 0)
            len = 1; /* not UTF-8 */
        snprintf(escaped, sizeof escaped, "\\u%04x", (unsigned)c & 0xFFFF);
        is_good = add(line, escaped, 6);
    }
    return is_good && (n == n_all || add(line, "…", strlen("…"))) && add(line, "\"", 1);
}

static bool add_key(struct qvl_log_line *line, const char *key)
{
    return add(line, ", \"", 3) && add(line, key, strlen(key)) && add(line, "\": ", 3);
}

/* FNV-1a. */
static uint64_t hash(uint64_t h, const char *text)
{
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 0x100000001B3u;
    return h * 0x100000001B3u; /* as if a 0 followed: "ab", "c" is not "a", "bc" */
}

void qvl_log_begin(struct qvl_log *log, struct qvl_log_line *line, const char *event)
{
    struct timespec now;
    struct tm utc;
    line->log = log;
    line->event = event;
    line->kind = hash(0xCBF29CE484222325u, event);
    line->want_each = false;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    int n = snprintf(line->text, sizeof line->text,
                     "{\"time\": \"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ\", \"event\": \"%.64s\"", utc.tm_year + 1900,
                     utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, (int)(now.tv_nsec / 1000000),
                     event);
    line->n = n > 0 ? (size_t)n : 0;
}

void qvl_log_add_detail(struct qvl_log_line *line, const char *key, const char *utf8)
{
    size_t n = line->n;
    if (utf8 && !(add_key(line, key) && add_string(line, utf8)))
        line->n = n;
}

void qvl_log_add_text(struct qvl_log_line *line, const char *key, const char *utf8)
{
    if (utf8)
        line->kind = hash(hash(line->kind, key), utf8);
    qvl_log_add_detail(line, key, utf8);
}

void qvl_log_add_number(struct qvl_log_line *line, const char *key, double value)
{
    char text[40];
    size_t n = line->n;
    bool is_whole = fabs(value) < 9e15 && value <= floor(value);
    if (isfinite(value))
        snprintf(text, sizeof text, is_whole ? "%.0f" : "%.3f", value);
    else
        snprintf(text, sizeof text, "null");
    if (!add_key(line, key) || !add(line, text, strlen(text)))
        line->n = n;
}

void qvl_log_add_code(struct qvl_log_line *line, const char *key, unsigned code)
{
    char text[16];
    snprintf(text, sizeof text, "%u", code);
    line->kind = hash(hash(line->kind, key), text);
    qvl_log_add_number(line, key, code);
}

/* ---- writing ------------------------------------------------------------------------------------- */

/* Under the lock. A pipe that has room for PIPE_BUF bytes takes a line whole and at once. */
static bool write_line(struct qvl_log *log, const char *text, size_t n)
{
    struct pollfd ready = {.fd = log->fd, .events = POLLOUT};
    ssize_t n_written = -1;
    if (poll(&ready, 1, 0) != 1 || !(ready.revents & POLLOUT) || (log->is_torn && write(log->fd, "\n", 1) != 1))
        return false;
    do
        n_written = write(log->fd, text, n);
    while (n_written < 0 && errno == EINTR);
    log->is_torn = n_written > 0 && n_written < (ssize_t)n;
    return n_written == (ssize_t)n;
}

static bool end_line(struct qvl_log *log, struct qvl_log_line *line)
{
    memcpy(line->text + line->n, "}\n", 2); /* END_ROOM is there for it */
    return write_line(log, line->text, line->n + 2);
}

/* A number of events that nothing else tells. Under the lock. */
static bool say_number(struct qvl_log *log, const char *event, const char *of, uint64_t n)
{
    struct qvl_log_line line;
    qvl_log_begin(log, &line, event);
    qvl_log_add_detail(&line, "of", of);
    qvl_log_add_number(&line, "lines", (double)n);
    return end_line(log, &line);
}

/* Under the lock: before the kind is forgotten. */
static void say_left_out(struct qvl_log *log, struct bucket *bucket)
{
    if (bucket->n_left_out > 0 && !say_number(log, "left_out", bucket->event, bucket->n_left_out))
        log->n_lost++;
    bucket->n_left_out = 0;
}

/* Whether an event of this kind may be written now; under the lock. */
static bool take_token(struct qvl_log *log, const struct qvl_log_line *line, struct bucket **out)
{
    struct bucket *bucket = &log->bucket[line->kind % N_BUCKET];
    double now = qvl_now_ms();
    if (!bucket->event || bucket->kind != line->kind) {
        say_left_out(log, bucket);
        *bucket = (struct bucket){line->kind, line->event, EQUAL_PER_S, now, 0};
    }
    bucket->n_token = fmin(EQUAL_PER_S, bucket->n_token + (now - bucket->filled_ms) * 1e-3 * EQUAL_PER_S);
    bucket->filled_ms = now;
    *out = bucket;
    if (bucket->n_token < 1) {
        bucket->n_left_out++;
        return false;
    }
    bucket->n_token -= 1;
    return true;
}

/* Under the lock. */
static void write_event(struct qvl_log *log, struct qvl_log_line *line, struct bucket *bucket)
{
    if (bucket && bucket->n_left_out > 0) {
        int n = snprintf(line->text + line->n, END_ROOM - 2, ", \"left_out\": %llu",
                         (unsigned long long)bucket->n_left_out);
        line->n += n > 0 ? (size_t)n : 0;
        bucket->n_left_out = 0;
    }
    if (log->n_lost > 0 && say_number(log, "lost", NULL, log->n_lost))
        log->n_lost = 0;
    if (!end_line(log, line))
        log->n_lost++;
}

void qvl_log_end(struct qvl_log_line *line)
{
    struct qvl_log *log = line->log;
    struct bucket *bucket = NULL;
    pthread_mutex_lock(&log->lock);
    if (line->want_each || take_token(log, line, &bucket))
        write_event(log, line, bucket);
    pthread_mutex_unlock(&log->lock);
}

/* ---- files --------------------------------------------------------------------------------------- */

static int open_file(const char *file)
{
    return open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
}

enum qvl_status qvl_log_open(const char *file, struct qvl_log **out, struct qvl_error *err)
{
    struct qvl_log *log = calloc(1, sizeof *log);
    if (!log)
        return qvl_fail_memory(err, sizeof *log, "the log");
    pthread_mutex_init(&log->lock, NULL);
    log->fd = STDERR_FILENO;
    if (file) {
        log->file = strdup(file);
        log->fd = log->file ? open_file(file) : -1;
        if (log->fd < 0) {
            qvl_fail(err, log->file ? QVL_ERR_FILE : QVL_ERR_MEMORY, "%s: cannot open for writing: %s", file,
                     qvl_errno_text(errno));
            qvl_log_close(log);
            return err->status;
        }
    }
    *out = log;
    return QVL_OK;
}

void qvl_log_reopen(struct qvl_log *log)
{
    struct qvl_log_line line;
    if (!log->file)
        return;
    int fd = open_file(log->file), code = errno;
    pthread_mutex_lock(&log->lock);
    if (fd >= 0) {
        close(log->fd);
        log->fd = fd;
    }
    pthread_mutex_unlock(&log->lock);
    qvl_log_begin(log, &line, fd >= 0 ? "log_reopened" : "log_not_reopened");
    if (fd < 0)
        qvl_log_add_text(&line, "error", qvl_errno_text(code));
    qvl_log_end(&line);
}

void qvl_log_close(struct qvl_log *log)
{
    if (!log)
        return;
    for (size_t i = 0; i < N_BUCKET && log->fd >= 0; i++)
        say_left_out(log, &log->bucket[i]);
    if (log->file && log->fd >= 0)
        close(log->fd);
    pthread_mutex_destroy(&log->lock);
    free(log->file);
    free(log);
}

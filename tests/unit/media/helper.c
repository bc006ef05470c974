#include "helper.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>

#include "base/os.h"

const char *test_helper_path(void)
{
    static char path[4200];
    char dir[4096];
    qvl_os_program_dir(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/../../../qvl-media", dir);
    return path;
}

struct qvl_media *test_open(const char *helper_path, uint32_t deadline_ms)
{
    struct qvl_media *media = NULL;
    struct qvl_error err = {0};
    const struct qvl_media_settings settings = {.helper_path = helper_path, .deadline_ms = deadline_ms};
    if (qvl_media_open(&settings, &media, &err))
        fail_msg("%s", err.text);
    return media;
}

uint8_t *test_read_file(const char *path, size_t *out_n)
{
    struct qvl_bytes bytes = {0};
    struct qvl_error err = {0};
    if (qvl_os_read_file(path, 1u << 28, &bytes, &err))
        fail_msg("%s", err.text);
    *out_n = bytes.n;
    return (uint8_t *)bytes.data;
}

struct qvl_media_source test_source(const char *name, const uint8_t *bytes, size_t n)
{
    return (struct qvl_media_source){.from = QVL_FROM_BYTES, .name = name, .bytes = bytes, .n_bytes = n};
}

size_t test_n_fd(void)
{
    size_t n = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

int test_has_child(void)
{
    return !(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD);
}

int test_is_late(const struct qvl_error *err)
{
    return strstr(err->text, "it was not ready in time") != NULL;
}

void test_refused(struct qvl_media *media, const struct qvl_media_source *source, enum qvl_status status,
                  const char *part)
{
    struct qvl_error err = {0};
    struct qvl_picture picture = {0};
    enum qvl_status found = qvl_media_decode_image(media, source, &picture, NULL, &err);
    for (int i = 0; i < 20 && found && test_is_late(&err) && !strstr(err.text, part); i++)
        found = qvl_media_decode_image(media, source, &picture, NULL, &err);
    if (found != status)
        fail_msg("%s: status %d instead of %d: %s", source->name, err.status, status, err.text);
    assert_null(picture.map);
    if (status != QVL_ERR_FILE) /* that is about qvl-media, not about a picture */
        assert_int_equal(strncmp(err.text, source->name, strlen(source->name)), 0);
    if (!strstr(err.text, part))
        fail_msg("\"%s\" does not say \"%s\"", err.text, part);
}

/* A picture and a question to libqvl, the answer to stdout while it is made.
 *
 *     cc example.c $(pkg-config --cflags --libs qvl) -o example
 *     ./example Qwen3-VL-2B-Instruct photo.jpg "What is this?"
 */
#include <qvl.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Prints the answer of one request. */
static enum qvl_status print_answer(struct qvl_request *request, struct qvl_error *err)
{
    struct qvl_event event = {0};
    while (event.kind != QVL_EVENT_DONE) {
        enum qvl_status status = qvl_request_next(request, &event, err);
        if (status)
            return status;
        if (event.kind == QVL_EVENT_TEXT) {
            fwrite(event.text.utf8, 1, event.text.n, stdout);
            fflush(stdout);
        }
    }
    putchar('\n');
    return QVL_OK;
}

/* One conversation: a user's message with a picture and a text. */
static enum qvl_status ask(struct qvl_engine *engine, const char *picture, int fd, const char *question,
                           struct qvl_error *err)
{
    struct qvl_engine_info info;
    qvl_engine_get_info(engine, &info);
    const struct qvl_part parts[] = {
        {.kind = QVL_PART_IMAGE, .source = {.from = QVL_FROM_FD, .name = picture, .fd = fd}},
        {.kind = QVL_PART_TEXT, .utf8 = question, .n = strlen(question)},
    };
    const struct qvl_message message = {.role = QVL_ROLE_USER, .parts = parts, .n_part = 2};
    const struct qvl_chat chat = {.messages = &message, .n_message = 1};
    const struct qvl_request_options options = {.sampling = info.sampling, .max_tokens = 200};

    struct qvl_request *request = NULL;
    enum qvl_status status = qvl_request_open(engine, &chat, &options, &request, err);
    if (!status)
        status = print_answer(request, err);
    qvl_request_close(request);
    return status;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: %s MODEL PICTURE QUESTION\n", argv[0]);
        return 2;
    }
    int fd = open(argv[2], O_RDONLY);
    if (fd < 0) {
        perror(argv[2]);
        return 1;
    }
    struct qvl_engine *engine = NULL;
    struct qvl_error err = {0};
    enum qvl_status status = qvl_engine_open(&(struct qvl_engine_options){.model_dir = argv[1]}, &engine, &err);
    if (!status)
        status = qvl_engine_load(engine, &err);
    if (!status)
        status = ask(engine, argv[2], fd, argv[3], &err);
    if (status)
        fprintf(stderr, "%s\n", err.text);
    qvl_engine_close(engine);
    close(fd);
    return status ? 1 : 0;
}

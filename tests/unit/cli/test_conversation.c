/* The messages of a chat: taking back, asking again, and the file that they are kept in. */
#include "cli/conversation.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/os.h"

static char dir[] = "/tmp/qvl-conversation-XXXXXX";
static const struct qvl_chat_json_settings plain;

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    char command[200];
    static const char *const name[] = {"a b.png", "c.json", "d.json", "e.mp4", "m/f1.png", "m/f2.png", "gone.png",
                                       "rel.json"};
    for (size_t i = 0; i < sizeof name / sizeof name[0]; i++) {
        snprintf(command, sizeof command, "%s/%s", dir, name[i]);
        unlink(command);
    }
    snprintf(command, sizeof command, "%s/m", dir);
    rmdir(command);
    return rmdir(dir);
}

static const char *path_of(const char *name)
{
    static char path[4][200];
    static int i;
    i = (i + 1) % 4;
    snprintf(path[i], sizeof path[i], "%s/%s", dir, name);
    return path[i];
}

static const char *write_text(const char *name, const char *text)
{
    const char *path = path_of(name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
    return path;
}

static void ask(struct qvl_conversation *c, const char *text)
{
    struct qvl_input none = {0};
    struct qvl_error err = {0};
    assert_int_equal(qvl_conversation_add_question(c, &none, text, &err), QVL_OK);
}

static void answer(struct qvl_conversation *c, const char *text, const char *reasoning)
{
    struct qvl_error err = {0};
    assert_int_equal(qvl_conversation_add_answer(c, text, strlen(text), reasoning, &err), QVL_OK);
}

/* "S:x U:q A:a " by roles and first texts. */
static void check_messages(struct qvl_conversation *c, const char *want)
{
    struct qvl_chat chat;
    struct qvl_error err = {0};
    struct qvl_bytes got = {0};
    assert_int_equal(qvl_conversation_chat(c, &chat, &err), QVL_OK);
    assert_int_equal(qvl_bytes_add_text(&got, "", &err), QVL_OK);
    for (size_t i = 0; i < chat.n_message; i++) {
        const struct qvl_message *m = &chat.messages[i];
        const struct qvl_part *last = &m->parts[m->n_part - 1];
        assert_int_equal(qvl_bytes_add_format(&got, &err, "%c:%.*s ", "SUAT"[m->role], (int)last->n, last->utf8),
                         QVL_OK);
    }
    assert_string_equal(got.data, want);
    qvl_bytes_free(&got);
}

static void turns(void **state)
{
    (void)state;
    struct qvl_conversation c = {0};
    struct qvl_error err = {0};
    bool is_there = true;
    assert_false(qvl_conversation_undo(&c));
    assert_int_equal(qvl_conversation_retry(&c, &is_there, &err), QVL_OK);
    assert_false(is_there);
    ask(&c, "one");
    answer(&c, "1", "");
    ask(&c, "two");
    answer(&c, "2", "");
    assert_int_equal(qvl_conversation_n_turn(&c), 2);
    assert_int_equal(qvl_conversation_set_system(&c, "be brief", &err), QVL_OK);
    check_messages(&c, "S:be brief U:one A:1 U:two A:2 ");
    assert_int_equal(qvl_conversation_retry(&c, &is_there, &err), QVL_OK);
    assert_true(is_there);
    check_messages(&c, "S:be brief U:one A:1 U:two ");
    answer(&c, "22", "");
    assert_true(qvl_conversation_undo(&c));
    check_messages(&c, "S:be brief U:one A:1 ");
    assert_int_equal(qvl_conversation_set_system(&c, "be long", &err), QVL_OK);
    assert_string_equal(qvl_conversation_system(&c), "be long");
    qvl_conversation_clear(&c);
    check_messages(&c, "S:be long ");
    assert_int_equal(qvl_conversation_set_system(&c, "", &err), QVL_OK);
    assert_null(qvl_conversation_system(&c));
    check_messages(&c, "");
    qvl_conversation_free(&c);
}

static void a_question_taken_back_can_be_asked_again(void **state)
{
    (void)state;
    struct qvl_conversation c = {0};
    struct qvl_error err = {0};
    bool is_there = false;
    ask(&c, "one");
    answer(&c, "1", "");
    ask(&c, "too long");
    qvl_conversation_withdraw(&c);
    check_messages(&c, "U:one A:1 ");
    qvl_conversation_withdraw(&c); /* an answer is no question */
    check_messages(&c, "U:one A:1 ");
    qvl_conversation_clear(&c);
    assert_int_equal(qvl_conversation_retry(&c, &is_there, &err), QVL_OK);
    assert_true(is_there);
    check_messages(&c, "U:too long ");
    qvl_conversation_withdraw(&c);
    ask(&c, "short"); /* and the one before is forgotten */
    assert_int_equal(qvl_conversation_retry(&c, &is_there, &err), QVL_OK);
    check_messages(&c, "U:short ");
    qvl_conversation_free(&c);
}

static void texts_must_be_utf8(void **state)
{
    (void)state;
    struct qvl_conversation c = {0};
    struct qvl_input none = {0};
    struct qvl_error err = {0};
    assert_int_equal(qvl_conversation_add_question(&c, &none, "\xff", &err), QVL_ERR_ARGUMENT);
    assert_int_equal(qvl_conversation_set_system(&c, "a\xC3", &err), QVL_ERR_ARGUMENT);
    check_messages(&c, "");
    qvl_conversation_free(&c);
}

/* A conversation with everything: what comes back from the file writes the same file again. */
static void saved_and_loaded(void **state)
{
    (void)state;
    struct qvl_conversation c = {0}, again = {0};
    struct qvl_options options = {.max_pixels = 65536, .fps = 1.5, .start_s = 2};
    struct qvl_input input = {0};
    struct qvl_error err = {0};
    struct qvl_bytes first = {0}, second = {0};
    write_text("a b.png", "\x89PNG\r\n\x1a\nxxxxxxxx");
    write_text("e.mp4", "\0\0\0\x18" "ftypisom");
    assert_int_equal(mkdir(path_of("m"), 0700), 0);
    write_text("m/f1.png", "\x89PNG\r\n\x1a\nxxxxxxxx");
    write_text("m/f2.png", "\x89PNG\r\n\x1a\nxxxxxxxx");
    assert_int_equal(qvl_conversation_set_system(&c, "be \"brief\"\n", &err), QVL_OK);
    assert_int_equal(qvl_input_add_media(&options, QVL_PART_IMAGE, path_of("a b.png"), &input, &err), QVL_OK);
    assert_int_equal(qvl_input_add_media(&options, QVL_PART_VIDEO, path_of("m"), &input, &err), QVL_OK);
    assert_int_equal(qvl_conversation_add_question(&c, &input, "\xE4\xBD\xA0\xE5\xA5\xBD?", &err), QVL_OK);
    assert_int_equal(input.n_part, 0); /* taken over */
    answer(&c, "Yes.", "Let me think.\n");

    assert_int_equal(qvl_conversation_save(&c, path_of("c.json"), &err), QVL_OK);
    assert_int_equal(qvl_conversation_load(&again, path_of("c.json"), &plain, &err), QVL_OK);
    check_messages(&again, "S:be \"brief\"\n U:\xE4\xBD\xA0\xE5\xA5\xBD? A:Yes. ");
    struct qvl_chat chat;
    assert_int_equal(qvl_conversation_chat(&again, &chat, &err), QVL_OK);
    assert_int_equal(chat.messages[1].n_part, 3);
    assert_int_equal(chat.messages[1].parts[0].kind, QVL_PART_IMAGE);
    assert_int_equal(chat.messages[1].parts[0].media.max_pixels, 65536);
    assert_int_equal(chat.messages[1].parts[1].source.from, QVL_FROM_PICTURES);
    assert_int_equal(chat.messages[1].parts[1].source.n_frame, 2);
    assert_true(chat.messages[1].parts[1].source.pictures[1].time_s == 0.5); /* 2 a second */
    assert_string_equal(chat.messages[2].reasoning, "Let me think.\n");
    assert_int_equal(qvl_conversation_json(&c, &first, &err), QVL_OK);
    assert_int_equal(qvl_conversation_json(&again, &second, &err), QVL_OK);
    assert_string_equal(first.data, second.data);
    assert_non_null(strstr(first.data, "/a b.png\", \"max_pixels\": 65536}"));

    qvl_bytes_free(&first);
    qvl_bytes_free(&second);
    qvl_conversation_free(&c);
    qvl_conversation_free(&again);
}

/* What no chat makes by itself, but a file may hold. */
static void foreign_conversations_keep_what_they_have(void **state)
{
    (void)state;
    const char *text = "{\"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"look\"}}], \"messages\": ["
                       "{\"role\": \"user\", \"content\": [{\"type\": \"image\", \"image\": "
                       "\"data:image/png;base64,iVBORw0KGgoAAA==\"}, {\"type\": \"text\", \"text\": \"q\"}]},"
                       "{\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": [{\"type\": \"function\", "
                       "\"function\": {\"name\": \"look\", \"arguments\": {\"x\": [1, 2.5]}}}]},"
                       "{\"role\": \"tool\", \"content\": [{\"type\": \"image\", \"image\": \"a b.png\"}]}]}";
    struct qvl_conversation c = {0};
    struct qvl_error err = {0};
    struct qvl_bytes json = {0};
    write_text("a b.png", "\x89PNG\r\n\x1a\nxxxxxxxx");
    assert_int_equal(qvl_conversation_load(&c, write_text("rel.json", text), &plain, &err), QVL_OK);
    assert_int_equal(qvl_conversation_json(&c, &json, &err), QVL_OK);
    assert_non_null(strstr(json.data, ";base64,iVBORw0KGgoAAA==\""));
    assert_non_null(strstr(json.data, "{\"name\": \"look\", \"arguments\": {"));
    assert_non_null(strstr(json.data, "2.5"));
    assert_non_null(strstr(json.data, path_of("a b.png"))); /* absolute now */
    assert_non_null(strstr(json.data, "\"tools\": ["));
    qvl_bytes_free(&json);

    assert_int_equal(qvl_conversation_save(&c, path_of("d.json"), &err), QVL_OK);
    struct qvl_conversation again = {0};
    assert_int_equal(qvl_conversation_load(&again, path_of("d.json"), &plain, &err), QVL_OK);
    struct qvl_chat chat;
    assert_int_equal(qvl_conversation_chat(&again, &chat, &err), QVL_OK);
    assert_int_equal(chat.n_message, 3);
    assert_int_equal(chat.messages[1].n_tool_call, 1);
    assert_int_equal(chat.messages[2].role, QVL_ROLE_TOOL);
    assert_int_equal(chat.messages[0].parts[0].source.n_bytes, 10);
    assert_non_null(chat.tools_json);
    qvl_conversation_clear(&again);
    assert_int_equal(qvl_conversation_chat(&again, &chat, &err), QVL_OK);
    assert_null(chat.tools_json);
    qvl_conversation_free(&again);
    qvl_conversation_free(&c);
}

static void files_that_are_refused(void **state)
{
    (void)state;
    struct qvl_conversation c = {0};
    struct qvl_options options = {0};
    struct qvl_input input = {0};
    struct qvl_error err = {0};
    ask(&c, "q");
    const char *photo = write_text("a b.png", "\x89PNG\r\n\x1a\nxxxxxxxx");
    assert_int_equal(qvl_conversation_save(&c, photo, &err), QVL_ERR_FILE);
    assert_non_null(strstr(err.text, "no saved conversation"));
    assert_int_equal(qvl_conversation_save(&c, path_of("no/such/folder.json"), &err), QVL_ERR_FILE);
    assert_int_equal(qvl_conversation_load(&c, path_of("none.json"), &plain, &err), QVL_ERR_FILE);
    assert_int_equal(qvl_conversation_load(&c, photo, &plain, &err), QVL_ERR_ARGUMENT);
    check_messages(&c, "U:q "); /* as it was */

    assert_int_equal(qvl_conversation_save(&c, path_of("c.json"), &err), QVL_OK); /* over an earlier one */
    write_text("gone.png", "\x89PNG\r\n\x1a\nxxxxxxxx");
    assert_int_equal(qvl_input_add_media(&options, QVL_PART_IMAGE, path_of("gone.png"), &input, &err), QVL_OK);
    assert_int_equal(qvl_conversation_add_question(&c, &input, "what?", &err), QVL_OK);
    assert_int_equal(unlink(path_of("gone.png")), 0);
    assert_int_equal(qvl_conversation_save(&c, path_of("c.json"), &err), QVL_ERR_FILE);
    assert_non_null(strstr(err.text, "gone.png: the file is gone"));
    struct qvl_bytes left = {0};
    assert_int_equal(qvl_os_read_file(path_of("c.json"), 4096, &left, &err), QVL_OK); /* the earlier one is whole */
    assert_string_equal(left.data, "{\"messages\": [\n {\"role\": \"user\", \"content\": \"q\"}\n]}\n");
    qvl_bytes_free(&left);
    qvl_conversation_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(turns),
        cmocka_unit_test(a_question_taken_back_can_be_asked_again),
        cmocka_unit_test(texts_must_be_utf8),
        cmocka_unit_test(saved_and_loaded),
        cmocka_unit_test(foreign_conversations_keep_what_they_have),
        cmocka_unit_test(files_that_are_refused),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}

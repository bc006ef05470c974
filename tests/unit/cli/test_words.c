/* Words as a shell and a terminal write them. Expected values: POSIX shell quoting, RFC 8089 (file URIs). */
#include "cli/words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* The words of `text`, a | behind each; "!" and the sentence on failure. */
static void check(const char *text, const char *want)
{
    struct qvl_bytes word = {0}, all = {0};
    struct qvl_error err = {0};
    bool is_there = true;
    enum qvl_status status = qvl_bytes_add_text(&all, "", &err);
    while (!(status = qvl_words_next(&text, &word, &is_there, &err)) && is_there)
        assert_int_equal(qvl_bytes_add_format(&all, &err, "%s|", word.data), QVL_OK);
    if (status) {
        assert_int_equal(status, QVL_ERR_ARGUMENT);
        assert_int_equal(qvl_bytes_add_format(&all, &err, "!"), QVL_OK);
    }
    assert_string_equal(all.data, want);
    qvl_bytes_free(&word);
    qvl_bytes_free(&all);
}

static void plain_words(void **state)
{
    (void)state;
    check("", "");
    check("  \t", "");
    check("a.png", "a.png|");
    check(" a.png\t b.png ", "a.png|b.png|");
    check("\xE5\x9B\xBE.png x", "\xE5\x9B\xBE.png|x|");
}

static void quotes(void **state)
{
    (void)state;
    check("'my photo.jpg' what", "my photo.jpg|what|");
    check("\"my photo.jpg\"", "my photo.jpg|");
    check("'it'\\''s.jpg'", "it's.jpg|");        /* how shells and VTE quote an apostrophe */
    check("my\\ photo\\(1\\).jpg", "my photo(1).jpg|");
    check("\"a\\\"b\\\\c\\$d\\x\"", "a\"b\\c$d\\x|");
    check("'a\\b'", "a\\b|");
    check("''", "|");
    check("a''b", "ab|");
    check("end\\", "end\\|");
    check("what's this", "!");
    check("\"open", "!");
    check("\"open\\\"", "!");
}

static void file_uris(void **state)
{
    (void)state;
    check("file:///home/a/my%20photo.jpg", "/home/a/my photo.jpg|");
    check("file://localhost/a", "/a|");
    check("'file:///a%2Bb%c3%a9'", "/a+b\xC3\xA9|");
    check("file:///a+b", "/a+b|"); /* a plus is a plus */
    check("file://elsewhere/a", "!");
    check("file:///a%", "!");
    check("file:///a%2", "!");
    check("file:///a%5g", "!");
    check("file:///a%00b", "!");
    check("file://", "!"); /* no path at all */
    check("file:/a%20b", "/a b|");
    check("file:", "file:|");
    check("http://a/b", "http://a/b|");
}

static void home_folder(void **state)
{
    (void)state;
    assert_int_equal(setenv("HOME", "/home/someone", 1), 0);
    check("~/a.png", "/home/someone/a.png|");
    check("'~/a.png'", "~/a.png|");
    check("x~/a", "x~/a|");
    assert_int_equal(unsetenv("HOME"), 0);
    check("~/a.png", "~/a.png|");
}

static void failure_moves_nothing(void **state)
{
    (void)state;
    const char *text = "'open", *before = text;
    struct qvl_bytes word = {0};
    struct qvl_error err = {0};
    bool is_there = false;
    assert_int_equal(qvl_words_next(&text, &word, &is_there, &err), QVL_ERR_ARGUMENT);
    assert_ptr_equal(text, before);
    assert_string_equal(err.text, "a quote is not closed");
    qvl_bytes_free(&word);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_words), cmocka_unit_test(quotes), cmocka_unit_test(file_uris),
        cmocka_unit_test(home_folder), cmocka_unit_test(failure_moves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

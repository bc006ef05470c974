/* Names of models as people write and paste them; those of huggingface_hub's validate_repo_id are refused as there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "hub/hub.h"
#include "hub/path.h"

static void assert_ref(const char *text, enum qvl_hub_source source, const char *owner, const char *name,
                       const char *revision)
{
    struct qvl_hub_ref ref;
    struct qvl_error err = {0};
    if (qvl_hub_ref_parse(text, &ref, &err))
        fail_msg("%s", err.text);
    assert_int_equal(ref.source, source);
    assert_string_equal(ref.owner, owner);
    assert_string_equal(ref.name, name);
    assert_string_equal(ref.revision, revision);
}

static void test_forms(void **state)
{
    (void)state;
    static const char name[] = "Qwen3-VL-2B-Instruct";
    assert_ref("Qwen/Qwen3-VL-2B-Instruct", QVL_HUB_AUTO, "Qwen", name, "");
    assert_ref("hf:Qwen/Qwen3-VL-2B-Instruct", QVL_HUB_HF, "Qwen", name, "");
    assert_ref("hf://Qwen/Qwen3-VL-2B-Instruct@main", QVL_HUB_HF, "Qwen", name, "main");
    assert_ref("ms:Qwen/Qwen3-VL-2B-Instruct@master", QVL_HUB_MODELSCOPE, "Qwen", name, "master");
    assert_ref("Qwen/Qwen3-VL-2B-Instruct@refs/pr/12", QVL_HUB_AUTO, "Qwen", name, "refs/pr/12");
    assert_ref("Qwen/Qwen3-VL-2B-Instruct@v1.0", QVL_HUB_AUTO, "Qwen", name, "v1.0");
    assert_ref("https://huggingface.co/Qwen/Qwen3-VL-2B-Instruct", QVL_HUB_HF, "Qwen", name, "");
    assert_ref("https://huggingface.co/Qwen/Qwen3-VL-2B-Instruct/tree/abc", QVL_HUB_HF, "Qwen", name, "abc");
    assert_ref("https://huggingface.co/Qwen/Qwen3-VL-2B-Instruct/", QVL_HUB_HF, "Qwen", name, "");
    assert_ref("huggingface.co/Qwen/Qwen3-VL-2B-Instruct?library=transformers", QVL_HUB_HF, "Qwen", name, "");
    assert_ref("hf.co/Qwen/Qwen3-VL-2B-Instruct", QVL_HUB_HF, "Qwen", name, "");
    assert_ref("https://hf-mirror.com/Qwen/Qwen3-VL-2B-Instruct", QVL_HUB_MIRROR, "Qwen", name, "");
    assert_ref("https://www.modelscope.cn/models/Qwen/Qwen3-VL-2B-Instruct/files", QVL_HUB_MODELSCOPE, "Qwen", name,
               "");
    assert_ref("modelscope.cn/models/Qwen/Qwen3-VL-2B-Instruct", QVL_HUB_MODELSCOPE, "Qwen", name, "");
    assert_ref("a/b", QVL_HUB_AUTO, "a", "b", "");
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const text[] = {"",
                                       "/",
                                       "Qwen",
                                       "Qwen/",
                                       "/Qwen3",
                                       "a/b/c",
                                       "../b",
                                       "a/..",
                                       "a/.b",
                                       ".a/b",
                                       "a/b..c",
                                       "a--b/c",
                                       "a/b--c",
                                       "-a/b",
                                       "a/b-",
                                       "a/b.",
                                       "a/b.git",
                                       "a b/c",
                                       "a/b c",
                                       "a/b\n",
                                       "a/b\\c",
                                       "~/b",
                                       "hf:",
                                       "hf:a",
                                       "xx:a/b",
                                       "a/b@",
                                       "a/b@../c",
                                       "a/b@/etc",
                                       "a/b@c//d",
                                       "a/b@c/../d",
                                       "a/b@.c",
                                       "a/b@c d",
                                       "a/b@-c",
                                       "a/b@c..d",
                                       "a/b@c\n",
                                       "https://example.org/a/b",
                                       "https://a/b",
                                       "file:///a/b",
                                       "模型/b"};
    for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
        struct qvl_hub_ref ref;
        struct qvl_error err = {0};
        if (qvl_hub_ref_parse(text[i], &ref, &err) != QVL_ERR_ARGUMENT)
            fail_msg("\"%s\" is taken for %s/%s@%s", text[i], ref.owner, ref.name, ref.revision);
        assert_non_null(strstr(err.text, "OWNER/NAME"));
    }
}

static void test_lengths(void **state)
{
    (void)state;
    char text[512];
    struct qvl_hub_ref ref;
    struct qvl_error err = {0};
    for (int n = 95; n <= 98; n++) {
        memset(text, 'x', sizeof text);
        memcpy(text + n, "/n", 3);
        assert_int_equal(qvl_hub_ref_parse(text, &ref, &err), n <= 96 ? QVL_OK : QVL_ERR_ARGUMENT);
        memset(text, 'x', sizeof text);
        memcpy(text, "o/", 2);
        text[2 + n] = 0;
        assert_int_equal(qvl_hub_ref_parse(text, &ref, &err), n <= 96 ? QVL_OK : QVL_ERR_ARGUMENT);
    }
    for (int n = 127; n <= 130; n++) {
        memset(text, 'x', sizeof text);
        memcpy(text, "o/n@", 4);
        text[4 + n] = 0;
        assert_int_equal(qvl_hub_ref_parse(text, &ref, &err), n <= 128 ? QVL_OK : QVL_ERR_ARGUMENT);
    }
}

static void test_looks_like(void **state)
{
    (void)state;
    assert_true(qvl_hub_ref_looks_like("Qwen/Qwen3-VL-2B-Instruct"));
    assert_false(qvl_hub_ref_looks_like("/tmp"));
    assert_false(qvl_hub_ref_looks_like("model"));
    assert_false(qvl_hub_ref_looks_like("./a/b"));
}

static void test_paths(void **state)
{
    (void)state;
    static const char *const good[] = {"config.json", "a/b/c.txt", ".gitattributes", "模型.txt", "a b",
                                       "a..b",        "..a",       "\xc2\xa0"};
    static const char *const bad[] = {"",          "/a",           "a/",    "a//b",    ".",        "..",
                                      "a/..",      "../a",         "a/./b", "a\\b",    "~a",       "a/~",
                                      "-a",        "a\nb",         "\x7f",  ".cache",  ".cache/x", ".git/config",
                                      ".qvl-part", "._____temp/x", "C:\\a", "\xc2\x9b"};
    char out[QVL_HUB_PATH_BYTES], name[600];
    struct qvl_error err = {0};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!qvl_hub_path_is_inside(good[i]))
            fail_msg("\"%s\" is refused", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (qvl_hub_path_is_inside(bad[i]))
            fail_msg("\"%s\" is taken", bad[i]);
        assert_int_equal(qvl_hub_path_join(out, "/x", bad[i], &err), QVL_ERR_FILE);
    }
    assert_int_equal(qvl_hub_path_join(out, "/x", "a/b", &err), QVL_OK);
    assert_string_equal(out, "/x/a/b");
    memset(name, 'n', sizeof name);
    name[255] = 0;
    assert_true(qvl_hub_path_is_inside(name));
    name[255] = 'n';
    name[256] = 0;
    assert_false(qvl_hub_path_is_inside(name));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),      cmocka_unit_test(test_refused), cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_looks_like), cmocka_unit_test(test_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

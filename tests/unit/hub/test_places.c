/* The environment, by the rules of huggingface_hub (constants.py) and modelscope-hub (config.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cache_folder.h"
#include "hub/places.h"

static struct qvl_hub_places places;

static void read_places(void)
{
    struct qvl_error err = {0};
    if (qvl_hub_places_read(&places, &err))
        fail_msg("%s", err.text);
}

static void test_nothing_set(void **state)
{
    (void)state;
    read_places();
    assert_string_equal(places.hf_cache, cache_path(".cache/huggingface/hub"));
    assert_string_equal(places.ms_cache, cache_path(".cache/modelscope"));
    assert_string_equal(places.packed, cache_path(".local/share/qvl/models"));
    assert_string_equal(places.hf_endpoint, "https://huggingface.co");
    assert_string_equal(places.ms_endpoint, "https://modelscope.cn");
    assert_string_equal(places.hf_token, "");
    assert_string_equal(places.ms_token, "");
    assert_false(places.is_offline || places.prefers_modelscope || places.no_links || places.is_hf_endpoint_given);
}

static void test_folders(void **state)
{
    (void)state;
    char here[4096];
    setenv("XDG_CACHE_HOME", "/xdg", 1);
    setenv("XDG_DATA_HOME", "/data", 1);
    read_places();
    assert_string_equal(places.hf_cache, "/xdg/huggingface/hub");
    assert_string_equal(places.ms_cache, cache_path(".cache/modelscope")); /* it does not ask XDG */
    assert_string_equal(places.packed, "/data/qvl/models");
    setenv("HF_HOME", "~/hf", 1);
    read_places();
    assert_string_equal(places.hf_cache, cache_path("hf/hub"));
    setenv("HUGGINGFACE_HUB_CACHE", "/old", 1);
    read_places();
    assert_string_equal(places.hf_cache, "/old");
    setenv("QVL_TEST_DIR", "/some/where", 1);
    setenv("HF_HUB_CACHE", "${QVL_TEST_DIR}/$QVL_TEST_DIR/$NOT_SET_AT_ALL/", 1);
    read_places();
    assert_string_equal(places.hf_cache, "/some/where//some/where/$NOT_SET_AT_ALL");
    setenv("HF_HUB_CACHE", "relative", 1);
    setenv("MODELSCOPE_CACHE", "~", 1);
    setenv("MS_CACHE_HOME", "/not/asked", 1);
    read_places();
    assert_non_null(getcwd(here, sizeof here));
    assert_memory_equal(places.hf_cache, here, strlen(here));
    assert_string_equal(places.hf_cache + strlen(here), "/relative");
    assert_string_equal(places.ms_cache, cache_home);
    setenv("HF_HUB_CACHE", "", 1);
    unsetenv("HUGGINGFACE_HUB_CACHE");
    read_places();
    assert_string_equal(places.hf_cache, cache_path("hf/hub"));
}

static void test_endpoints(void **state)
{
    (void)state;
    static const char *const bad[] = {"https://a b", "x\ny", "https://host/?q", "///", "\"https://a\""};
    struct qvl_error err = {0};
    setenv("HF_ENDPOINT", "https://hf-mirror.com//", 1);
    setenv("MODELSCOPE_ENDPOINT", "modelscope.example/", 1);
    read_places();
    assert_string_equal(places.hf_endpoint, "https://hf-mirror.com");
    assert_true(places.is_hf_endpoint_given && places.is_ms_endpoint_given);
    assert_string_equal(places.ms_endpoint, "https://modelscope.example");
    unsetenv("MODELSCOPE_ENDPOINT");
    setenv("MODELSCOPE_PREFER_AI_SITE", "true", 1);
    read_places();
    assert_string_equal(places.ms_endpoint, "https://www.modelscope.ai");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        setenv("HF_ENDPOINT", bad[i], 1);
        assert_int_equal(qvl_hub_places_read(&places, &err), QVL_ERR_ARGUMENT);
        assert_non_null(strstr(err.text, "HF_ENDPOINT"));
    }
}

static void test_tokens(void **state)
{
    (void)state;
    struct qvl_error err = {0};
    cache_write(".cache/huggingface/token", "hf_file\n");
    read_places();
    assert_string_equal(places.hf_token, "hf_file");
    cache_write("my token", "  hf_other \r\n");
    setenv("HF_TOKEN_PATH", "~/my token", 1);
    read_places();
    assert_string_equal(places.hf_token, "hf_other");
    setenv("HUGGING_FACE_HUB_TOKEN", "hf_old", 1);
    read_places();
    assert_string_equal(places.hf_token, "hf_old");
    setenv("HF_TOKEN", " hf_new\n", 1);
    setenv("MODELSCOPE_API_TOKEN", "ms-1", 1);
    read_places();
    assert_string_equal(places.hf_token, "hf_new");
    assert_string_equal(places.ms_token, "ms-1");
    setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1", 1);
    read_places();
    assert_string_equal(places.hf_token, "");
    unsetenv("HF_HUB_DISABLE_IMPLICIT_TOKEN");
    setenv("HF_TOKEN", "a\r\nHost: b", 1); /* a header of its own? */
    assert_int_equal(qvl_hub_places_read(&places, &err), QVL_ERR_ARGUMENT);
    assert_null(strstr(err.text, "Host"));
}

static void test_switches(void **state)
{
    (void)state;
    setenv("HF_HUB_OFFLINE", "yes", 1);
    setenv("VLLM_USE_MODELSCOPE", "True", 1);
    setenv("HF_HUB_DISABLE_SYMLINKS", "ON", 1);
    read_places();
    assert_true(places.is_offline && places.prefers_modelscope && places.no_links);
    setenv("HF_HUB_OFFLINE", "0", 1);
    setenv("TRANSFORMERS_OFFLINE", "1", 1); /* asked only where the first says nothing */
    setenv("VLLM_USE_MODELSCOPE", "False", 1);
    read_places();
    assert_false(places.is_offline || places.prefers_modelscope);
    unsetenv("HF_HUB_OFFLINE");
    read_places();
    assert_true(places.is_offline);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, cache_folder_open, cache_folder_close)
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_set), TEST(test_folders), TEST(test_endpoints), TEST(test_tokens), TEST(test_switches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

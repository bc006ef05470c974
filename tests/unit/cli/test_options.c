/* The option table: spellings, ranges, environment. */
#include "cli/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static enum qvl_verb parsed_for = QVL_VERB_RUN;

static enum qvl_status parse(struct qvl_options *o, struct qvl_error *err, int n, const char *const *word)
{
    char *arg[32];
    assert_true(n <= 32);
    for (int i = 0; i < n; i++)
        arg[i] = (char *)word[i]; /* as argv: not written to */
    return qvl_options_parse(parsed_for, n, arg, o, err);
}

#define PARSE(o, err, ...)                                                                                 \
    parse(o, err, (int)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)),                      \
          (const char *const[]){__VA_ARGS__})

static void values_in_every_spelling(void **state)
{
    (void)state;
    struct qvl_options o;
    struct qvl_error err = {0};
    assert_int_equal(PARSE(&o, &err, "-m", "dir", "-n5", "--temp=0.25", "--top-k", "7", "--presence-penalty", "-1.5",
                           "--seed", "9007199254740991", "--json", "-q", "--loop-guard", "off", "--lookup", "off", "--resize",
                           "pillow12", "--dtype=f32"),
                     QVL_OK);
    assert_string_equal(o.model, "dir");
    assert_int_equal(o.max_tokens, 5);
    assert_true(o.temperature == 0.25);
    assert_int_equal(o.top_k, 7);
    assert_true(o.presence_penalty == -1.5);
    assert_int_equal(o.seed, 9007199254740991);
    assert_true(o.want_json && o.is_quiet && !o.want_ids);
    assert_int_equal(o.loop_guard, QVL_SWITCH_OFF);
    assert_int_equal(o.lookup, QVL_SWITCH_OFF);
    assert_int_equal(o.resize, QVL_RESIZE_PILLOW12);
    assert_int_equal(o.dtype, QVL_COMPUTE_F32);
    assert_true(qvl_options_has(&o, "temp"));
    assert_false(qvl_options_has(&o, "top-p"));
    qvl_options_free(&o);
}

static void aliases_are_the_same_option(void **state)
{
    (void)state;
    struct qvl_options o;
    struct qvl_error err = {0};
    assert_int_equal(PARSE(&o, &err, "--temperature", "0", "--predict", "3", "--ctx", "64", "--repeat-penalty", "1.1"),
                     QVL_OK);
    assert_true(qvl_options_has(&o, "temp") && qvl_options_has(&o, "max-tokens"));
    assert_int_equal(o.max_tokens, 3);
    assert_int_equal(o.n_ctx, 64);
    assert_true(o.repetition_penalty > 1.09 && o.repetition_penalty < 1.11);
    qvl_options_free(&o);
}

static void words_keep_their_order(void **state)
{
    (void)state;
    struct qvl_options o;
    struct qvl_error err = {0};
    assert_int_equal(PARSE(&o, &err, "a", "--image", "b", "-", "-p", "c", "--stop", "x", "--stop", "y", "--", "-n"),
                     QVL_OK);
    const enum qvl_item_kind kind[] = {QVL_ITEM_WORD, QVL_ITEM_IMAGE, QVL_ITEM_WORD, QVL_ITEM_TEXT, QVL_ITEM_WORD};
    const char *const value[] = {"a", "b", "-", "c", "-n"};
    assert_int_equal(o.n_item, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(o.item[i].kind, kind[i]);
        assert_string_equal(o.item[i].value, value[i]);
    }
    assert_int_equal(o.n_stop, 2);
    assert_string_equal(o.stop[1], "y");
    qvl_options_free(&o);
}

static void the_edges_of_a_range(void **state)
{
    (void)state;
    struct qvl_options o;
    struct qvl_error err = {0};
    const char *const good[] = {"1", "1048576"};
    const char *const bad[] = {"0", "1048577", "", " 1", "1 ", "+1", "-1", "0x10", "1e3", "99999999999999999999999"};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(PARSE(&o, &err, "-n", good[i]), QVL_OK);
        qvl_options_free(&o);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(PARSE(&o, &err, "-n", bad[i]), QVL_ERR_ARGUMENT);
    const char *const bad_real[] = {"nan", "inf", "1.0001", "-0.1", "", "0.5x"};
    for (size_t i = 0; i < sizeof bad_real / sizeof bad_real[0]; i++)
        assert_int_equal(PARSE(&o, &err, "--top-p", bad_real[i]), QVL_ERR_ARGUMENT);
}

static void the_environment_fills_what_is_open(void **state)
{
    (void)state;
    struct qvl_options o;
    struct qvl_error err = {0};
    setenv("QVL_MAX_PIXELS", "1000", 1);
    setenv("QVL_SEED", "3", 1);
    setenv("QVL_JSON", "1", 1);
    assert_int_equal(PARSE(&o, &err, "--seed", "4"), QVL_OK);
    assert_int_equal(o.max_pixels, 1000);
    assert_int_equal(o.seed, 4);
    assert_true(o.want_json && qvl_options_has(&o, "max-pixels"));
    qvl_options_free(&o);
    setenv("QVL_JSON", "perhaps", 1);
    assert_int_equal(PARSE(&o, &err, "x"), QVL_ERR_ARGUMENT);
    assert_non_null(strstr(err.text, "QVL_JSON"));
    unsetenv("QVL_MAX_PIXELS");
    unsetenv("QVL_SEED");
    unsetenv("QVL_JSON");
}

static void options_of_other_verbs_are_refused(void **state)
{
    (void)state;
    struct qvl_options o;
    struct qvl_error err = {0};
    assert_int_equal(PARSE(&o, &err, "--jsonl"), QVL_ERR_ARGUMENT);
    char *arg[] = {"--jsonl"};
    assert_int_equal(qvl_options_parse(QVL_VERB_TOKENIZE, 1, arg, &o, &err), QVL_OK);
    assert_true(o.want_jsonl);
    qvl_options_free(&o);
}

static enum qvl_status parse_serve(struct qvl_options *o, struct qvl_error *err, int n, const char *const *word)
{
    char *arg[8];
    assert_true(n <= 8);
    for (int i = 0; i < n; i++)
        arg[i] = (char *)word[i];
    return qvl_options_parse(QVL_VERB_SERVE, n, arg, o, err);
}

#define SERVE(o, err, ...)                                                                                 \
    parse_serve(o, err, (int)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)),                \
                (const char *const[]){__VA_ARGS__})

/* --allow-url-fetch alone, with hosts, in the environment: the next word is never its value. */
static void an_option_that_may_have_a_value(void **state)
{
    (void)state;
    struct qvl_options o;
    struct qvl_error err = {0};
    assert_int_equal(SERVE(&o, &err, "--port", "0"), QVL_OK);
    assert_null(o.url_fetch);
    assert_true(qvl_options_has(&o, "port") && o.port == 0);
    qvl_options_free(&o);
    assert_int_equal(SERVE(&o, &err, "--allow-url-fetch", "folder"), QVL_OK);
    assert_string_equal(o.url_fetch, "");
    assert_int_equal(o.n_item, 1);
    qvl_options_free(&o);
    assert_int_equal(SERVE(&o, &err, "--allow-url-fetch=a.org,b.org", "--allow-http-fetch"), QVL_OK);
    assert_string_equal(o.url_fetch, "a.org,b.org");
    qvl_options_free(&o);
    static const struct {
        const char *value, *hosts;
    } rows[] = {{"1", ""}, {"on", ""}, {"0", NULL}, {"off", NULL}, {"a.org", "a.org"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        setenv("QVL_ALLOW_URL_FETCH", rows[i].value, 1);
        assert_int_equal(SERVE(&o, &err, "--port=1"), QVL_OK);
        if (rows[i].hosts)
            assert_string_equal(o.url_fetch, rows[i].hosts);
        else
            assert_null(o.url_fetch);
        qvl_options_free(&o);
    }
    unsetenv("QVL_ALLOW_URL_FETCH");
    assert_int_equal(SERVE(&o, &err, "--allow-http-fetch"), QVL_ERR_ARGUMENT);
}

static void names_that_other_servers_have(void **state)
{
    (void)state;
    struct qvl_options o;
    struct qvl_error err = {0};
    assert_int_equal(SERVE(&o, &err, "--alias", "x", "--allowed-local-media-path=/a", "--max-model-len=100",
                           "--ssl-keyfile=k", "--ssl-certfile=c"),
                     QVL_OK);
    assert_string_equal(o.served_model_name, "x");
    assert_string_equal(o.media_path, "/a");
    assert_int_equal(o.n_ctx, 100);
    assert_string_equal(o.ssl_key_file, "k");
    assert_string_equal(o.ssl_cert_file, "c");
    qvl_options_free(&o);
    assert_int_equal(SERVE(&o, &err, "--port", "65536"), QVL_ERR_ARGUMENT);
    assert_int_equal(SERVE(&o, &err, "--json"), QVL_ERR_ARGUMENT); /* of another verb */
}

static void times_in_every_spelling(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double seconds;
    } good[] = {{"0", 0}, {"90", 90}, {"1.25", 1.25}, {"1:30", 90}, {"01:02:03.5", 3723.5}, {"100:00", 6000}},
      bad[] = {{"", 0}, {"-1", 0}, {"1:60", 0}, {"1:2:3:4", 0}, {"1.5:00", 0}, {":30", 0}, {"1:", 0}, {"nan", 0},
               {"1e3", 0}, {"1000001", 0}, {"1 s", 0}, {".", 0}};
    struct qvl_options o;
    struct qvl_error err = {0};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(PARSE(&o, &err, "--start", good[i].text), QVL_OK);
        assert_true(o.start_s == good[i].seconds);
        qvl_options_free(&o);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(PARSE(&o, &err, "--start", bad[i].text), QVL_ERR_ARGUMENT);
}

static void settings_of_clips(void **state)
{
    (void)state;
    struct qvl_options o;
    struct qvl_error err = {0};
    assert_int_equal(PARSE(&o, &err, "--video", "a.mp4", "--nframes", "8", "--video-start", "1:00", "--video-end", "90",
                           "--total-pixels", "100000", "--video-wrapper", "--no-think-text", "--media-timeout", "2.5",
                           "-i"),
                     QVL_OK);
    assert_int_equal(o.item[0].kind, QVL_ITEM_VIDEO);
    assert_string_equal(o.item[0].value, "a.mp4");
    assert_int_equal(o.num_frames, 8);
    assert_true(o.start_s == 60 && o.end_s == 90 && o.media_timeout_s == 2.5);
    assert_int_equal(o.total_pixels, 100000);
    assert_true(o.want_video_wrapper && o.no_think_text && o.is_interactive);
    qvl_options_free(&o);
}

static void contradictions_are_named(void **state)
{
    (void)state;
    static const char *const line[][6] = {
        {"--fps", "1", "--num-frames", "4", "--num-frames"},
        {"--num-frames", "4", "--max-frames", "8", "--max-frames"},
        {"--min-frames", "9", "--max-frames", "8", "--min-frames 9"},
        {"--start", "5", "--end", "5", "--end 5"},
        {"--start", "0", "--end", "0", "--end 0"},
        {"--sample-fps", "1", "--frame-times", "0,1", "--frame-times"},
        {"--messages", "a.json", "--system", "x", "--system"},
        {"--messages", "a.json", "--prompt", "x", "--messages"},
        {"--messages", "a.json", "--image", "x.png", "--messages"},
        {"--logits", "3", "--temp", "0", "--json"},
        {"-i", "--json", "-q", "-q", "--interactive"},
    };
    struct qvl_options o;
    struct qvl_error err = {0};
    for (size_t i = 0; i < sizeof line / sizeof *line; i++) {
        assert_int_equal(parse(&o, &err, 4, line[i]), QVL_ERR_ARGUMENT);
        assert_non_null(strstr(err.text, line[i][4]));
    }
    assert_int_equal(PARSE(&o, &err, "--start", "4", "--end", "5", "--fps", "1", "--min-frames", "2", "--max-frames", "2"),
                     QVL_OK);
    qvl_options_free(&o);
}

static void the_command_line_silences_a_rival_in_the_environment(void **state)
{
    (void)state;
    struct qvl_options o;
    struct qvl_error err = {0};
    setenv("QVL_FPS", "1", 1);
    assert_int_equal(PARSE(&o, &err, "--num-frames", "4"), QVL_OK);
    assert_true(o.fps == 0 && o.num_frames == 4);
    qvl_options_free(&o);
    setenv("QVL_NUM_FRAMES", "4", 1);
    assert_int_equal(PARSE(&o, &err, "x"), QVL_OK); /* the first one in the table counts */
    assert_true(o.fps == 1 && o.num_frames == 0);
    qvl_options_free(&o);
    unsetenv("QVL_FPS");
    unsetenv("QVL_NUM_FRAMES");
}

static void one_option_is_set_later(void **state)
{
    (void)state;
    struct qvl_options o;
    struct qvl_error err = {0};
    assert_int_equal(PARSE(&o, &err, "--fps", "1", "--max-frames", "8"), QVL_OK);
    assert_int_equal(qvl_options_set(&o, "temp", "0.5", &err), QVL_OK);
    assert_true(o.temperature == 0.5 && qvl_options_has(&o, "temp"));
    assert_int_equal(qvl_options_set(&o, "temp", "hot", &err), QVL_ERR_ARGUMENT);
    assert_int_equal(qvl_options_set(&o, "num-frames", "4", &err), QVL_ERR_ARGUMENT); /* because of --max-frames */
    assert_true(o.temperature == 0.5 && o.fps == 1 && o.num_frames == 0);
    assert_int_equal(qvl_options_set(&o, "model", "x", &err), QVL_ERR_ARGUMENT);
    assert_int_equal(qvl_options_set(&o, "nonsense", "x", &err), QVL_ERR_ARGUMENT);
    o.max_frames = 0;
    assert_int_equal(qvl_options_set(&o, "num-frames", "4", &err), QVL_OK);
    assert_true(o.fps == 0 && !qvl_options_has(&o, "fps") && o.num_frames == 4);
    qvl_options_free(&o);
}

static void the_language_is_known_first(void **state)
{
    (void)state;
    char *none[] = {"qvl", "x"}, *zh[] = {"qvl", "--lang", "en", "--lang=zh"}, *text[] = {"qvl", "--", "--lang=zh"};
    unsetenv("LC_ALL");
    unsetenv("LC_MESSAGES");
    setenv("LANG", "zh_CN.UTF-8", 1);
    assert_int_equal(qvl_options_language(2, none), QVL_LANGUAGE_ZH);
    setenv("LC_ALL", "C", 1);
    assert_int_equal(qvl_options_language(2, none), QVL_LANGUAGE_EN);
    assert_int_equal(qvl_options_language(4, zh), QVL_LANGUAGE_ZH);
    assert_int_equal(qvl_options_language(3, text), QVL_LANGUAGE_EN);
    setenv("QVL_LANG", "zh", 1);
    assert_int_equal(qvl_options_language(2, none), QVL_LANGUAGE_ZH);
    unsetenv("QVL_LANG");
}

static void options_of_pull_and_rm(void **state)
{
    (void)state;
    struct qvl_options o;
    struct qvl_error err = {0};
    parsed_for = QVL_VERB_PULL;
    assert_int_equal(PARSE(&o, &err, "hf:Qwen/Qwen3-VL-2B-Instruct", "--quantize", "q4", "--delete-source", "--source", "mirror",
                           "--connections=8", "--file", "Q4_K_M", "--dry-run", "--check", "--json", "-q"),
                     QVL_OK);
    assert_int_equal(o.n_item, 1);
    assert_int_equal(o.quantize, QVL_QUANTIZE_Q4);
    assert_int_equal(o.source, QVL_HUB_MIRROR);
    assert_int_equal(o.n_connection, 8);
    assert_string_equal(o.gguf, "Q4_K_M");
    assert_true(o.want_source_deleted && o.is_dry_run && o.want_check && o.want_json && o.is_quiet);
    qvl_options_forget(&o, "quantize");
    assert_false(qvl_options_has(&o, "quantize"));
    qvl_options_free(&o);
    assert_int_equal(PARSE(&o, &err, "--local_dir", "here", "--source=modelscope"), QVL_OK);
    assert_string_equal(o.local_dir, "here");
    assert_int_equal(o.source, QVL_HUB_MODELSCOPE);
    qvl_options_free(&o);
    assert_int_equal(PARSE(&o, &err, "--delete-source"), QVL_ERR_ARGUMENT);
    assert_int_equal(PARSE(&o, &err, "--delete-source", "--quantize", "q4", "--local-dir", "here"), QVL_ERR_ARGUMENT);
    assert_int_equal(PARSE(&o, &err, "--connections", "17"), QVL_ERR_ARGUMENT);
    assert_int_equal(PARSE(&o, &err, "--source", "github"), QVL_ERR_ARGUMENT);
    assert_int_equal(PARSE(&o, &err, "--yes"), QVL_ERR_ARGUMENT);
    assert_int_equal(PARSE(&o, &err, "-m", "x"), QVL_ERR_ARGUMENT);
    parsed_for = QVL_VERB_RM;
    assert_int_equal(PARSE(&o, &err, "a/b", "-y"), QVL_OK);
    assert_true(o.want_yes);
    qvl_options_free(&o);
    parsed_for = QVL_VERB_RUN;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_in_every_spelling),      cmocka_unit_test(aliases_are_the_same_option),
        cmocka_unit_test(words_keep_their_order),        cmocka_unit_test(the_edges_of_a_range),
        cmocka_unit_test(the_environment_fills_what_is_open), cmocka_unit_test(options_of_other_verbs_are_refused),
        cmocka_unit_test(an_option_that_may_have_a_value),
        cmocka_unit_test(names_that_other_servers_have),
        cmocka_unit_test(times_in_every_spelling),       cmocka_unit_test(settings_of_clips),
        cmocka_unit_test(contradictions_are_named),      cmocka_unit_test(options_of_pull_and_rm),
        cmocka_unit_test(the_command_line_silences_a_rival_in_the_environment),
        cmocka_unit_test(one_option_is_set_later),       cmocka_unit_test(the_language_is_known_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

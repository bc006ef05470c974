/* Conversations as JSON: against transformers' rendering of the same conversations; each form; each refusal with
 * its place; limits at their edges. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../lib/chat_line.h"
#include "../../lib/json_lines.h"
#include "base/bytes.h"
#include "base/limits.h"
#include "chat/chat_json.h"
#include "text/chat_template.h"

static struct qvl_error err;
static char dir[64];

/* ---- helpers ------------------------------------------------------------------------------------- */

static void make_file(const char *name, const char *content)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(content, f);
    fclose(f);
}

static int make_dir(void **state)
{
    (void)state;
    char path[128];
    strcpy(dir, "/tmp/qvl-chat-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    for (const char *const *sub = (const char *const[]){"frames", "empty", NULL}; *sub; sub++) {
        snprintf(path, sizeof path, "%s/%s", dir, *sub);
        if (mkdir(path, 0700))
            return -1;
    }
    make_file("cat.png", "a cat");
    make_file("clip.mp4", "a clip");
    make_file("猫 100%#1?.png", "Chinese cat");
    make_file("frames/f10.png", "");
    make_file("frames/f9.png", "");
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    char command[96];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

/* From an exact-size copy, gone when the conversation is used. */
static enum qvl_status open_exactly(const char *json, const struct qvl_chat_json_settings *settings,
                                    struct qvl_chat_json *out)
{
    size_t n = strlen(json);
    char *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, json, n);
    memset(&err, 0, sizeof err);
    enum qvl_status status = qvl_chat_json_open(copy, n, settings, out, &err);
    free(copy);
    return status;
}

/* JSON with ' for ". */
static enum qvl_status open_with(const char *json, const struct qvl_chat_json_settings *settings,
                                 struct qvl_chat_json *out)
{
    char *quoted = strdup(json);
    assert_non_null(quoted);
    for (char *c = quoted; *c; c++)
        *c = *c == '\'' ? '"' : *c;
    enum qvl_status status = open_exactly(quoted, settings, out);
    free(quoted);
    return status;
}

static struct qvl_chat_json opened(const char *json)
{
    struct qvl_chat_json c;
    if (open_with(json, &(struct qvl_chat_json_settings){.base_dir = dir}, &c))
        fail_msg("%s: %s", json, err.text);
    return c;
}

/* One user message with this list of parts. */
static struct qvl_chat_json opened_parts(const char *parts)
{
    struct qvl_bytes json = {0};
    assert_int_equal(qvl_bytes_add_format(&json, &err, "[{'role':'user','content':[%s]}]", parts), QVL_OK);
    struct qvl_chat_json c = opened(json.data);
    qvl_bytes_free(&json);
    return c;
}

static const struct qvl_part *part_of(const struct qvl_chat_json *c, size_t i)
{
    assert_int_equal(c->chat.n_message, 1);
    assert_true(i < c->chat.messages[0].n_part);
    return &c->chat.messages[0].parts[i];
}

static void assert_sentence(const char *json, enum qvl_status status, enum qvl_status expected,
                            const char *sentence)
{
    if (status != expected || err.status != expected || !strstr(err.text, sentence))
        fail_msg("%.300s\n  gave status %d: %s\n  expected %d: %s", json, (int)status, err.text, (int)expected,
                 sentence);
}

static void assert_refused(const char *json, enum qvl_status expected, const char *sentence)
{
    struct qvl_chat_json c;
    assert_sentence(json, open_with(json, &(struct qvl_chat_json_settings){.base_dir = dir}, &c), expected,
                    sentence);
}

/* One user message with this part; the sentence must begin with its place. */
static void assert_part_refused(const char *part, enum qvl_status expected, const char *sentence)
{
    struct qvl_bytes json = {0};
    assert_int_equal(qvl_bytes_add_format(&json, &err, "[{'role':'user','content':[%s]}]", part), QVL_OK);
    assert_refused(json.data, expected, sentence);
    qvl_bytes_free(&json);
}

static void assert_text(const struct qvl_part *part, const char *text)
{
    assert_int_equal(part->kind, QVL_PART_TEXT);
    assert_int_equal(part->n, strlen(text));
    assert_memory_equal(part->utf8, text, part->n);
}

static void assert_file(const struct qvl_part *part, enum qvl_part_kind kind, const char *name, const char *content)
{
    char path[512], buffer[64] = "";
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(part->kind, kind);
    assert_int_equal(part->source.from, QVL_FROM_FD);
    assert_string_equal(part->source.name, path);
    assert_int_equal(pread(part->source.fd, buffer, sizeof buffer - 1, 0), strlen(content));
    assert_string_equal(buffer, content);
}

static void assert_bytes(const struct qvl_part *part, enum qvl_part_kind kind, const char *bytes, const char *place)
{
    assert_int_equal(part->kind, kind);
    assert_int_equal(part->source.from, QVL_FROM_BYTES);
    assert_int_equal(part->source.n_bytes, strlen(bytes));
    assert_memory_equal(part->source.bytes, bytes, strlen(bytes));
    assert_string_equal(part->source.name, place);
}

static size_t n_open_files(void)
{
    size_t n = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* ---- against transformers ------------------------------------------------------------------------ */

struct writer {
    struct qvl_bytes json;
    bool is_openai; /* else Hugging Face's short forms */
};

static void put(struct writer *w, const char *text)
{
    assert_int_equal(qvl_bytes_add_text(&w->json, text, &err), QVL_OK);
}

static void put_string(struct writer *w, const char *s, size_t n)
{
    assert_int_equal(qvl_bytes_add_json_string(&w->json, s, n, &err), QVL_OK);
}

static void put_value(struct writer *w, const json_t *string)
{
    put_string(w, json_string_value(string), json_string_length(string));
}

static void put_part(struct writer *w, const json_t *part)
{
    const json_t *text = json_object_get(part, "text");
    bool is_image = json_object_get(part, "image");
    if (text) {
        put(w, w->is_openai ? "{\"type\":\"text\",\"text\":" : "{\"image\":null,\"text\":");
        put_value(w, text);
        put(w, "}");
    } else if (w->is_openai) {
        put(w, is_image ? "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,AAAA\"}}"
                        : "{\"type\":\"video_url\",\"video_url\":{\"url\":\"data:video/mp4;base64,AAAA\"}}");
    } else {
        put(w, is_image ? "{\"image\":\"cat.png\"}" : "{\"type\":\"video\",\"video\":[\"a.png\",\"b.png\"]}");
    }
}

static void put_call(struct writer *w, const json_t *call)
{
    const json_t *arguments = json_object_get(call, "arguments_json");
    put(w, w->is_openai ? "{\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":" : "{\"name\":");
    put_value(w, json_object_get(call, "name"));
    put(w, ",\"arguments\":");
    if (w->is_openai)
        put_value(w, arguments);
    else
        put(w, json_string_value(arguments));
    put(w, w->is_openai ? "}}" : "}");
}

static void put_message(struct writer *w, const json_t *m)
{
    const json_t *content = json_object_get(m, "content"), *reasoning = json_object_get(m, "reasoning"), *value;
    const json_t *calls = json_object_get(m, "tool_calls");
    size_t i;
    put(w, "{\"name\":\"x\",\"content\":");
    if (json_is_string(content)) {
        put_value(w, content);
    } else {
        put(w, "[");
        json_array_foreach(content, i, value)
        {
            put(w, i ? "," : "");
            put_part(w, value);
        }
        put(w, "]");
    }
    if (reasoning) {
        put(w, w->is_openai ? ",\"reasoning_content\":" : ",\"reasoning\":");
        put_value(w, reasoning);
    }
    put(w, ",\"tool_calls\":[");
    json_array_foreach(calls, i, value)
    {
        put(w, i ? "," : "");
        put_call(w, value);
    }
    put(w, "],\"role\":");
    put_value(w, json_object_get(m, "role"));
    put(w, "}");
}

static void assert_same_parts(const struct qvl_prompt_parts *a, const struct qvl_prompt_parts *b)
{
    assert_int_equal(a->n, b->n);
    assert_int_equal(a->text.n, b->text.n);
    for (size_t i = 0; i < a->n; i++) {
        assert_int_equal(a->part[i].kind, b->part[i].kind);
        if (a->part[i].kind == QVL_PROMPT_TOKEN)
            assert_int_equal(a->part[i].token, b->part[i].token);
        if (a->part[i].kind == QVL_PROMPT_TEXT)
            assert_int_equal(a->part[i].text_n, b->part[i].text_n);
    }
    if (a->text.n > 0)
        assert_memory_equal(a->text.data, b->text.data, a->text.n);
}

/* The rendered text is transformers'; the parts, whose ids test_chat_template.c compares with transformers', are
 * those of the same conversation given as C structs. */
static void check_line(const json_t *line, void *is_openai)
{
    const json_t *messages = json_object_get(line, "messages"), *expected = json_object_get(line, "text"), *m;
    const json_t *tools = json_object_get(line, "tools_json");
    bool is_thinking = json_is_true(json_object_get(line, "thinking"));
    struct writer w = {.is_openai = *(bool *)is_openai};
    struct qvl_prompt_parts parts = {0}, direct_parts = {0};
    struct qvl_bytes text = {0};
    size_t i;
    put(&w, "{\"model\":\"x\",\"tools\":");
    put(&w, json_is_string(tools) ? json_string_value(tools) : "null");
    put(&w, ",\"messages\":[");
    json_array_foreach(messages, i, m)
    {
        put(&w, i ? "," : "");
        put_message(&w, m);
    }
    put(&w, "]}");
    struct qvl_chat_json c;
    if (open_exactly(w.json.data, &(struct qvl_chat_json_settings){.base_dir = dir}, &c))
        fail_msg("%s: %s", w.json.data, err.text);
    struct chat_line *direct = chat_line_read(line);
    c.chat.want_vision_ids = direct->chat.want_vision_ids;
    c.chat.is_open = direct->chat.is_open;
    if (qvl_chat_render(&c.chat, is_thinking, &parts, &err) ||
        qvl_chat_render(&direct->chat, is_thinking, &direct_parts, &err))
        fail_msg("%s: %s", w.json.data, err.text);
    assert_same_parts(&parts, &direct_parts);
    assert_int_equal(qvl_prompt_parts_to_text(&parts, &text, &err), QVL_OK);
    if (text.n != json_string_length(expected) || memcmp(text.data, json_string_value(expected), text.n) != 0)
        fail_msg("transformers wrote\n%s\nand qvl\n%s", json_string_value(expected), text.data);
    free(direct);
    qvl_bytes_free(&text);
    qvl_bytes_free(&w.json);
    qvl_prompt_parts_free(&parts);
    qvl_prompt_parts_free(&direct_parts);
    qvl_chat_json_close(&c);
}

static void test_rendered_as_transformers_does(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        bool is_openai = i == 0;
        assert_in_range(for_each_line("tests/unit/text/data/chat.jsonl", check_line, &is_openai), 300, SIZE_MAX);
    }
}

/* ---- forms --------------------------------------------------------------------------------------- */

static void test_texts(void **state)
{
    (void)state;
    struct qvl_chat_json c = opened_parts("{'type':'text','text':'你好\\u0000\\ud83d\\ude00'},{'text':''},"
                                          "{'type':'text','text':'b','image':null,'cache_control':{}}");
    assert_int_equal(part_of(&c, 0)->n, 11);
    assert_memory_equal(part_of(&c, 0)->utf8, "你好\0😀", 11);
    assert_text(part_of(&c, 1), "");
    assert_text(part_of(&c, 2), "b");
    qvl_chat_json_close(&c);
    c = opened("{'messages':[{'role':'developer','content':'s'},{'content':[],'role':'user'},"
               "{'role':'assistant','content':null},{'role':'assistant'},"
               "{'role':'tool','tool_call_id':'1','content':''}],'temperature':0.5,'tools':null}");
    const enum qvl_role roles[] = {QVL_ROLE_SYSTEM, QVL_ROLE_USER, QVL_ROLE_ASSISTANT, QVL_ROLE_ASSISTANT,
                                   QVL_ROLE_TOOL};
    const size_t n_part[] = {1, 0, 0, 0, 1};
    assert_int_equal(c.chat.n_message, 5);
    assert_null(c.chat.tools_json);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(c.chat.messages[i].role, roles[i]);
        assert_int_equal(c.chat.messages[i].n_part, n_part[i]);
        assert_null(c.chat.messages[i].reasoning);
    }
    assert_text(&c.chat.messages[0].parts[0], "s");
    assert_text(&c.chat.messages[4].parts[0], "");
    qvl_chat_json_close(&c);
}

static void test_media_forms(void **state)
{
    (void)state;
    static const char *const image[] = {"{'type':'image_url','image_url':{'url':'cat.png','detail':'auto'}}",
                                        "{'type':'image_url','image_url':'cat.png'}",
                                        "{'image_url':{'url':'cat.png'}}",
                                        "{'type':'image','image':'cat.png'}",
                                        "{'image':'cat.png'}",
                                        "{'image':'./cat.png'}",
                                        "{'type':'image','url':'cat.png'}",
                                        "{'type':'image','path':'cat.png','text':null}",
                                        "{'type':'image','image_url':'cat.png'}"};
    static const char *const video[] = {"{'type':'video_url','video_url':{'url':'clip.mp4'}}",
                                        "{'video_url':'clip.mp4'}",
                                        "{'type':'video','video':'clip.mp4'}",
                                        "{'video':'clip.mp4','detail':'?'}",
                                        "{'type':'video','path':'clip.mp4'}",
                                        "{'type':'video','url':'clip.mp4'}"};
    size_t n_before = n_open_files();
    for (size_t i = 0; i < sizeof image / sizeof *image; i++) {
        struct qvl_chat_json c = opened_parts(image[i]);
        assert_file(part_of(&c, 0), QVL_PART_IMAGE, strstr(image[i], "./") ? "./cat.png" : "cat.png", "a cat");
        qvl_chat_json_close(&c);
    }
    for (size_t i = 0; i < sizeof video / sizeof *video; i++) {
        struct qvl_chat_json c = opened_parts(video[i]);
        assert_file(part_of(&c, 0), QVL_PART_VIDEO, "clip.mp4", "a clip");
        qvl_chat_json_close(&c);
    }
    assert_int_equal(n_open_files(), n_before);
}

static void test_paths(void **state)
{
    (void)state;
    static const char name[] = "猫 100%#1?.png";
    static const char *const format[] = {
        "{'image':'%s/猫 100%%#1?.png'}", "{'image':'file://%s/%%E7%%8C%%AB%%20100%%25%%231%%3f.png'}",
        "{'image':'FILE://LocalHost%s/%%e7%%8c%%ab 100%%25#1?.png'}", "{'image':'file:%s/猫 100%%25#1?.png'}",
        "{'image':'\\u732b 100%%#1?.png','x':'%s'}"};
    char part[512];
    for (size_t i = 0; i < sizeof format / sizeof *format; i++) {
        snprintf(part, sizeof part, format[i], dir);
        struct qvl_chat_json c = opened_parts(part);
        assert_file(part_of(&c, 0), QVL_PART_IMAGE, name, "Chinese cat");
        qvl_chat_json_close(&c);
    }
    /* base_dir "" : the working folder; a final slash is not doubled */
    struct qvl_chat_json c;
    const char *json = "[{'role':'user','content':[{'video':['a.png','/b.png']}]}]";
    assert_int_equal(open_with(json, &(struct qvl_chat_json_settings){.base_dir = ""}, &c), QVL_OK);
    assert_string_equal(part_of(&c, 0)->source.pictures[0].path, "a.png");
    assert_string_equal(part_of(&c, 0)->source.pictures[1].path, "/b.png");
    qvl_chat_json_close(&c);
    assert_int_equal(open_with(json, &(struct qvl_chat_json_settings){.base_dir = "d/"}, &c), QVL_OK);
    assert_string_equal(part_of(&c, 0)->source.pictures[0].path, "d/a.png");
    qvl_chat_json_close(&c);
}

/* Each spelling of a picture or clip whose bytes are "foo" ("Zm9v"), and where its sentence places it. */
static void test_spellings(void **state)
{
    (void)state;
#define P "data:image/png;base64,Zm9v"
#define V "data:video/mp4;base64,Zm9v"
    static const struct {
        const char *part, *place;
        enum qvl_part_kind kind;
    } list[] = {
        {"{'type':'image_url','image_url':'" P "'}", "image_url", QVL_PART_IMAGE},
        {"{'type':'image_url','image_url':{'url':'" P "'}}", "image_url.url", QVL_PART_IMAGE},
        {"{'type':'image_url','url':'" P "'}", "url", QVL_PART_IMAGE},
        {"{'type':'image','image':'" P "'}", "image", QVL_PART_IMAGE},
        {"{'type':'image','image':{'url':'" P "'}}", "image.url", QVL_PART_IMAGE},
        {"{'type':'image','base64':'Zm9v'}", "base64", QVL_PART_IMAGE},
        {"{'type':'image','base64':'" P "'}", "base64", QVL_PART_IMAGE},
        {"{'type':'image','data':'Zm9v','mimeType':'image/png'}", "data", QVL_PART_IMAGE},
        {"{'type':'image','source':{'type':'base64','media_type':'image/png','data':'Zm9v'}}", "source.data",
         QVL_PART_IMAGE},
        {"{'type':'image','source':{'type':'url','url':'" P "'}}", "source.url", QVL_PART_IMAGE},
        {"{'type':'input_image','image_url':'" P "','detail':'original'}", "image_url", QVL_PART_IMAGE},
        {"{'type':'input_image','image_url':{'url':'" P "'}}", "image_url.url", QVL_PART_IMAGE},
        {"{'type':'input_image','input_image':{'image_url':'" P "','detail':'low'}}", "input_image.image_url",
         QVL_PART_IMAGE},
        {"{'type':'input_image','input_image':{'image_url':{'url':'" P "'}}}", "input_image.image_url.url",
         QVL_PART_IMAGE},
        {"{'input_image':{'data':'Zm9v','format':'png'}}", "input_image.data", QVL_PART_IMAGE},
        {"{'type':'input_image','image_url':'" P "','file_id':null}", "image_url", QVL_PART_IMAGE},
        {"{'type':'file','file':{'file_data':'" P "','filename':'a.png'}}", "file.file_data", QVL_PART_IMAGE},
        {"{'type':'file','file':{'file_data':'" V "'}}", "file.file_data", QVL_PART_VIDEO},
        {"{'type':'input_file','file_data':'DATA:Image/JPEG;base64,Zm9v','filename':'a'}", "file_data",
         QVL_PART_IMAGE},
        {"{'type':'input_file','file_data':'" V "'}", "file_data", QVL_PART_VIDEO},
        {"{'type':'video_url','video_url':'" V "'}", "video_url", QVL_PART_VIDEO},
        {"{'type':'video_url','video_url':{'url':'" V "'}}", "video_url.url", QVL_PART_VIDEO},
        {"{'type':'video','video':'" V "'}", "video", QVL_PART_VIDEO},
        {"{'type':'video','url':'" V "'}", "url", QVL_PART_VIDEO},
        {"{'type':'input_video','input_video':{'data':'Zm9v','format':'mp4'}}", "input_video.data", QVL_PART_VIDEO},
        {"{'type':'input_video','input_video':{'data':'" V "'}}", "input_video.data", QVL_PART_VIDEO},
        {"{'type':'input_video','input_video':{'url':'" V "'}}", "input_video.url", QVL_PART_VIDEO},
        {"{'input_video':'" V "'}", "input_video", QVL_PART_VIDEO},
        {"{'type':'input_video','video_url':'" V "'}", "video_url", QVL_PART_VIDEO},
    };
    char place[128];
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        struct qvl_chat_json c = opened_parts(list[i].part);
        snprintf(place, sizeof place, "messages[0].content[0].%s", list[i].place);
        assert_bytes(part_of(&c, 0), list[i].kind, "foo", place);
        qvl_chat_json_close(&c);
    }
    struct qvl_chat_json c =
        opened_parts("{'type':'input_text','text':'a'},{'type':'output_text','text':'b','annotations':[]},"
                     "{'type':'refusal','refusal':'c'},{'refusal':'d'}");
    for (size_t i = 0; i < 4; i++)
        assert_text(part_of(&c, i), (const char *const[]){"a", "b", "c", "d"}[i]);
    qvl_chat_json_close(&c);
    /* Ollama's: before the content */
    c = opened("[{'role':'user','content':'what?','images':['Zm9v','" P "']},"
               "{'role':'assistant','content':'','thinking':'hm','images':null},"
               "{'role':'tool','content':[{'text':'see'}],'images':['Zm9v'],'tool_name':'x'}]");
    const struct qvl_message *m = c.chat.messages;
    assert_int_equal(m[0].n_part, 3);
    assert_bytes(&m[0].parts[0], QVL_PART_IMAGE, "foo", "messages[0].images[0]");
    assert_bytes(&m[0].parts[1], QVL_PART_IMAGE, "foo", "messages[0].images[1]");
    assert_text(&m[0].parts[2], "what?");
    assert_string_equal(m[1].reasoning, "hm");
    assert_bytes(&m[2].parts[0], QVL_PART_IMAGE, "foo", "messages[2].images[0]");
    assert_text(&m[2].parts[1], "see");
    qvl_chat_json_close(&c);
    c = opened_parts("{'type':'image_url','image_url':'" P "','uuid':'sku-1'},{'image':'cat.png','uuid':'a\\nb'}");
    assert_bytes(part_of(&c, 0), QVL_PART_IMAGE, "foo", "sku-1");
    assert_string_equal(part_of(&c, 1)->source.name, "a?b");
    qvl_chat_json_close(&c);
}

static void test_refused_spellings(void **state)
{
    (void)state;
    static const char no_files[] = "no files are kept here",
                      of_files[] = "of files only pictures and clips are read";
    static const struct {
        const char *part;
        enum qvl_status status;
        const char *sentence;
    } list[] = {
        {"{'type':'file','file':{'file_id':'file-1'}}", QVL_ERR_ARGUMENT, no_files},
        {"{'type':'input_file','file_id':'file-1'}", QVL_ERR_ARGUMENT, no_files},
        {"{'type':'input_image','file_id':'file-1'}", QVL_ERR_ARGUMENT, no_files},
        {"{'type':'file','file':{'file_data':'data:application/pdf;base64,Zm9v'}}", QVL_ERR_ARGUMENT,
         "messages[0].content[0].file.file_data: of files only pictures and clips are read"},
        {"{'type':'file','file':{'file_data':'data:image;base64,Zm9v'}}", QVL_ERR_ARGUMENT, of_files},
        {"{'type':'file','file':{'file_data':'Zm9v'}}", QVL_ERR_ARGUMENT, of_files},
        {"{'type':'file','file':{'file_data':'cat.png'}}", QVL_ERR_ARGUMENT, of_files},
        {"{'type':'input_file','file_url':'https://example.org/a.png'}", QVL_ERR_ARGUMENT, of_files},
        {"{'type':'file','file':{}}", QVL_ERR_ARGUMENT, of_files},
        {"{'type':'input_video','input_video':{'data':'Zm9v!'}}", QVL_ERR_MEDIA,
         "content[0].input_video.data: what should be base64 is not"},
        {"{'type':'input_video','input_video':{'data':'Zg'}}", QVL_ERR_MEDIA, "what should be base64 is not"},
        {"{'type':'input_video','input_video':{'data':''}}", QVL_ERR_MEDIA,
         "content[0].input_video.data: there is no data"},
        {"{'type':'input_video','input_video':{'data':['Zm9v']},'fps':1,'times':[0]}", QVL_ERR_ARGUMENT,
         "only one of \"times\" and \"fps\""},
        {"{'type':'input_video','input_video':{'data':'Zm9v','url':'cat.png'}}", QVL_ERR_ARGUMENT,
         "more than one text, picture or clip"},
        {"{'type':'input_video','input_video':{'url':7}}", QVL_ERR_ARGUMENT,
         "content[0].input_video.url: must be a string"},
        {"{'type':'image_url','image_url':null,'uuid':'sku-1'}", QVL_ERR_ARGUMENT,
         "content[0]: \"uuid\" is a name"},
        {"{'type':'image_url','uuid':'sku-1'}", QVL_ERR_ARGUMENT, "content[0]: \"uuid\" is a name"},
        {"{'type':'image','image':'" P "','uuid':''}", QVL_ERR_ARGUMENT,
         "\"uuid\" must be a string of 1 to 128 bytes"},
        {"{'type':'image','image':'" P "','uuid':1}", QVL_ERR_ARGUMENT,
         "\"uuid\" must be a string of 1 to 128 bytes"},
        {"{'type':'input_text'}", QVL_ERR_ARGUMENT, "there is no text"},
        {"{'type':'input_text','text':1}", QVL_ERR_ARGUMENT, "content[0]: \"text\" must be a string"},
        {"{'type':'refusal','refusal':1}", QVL_ERR_ARGUMENT, "content[0]: \"refusal\" must be a string"},
        {"{'type':'image','source':{'type':'base64'}}", QVL_ERR_ARGUMENT,
         "content[0].source.url: must be a string"},
        {"{'video_url':{'url':'clip.mp4','fps':1},'fps':2}", QVL_ERR_ARGUMENT,
         "content[0]: \"fps\" and \"fps\" are the same option"},
        {"{'video_url':{'url':'clip.mp4','resized_width':64}}", QVL_ERR_ARGUMENT,
         "content[0]: \"resized_height\" and"},
        {"{'image':'data:video/jpeg;base64,Zm9v,Zm9v'}", QVL_ERR_MEDIA, "what should be base64 is not"},
        {"{'video':'data:video/jpeg;base64,Zm9v,'}", QVL_ERR_MEDIA, "content[0].video: there is no data"},
        {"{'video':'data:video/jpeg;base64,Zm9v,Zg'}", QVL_ERR_MEDIA,
         "content[0].video: what should be base64 is not"},
        {"{'video':'data:video/jpeg;base64,Zm9v,Zm9v','num_frames':2}", QVL_ERR_ARGUMENT,
         "\"num_frames\" chooses frames"},
        {"{'video':'data:video/jpeg;base64,Zm9v,Zm9v','times':[1]}", QVL_ERR_ARGUMENT, "a list of 2 numbers"},
    };
    size_t n_before = n_open_files();
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        assert_part_refused(list[i].part, list[i].status, list[i].sentence);
    assert_refused("[{'role':'user','content':'','images':'Zm9v'}]", QVL_ERR_ARGUMENT,
                   "messages[0].images: must be a list");
    assert_refused("[{'role':'user','content':'','images':['Zm9v','x']}]", QVL_ERR_MEDIA,
                   "messages[0].images[1]: what should");
    assert_refused("[{'role':'user','content':'','images':[1]}]", QVL_ERR_ARGUMENT,
                   "messages[0].images[0]: must be a string");
    char part[256];
    for (int n = QVL_MAX_MEDIA_NAME_BYTES; n <= (int)QVL_MAX_MEDIA_NAME_BYTES + 1; n++) {
        snprintf(part, sizeof part, "{'image':'" P "','uuid':'%0*d'}", n, 1);
        if (n > (int)QVL_MAX_MEDIA_NAME_BYTES) {
            assert_part_refused(part, QVL_ERR_ARGUMENT, "\"uuid\" must be a string");
        } else {
            struct qvl_chat_json c = opened_parts(part);
            assert_int_equal(strlen(part_of(&c, 0)->source.name), n);
            qvl_chat_json_close(&c);
        }
    }
    assert_int_equal(n_open_files(), n_before);
#undef P
#undef V
}

/* vLLM's frames in one data: URI. */
static void test_frames_in_a_data_uri(void **state)
{
    (void)state;
    static const struct {
        const char *part;
        size_t n;
        double last_s;
    } list[] = {
        {"{'type':'video_url','video_url':{'url':'data:video/jpeg;base64,Zm9v,YmFy,Zm9vYg=='}}", 3, 1},
        {"{'video':'data:video/jpeg;base64,Zm9v'}", 1, 0},
        {"{'video':'DATA:Video/JPEG;x=y;BASE64,Zm9v,YmFy','fps':4}", 2, 0.25},
        {"{'video':'data:video/jpeg;base64,Zm9v,YmFy','sample_fps':0.5}", 2, 2},
        {"{'video':'data:video/jpeg;base64,Zm9v,YmFy','times':[1,7.5]}", 2, 7.5},
        {"{'video':'data:;base64,Zm9v, YmFy'}", 2, 0.5},
        {"{'input_video':{'data':'data:video/jpeg;base64,Zm9v,YmFy','fps':8}}", 2, 0.125},
    };
    static const char *const frames[] = {"foo", "bar", "foob"};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        struct qvl_chat_json c = opened_parts(list[i].part);
        const struct qvl_media_source *s = &part_of(&c, 0)->source;
        assert_int_equal(s->from, QVL_FROM_PICTURES);
        assert_int_equal(s->n_frame, list[i].n);
        for (size_t k = 0; k < s->n_frame; k++) {
            assert_int_equal(s->pictures[k].n_bytes, strlen(frames[k]));
            assert_memory_equal(s->pictures[k].bytes, frames[k], strlen(frames[k]));
        }
        assert_true(s->pictures[s->n_frame - 1].time_s == list[i].last_s);
        qvl_chat_json_close(&c);
    }
    struct qvl_chat_json c = opened_parts("{'video':'data:video/mp4;base64,Zm9v'},"
                                          "{'input_video':{'data':['Zm9v','data:image/png;base64,YmFy']}}");
    assert_int_equal(part_of(&c, 0)->source.from, QVL_FROM_BYTES);
    assert_int_equal(part_of(&c, 1)->source.n_frame, 2);
    assert_memory_equal(part_of(&c, 1)->source.pictures[0].bytes, "foo", 3);
    assert_memory_equal(part_of(&c, 1)->source.pictures[1].bytes, "bar", 3);
    qvl_chat_json_close(&c);
}

/* RFC 4648, section 10. */
static void test_data_uris(void **state)
{
    (void)state;
    static const struct {
        const char *uri, *bytes;
    } good[] = {{"data:image/png;base64,Zg==", "f"},
                {"data:image/png;base64,Zm8=", "fo"},
                {"data:;base64,Zm9v", "foo"},
                {"data:image/jpeg;charset=x;base64,Zm9vYg==", "foob"},
                {"DATA:image;BASE64,Zm9vYmE=", "fooba"},
                {"data:image/png;base64, Zm9v\\r\\n\\tYmFy\\n", "foobar"},
                {"data:x;base64,Zm9v\\/w==", "foo\xff"}};
    char part[256];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        snprintf(part, sizeof part, "{'image_url':{'url':'%s'}},{'video':'%s'}", good[i].uri, good[i].uri);
        struct qvl_chat_json c = opened_parts(part);
        assert_bytes(part_of(&c, 0), QVL_PART_IMAGE, good[i].bytes, "messages[0].content[0].image_url.url");
        assert_bytes(part_of(&c, 1), QVL_PART_VIDEO, good[i].bytes, "messages[0].content[1].video");
        qvl_chat_json_close(&c);
    }
    static const char *const bad[] = {"data:image/png;base64,Zg", "data:image/png;base64,Zg=",
                                      "data:;base64,Zg===",       "data:;base64,Zh==",
                                      "data:;base64,Z",           "data:;base64,Zm9v!",
                                      "data:;base64,Zm-_",        "data:;base64,Zg==Zg==",
                                      "data:;base64,Zm%39v",      "data:;base64,=",
                                      "data:;base64,Zm\\u00009v"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(part, sizeof part, "{'image':'%s'}", bad[i]);
        assert_part_refused(part, QVL_ERR_MEDIA,
                            "messages[0].content[0].image: what should be base64 is not, or was cut");
    }
    static const char *const no_base64[] = {"data:", "data:,x", "data:image/svg+xml,<svg>", "data:base64,Zm9v",
                                            "data:image/png;base64"};
    for (size_t i = 0; i < sizeof no_base64 / sizeof *no_base64; i++) {
        snprintf(part, sizeof part, "{'image':'%s'}", no_base64[i]);
        assert_part_refused(part, QVL_ERR_MEDIA, "content[0].image: a data: URI must have \";base64,\"");
    }
    assert_part_refused("{'video':'data:video/mp4;base64,\\n'}", QVL_ERR_MEDIA,
                        "content[0].video: there is no data");
}

static void test_pictures_as_a_clip(void **state)
{
    (void)state;
    char path[128];
    struct qvl_chat_json c = opened_parts(
        "{'type':'video','video':['a 1.png','file:///x/%E7%8C%AB.png','data:;base64,Zm9v'],'sample_fps':4,"
        "\"max_pixels\":4096,\"total_pixels\":99999},"
        "{'video':['a.png','b.png','c.png'],'times':[0.5,0.5,1e1]},{'video_url':{'url':['a.png','b.png']}},"
        "{'video':'frames'},{'video':'frames/','sample_fps':0.5},{'video':'frames','times':[7,8.25]}");
    const struct qvl_media_source *s = &part_of(&c, 0)->source;
    assert_int_equal(s->from, QVL_FROM_PICTURES);
    assert_int_equal(s->n_frame, 3);
    assert_string_equal(s->name, "messages[0].content[0].video");
    snprintf(path, sizeof path, "%s/a 1.png", dir);
    assert_string_equal(s->pictures[0].path, path);
    assert_string_equal(s->pictures[1].path, "/x/猫.png");
    assert_null(s->pictures[2].path);
    assert_int_equal(s->pictures[2].n_bytes, 3);
    assert_memory_equal(s->pictures[2].bytes, "foo", 3);
    assert_true(s->pictures[0].time_s == 0 && s->pictures[1].time_s == 0.25 && s->pictures[2].time_s == 0.5);
    assert_int_equal(part_of(&c, 0)->media.max_pixels, 4096);
    assert_int_equal(part_of(&c, 0)->media.total_pixels, 99999);
    s = &part_of(&c, 1)->source;
    assert_true(s->pictures[0].time_s == 0.5 && s->pictures[1].time_s == 0.5 && s->pictures[2].time_s == 10);
    s = &part_of(&c, 2)->source;
    assert_string_equal(s->name, "messages[0].content[2].video_url.url");
    assert_true(s->n_frame == 2 && s->pictures[1].time_s == 0.5);
    static const double expected[][2] = {{0, 0.5}, {0, 2}, {7, 8.25}};
    for (size_t i = 0; i < 3; i++) {
        s = &part_of(&c, 3 + i)->source;
        assert_int_equal(s->from, QVL_FROM_PICTURES);
        assert_int_equal(s->n_frame, 2);
        snprintf(path, sizeof path, "%s/frames/f9.png", dir);
        assert_string_equal(s->pictures[0].path, path);
        assert_true(s->pictures[0].time_s == expected[i][0] && s->pictures[1].time_s == expected[i][1]);
    }
    assert_int_equal(c.n_fd, 0);
    qvl_chat_json_close(&c);
    /* the rate of the settings; what chooses frames of a file does not reach a list */
    const struct qvl_chat_json_settings settings = {
        .base_dir = dir,
        .sample_fps = 10,
        .video = {
            .fps = 3, .min_frames = 5, .start_s = 1, .end_s = 2, .max_pixels = 7777, .resize = QVL_RESIZE_PILLOW}};
    assert_int_equal(open_with("[{'role':'user','content':[{'video':['a.png','b.png']}]}]", &settings, &c), QVL_OK);
    assert_true(part_of(&c, 0)->source.pictures[1].time_s == 0.1);
    const struct qvl_media_options *m = &part_of(&c, 0)->media;
    assert_true(m->fps == 0 && m->min_frames == 0 && m->start_s == 0 && m->end_s == 0);
    assert_true(m->max_pixels == 7777 && m->resize == QVL_RESIZE_PILLOW);
    qvl_chat_json_close(&c);
}

static void test_options(void **state)
{
    (void)state;
    struct qvl_chat_json c = opened_parts(
        "{'video':'clip.mp4','min_pixels':65536,'max_pixels':1e6,'total_pixels':9007199254740992,'fps':0.5,"
        "\"min_frames\":2,\"max_frames\":16384,\"start\":0,\"end\":12.5},"
        "{'video':'clip.mp4','nframes':8,'video_start':3,'video_end':4.0},{'video':'clip.mp4','num_frames':7.0},"
        "{'image':'cat.png','min_pixels':1,'max_pixels':2,'fps':1,'resized_height':null}");
    const struct qvl_media_options *m = &part_of(&c, 0)->media;
    assert_true(m->min_pixels == 65536 && m->max_pixels == 1000000 && m->total_pixels == 9007199254740992u);
    assert_true(m->fps == 0.5 && m->min_frames == 2 && m->max_frames == 16384 && m->num_frames == 0);
    assert_true(m->start_s == 0 && m->end_s == 12.5);
    m = &part_of(&c, 1)->media;
    assert_true(m->num_frames == 8 && m->start_s == 3 && m->end_s == 4 && m->fps == 0);
    assert_int_equal(part_of(&c, 2)->media.num_frames, 7);
    m = &part_of(&c, 3)->media;
    assert_true(m->min_pixels == 1 && m->max_pixels == 2);
    qvl_chat_json_close(&c);
}

/* A part's own values come first, and the settings' step aside. */
static void test_options_and_settings(void **state)
{
    (void)state;
    struct qvl_chat_json c;
    const struct qvl_chat_json_settings settings = {
        .base_dir = dir,
        .image = {.min_pixels = 300000, .max_pixels = 400000, .resize = QVL_RESIZE_PILLOW12},
        .video = {.fps = 5, .min_frames = 10, .max_frames = 20, .start_s = 10, .end_s = 20, .total_pixels = 1000}};
    const char *json = "[{'role':'user','content':[{'image':'cat.png'},{'image':'cat.png','max_pixels':200000},"
                       "{'image':'cat.png','min_pixels':500000},{'image':'cat.png','max_pixels':350000},"
                       "{'image_url':{'url':'cat.png','detail':'low'}},{'image':'cat.png','detail':'high'},"
                       "{'image':'cat.png','detail':'low','max_pixels':1024},{'video':'clip.mp4'},"
                       "{'video':'clip.mp4','num_frames':6},{'video':'clip.mp4','max_frames':4,'start':30},"
                       "{'video':'clip.mp4','min_frames':40,'end':5}]}]";
    assert_int_equal(open_with(json, &settings, &c), QVL_OK);
    static const uint64_t bounds[][2] = {{300000, 400000}, {0, 200000},      {500000, 0}, {300000, 350000},
                                         {0, 262144},      {300000, 400000}, {0, 1024}};
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(part_of(&c, i)->media.min_pixels, bounds[i][0]);
        assert_int_equal(part_of(&c, i)->media.max_pixels, bounds[i][1]);
        assert_int_equal(part_of(&c, i)->media.resize, QVL_RESIZE_PILLOW12);
    }
    assert_memory_equal(&part_of(&c, 7)->media, &settings.video, sizeof settings.video);
    const struct qvl_media_options *m = &part_of(&c, 8)->media;
    assert_true(m->num_frames == 6 && m->fps == 0 && m->min_frames == 0 && m->max_frames == 0 && m->start_s == 10);
    m = &part_of(&c, 9)->media;
    assert_true(m->fps == 5 && m->min_frames == 0 && m->max_frames == 4 && m->start_s == 30 && m->end_s == 0);
    m = &part_of(&c, 10)->media;
    assert_true(m->min_frames == 40 && m->max_frames == 0 && m->start_s == 0 && m->end_s == 5);
    qvl_chat_json_close(&c);
    const struct qvl_chat_json_settings frames = {.base_dir = dir, .video = {.num_frames = 9}};
    json = "[{'role':'user','content':[{'video':'clip.mp4','fps':1}]}]";
    assert_int_equal(open_with(json, &frames, &c), QVL_OK);
    assert_true(part_of(&c, 0)->media.fps == 1 && part_of(&c, 0)->media.num_frames == 0);
    qvl_chat_json_close(&c);
}

static void test_tools(void **state)
{
    (void)state;
    struct qvl_chat_json c =
        opened("{ 'tools' : [ {'b': 1.0, 'a': 123456789012345678901234567890, 's': '\\u0000\\u4e2d'} ],'messages':["
               "{'role':'assistant','content':null,'reasoning_content':'','reasoning':'other','tool_calls':["
               "{'type':'function','function':{'name':'看','arguments':'{\\\"q\\\": 1.0}'}},"
               "{'name':'b','arguments':{ 'z':1e2, 'a':[] }},{'name':'c'},{'name':'d','arguments':''},"
               "{'function':null,'name':'','arguments':null}]},"
               "{'role':'assistant','content':'x','reasoning':'why'},"
               "{'role':'tool','content':[{'text':'see'},{'image':'cat.png'},{'video':['a.png','b.png']}]},"
               "{'role':'user','content':'y','tool_calls':[],'reasoning_content':''}]}");
    static const char *const expected[][2] = {
        {"看", "{\"q\": 1.0}"}, {"b", "{ \"z\":1e2, \"a\":[] }"}, {"c", "{}"}, {"d", "{}"}, {"", "{}"}};
    const struct qvl_message *m = c.chat.messages;
    assert_string_equal(c.chat.tools_json,
                        "[ {\"b\": 1.0, \"a\": 123456789012345678901234567890, \"s\": \"\\u0000\\u4e2d\"} ]");
    assert_int_equal(m[0].n_tool_call, 5);
    for (int i = 0; i < 5; i++) {
        assert_string_equal(m[0].tool_calls[i].name, expected[i][0]);
        assert_string_equal(m[0].tool_calls[i].arguments_json, expected[i][1]);
    }
    assert_string_equal(m[0].reasoning, "");
    assert_string_equal(m[1].reasoning, "why");
    assert_int_equal(m[2].n_part, 3);
    assert_int_equal(m[2].parts[1].kind, QVL_PART_IMAGE);
    assert_int_equal(m[2].parts[2].kind, QVL_PART_VIDEO);
    assert_null(m[3].reasoning);
    assert_int_equal(m[3].n_tool_call, 0);
    qvl_chat_json_close(&c);
}

/* ---- refusals ------------------------------------------------------------------------------------ */

struct refusal {
    const char *json;
    enum qvl_status status;
    const char *sentence;
};

static void test_refused_conversations(void **state)
{
    (void)state;
    static const struct refusal list[] = {
        {"", QVL_ERR_ARGUMENT, "the conversation: not valid JSON at byte 0"},
        {"{", QVL_ERR_ARGUMENT, "not valid JSON"},
        {"{'messages':[],'messages':[]}", QVL_ERR_ARGUMENT, "\"messages\" stands twice"},
        {"{}", QVL_ERR_ARGUMENT, "there is no list of messages"},
        {"7", QVL_ERR_ARGUMENT, "there is no list of messages"},
        {"'[]'", QVL_ERR_ARGUMENT, "there is no list of messages"},
        {"{'messages':null}", QVL_ERR_ARGUMENT, "there is no list of messages"},
        {"{'messages':'hi'}", QVL_ERR_ARGUMENT, "there is no list of messages"},
        {"[]", QVL_ERR_ARGUMENT, "the list of messages is empty"},
        {"['hi']", QVL_ERR_ARGUMENT, "messages[0]: must be an object"},
        {"[{'content':'x'}]", QVL_ERR_ARGUMENT, "messages[0]: \"role\" must be"},
        {"[{'role':'function','content':'x'}]", QVL_ERR_ARGUMENT, "messages[0]: \"role\" must be"},
        {"[{'role':1,'content':'x'}]", QVL_ERR_ARGUMENT, "messages[0]: \"role\" must be"},
        {"[{'role':'user','content':'x'},{'role':'user'}]", QVL_ERR_ARGUMENT, "messages[1].content: must be"},
        {"[{'role':'tool','content':null}]", QVL_ERR_ARGUMENT, "messages[0].content: must be"},
        {"[{'role':'user','content':{}}]", QVL_ERR_ARGUMENT, "messages[0].content: must be"},
        {"[{'role':'assistant','content':1}]", QVL_ERR_ARGUMENT, "messages[0].content: must be"},
        {"[{'role':'assistant','reasoning':[]}]", QVL_ERR_ARGUMENT, "messages[0].reasoning: must be a string"},
        {"[{'role':'assistant','reasoning_content':'a\\u0000'}]", QVL_ERR_ARGUMENT,
         "messages[0].reasoning_content: holds a NUL"},
        {"[{'role':'user','content':'','reasoning_content':'x'}]", QVL_ERR_ARGUMENT,
         "messages[0].reasoning_content: only messages of the assistant"},
        {"[{'role':'tool','content':'','tool_calls':[{}]}]", QVL_ERR_ARGUMENT,
         "messages[0].tool_calls: only messages of the assistant"},
        {"[{'role':'assistant','tool_calls':{}}]", QVL_ERR_ARGUMENT, "messages[0].tool_calls: must be a list"},
        {"[{'role':'assistant','tool_calls':[{'name':'a'},7]}]", QVL_ERR_ARGUMENT,
         "messages[0].tool_calls[1]: a tool call needs"},
        {"[{'role':'assistant','tool_calls':[{'function':{'name':1}}]}]", QVL_ERR_ARGUMENT,
         "messages[0].tool_calls[0].function: a tool call needs"},
        {"[{'role':'assistant','tool_calls':[{'name':'a\\u0000'}]}]", QVL_ERR_ARGUMENT, "holds a NUL"},
        {"[{'role':'assistant','tool_calls':[{'name':'a','arguments':[]}]}]", QVL_ERR_ARGUMENT,
         "messages[0].tool_calls[0].arguments: must be an object"},
        {"[{'role':'assistant','tool_calls':[{'name':'a','arguments':'[]'}]}]", QVL_ERR_ARGUMENT,
         "messages[0].tool_calls[0].arguments: must be an object"},
        {"[{'role':'assistant','tool_calls':[{'function':{'name':'a','arguments':'{'}}]}]", QVL_ERR_ARGUMENT,
         "messages[0].tool_calls[0].function.arguments: not valid JSON at byte 1"},
        {"[{'role':'assistant','tool_calls':[{'name':'a','arguments':'{} {}'}]}]", QVL_ERR_ARGUMENT,
         "messages[0].tool_calls[0].arguments: not valid JSON at byte 3"},
        {"{'messages':[{'role':'user','content':''}],'tools':{}}", QVL_ERR_ARGUMENT, "tools: must be a list"},
        {"{'messages':[{'role':'user','content':''}],'tools':[{},1]}", QVL_ERR_ARGUMENT,
         "tools[1]: must be an object"},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        assert_refused(list[i].json, list[i].status, list[i].sentence);
    struct qvl_chat_json c;
    assert_sentence("", open_with("[", &(struct qvl_chat_json_settings){.name = "a.json"}, &c), QVL_ERR_ARGUMENT,
                    "a.json: not valid JSON");
}

static void test_refused_parts(void **state)
{
    (void)state;
    static const struct refusal list[] = {
        {"'hi'", QVL_ERR_ARGUMENT, "messages[0].content[0]: must be an object"},
        {"{'text':''},null", QVL_ERR_ARGUMENT, "messages[0].content[1]: must be an object"},
        {"{}", QVL_ERR_ARGUMENT, "messages[0].content[0]: there is no text, picture or clip"},
        {"{'type':'image'}", QVL_ERR_ARGUMENT, "messages[0].content[0]: there is no text, picture or clip"},
        {"{'url':'cat.png'}", QVL_ERR_ARGUMENT, "there is no text, picture or clip"},
        {"{'type':'input_audio','input_audio':{}}", QVL_ERR_ARGUMENT,
         "content[0]: the type input_audio is unknown"},
        {"{'type':'input_audio','text':'x'}", QVL_ERR_ARGUMENT, "content[0]: the type input_audio is unknown"},
        {"{'type':5,'text':'x'}", QVL_ERR_ARGUMENT, "content[0]: the type 5 is unknown"},
        {"{'type':'text','text':5}", QVL_ERR_ARGUMENT, "content[0]: \"text\" must be a string"},
        {"{'type':'text','image':'cat.png'}", QVL_ERR_ARGUMENT,
         "content[0]: the type is text, but what it holds is \"image\""},
        {"{'type':'image','video':'clip.mp4'}", QVL_ERR_ARGUMENT,
         "the type is image, but what it holds is \"video\""},
        {"{'text':'x','image':'cat.png'}", QVL_ERR_ARGUMENT, "content[0]: more than one text"},
        {"{'type':'image','image':'cat.png','path':'cat.png'}", QVL_ERR_ARGUMENT, "more than one text"},
        {"{'image':7}", QVL_ERR_ARGUMENT, "content[0].image: must be a string"},
        {"{'image':['cat.png']}", QVL_ERR_ARGUMENT, "content[0].image: must be a string"},
        {"{'image_url':{}}", QVL_ERR_ARGUMENT, "content[0].image_url.url: must be a string"},
        {"{'image_url':{'url':[]}}", QVL_ERR_ARGUMENT, "content[0].image_url.url: must be a string"},
        {"{'image':''}", QVL_ERR_ARGUMENT, "content[0].image: the path is empty"},
        {"{'image':'a\\u0000b'}", QVL_ERR_ARGUMENT, "content[0].image: the path holds a NUL"},
        {"{'image':'file:///a%00b'}", QVL_ERR_ARGUMENT, "content[0].image: the path holds a NUL"},
        {"{'image':'file:///a%4'}", QVL_ERR_ARGUMENT, "content[0].image: \"%\" in a file URI"},
        {"{'image':'file:///a%zz'}", QVL_ERR_ARGUMENT, "content[0].image: \"%\" in a file URI"},
        {"{'image':'file:'}", QVL_ERR_ARGUMENT, "content[0].image: the path is empty"},
        {"{'image':'file://'}", QVL_ERR_ARGUMENT, "names the computer"},
        {"{'image':'file://cat.png'}", QVL_ERR_ARGUMENT, "content[0].image: \"cat.png\" stands where"},
        {"{'image':'file://host/cat.png'}", QVL_ERR_ARGUMENT, "content[0].image: \"host\" stands where"},
        {"{'image':'https://example.org/a.png'}", QVL_ERR_ARGUMENT,
         "content[0].image: nothing is fetched by https"},
        {"{'image_url':'HTTP://x'}", QVL_ERR_ARGUMENT, "content[0].image_url: nothing is fetched by HTTP"},
        {"{'video':'s3://x/y'}", QVL_ERR_ARGUMENT, "content[0].video: nothing is fetched by s3"},
        {"{'image':'none.png'}", QVL_ERR_MEDIA, "none.png: cannot open: No such file"},
        {"{'image':'frames'}", QVL_ERR_MEDIA, "frames: not a regular file"},
        {"{'video':'empty'}", QVL_ERR_MEDIA, "empty: the folder has no picture"},
        {"{'video':[]}", QVL_ERR_ARGUMENT, "content[0].video: the list of pictures is empty"},
        {"{'video':['a.png',{'image':'a.png'}]}", QVL_ERR_ARGUMENT, "content[0].video[1]: must be a string"},
        {"{'video':['a.png','http://x']}", QVL_ERR_ARGUMENT, "content[0].video[1]: nothing is fetched by http"},
        {"{'video':['data:;base64,Zg']}", QVL_ERR_MEDIA, "content[0].video[0]: what should be base64"},
        {"{'video':['a'],'times':[0],'sample_fps':1}", QVL_ERR_ARGUMENT, "content[0].video: only one of"},
        {"{'video':['a'],'times':3}", QVL_ERR_ARGUMENT, "content[0].video: \"times\" must be a list of 1 numbers"},
        {"{'video':['a'],'times':[1,2]}", QVL_ERR_ARGUMENT, "\"times\" must be a list of 1 numbers"},
        {"{'video':'frames','times':[1]}", QVL_ERR_ARGUMENT, "\"times\" must be a list of 2 numbers"},
        {"{'video':['a'],'times':[-1]}", QVL_ERR_ARGUMENT, "\"times\" must be a number from 0 to 1000000"},
        {"{'video':['a'],'times':['1']}", QVL_ERR_ARGUMENT, "\"times\" must be a number from 0 to 1000000"},
        {"{'video':['a','b'],'times':[2,1]}", QVL_ERR_ARGUMENT, "\"times\" go back at picture 2, from 2 to 1"},
        {"{'video':['a'],'sample_fps':0}", QVL_ERR_ARGUMENT, "content[0].video: \"sample_fps\" must be a number"},
        {"{'video':['a','b','c'],'sample_fps':1e-6}", QVL_ERR_ARGUMENT,
         "content[0].video: 3 pictures, 1e-06 a second"},
        {"{'video':['a'],'max_frames':2}", QVL_ERR_ARGUMENT,
         "content[0].video: \"max_frames\" chooses frames of a video file"},
        {"{'video':['a'],'fps':2,'sample_fps':2}", QVL_ERR_ARGUMENT,
         "\"sample_fps\" and \"fps\" are the same option"},
        {"{'video':['a'],'fps':2,'times':[0]}", QVL_ERR_ARGUMENT, "only one of \"times\" and \"fps\" is possible"},
        {"{'video':'frames','nframes':2}", QVL_ERR_ARGUMENT, "content[0].video: \"num_frames\" chooses frames"},
        {"{'video':'clip.mp4','sample_fps':2}", QVL_ERR_ARGUMENT,
         "content[0].video: \"sample_fps\" and \"times\" are for"},
        {"{'video':'clip.mp4','times':[1]}", QVL_ERR_ARGUMENT, "\"sample_fps\" and \"times\" are for"},
        {"{'image':'cat.png','min_pixels':0}", QVL_ERR_ARGUMENT,
         "content[0]: \"min_pixels\" must be a number from 1 to 9007199254740992"},
        {"{'image':'cat.png','min_pixels':9007199254740994}", QVL_ERR_ARGUMENT, "\"min_pixels\" must be"},
        {"{'image':'cat.png','max_pixels':1.5}", QVL_ERR_ARGUMENT,
         "content[0]: \"max_pixels\" must be a whole number"},
        {"{'image':'cat.png','max_pixels':'9'}", QVL_ERR_ARGUMENT, "content[0]: \"max_pixels\" must be a number"},
        {"{'image':'cat.png','min_pixels':3,'max_pixels':2}", QVL_ERR_ARGUMENT,
         "content[0]: \"min_pixels\" is above \"max_pixels\""},
        {"{'video':'clip.mp4','min_frames':3,'max_frames':2}", QVL_ERR_ARGUMENT,
         "\"min_frames\" is above \"max_frames\""},
        {"{'video':'clip.mp4','start':3,'end':2}", QVL_ERR_ARGUMENT, "\"start\" is above \"end\""},
        {"{'video':'clip.mp4','start':-1}", QVL_ERR_ARGUMENT, "\"start\" must be a number from 0 to 1000000"},
        {"{'video':'clip.mp4','end':0}", QVL_ERR_ARGUMENT, "\"end\" must be a number from 1e-06 to 1000000"},
        {"{'video':'clip.mp4','fps':100001}", QVL_ERR_ARGUMENT, "\"fps\" must be a number from 1e-06 to 100000"},
        {"{'video':'clip.mp4','fps':1e999}", QVL_ERR_ARGUMENT, "\"fps\" must be a number"},
        {"{'video':'clip.mp4','num_frames':16385}", QVL_ERR_ARGUMENT,
         "\"num_frames\" must be a number from 1 to 16384"},
        {"{'video':'clip.mp4','nframes':0}", QVL_ERR_ARGUMENT, "\"nframes\" must be a number from 1 to 16384"},
        {"{'video':'clip.mp4','nframes':2,'num_frames':2}", QVL_ERR_ARGUMENT,
         "\"num_frames\" and \"nframes\" are the same"},
        {"{'video':'clip.mp4','num_frames':2,'fps':2}", QVL_ERR_ARGUMENT,
         "content[0]: \"num_frames\" is not possible together"},
        {"{'image':'cat.png','resized_height':32}", QVL_ERR_ARGUMENT, "content[0]: \"resized_height\" and"},
        {"{'image':'cat.png','detail':'fine'}", QVL_ERR_ARGUMENT, "content[0]: \"detail\" must be"},
        {"{'image_url':{'url':'cat.png','detail':1}}", QVL_ERR_ARGUMENT, "content[0]: \"detail\" must be"},
    };
    size_t n_before = n_open_files();
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        assert_part_refused(list[i].json, list[i].status, list[i].sentence);
    assert_int_equal(n_open_files(), n_before);
}

/* A server's default: nothing is said about what exists. */
static void test_no_files(void **state)
{
    (void)state;
    char json[512];
    static const char *const uri[] = {"cat.png", "%s/cat.png", "file://%s/cat.png", "%s/none.png", "file:x"};
    struct qvl_chat_json c;
    for (size_t i = 0; i < sizeof uri / sizeof *uri; i++)
        for (int is_list = 0; is_list < 2; is_list++) {
            const char *slot = strstr(uri[i], "%s");
            snprintf(json, sizeof json, "[{'role':'user','content':[{'video':%s'%.*s%s%s'%s}]}]",
                     is_list ? "[" : "", slot ? (int)(slot - uri[i]) : 0, uri[i], slot ? dir : "",
                     slot ? slot + 2 : uri[i], is_list ? "]" : "");
            assert_sentence(json, open_with(json, &(struct qvl_chat_json_settings){0}, &c), QVL_ERR_ARGUMENT,
                            is_list ? "messages[0].content[0].video[0]: files are not read here"
                                    : "messages[0].content[0].video: files are not read here");
        }
    const char *good = "[{'role':'user','content':[{'image':'data:;base64,Zm9v'}]}]";
    assert_int_equal(open_with(good, &(struct qvl_chat_json_settings){0}, &c), QVL_OK);
    qvl_chat_json_close(&c);
}

/* ---- what a request says of all ------------------------------------------------------------------ */

static enum qvl_status read_kwargs(const char *json, struct qvl_chat_json_settings *settings,
                                   struct qvl_bytes *unknown, const char **param)
{
    struct qvl_arena arena = {0};
    struct qvl_json_tree tree;
    char *quoted = strdup(json);
    assert_non_null(quoted);
    for (char *c = quoted; *c; c++)
        *c = *c == '\'' ? '"' : *c;
    memset(&err, 0, sizeof err);
    assert_int_equal(qvl_json_tree_read(quoted, strlen(quoted), "x", 1000, &arena, &tree, &err), QVL_OK);
    enum qvl_status status =
        qvl_chat_read_media_kwargs(qvl_json_member(tree.node, "mm_processor_kwargs"),
                                   qvl_json_member(tree.node, "media_io_kwargs"), settings, unknown, param, &err);
    qvl_json_tree_free(&tree);
    qvl_arena_free(&arena);
    free(quoted);
    return status;
}

/* From settings whose clips have 3 frames a second, 10 to 20, and pictures of 300000 to 400000 pixels. */
static void test_media_kwargs(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        struct qvl_media_options image, video;
        const char *unknown;
    } list[] = {
        {"{}", {.min_pixels = 300000, .max_pixels = 400000}, {.fps = 3, .min_frames = 10, .max_frames = 20}, ""},
        {"{'mm_processor_kwargs':{},'media_io_kwargs':{'video':{}}}",
         {.min_pixels = 300000, .max_pixels = 400000},
         {.fps = 3, .min_frames = 10, .max_frames = 20},
         ""},
        {"{'mm_processor_kwargs':{'fps':5,'max_frames':6}}",
         {.min_pixels = 300000, .max_pixels = 400000, .fps = 5, .max_frames = 6},
         {.fps = 5, .max_frames = 6},
         ""},
        {"{'mm_processor_kwargs':{'num_frames':7,'do_sample_frames':true}}",
         {.min_pixels = 300000, .max_pixels = 400000, .num_frames = 7},
         {.num_frames = 7},
         ""},
        {"{'mm_processor_kwargs':{'min_pixels':500000,'max_pixels':600000,'total_pixels':700000}}",
         {.min_pixels = 500000, .max_pixels = 600000, .total_pixels = 700000},
         {.fps = 3,
          .min_frames = 10,
          .max_frames = 20,
          .min_pixels = 500000,
          .max_pixels = 600000,
          .total_pixels = 700000},
         ""},
        {"{'mm_processor_kwargs':{'size':{'shortest_edge':4096,'longest_edge':1048576}}}",
         {.min_pixels = 4096, .max_pixels = 1048576},
         {.fps = 3, .min_frames = 10, .max_frames = 20, .total_pixels = 1048576},
         ""},
        {"{'mm_processor_kwargs':{'size':{'longest_edge':200000,'height':3}}}",
         {.max_pixels = 200000},
         {.fps = 3, .min_frames = 10, .max_frames = 20, .total_pixels = 200000},
         "mm_processor_kwargs.size.height"},
        {"{'media_io_kwargs':{'video':{'num_frames':9,'fps':-1}}}",
         {.min_pixels = 300000, .max_pixels = 400000},
         {.num_frames = 9},
         ""},
        {"{'media_io_kwargs':{'video':{'num_frames':32,'fps':1}}}",
         {.min_pixels = 300000, .max_pixels = 400000},
         {.fps = 1, .min_frames = 10, .max_frames = 32},
         ""},
        {"{'media_io_kwargs':{'video':{'num_frames':-1}},'mm_processor_kwargs':{'do_sample_frames':false}}",
         {.min_pixels = 300000, .max_pixels = 400000},
         {.fps = 3, .min_frames = 10, .max_frames = 20},
         ""},
        {"{'media_io_kwargs':{'video':{'fps':4}},'mm_processor_kwargs':{'num_frames':8}}",
         {.min_pixels = 300000, .max_pixels = 400000, .num_frames = 8},
         {.num_frames = 8},
         ""},
        {"{'media_io_kwargs':{'image':{},'video':{'backend':'x','fps':2}},'mm_processor_kwargs':{'a\\u0007b':1,'"
         "crop':2}}",
         {.min_pixels = 300000, .max_pixels = 400000},
         {.fps = 2, .min_frames = 10, .max_frames = 20},
         "media_io_kwargs.image, media_io_kwargs.video.backend, mm_processor_kwargs.a?b, mm_processor_kwargs.crop"},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        struct qvl_chat_json_settings settings = {.image = {.min_pixels = 300000, .max_pixels = 400000},
                                                  .video = {.fps = 3, .min_frames = 10, .max_frames = 20}};
        struct qvl_bytes unknown = {0};
        const char *param = NULL;
        if (read_kwargs(list[i].json, &settings, &unknown, &param))
            fail_msg("%s: %s", list[i].json, err.text);
        if (memcmp(&settings.image, &list[i].image, sizeof settings.image) != 0 ||
            memcmp(&settings.video, &list[i].video, sizeof settings.video) != 0)
            fail_msg("%s", list[i].json);
        assert_string_equal(unknown.n ? unknown.data : "", list[i].unknown);
        assert_null(param);
        qvl_bytes_free(&unknown);
    }
}

static void test_refused_media_kwargs(void **state)
{
    (void)state;
    static const struct {
        const char *json, *param, *sentence;
    } list[] = {
        {"{'mm_processor_kwargs':[]}", "mm_processor_kwargs", "mm_processor_kwargs: must be an object"},
        {"{'mm_processor_kwargs':{'fps':'2'}}", "mm_processor_kwargs",
         "mm_processor_kwargs: \"fps\" must be a number"},
        {"{'mm_processor_kwargs':{'fps':2,'num_frames':2}}", "mm_processor_kwargs",
         "\"num_frames\" is not possible"},
        {"{'mm_processor_kwargs':{'do_sample_frames':1}}", "mm_processor_kwargs", "must be true or false"},
        {"{'mm_processor_kwargs':{'do_sample_frames':false,'fps':2}}", "mm_processor_kwargs",
         "mm_processor_kwargs: \"fps\" has no meaning where \"do_sample_frames\" is false"},
        {"{'mm_processor_kwargs':{'size':7}}", "mm_processor_kwargs",
         "mm_processor_kwargs.size: must be an object"},
        {"{'mm_processor_kwargs':{'size':{'longest_edge':0}}}", "mm_processor_kwargs",
         "\"longest_edge\" must be a number"},
        {"{'mm_processor_kwargs':{'size':{'longest_edge':9},'max_pixels':9}}", "mm_processor_kwargs",
         "mm_processor_kwargs.size: \"longest_edge\" and \"max_pixels\" are the same option"},
        {"{'mm_processor_kwargs':{'size':{'longest_edge':9},'total_pixels':9}}", "mm_processor_kwargs",
         "\"longest_edge\" and \"total_pixels\" are the same option"},
        {"{'mm_processor_kwargs':{'size':{'shortest_edge':9,'longest_edge':8}}}", "mm_processor_kwargs",
         "\"min_pixels\" is above \"max_pixels\""},
        {"{'mm_processor_kwargs':{'resized_height':64}}", "mm_processor_kwargs", "\"resized_height\" and"},
        {"{'media_io_kwargs':1}", "media_io_kwargs", "media_io_kwargs: must be an object"},
        {"{'media_io_kwargs':{'video':1}}", "media_io_kwargs", "media_io_kwargs.video: must be an object"},
        {"{'media_io_kwargs':{'video':{'fps':0}}}", "media_io_kwargs",
         "media_io_kwargs.video: \"fps\" must be above 0"},
        {"{'media_io_kwargs':{'video':{'fps':-2}}}", "media_io_kwargs", "\"fps\" must be a number"},
        {"{'media_io_kwargs':{'video':{'num_frames':0}}}", "media_io_kwargs", "\"num_frames\" must be above 0"},
        {"{'media_io_kwargs':{'video':{'num_frames':1.5}}}", "media_io_kwargs",
         "\"num_frames\" must be a whole number"},
        {"{'media_io_kwargs':{'video':{'num_frames':16385}}}", "media_io_kwargs",
         "\"num_frames\" must be a number"},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        struct qvl_chat_json_settings settings = {.video = {.fps = 3}}, before = settings;
        const char *param = "";
        assert_sentence(list[i].json, read_kwargs(list[i].json, &settings, NULL, &param), QVL_ERR_ARGUMENT,
                        list[i].sentence);
        assert_string_equal(param, list[i].param);
        assert_memory_equal(&settings, &before, sizeof settings);
    }
    assert_refused("{'messages':[{'role':'user','content':''}],'mm_processor_kwargs':{'fps':0}}", QVL_ERR_ARGUMENT,
                   "mm_processor_kwargs: \"fps\" must be");
}

/* A part's own wish, the request's, the server's: in this order. */
static void test_order_of_wishes(void **state)
{
    (void)state;
    struct qvl_chat_json c;
    const struct qvl_chat_json_settings settings = {
        .base_dir = dir, .sample_fps = 2, .video = {.fps = 3, .max_frames = 20, .max_pixels = 7777}};
    const char *json =
        "{'mm_processor_kwargs':{'fps':5,'max_pixels':9999},'messages':[{'role':'user','content':["
        "{'video':'clip.mp4'},{'video':'clip.mp4','fps':1,'max_frames':4},{'video':'clip.mp4','nframes':2},"
        "{'video':['a','b']},{'image':'cat.png'},{'image':'cat.png','max_pixels':1024}]}]}";
    assert_int_equal(open_with(json, &settings, &c), QVL_OK);
    const struct qvl_media_options *m = &part_of(&c, 0)->media;
    assert_true(m->fps == 5 && m->max_frames == 20 && m->max_pixels == 9999);
    m = &part_of(&c, 1)->media;
    assert_true(m->fps == 1 && m->max_frames == 4 && m->max_pixels == 9999);
    m = &part_of(&c, 2)->media;
    assert_true(m->fps == 0 && m->num_frames == 2 && m->max_frames == 0);
    assert_true(part_of(&c, 3)->source.pictures[1].time_s == 0.5 && part_of(&c, 3)->media.fps == 0);
    assert_int_equal(part_of(&c, 4)->media.max_pixels, 9999);
    assert_int_equal(part_of(&c, 5)->media.max_pixels, 1024);
    qvl_chat_json_close(&c);
}

/* ---- an opener ----------------------------------------------------------------------------------- */

/* "fd:TEXT" as a file of that text, "bytes:TEXT" as bytes; everything else is refused. */
static enum qvl_status open_test(void *user, const char *where, const char *uri, size_t n, struct qvl_arena *arena,
                                 struct qvl_media_source *out, struct qvl_error *e)
{
    ++*(int *)user;
    if (n > 3 && memcmp(uri, "fd:", 3) == 0) {
        out->from = QVL_FROM_FD;
        out->fd = memfd_create("test", MFD_CLOEXEC);
        assert_true(out->fd >= 0);
        assert_int_equal(write(out->fd, uri + 3, n - 3), n - 3);
        return QVL_OK;
    }
    if (n > 6 && memcmp(uri, "bytes:", 6) == 0) {
        out->from = QVL_FROM_BYTES;
        out->n_bytes = n - 6;
        out->bytes = (const uint8_t *)qvl_arena_copy_text(arena, uri + 6, n - 6, e);
        return out->bytes ? QVL_OK : e->status;
    }
    if (n > 5 && memcmp(uri, "huge:", 5) == 0) { /* of so many bytes, which nobody reads */
        char digits[32] = "";
        memcpy(digits, uri + 5, n - 5 < sizeof digits ? n - 5 : sizeof digits - 1);
        *out = (struct qvl_media_source){
            .from = QVL_FROM_BYTES, .bytes = (const uint8_t *)"", .n_bytes = strtoull(digits, NULL, 10), .fd = -1};
        return QVL_OK;
    }
    e->status = QVL_ERR_ARGUMENT;
    snprintf(e->text, sizeof e->text, "%s: not for you", where);
    return QVL_ERR_ARGUMENT;
}

static void test_opener(void **state)
{
    (void)state;
    int n_asked = 0;
    size_t n_before = n_open_files();
    const struct qvl_media_opener opener = {&n_asked, open_test};
    const struct qvl_chat_json_settings settings = {.opener = &opener, .base_dir = dir};
    struct qvl_chat_json c;
    char buffer[8] = "";
    const char *json = "[{'role':'user','content':[{'image':'fd:cat'},{'video':'bytes:clip','uuid':'u'},"
                       "{'video':['fd:one','bytes:two','data:;base64,Zm9v']},{'image':'data:;base64,Zm9v'}]}]";
    assert_int_equal(open_with(json, &settings, &c), QVL_OK);
    assert_int_equal(n_asked, 4);
    const struct qvl_media_source *s = &part_of(&c, 0)->source;
    assert_int_equal(s->from, QVL_FROM_FD);
    assert_int_equal(pread(s->fd, buffer, sizeof buffer, 0), 3);
    assert_string_equal(buffer, "cat");
    assert_string_equal(s->name, "messages[0].content[0].image");
    assert_bytes(part_of(&c, 1), QVL_PART_VIDEO, "clip", "u");
    static const char *const frames[] = {"one", "two", "foo"};
    s = &part_of(&c, 2)->source;
    assert_int_equal(s->n_frame, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_null(s->pictures[i].path);
        assert_int_equal(s->pictures[i].n_bytes, 3);
        assert_memory_equal(s->pictures[i].bytes, frames[i], 3);
    }
    assert_bytes(part_of(&c, 3), QVL_PART_IMAGE, "foo", "messages[0].content[3].image");
    qvl_chat_json_close(&c);
    static const char *const refused[] = {"cat.png", "file:///etc/passwd", "https://example.org/", "frames"};
    char text[256];
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        snprintf(text, sizeof text, "[{'role':'user','content':[{'image':'fd:cat'},{'video':['fd:a','%s']}]}]",
                 refused[i]);
        assert_sentence(text, open_with(text, &settings, &c), QVL_ERR_ARGUMENT,
                        "messages[0].content[1].video[1]: not for you");
        snprintf(text, sizeof text, "[{'role':'user','content':[{'image':'fd:cat'},{'video':'%s'}]}]", refused[i]);
        assert_sentence(text, open_with(text, &settings, &c), QVL_ERR_ARGUMENT,
                        "messages[0].content[1].video: not for you");
    }
    assert_int_equal(n_open_files(), n_before);
}

/* ---- limits -------------------------------------------------------------------------------------- */

/* head, n times item with commas between, tail: accepted for n == most, and refused for one more. */
static void assert_limit(const char *head, const char *item, size_t most, const char *tail, const char *sentence)
{
    for (size_t n = most; n <= most + 1; n++) {
        struct qvl_bytes json = {0};
        struct qvl_chat_json c;
        assert_int_equal(qvl_bytes_add_text(&json, head, &err), QVL_OK);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(qvl_bytes_add(&json, ",", i > 0, &err), QVL_OK);
            assert_int_equal(qvl_bytes_add_text(&json, item, &err), QVL_OK);
        }
        assert_int_equal(qvl_bytes_add_text(&json, tail, &err), QVL_OK);
        enum qvl_status status = open_with(json.data, &(struct qvl_chat_json_settings){.base_dir = dir}, &c);
        if (n > most) {
            assert_sentence(sentence, status, QVL_ERR_LIMIT, sentence);
        } else {
            if (status)
                fail_msg("%s", err.text);
            qvl_chat_json_close(&c);
        }
        qvl_bytes_free(&json);
    }
}

static void test_count_limits(void **state)
{
    (void)state;
    assert_limit("[", "{'role':'user','content':''}", QVL_MAX_MESSAGES, "]", "4097 messages; at most 4096");
    assert_limit("[{'role':'user','content':[", "{'text':''}", QVL_MAX_PARTS, "]}]",
                 "messages[0].content[65536]: the conversation has more than 65536 parts");
    assert_limit("[{'role':'assistant','content':'x','tool_calls':[", "{'name':''}", QVL_MAX_PARTS - 1, "]}]",
                 "messages[0].tool_calls[65535]: the conversation has more than 65536 parts");
    assert_limit("[{'role':'user','content':[", "{'image':'data:;base64,Zm9v'}", QVL_MAX_MEDIA_PER_REQUEST, "]}]",
                 "messages[0].content[1024]: more than 1024 pictures and clips");
    assert_limit("[{'role':'user','content':[{'video':[", "'a'", QVL_MAX_CLIP_FRAMES, "]}]}]",
                 "messages[0].content[0].video: a list of 16385 pictures");
    /* object, list, message, its role and content, and the ignored list: 6 */
    assert_limit("{'messages':[{'role':'user','content':''}],'ignored':[", "1", QVL_MAX_CHAT_JSON_VALUES - 6, "]}",
                 "more than the 1048576 values");
}

static void test_path_limit(void **state)
{
    (void)state;
    char part[QVL_MAX_PATH_BYTES + 64];
    for (size_t n = QVL_MAX_PATH_BYTES; n <= QVL_MAX_PATH_BYTES + 1; n++) {
        snprintf(part, sizeof part, "{'video':['%0*d']}", (int)n, 1);
        if (n > QVL_MAX_PATH_BYTES) {
            assert_part_refused(part, QVL_ERR_ARGUMENT, "content[0].video[0]: a path of 4096 bytes; base64 needs");
        } else {
            struct qvl_chat_json c = opened_parts(part);
            assert_int_equal(strlen(part_of(&c, 0)->source.pictures[0].path), strlen(dir) + 1 + n);
            qvl_chat_json_close(&c);
        }
    }
}

static void test_text_limit(void **state)
{
    (void)state;
    for (size_t n = QVL_MAX_TEXT_BYTES; n <= QVL_MAX_TEXT_BYTES + 1; n++) {
        static const char head[] = "[{\"role\":\"assistant\",\"reasoning\":\"ab\",\"content\":\"", tail[] = "\"}]";
        size_t n_text = n - 2, n_json = sizeof head - 1 + n_text + sizeof tail - 1;
        struct qvl_chat_json c;
        char *json = malloc(n_json);
        assert_non_null(json);
        memset(json, 'x', n_json);
        memcpy(json, head, sizeof head - 1);
        memcpy(json + n_json - (sizeof tail - 1), tail, sizeof tail - 1);
        enum qvl_status status = qvl_chat_json_open(json, n_json, &(struct qvl_chat_json_settings){0}, &c, &err);
        if (n > QVL_MAX_TEXT_BYTES) {
            assert_sentence("", status, QVL_ERR_LIMIT,
                            "messages[0].reasoning: the conversation has more than 67108864 bytes of text");
        } else {
            assert_int_equal(status, QVL_OK);
            assert_int_equal(c.chat.messages[0].parts[0].n, n_text);
            qvl_chat_json_close(&c);
        }
        free(json);
    }
}

/* A program's own limits, at their edges: "Zm9v" is 3 bytes. */
static void test_settings_limits(void **state)
{
    (void)state;
    static const struct {
        const char *parts;
        bool is_ok;
        const char *sentence;
    } list[] = {
        {"{'image':'data:;base64,Zm9v'},{'video':'data:;base64,Zm9v'}", true, NULL},
        {"{'image':'data:;base64,Zg=='},{'image':'data:;base64,Zg=='},{'image':'data:;base64,Zg=='}", true, NULL},
        {"{'image':'data:;base64,Zg=='},{'image':'data:;base64,Zg=='},{'image':'data:;base64,Zg=='},"
         "{'image':'data:;base64,Zg=='}",
         false, "content[3]: more than 3 pictures and clips"},
        {"{'image':'data:;base64,Zm9vYmFy'},{'image':'data:;base64,Zm9vYg=='}", true, NULL},
        {"{'image':'data:;base64,Zm9vYmFy'},{'image':'data:;base64,Zm9vYmE='}", false,
         "content[1].image: the pictures and clips have more than 10 bytes together"},
        {"{'image':'data:;base64,Zm9vYmFyZm9vYg=='}", true, NULL},
        {"{'image':'data:;base64,Zm9vYmFyZm9vYmE='}", false, "more than 10 bytes"},
        {"{'input_image':{'data':'Zm9vYmFyZm9vYmE='}}", false,
         "content[0].input_image.data: the pictures and clips have"},
        {"{'video':['data:;base64,Zm9vYmFy','data:;base64,Zm9vYmE=']}", false, "content[0].video[1]: the pictures"},
        {"{'video':'data:video/jpeg;base64,Zm9vYmFy,Zm9vYmE='}", false, "content[0].video: the pictures and clips"},
        {"{'video':['a','b']},{'video':'data:video/jpeg;base64,Zg==,Zg=='}", true, NULL},
        {"{'video':['a','b','c']},{'video':'data:video/jpeg;base64,Zg==,Zg=='}", false,
         "content[1].video: more than 4 pictures in lists"},
        {"{'video':['a','b','c','d','e']}", false, "content[0].video: more than 4 pictures in lists"},
    };
    const struct qvl_chat_json_settings settings = {
        .base_dir = dir, .max_media = 3, .max_listed = 4, .max_media_bytes = 10};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        struct qvl_bytes json = {0};
        struct qvl_chat_json c;
        assert_int_equal(qvl_bytes_add_format(&json, &err, "[{'role':'user','content':[%s]}]", list[i].parts),
                         QVL_OK);
        enum qvl_status status = open_with(json.data, &settings, &c);
        if (!list[i].is_ok)
            assert_sentence(json.data, status, QVL_ERR_LIMIT, list[i].sentence);
        else if (status)
            fail_msg("%s: %s", json.data, err.text);
        else
            qvl_chat_json_close(&c);
        qvl_bytes_free(&json);
    }
}

/* All bytes that may be kept in memory, where a program says nothing of its own. */
static void test_bytes_limit(void **state)
{
    (void)state;
    static const struct {
        unsigned long long first, second;
        bool is_ok;
    } list[] = {{QVL_MAX_CHAT_MEDIA_BYTES - 3, 0, true},
                {QVL_MAX_CHAT_MEDIA_BYTES - 2, 0, false},
                {QVL_MAX_CHAT_MEDIA_BYTES / 2, QVL_MAX_CHAT_MEDIA_BYTES / 2 - 3, true},
                {QVL_MAX_CHAT_MEDIA_BYTES / 2, QVL_MAX_CHAT_MEDIA_BYTES / 2 - 2, false},
                {UINT64_MAX, 1, false},
                {1, UINT64_MAX, false}};
    int n_asked = 0;
    const struct qvl_media_opener opener = {&n_asked, open_test};
    const struct qvl_chat_json_settings settings = {.opener = &opener};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        char json[256];
        struct qvl_chat_json c;
        snprintf(json, sizeof json,
                 "[{'role':'user','content':[{'image':'data:;base64,Zm9v'},{'image':'huge:%llu'},{'video':['huge:%"
                 "llu']}]}]",
                 list[i].first, list[i].second);
        enum qvl_status status = open_with(json, &settings, &c);
        if (!list[i].is_ok)
            assert_sentence(json, status, QVL_ERR_LIMIT,
                            "the pictures and clips have more than 1073741824 bytes together");
        else if (status)
            fail_msg("%s: %s", json, err.text);
        else
            qvl_chat_json_close(&c);
    }
}

/* Pages of zeros that take no memory: the size is refused before they are read, or they are as no JSON. */
static void test_size_limit(void **state)
{
    (void)state;
    struct qvl_chat_json c;
    size_t n = (size_t)QVL_MAX_CHAT_JSON_BYTES + 1;
    void *zeros = mmap(NULL, n, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_ptr_not_equal(zeros, MAP_FAILED);
    assert_sentence("", qvl_chat_json_open(zeros, n, &(struct qvl_chat_json_settings){0}, &c, &err), QVL_ERR_LIMIT,
                    "1073741825 bytes of JSON; at most 1073741824");
    assert_sentence("", qvl_chat_json_open(zeros, n - 1, &(struct qvl_chat_json_settings){0}, &c, &err),
                    QVL_ERR_ARGUMENT, "not valid JSON at byte 0");
    munmap(zeros, n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rendered_as_transformers_does),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_media_forms),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_spellings),
        cmocka_unit_test(test_refused_spellings),
        cmocka_unit_test(test_frames_in_a_data_uri),
        cmocka_unit_test(test_data_uris),
        cmocka_unit_test(test_pictures_as_a_clip),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_options_and_settings),
        cmocka_unit_test(test_tools),
        cmocka_unit_test(test_refused_conversations),
        cmocka_unit_test(test_refused_parts),
        cmocka_unit_test(test_no_files),
        cmocka_unit_test(test_media_kwargs),
        cmocka_unit_test(test_refused_media_kwargs),
        cmocka_unit_test(test_order_of_wishes),
        cmocka_unit_test(test_opener),
        cmocka_unit_test(test_count_limits),
        cmocka_unit_test(test_settings_limits),
        cmocka_unit_test(test_bytes_limit),
        cmocka_unit_test(test_path_limit),
        cmocka_unit_test(test_text_limit),
        cmocka_unit_test(test_size_limit),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}

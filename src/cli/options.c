/* The table holds, for each option, where its value goes in struct qvl_options; parsing, the environment and the
 * help read nothing else. Rare options stand behind `--help all`. */
#include "cli/options.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/language.h"
#include "base/limits.h"

enum value_kind { FLAG, TEXT, NUMBER, REAL, TIME, CHOICE, TEXT_LIST, ITEM_TEXT, ITEM_IMAGE, ITEM_VIDEO };

enum { R = QVL_VERB_RUN, I = QVL_VERB_INSPECT, T = QVL_VERB_TOKENIZE, B = QVL_VERB_BENCH, Q = QVL_VERB_QUANTIZE, C = QVL_VERB_COMPARE, MAX_NAME = 32 };

struct option {
    const char *name;       /* without the dashes */
    char letter;            /* 0 = none */
    const char *aliases;    /* separated by spaces, or NULL */
    int verbs;
    bool is_rare;
    enum value_kind kind;
    size_t offset;
    const char *value_name; /* in the help; of a CHOICE: its words, separated by | */
    double lo, hi;          /* NUMBER, REAL */
    const char *help, *help_zh;
};

#define TO(field) offsetof(struct qvl_options, field)
#define UINT32_MAX_REAL 4294967295.0

static const struct option table[] = {
    {"model", 'm', NULL, R | I | T | B, false, TEXT, TO(model), "DIR", 0, 0,
     "model folder as published on Hugging Face (the demo model)",
     "模型文件夹，保持 Hugging Face 发布的原样（默认为演示模型）"},
    {"image", 0, NULL, R, true, ITEM_IMAGE, 0, "FILE", 0, 0, "a picture (repeatable); - is stdin",
     "图片（可重复）；- 表示标准输入"},
    {"video", 0, NULL, R, false, ITEM_VIDEO, 0, "FILE|FOLDER", 0, 0,
     "a clip; or a folder, or pictures in a row, as one; - is stdin",
     "视频；或把文件夹、连续的图片当作一段视频；- 表示标准输入"},
    {"messages", 0, NULL, R, false, TEXT, TO(messages), "FILE", 0, 0,
     "a whole conversation as JSON; - is stdin",
     "整个对话（JSON）；- 表示标准输入"},
    {"interactive", 'i', "chat", R, true, FLAG, TO(is_interactive), NULL, 0, 0,
     "chat in the terminal",
     "在终端中对话"},
    {"prompt", 'p', NULL, R | C, false, ITEM_TEXT, 0, "TEXT", 0, 0, "text, even if it looks like a file name",
     "文字，即使它像文件名"},
    {"system", 0, NULL, R, false, TEXT, TO(system), "TEXT", 0, 0, "system message", "系统消息"},
    {"max-tokens", 'n', "predict n-predict", R | C, false, NUMBER, TO(max_tokens), "N", 1, 1048576,
     "longest answer in tokens (4096)", "回答的最大 token 数（4096）"},
    {"temp", 0, "temperature", R, false, REAL, TO(temperature), "X", 0, 100,
     "temperature; 0 is plain greedy (the model's)", "温度；0 为贪心（默认取模型设置）"},
    {"top-k", 0, NULL, R, true, NUMBER, TO(top_k), "N", 0, UINT32_MAX_REAL, "only the N best tokens; 0 = all",
     "只取最好的 N 个 token；0 为全部"},
    {"top-p", 0, NULL, R, true, REAL, TO(top_p), "X", 0, 1, "only the best tokens with mass X", "核采样：只取累积概率达到 X 的最好的 token"},
    {"min-p", 0, NULL, R, true, REAL, TO(min_p), "X", 0, 1, "only tokens with X times the best one's probability",
     "只取概率不低于最高者 X 倍的 token"},
    {"repetition-penalty", 0, "repeat-penalty", R, true, REAL, TO(repetition_penalty), "X", 0.01, 100,
     "divides the logits of what was said", "重复惩罚，作用于已出现的 token"},
    {"presence-penalty", 0, NULL, R, true, REAL, TO(presence_penalty), "X", -100, 100,
     "taken once from what the answer holds", "存在惩罚：回答中出现过就扣一次"},
    {"frequency-penalty", 0, NULL, R, true, REAL, TO(frequency_penalty), "X", -100, 100,
     "taken for each time the answer holds it", "频率惩罚：回答中每出现一次扣一次"},
    {"seed", 0, NULL, R, true, NUMBER, TO(seed), "N", 0, 9007199254740992.0, "of the sampler (random)",
     "随机种子（默认随机）"},
    {"stop", 0, NULL, R, true, TEXT_LIST, TO(stop), "TEXT", 0, 0, "ends the answer (repeatable)",
     "遇到此文字即停止（可重复）"},
    {"ignore-eos", 0, NULL, R, true, FLAG, TO(ignore_eos), NULL, 0, 0, "go on after the end token",
     "忽略结束符"},
    {"format", 0, NULL, R, false, CHOICE, TO(format), "text|json", 0, 0,
     "json: the answer is a JSON object, whatever the model would say (text)",
     "json：无论模型想说什么，回答都是一个 JSON 对象（text）"},
    {"json-schema", 0, "json-schema-file", R, true, TEXT, TO(json_schema), "FILE|{...}", 0, 0,
     "the answer is JSON that satisfies this schema; - is stdin",
     "回答是符合此 JSON Schema 的 JSON；- 表示标准输入"},
    {"regex", 0, NULL, R, true, TEXT, TO(regex), "REGEX", 0, 0, "the answer matches, from its first to its last character",
     "回答从头到尾与此正则表达式匹配"},
    {"choice", 0, NULL, R, true, TEXT, TO(choice), "A,B,...", 0, 0,
     "the answer is one of these; a comma in one is written \\,",
     "回答是其中之一；其中的逗号写作 \\,"},
    {"loop-guard", 0, NULL, R, true, CHOICE, TO(loop_guard), "on|off", 0, 0,
     "stop an answer that repeats itself without end (on)", "检测无限重复并停止（on）"},
    {"lookup", 0, NULL, R, true, CHOICE, TO(lookup), "on|off", 0, 0,
     "compute tokens along that the text so far suggests: the same answer, faster where it repeats (on)",
     "顺带计算前文提示的后续 token：回答不变，有重复时更快（on）"},
    {"max-pixels", 0, NULL, R | C, false, NUMBER, TO(max_pixels), "N", 1, 1e15,
     "size of a picture or frame after resizing; smaller is faster",
     "图片或视频帧缩放后的最大像素数；越小越快"},
    {"min-pixels", 0, NULL, R | C, true, NUMBER, TO(min_pixels), "N", 1, 1e15, "smallest size after resizing",
     "图片或视频帧缩放后的最小像素数"},
    {"image-max-tokens", 0, NULL, R | C, true, NUMBER, TO(max_image_tokens), "N", 1, 1e9,
     "--max-pixels in tokens of 32x32 pixels", "--max-pixels，以 32x32 像素的 token 计"},
    {"image-min-tokens", 0, NULL, R | C, true, NUMBER, TO(min_image_tokens), "N", 1, 1e9,
     "--min-pixels in tokens of 32x32 pixels", "--min-pixels，以 32x32 像素的 token 计"},
    {"resize", 0, NULL, R, true, CHOICE, TO(resize), "torchvision|pillow|pillow12", 0, 0,
     "whose bytes a resized picture has (torchvision)", "缩放结果与哪个库逐字节一致（torchvision）"},
    {"fps", 0, "video-fps", R | C, false, REAL, TO(fps), "X", 1e-6, QVL_MAX_CLIP_FPS,
     "frames a second that the model sees of a clip (2)",
     "模型每秒看视频的多少帧（2）"},
    {"num-frames", 0, "nframes n-frames", R | C, true, NUMBER, TO(num_frames), "N", 1, QVL_MAX_CLIP_FRAMES,
     "this many frames of a clip, instead of --fps",
     "视频总共取 N 帧，代替 --fps"},
    {"min-frames", 0, NULL, R, true, NUMBER, TO(min_frames), "N", 1, QVL_MAX_CLIP_FRAMES,
     "with --fps: at least N frames (4)",
     "配合 --fps：至少 N 帧（4）"},
    {"max-frames", 0, NULL, R, true, NUMBER, TO(max_frames), "N", 1, QVL_MAX_CLIP_FRAMES,
     "with --fps: at most N frames (768)",
     "配合 --fps：至多 N 帧（768）"},
    {"start", 0, "video-start", R | C, true, TIME, TO(start_s), "TIME", 0, QVL_MAX_CLIP_SECONDS,
     "of a clip only from here: seconds, mm:ss or hh:mm:ss",
     "视频从此处开始：秒、mm:ss 或 hh:mm:ss"},
    {"end", 0, "video-end", R | C, true, TIME, TO(end_s), "TIME", 0, QVL_MAX_CLIP_SECONDS,
     "and only to here",
     "视频到此处为止"},
    {"total-pixels", 0, "video-total-pixels", R | C, true, NUMBER, TO(total_pixels), "N", 1, 1e15,
     "of all frames of a clip together (25165824)",
     "一段视频所有帧的像素总数（25165824）"},
    {"sample-fps", 0, NULL, R, true, REAL, TO(sample_fps), "X", 1e-6, QVL_MAX_CLIP_FPS,
     "pictures in a row are a clip with X frames a second (2)",
     "连续的图片是一段每秒 X 帧的视频（2）"},
    {"frame-times", 0, NULL, R, true, TEXT, TO(frame_times), "T,T,...", 0, 0,
     "the same, with the time of each picture",
     "同上，逐一给出每张图片的时间"},
    {"video-wrapper", 0, NULL, R, true, FLAG, TO(want_video_wrapper), NULL, 0, 0,
     "clips in the prompt as transformers >= 5.10 writes them",
     "提示中的视频按 transformers >= 5.10 的写法"},
    {"no-think-text", 0, NULL, R, true, FLAG, TO(no_think_text), NULL, 0, 0,
     "Thinking models: show the answer only",
     "Thinking 模型：只显示回答"},
    {"json", 0, NULL, R | I | B | Q | C, false, FLAG, TO(want_json), NULL, 0, 0, "one JSON object on stdout",
     "向标准输出写一个 JSON 对象"},
    {"ids", 0, NULL, R, true, FLAG, TO(want_ids), NULL, 0, 0, "with --json: prompt, prompt_ids, output_ids",
     "配合 --json：prompt、prompt_ids、output_ids"},
    {"logits", 0, NULL, R, true, NUMBER, TO(n_logits), "K", 1, 64, "with --json: the K best [id, logit] of each token",
     "配合 --json：每个 token 最好的 K 个 [id, logit]"},
    {"dry-run", 0, NULL, R, true, FLAG, TO(is_dry_run), NULL, 0, 0, "everything up to the model; reads no weights",
     "做到模型之前为止，不读权重"},
    {"dump", 0, NULL, R, true, TEXT, TO(dump), "DIR", 0, 0, "write every intermediate as .npy",
     "把所有中间结果写成 .npy"},
    {"quiet", 'q', NULL, R | B | Q | C, false, FLAG, TO(is_quiet), NULL, 0, 0, "nothing on stderr but errors",
     "stderr 上只有错误"},
    {"progress", 0, NULL, R | B | Q | C, true, CHOICE, TO(progress), "auto|bar|plain|none", 0, 0,
     "how progress is shown on stderr (auto)", "stderr 上进度的显示方式（auto）"},
    {"ctx-size", 'c', "ctx", R | B | C, true, NUMBER, TO(n_ctx), "N", 1, UINT32_MAX_REAL, "context in tokens (the model's)",
     "上下文长度（默认取模型设置）"},
    {"threads", 't', NULL, R | B | Q | C, true, NUMBER, TO(n_thread), "N", 1, 256,
     "number of threads (what affinity and cgroup allow)",
     "线程数（默认按 CPU 亲和性与 cgroup）"},
    {"dtype", 0, NULL, R | B | C, true, CHOICE, TO(dtype), "bf16|f32", 0, 0, "activations and KV cache (bf16)",
     "激活与 KV 缓存的类型（bf16）"},
    {"kv", 0, NULL, R | B | C, true, CHOICE, TO(kv), "bf16|int8", 0, 0,
     "keys and values: int8 halves their memory, for long contexts (bf16)",
     "键和值的类型：int8 使其内存减半，适合长上下文（bf16）"},
    {"quantize", 0, NULL, R | B | C, false, CHOICE, TO(quantize), "none|q8|q4|balanced", 0, 0,
     "pack the decoder's weights in 8 or 4 bits while loading",
     "加载时把解码器的权重压缩为 8 位或 4 位"},
    {"quantize-vision", 0, NULL, R | B | C, true, FLAG, TO(want_vision_q8), NULL, 0, 0,
     "the vision tower's weights in 8 bits, too, while loading",
     "加载时把视觉塔的权重也压缩为 8 位"},
    {"type", 0, NULL, Q, true, CHOICE, TO(packed_type), "q4|q8|balanced", 0, 0,
     "quantize: 4 bits, 8 bits, or 4 with 8 where they count most (q4)",
     "quantize：4 位、8 位，或 4 位并在最要紧处用 8 位（q4）"},
    {"isa", 0, NULL, R | B | C, true, TEXT, TO(isa), "LEVEL", 0, 0, "cap of the kernels: scalar, avx2, avx512, …",
     "内核的指令集上限：scalar、avx2、avx512……"},
    {"chunk", 0, NULL, R | B | C, true, NUMBER, TO(n_chunk), "N", 1, 1048576, "most prompt tokens in one step (288)",
     "每步最多处理的提示 token 数（288）"},
    {"vision-cache", 0, NULL, R, true, NUMBER, TO(vision_cache_mb), "MB", 0, 1048576,
     "memory for what the model saw: equal pictures and frames are looked at once; 0 = none (256)",
     "图像特征缓存（MB）：相同的图片和帧只计算一次；0 表示不用（256）"},
    {"media-helper", 0, NULL, R | C, true, TEXT, TO(media_helper), "FILE", 0, 0, "path of qvl-media",
     "qvl-media 的路径"},
    {"media-timeout", 0, NULL, R | C, true, REAL, TO(media_timeout_s), "SECONDS", 0.1, 86400,
     "for one picture or frame (30), and for reading through a clip (300)",
     "一张图片或一帧（30），以及通读一段视频（300）的时限"},
    {"check", 0, NULL, I, true, FLAG, TO(want_check), NULL, 0, 0,
     "inspect: read every weight once; each must be a finite number, packed ones must have their checksum",
     "inspect：读一遍全部权重，检查每个都是有限的数，压缩过的与校验和一致"},
    {"tests", 0, NULL, B, true, TEXT, TO(tests), "NAME[:N],...", 0, 0,
     "bench: of peaks, load, vision, prefill, decode, first-token",
     "bench：从 peaks、load、vision、prefill、decode、first-token 中选择"},
    {"full", 0, NULL, B, true, FLAG, TO(is_full), NULL, 0, 0, "bench: all usual sizes; takes long",
     "bench：测试全部常用大小，耗时较长"},
    {"runs", 0, NULL, B, true, NUMBER, TO(n_run), "N", 1, 1000, "bench: of each test (3 or more, for 5 seconds)",
     "bench：每项测试的次数（至少 3 次，约 5 秒）"},
    {"csv", 0, NULL, B, true, FLAG, TO(want_csv), NULL, 0, 0, "bench: comma-separated values on stdout",
     "bench：向标准输出写 CSV"},
    {"jsonl", 0, NULL, T, true, FLAG, TO(want_jsonl), NULL, 0, 0,
     "tokenize: a JSON string a line on stdin, a JSON array a line on stdout",
     "tokenize：标准输入每行一个 JSON 字符串，标准输出每行一个 JSON 数组"},
    {"special", 0, NULL, T, true, FLAG, TO(want_special), NULL, 0, 0, "tokenize: recognise special tokens",
     "tokenize：识别特殊 token"},
    {"lang", 0, NULL, R | I | T | B | Q | C, true, CHOICE, TO(language), "en|zh", 0, 0,
     "language of messages (the locale's)",
     "消息的语言（默认按 locale）"},
    {"help", 'h', NULL, R | I | T | B | Q | C, false, FLAG, TO(want_help), NULL, 0, 0, "this; `--help all`: every option",
     "本帮助；`--help all` 列出全部选项"},
    {"version", 0, NULL, R | I | T | B | Q | C, false, FLAG, TO(want_version), NULL, 0, 0, "version of qvl", "版本"},
};

enum { N_OPTION = sizeof table / sizeof table[0] };
_Static_assert(N_OPTION <= QVL_MAX_OPTIONS, "qvl_options.is_given has a place for each option");

/* ---- values -------------------------------------------------------------------------------------- */

static enum qvl_status parse_number(const struct option *o, const char *text, double *real, uint64_t *number,
                                    struct qvl_error *err)
{
    char *end = NULL;
    bool is_good = text[0] && !isspace((unsigned char)text[0]);
    errno = 0;
    if (o->kind == NUMBER) {
        is_good = is_good && isdigit((unsigned char)text[0]);
        *number = strtoull(text, &end, 10);
        *real = (double)*number;
    } else {
        *real = strtod(text, &end);
    }
    if (is_good && *end == 0 && errno == 0 && *real >= o->lo && *real <= o->hi)
        return QVL_OK;
    if (o->kind == NUMBER)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "--%s %.40s: it must be a whole number from %.16g to %.16g", o->name,
                        text, o->lo, o->hi);
    return qvl_fail(err, QVL_ERR_ARGUMENT, "--%s %.40s: it must be a number from %.16g to %.16g", o->name, text,
                    o->lo, o->hi);
}

/* Seconds, mm:ss or hh:mm:ss, the seconds with or without a fraction. */
static enum qvl_status parse_time(const struct option *o, const char *text, double *out, struct qvl_error *err)
{
    const char *c = text;
    double seconds = 0;
    bool is_good = strlen(text) < 40 && strspn(text, "0123456789.:") == strlen(text);
    for (int i = 0; is_good; i++) {
        char *end = NULL;
        double part = strtod(c, &end);
        is_good = isdigit((unsigned char)*c) && (i == 0 || part < 60);
        seconds = seconds * 60 + part;
        if (!is_good || *end == 0)
            break;
        is_good = *end == ':' && i < 2 && part == floor(part);
        c = end + 1;
    }
    if (is_good && seconds >= o->lo && seconds <= o->hi) {
        *out = seconds;
        return QVL_OK;
    }
    return qvl_fail(err, QVL_ERR_ARGUMENT,
                    "--%s %.40s: it must be a time from %.16g to %.16g: seconds, mm:ss or hh:mm:ss", o->name, text,
                    o->lo, o->hi);
}

/* The place of `text` among the words "a|b|c". */
static enum qvl_status parse_choice(const struct option *o, const char *text, int *out, struct qvl_error *err)
{
    int i = 0;
    for (const char *word = o->value_name; word; i++) {
        const char *bar = strchr(word, '|');
        size_t n = bar ? (size_t)(bar - word) : strlen(word);
        if (strlen(text) == n && memcmp(word, text, n) == 0) {
            *out = i;
            return QVL_OK;
        }
        word = bar ? bar + 1 : NULL;
    }
    return qvl_fail(err, QVL_ERR_ARGUMENT, "--%s %.40s: it must be one of %s", o->name, text, o->value_name);
}

static enum qvl_status parse_flag(const struct option *o, const char *text, bool *out, struct qvl_error *err)
{
    static const char *const word[] = {"1", "true", "yes", "on", "0", "false", "no", "off"};
    for (size_t i = 0; i < 8; i++)
        if (strcmp(text, word[i]) == 0) {
            *out = i < 4;
            return QVL_OK;
        }
    return qvl_fail(err, QVL_ERR_ARGUMENT, "--%s %.40s: it is on or off", o->name, text);
}

static void add_item(struct qvl_options *out, enum qvl_item_kind kind, const char *value)
{
    out->item[out->n_item++] = (struct qvl_item){kind, value};
}

/* Stores the value of one option. A flag without value has text NULL. */
static enum qvl_status store(const struct option *o, const char *text, struct qvl_options *out,
                             struct qvl_error *err)
{
    void *field = (char *)out + o->offset;
    enum qvl_status status = QVL_OK;
    double real = 0;
    uint64_t number = 0;
    int choice = 0;
    switch (o->kind) {
    case FLAG:
        if (text)
            return parse_flag(o, text, field, err);
        *(bool *)field = true;
        return QVL_OK;
    case TEXT:
        *(const char **)field = text;
        return QVL_OK;
    case NUMBER:
        if (!(status = parse_number(o, text, &real, &number, err)))
            *(uint64_t *)field = number;
        return status;
    case REAL:
        if (!(status = parse_number(o, text, &real, &number, err)))
            *(double *)field = real;
        return status;
    case TIME: return parse_time(o, text, field, err);
    case CHOICE:
        if (!(status = parse_choice(o, text, &choice, err)))
            memcpy(field, &choice, sizeof choice); /* every enum here is as large as int */
        return status;
    case TEXT_LIST:
        out->stop[out->n_stop++] = text;
        return QVL_OK;
    case ITEM_TEXT: add_item(out, QVL_ITEM_TEXT, text); return QVL_OK;
    case ITEM_IMAGE: add_item(out, QVL_ITEM_IMAGE, text); return QVL_OK;
    case ITEM_VIDEO: add_item(out, QVL_ITEM_VIDEO, text); return QVL_OK;
    }
    return QVL_OK;
}

/* ---- the command line ---------------------------------------------------------------------------- */

static bool has_alias(const char *aliases, const char *name, size_t n)
{
    while (aliases) {
        const char *space = strchr(aliases, ' ');
        size_t len = space ? (size_t)(space - aliases) : strlen(aliases);
        if (len == n && memcmp(aliases, name, n) == 0)
            return true;
        aliases = space ? space + 1 : NULL;
    }
    return false;
}

static const struct option *find_long(const char *name, size_t n)
{
    for (size_t i = 0; i < N_OPTION; i++)
        if ((strlen(table[i].name) == n && memcmp(table[i].name, name, n) == 0) ||
            has_alias(table[i].aliases, name, n))
            return &table[i];
    return NULL;
}

static const struct option *find_letter(char letter)
{
    for (size_t i = 0; i < N_OPTION; i++)
        if (table[i].letter == letter)
            return &table[i];
    return NULL;
}

/* The option that `arg` names, and the value that is written in the same word, or NULL. */
static const struct option *find_option(const char *arg, const char **value)
{
    *value = NULL;
    if (arg[1] != '-') {
        *value = arg[2] ? arg + 2 : NULL;
        return find_letter(arg[1]);
    }
    const char *equals = strchr(arg, '=');
    *value = equals ? equals + 1 : NULL;
    return find_long(arg + 2, equals ? (size_t)(equals - arg - 2) : strlen(arg + 2));
}

static enum qvl_status parse_args(enum qvl_verb verb, int n_arg, char **arg, struct qvl_options *out,
                                  struct qvl_error *err)
{
    bool is_past_options = false;
    for (int i = 0; i < n_arg; i++) {
        const char *value = NULL;
        if (is_past_options || arg[i][0] != '-' || arg[i][1] == 0) {
            add_item(out, QVL_ITEM_WORD, arg[i]);
            continue;
        }
        if (strcmp(arg[i], "--") == 0) {
            is_past_options = true;
            continue;
        }
        const struct option *o = find_option(arg[i], &value);
        if (!o || !(o->verbs & (int)verb))
            return qvl_fail(err, QVL_ERR_ARGUMENT, "%.60s: no such option here (qvl --help)", arg[i]);
        if (o->kind == FLAG && value)
            return qvl_fail(err, QVL_ERR_ARGUMENT, "%.60s: --%s takes no value", arg[i], o->name);
        if (o->kind != FLAG && !value) {
            if (i + 1 == n_arg)
                return qvl_fail(err, QVL_ERR_ARGUMENT, "%s needs a value: %s", arg[i], o->value_name);
            value = arg[++i];
        }
        enum qvl_status status = store(o, value, out, err);
        if (status)
            return status;
        out->is_given[o - table] = true;
    }
    return QVL_OK;
}

/* QVL_MAX_PIXELS for --max-pixels. */
static void name_variable(const struct option *o, char out[MAX_NAME])
{
    size_t n = 0;
    for (const char *c = "QVL_"; *c; c++)
        out[n++] = *c;
    for (const char *c = o->name; *c && n + 1 < MAX_NAME; c++)
        out[n++] = (char)(*c == '-' ? '_' : toupper((unsigned char)*c));
    out[n] = 0;
}

/* The option that this one excludes, or NULL: --fps on the command line silences QVL_NUM_FRAMES, and the other way
 * round. */
static const struct option *find_rival(const char *name)
{
    static const char *const rivals[][2] = {{"fps", "num-frames"}, {"sample-fps", "frame-times"}};
    for (size_t i = 0; i < sizeof rivals / sizeof *rivals; i++)
        for (int j = 0; j < 2; j++)
            if (strcmp(rivals[i][j], name) == 0)
                return find_long(rivals[i][1 - j], strlen(rivals[i][1 - j]));
    return NULL;
}

static enum qvl_status parse_environment(enum qvl_verb verb, struct qvl_options *out, struct qvl_error *err)
{
    for (size_t i = 0; i < N_OPTION; i++) {
        const struct option *o = &table[i];
        char name[MAX_NAME];
        bool is_setting = o->kind != TEXT_LIST && o->kind != ITEM_TEXT && o->kind != ITEM_IMAGE &&
                          o->kind != ITEM_VIDEO;
        const struct option *rival = find_rival(o->name);
        if (!is_setting || out->is_given[i] || !(o->verbs & (int)verb) || (rival && out->is_given[rival - table]))
            continue;
        name_variable(o, name);
        const char *value = getenv(name);
        if (!value || !*value)
            continue;
        struct qvl_error why = {0};
        if (store(o, value, out, &why))
            return qvl_fail(err, QVL_ERR_ARGUMENT, "%s in the environment: %.400s", name, why.text);
        out->is_given[i] = true;
    }
    return QVL_OK;
}

/* What can be told from the options alone. */
static enum qvl_status find_contradiction(const struct qvl_options *o, struct qvl_error *err)
{
    if (o->fps > 0 && o->num_frames)
        return qvl_fail(err, QVL_ERR_ARGUMENT,
                        "--fps and --num-frames contradict each other: frames a second, or frames in all");
    if (o->num_frames && (o->min_frames || o->max_frames))
        return qvl_fail(err, QVL_ERR_ARGUMENT, "--min-frames and --max-frames go with --fps, not with --num-frames");
    if (o->min_frames && o->max_frames && o->min_frames > o->max_frames)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "--min-frames %llu is more than --max-frames %llu",
                        (unsigned long long)o->min_frames, (unsigned long long)o->max_frames);
    if (qvl_options_has(o, "end") && o->start_s >= o->end_s)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "--start %.16g s does not lie before --end %.16g s", o->start_s,
                        o->end_s);
    if (o->sample_fps > 0 && o->frame_times)
        return qvl_fail(err, QVL_ERR_ARGUMENT,
                        "--sample-fps and --frame-times contradict each other: a rate, or the times themselves");
    if ((o->format == QVL_ANSWER_JSON) + !!o->json_schema + !!o->regex + !!o->choice > 1)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "of --format json, --json-schema, --regex and --choice only one can hold");
    if (o->json_schema && strcmp(o->json_schema, "-") == 0 &&
        (o->is_interactive || (o->messages && strcmp(o->messages, "-") == 0)))
        return qvl_fail(err, QVL_ERR_ARGUMENT, "--json-schema - reads stdin, which something else reads here");
    if (o->messages && o->system)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "--messages has its own system message: --system does not go with it");
    if (o->messages && o->n_item > 0)
        return qvl_fail(err, QVL_ERR_ARGUMENT,
                        "--messages holds the whole conversation: no prompt, picture or clip goes with it");
    if (o->is_interactive && o->messages && strcmp(o->messages, "-") == 0)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "--messages - reads stdin, where a chat reads its questions");
    if ((o->want_ids || o->n_logits) && !o->want_json)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "--ids and --logits go with --json");
    if (o->want_json && o->want_csv)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "--json and --csv contradict each other");
    if (o->dtype == QVL_COMPUTE_F32 && qvl_options_has(o, "kv"))
        return qvl_fail(err, QVL_ERR_ARGUMENT, "--dtype f32 keeps keys and values in f32: --kv does not go with it");
    if (o->is_interactive && (o->want_json || o->is_dry_run))
        return qvl_fail(err, QVL_ERR_ARGUMENT, "--json and --dry-run do not go with --interactive");
    return QVL_OK;
}

enum qvl_status qvl_options_parse(enum qvl_verb verb, int n_arg, char **arg, struct qvl_options *out,
                                  struct qvl_error *err)
{
    size_t n = (size_t)n_arg + 1;
    *out = (struct qvl_options){0};
    char *memory = calloc(n, sizeof *out->item + sizeof *out->stop);
    if (!memory)
        return qvl_fail_memory(err, n * sizeof *out->item, "the command line");
    out->memory = memory;
    out->item = (struct qvl_item *)memory;
    out->stop = (const char **)(memory + n * sizeof *out->item);
    enum qvl_status status = parse_args(verb, n_arg, arg, out, err);
    if (!status)
        status = parse_environment(verb, out, err);
    if (!status && !out->want_help && !out->want_version)
        status = find_contradiction(out, err);
    if (status)
        qvl_options_free(out);
    return status;
}

enum qvl_status qvl_options_set(struct qvl_options *options, const char *name, const char *value,
                                struct qvl_error *err)
{
    const struct option *o = find_long(name, strlen(name)), *rival = o ? find_rival(o->name) : NULL;
    struct qvl_options changed = *options;
    if (!o || (o->kind != FLAG && o->kind != NUMBER && o->kind != REAL && o->kind != TIME && o->kind != CHOICE))
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%.60s: no such setting", name);
    enum qvl_status status = store(o, value, &changed, err);
    if (status)
        return status;
    changed.is_given[o - table] = true;
    if (rival && changed.is_given[rival - table]) { /* each is 8 bytes: a number, or a pointer */
        memset((char *)&changed + rival->offset, 0, sizeof(uint64_t));
        changed.is_given[rival - table] = false;
    }
    if (!(status = find_contradiction(&changed, err)))
        *options = changed;
    return status;
}

void qvl_options_free(struct qvl_options *options)
{
    free(options->memory);
    *options = (struct qvl_options){0};
}

bool qvl_options_has(const struct qvl_options *options, const char *name)
{
    const struct option *o = find_long(name, strlen(name));
    return o && options->is_given[o - table];
}

/* ---- language ------------------------------------------------------------------------------------ */

enum qvl_language qvl_options_language(int n_arg, char **arg)
{
    static const char *const variables[] = {"QVL_LANG", "LC_ALL", "LC_MESSAGES", "LANG"};
    const char *name = NULL;
    for (int i = 0; i < n_arg && strcmp(arg[i], "--") != 0; i++) {
        if (strncmp(arg[i], "--lang=", 7) == 0)
            name = arg[i] + 7;
        else if (strcmp(arg[i], "--lang") == 0 && i + 1 < n_arg)
            name = arg[i + 1];
    }
    for (size_t i = 0; i < sizeof variables / sizeof *variables && (!name || !*name); i++)
        name = getenv(variables[i]);
    return name && strncmp(name, "zh", 2) == 0 ? QVL_LANGUAGE_ZH : QVL_LANGUAGE_EN;
}

/* ---- help ---------------------------------------------------------------------------------------- */

static const char usage_en[] =
    "usage: qvl [run] [-m MODEL] [PICTURE|CLIP…] [OPTIONS] \"PROMPT\"   in any order\n"
    "       qvl chat [-m MODEL] [PICTURE|CLIP…]                 in the terminal; also qvl alone there\n"
    "       qvl inspect [MODEL] [--json] [--check]              architecture and sizes; --check: weights\n"
    "       qvl quantize MODEL OUT [--type q4|q8|balanced]      a smaller, faster copy of a model folder\n"
    "       qvl compare A [B] [--quantize TYPE] FILE…           how far B's expectations are from A's\n"
    "       qvl tokenize [-m MODEL] TEXT…                       token ids\n"
    "       qvl bench [-m MODEL] [--full] [--json|--csv]        speed, beside what this machine can do\n"
    "\n"
    "The answer goes to stdout, everything else to stderr. PICTURE, CLIP or PROMPT may be - (stdin).\n"
    "Each option has a twin in the environment: --max-pixels is QVL_MAX_PIXELS.\n";

static const char usage_zh[] =
    "用法：qvl [run] [-m 模型] [图片|视频…] [选项] \"提示\"   顺序任意\n"
    "      qvl chat [-m 模型] [图片|视频…]           对话；在终端中直接运行 qvl 也一样\n"
    "      qvl inspect [模型] [--json] [--check]     结构与大小；--check 检查权重\n"
    "      qvl quantize 模型 输出 [--type q4|q8|balanced] 写一份更小、更快的模型文件夹\n"
    "      qvl compare A [B] [--quantize 类型] 文件…   B 的预测与 A 相差多少\n"
    "      qvl tokenize [-m 模型] 文字…              token 编号\n"
    "      qvl bench [-m 模型] [--full] [--json|--csv] 速度，以及它占本机峰值的比例\n"
    "\n"
    "回答写到标准输出，其余写到 stderr。图片、视频或提示可以是 -（标准输入）。\n"
    "每个选项都有对应的环境变量：--max-pixels 即 QVL_MAX_PIXELS。\n";

static const char exits_en[] =
    "Exit codes: 0 done, 1 failure, 2 usage, 3 model, 4 picture or clip, 5 does not fit (context,\n"
    "memory), 70 internal fault, 130 cancelled.\n";
static const char exits_zh[] =
    "退出码：0 成功，1 失败，2 用法，3 模型，4 图片或视频，"
    "5 放不下（上下文、内存），70 内部错误，130 取消。\n";

void qvl_options_help(FILE *out, bool want_all)
{
    bool zh = qvl_language() == QVL_LANGUAGE_ZH;
    fprintf(out, "%s\n", zh ? usage_zh : usage_en);
    for (size_t i = 0; i < N_OPTION; i++) {
        const struct option *o = &table[i];
        char left[64], letter[8] = "    ";
        if (o->is_rare && !want_all)
            continue;
        if (o->letter)
            snprintf(letter, sizeof letter, "-%c, ", o->letter);
        int n = snprintf(left, sizeof left, "%s--%s%s%s", letter, o->name, o->value_name ? " " : "",
                         o->value_name ? o->value_name : "");
        if (n < 27)
            fprintf(out, "  %-27s %s\n", left, zh ? o->help_zh : o->help);
        else
            fprintf(out, "  %s\n  %-27s %s\n", left, "", zh ? o->help_zh : o->help);
    }
    fprintf(out, "\n%s", zh ? exits_zh : exits_en);
}

/* ---- the manual page ----------------------------------------------------------------------------- */

/* Text of a line in mdoc: nothing in it may be taken for a macro or an escape. */
static void print_mdoc(FILE *out, const char *text)
{
    if (*text == '.' || *text == '\'')
        fputs("\\&", out);
    for (; *text; text++)
        if (*text == '\\')
            fputs("\\e", out);
        else
            fputc(*text, out);
}

void qvl_options_man(FILE *out)
{
    fputs(".Bl -tag -width indent\n", out);
    for (size_t i = 0; i < N_OPTION; i++) {
        const struct option *o = &table[i];
        fputs(".It ", out);
        if (o->letter)
            fprintf(out, "Fl %c , ", o->letter);
        fprintf(out, "Fl -%s%s%s\n", o->name, o->value_name ? " Ar " : "", o->value_name ? o->value_name : "");
        print_mdoc(out, o->help);
        fputs(".\n", out);
        for (const char *alias = o->aliases; alias;) {
            const char *space = strchr(alias, ' ');
            int n = space ? (int)(space - alias) : (int)strlen(alias);
            fprintf(out, "%s-%.*s %s", alias == o->aliases ? "Also\n.Fl " : "", n, alias, space ? ", Fl " : ".\n");
            alias = space ? space + 1 : NULL;
        }
    }
    fputs(".El\n", out);
}

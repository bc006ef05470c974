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

enum value_kind { FLAG, TEXT, OPTIONAL_TEXT, NUMBER, REAL, TIME, CHOICE, TEXT_LIST, ITEM_TEXT, ITEM_IMAGE, ITEM_VIDEO };

enum { R = QVL_VERB_RUN, I = QVL_VERB_INSPECT, T = QVL_VERB_TOKENIZE, B = QVL_VERB_BENCH, Q = QVL_VERB_QUANTIZE, C = QVL_VERB_COMPARE, S = QVL_VERB_SERVE, V = QVL_VERB_VERIFY, X = QVL_VERB_CONVERT, P = QVL_VERB_PULL, L = QVL_VERB_LIST, M = QVL_VERB_RM, D = QVL_VERB_DOCTOR, ALL = 2 * QVL_VERB_VERIFY - 1, MAX_NAME = 32 };

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
    {"model", 'm', NULL, R | I | T | B | S | V | D, false, TEXT, TO(model), "MODEL", 0, 0,
     "a folder as published, a .gguf file, or OWNER/NAME after qvl pull (what was pulled last)",
     "保持发布原样的文件夹、.gguf 文件，或 qvl pull 之后的 所有者/名称（默认为最近下载的模型）"},
    {"mmproj", 0, NULL, R | I | T | B | S | V | D, true, TEXT, TO(mmproj), "FILE", 0, 0,
     "of a .gguf model, the file of its vision tower (mmproj*.gguf beside it)",
     ".gguf 模型的视觉部分文件（默认为旁边的 mmproj*.gguf）"},
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
    {"prompt", 'p', NULL, R | C, true, ITEM_TEXT, 0, "TEXT", 0, 0, "text, even if it looks like a file name",
     "文字，即使它像文件名"},
    {"system", 0, NULL, R, false, TEXT, TO(system), "TEXT", 0, 0, "system message", "系统消息"},
    {"max-tokens", 'n', "predict n-predict", R | C | S, false, NUMBER, TO(max_tokens), "N", 1, 1048576,
     "longest answer in tokens (4096)", "回答的最大 token 数（4096）"},
    {"temp", 0, "temperature", R | S, false, REAL, TO(temperature), "X", 0, 100,
     "temperature; 0 is plain greedy (the model's)", "温度；0 为贪心（默认取模型设置）"},
    {"top-k", 0, NULL, R | S, true, NUMBER, TO(top_k), "N", 0, UINT32_MAX_REAL, "only the N best tokens; 0 = all",
     "只取最好的 N 个 token；0 为全部"},
    {"top-p", 0, NULL, R | S, true, REAL, TO(top_p), "X", 0, 1, "only the best tokens with mass X", "核采样：只取累积概率达到 X 的最好的 token"},
    {"min-p", 0, NULL, R | S, true, REAL, TO(min_p), "X", 0, 1, "only tokens with X times the best one's probability",
     "只取概率不低于最高者 X 倍的 token"},
    {"repetition-penalty", 0, "repeat-penalty", R | S, true, REAL, TO(repetition_penalty), "X", 0.01, 100,
     "divides the logits of what was said", "重复惩罚，作用于已出现的 token"},
    {"presence-penalty", 0, NULL, R | S, true, REAL, TO(presence_penalty), "X", -100, 100,
     "taken once from what the answer holds", "存在惩罚：回答中出现过就扣一次"},
    {"frequency-penalty", 0, NULL, R | S, true, REAL, TO(frequency_penalty), "X", -100, 100,
     "taken for each time the answer holds it", "频率惩罚：回答中每出现一次扣一次"},
    {"seed", 0, NULL, R | S, true, NUMBER, TO(seed), "N", 0, 9007199254740992.0, "of the sampler (random)",
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
    {"max-pixels", 0, NULL, R | C | S, false, NUMBER, TO(max_pixels), "N", 1, 1e15,
     "size of a picture or frame after resizing; smaller is faster",
     "图片或视频帧缩放后的最大像素数；越小越快"},
    {"min-pixels", 0, NULL, R | C | S, true, NUMBER, TO(min_pixels), "N", 1, 1e15, "smallest size after resizing",
     "图片或视频帧缩放后的最小像素数"},
    {"image-max-tokens", 0, NULL, R | C | S, true, NUMBER, TO(max_image_tokens), "N", 1, 1e9,
     "--max-pixels in tokens of 32x32 pixels", "--max-pixels，以 32x32 像素的 token 计"},
    {"image-min-tokens", 0, NULL, R | C | S, true, NUMBER, TO(min_image_tokens), "N", 1, 1e9,
     "--min-pixels in tokens of 32x32 pixels", "--min-pixels，以 32x32 像素的 token 计"},
    {"resize", 0, NULL, R | S, true, CHOICE, TO(resize), "torchvision|pillow|pillow12", 0, 0,
     "whose bytes a resized picture has (torchvision)", "缩放结果与哪个库逐字节一致（torchvision）"},
    {"fps", 0, "video-fps", R | C | S, false, REAL, TO(fps), "X", 1e-6, QVL_MAX_CLIP_FPS,
     "frames a second that the model sees of a clip (2)",
     "模型每秒看视频的多少帧（2）"},
    {"num-frames", 0, "nframes n-frames", R | C | S, true, NUMBER, TO(num_frames), "N", 1, QVL_MAX_CLIP_FRAMES,
     "this many frames of a clip, instead of --fps",
     "视频总共取 N 帧，代替 --fps"},
    {"min-frames", 0, NULL, R | S, true, NUMBER, TO(min_frames), "N", 1, QVL_MAX_CLIP_FRAMES,
     "with --fps: at least N frames (4)",
     "配合 --fps：至少 N 帧（4）"},
    {"max-frames", 0, NULL, R | S, true, NUMBER, TO(max_frames), "N", 1, QVL_MAX_CLIP_FRAMES,
     "with --fps: at most N frames (768)",
     "配合 --fps：至多 N 帧（768）"},
    {"start", 0, "video-start", R | C, true, TIME, TO(start_s), "TIME", 0, QVL_MAX_CLIP_SECONDS,
     "of a clip only from here: seconds, mm:ss or hh:mm:ss",
     "视频从此处开始：秒、mm:ss 或 hh:mm:ss"},
    {"end", 0, "video-end", R | C, true, TIME, TO(end_s), "TIME", 0, QVL_MAX_CLIP_SECONDS,
     "and only to here",
     "视频到此处为止"},
    {"total-pixels", 0, "video-total-pixels", R | C | S, true, NUMBER, TO(total_pixels), "N", 1, 1e15,
     "of all frames of a clip together (25165824)",
     "一段视频所有帧的像素总数（25165824）"},
    {"sample-fps", 0, NULL, R, true, REAL, TO(sample_fps), "X", 1e-6, QVL_MAX_CLIP_FPS,
     "pictures in a row are a clip with X frames a second (2)",
     "连续的图片是一段每秒 X 帧的视频（2）"},
    {"frame-times", 0, NULL, R, true, TEXT, TO(frame_times), "T,T,...", 0, 0,
     "the same, with the time of each picture",
     "同上，逐一给出每张图片的时间"},
    {"video-wrapper", 0, NULL, R | S, true, FLAG, TO(want_video_wrapper), NULL, 0, 0,
     "clips in the prompt as transformers >= 5.10 writes them",
     "提示中的视频按 transformers >= 5.10 的写法"},
    {"no-think-text", 0, NULL, R, true, FLAG, TO(no_think_text), NULL, 0, 0,
     "Thinking models: show the answer only",
     "Thinking 模型：只显示回答"},
    {"json", 0, NULL, R | I | B | Q | C | V | X | P | L | D, false, FLAG, TO(want_json), NULL, 0, 0, "one JSON object on stdout",
     "向标准输出写一个 JSON 对象"},
    {"ids", 0, NULL, R, true, FLAG, TO(want_ids), NULL, 0, 0, "with --json: prompt, prompt_ids, output_ids",
     "配合 --json：prompt、prompt_ids、output_ids"},
    {"logits", 0, NULL, R, true, NUMBER, TO(n_logits), "K", 1, 64, "with --json: the K best [id, logit] of each token",
     "配合 --json：每个 token 最好的 K 个 [id, logit]"},
    {"dry-run", 0, NULL, R | P, true, FLAG, TO(is_dry_run), NULL, 0, 0, "everything up to the model; reads no weights. pull: says what it would fetch",
     "做到模型之前为止，不读权重；pull：只说明将要下载什么"},
    {"dump", 0, NULL, R, true, TEXT, TO(dump), "DIR", 0, 0, "write every intermediate as .npy",
     "把所有中间结果写成 .npy"},
    {"quiet", 'q', NULL, R | B | Q | C | S | V | X | P | M | D, false, FLAG, TO(is_quiet), NULL, 0, 0, "nothing on stderr but errors",
     "stderr 上只有错误"},
    {"progress", 0, NULL, R | B | Q | C | S | V | X | P, true, CHOICE, TO(progress), "auto|bar|plain|none", 0, 0,
     "how progress is shown on stderr (auto)", "stderr 上进度的显示方式（auto）"},
    {"ctx-size", 'c', "ctx max-model-len", R | B | C | S | D, true, NUMBER, TO(n_ctx), "N", 1, UINT32_MAX_REAL, "context in tokens (the model's; serve: at most 32768)",
     "上下文长度（默认取模型设置；serve 至多 32768）"},
    {"threads", 't', NULL, R | B | Q | C | S | V | X | P | D, true, NUMBER, TO(n_thread), "N", 1, 256,
     "number of threads (what affinity and cgroup allow)",
     "线程数（默认按 CPU 亲和性与 cgroup）"},
    {"dtype", 0, NULL, R | B | C | S | V | D, true, CHOICE, TO(dtype), "bf16|f32", 0, 0, "activations and KV cache (bf16)",
     "激活与 KV 缓存的类型（bf16）"},
    {"kv", 0, NULL, R | B | C | S | V, true, CHOICE, TO(kv), "bf16|int8", 0, 0,
     "keys and values: int8 halves their memory, for long contexts (bf16)",
     "键和值的类型：int8 使其内存减半，适合长上下文（bf16）"},
    {"quantize", 0, NULL, R | B | C | S | V | P, false, CHOICE, TO(quantize), "none|q8|q4|balanced", 0, 0,
     "weights in 8 or 4 bits: packed while loading; pull: once, in a folder that is kept",
     "8 位或 4 位的权重：加载时压缩；pull：只压缩一次，保存为文件夹"},
    {"quantize-vision", 0, NULL, R | B | C | S | V, true, FLAG, TO(want_vision_q8), NULL, 0, 0,
     "the vision tower's weights in 8 bits, too, while loading",
     "加载时把视觉塔的权重也压缩为 8 位"},
    {"type", 0, NULL, Q, true, CHOICE, TO(packed_type), "q4|q8|balanced", 0, 0,
     "quantize: 4 bits, 8 bits, or 4 with 8 where they count most (q4)",
     "quantize：4 位、8 位，或 4 位并在最要紧处用 8 位（q4）"},
    {"type", 0, NULL, X, true, CHOICE, TO(convert_type), "f16|q8_0|bf16", 0, 0,
     "convert: what the matrices become (f16)",
     "convert：矩阵写成的类型（f16）"},
    {"mmproj", 0, NULL, X, true, TEXT, TO(mmproj), "FILE", 0, 0,
     "convert: the vision tower's file (mmproj- before the other's name)",
     "convert：视觉塔的文件（默认在另一个文件名前加 mmproj-）"},
    {"isa", 0, NULL, R | B | C | S | V | D, true, TEXT, TO(isa), "LEVEL", 0, 0, "cap of the kernels: scalar, avx2, avx512, …",
     "内核的指令集上限：scalar、avx2、avx512……"},
    {"chunk", 0, NULL, R | B | C | S | V, true, NUMBER, TO(n_chunk), "N", 1, 1048576, "most prompt tokens in one step (288)",
     "每步最多处理的提示 token 数（288）"},
    {"vision-cache", 0, NULL, R | S, true, NUMBER, TO(vision_cache_mb), "MB", 0, 1048576,
     "memory for what the model saw: equal pictures and frames are looked at once; 0 = none (256)",
     "图像特征缓存（MB）：相同的图片和帧只计算一次；0 表示不用（256）"},
    {"vision-cache-dir", 0, NULL, R | S, true, TEXT, TO(vision_cache_dir), "DIR", 0, 0,
     "keep it in this folder, too: a picture of yesterday is not encoded again (none)",
     "同时保存在此文件夹：昨天看过的图片今天不再重新做视觉编码（无）"},
    {"vision-cache-disk", 0, NULL, R | S, true, NUMBER, TO(vision_disk_mb), "MB", 1, 1073741824,
     "room for that on the disk; what was not used for longest goes (4096)",
     "上述文件夹可用的磁盘空间（MB）；最久未用的先删除（4096）"},
    {"media-helper", 0, NULL, R | C | S | V | D, true, TEXT, TO(media_helper), "FILE", 0, 0, "path of qvl-media",
     "qvl-media 的路径"},
    {"media-timeout", 0, NULL, R | C | S | V | D, true, REAL, TO(media_timeout_s), "SECONDS", 0.1, 86400,
     "for one picture or frame (30), and for reading through a clip (300)",
     "一张图片或一帧（30），以及通读一段视频（300）的时限"},
    {"host", 0, NULL, S, true, TEXT, TO(host), "ADDRESS", 0, 0,
     "serve: address to listen on; 0.0.0.0 or :: are all (127.0.0.1)",
     "serve：监听地址；0.0.0.0 或 :: 表示全部（127.0.0.1）"},
    {"port", 0, NULL, S, true, NUMBER, TO(port), "N", 0, 65535, "serve: port to listen on; 0: one that is free (8080)",
     "serve：监听端口；0 表示任选一个空闲端口（8080）"},
    {"api-key", 0, NULL, S, true, TEXT, TO(api_key), "KEY,...", 0, 0,
     "serve: answer only those who know one of these; better in QVL_API_KEY or a file",
     "serve：只回答持有其中一个密钥的人；最好写在 QVL_API_KEY 或文件中"},
    {"api-key-file", 0, NULL, S, true, TEXT, TO(api_key_file), "FILE", 0, 0, "serve: the same, one key a line",
     "serve：同上，每行一个密钥"},
    {"public", 0, NULL, S, true, FLAG, TO(is_public), NULL, 0, 0,
     "serve: other machines may ask, too, without any key",
     "serve：其他机器也可以不用密钥访问"},
    {"allowed-hosts", 0, NULL, S, true, TEXT, TO(allowed_hosts), "NAME,...", 0, 0,
     "serve: names under which it is reached, besides localhost and --host",
     "serve：除 localhost 和 --host 外，可用来访问的主机名"},
    {"cors-origins", 0, "allowed-origins", S, true, TEXT, TO(cors_origins), "ORIGIN,...", 0, 0,
     "serve: origins whose pages may ask (none)",
     "serve：允许哪些来源的网页访问（无）"},
    {"ssl-cert-file", 0, "ssl-certfile", S, true, TEXT, TO(ssl_cert_file), "FILE", 0, 0, "serve: HTTPS with this certificate (PEM)",
     "serve：用此证书（PEM）提供 HTTPS"},
    {"ssl-key-file", 0, "ssl-keyfile", S, true, TEXT, TO(ssl_key_file), "FILE", 0, 0, "serve: and its key",
     "serve：及其私钥"},
    {"served-model-name", 0, "alias", S, true, TEXT, TO(served_model_name), "NAME", 0, 0,
     "serve: what /v1/models calls the model (its folder's name)",
     "serve：/v1/models 中的模型名（默认为文件夹名）"},
    {"strict-model", 0, NULL, S, true, FLAG, TO(is_model_strict), NULL, 0, 0,
     "serve: refuse requests for a model of another name",
     "serve：拒绝指定其他模型名的请求"},
    {"strict", 0, NULL, S, true, FLAG, TO(is_strict), NULL, 0, 0, "serve: refuse requests with unknown fields",
     "serve：拒绝含未知字段的请求"},
    {"media-path", 0, "allowed-local-media-path", S, true, TEXT, TO(media_path), "DIR", 0, 0,
     "serve: file: URLs may name pictures and clips below this folder (none may)",
     "serve：file: URL 可以引用此文件夹下的图片和视频（默认不可）"},
    {"allow-url-fetch", 0, NULL, S, true, OPTIONAL_TEXT, TO(url_fetch), "[=HOST,...]", 0, 0,
     "serve: https: URLs of pictures and clips are fetched, of these hosts or any public one",
     "serve：可获取 https: URL 的图片和视频，限这些主机，或任何公网主机"},
    {"allow-http-fetch", 0, NULL, S, true, FLAG, TO(want_http_fetch), NULL, 0, 0, "serve: http: URLs, too",
     "serve：http: URL 也可以"},
    {"parallel", 0, "max-num-seqs", S, true, NUMBER, TO(n_parallel), "N", 1, 512, "serve: requests worked on at once (16)",
     "serve：同时处理的请求数（16）"},
    {"queue", 0, NULL, S, true, NUMBER, TO(n_queue), "N", 1, 65536,
     "serve: requests that may wait beside them, of one client three quarters (128)",
     "serve：此外可以等待的请求数，单个客户端至多占四分之三（128）"},
    {"kv-cache", 0, NULL, S, true, NUMBER, TO(kv_cache_mb), "MB", 0, 16777216,
     "serve: memory for keys and values; 0 = no bound (half of what is free, one whole context at least)",
     "serve：键和值的内存（MB）；0 为不限（默认空闲内存的一半，至少够一个完整上下文）"},
    {"prefix-cache", 0, NULL, S, true, NUMBER, TO(prefix_cache_mb), "MB", 0, 16777216,
     "serve: of that, for beginnings that prompts share; 0 = none (half of it, at most 2048)",
     "serve：其中用于共享提示前缀的部分（MB）；0 为不用（默认一半，至多 2048）"},
    {"max-body", 0, NULL, S, true, NUMBER, TO(max_body_mb), "MB", 1, 65536, "serve: longest request (64, as a form 200)",
     "serve：请求的最大长度（MB）（64，表单 200）"},
    {"timeout", 0, NULL, S, true, REAL, TO(timeout_s), "SECONDS", 0.001, 1e9, "serve: for one request (3600)",
     "serve：单个请求的时限（3600）"},
    {"drain", 0, NULL, S, true, REAL, TO(drain_s), "SECONDS", 0.001, 1e9,
     "serve: after SIGTERM or Ctrl-C, to finish what is under way (30)",
     "serve：收到 SIGTERM 或 Ctrl-C 后完成现有请求的时限（30）"},
    {"log-file", 0, NULL, S, true, TEXT, TO(log_file), "FILE", 0, 0, "serve: where log lines go; SIGHUP reopens it (stderr)",
     "serve：日志文件；SIGHUP 使其重新打开（stderr）"},
    {"log-prompts", 0, NULL, S, true, FLAG, TO(want_prompt_log), NULL, 0, 0, "serve: prompts and answers in the log, too",
     "serve：日志中也记录提示和回答"},
    {"check", 0, NULL, I | P, true, FLAG, TO(want_check), NULL, 0, 0,
     "inspect: read every weight once; each must be a finite number, packed ones must have their checksum; pull: also what is there already",
     "inspect：读一遍全部权重，检查每个都是有限的数，压缩过的与校验和一致；pull：已有的文件也检查"},
    {"tests", 0, NULL, B, true, TEXT, TO(tests), "NAME[:N],...", 0, 0,
     "bench: of peaks, load, vision, prefill, decode, first-token",
     "bench：从 peaks、load、vision、prefill、decode、first-token 中选择"},
    {"full", 0, NULL, B | D, true, FLAG, TO(is_full), NULL, 0, 0, "bench: all usual sizes; takes long. doctor: read the whole model",
     "bench：测试全部常用大小，耗时较长。doctor：读遍整个模型"},
    {"runs", 0, NULL, B, true, NUMBER, TO(n_run), "N", 1, 1000, "bench: of each test (3 or more, for 5 seconds)",
     "bench：每项测试的次数（至少 3 次，约 5 秒）"},
    {"csv", 0, NULL, B, true, FLAG, TO(want_csv), NULL, 0, 0, "bench: comma-separated values on stdout",
     "bench：向标准输出写 CSV"},
    {"jsonl", 0, NULL, T, true, FLAG, TO(want_jsonl), NULL, 0, 0,
     "tokenize: a JSON string a line on stdin, a JSON array a line on stdout",
     "tokenize：标准输入每行一个 JSON 字符串，标准输出每行一个 JSON 数组"},
    {"special", 0, NULL, T, true, FLAG, TO(want_special), NULL, 0, 0, "tokenize: recognise special tokens",
     "tokenize：识别特殊 token"},
    {"source", 0, NULL, P, true, CHOICE, TO(source), "auto|hf|modelscope|mirror", 0, 0,
     "pull: from Hugging Face, ModelScope or hf-mirror.com (whichever answers first)",
     "pull：从 Hugging Face、ModelScope 或 hf-mirror.com 下载（默认选最先回应的）"},
    {"local-dir", 0, "local_dir", P, true, TEXT, TO(local_dir), "DIR", 0, 0, "pull: plain files in this folder, instead of the cache",
     "pull：把文件直接放进此文件夹，不放入缓存"},
    {"file", 0, NULL, P, true, TEXT, TO(gguf), "NAME", 0, 0, "pull: which GGUF file, by a part of its name: Q4_K_M (Q8_0)",
     "pull：取哪个 GGUF 文件，写名称的一部分即可，如 Q4_K_M（Q8_0）"},
    {"delete-source", 0, NULL, P, true, FLAG, TO(want_source_deleted), NULL, 0, 0,
     "pull --quantize: keep the packed folder only; bf16 weights are packed while they come, and never lie on the disk whole",
     "pull --quantize：只保留压缩后的文件夹；bf16 权重边下载边压缩，磁盘上不存放完整的原文件"},
    {"connections", 0, NULL, P, true, NUMBER, TO(n_connection), "N", 1, QVL_MAX_HUB_CONNECTIONS, "pull: at a time (4)",
     "pull：同时的连接数（4）"},
    {"yes", 'y', NULL, M, true, FLAG, TO(want_yes), NULL, 0, 0, "rm: do not ask", "rm：不再询问"},
    {"lang", 0, NULL, ALL, true, CHOICE, TO(language), "en|zh", 0, 0,
     "language of messages (the locale's)",
     "消息的语言（默认按 locale）"},
    {"help", 'h', NULL, ALL, false, FLAG, TO(want_help), NULL, 0, 0, "this; `--help all`: every option",
     "本帮助；`--help all` 列出全部选项"},
    {"version", 0, NULL, ALL, false, FLAG, TO(want_version), NULL, 0, 0, "version of qvl", "版本"},
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

/* An option that may go without a value: NULL it is off, "" it is on. */
static const char *read_optional(const char *text)
{
    static const char *const off[] = {"0", "false", "no", "off"}, *const on[] = {"1", "true", "yes", "on"};
    for (size_t i = 0; text && i < 4; i++) {
        if (strcmp(text, off[i]) == 0)
            return NULL;
        if (strcmp(text, on[i]) == 0)
            return "";
    }
    return text ? text : "";
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
    case OPTIONAL_TEXT:
        *(const char **)field = read_optional(text);
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

/* Of the options of this name the one that the verb has; any where it has none. */
static const struct option *of_verb(const struct option *o, enum qvl_verb verb)
{
    for (size_t i = 0; o && i < N_OPTION; i++)
        if (strcmp(table[i].name, o->name) == 0 && (table[i].verbs & (int)verb))
            return &table[i];
    return o;
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
        const struct option *o = of_verb(find_option(arg[i], &value), verb);
        if (!o || !(o->verbs & (int)verb))
            return qvl_fail(err, QVL_ERR_ARGUMENT, "%.60s: no such option here (qvl --help)", arg[i]);
        if (o->kind == FLAG && value)
            return qvl_fail(err, QVL_ERR_ARGUMENT, "%.60s: --%s takes no value", arg[i], o->name);
        if (o->kind != FLAG && o->kind != OPTIONAL_TEXT && !value) {
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
    if (o->want_http_fetch && !o->url_fetch)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "--allow-http-fetch goes with --allow-url-fetch");
    if (o->want_source_deleted && (!o->quantize || o->local_dir))
        return qvl_fail(err, QVL_ERR_ARGUMENT, "--delete-source goes with --quantize, and not with --local-dir");
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

void qvl_options_forget(struct qvl_options *options, const char *name)
{
    const struct option *o = find_long(name, strlen(name));
    if (o)
        options->is_given[o - table] = false;
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

/* What one does with it first stands on a screen; the others are named there. */
static const struct usage {
    int verb;
    bool is_rare;
    const char *en, *zh;
} usages[] = {
    {R, false, "qvl [run] [-m MODEL] [PICTURE|CLIP…] [OPTIONS] \"PROMPT\"   in any order",
     "qvl [run] [-m 模型] [图片|视频…] [选项] \"提示\"   顺序任意"},
    {R, false, "qvl chat [-m MODEL] [PICTURE|CLIP…]                 in the terminal; also qvl alone there",
     "qvl chat [-m 模型] [图片|视频…]           对话；在终端中直接运行 qvl 也一样"},
    {S, false, "qvl serve [-m MODEL] [--port N] [--host ADDRESS]    a web page, and OpenAI's API over HTTP",
     "qvl serve [-m 模型] [--port N] [--host 地址] 网页，以及 HTTP 上的 OpenAI API"},
    {P, false, "qvl pull [hf:|ms:][OWNER/NAME[@REV]] [--quantize TYPE] a model from Hugging Face or ModelScope",
     "qvl pull [hf:|ms:][所有者/名称[@版本]] [--quantize 类型] 从 Hugging Face 或 ModelScope 下载模型"},
    {L, true, "qvl list                                            models that are here; also qvl ls",
     "qvl list                                  本机已有的模型；也可写 qvl ls"},
    {M, true, "qvl rm OWNER/NAME… [--yes]                          removes them", "qvl rm 所有者/名称… [--yes]               删除模型"},
    {Q, false, "qvl quantize MODEL OUT [--type q4|q8|balanced]      a smaller, faster copy of a model folder",
     "qvl quantize 模型 输出 [--type q4|q8|balanced] 写一份更小、更快的模型文件夹"},
    {X, true, "qvl convert MODEL OUT.gguf [--type f16|q8_0|bf16]   the model for llama.cpp, in two files",
     "qvl convert 模型 输出.gguf [--type f16|q8_0|bf16] 写成 llama.cpp 用的两个文件"},
    {D, false, "qvl doctor [MODEL] [--full] [--json]                machine, model, helper: what works, what to do",
     "qvl doctor [模型] [--full] [--json]       检查机器、模型和解码程序，并给出建议"},
    {I, true, "qvl inspect [MODEL] [--json] [--check]              architecture and sizes; --check: weights",
     "qvl inspect [模型] [--json] [--check]     结构与大小；--check 检查权重"},
    {V, true, "qvl verify MODEL REF                                the same numbers as Hugging Face transformers?",
     "qvl verify 模型 参考文件                  与 Hugging Face transformers 的数值是否一致"},
    {C, true, "qvl compare A [B] [--quantize TYPE] FILE…           how far B's expectations are from A's",
     "qvl compare A [B] [--quantize 类型] 文件…   B 的预测与 A 相差多少"},
    {B, true, "qvl bench [-m MODEL] [--full] [--json|--csv]        speed, beside what this machine can do",
     "qvl bench [-m 模型] [--full] [--json|--csv] 速度，以及它占本机峰值的比例"},
    {T, true, "qvl tokenize [-m MODEL] TEXT…                       token ids", "qvl tokenize [-m 模型] 文字…              token 编号"},
};

static const char more_en[] =
    "       qvl COMMAND --help, and qvl help all                also list rm convert inspect verify\n"
    "                                                           compare bench tokenize\n";
static const char more_zh[] = "      qvl 命令 --help、qvl help all             还有 list rm convert inspect verify compare bench tokenize\n";

static const char streams_en[] =
    "The answer goes to stdout, everything else to stderr. PICTURE, CLIP or PROMPT may be - (stdin).\n"
    "Each option has a twin in the environment: --max-pixels is QVL_MAX_PIXELS.\n";
static const char streams_zh[] =
    "回答写到标准输出，其余写到 stderr。图片、视频或提示可以是 -（标准输入）。\n"
    "每个选项都有对应的环境变量：--max-pixels 即 QVL_MAX_PIXELS。\n";

static const char exits_en[] =
    "Exit codes: 0 done, 1 failure, 2 usage, 3 model, 4 picture or clip, 5 does not fit (context,\n"
    "memory), 70 internal fault, 130 cancelled.\n";
static const char exits_zh[] =
    "退出码：0 成功，1 失败，2 用法，3 模型，4 图片或视频，"
    "5 放不下（上下文、内存），70 内部错误，130 取消。\n";

static const char *blank_before_value(const struct option *o)
{
    return o->value_name && o->kind != OPTIONAL_TEXT ? " " : "";
}

static void put_usage(FILE *out, int verbs, bool want_all)
{
    bool zh = qvl_language() == QVL_LANGUAGE_ZH;
    const char *before = zh ? "用法：" : "usage: ";
    for (size_t i = 0; i < sizeof usages / sizeof *usages; i++) {
        if (!(usages[i].verb & verbs) || (usages[i].is_rare && !want_all))
            continue;
        fprintf(out, "%s%s\n", before, zh ? usages[i].zh : usages[i].en);
        before = zh ? "      " : "       ";
    }
    if (!want_all)
        fputs(zh ? more_zh : more_en, out);
}

static void put_option(FILE *out, const struct option *o)
{
    bool zh = qvl_language() == QVL_LANGUAGE_ZH;
    char left[64], letter[8] = "    ";
    if (o->letter)
        snprintf(letter, sizeof letter, "-%c, ", o->letter);
    int n = snprintf(left, sizeof left, "%s--%s%s%s", letter, o->name, blank_before_value(o),
                     o->value_name ? o->value_name : "");
    if (n < 27)
        fprintf(out, "  %-27s %s\n", left, zh ? o->help_zh : o->help);
    else
        fprintf(out, "  %s\n  %-27s %s\n", left, "", zh ? o->help_zh : o->help);
}

void qvl_options_help(FILE *out, int verbs, bool want_all)
{
    bool zh = qvl_language() == QVL_LANGUAGE_ZH;
    put_usage(out, verbs, want_all);
    if (verbs & R)
        fprintf(out, "\n%s", zh ? streams_zh : streams_en);
    fputs("\n", out);
    for (size_t i = 0; i < N_OPTION; i++)
        if ((table[i].verbs & verbs) && (!table[i].is_rare || want_all))
            put_option(out, &table[i]);
    fprintf(out, "\n%s", zh ? exits_zh : exits_en);
}

/* ---- completion ---------------------------------------------------------------------------------- */

/* FILE, DIR or FOLDER in its name. */
static bool takes_file(const struct option *o)
{
    return o->kind != CHOICE && o->value_name &&
           (strstr(o->value_name, "FILE") || strstr(o->value_name, "DIR") || strstr(o->value_name, "FOLDER"));
}

/* One whose value may be left out is written in one word with it, so that nothing follows. */
bool qvl_options_at(size_t i, struct qvl_option_form *out)
{
    if (i >= N_OPTION)
        return false;
    const struct option *o = &table[i];
    *out = (struct qvl_option_form){.name = o->name, .aliases = o->aliases, .letter = o->letter, .verbs = o->verbs,
                                    .words = o->value_name, .help = o->help};
    out->value = o->kind == FLAG || o->kind == OPTIONAL_TEXT ? QVL_VALUE_NONE
                 : o->kind == CHOICE                         ? QVL_VALUE_CHOICE
                 : takes_file(o)                             ? QVL_VALUE_FILE
                                                             : QVL_VALUE_OTHER;
    return true;
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
        const char *before = o->kind == OPTIONAL_TEXT ? " Ns Ar " : " Ar ";
        fprintf(out, "Fl -%s%s%s\n", o->name, o->value_name ? before : "", o->value_name ? o->value_name : "");
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

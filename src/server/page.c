/* The web page: files that are part of the program, so that no path leads to a file system. Its policy lets the
 * page load nothing from elsewhere and run nothing but its own scripts; what it shows of the model's HTML lives in
 * a frame of its own (/preview.html) that may style, but neither load nor send. */
#include "server/page.h"

#include <string.h>
#include <strings.h>

#include "server/app.h"
#include "server/reply.h"

#define PAGE_POLICY                                                                                                \
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data: blob:; "       \
    "media-src 'self' blob:; frame-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "          \
    "frame-ancestors 'none'"
#define PREVIEW_POLICY                                                                                             \
    "sandbox allow-scripts; default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; img-src data:; "     \
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"

static const struct qvl_page_file *find_file(const char *path)
{
    if (strcmp(path, "/") == 0)
        path = "/index.html";
    for (size_t i = 0; i < qvl_n_page_file; i++)
        if (strcmp(qvl_page_files[i].path, path) == 0)
            return &qvl_page_files[i];
    return NULL;
}

/* Whether the list of codings that the client takes names gzip, and not with a weight of nothing. */
static bool takes_gzip(const struct qvl_exchange *x)
{
    const char *list = qvl_exchange_header(x, "Accept-Encoding");
    const char *gzip = list ? strcasestr(list, "gzip") : NULL;
    if (!gzip)
        return false;
    const char *at = gzip + 4 + strspn(gzip + 4, " \t");
    if (*at != ';')
        return true;
    at += 1 + strspn(at + 1, " \t");
    if (strncasecmp(at, "q=", 2) != 0)
        return true;
    at += 2 + strspn(at + 2, "0.");
    return *at >= '1' && *at <= '9';
}

static void reply_file(struct qvl_exchange *x, const struct qvl_page_file *file)
{
    const char *known = qvl_exchange_header(x, "If-None-Match");
    bool is_hashed = strncmp(file->path, "/assets/", 8) == 0; /* its name changes with its content */
    bool is_preview = strcmp(file->path, "/preview.html") == 0;
    qvl_exchange_add_header(x, "ETag", file->tag);
    qvl_exchange_add_header(x, "Cache-Control", is_hashed ? "public, max-age=31536000, immutable" : "no-cache");
    qvl_exchange_add_header(x, "Content-Security-Policy", is_preview ? PREVIEW_POLICY : PAGE_POLICY);
    if (strcmp(file->path, "/preview.js") == 0) /* its page is a sandbox, so of another origin */
        qvl_exchange_add_header(x, "Cross-Origin-Resource-Policy", "cross-origin");
    if (file->gz)
        qvl_exchange_add_header(x, "Vary", "Accept-Encoding");
    if (known && strcmp(known, file->tag) == 0) {
        qvl_exchange_reply(x, 304, file->media_type, "", 0);
    } else if (file->gz && takes_gzip(x)) {
        qvl_exchange_add_header(x, "Content-Encoding", "gzip");
        qvl_exchange_reply(x, 200, file->media_type, file->gz, (size_t)(file->gz_end - file->gz));
    } else {
        qvl_exchange_reply(x, 200, file->media_type, file->raw, (size_t)(file->raw_end - file->raw));
    }
}

/* For whoever opens the address in a browser while the program has no page in it. */
static void reply_without_page(struct qvl_exchange *x)
{
    static const char page[] =
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>qvl</title></head><body>\n"
        "<h1>qvl</h1>\n"
        "<p>This is <code>qvl serve</code>: Qwen3-VL, a model that reads pictures, clips and text, on this "
        "machine. Programs talk to it as to OpenAI's API; the base URL is this address followed by "
        "<code>/v1</code>.</p>\n"
        "<p>This program was built without its web page. To have it, install Node.js 20 or newer and npm, then run "
        "<code>make page all</code> and start the server again.</p>\n"
        "<p lang=\"zh\">这是 <code>qvl serve</code>：在本机运行的 Qwen3-VL，可以理解图片、视频和文字。"
        "程序可以像使用 OpenAI 的 API 一样使用它；base URL 是本地址加上 <code>/v1</code>。\n"
        "这个程序编译时没有带网页。需要网页时，请安装 Node.js 20 或更新版本和 npm，运行 <code>make page "
        "all</code>，"
        "然后重新启动服务器。</p>\n"
        "</body></html>\n";
    qvl_exchange_add_header(x, "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'");
    qvl_exchange_reply(x, 200, "text/html; charset=utf-8", page, sizeof page - 1);
}

static void answer_page(void *user, struct qvl_exchange *x)
{
    const char *path = qvl_exchange_request(x)->path;
    const struct qvl_page_file *file = find_file(path);
    (void)user;
    if (file)
        reply_file(x, file);
    else if (strcmp(path, "/") == 0)
        reply_without_page(x);
    else
        qvl_reply_error(x, 404, "not_found", NULL, "there is no such file");
}

const struct qvl_route qvl_page_routes[] = {
    {"GET", "/", answer_page, .lane = QVL_LANE_NOW, .is_public = true},
    {"GET", "/preview.html", answer_page, .lane = QVL_LANE_NOW, .is_public = true},
    {"GET", "/preview.js", answer_page, .lane = QVL_LANE_NOW, .is_public = true},
    {"GET", "/THIRD-PARTY.txt", answer_page, .lane = QVL_LANE_NOW, .is_public = true},
    {"GET", "/assets/*", answer_page, .lane = QVL_LANE_NOW, .is_public = true},
};
const size_t qvl_n_page_route = sizeof qvl_page_routes / sizeof *qvl_page_routes;

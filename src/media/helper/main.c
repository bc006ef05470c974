/* qvl-media: the process that decodes pictures and clips, and may do nothing else.
 *
 * Started by libqvl (media/process.c) with an empty environment and the socket as descriptor 3; with "--av" it
 * also loads the module, for the rarer formats of pictures, with "--clip" for one clip; that must happen before the
 * lock. Then it locks itself in, says so, and serves requests until the other end hangs up. No byte of input is
 * read before the lock. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/os.h"
#include "media/helper/sandbox.h"
#include "media/helper/serve.h"

enum { EXIT_HANG_UP = 0, EXIT_USAGE = 2, EXIT_PROTOCOL = 3 };

/* A symbol of the module beside this program; NULL where it or one of its libraries is missing. It stays loaded. */
static void *module_symbol(const char *name)
{
    char dir[4096], path[sizeof dir + 64];
    qvl_os_program_dir(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/%s", dir, QVL_AV_MODULE);
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    return module ? dlsym(module, name) : NULL;
}

/* False: what was asked for is not there. */
static bool load_module(struct qvl_media_server *server, bool want_av, bool want_clip)
{
    if (want_av && (server->av = module_symbol(QVL_AV_SYMBOL)) && !server->av->prepare())
        return false;
    if (want_clip) {
        server->door = module_symbol(QVL_CLIP_SYMBOL);
        tzset(); /* reads a file, once: the dates in a clip's header must not make it do so later */
    }
    return (!want_av || server->av) && (!want_clip || server->door);
}

static int serve(struct qvl_media_server *server)
{
    for (;;) {
        struct qvl_media_request request = {0};
        struct qvl_media_reply reply;
        int fds[QVL_MEDIA_MAX_FD];
        size_t n_fd = 0;
        ptrdiff_t n = qvl_media_receive(QVL_MEDIA_SOCKET, &request, sizeof request, fds, QVL_MEDIA_MAX_FD, &n_fd);
        if (n <= 0)
            return EXIT_HANG_UP;
        if (!qvl_serve_request(server, &request, (size_t)n, fds, n_fd, &reply) ||
            !qvl_media_send(QVL_MEDIA_SOCKET, &reply, sizeof reply, NULL, 0))
            return EXIT_PROTOCOL;
    }
}

int main(int argc, char **argv)
{
    bool want_av = argc == 2 && strcmp(argv[1], "--av") == 0;
    bool want_clip = argc == 2 && strcmp(argv[1], "--clip") == 0;
    struct qvl_media_server server = {0};
    if (argc > 1 && !want_av && !want_clip)
        return EXIT_USAGE;
    struct qvl_media_reply hello = {.magic = QVL_MEDIA_MAGIC, .verb = QVL_MEDIA_HELLO};
    if (!load_module(&server, want_av, want_clip))
        hello.fault = QVL_FAULT_NO_MODULE;
    if (!qvl_sandbox_enter(want_clip ? QVL_ROOM_CLIP : QVL_ROOM_PICTURE))
        hello.fault = QVL_FAULT_NO_SANDBOX;
    bool is_heard = qvl_media_send(QVL_MEDIA_SOCKET, &hello, sizeof hello, NULL, 0);
    /* exit handlers may need what is now forbidden */
    _exit(is_heard && !hello.fault ? serve(&server) : EXIT_PROTOCOL);
}

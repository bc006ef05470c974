/* qvl-media: the process that decodes pictures, and may do nothing else.
 *
 * Started by libqvl (media/process.c) with an empty environment and the socket as descriptor 3; with "--av" it
 * also loads the module for GIF, BMP and TIFF, which must happen before the lock. Then it locks itself in, says
 * so, and serves requests until the other end hangs up. No byte of input is read before the lock. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "media/helper/sandbox.h"
#include "media/helper/serve.h"

enum { EXIT_HANG_UP = 0, EXIT_USAGE = 2, EXIT_PROTOCOL = 3 };

/* The module beside this program; NULL where it or one of its libraries is missing. It stays loaded. */
static qvl_av_decode_fn *load_av(void)
{
    char dir[4096], path[sizeof dir + 64];
    qvl_av_decode_fn *decode = NULL;
    qvl_os_program_dir(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/%s", dir, QVL_AV_MODULE);
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    void *symbol = module ? dlsym(module, QVL_AV_SYMBOL) : NULL;
    if (symbol)
        memcpy(&decode, &symbol, sizeof decode); /* POSIX: a data pointer holds a function's address */
    return decode;
}

static int serve(qvl_av_decode_fn *av)
{
    for (;;) {
        struct qvl_media_request request = {0};
        struct qvl_media_reply reply;
        int fds[QVL_MEDIA_MAX_FD];
        size_t n_fd = 0;
        ptrdiff_t n = qvl_media_receive(QVL_MEDIA_SOCKET, &request, sizeof request, fds, QVL_MEDIA_MAX_FD, &n_fd);
        if (n <= 0)
            return EXIT_HANG_UP;
        if (!qvl_serve_request(&request, (size_t)n, fds, n_fd, av, &reply) ||
            !qvl_media_send(QVL_MEDIA_SOCKET, &reply, sizeof reply, NULL, 0))
            return EXIT_PROTOCOL;
    }
}

int main(int argc, char **argv)
{
    bool want_av = argc == 2 && strcmp(argv[1], "--av") == 0;
    if (argc > 1 && !want_av)
        return EXIT_USAGE;
    qvl_av_decode_fn *av = want_av ? load_av() : NULL;
    struct qvl_media_reply hello = {.magic = QVL_MEDIA_MAGIC, .verb = QVL_MEDIA_HELLO};
    if (want_av && !av)
        hello.fault = QVL_FAULT_NO_MODULE;
    if (!qvl_sandbox_enter())
        hello.fault = QVL_FAULT_NO_SANDBOX;
    bool is_heard = qvl_media_send(QVL_MEDIA_SOCKET, &hello, sizeof hello, NULL, 0);
    _exit(is_heard && !hello.fault ? serve(av) : EXIT_PROTOCOL); /* exit handlers may need what is now forbidden */
}

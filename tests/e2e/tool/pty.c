/* Runs a program in a terminal of its own and types what a script says.
 *
 *     pty SCRIPT PROGRAM ARGUMENT…
 *
 * The script's lines: `expect TEXT` waits until TEXT comes out, after what was expected before; `send TEXT` types;
 * `signal NUMBER` and `size COLUMNS ROWS` do that. \r \n \t \e \\ and \xNN stand for those bytes. Everything that
 * comes out goes to stdout; pty's exit code is the program's (128 + signal), or 99 when something expected did not
 * come, or the program did not end, within a minute. */
#include <errno.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATIENCE_S = 60, N_OUTPUT = 1 << 22, N_LINE = 4096, FAILED = 99 };

static char output[N_OUTPUT]; /* [n_output) so far; expected up to i_output */
static size_t n_output, i_output;
static int terminal;
static pid_t program;

/* False when the program has closed its side. */
static bool read_some(void)
{
    struct pollfd wanted = {.fd = terminal, .events = POLLIN};
    if (poll(&wanted, 1, PATIENCE_S * 1000) == 0) {
        fprintf(stderr, "pty: nothing comes out any more\n");
        kill(program, SIGKILL);
        exit(FAILED);
    }
    char piece[4096];
    ssize_t n = read(terminal, piece, sizeof piece);
    if (n <= 0)
        return n < 0 && errno == EINTR;
    fwrite(piece, 1, (size_t)n, stdout);
    fflush(stdout);
    if ((size_t)n > N_OUTPUT - n_output)
        exit(FAILED);
    memcpy(output + n_output, piece, (size_t)n);
    n_output += (size_t)n;
    return true;
}

static size_t decode(const char *text, char *out)
{
    size_t n = 0;
    for (; *text; text++) {
        if (*text != '\\') {
            out[n++] = *text;
            continue;
        }
        text++;
        if (*text == 'x') {
            char hex[3] = {text[1], text[2], 0};
            out[n++] = (char)strtol(hex, NULL, 16);
            text += 2;
        } else {
            static const char letters[] = "rnte", bytes[] = "\r\n\t\033";
            const char *letter = strchr(letters, *text);
            out[n++] = letter ? bytes[letter - letters] : *text;
        }
    }
    return n;
}

static void expect(const char *text, size_t n)
{
    for (;;) {
        char *found = memmem(output + i_output, n_output - i_output, text, n);
        if (found) {
            i_output = (size_t)(found - output) + n;
            return;
        }
        if (!read_some()) {
            fprintf(stderr, "pty: \"%.*s\" did not come\n", (int)n, text);
            kill(program, SIGKILL);
            exit(FAILED);
        }
    }
}

static void obey(const char *line)
{
    char text[N_LINE];
    const char *rest = strchr(line, ' ');
    size_t n = rest ? decode(rest + 1, text) : 0;
    int a = 0, b = 0;
    if (strncmp(line, "expect ", 7) == 0) {
        expect(text, n);
    } else if (strncmp(line, "send ", 5) == 0) {
        if (write(terminal, text, n) != (ssize_t)n)
            exit(FAILED);
    } else if (sscanf(line, "signal %d", &a) == 1) {
        kill(program, a);
    } else if (sscanf(line, "size %d %d", &a, &b) == 2) {
        struct winsize size = {.ws_col = (unsigned short)a, .ws_row = (unsigned short)b};
        ioctl(terminal, TIOCSWINSZ, &size);
    } else if (line[0]) {
        fprintf(stderr, "pty: what is \"%s\"?\n", line);
        exit(FAILED);
    }
}

int main(int argc, char **argv)
{
    char line[N_LINE];
    int status = 0;
    struct winsize size = {.ws_col = 80, .ws_row = 24};
    FILE *script = argc > 2 ? fopen(argv[1], "r") : NULL;
    if (!script)
        return FAILED;
    program = forkpty(&terminal, NULL, NULL, &size);
    if (program < 0)
        return FAILED;
    if (program == 0) {
        execv(argv[2], argv + 2);
        _exit(127);
    }
    while (fgets(line, sizeof line, script)) {
        line[strcspn(line, "\n")] = 0;
        obey(line);
    }
    fclose(script);
    while (read_some())
        continue;
    if (waitpid(program, &status, 0) != program)
        return FAILED;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

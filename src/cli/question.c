#include "cli/question.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool qvl_question_has_person(void)
{
    return isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
}

/* Not through stdio, which would keep what a chat is to read next. */
bool qvl_question_is_yes(void)
{
    char line[256];
    size_t n = 0;
    fflush(stderr);
    for (;;) {
        char byte = 0;
        ssize_t got = read(STDIN_FILENO, &byte, 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            fputs("\n", stderr);
        if (got <= 0 || byte == '\n')
            break;
        if (n + 1 < sizeof line)
            line[n++] = byte;
    }
    line[n] = 0;
    const char *answer = line + strspn(line, " \t");
    return answer[0] == 'y' || answer[0] == 'Y' || strncmp(answer, "是", strlen("是")) == 0;
}

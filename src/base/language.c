#include "base/language.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct message {
    const char *english, *chinese;
};

static const struct message messages[] = {
#include "base/messages_zh.h"
};

static atomic_int current = QVL_LANGUAGE_EN;

void qvl_set_language(enum qvl_language language)
{
    atomic_store(&current, (int)language);
}

enum qvl_language qvl_language(void)
{
    return (enum qvl_language)atomic_load_explicit(&current, memory_order_relaxed);
}

static int compare(const void *english, const void *message)
{
    return strcmp(english, ((const struct message *)message)->english);
}

const char *qvl_text(const char *english)
{
    if (qvl_language() != QVL_LANGUAGE_ZH)
        return english;
    const struct message *m = bsearch(english, messages, sizeof messages / sizeof *messages, sizeof *messages,
                                      compare);
    return m ? m->chinese : english;
}

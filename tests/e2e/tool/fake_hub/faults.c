#include "faults.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rule {
    char what[32], where[16], path[256], method[8];
    const char *to;
    long long n;
    int after_s, times; /* times -1: always */
    struct rule *next;
};

/* clang-format off */
static const char *const fault_name[] = {
#define X(name, does) #name,
    FAULT_LIST(X)
#undef X
};
/* clang-format on */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct rule *rules;

struct rule *rule_new(void)
{
    struct rule *rule = calloc(1, sizeof *rule);
    *rule = (struct rule){.where = "any", .to = "", .after_s = -1, .times = -1};
    return rule;
}

bool rule_set(struct rule *rule, const char *key, const char *value)
{
    if (strcmp(key, "what") == 0)
        snprintf(rule->what, sizeof rule->what, "%s", value);
    else if (strcmp(key, "where") == 0)
        snprintf(rule->where, sizeof rule->where, "%s", value);
    else if (strcmp(key, "path") == 0)
        snprintf(rule->path, sizeof rule->path, "%s", value);
    else if (strcmp(key, "method") == 0)
        snprintf(rule->method, sizeof rule->method, "%s", value);
    else if (strcmp(key, "to") == 0)
        rule->to = strdup(value);
    else if (strcmp(key, "n") == 0)
        rule->n = atoll(value);
    else if (strcmp(key, "after") == 0)
        rule->after_s = atoi(value);
    else if (strcmp(key, "times") == 0)
        rule->times = atoi(value);
    else
        return false;
    return true;
}

static int find_fault(const char *name)
{
    for (int i = 0; i < N_FAULT; i++)
        if (strcmp(fault_name[i], name) == 0)
            return i;
    return -1;
}

bool rule_add(struct rule *rule)
{
    if (find_fault(rule->what) < 0)
        return false;
    pthread_mutex_lock(&lock);
    rule->next = rules;
    rules = rule;
    pthread_mutex_unlock(&lock);
    return true;
}

void rules_clear(void)
{
    pthread_mutex_lock(&lock);
    rules = NULL; /* replies under way may still hold their text */
    pthread_mutex_unlock(&lock);
}

void faults_take(struct faults *out, const char *where, const char *path, const char *method)
{
    *out = (struct faults){.after_s = -1};
    pthread_mutex_lock(&lock);
    for (struct rule *rule = rules; rule; rule = rule->next) {
        bool holds = rule->times != 0 && (strcmp(rule->where, "any") == 0 || strcmp(rule->where, where) == 0) &&
                     (!*rule->path || strcmp(rule->path, path) == 0) &&
                     (!*rule->method || strcmp(rule->method, method) == 0);
        int fault = find_fault(rule->what);
        if (!holds || out->has[fault])
            continue;
        if (rule->times > 0)
            rule->times--;
        out->has[fault] = true;
        out->n[fault] = rule->n;
        out->to[fault] = rule->to;
        if (fault == FAULT_status)
            out->after_s = rule->after_s;
    }
    pthread_mutex_unlock(&lock);
}

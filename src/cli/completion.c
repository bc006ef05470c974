/* Enters: the verbs and the table of options. Leaves: a script for one of three shells.
 *
 * Each shell gets, for a word that begins with a dash, the options that the verb knows; for the value of an option
 * its words, or files; for the first word the verbs, and files, as a picture or a clip may stand there, too; else
 * files. What begins with no verb is `run`. */
#include "cli/completion.h"

#include <string.h>

#include "cli/options.h"
#include "cli/verbs.h"

/* The words of a choice, "a|b|c", with blanks between. */
static void put_words(FILE *out, const char *words)
{
    for (; *words; words++)
        fputc(*words == '|' ? ' ' : *words, out);
}

static void put_verbs(FILE *out)
{
    const char *name;
    for (size_t i = 0; (name = qvl_verb_name(i, NULL)); i++)
        fprintf(out, "%s ", name);
    fputs("help", out);
}

/* Between single quotes of any of the shells; what zsh takes for its own is escaped. */
static void put_help(FILE *out, const char *help, bool is_zsh)
{
    for (; *help; help++) {
        if (*help == '\'')
            fputs("'\\'", out);
        else if (is_zsh && strchr("[]:\\", *help))
            fputc('\\', out);
        fputc(*help, out);
    }
}

/* ---- bash ------------------------------------------------------------------------------------------ */

static void put_bash_value(FILE *out, const struct qvl_option_form *o)
{
    fprintf(out, "    --%s", o->name);
    if (o->letter)
        fprintf(out, " | -%c", o->letter);
    for (const char *alias = o->aliases; alias;) {
        fprintf(out, " | --%.*s", (int)strcspn(alias, " "), alias);
        alias = strchr(alias, ' ');
        alias = alias ? alias + 1 : NULL;
    }
    if (o->value == QVL_VALUE_CHOICE) {
        fputs(") COMPREPLY=($(compgen -W '", out);
        put_words(out, o->words);
        fputs("' -- \"$cur\")); return ;;\n", out);
    } else if (o->value == QVL_VALUE_FILE) {
        fputs(") compopt -o filenames; COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", out);
    } else {
        fputs(") return ;;\n", out);
    }
}

static void put_bash_options(FILE *out, const char *pattern, enum qvl_verb verb)
{
    struct qvl_option_form o;
    fprintf(out, "        %s) words='", pattern);
    for (size_t i = 0; qvl_options_at(i, &o); i++)
        if (o.verbs & (int)verb)
            fprintf(out, "--%s ", o.name);
    fputs("' ;;\n", out);
}

static void write_bash(FILE *out)
{
    struct qvl_option_form o;
    const char *name;
    enum qvl_verb verb;
    fputs("# Completion of qvl for bash, made by `qvl help bash`.\n"
          "_qvl()\n{\n"
          "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=\n"
          "    case $prev in\n",
          out);
    for (size_t i = 0; qvl_options_at(i, &o); i++)
        if (o.value != QVL_VALUE_NONE)
            put_bash_value(out, &o);
    fputs("    esac\n    if [[ $cur == -* ]]; then\n        case ${COMP_WORDS[1]} in\n", out);
    for (size_t i = 0; (name = qvl_verb_name(i, &verb)); i++)
        if (verb != QVL_VERB_RUN)
            put_bash_options(out, name, verb);
    put_bash_options(out, "*", QVL_VERB_RUN);
    fputs("        esac\n        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n        return\n    fi\n"
          "    compopt -o filenames\n    COMPREPLY=($(compgen -f -- \"$cur\"))\n"
          "    [[ $COMP_CWORD -ne 1 ]] || COMPREPLY+=($(compgen -W '",
          out);
    put_verbs(out);
    fputs("' -- \"$cur\"))\n}\ncomplete -F _qvl qvl\n", out);
}

/* ---- zsh ------------------------------------------------------------------------------------------- */

static void put_zsh_option(FILE *out, const struct qvl_option_form *o, const char *dashes, const char *name,
                           int n_name)
{
    fprintf(out, " \\\n            '%s%.*s[", dashes, n_name, name);
    put_help(out, o->help, true);
    fputs("]", out);
    if (o->value == QVL_VALUE_CHOICE) {
        fputs(":word:(", out);
        put_words(out, o->words);
        fputs(")", out);
    } else if (o->value != QVL_VALUE_NONE) {
        fputs(o->value == QVL_VALUE_FILE ? ":file:_files" : ":value: ", out);
    }
    fputs("'", out);
}

static void put_zsh_options(FILE *out, const char *pattern, enum qvl_verb verb)
{
    struct qvl_option_form o;
    fprintf(out, "    %s)\n        _arguments", pattern);
    for (size_t i = 0; qvl_options_at(i, &o); i++) {
        if (!(o.verbs & (int)verb))
            continue;
        put_zsh_option(out, &o, "--", o.name, (int)strlen(o.name));
        if (o.letter)
            put_zsh_option(out, &o, "-", &o.letter, 1);
    }
    fputs(" \\\n            '*:file:_files'\n        ;;\n", out);
}

static void write_zsh(FILE *out)
{
    const char *name;
    enum qvl_verb verb;
    fputs("#compdef qvl\n# Completion of qvl for zsh, made by `qvl help zsh`.\n_qvl()\n{\n"
          "    if (( CURRENT == 2 )) && [[ $PREFIX != -* ]]; then\n        _alternative 'verb:command:(",
          out);
    put_verbs(out);
    fputs(")' 'file:picture or clip:_files'\n        return\n    fi\n    case $words[2] in\n", out);
    for (size_t i = 0; (name = qvl_verb_name(i, &verb)); i++)
        if (verb != QVL_VERB_RUN)
            put_zsh_options(out, name, verb);
    put_zsh_options(out, "*", QVL_VERB_RUN);
    fputs("    esac\n}\n_qvl \"$@\"\n", out);
}

/* ---- fish ------------------------------------------------------------------------------------------ */

static void put_fish_condition(FILE *out, int verbs)
{
    const char *name;
    enum qvl_verb verb;
    bool is_of_run = (verbs & QVL_VERB_RUN) != 0; /* then: no verb that does not know it */
    size_t n = 0;
    for (size_t i = 0; (name = qvl_verb_name(i, &verb)); i++) {
        if (((verbs & (int)verb) != 0) == is_of_run)
            continue;
        fputs(n++ == 0 ? (is_of_run ? " -n 'not __fish_seen_subcommand_from" : " -n '__fish_seen_subcommand_from")
                       : "",
              out);
        fprintf(out, " %s", name);
    }
    fputs(n ? "'" : "", out);
}

static void write_fish(FILE *out)
{
    struct qvl_option_form o;
    fputs("# Completion of qvl for fish, made by `qvl help fish`.\n"
          "complete -c qvl -n __fish_use_subcommand -a '",
          out);
    put_verbs(out);
    fputs("'\n", out);
    for (size_t i = 0; qvl_options_at(i, &o); i++) {
        fputs("complete -c qvl", out);
        put_fish_condition(out, o.verbs);
        fprintf(out, " -l %s", o.name);
        if (o.letter)
            fprintf(out, " -s %c", o.letter);
        fputs(o.value == QVL_VALUE_NONE ? "" : o.value == QVL_VALUE_FILE ? " -r" : " -x", out);
        if (o.value == QVL_VALUE_CHOICE) {
            fputs(" -a '", out);
            put_words(out, o.words);
            fputs("'", out);
        }
        fputs(" -d '", out);
        put_help(out, o.help, false);
        fputs("'\n", out);
    }
}

/* ---- all ------------------------------------------------------------------------------------------- */

bool qvl_completion_write(FILE *out, const char *shell)
{
    static const struct {
        const char *shell;
        void (*write)(FILE *);
    } writers[] = {{"bash", write_bash}, {"zsh", write_zsh}, {"fish", write_fish}};
    for (size_t i = 0; i < sizeof writers / sizeof *writers; i++) {
        if (strcmp(shell, writers[i].shell) != 0)
            continue;
        writers[i].write(out);
        return true;
    }
    return false;
}

#include "cli/default_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/os.h"

/* Seen from the program's folder: where `make install` puts it; the source tree, of a build folder and of one below
 * that (BUILD=build/x). */
static const char *const demo_places[] = {"../share/qvl/demo-model", "../demo/model", "../../demo/model"};

bool qvl_default_model_find(char out[PATH_MAX])
{
    char program[2048], path[4096];
    qvl_os_program_dir(program, sizeof program);
    for (size_t i = 0; program[0] && i < sizeof demo_places / sizeof *demo_places; i++) {
        snprintf(path, sizeof path, "%s/%s/config.json", program, demo_places[i]);
        if (access(path, R_OK) != 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", program, demo_places[i]);
        if (realpath(path, out))
            return true;
    }
    return false;
}

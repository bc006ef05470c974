/* cache_folder.h: an empty home with nothing in the environment, and files in it, for the tests of caches. */
#ifndef CACHE_FOLDER_H
#define CACHE_FOLDER_H

#include <stdbool.h>
#include <stdint.h>

extern char cache_home[64]; /* HOME, too */

/* cmocka's setup and teardown of one test. */
int cache_folder_open(void **state);
int cache_folder_close(void **state);

/* All paths are inside cache_home. */
const char *cache_path(const char *inside); /* until the eighth call after */
void cache_write(const char *inside, const char *text);
void cache_link(const char *inside, const char *target);
bool cache_has(const char *inside); /* a link to nowhere counts */
void cache_assert_text(const char *inside, const char *text);
void cache_assert_link(const char *inside, const char *target);

#endif

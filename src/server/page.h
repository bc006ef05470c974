/* page.h: the web page's files, which tools/embed-page.sh puts into the program. */
#ifndef QVL_SERVER_PAGE_H
#define QVL_SERVER_PAGE_H

#include <stddef.h>
#include <stdint.h>

struct qvl_page_file {
    const char *path; /* "/assets/index-….js" */
    const char *media_type;
    const char *tag; /* ETag, in its quotes */
    const uint8_t *raw, *raw_end;
    const uint8_t *gz, *gz_end; /* of text: compressed; else NULL */
};

/* [qvl_n_page_file] in the order of their paths; none where the program was built without the page. */
extern const struct qvl_page_file qvl_page_files[];
extern const size_t qvl_n_page_file;

#endif

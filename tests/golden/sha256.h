/* sha256.h: FIPS 180-4, for the tests that compare files with the manifest. */
#ifndef GOLDEN_SHA256_H
#define GOLDEN_SHA256_H

#include <stddef.h>

/* The hash of n bytes as 64 hexadecimal digits and a NUL. */
void golden_sha256(const void *data, size_t n, char hex[65]);

#endif

/* sha256.h: FIPS 180-4, so that the tests can hold large expected values as digests. */
#ifndef TESTS_SHA256_H
#define TESTS_SHA256_H

#include <stddef.h>

/* The hash of n bytes as 64 hexadecimal digits and a NUL. */
void sha256_hex(const void *data, size_t n, char hex[65]);

#endif

#include "check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CANARY_BYTES ((size_t)256)

struct span span_alloc(size_t n_bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t usable = (n_bytes + CANARY_BYTES + page - 1) / page * page;
    struct span span = {.n_bytes = n_bytes, .map_bytes = usable + page};
    span.map = mmap(NULL, span.map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(span.map != MAP_FAILED);
    assert_int_equal(mprotect((char *)span.map + usable, page, PROT_NONE), 0);
    memset(span.map, 0xff, usable);
    span.data = (char *)span.map + usable - n_bytes;
    memset((char *)span.data - CANARY_BYTES, 0xa5, CANARY_BYTES);
    return span;
}

void span_free(struct span *span)
{
    for (size_t i = 1; i <= CANARY_BYTES; i++)
        assert_int_equal(((unsigned char *)span->data)[-(ptrdiff_t)i], 0xa5);
    munmap(span->map, span->map_bytes);
}

static uint32_t state = 1;

void random_seed(uint32_t seed)
{
    state = seed * 2654435761u + 12345;
}

uint32_t random_u32(void)
{
    /* PCG-XSH-RR's output step on a 32-bit generator */
    state = state * 747796405u + 2891336453u;
    uint32_t word = ((state >> ((state >> 28) + 4)) ^ state) * 277803737u;
    return word >> 22 ^ word;
}

double random_unit(void)
{
    return (double)random_u32() / 2147483648.0 - 1;
}

float random_number(enum numbers numbers)
{
    double unit = random_unit();
    switch (numbers) {
    case NUMBERS_LARGE: return (float)ldexp(unit, 40);
    case NUMBERS_TINY: return random_u32() % 4 == 0 ? (unit < 0 ? -0.0f : 0.0f) : (float)ldexp(unit, -127);
    case NUMBERS_MIXED: return random_u32() % 8 == 0 ? -0.0f : (float)ldexp(unit, (int)(random_u32() % 61) - 30);
    default: return (float)unit;
    }
}

void fill_f32(float *x, size_t n, enum numbers numbers)
{
    for (size_t i = 0; i < n; i++)
        x[i] = random_number(numbers);
}

void fill_bf16(qvl_bf16 *x, size_t n, enum numbers numbers)
{
    for (size_t i = 0; i < n; i++)
        x[i] = nearest_bf16(random_number(numbers));
}

/* Any finite half. */
void fill_f16(qvl_f16 *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        do
            x[i] = (qvl_f16)random_u32();
        while ((x[i] & 0x7c00) == 0x7c00);
}

/* sign, 8 bits of exponent, 7 of mantissa */
double value_of_bf16(qvl_bf16 h)
{
    int exponent = h >> 7 & 255, mantissa = h & 127;
    double magnitude = exponent == 255 ? (mantissa ? NAN : INFINITY)
                       : exponent == 0 ? ldexp(mantissa, -126 - 7)
                                       : ldexp(128 + mantissa, exponent - 127 - 7);
    return h & 0x8000 ? -magnitude : magnitude;
}

/* sign, 5 bits of exponent, 10 of mantissa */
double value_of_f16(qvl_f16 h)
{
    int exponent = h >> 10 & 31, mantissa = h & 1023;
    double magnitude = exponent == 31  ? (mantissa ? NAN : INFINITY)
                       : exponent == 0 ? ldexp(mantissa, -14 - 10)
                                       : ldexp(1024 + mantissa, exponent - 15 - 10);
    return h & 0x8000 ? -magnitude : magnitude;
}

/* The nearer of the two neighbours: x cut to 16 bits, and the next one away from zero. */
qvl_bf16 nearest_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    qvl_bf16 below = (qvl_bf16)(bits >> 16), above = (qvl_bf16)(below + 1);
    if (isinf(x))
        return below;
    double magnitude = fabs((double)x), low = fabs(value_of_bf16(below)), high = fabs(value_of_bf16(above));
    if (isinf(high))
        high = ldexp(1, 128); /* where the next number would lie */
    double to_low = magnitude - low, to_high = high - magnitude;
    if (to_low != to_high)
        return to_low < to_high ? below : above;
    return below % 2 == 0 ? below : above;
}

void check_within(const char *what, size_t i, size_t n, double found, double expected, double bound)
{
    if (fabs(found - expected) <= bound)
        return;
    fail_msg("%s: element %zu of %zu is %.9g, expected %.9g, difference %.3g, allowed %.3g", what, i, n, found,
             expected, fabs(found - expected), bound);
}

void check_ulp(const char *what, size_t i, size_t n, float found, double expected, int n_ulp)
{
    double unit = ldexp(1, -23);
    if (fabs(expected) > 1)
        unit = ldexp(1, ilogb(expected) - 23);
    check_within(what, i, n, found, expected, n_ulp * unit);
}

void check_bits(const char *what, size_t i, size_t n, float found, float expected)
{
    if (memcmp(&found, &expected, sizeof found) != 0)
        fail_msg("%s: element %zu of %zu is %a, expected %a to the last bit", what, i, n, (double)found,
                 (double)expected);
}

/* check.h: cmocka with what it must be preceded by. */
#ifndef GOLDEN_CHECK_H
#define GOLDEN_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif

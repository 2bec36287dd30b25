/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <stdarg.h>
#include <stdio.h>

#include "problem.h"

bool problem_set(struct problem *problem, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(problem->text, sizeof(problem->text), fmt, args);
	va_end(args);
	return false;
}

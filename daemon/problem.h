/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* What went wrong, in words for the person who can fix it: names the option,
 * the value and the remedy. */
#ifndef DAEMON_PROBLEM_H
#define DAEMON_PROBLEM_H

#include <stdbool.h>

struct problem {
	char text[768]; /* a whole sentence without newline; "" if none */
};

/* Sets the text. Always false, so that callers can `return problem_set(...)`. */
bool problem_set(struct problem *problem, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif

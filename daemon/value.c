/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "value.h"

/* One digit in a base, or -1. */
static int digit(char c, unsigned base)
{
	int v = -1;

	if (c >= '0' && c <= '9')
		v = c - '0';
	else if (c >= 'a' && c <= 'f')
		v = c - 'a' + 10;
	else if (c >= 'A' && c <= 'F')
		v = c - 'A' + 10;
	return v >= 0 && (unsigned)v < base ? v : -1;
}

/* The number at the start of text; *end is what follows. */
static bool scan(const char *text, const char **end, uint64_t *out)
{
	unsigned base = 10;
	uint64_t v = 0;
	const char *p = text;

	if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X')) {
		base = 16;
		p += 2;
	}
	if (digit(*p, base) < 0)
		return false;
	for (; digit(*p, base) >= 0; p++) {
		if (__builtin_mul_overflow(v, base, &v) ||
		    __builtin_add_overflow(v, (unsigned)digit(*p, base), &v))
			return false;
	}
	*end = p;
	*out = v;
	return true;
}

bool value_number(const char *text, uint64_t *out)
{
	const char *end;
	uint64_t v;

	if (!scan(text, &end, &v) || *end)
		return false;
	*out = v;
	return true;
}

bool value_size(const char *text, uint64_t *out)
{
	static const char units[] = "kmgt";
	const char *end, *unit;
	uint64_t v;

	if (!scan(text, &end, &v))
		return false;
	if (*end) {
		unit = strchr(units, tolower((unsigned char)*end));
		if (!unit || end[1])
			return false;
		if (__builtin_mul_overflow(v, 1ull << (10 * (unit - units + 1)), &v))
			return false;
	}
	*out = v;
	return true;
}

bool value_switch(const char *text, bool *out)
{
	static const char *const yes[] = {"", "on", "yes", "true", "1"};
	static const char *const no[] = {"off", "no", "false", "0"};
	unsigned i;

	for (i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
		if (!strcasecmp(text, yes[i])) {
			*out = true;
			return true;
		}
	for (i = 0; i < sizeof(no) / sizeof(no[0]); i++)
		if (!strcasecmp(text, no[i])) {
			*out = false;
			return true;
		}
	return false;
}

bool value_range(const char *text, uint64_t *first, uint64_t *last)
{
	const char *end, *rest;
	uint64_t a, b;

	if (!scan(text, &end, &a) || *end != '-')
		return false;
	if (!scan(end + 1, &rest, &b) || *rest || a > b)
		return false;
	*first = a;
	*last = b;
	return true;
}

bool value_name(const char *text, size_t room)
{
	size_t i;

	if (!text[0] || text[0] == '.' || text[0] == '-')
		return false;
	for (i = 0; text[i]; i++) {
		if (i + 1 >= room)
			return false;
		if (!isalnum((unsigned char)text[i]) && !strchr("-_.", text[i]))
			return false;
	}
	return true;
}

/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "endpoints/options.h"

#include <stdio.h>

#include "endpoints/util.h"

/* Cuts one "key=value" off *rest in place; double commas become single ones. */
static char *cut_entry(char **rest)
{
	char *start = *rest, *in = start, *out = start;

	while (*in) {
		if (*in == ',') {
			if (in[1] != ',')
				break;
			in++;
		}
		*out++ = *in++;
	}
	*rest = *in ? in + 1 : in;
	*out = '\0';
	return start;
}

static int add_entry(struct options *o, char *entry)
{
	char *equals = strchr(entry, '=');

	if (o->nr == OPTIONS_MAX)
		return endpoint_err(o->log, EINVAL, "%s: more than %u options", o->who,
				    OPTIONS_MAX);
	if (equals)
		*equals = '\0';
	if (!*entry)
		return endpoint_err(
			o->log, EINVAL,
			"%s: an option without a name; write key=value,key=value",
			o->who);
	if (options_get(o, entry))
		return endpoint_err(o->log, EINVAL, "%s: option '%s' is given twice",
				    o->who, entry);
	o->entry[o->nr].key = entry;
	o->entry[o->nr++].value = equals ? equals + 1 : "on";
	return 0;
}

int options_parse(struct options *o, const char *who, const char *text,
		  const struct viommu_log *log)
{
	char *rest = o->text;
	int r = 0;

	o->who = who;
	o->log = log;
	o->nr = 0;
	if (!text || !*text)
		return 0;
	if (strlen(text) >= sizeof(o->text))
		return endpoint_err(log, EINVAL, "%s: options longer than %d bytes", who,
				    OPTIONS_TEXT_MAX - 1);
	strcpy(o->text, text);
	do
		r = add_entry(o, cut_entry(&rest));
	while (!r && *rest);
	return r;
}

static void list_known(const struct endpoint_option *known, char *buf, size_t len)
{
	size_t used = 0;

	buf[0] = '\0';
	for (; known->name && used + 1 < len; known++)
		used += (size_t)snprintf(buf + used, len - used, "%s%s", used ? ", " : "",
					 known->name);
}

static bool is_known(const struct endpoint_option *known, const char *key)
{
	for (; known->name; known++)
		if (!strcmp(known->name, key))
			return true;
	return false;
}

int options_check(const struct options *o, const struct endpoint_option *known)
{
	char names[320];

	for (unsigned i = 0; i < o->nr; i++) {
		if (is_known(known, o->entry[i].key))
			continue;
		list_known(known, names, sizeof(names));
		return endpoint_err(o->log, EINVAL, "%s: no option '%s'; there are: %s",
				    o->who, o->entry[i].key, names[0] ? names : "none");
	}
	return 0;
}

const char *options_get(const struct options *o, const char *key)
{
	for (unsigned i = 0; i < o->nr; i++)
		if (!strcmp(o->entry[i].key, key))
			return o->entry[i].value;
	return NULL;
}

/* Decimal digits up to *end; false: none, or too large. */
static bool parse_digits(const char *s, const char **end, uint64_t *out)
{
	const char *first = s;
	uint64_t v = 0;

	for (; *s >= '0' && *s <= '9'; s++)
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
			return false;
	*end = s;
	*out = v;
	return s != first;
}

static bool parse_size(const char *s, uint64_t *out)
{
	static const char units[] = "KMGT";
	const char *unit;
	unsigned shift;

	if (!parse_digits(s, &s, out))
		return false;
	if (!*s)
		return true;
	unit = strchr(units, *s & ~0x20);
	if (!unit || !*unit || s[1])
		return false;
	shift = 10 * (unsigned)(unit - units + 1);
	if (*out > UINT64_MAX >> shift)
		return false;
	*out <<= shift;
	return true;
}

int options_size(const struct options *o, const char *key, uint64_t min, uint64_t max,
		 uint64_t *out)
{
	const char *value = options_get(o, key);
	uint64_t v;

	if (!value)
		return 0;
	if (!parse_size(value, &v) || v < min || v > max)
		return endpoint_err(o->log, EINVAL,
				    "%s: %s=%s is not a size from %llu to %llu bytes; "
				    "write e.g. 512M or 20G",
				    o->who, key, value, (unsigned long long)min,
				    (unsigned long long)max);
	*out = v;
	return 0;
}

int options_uint(const struct options *o, const char *key, unsigned min, unsigned max,
		 unsigned *out)
{
	const char *value = options_get(o, key), *end;
	uint64_t v;

	if (!value)
		return 0;
	if (!parse_digits(value, &end, &v) || *end || v < min || v > max)
		return endpoint_err(o->log, EINVAL,
				    "%s: %s=%s is not a number from %u to %u", o->who,
				    key, value, min, max);
	*out = (unsigned)v;
	return 0;
}

int options_bool(const struct options *o, const char *key, bool *out)
{
	static const char *const words[] = {"off",  "on", "no", "yes", "false",
					    "true", "0",  "1",	NULL};
	unsigned v = *out;
	int r = options_choice(o, key, words, &v);

	if (!r)
		*out = v & 1;
	return r;
}

int options_choice(const struct options *o, const char *key, const char *const *names,
		   unsigned *out)
{
	const char *value = options_get(o, key);
	char list[160];
	size_t used = 0;

	if (!value)
		return 0;
	for (unsigned i = 0; names[i]; i++) {
		if (!strcmp(names[i], value)) {
			*out = i;
			return 0;
		}
		if (used < sizeof(list))
			used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s",
						 used ? ", " : "", names[i]);
	}
	return endpoint_err(o->log, EINVAL, "%s: %s=%s is not one of: %s", o->who, key,
			    value, list);
}

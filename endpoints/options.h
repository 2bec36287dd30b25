/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * "key=value,key=value": the options of an endpoint. A comma in a value is
 * written twice; "key" alone is "key=on". A key may occur once.
 *
 * Each getter leaves *out at `what it was` when the option is absent, so that
 * callers set defaults first. On failure the log names option, value and what
 * would be right, and the result is -EINVAL.
 */
#ifndef ENDPOINTS_OPTIONS_H
#define ENDPOINTS_OPTIONS_H

#include <viommu/base.h>

#include "endpoints/endpoint.h"

#define OPTIONS_MAX	 32   /* options in one text: -EINVAL */
#define OPTIONS_TEXT_MAX 4096 /* bytes of text: -EINVAL */

struct options {
	const char *who; /* whose options, for messages */
	const struct viommu_log *log;
	unsigned nr;
	struct {
		const char *key, *value; /* into text */
	} entry[OPTIONS_MAX];
	char text[OPTIONS_TEXT_MAX];
};

/* 0 or -EINVAL. text NULL: no options. */
int options_parse(struct options *o, const char *who, const char *text,
		  const struct viommu_log *log);
/* -EINVAL: an option that is not in the table. */
int options_check(const struct options *o, const struct endpoint_option *known);

/* NULL: absent. Lives as long as the options. */
const char *options_get(const struct options *o, const char *key);
/* Bytes, with K, M, G or T (powers of 1024). */
int options_size(const struct options *o, const char *key, uint64_t min, uint64_t max,
		 uint64_t *out);
int options_uint(const struct options *o, const char *key, unsigned min, unsigned max,
		 unsigned *out);
/* on, off, yes, no, true, false, 1, 0 */
int options_bool(const struct options *o, const char *key, bool *out);
/* One of a NULL-terminated list; *out is its index. */
int options_choice(const struct options *o, const char *key, const char *const *names,
		   unsigned *out);

#endif /* ENDPOINTS_OPTIONS_H */

/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "histogram.h"

static uint64_t item(json_t *array, size_t i)
{
	json_int_t value = json_integer_value(json_array_get(array, i));

	return value > 0 ? (uint64_t)value : 0;
}

void histogram_read(json_t *json, struct histogram *out)
{
	json_t *list = json_object_get(json, "buckets"), *one;
	struct histogram_bucket *b = out->bucket;
	size_t i;

	memset(out, 0, sizeof(*out));
	out->sum = (uint64_t)json_integer_value(json_object_get(json, "sum"));
	out->max = (uint64_t)json_integer_value(json_object_get(json, "max"));
	for (i = 0; i < json_array_size(list); i++) {
		one = json_array_get(list, i);
		if (out->buckets_nr == HISTOGRAM_BUCKETS_MAX)
			break;
		*b = (struct histogram_bucket){item(one, 0), item(one, 1), item(one, 2)};
		/* In order, none twice. */
		if (b->to < b->from || (out->buckets_nr && b->from <= b[-1].to))
			continue;
		out->nr += b->nr;
		out->buckets_nr++;
		b++;
	}
}

void histogram_subtract(struct histogram *h, const struct histogram *before)
{
	unsigned i, j = 0, kept = 0;

	h->nr = 0;
	h->sum -= before->sum < h->sum ? before->sum : h->sum;
	for (i = 0; i < h->buckets_nr; i++) {
		struct histogram_bucket b = h->bucket[i];

		while (j < before->buckets_nr && before->bucket[j].from < b.from)
			j++;
		if (j < before->buckets_nr && before->bucket[j].from == b.from)
			b.nr -= before->bucket[j].nr < b.nr ? before->bucket[j].nr : b.nr;
		if (!b.nr)
			continue;
		h->nr += b.nr;
		h->bucket[kept++] = b;
	}
	h->buckets_nr = kept;
	if (!kept)
		h->max = 0;
	else if (h->bucket[kept - 1].to < h->max)
		h->max = h->bucket[kept - 1].to;
}

static void insert(struct histogram *h, const struct histogram_bucket *b)
{
	unsigned i = 0;

	while (i < h->buckets_nr && h->bucket[i].from < b->from)
		i++;
	if (i < h->buckets_nr && h->bucket[i].from == b->from) {
		h->bucket[i].nr += b->nr;
	} else if (h->buckets_nr < HISTOGRAM_BUCKETS_MAX) {
		memmove(&h->bucket[i + 1], &h->bucket[i],
			(h->buckets_nr - i) * sizeof(h->bucket[0]));
		h->bucket[i] = *b;
		h->buckets_nr++;
	}
}

void histogram_join(struct histogram *h, const struct histogram *other)
{
	unsigned i;

	for (i = 0; i < other->buckets_nr; i++)
		insert(h, &other->bucket[i]);
	h->nr += other->nr;
	h->sum += other->sum;
	if (other->max > h->max)
		h->max = other->max;
}

uint64_t histogram_at(const struct histogram *h, unsigned permille)
{
	uint64_t left = h->nr / 1000 * permille + (h->nr % 1000 * permille + 999) / 1000;
	unsigned i;

	for (i = 0; i < h->buckets_nr; i++) {
		if (h->bucket[i].nr >= left)
			return h->bucket[i].to < h->max ? h->bucket[i].to : h->max;
		left -= h->bucket[i].nr;
	}
	return h->max;
}

/* ---- pictures ---- */

static unsigned lg2(uint64_t v)
{
	return v ? 63 - (unsigned)__builtin_clzll(v) : 0;
}

void histogram_bars(const struct histogram *h, bool utf8, char bars[HISTOGRAM_BARS_LEN])
{
	static const char *const blocks[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
	static const char *const plain[] = {" ", ".", ":", "-", "=", "+", "*", "%", "#"};
	uint64_t sum[64] = {0}, most = 0;
	unsigned i, first, last;
	size_t len = 0;

	bars[0] = 0;
	if (!h->buckets_nr)
		return;
	first = lg2(h->bucket[0].from);
	last = lg2(h->bucket[h->buckets_nr - 1].from);
	for (i = 0; i < h->buckets_nr; i++)
		sum[lg2(h->bucket[i].from)] += h->bucket[i].nr;
	for (i = first; i <= last; i++)
		most = sum[i] > most ? sum[i] : most;
	for (i = first; i <= last && len + 4 < HISTOGRAM_BARS_LEN; i++) {
		/* What is there is seen, however little. */
		unsigned level =
			!most || !sum[i]
				? 0
				: 1 + (unsigned)((double)sum[i] * 7.0 / (double)most +
						 0.5);

		len += (size_t)sprintf(bars + len, "%s",
				       utf8 ? blocks[level] : plain[level]);
	}
}

/* ---- numbers ---- */

/* Three digits. */
static const char *three(double value, const char *unit, char text[FORMAT_LEN])
{
	snprintf(text, FORMAT_LEN, value < 9.95 ? "%.1f%s" : "%.0f%s", value, unit);
	return text;
}

const char *format_ns(uint64_t ns, char text[FORMAT_LEN])
{
	if (ns < 1000) {
		snprintf(text, FORMAT_LEN, "%" PRIu64 " ns", ns);
		return text;
	}
	if (ns < 999500)
		return three((double)ns / 1e3, " us", text);
	if (ns < 999500000)
		return three((double)ns / 1e6, " ms", text);
	return three((double)ns / 1e9, " s", text);
}

const char *format_count(double nr, char text[FORMAT_LEN])
{
	static const char *const units[] = {"k", "M", "G", "T", "P", "E"};
	unsigned i = 0;

	if (nr < 0.05)
		return strcpy(text, "0");
	if (nr < 9.95 && nr - (double)(long long)nr > 0.05)
		return three(nr, "", text);
	if (nr < 9999.5) {
		snprintf(text, FORMAT_LEN, "%.0f", nr);
		return text;
	}
	for (nr /= 1000; nr >= 999.5 && i < 5; i++)
		nr /= 1000;
	snprintf(text, FORMAT_LEN, nr < 99.95 ? "%.1f%s" : "%.0f%s", nr, units[i]);
	return text;
}

const char *format_bytes(double bytes, char text[FORMAT_LEN])
{
	static const char *const units[] = {" B",   " KiB", " MiB", " GiB",
					    " TiB", " PiB", " EiB"};
	unsigned i = 0;

	while (bytes >= 1023.5 && i < 6) {
		bytes /= 1024;
		i++;
	}
	snprintf(text, FORMAT_LEN, i && bytes < 99.95 ? "%.1f%s" : "%.0f%s", bytes,
		 units[i]);
	return text;
}

bool format_utf8(void)
{
	static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
	const char *set;
	unsigned i;

	for (i = 0; i < 3; i++) {
		set = getenv(names[i]);
		if (set && set[0])
			return strstr(set, "UTF-8") || strstr(set, "utf8") ||
			       strstr(set, "UTF8");
	}
	return false;
}

/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Histograms as `stat` gives them, and numbers as people read them. */
#ifndef CLI_HISTOGRAM_H
#define CLI_HISTOGRAM_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#define HISTOGRAM_BUCKETS_MAX 256u

struct histogram_bucket {
	uint64_t from, to, nr; /* values from .. to, both included */
};

struct histogram {
	uint64_t nr, sum, max;
	unsigned buckets_nr;
	struct histogram_bucket bucket[HISTOGRAM_BUCKETS_MAX]; /* in order */
};

/* What does not fit or makes no sense is left out; json may be NULL. */
void histogram_read(json_t *json, struct histogram *out);
/* Leaves what came after `before`, an earlier reading of the same. The largest value
 * is then known to within its bucket only. */
void histogram_subtract(struct histogram *h, const struct histogram *before);
/* Adds the values of another. */
void histogram_join(struct histogram *h, const struct histogram *other);
/* What `permille` of 1000 values are not above. */
uint64_t histogram_at(const struct histogram *h, unsigned permille);

/* A bar a power of two, from that of the smallest value to that of the largest;
 * utf8: block elements, else characters of ASCII. */
#define HISTOGRAM_BARS_LEN 128
void histogram_bars(const struct histogram *h, bool utf8, char bars[HISTOGRAM_BARS_LEN]);

/* Texts of at most 9 characters. */
#define FORMAT_LEN 24
/* "850 ns", "1.2 us", "12 ms", "3.4 s" */
const char *format_ns(uint64_t ns, char text[FORMAT_LEN]);
/* "0", "7", "12.3k", "4.5M" */
const char *format_count(double nr, char text[FORMAT_LEN]);
/* "512 B", "12.3 MiB" */
const char *format_bytes(double bytes, char text[FORMAT_LEN]);

/* Whether the terminal is said to take UTF-8. */
bool format_utf8(void);

#endif

/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* What viommu top shows, of two samples. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "histogram.h"
#include "top.h"

/* ---- rates ---- */

struct row { /* an endpoint; numbers a second */
	const char *daemon, *id, *type;
	char place[16]; /* its domain */
	double io, bytes, translations, hits, kicks, irqs, faults;
	uint64_t p50, p99, max; /* ns; 0: no I/O */
};

struct total { /* a daemon */
	double map, unmap, other, refused, kicks, irqs, faults, busy;
	struct histogram latency, batch;
};

static json_t *get(json_t *object, const char *key)
{
	return json_object_get(object, key);
}

static double number(json_t *object, const char *key)
{
	return (double)json_integer_value(json_object_get(object, key));
}

/* What came since, a second; a counter that fell began anew. */
static double rate(json_t *before, json_t *now, const char *key, double seconds)
{
	double a = number(before, key), b = number(now, key);

	if (!before || seconds <= 0)
		return 0;
	return (b >= a ? b - a : b) / seconds;
}

/* The sum of several; an endpoint has those of its kind. */
static double rates(json_t *before, json_t *now, const char *const *keys, double seconds)
{
	double sum = 0;

	for (; *keys; keys++)
		sum += rate(before, now, *keys, seconds);
	return sum;
}

/* What came since of all kinds of {"map": HISTOGRAM, ...} together. */
static void join_latencies(struct histogram *out, json_t *before, json_t *now)
{
	static struct histogram one, old;
	const char *kind;
	json_t *value;

	json_object_foreach(now, kind, value)
	{
		histogram_read(value, &one);
		histogram_read(get(before, kind), &old);
		if (old.nr <= one.nr) /* else it began anew */
			histogram_subtract(&one, &old);
		histogram_join(out, &one);
	}
}

/* The entry of the same endpoint in the sample before. */
static json_t *same_endpoint(json_t *list, json_t *one)
{
	const char *id = json_string_value(get(one, "id")), *other;
	size_t i;

	for (i = 0; id && i < json_array_size(list); i++) {
		other = json_string_value(get(json_array_get(list, i), "id"));
		if (other && !strcmp(other, id))
			return json_array_get(list, i);
	}
	return NULL;
}

static void fill_place(struct row *row, json_t *one)
{
	if (!json_is_true(get(one, "iommu")))
		strcpy(row->place, "none");
	else if (json_is_true(get(one, "bypass")))
		strcpy(row->place, "bypass");
	else if (get(one, "domain"))
		snprintf(row->place, sizeof(row->place), "%.0f", number(one, "domain"));
	else
		strcpy(row->place, "-");
}

static const char *text(json_t *object, const char *key)
{
	const char *s = json_string_value(get(object, key));

	return s ? s : "-";
}

static void fill_times(struct row *row, json_t *was, json_t *one)
{
	static struct histogram h;

	memset(&h, 0, sizeof(h));
	if (was)
		join_latencies(&h, get(was, "latency_ns"), get(one, "latency_ns"));
	row->p50 = histogram_at(&h, 500);
	row->p99 = histogram_at(&h, 990);
	row->max = h.max;
}

static void fill_row(struct row *row, const struct top_sample *s, json_t *was,
		     json_t *one)
{
	static const char *const io[] = {
		"reads",  "writes",   "flushes",   "discards",	"write_zeroes",
		"others", "commands", "tx_frames", "rx_frames", NULL};
	static const char *const bytes[] = {"read_bytes",    "write_bytes", "bytes_read",
					    "bytes_written", "tx_bytes",    "rx_bytes",
					    "bytes",	     NULL};
	json_t *a = get(was, "counters"), *b = get(one, "counters");
	double hits = rate(was, one, "iotlb_hits", s->seconds);

	*row = (struct row){
		.daemon = s->name, .id = text(one, "id"), .type = text(one, "type")};
	fill_place(row, one);
	row->io = rates(a, b, io, s->seconds);
	row->bytes = rates(a, b, bytes, s->seconds);
	row->translations = hits + rate(was, one, "iotlb_misses", s->seconds);
	row->hits = row->translations > 0 ? hits / row->translations : -1;
	row->kicks = rate(a, b, "kicks", s->seconds);
	row->irqs = rate(a, b, "interrupts", s->seconds);
	row->faults = rate(was, one, "faults", s->seconds);
	fill_times(row, was, one);
}

static unsigned fill_rows(struct row *rows, const struct top_sample *samples, unsigned nr)
{
	unsigned i, rows_nr = 0;
	json_t *list, *one;
	size_t j;

	for (i = 0; i < nr; i++) {
		list = get(samples[i].now, "endpoints");
		for (j = 0; j < json_array_size(list); j++) {
			if (rows_nr == TOP_ENDPOINTS_MAX)
				return rows_nr;
			one = json_array_get(list, j);
			fill_row(&rows[rows_nr++], &samples[i],
				 same_endpoint(get(samples[i].before, "endpoints"), one),
				 one);
		}
	}
	return rows_nr;
}

static double queue_rate(json_t *before, json_t *now, const char *key, double seconds)
{
	json_t *a = get(before, "queues"), *b = get(now, "queues");
	double sum = 0;
	size_t i;

	for (i = 0; i < json_array_size(b); i++)
		sum += rate(json_array_get(a, i), json_array_get(b, i), key, seconds);
	return sum;
}

static void fill_requests(struct total *t, json_t *before, json_t *now, double seconds)
{
	json_t *a = get(before, "requests"), *b = get(now, "requests"), *counts;
	const char *type;
	double all;

	json_object_foreach(b, type, counts)
	{
		if (!json_is_object(counts))
			continue;
		all = rate(get(a, type), counts, "total", seconds);
		t->refused += all - rate(get(a, type), counts, "ok", seconds);
		if (!strcmp(type, "map"))
			t->map = all;
		else if (!strcmp(type, "unmap"))
			t->unmap = all;
		else
			t->other += all;
	}
}

/* Of all types: that is what a driver waits for. */
static void fill_latency(struct total *t, json_t *before, json_t *now)
{
	static struct histogram old;

	join_latencies(&t->latency, get(before, "latency_ns"), get(now, "latency_ns"));
	histogram_read(get(now, "batch"), &t->batch);
	histogram_read(get(before, "batch"), &old);
	histogram_subtract(&t->batch, &old);
}

static void fill_total(struct total *t, const struct top_sample *s)
{
	json_t *a = get(s->before, "iommu"), *b = get(s->now, "iommu");

	memset(t, 0, sizeof(*t));
	if (!a || !b)
		return;
	fill_requests(t, a, b, s->seconds);
	fill_latency(t, a, b);
	t->kicks = queue_rate(a, b, "kicks", s->seconds);
	t->irqs = queue_rate(a, b, "irqs", s->seconds);
	t->faults = rate(get(a, "faults"), get(b, "faults"), "total", s->seconds);
	t->busy = rate(get(a, "poll"), get(b, "poll"), "busy_us", s->seconds) / 1e6;
}

/* ---- order ---- */

static double key_of(const struct row *row, enum top_sort sort)
{
	switch (sort) {
	case TOP_BY_BYTES:
		return row->bytes;
	case TOP_BY_TRANSLATIONS:
		return row->translations;
	case TOP_BY_FAULTS:
		return row->faults;
	default:
		return row->io;
	}
}

static int compare(const void *a, const void *b, void *arg)
{
	const struct row *x = a, *y = b;
	enum top_sort sort = *(const enum top_sort *)arg;
	double p = key_of(x, sort), q = key_of(y, sort);
	int r;

	if (sort != TOP_BY_NAME && p != q)
		return p < q ? 1 : -1;
	r = strcmp(x->daemon, y->daemon);
	return r ? r : strcmp(x->id, y->id);
}

const char *top_sort_name(enum top_sort sort)
{
	static const char *const names[TOP_SORTS_NR] = {"I/O", "bytes", "translations",
							"faults", "name"};

	return names[sort];
}

/* ---- lines ---- */

struct page {
	FILE *out;
	unsigned cols, left; /* lines */
};

/* One line, cut to the width; what is past the last one is not shown. */
__attribute__((format(printf, 2, 3))) static void line(struct page *page, const char *fmt,
						       ...)
{
	char buf[TOP_COLS_MAX + 1];
	unsigned len;
	va_list list;

	if (!page->left)
		return;
	page->left--;
	va_start(list, fmt);
	vsnprintf(buf, sizeof(buf), fmt, list);
	va_end(list);
	len = (unsigned)strlen(buf);
	len = len < page->cols ? len : page->cols;
	while (len && buf[len - 1] == ' ')
		len--;
	fprintf(page->out, "%.*s\n", (int)len, buf);
}

static void draw_head(struct page *page, const struct top_look *look,
		      const struct top_sample *samples, unsigned nr)
{
	double up = number(samples[0].now, "uptime_ms") / 1e3;
	char who[64];

	if (nr == 1)
		snprintf(who, sizeof(who), "%.32s, up %.0f:%02.0f:%02.0f",
			 samples[0].name, (double)(long)(up / 3600),
			 (double)((long)(up / 60) % 60), (double)((long)up % 60));
	else
		snprintf(who, sizeof(who), "%u daemons", nr);
	line(page, "viommu top %s  %s  every %g s, by %s%s", look->clock, who,
	     look->delay, top_sort_name(look->sort),
	     look->paused ? "  PAUSED, space goes on" : "");
}

static void draw_daemon(struct page *page, const struct top_sample *s)
{
	char map[FORMAT_LEN], unmap[FORMAT_LEN], other[FORMAT_LEN], kicks[FORMAT_LEN];
	char irqs[FORMAT_LEN], p50[FORMAT_LEN] = "-", p99[FORMAT_LEN] = "-";
	char faults[FORMAT_LEN], refused[FORMAT_LEN], batch[FORMAT_LEN] = "-";
	static struct total t;

	if (!s->now) {
		line(page, "%-10.10s has ended", s->name);
		return;
	}
	fill_total(&t, s);
	if (t.latency.nr) {
		format_ns(histogram_at(&t.latency, 500), p50);
		format_ns(histogram_at(&t.latency, 990), p99);
	}
	if (t.batch.nr)
		format_count((double)t.batch.sum / (double)t.batch.nr, batch);
	line(page, "%-10.10s %5s %5s %5s %5s %5s %5s %5s %6s %6s %6s %3.0f%%", s->name,
	     format_count(t.map, map), format_count(t.unmap, unmap),
	     format_count(t.other, other), format_count(t.refused, refused),
	     format_count(t.kicks, kicks), format_count(t.irqs, irqs), batch, p50, p99,
	     format_count(t.faults, faults), t.busy * 100);
}

/* What is there now, of the only daemon. */
static void draw_state(struct page *page, json_t *iommu)
{
	char bytes[FORMAT_LEN], mappings[FORMAT_LEN];
	json_t *faults = get(iommu, "faults");

	line(page,
	     "now: %.0f domains, %.0f endpoints, %s mappings of %s; ever: %.0f faults, "
	     "%.0f dropped",
	     number(iommu, "domains"), number(iommu, "endpoints"),
	     format_count(number(iommu, "mappings"), mappings),
	     format_bytes(number(iommu, "mapped_bytes"), bytes), number(faults, "total"),
	     number(faults, "events_dropped") + number(faults, "events_limited"));
}

/* Of the table of endpoints, from left to right. */
enum column {
	COL_NAME,
	COL_KIND,
	COL_DOMAIN,
	COL_IO,
	COL_BYTES,
	COL_P50,
	COL_P99,
	COL_MAX,
	COL_TRANSLATIONS,
	COL_HIT,
	COL_KICKS,
	COL_IRQS,
	COL_FAULTS,
	COLS_NR
};

static const struct column_look {
	const char *title;
	unsigned width;
	unsigned rank; /* the highest goes first where there is no room; 0: never */
} columns[COLS_NR] = {
	[COL_NAME] = {"endpoint", 12, 0},
	[COL_KIND] = {"kind", 7, 5},
	[COL_DOMAIN] = {"domain", 6, 4},
	[COL_IO] = {"I/O", 6, 0},
	[COL_BYTES] = {"bytes", 9, 0},
	[COL_P50] = {"p50", 6, 3},
	[COL_P99] = {"p99", 6, 1},
	[COL_MAX] = {"max", 6, 6},
	[COL_TRANSLATIONS] = {"transl", 6, 2},
	[COL_HIT] = {"hit", 6, 2},
	[COL_KICKS] = {"kicks", 5, 8},
	[COL_IRQS] = {"irqs", 5, 7},
	[COL_FAULTS] = {"faults", 6, 0},
};

/* The lowest rank that is left out, so that the line fits. */
static unsigned rank_out(unsigned cols)
{
	unsigned out, width, i;

	for (out = 9; out > 1; out--) {
		for (i = width = 0; i < COLS_NR; i++)
			if (columns[i].rank < out)
				width += columns[i].width + 1;
		if (width - 1 <= cols)
			break;
	}
	return out;
}

static void draw_columns(struct page *page, const char *const text[COLS_NR])
{
	unsigned out = rank_out(page->cols), i;
	char buf[TOP_COLS_MAX];
	size_t len = 0;

	for (i = 0; i < COLS_NR; i++) {
		int width = (int)columns[i].width;

		if (columns[i].rank >= out)
			continue;
		if (i <= COL_KIND)
			width = -width;
		len += (size_t)snprintf(buf + len, sizeof(buf) - len, "%s%*.*s",
					len ? " " : "", width, abs(width), text[i]);
	}
	line(page, "%s", buf);
}

static void draw_titles(struct page *page)
{
	const char *text[COLS_NR];
	unsigned i;

	for (i = 0; i < COLS_NR; i++)
		text[i] = columns[i].title;
	draw_columns(page, text);
}

static void draw_row(struct page *page, const struct row *row, bool several)
{
	char cell[COLS_NR][80];
	const char *text[COLS_NR];
	unsigned i;

	for (i = 0; i < COLS_NR; i++) {
		strcpy(cell[i], "-");
		text[i] = cell[i];
	}
	snprintf(cell[COL_NAME], sizeof(cell[0]), several ? "%s:%s" : "%s%s",
		 several ? row->daemon : "", row->id);
	text[COL_KIND] = row->type;
	text[COL_DOMAIN] = row->place;
	format_count(row->io, cell[COL_IO]);
	format_bytes(row->bytes, cell[COL_BYTES]);
	if (row->max) {
		format_ns(row->p50, cell[COL_P50]);
		format_ns(row->p99, cell[COL_P99]);
		format_ns(row->max, cell[COL_MAX]);
	}
	format_count(row->translations, cell[COL_TRANSLATIONS]);
	if (row->hits >= 0)
		snprintf(cell[COL_HIT], sizeof(cell[0]), "%.1f%%", row->hits * 100);
	format_count(row->kicks, cell[COL_KICKS]);
	format_count(row->irqs, cell[COL_IRQS]);
	format_count(row->faults, cell[COL_FAULTS]);
	draw_columns(page, text);
}

static void draw_help(struct page *page)
{
	static const char *const lines[] = {
		"",
		"  q  end          space  pause      s  sort by something else",
		"  d  other delay  ?      this help, any key ends it",
		"",
		"Rates are of the time since the last look. Upper part: what the guest's",
		"driver asks of the IOMMU. fail: not answered with OK. batch: replies",
		"published together. p50, p99: from when a request was found in the ring",
		"to its reply. busy: of the IOMMU's thread. Lower part: endpoints.",
		"p50, p99, max: from the turn that took an I/O to its completion.",
		"transl: translations but for those in bypass; hit: found in the IOTLB.",
		"A wide terminal has more columns: max, kicks, irqs.",
	};
	unsigned i;

	for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		line(page, "%s", lines[i]);
}

void top_draw(FILE *out, const struct top_look *look, const struct top_sample *samples,
	      unsigned nr)
{
	static struct row rows[TOP_ENDPOINTS_MAX];
	struct page page = {out, look->cols, look->rows ? look->rows : 1u << 30};
	enum top_sort sort = look->sort;
	unsigned i, rows_nr = fill_rows(rows, samples, nr);

	draw_head(&page, look, samples, nr);
	if (look->help) {
		draw_help(&page);
		return;
	}
	if (nr == 1)
		draw_state(&page, get(samples[0].now, "iommu"));
	line(&page, " ");
	line(&page, "%-10s %5s %5s %5s %5s %5s %5s %5s %6s %6s %6s %4s", "a second",
	     "map", "unmap", "other", "fail", "kicks", "irqs", "batch", "p50", "p99",
	     "faults", "busy");
	for (i = 0; i < nr; i++)
		draw_daemon(&page, &samples[i]);
	line(&page, " ");
	draw_titles(&page);
	qsort_r(rows, rows_nr, sizeof(rows[0]), compare, &sort);
	for (i = 0; i < rows_nr; i++) {
		if (page.left == 1 && i + 1 < rows_nr) {
			line(&page, "and %u more", rows_nr - i);
			break;
		}
		draw_row(&page, &rows[i], nr > 1);
	}
}

/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* What viommu prints of histograms, events and samples, character by character. */
#include <stdio.h>
#include <stdlib.h>

#include "histogram.h"
#include "test.h"
#include "top.h"
#include "trace_print.h"

/* ---- numbers ---- */

static void numbers(void **state)
{
	static const struct {
		uint64_t value;
		const char *ns, *count, *bytes;
	} table[] = {
		{0, "0 ns", "0", "0 B"},
		{7, "7 ns", "7", "7 B"},
		{999, "999 ns", "999", "999 B"},
		{1023, "1.0 us", "1023", "1023 B"},
		{1024, "1.0 us", "1024", "1.0 KiB"},
		{9999, "10 us", "9999", "9.8 KiB"},
		{12345, "12 us", "12.3k", "12.1 KiB"},
		{999499, "999 us", "999k", "976 KiB"},
		{999500, "1.0 ms", "1.0M", "976 KiB"},
		{1048575, "1.0 ms", "1.0M", "1.0 MiB"},
		{1500000000, "1.5 s", "1.5G", "1.4 GiB"},
		{UINT64_MAX, "18446744074 s", "18.4E", "16.0 EiB"},
	};
	char text[FORMAT_LEN];

	(void)state;
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_string_equal(format_ns(table[i].value, text), table[i].ns);
		assert_string_equal(format_count((double)table[i].value, text),
				    table[i].count);
		assert_string_equal(format_bytes((double)table[i].value, text),
				    table[i].bytes);
	}
	assert_string_equal(format_count(0.5, text), "0.5");
	assert_string_equal(format_count(0.01, text), "0");
}

/* ---- histograms ---- */

static struct histogram read_text(const char *text)
{
	json_t *json = json_loads(text, 0, NULL);
	static struct histogram h;

	assert_non_null(json);
	histogram_read(json, &h);
	json_decref(json);
	return h;
}

static void percentiles(void **state)
{
	struct histogram h =
		read_text("{\"sum\":90,\"max\":30,\"buckets\":[[8,9,5],[28,31,2]]}");
	char bars[HISTOGRAM_BARS_LEN];

	(void)state;
	assert_int_equal(h.nr, 7);
	assert_int_equal(histogram_at(&h, 500), 9);
	assert_int_equal(histogram_at(&h, 714), 9);
	assert_int_equal(histogram_at(&h, 715), 30);
	histogram_bars(&h, false, bars);
	assert_string_equal(bars, "#=");
	histogram_bars(&h, true, bars);
	assert_string_equal(bars, "█▄");
}

static void differences(void **state)
{
	struct histogram before =
		read_text("{\"sum\":50,\"max\":900,\"buckets\":[[8,9,5],[896,1023,2]]}");
	struct histogram h =
		read_text("{\"sum\":80,\"max\":900,\"buckets\":[[4,4,1],[8,9,"
			  "8],[896,1023,2]]}");
	struct histogram other =
		read_text("{\"sum\":9,\"max\":6,\"buckets\":[[4,4,1],[6,6,1]]}");

	(void)state;
	histogram_subtract(&h, &before);
	assert_int_equal(h.nr, 4);
	assert_int_equal(h.sum, 30);
	assert_int_equal(h.max, 9);
	histogram_join(&h, &other);
	assert_int_equal(h.nr, 6);
	assert_int_equal(h.buckets_nr, 3);
	assert_int_equal(h.bucket[0].nr, 2);
	assert_int_equal(h.bucket[1].from, 6);
	/* From itself: nothing is left. */
	before = h;
	histogram_subtract(&h, &before);
	assert_int_equal(h.nr, 0);
	assert_int_equal(histogram_at(&h, 990), 0);
}

/* A daemon of another time, or none. */
static void nonsense(void **state)
{
	static const char *const texts[] = {
		"{}",
		"[]",
		"{\"buckets\":7}",
		"{\"buckets\":[7,[],[1],[\"a\",2,3]],\"max\":-3}",
		"{\"buckets\":[[9,8,1],[20,30,1],[10,19,1],[20,30,5]]}",
	};
	char bars[HISTOGRAM_BARS_LEN];

	(void)state;
	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct histogram h = read_text(texts[i]);

		histogram_at(&h, 500);
		histogram_bars(&h, true, bars);
	}
}

/* ---- events ---- */

static void events(void **state)
{
	static const char *const table[][2] = {
		{"{\"event\":\"request\",\"time_ns\":1000,\"type\":\"map\",\"domain\":1,"
		 "\"start\":\"0x1000\",\"last\":\"0x1fff\",\"gpa\":\"0x8000\",\"flags\":"
		 "\"rw\",\"status\":\"ok\",\"duration_ns\":840}",
		 "01:00:00.000001 map     domain 1 0x1000-0x1fff to 0x8000 rw            "
		 "  "
		 "          ok           840 ns\n"},
		{"{\"event\":\"request\",\"time_ns\":0,\"type\":\"attach\",\"domain\":1,"
		 "\"endpoint\":32,\"flags\":\"\",\"status\":\"noent\",\"duration_ns\":"
		 "1200,\"parked\":true}",
		 "01:00:00.000000 attach  domain 1 endpoint 0x20                         "
		 "  "
		 "          noent        1.2 us waited for pages in use\n"},
		{"{\"event\":\"fault\",\"time_ns\":5000,\"endpoint\":32,\"reason\":"
		 "\"mapping\",\"access\":\"w\",\"address\":\"0x2000\"}",
		 "01:00:00.000005 fault   endpoint 0x20 writes 0x2000                    "
		 "  "
		 "          no mapping\n"},
		{"{\"event\":\"dropped\",\"requests\":3,\"faults\":0}",
		 "                lost    3 requests and 0 faults: more than was read in "
		 "time\n"},
		{"{\"event\":\"comet\"}", ""},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		json_t *event = json_loads(table[i][0], 0, NULL);
		char *text = NULL;
		size_t len;
		FILE *out = open_memstream(&text, &len);

		assert_non_null(event);
		trace_print(out, event, 3600000000000, true);
		fclose(out);
		assert_string_equal(text, table[i][1]);
		free(text);
		json_decref(event);
	}
}

/* ---- top ---- */

/* One that has counted nr of everything. */
static json_t *sample(unsigned nr)
{
	return json_pack(
		"{s:i,s:{s:i,s:i,s:i,s:i,s:{s:{s:i,s:i},s:{s:i,s:i,s:i}},s:{s:i,s:i},s:{"
		"s:{s"
		":i,s:i,s:[[i,i,i],[i,i,i]]}},s:{s:i,s:i,s:[[i,i,i]]},s:[{s:i,s:i}],s:{s:"
		"i}}"
		",s:[{s:s,s:s,s:b,s:i,s:i,s:i,s:i,s:{s:i,s:i,s:i,s:i},s:{s:{s:i,s:i,s:[["
		"i,i,i]]},s:{s:i,s:i,s:[[i,"
		"i,i]]}}},{s:s,s:s,s:b,s:{s:i}}]}",
		"uptime_ms", 3723000, "iommu", "domains", 2, "endpoints", 1, "mappings",
		12, "mapped_bytes", 49152, "requests", "map", "total", nr, "ok", nr,
		"unmap", "total", nr, "ok", nr / 2, "range", nr - nr / 2, "faults",
		"total", nr / 100, "events_dropped", 0, "latency_ns", "map", "sum",
		nr * 1000, "max", 60000, "buckets", 896, 1023, nr, 57344, 65535, nr / 50,
		"batch", "sum", nr * 2, "max", 8, "buckets", 2, 2, nr, "queues", "kicks",
		nr, "irqs", nr / 2, "poll", "busy_us", nr * 100, "endpoints", "id",
		"disk0", "type", "blk", "iommu", 1, "domain", 1, "iotlb_hits", nr * 9,
		"iotlb_misses", nr, "faults", nr / 100, "counters", "reads", nr, "writes",
		nr, "read_bytes", nr * 4096, "kicks", nr, "latency_ns", "read", "sum",
		nr * 8000, "max", 8200, "buckets", 7168, 8191, nr * 9, "write", "sum",
		nr * 90, "max", 98000, "buckets", 81920, 98303, nr, "id", "net0", "type",
		"net", "iommu", 0, "counters", "tx_frames", nr * 3);
}

static char *draw(const struct top_look *look, const struct top_sample *samples,
		  unsigned nr)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	top_draw(out, look, samples, nr);
	fclose(out);
	return text;
}

static const char golden[] =
	"viommu top 14:03:22  vm1, up 1:02:03  every 1 s, by bytes\n"
	"now: 2 domains, 1 endpoints, 12 mappings of 48.0 KiB; ever: 20 faults, 0 "
	"dropped\n"
	"\n"
	"a second     map unmap other  fail kicks  irqs batch    p50    p99 faults busy\n"
	"vm1          500   500     0   250   500   250     2 1.0 us  60 us      5   5%\n"
	"\n"
	"endpoint     kind    domain    I/O     bytes    p50    p99 transl    hit "
	"faults\n"
	"disk0        blk          1   1000   2.0 MiB 8.2 us  98 us   5000  90.0%      "
	"5\n"
	"net0         net       none   1500       0 B      -      -      0      -      "
	"0\n";

/* The widest, and the narrowest that is of any use. */
static const char wide[] =
	"endpoint     kind    domain    I/O     bytes    p50    p99    max transl    hit "
	"kicks  irqs faults\n"
	"disk0        blk          1   1000   2.0 MiB 8.2 us  98 us  98 us   5000  90.0% "
	"  500     0      5\n";
static const char narrow[] = "endpoint        I/O     bytes    p99 faults\n"
			     "disk0          1000   2.0 MiB  98 us      5\n";

static void picture(void **state)
{
	struct top_look look = {.sort = TOP_BY_BYTES,
				.delay = 1,
				.rows = 24,
				.cols = 80,
				.clock = "14:03:22"};
	struct top_sample s = {.name = "vm1", .seconds = 2};
	char *text;

	(void)state;
	s.before = sample(1000);
	s.now = sample(2000);
	text = draw(&look, &s, 1);
	assert_string_equal(text, golden);
	free(text);
	look.cols = 98;
	text = draw(&look, &s, 1);
	assert_non_null(strstr(text, wide));
	free(text);
	look.cols = 46;
	text = draw(&look, &s, 1);
	assert_non_null(strstr(text, narrow));
	free(text);
	look.cols = 80;
	/* By I/O the other one is first. */
	look.sort = TOP_BY_IO;
	text = draw(&look, &s, 1);
	assert_true(strstr(text, "net0") < strstr(text, "disk0"));
	free(text);
	json_decref(s.before);
	json_decref(s.now);
}

/* Whatever the size, no line is too long and there are not too many. */
static void fits(void **state)
{
	struct top_sample s[2] = {
		{.name = "vm1", .seconds = 1},
		{.name = "a name longer than any column", .seconds = 1}};
	struct top_look look = {.delay = 1, .clock = "14:03:22", .paused = true};

	(void)state;
	s[0].before = sample(0);
	s[0].now = sample(2000000);
	for (look.rows = 1; look.rows < 20; look.rows++)
		for (look.cols = 1; look.cols < 100; look.cols += 7)
			for (unsigned nr = 1; nr <= 2; nr++) {
				char *text, *at, *end;
				unsigned lines = 0;

				look.help = look.cols % 2;
				text = draw(&look, s, nr);
				for (at = text; *at; at = end + 1) {
					end = strchr(at, '\n');
					assert_non_null(end);
					assert_true(end - at <= look.cols);
					lines++;
				}
				assert_true(lines <= look.rows);
				free(text);
			}
	json_decref(s[0].before);
	json_decref(s[0].now);
}

/* The first look, a daemon that began anew, one that has ended. */
static void odd_samples(void **state)
{
	struct top_look look = {.delay = 1, .cols = 80, .clock = "14:03:22"};
	struct top_sample s[2] = {{.name = "vm1"}, {.name = "vm2", .seconds = 1}};
	char *text;

	(void)state;
	s[0].now = sample(7);
	s[1].before = sample(5);
	text = draw(&look, s, 2);
	assert_non_null(strstr(text, "2 daemons"));
	assert_non_null(strstr(text, "vm2        has ended"));
	assert_non_null(strstr(text, "vm1:disk0"));
	free(text);
	s[0].before = sample(1000);
	s[0].seconds = 1;
	text = draw(&look, s, 1);
	assert_null(strstr(text, "-9"));
	free(text);
	json_decref(s[0].before);
	json_decref(s[0].now);
	json_decref(s[1].before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers),     cmocka_unit_test(percentiles),
		cmocka_unit_test(differences), cmocka_unit_test(nonsense),
		cmocka_unit_test(events),      cmocka_unit_test(picture),
		cmocka_unit_test(fits),	       cmocka_unit_test(odd_samples),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <string.h>

#include "histogram.h"
#include "stat_print.h"

static long long number(json_t *object, const char *key)
{
	return (long long)json_integer_value(json_object_get(object, key));
}

static const char *text(json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "-";
}

/* The statuses of a request type that are not ok. */
static void print_refused(FILE *out, json_t *counts)
{
	const char *status, *comma = "  ";
	json_t *value;

	json_object_foreach(counts, status, value)
	{
		if (!strcmp(status, "total") || !strcmp(status, "ok"))
			continue;
		fprintf(out, "%s%s %lld", comma, status,
			(long long)json_integer_value(value));
		comma = ", ";
	}
}

static void print_requests(FILE *out, json_t *requests)
{
	const char *type;
	json_t *counts;

	fprintf(out, "\n%-10s %12s %12s  not ok\n", "request", "total", "ok");
	json_object_foreach(requests, type, counts)
	{
		if (!json_is_object(counts) || !number(counts, "total"))
			continue;
		fprintf(out, "%-10s %12lld %12lld", type, number(counts, "total"),
			number(counts, "ok"));
		print_refused(out, counts);
		fputc('\n', out);
	}
	if (number(requests, "unanswered"))
		fprintf(out, "%-10s %12lld\n", "unanswered",
			number(requests, "unanswered"));
}

static void print_times(FILE *out, const char *name, json_t *json)
{
	char p50[FORMAT_LEN], p90[FORMAT_LEN], p99[FORMAT_LEN], max[FORMAT_LEN];
	char bars[HISTOGRAM_BARS_LEN], from[FORMAT_LEN];
	struct histogram h = {0};

	histogram_read(json, &h);
	if (!h.nr)
		return;
	histogram_bars(&h, format_utf8(), bars);
	fprintf(out, "%-16.16s %12llu %8s %8s %8s %8s  %7s %s\n", name,
		(unsigned long long)h.nr, format_ns(histogram_at(&h, 500), p50),
		format_ns(histogram_at(&h, 900), p90),
		format_ns(histogram_at(&h, 990), p99), format_ns(h.max, max),
		format_ns(h.bucket[0].from, from), bars);
}

static void print_batch(FILE *out, json_t *json)
{
	char bars[HISTOGRAM_BARS_LEN];
	struct histogram h = {0};

	histogram_read(json, &h);
	if (!h.nr)
		return;
	histogram_bars(&h, format_utf8(), bars);
	fprintf(out, "%-16s %12llu %8llu %8llu %8llu %8llu  %7llu %s\n", "batch size",
		(unsigned long long)h.nr, (unsigned long long)histogram_at(&h, 500),
		(unsigned long long)histogram_at(&h, 900),
		(unsigned long long)histogram_at(&h, 990), (unsigned long long)h.max,
		(unsigned long long)h.bucket[0].from, bars);
}

static void print_times_head(FILE *out, const char *title)
{
	fprintf(out, "\n%-16s %12s %8s %8s %8s %8s  %7s\n", title, "nr", "p50", "p90",
		"p99", "max", "from");
}

/* From when a request was found to its reply; a bar is a power of two. */
static void print_latency(FILE *out, json_t *iommu)
{
	json_t *latency = json_object_get(iommu, "latency_ns"), *one;
	const char *type;

	if (!json_object_size(latency))
		return;
	print_times_head(out, "latency");
	json_object_foreach(latency, type, one)
	{
		print_times(out, type, one);
	}
	print_batch(out, json_object_get(iommu, "batch"));
}

/* From the turn that took an I/O to its completion. */
static void print_io_latency(FILE *out, json_t *endpoints)
{
	json_t *one, *latency, *h;
	const char *kind;
	bool any = false;
	char name[64];
	size_t i;

	for (i = 0; (one = json_array_get(endpoints, i)) != NULL; i++) {
		latency = json_object_get(one, "latency_ns");
		if (json_object_size(latency) && !any)
			print_times_head(out, "I/O latency");
		any |= json_object_size(latency) > 0;
		json_object_foreach(latency, kind, h)
		{
			snprintf(name, sizeof(name), "%.10s %.5s", text(one, "id"), kind);
			print_times(out, name, h);
		}
	}
}

static void print_faults_line(FILE *out, json_t *faults)
{
	fprintf(out,
		"faults     %lld (no mapping %lld, no domain %lld, unknown %lld); events "
		"sent %lld, dropped %lld, over the rate %lld\n",
		number(faults, "total"), number(faults, "mapping"),
		number(faults, "domain"), number(faults, "unknown"),
		number(faults, "events_sent"), number(faults, "events_dropped"),
		number(faults, "events_limited"));
}

static void print_loop(FILE *out, const char *name, json_t *loop)
{
	fprintf(out, "%-12s %-6s %7lld %-7s %10.1f %10lld %10lld %10lld %10.1f %10.1f\n",
		name, text(loop, "policy"), number(loop, "max_us"),
		json_is_true(json_object_get(loop, "crowded")) ? "yes" : "no",
		(double)number(loop, "window_ns") / 1e3, number(loop, "polls"),
		number(loop, "found"), number(loop, "sleeps"),
		(double)number(loop, "busy_us") / 1e3,
		(double)number(loop, "watched_us") / 1e3);
}

static void print_threads(FILE *out, json_t *iommu, json_t *threads)
{
	char name[32];
	size_t i;

	fprintf(out, "\n%-12s %-6s %7s %-7s %10s %10s %10s %10s %10s %10s\n", "thread",
		"policy", "max us", "crowded", "window us", "polls", "found", "sleeps",
		"busy ms", "watched ms");
	print_loop(out, "iommu", json_object_get(iommu, "poll"));
	for (i = 0; i < json_array_size(threads); i++) {
		snprintf(name, sizeof(name), "endpoints-%zu", i);
		print_loop(out, name, json_array_get(threads, i));
	}
}

static void print_socket(FILE *out, json_t *of, long long kicks)
{
	json_t *socket = json_object_get(of, "socket");

	fprintf(out, "%-12s %-9s %10lld %10lld %10lld %10lld %10lld\n", text(of, "id"),
		json_is_true(json_object_get(socket, "connected")) ? "connected"
								   : "alone",
		number(socket, "messages"), number(socket, "posted_writes"), kicks,
		number(socket, "irqs"), number(socket, "protocol_errors"));
}

/* Kicks of all queues, from whichever place they are counted. */
static long long sum_kicks(json_t *of)
{
	json_t *queues = json_object_get(of, "queues");
	long long sum = number(json_object_get(of, "counters"), "kicks");
	size_t i;

	for (i = 0; i < json_array_size(queues); i++)
		sum += number(json_array_get(queues, i), "kicks");
	return sum;
}

static void print_sockets(FILE *out, json_t *iommu, json_t *endpoints)
{
	json_t *one;
	size_t i;

	fprintf(out, "\n%-12s %-9s %10s %10s %10s %10s %10s\n", "socket", "client",
		"messages", "posted", "kicks", "irqs", "errors");
	print_socket(out, iommu, sum_kicks(iommu));
	for (i = 0; (one = json_array_get(endpoints, i)) != NULL; i++)
		print_socket(out, one, sum_kicks(one));
}

static void print_place(FILE *out, json_t *one)
{
	char ep[16] = "-", domain[16] = "-";

	if (json_object_get(one, "ep"))
		snprintf(ep, sizeof(ep), "0x%llx", number(one, "ep"));
	if (json_is_true(json_object_get(one, "bypass")))
		snprintf(domain, sizeof(domain), "bypass");
	else if (json_object_get(one, "domain"))
		snprintf(domain, sizeof(domain), "%lld", number(one, "domain"));
	fprintf(out, "%-12s %-9s %6s %8s %12lld %12lld %8lld\n", text(one, "id"),
		text(one, "type"), ep, domain, number(one, "iotlb_hits"),
		number(one, "iotlb_misses"), number(one, "faults"));
}

static void print_counters(FILE *out, json_t *one)
{
	const char *name;
	json_t *value;
	unsigned column = 0;

	json_object_foreach(json_object_get(one, "counters"), name, value)
	{
		if (!json_integer_value(value))
			continue;
		fprintf(out, "%s%s %lld", column ? ", " : "    ", name,
			(long long)json_integer_value(value));
		if (++column % 6 == 0)
			fputs("\n", out), column = 0;
	}
	if (column)
		fputc('\n', out);
}

static void print_endpoints(FILE *out, json_t *endpoints)
{
	json_t *one;
	size_t i;

	fprintf(out, "\n%-12s %-9s %6s %8s %12s %12s %8s\n", "endpoint", "kind", "ep",
		"domain", "IOTLB hits", "misses", "faults");
	for (i = 0; (one = json_array_get(endpoints, i)) != NULL; i++) {
		print_place(out, one);
		print_counters(out, one);
	}
}

void stat_print(FILE *out, json_t *stat)
{
	json_t *iommu = json_object_get(stat, "iommu");
	json_t *endpoints = json_object_get(stat, "endpoints");
	char bytes[FORMAT_LEN];

	fprintf(out,
		"viommud %s, up %.1f s: %lld domains, %lld endpoints, %lld mappings of ",
		text(stat, "version"), (double)number(stat, "uptime_ms") / 1e3,
		number(iommu, "domains"), number(iommu, "endpoints"),
		number(iommu, "mappings"));
	fprintf(out, "%s\n", format_bytes((double)number(iommu, "mapped_bytes"), bytes));
	print_faults_line(out, json_object_get(iommu, "faults"));
	if (number(iommu, "parked"))
		fprintf(out,
			"waits      %lld requests waited for pages in use, %lld in "
			"vain\n",
			number(iommu, "parked"), number(iommu, "hold_timeouts"));
	print_requests(out, json_object_get(iommu, "requests"));
	print_latency(out, iommu);
	print_endpoints(out, endpoints);
	print_io_latency(out, endpoints);
	print_sockets(out, iommu, endpoints);
	print_threads(out, iommu, json_object_get(stat, "threads"));
}

void stat_print_faults(FILE *out, json_t *faults)
{
	json_t *one;
	size_t i;

	if (!json_array_size(faults))
		return;
	fprintf(out, "\n%-12s %8s %-20s %-6s %s\n", "fault", "endpoint", "address",
		"access", "reason");
	for (i = 0; (one = json_array_get(faults, i)) != NULL; i++)
		fprintf(out, "%8.1f s ago %5lld %-20s %-6s no %s\n",
			(double)number(one, "age_ms") / 1e3, number(one, "endpoint"),
			text(one, "address"), text(one, "access"), text(one, "reason"));
}

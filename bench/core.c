/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * bench_core [FILE]: the translation core against its baseline, in one run.
 * Prints a table and writes FILE (JSON). All times are CPU time of the measuring
 * thread, medians of several rounds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core.h"

/* Translations in a section of the reader, and UNMAPs that the writer answers
 * together. The first is what the target is about: sections of the shortest kind a
 * busy queue makes, and a ring's batch of requests. */
static const struct reader_case {
	unsigned section, batch;
} reader_cases[] = {{64, 64}, {256, 64}, {512, 64}, {64, 1}, {256, 1}, {512, 1}};
#define READER_CASES_NR 6u

struct results {
	struct table_result gtree[PATTERNS_NR][SIZES_NR], ours[PATTERNS_NR][SIZES_NR];
	struct access_result access;
	struct readers_result readers[READER_CASES_NR];
	struct ring_result ring;
};

static void note(const char *what)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K%s", what);
}

static void measure(struct results *r)
{
	char line[64];

	note("accesses");
	r->access = measure_access();
	for (unsigned p = 0; p < PATTERNS_NR; p++)
		for (unsigned s = 0; s < SIZES_NR; s++) {
			snprintf(line, sizeof(line), "%u mappings, %s", sizes[s],
				 pattern_name[p]);
			note(line);
			r->gtree[p][s] = measure_table(&table_gtree, p, sizes[s]);
			r->ours[p][s] = measure_table(&table_space, p, sizes[s]);
		}
	note("rings");
	r->ring = measure_ring();
	note("readers beside a writer");
	for (unsigned i = 0; i < READER_CASES_NR; i++)
		r->readers[i] =
			measure_readers(reader_cases[i].section, reader_cases[i].batch);
	note("");
}

/* ---- the table ---- */

static void print_tables(const struct results *r)
{
	printf("%-11s %8s | %-24s | %-24s | %-24s | bytes\n", "mappings", "",
	       "map+unmap ns", "map new, unmap old ns", "lookup ns");
	printf("%-11s %8s | %8s %8s %6s | %8s %8s %6s | %8s %8s %6s |\n", "", "", "GTree",
	       "viommu", "", "GTree", "viommu", "", "GTree", "viommu", "");
	for (unsigned p = 0; p < PATTERNS_NR; p++)
		for (unsigned s = 0; s < SIZES_NR; s++) {
			const struct table_result *g = &r->gtree[p][s];
			const struct table_result *o = &r->ours[p][s];

			printf("%-11s %8u | %8.1f %8.1f %5.1fx | %8.1f %8.1f %5.1fx | "
			       "%8.1f %8.1f %5.1fx | %5.1f\n",
			       pattern_name[p], sizes[s], g->pair, o->pair,
			       g->pair / o->pair, g->churn, o->churn, g->churn / o->churn,
			       g->lookup, o->lookup, g->lookup / o->lookup, o->bytes);
		}
}

static void verdict(const char *what, double value, bool at_least, double target)
{
	bool met = at_least ? value >= target : value <= target;

	printf("%-58s %8.2f  %s %5.2f  %s\n", what, value, at_least ? ">=" : "<=", target,
	       met ? "met" : "MISSED");
}

static void print_targets(const struct results *r)
{
	const struct table_result *g = r->gtree[RANDOM], *o = r->ours[RANDOM];

	printf("\n%-58s %8s  %s\n", "target (random addresses)", "is", "wanted");
	verdict("map+unmap at 64 Ki, times faster than GTree", g[2].pair / o[2].pair,
		true, 6);
	verdict("map+unmap at 1 Mi, times faster than GTree", g[3].pair / o[3].pair, true,
		6);
	verdict("lookup at 64 Ki, times faster than GTree", g[2].lookup / o[2].lookup,
		true, 5);
	verdict("IOTLB hit, times faster than GTree lookup at 64 Ki",
		g[2].lookup / r->access.hit, true, 40);
	verdict("IOTLB hit, times an array index", r->access.hit / r->access.array, false,
		3);
	verdict("map+unmap at 1 Mi, times 4 Ki", o[3].pair / o[1].pair, false, 2.5);
	verdict("bytes a mapping at 1 Mi", o[3].bytes, false, 64);
	verdict("reader's rate beside a writer",
		r->readers[0].with_writer / r->readers[0].alone, true, 0.85);
	if (r->ring.noop_mops > 0)
		verdict("batches of MAP through a ring, share of no-ops",
			r->ring.map_batch_mops / r->ring.noop_mops, true, 0.6);
}

static void print_rest(const struct results *r)
{
	const struct access_result *a = &r->access;

	printf("\nns an access: array index %.2f, IOTLB hit %.2f (called %.2f), large "
	       "mapping %.2f,\n  bypass %.2f, no IOMMU %.2f; a hit in a section of its "
	       "own %.2f\n",
	       a->array, a->hit, a->call, a->large, a->bypass, a->no_iommu,
	       a->hit_section);
	printf("page by page through contiguous memory mapped by the page: %.1f ns, "
	       "%.0f %% hits\n",
	       a->sequential, 100 * a->sequential_hits);
	for (unsigned i = 0; i < READER_CASES_NR; i++) {
		const struct readers_result *c = &r->readers[i];

		printf("reader, sections of %3u: alone %3.0f M/s, with a writer %3.0f "
		       "(%.0f %%), which makes %.2f M pairs/s in batches of %u\n",
		       reader_cases[i].section, c->alone, c->with_writer,
		       100 * c->with_writer / c->alone, c->writer, reader_cases[i].batch);
	}
	if (r->ring.noop_mops > 0)
		printf("ring: %.2f M no-ops/s, %.2f M MAPs/s in batches, %.2f us a MAP "
		       "that is waited for\n",
		       r->ring.noop_mops, r->ring.map_batch_mops, r->ring.map_sync_us);
}

/* ---- JSON ---- */

static void write_sizes(FILE *f, const char *key, const struct table_result *t,
			size_t field, const char *end)
{
	fprintf(f, "\"%s\": {", key);
	for (unsigned s = 0; s < SIZES_NR; s++)
		fprintf(f, "%s\"%u\": %.2f", s ? ", " : "", sizes[s],
			*(const double *)((const char *)&t[s] + field));
	fprintf(f, "}%s", end);
}

static void write_pairs_lookups(FILE *f, const struct table_result *t, const char *end)
{
	write_sizes(f, "map_unmap_pair_ns", t, offsetof(struct table_result, pair), ", ");
	write_sizes(f, "lookup_ns", t, offsetof(struct table_result, lookup), ", ");
	write_sizes(f, "map_new_unmap_old_ns", t, offsetof(struct table_result, churn),
		    end);
}

static void write_patterns(FILE *f, const struct results *r)
{
	fprintf(f, "  \"patterns\": {\n");
	for (unsigned p = 0; p < PATTERNS_NR; p++) {
		fprintf(f, "    \"%s\": {", pattern_name[p]);
		write_pairs_lookups(f, r->ours[p], ",\n      \"baseline_gtree\": {");
		write_pairs_lookups(f, r->gtree[p], "}}");
		fprintf(f, "%s\n", p + 1 < PATTERNS_NR ? "," : "");
	}
	fprintf(f, "  }\n");
}

static void write_readers(FILE *f, const struct results *r)
{
	fprintf(f, "  \"readers\": {\"alone_mops\": %.2f, \"with_writer_mops\": %.2f},\n",
		r->readers[0].alone, r->readers[0].with_writer);
	fprintf(f, "  \"readers_cases\": [");
	for (unsigned i = 0; i < READER_CASES_NR; i++)
		fprintf(f,
			"%s\n    {\"section\": %u, \"batch\": %u, \"alone_mops\": %.2f, "
			"\"with_writer_mops\": %.2f, \"pairs_mops\": %.3f}",
			i ? "," : "", reader_cases[i].section, reader_cases[i].batch,
			r->readers[i].alone, r->readers[i].with_writer,
			r->readers[i].writer);
	fprintf(f, "],\n");
}

static void write_json(FILE *f, const struct results *r)
{
	const struct table_result *o = r->ours[RANDOM];

	fprintf(f, "{\n  ");
	write_pairs_lookups(f, o, ",\n");
	fprintf(f, "  \"baseline_gtree\": {");
	write_pairs_lookups(f, r->gtree[RANDOM], "},\n");
	fprintf(f, "  \"iotlb_hit_ns\": %.3f,\n  \"bypass_ns\": %.3f,\n", r->access.hit,
		r->access.bypass);
	fprintf(f,
		"  \"iotlb_hit_call_ns\": %.3f,\n  \"iotlb_hit_section_ns\": %.3f,\n"
		"  \"iotlb_hit_large_ns\": %.3f,\n  \"no_iommu_ns\": %.3f,\n"
		"  \"array_index_ns\": %.3f,\n  \"sequential_ns\": %.3f,\n"
		"  \"sequential_hit_share\": %.4f,\n",
		r->access.call, r->access.hit_section, r->access.large,
		r->access.no_iommu, r->access.array, r->access.sequential,
		r->access.sequential_hits);
	fprintf(f,
		"  \"ring\": {\"noop_mops\": %.3f, \"map_batch_mops\": %.3f, "
		"\"map_sync_us\": %.3f, \"unknown_mops\": %.3f},\n",
		r->ring.noop_mops, r->ring.map_batch_mops, r->ring.map_sync_us,
		r->ring.unknown_mops);
	write_readers(f, r);
	fprintf(f, "  \"bytes_per_mapping\": %.2f,\n", o[SIZES_NR - 1].bytes);
	write_patterns(f, r);
	fprintf(f, "}\n");
}

int main(int argc, char **argv)
{
	static struct results r;
	FILE *f = NULL;

	if (argc > 1) {
		f = fopen(argv[1], "w");
		if (!f) {
			perror(argv[1]);
			return 2;
		}
	}
	measure(&r);
	print_tables(&r);
	print_targets(&r);
	print_rest(&r);
	if (!f)
		return 0;
	write_json(f, &r);
	return fclose(f) ? 1 : 0;
}

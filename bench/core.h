/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* What the parts of the core bench share. */
#ifndef BENCH_CORE_H
#define BENCH_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <viommu/base.h>

/* ---- time and memory ---- */

/* CPU time of this thread in ns: other people's load does not count. */
uint64_t cpu_ns(void);
/* Keeps a result from being optimised away. */
void keep(uint64_t value);

struct counted_alloc {
	size_t live_len; /* bytes */
	struct viommu_alloc ops;
};
void counted_alloc_init(struct counted_alloc *ca);

double median(double *v, unsigned nr); /* sorts v */

/* ---- address patterns ---- */

#define PAGE_LG2 12
enum pattern { CONTIGUOUS, STRIDED, RANDOM, PATTERNS_NR };
extern const char *const pattern_name[PATTERNS_NR];
extern const unsigned sizes[];
#define SIZES_NR 4u

/* nr distinct pages in random order (iovas of their first bytes). The caller
 * frees it. */
uint64_t *make_pages(enum pattern pattern, unsigned nr);
uint64_t random64(void);

/* ---- structures that map a page ---- */

struct table {
	const char *name;
	void *(*create)(void);
	void (*destroy)(void *t);
	void (*map)(void *t, uint64_t iova, uint64_t gpa); /* one page */
	void (*unmap)(void *t, uint64_t iova);
	uint64_t (*lookup)(void *t, uint64_t iova); /* address it is mapped to */
	size_t (*bytes)(void *t);		    /* NULL: not known */
};
extern const struct table table_gtree, table_space;

/* Nanoseconds an operation; medians. */
struct table_result {
	double pair, churn, lookup;
	double bytes; /* a mapping */
};
struct table_result measure_table(const struct table *t, enum pattern pattern,
				  unsigned nr);

/* ---- one access ---- */

struct access_result {
	double array;	    /* bounds-checked array index */
	double hit;	    /* viommu_dma_reach() that hits */
	double call;	    /* viommu_dma_translate() that hits */
	double hit_section; /* the same in a section of its own */
	double large;	    /* hit in a 1 GiB mapping, all over it */
	double bypass, no_iommu;
	/* through memory that is contiguous and mapped page by page: an access a
	 * page, and the share of them that hit */
	double sequential, sequential_hits;
};
struct access_result measure_access(void);

/* Requests through a ring in shared memory. */
struct ring_result {
	/* million requests a second: of no known type, well-formed with nothing
	 * to do, MAP */
	double unknown_mops, noop_mops, map_batch_mops;
	double map_sync_us; /* one MAP, its reply waited for */
};
struct ring_result measure_ring(void);

struct readers_result {
	double alone, with_writer; /* million translations a second of CPU time */
	double writer;		   /* million pairs a second meanwhile */
};
/* section: translations in each section of the reader. batch: UNMAPs that are
 * answered together. */
struct readers_result measure_readers(unsigned section, unsigned batch);

#endif

/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * bench_core_count OP COUNT [MAPPINGS]: does one operation COUNT times in run_OP(),
 * beside MAPPINGS mappings (65536, or up to 1 Mi), for a tool that counts instructions
 * (tools/bench-count). Without arguments: lists the operations.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"
#include "core_rig.h"

#define MAPPINGS     65536u
#define MAPPINGS_MAX (1u << 20)
#define SPARE	     65536u /* COUNT at most */
#define PAIR_PAGES   4096u
/* Where there is no cloning there is nothing to switch off. */
#if __has_attribute(noclone)
#define noinline __attribute__((noinline, noclone))
#else
#define noinline __attribute__((noinline))
#endif

struct bench {
	struct core_rig rig;
	struct viommu_dma *bypass; /* without an IOMMU */
	unsigned mappings_nr;
	uint64_t *page; /* of mapped ones, then SPARE others */
};

static int map_page(struct bench *b, uint64_t iova, uint64_t gpa)
{
	return space_map(b->rig.space, CORE_DOMAIN, iova, iova + 4095, gpa,
			 VIOMMU_READ | VIOMMU_WRITE);
}

static noinline void run_map(struct bench *b, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		if (map_page(b, b->page[b->mappings_nr + i], 0))
			abort();
}

static noinline void run_unmap(struct bench *b, unsigned nr)
{
	unsigned removed;

	for (unsigned i = 0; i < nr; i++)
		space_unmap(b->rig.space, CORE_DOMAIN, b->page[i], b->page[i] + 4095,
			    &removed);
}

/* One map and unmap each, of pages beside the mapped ones: as many as bench_core's. */
static noinline void run_pair(struct bench *b, unsigned nr)
{
	unsigned removed;

	for (unsigned i = 0; i < nr; i++) {
		uint64_t iova = b->page[b->mappings_nr + i % PAIR_PAGES];

		if (map_page(b, iova, 0) ||
		    space_unmap(b->rig.space, CORE_DOMAIN, iova, iova + 4095, &removed))
			abort();
	}
}

/* As the device does for a batch of requests. */
static noinline void run_unmap_batch(struct bench *b, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		space_unmap_later(b->rig.space, CORE_DOMAIN, b->page[i],
				  b->page[i] + 4095);
		if (i % 64 == 63)
			space_settle(b->rig.space);
	}
}

#define LOST 4096u /* mappings that were given up and are held still */

static void lose(struct bench *b)
{
	static struct iovec iov[LOST];
	static struct viommu_hold hold[LOST];
	static struct viommu_sg sg = {iov, 0, LOST, hold, 0, LOST, 0};
	const uint64_t start = 1ull << 61;
	unsigned removed;

	for (uint64_t i = 0; i < LOST; i++)
		if (map_page(b, start + (i << 12), i << 13) ||
		    viommu_dma_get(b->rig.dma, start + (i << 12), 1, VIOMMU_READ, &sg))
			abort();
	space_unmap(b->rig.space, CORE_DOMAIN, start, UINT64_MAX, &removed);
	space_give_up(b->rig.space);
}

/* Beside what transfers never let go of. */
static noinline void run_pair_lost(struct bench *b, unsigned nr)
{
	run_pair(b, nr);
}

static noinline void run_lookup(struct bench *b, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		if (!tlb_fill(b->rig.dma, b->page[i % b->mappings_nr], VIOMMU_READ))
			abort();
}

static noinline void run_hit(struct bench *b, unsigned nr)
{
	struct viommu_span span;

	for (unsigned i = 0; i < nr; i++)
		if (!viommu_dma_reach(b->rig.dma, b->page[0] + i % 4096, 1, 1, &span))
			keep((uintptr_t)span.hva);
}

static noinline void run_hit_call(struct bench *b, unsigned nr)
{
	struct viommu_span span;

	for (unsigned i = 0; i < nr; i++)
		if (!viommu_dma_translate(b->rig.dma, b->page[0] + i % 4096, 1, 1, &span))
			keep((uintptr_t)span.hva);
}

static noinline void run_section(struct bench *b, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		viommu_dma_end(b->rig.dma);
		viommu_dma_begin(b->rig.dma);
	}
}

static void get_put(struct bench *b, unsigned nr, unsigned perm)
{
	struct iovec iov;
	struct viommu_hold hold;
	struct viommu_sg sg = {&iov, 0, 1, &hold, 0, 1, 0};

	for (unsigned i = 0; i < nr; i++) {
		if (viommu_dma_get(b->rig.dma, b->page[0], 4096, perm, &sg))
			abort();
		viommu_dma_put(b->rig.dma, &sg);
	}
}

static noinline void run_get_put(struct bench *b, unsigned nr)
{
	get_put(b, nr, VIOMMU_READ);
}

static noinline void run_get_put_write(struct bench *b, unsigned nr)
{
	get_put(b, nr, VIOMMU_WRITE);
}

/* The library's own path of a write, not the inlined one. */
static void translate(struct viommu_dma *dma, uint64_t iova, unsigned nr)
{
	struct viommu_span span;

	for (unsigned i = 0; i < nr; i++)
		if (!viommu_dma_translate(dma, iova + i % 4096, 1, VIOMMU_WRITE, &span))
			keep((uintptr_t)span.hva);
}

static noinline void run_write(struct bench *b, unsigned nr)
{
	translate(b->rig.dma, b->page[0], nr);
}

static noinline void run_bypass_write(struct bench *b, unsigned nr)
{
	translate(b->bypass, 0, nr);
}

#define CHAIN 16u /* buffers of a descriptor chain, each in a mapping of its own */

static void fill_chain(const struct bench *b, struct viommu_dma_seg *seg)
{
	for (unsigned i = 0; i < CHAIN; i++)
		seg[i] = (struct viommu_dma_seg){b->page[i], 4096, VIOMMU_WRITE};
}

/* A chain is held, buffer by buffer, and let go. */
static noinline void run_chain16(struct bench *b, unsigned nr)
{
	struct iovec iov[CHAIN];
	struct viommu_hold hold[CHAIN];
	struct viommu_sg sg = {iov, 0, CHAIN, hold, 0, CHAIN, 0};
	struct viommu_dma_seg seg[CHAIN];

	for (unsigned i = 0; i < nr; i++) {
		fill_chain(b, seg);
		for (unsigned j = 0; j < CHAIN; j++)
			if (viommu_dma_get(b->rig.dma, seg[j].iova, seg[j].len,
					   seg[j].perm, &sg))
				abort();
		viommu_dma_put(b->rig.dma, &sg);
	}
}

/* The same at once. */
static noinline void run_chain16_batch(struct bench *b, unsigned nr)
{
	struct iovec iov[CHAIN];
	struct viommu_hold hold[CHAIN];
	struct viommu_sg sg = {iov, 0, CHAIN, hold, 0, CHAIN, 0};
	struct viommu_dma_seg seg[CHAIN];
	unsigned failed;

	for (unsigned i = 0; i < nr; i++) {
		fill_chain(b, seg);
		if (viommu_dma_get_batch(b->rig.dma, seg, CHAIN, &sg, &failed))
			abort();
		viommu_dma_put(b->rig.dma, &sg);
	}
}

static noinline void run_sg16(struct bench *b, unsigned nr)
{
	struct iovec iov[16];

	for (unsigned i = 0; i < nr; i++)
		if (viommu_dma_sg(b->rig.dma, 1ull << 60, 65536, 1, iov, 16) != 16)
			abort();
}

static const struct {
	const char *name;
	void (*run)(struct bench *b, unsigned nr);
} ops[] = {
	{"map", run_map},
	{"unmap", run_unmap},
	{"pair", run_pair},
	{"pair_lost", run_pair_lost},
	{"lookup", run_lookup},
	{"unmap_batch", run_unmap_batch},
	{"hit", run_hit},
	{"hit_call", run_hit_call},
	{"write", run_write},
	{"bypass_write", run_bypass_write},
	{"section", run_section},
	{"get_put", run_get_put},
	{"get_put_write", run_get_put_write},
	{"chain16", run_chain16},
	{"chain16_batch", run_chain16_batch},
	{"sg16", run_sg16},
};

static int setup(struct bench *b)
{
	int rc = core_rig_init(&b->rig);

	rc = rc ? rc
		: viommu_dma_create(NULL, b->rig.mem, &b->rig.alloc.ops, NULL, NULL,
				    &b->bypass);
	b->page = make_pages(RANDOM, b->mappings_nr + SPARE);
	for (unsigned i = 0; i < b->mappings_nr && !rc; i++)
		rc = map_page(b, b->page[i], (uint64_t)i << 13);
	for (uint64_t i = 0; i < 16 && !rc; i++)
		rc = map_page(b, (1ull << 60) + (i << 12), i << 13);
	return rc;
}

static bool removes(const char *name)
{
	return !strncmp(name, "unmap", 5);
}

/* UNMAP waits for sections: none is open around one. Nor is one when a transfer
 * ends. */
static bool is_in_section(const char *name)
{
	return !removes(name) && strcmp(name, "map") && strncmp(name, "pair", 4) &&
	       strcmp(name, "get_put_write");
}

static int run(const char *name, unsigned nr, unsigned mappings_nr)
{
	static struct bench b;

	b.mappings_nr = mappings_nr;
	for (unsigned i = 0; i < ARRAY_LEN(ops); i++) {
		if (strcmp(ops[i].name, name))
			continue;
		if (setup(&b))
			return 1;
		if (is_in_section(name))
			viommu_dma_begin(b.rig.dma);
		if (!strcmp(name, "pair_lost"))
			lose(&b);
		viommu_dma_begin(b.bypass);
		ops[i].run(&b, nr);
		return 0;
	}
	fprintf(stderr, "bench_core_count: no operation `%s'\n", name);
	return 2;
}

int main(int argc, char **argv)
{
	unsigned nr = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 1000;
	unsigned mappings_nr = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : MAPPINGS;

	if (mappings_nr < 1 || mappings_nr > MAPPINGS_MAX) {
		fputs("bench_core_count: MAPPINGS is 1 to 1048576\n", stderr);
		return 2;
	}
	if (nr > SPARE)
		nr = SPARE;
	if (argc > 1 && removes(argv[1]) && nr > mappings_nr) {
		fputs("bench_core_count: there is less to unmap\n", stderr);
		return 2;
	}
	if (argc > 1)
		return run(argv[1], nr, mappings_nr);
	for (unsigned i = 0; i < ARRAY_LEN(ops); i++)
		puts(ops[i].name);
	return 0;
}
